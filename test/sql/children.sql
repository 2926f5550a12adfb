--
-- Do commands know the events that lie in children of the stream's table?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT projection_init('wallet_balance');
SELECT wallet_create('a', 100), wallet_create('b', 1), wallet_create('c', 7), wallet_credit('a', 5), wallet_debit('a', 1);
SELECT stream_append('wallet_stream', 'Order', 'o1', '[{"event_name": "e", "payload": {}, "event_id": "11111111-1111-4111-8111-111111111111"}]');
SELECT projection_run('wallet_balance');

-- a child without the index would have to be read as a whole, also an empty one
CREATE TABLE "old ""1" () INHERITS (wallet_stream);
SELECT error_of($$ SELECT wallet_credit('a', 1) $$);
SELECT error_of($$ SELECT wallet_create('d', 1) $$);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$);
CREATE UNIQUE INDEX ON "old ""1" (aggregate_type, aggregate_id, aggregate_version) WHERE no < 100;
SELECT error_of($$ SELECT wallet_credit('a', 1) $$);
ALTER TABLE regress_wp."old ""1" ADD UNIQUE (aggregate_type, aggregate_id, aggregate_version);
SELECT wallet_credit('b', 1);
-- event ids are looked for by another one
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Order', 'o2', '[{"event_name": "e", "payload": {}, "event_id": "11111111-1111-4111-8111-111111111112"}]') $$);
ALTER TABLE "old ""1" ADD UNIQUE (event_id);
SELECT stream_append('wallet_stream', 'Order', 'o2', '[{"event_name": "e", "payload": {}, "event_id": "11111111-1111-4111-8111-111111111112"}]');

-- a child with its columns in another order, and one more; a child of it
CREATE TABLE strange (archived timestamptz DEFAULT now(), aggregate_version bigint NOT NULL, payload jsonb NOT NULL, metadata jsonb NOT NULL, aggregate_id varchar(255) COLLATE "C" NOT NULL,
    aggregate_type varchar(255) COLLATE "C" NOT NULL, created_at timestamptz NOT NULL, event_name varchar(100) COLLATE "C" NOT NULL, event_id uuid NOT NULL UNIQUE, no bigint NOT NULL PRIMARY KEY,
    UNIQUE (aggregate_type, aggregate_id, aggregate_version));
ALTER TABLE strange INHERIT "old ""1";
CREATE FUNCTION move(target regclass, from_no bigint, to_no bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE format('WITH moved AS (DELETE FROM ONLY wallet_stream WHERE no BETWEEN %s AND %s RETURNING *)
                    INSERT INTO %s (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata, created_at)
                    SELECT no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata, created_at FROM moved', from_no, to_no, target);
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
SELECT move('"old ""1"', 1, 3), move('strange', 4, 6);
SELECT tableoid::regclass, no, event_name, aggregate_id, aggregate_version FROM wallet_stream ORDER BY no;

-- what is there is known: a wallet is not made twice, versions go on
SELECT error_of($$ SELECT wallet_create('a', 5) $$);
SELECT error_of($$ SELECT wallet_create('c', 5) $$);
SELECT error_of($$ SELECT wallet_debit('a', 104.5) $$);
SELECT error_of($$ SELECT wallet_debit('a', 1, 0) $$);
SELECT wallet_debit('a', 4, 3), wallet_debit('a', 100);
SELECT wallet_debit('c', 7);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]', 0) $$);
SELECT stream_append('wallet_stream', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]', 1);
-- and ids of events: the same call, another one, a mixture
SELECT stream_append('wallet_stream', 'Order', 'o1', '[{"event_name": "e", "payload": {}, "event_id": "11111111-1111-4111-8111-111111111111"}]');
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Order', 'o3', '[{"event_name": "e", "payload": {}, "event_id": "11111111-1111-4111-8111-111111111111"}]') $$);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Order', 'o1', '[{"event_name": "f", "payload": {}, "event_id": "11111111-1111-4111-8111-111111111111"}]') $$);

