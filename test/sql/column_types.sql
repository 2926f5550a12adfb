--
-- Is nothing stored that the type of its column forbids?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SELECT projection_set('wallet_balance', 'max_parked', '1000'), projection_set('wallet_balance', 'max_attempts', '1');
SELECT projection_init('wallet_balance');
-- what a dump's restore does: each value goes through its type once more
CREATE FUNCTION restored(relation regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('CREATE TEMP TABLE restored (LIKE %s INCLUDING CONSTRAINTS)', relation);
    result := error_of(format('INSERT INTO restored SELECT (t::text::%1$s).* FROM %1$s t', relation));
    DROP TABLE restored;
    RETURN result;
END $$;
CREATE FUNCTION create_by_insert(id text, balance numeric) RETURNS void LANGUAGE sql AS $$
    INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
    VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', id, 1, jsonb_build_object('initialBalance', balance))
$$;

--
-- The read model: its key is as long as the stream's, which the user has widened
--
ALTER TABLE wallet_stream ALTER aggregate_id TYPE varchar(300) COLLATE "C";
SELECT create_by_insert(repeat('x', 255), 1), create_by_insert(repeat('y', 256), 2), create_by_insert(repeat('z', 300), 3), create_by_insert(repeat('é', 255), 4), create_by_insert(repeat('é', 256), 5);
-- blanks at the end are cut off by a cast to varchar, and belong to the key
SELECT create_by_insert(repeat('x', 255) || '   ', 6);
SELECT projection_run('wallet_balance');
SELECT char_length(wallet_id), octet_length(wallet_id), current_balance FROM wallet_balances ORDER BY current_balance;
SELECT left(partition_key, 1), char_length(partition_key), sqlstate, message FROM projection_dead_letters ORDER BY no;
SELECT restored('wallet_balances');
ALTER TABLE wallet_balances ALTER wallet_id TYPE varchar(300) COLLATE "C";
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();
SELECT restored('wallet_balances'), restored('wallet_stream');
-- narrower, and of another type
SELECT projection_delete('wallet_balance'), projection_init('wallet_balance');
ALTER TABLE wallet_balances ALTER wallet_id TYPE text COLLATE "C";
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- columns of the user's own: domains and constraints hold for them too
CREATE DOMAIN known AS text CHECK (VALUE IS NOT NULL);
CREATE DOMAIN small AS int DEFAULT 7 CHECK (VALUE < 10);
CREATE DOMAIN present AS varchar(3) NOT NULL;
CREATE FUNCTION run_with(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE change;
    PERFORM create_by_insert('new', 1);
    PERFORM projection_run('wallet_balance');
    result := concat_ws(' | ', (SELECT sqlstate || ': ' || message FROM projection_dead_letters), (SELECT b::text FROM wallet_balances b WHERE wallet_id = 'new'), restored('wallet_balances'));
    RAISE SQLSTATE 'ZZZZZ';
EXCEPTION
    WHEN SQLSTATE 'ZZZZZ' THEN RETURN result;
    WHEN OTHERS THEN RETURN 'raised ' || SQLSTATE || ': ' || SQLERRM;
END $$;
DELETE FROM wallet_balances;
TRUNCATE wallet_stream RESTART IDENTITY;
SELECT projection_reset('wallet_balance');
SELECT run_with('ALTER TABLE wallet_balances ADD extra small');
SELECT run_with('ALTER TABLE wallet_balances ADD extra small DEFAULT 8');
SELECT run_with('ALTER TABLE wallet_balances ADD extra small, ALTER extra SET DEFAULT 80');
SELECT run_with('ALTER TABLE wallet_balances ADD extra known');
SELECT run_with('ALTER TABLE wallet_balances ADD extra known DEFAULT ''yes''');
SELECT run_with('ALTER TABLE wallet_balances ADD extra present');
SELECT run_with('ALTER TABLE wallet_balances ADD extra int CHECK (extra > 1) DEFAULT 1');
SELECT run_with('ALTER TABLE wallet_balances ALTER wallet_id TYPE known');
SELECT run_with('ALTER TABLE wallet_balances ALTER current_balance TYPE small');

--
-- The stream: columns that the user has narrowed
--
SELECT stream_create('orders');
ALTER TABLE orders ALTER aggregate_id TYPE varchar(5) COLLATE "C", ALTER aggregate_type TYPE varchar(6) COLLATE "C", ALTER event_name TYPE varchar(4) COLLATE "C", ALTER created_at TYPE timestamptz(0);
CREATE FUNCTION append_to_orders(type text, id text, name text) RETURNS text LANGUAGE sql AS $$
    SELECT error_of(format('SELECT stream_append(''orders'', %L, %L, ''[{"event_name": "e", "payload": {}}, {"event_name": "%s", "payload": {}}]'')', type, id, name))
$$;
SELECT append_to_orders('Order', '12345', 'abcd');
SELECT append_to_orders('Order', 'éééé5', 'éééé');
SELECT append_to_orders('Order', '123456', 'abcd');
SELECT append_to_orders('Order', '12345 ', 'abcd');
SELECT append_to_orders('Orders7', '12345', 'abcd');
SELECT append_to_orders('Order', '12345', 'abcde');
SELECT count(*), bool_and(created_at = date_trunc('second', created_at)) FROM orders;
SELECT restored('orders');
TRUNCATE orders;
ALTER TABLE orders ADD note known;
SELECT append_to_orders('Order', '1', 'abcd');
ALTER TABLE orders ALTER note SET DEFAULT 'none';
SELECT append_to_orders('Order', '1', 'abcd');
-- commands
ALTER TABLE wallet_stream ALTER aggregate_id TYPE varchar(5) COLLATE "C", ALTER event_name TYPE varchar(16) COLLATE "C";
SELECT wallet_create('w1234', 1), wallet_debit('w1234', 1);
SELECT error_of($$ SELECT wallet_create('w12345', 1) $$);
SELECT error_of($$ SELECT wallet_create(1) $$);
SELECT error_of($$ SELECT wallet_credit('w1234', 1) $$);
SELECT restored('wallet_stream');

DROP SCHEMA regress_wp CASCADE;