-- the balance is put together over several tables, each event once: no event of
-- this wallet carries a snapshot
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), CASE v WHEN 1 THEN 'WalletWasCreated' ELSE 'WalletWasCredited' END, 'Wallet', 'long', v, jsonb_build_object(CASE v WHEN 1 THEN 'initialBalance' ELSE 'amount' END, v)
  FROM generate_series(1, 30) v;
SELECT sum(move((ARRAY['"old ""1"', 'strange'])[1 + aggregate_version % 3]::regclass, no, no)) FROM ONLY wallet_stream WHERE aggregate_id = 'long' AND aggregate_version % 3 < 2;
SELECT tableoid::regclass, count(*) FROM wallet_stream WHERE aggregate_id = 'long' GROUP BY 1 ORDER BY 1;
SELECT error_of($$ SELECT wallet_debit('long', 465.0001) $$);
SELECT wallet_debit('long', 465);
-- within one transaction, and one statement
BEGIN;
SELECT wallet_create('here', 3), wallet_debit('here', 1), wallet_debit('here', 1);
SELECT move('strange', max(no), max(no)) FROM wallet_stream;
SELECT wallet_debit('here', 1);
SELECT error_of($$ SELECT wallet_debit('here', 1) $$);
COMMIT;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- an event that was copied into a child, and not deleted yet, is one event
CREATE TABLE copies (LIKE wallet_stream INCLUDING ALL EXCLUDING IDENTITY) INHERITS (wallet_stream);
INSERT INTO copies SELECT * FROM ONLY wallet_stream WHERE aggregate_id = 'b';
SELECT wallet_create('z', 5), wallet_credit('z', 2);
INSERT INTO copies SELECT * FROM ONLY wallet_stream WHERE aggregate_id = 'z';
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance') > 0;
SELECT count(*) FROM projection_dead_letters;
ALTER TABLE copies NO INHERIT wallet_stream;
SELECT * FROM check_read_model();
ALTER TABLE copies INHERIT wallet_stream;
-- also where its key has failed
UPDATE copies SET payload = '{"initialBalance": "bad"}' WHERE aggregate_id = 'z' AND event_name = 'WalletWasCreated';
UPDATE ONLY wallet_stream SET payload = '{"initialBalance": "bad"}' WHERE aggregate_id = 'z' AND event_name = 'WalletWasCreated';
SELECT projection_set('wallet_balance', 'max_parked', '10'), projection_reset('wallet_balance');
SELECT projection_run('wallet_balance') > 0;
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SELECT partition_key, attempts FROM projection_dead_letters;
UPDATE copies SET payload = '{"initialBalance": 5}' WHERE aggregate_id = 'z' AND event_name = 'WalletWasCreated';
UPDATE ONLY wallet_stream SET payload = '{"initialBalance": 5}' WHERE aggregate_id = 'z' AND event_name = 'WalletWasCreated';
SELECT dead_letter_replay(id) FROM projection_dead_letters;
DROP TABLE copies;
SELECT * FROM check_read_model();
SELECT projection_set('wallet_balance', 'max_parked', '0');

-- what cannot have such an index is no child for events
CREATE FOREIGN DATA WRAPPER regress_wp_fdw;
CREATE SERVER regress_wp_server FOREIGN DATA WRAPPER regress_wp_fdw;
CREATE FOREIGN TABLE far () INHERITS (wallet_stream) SERVER regress_wp_server;
SELECT error_of($$ SELECT wallet_credit('a', 1) $$);
ALTER FOREIGN TABLE far NO INHERIT wallet_stream;
DROP FOREIGN DATA WRAPPER regress_wp_fdw CASCADE;
CREATE TEMP TABLE passing (UNIQUE (aggregate_type, aggregate_id, aggregate_version)) INHERITS (wallet_stream);
SELECT regexp_replace(error_of($$ SELECT wallet_credit('a', 1) $$), 'pg_temp_\d+', 'pg_temp');
DROP TABLE passing;
SELECT wallet_credit('a', 1);

-- no children any more
DROP TABLE strange;
DROP TABLE "old ""1";
SELECT error_of($$ SELECT wallet_create('a', 1) $$), wallet_credit('a', 1);

DROP SCHEMA regress_wp CASCADE;
