--
-- Is a command that is repeated under its id carried out once?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
-- ids that can be told apart: of a number
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;

-- the same again: changes nothing, returns what the first call returned
SELECT wallet_create('w1', 100, id(1)), wallet_create('w1', 100.00, id(1)), wallet_create('w1', '1e2', id(1));
SELECT wallet_debit('w1', 30, NULL, id(2)), wallet_debit('w1', 30.0000, NULL, id(2)), wallet_debit('w1', 30, command_id => id(2));
SELECT wallet_credit('w1', 5, 2, id(3)), wallet_credit('w1', 5, 2, id(3));
SELECT wallet_create(7, id(4)) AS id1, wallet_create(7.0, id(4)) AS id2, wallet_create(initial_balance => 7, command_id => id(4)) AS id3 \gset
SELECT :'id1' = :'id2' AND :'id2' = :'id3' AS same;
SELECT wallet_credit('w1', 1), wallet_debit('w1', 76);
-- whatever balance and version are now
SELECT wallet_debit('w1', 30, NULL, id(2)), wallet_debit('w1', 30, 1, id(2)), wallet_debit('w1', 30, 99, id(2)), wallet_credit('w1', 5, 2, id(3)), wallet_create('w1', 100, id(1));
SELECT error_of($$ SELECT wallet_debit('w1', 30, NULL, id(5)) $$);
SELECT CASE WHEN aggregate_version < 4 THEN event_id END, event_name, aggregate_version, payload FROM stream_read('wallet_stream', 'Wallet', 'w1');
-- null is no id
SELECT wallet_credit('w1', 1, NULL, NULL), wallet_credit('w1', 1, NULL, NULL), wallet_create('w2', 1, NULL), wallet_create(5, NULL) <> wallet_create(5, NULL);

-- another command has the id
SELECT error_of($$ SELECT wallet_debit('w1', 31, NULL, id(2)) $$);
SELECT error_of($$ SELECT wallet_debit('w2', 30, NULL, id(2)) $$);
SELECT error_of($$ SELECT wallet_credit('w1', 30, NULL, id(2)) $$);
SELECT error_of($$ SELECT wallet_create('w1', 30, id(2)) $$);
SELECT error_of($$ SELECT wallet_create('w3', 100, id(1)) $$);
SELECT error_of($$ SELECT wallet_create('w1', 101, id(1)) $$);
SELECT error_of($$ SELECT wallet_create(8, id(4)) $$);
SELECT error_of($$ SELECT wallet_create(30, id(2)) $$);
SELECT stream_append('wallet_stream', 'Order', 'w1', jsonb_build_array(jsonb_build_object('event_name', 'WalletWasDebited', 'payload', '{"walletId": "w1", "amount": 1}'::jsonb, 'event_id', id(6))));
SELECT error_of($$ SELECT wallet_debit('w1', 1, NULL, id(6)) $$);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Wallet', 'w1', jsonb_build_array(jsonb_build_object('event_name', 'e', 'payload', '{}'::jsonb, 'event_id', id(2)))) $$);
-- a wrong argument is one, whether the command was carried out or not
SELECT error_of($$ SELECT wallet_debit('w1', -30, NULL, id(2)) $$);
SELECT error_of($$ SELECT wallet_debit('w1', 30, -1, id(2)) $$);
SELECT error_of($$ SELECT wallet_debit(NULL, 30, NULL, id(2)) $$);
SELECT error_of($$ SELECT wallet_debit('w1', NULL, NULL, id(2)) $$);
SELECT error_of($$ SELECT wallet_debit('w1', 30, NULL, 'no uuid') $$);
SELECT error_of($$ SELECT wallet_debit('none', 30, NULL, id(7)) $$);
BEGIN READ ONLY;
SELECT error_of($$ SELECT wallet_debit('w1', 30, NULL, id(2)) $$);
ROLLBACK;
-- a command that failed has used nothing up
SELECT error_of($$ SELECT wallet_debit('w2', 2, NULL, id(8)) $$);
SELECT wallet_credit('w2', 1), wallet_debit('w2', 2, NULL, id(8)), wallet_debit('w2', 2, NULL, id(8));
BEGIN;
SELECT wallet_credit('w2', 3, NULL, id(9)), wallet_credit('w2', 3, NULL, id(9));
SAVEPOINT s;
SELECT wallet_credit('w2', 4, NULL, id(10)), wallet_create(4, id(11)) IS NOT NULL;
ROLLBACK TO s;
SELECT wallet_credit('w2', 5, NULL, id(10)), wallet_credit('w2', 5, NULL, id(10)), wallet_create('w11', 4, id(11));
ROLLBACK;
SELECT wallet_credit('w2', 6, NULL, id(9)), wallet_create('w11', 5, id(11));
-- under a snapshot that is older than the first call
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM wallet_stream;
SELECT wallet_credit('w2', 6, NULL, id(9)), wallet_credit('w2', 1, NULL, id(12)), wallet_credit('w2', 1, NULL, id(12));
COMMIT;
-- in a child of the stream's table
CREATE TABLE archive (UNIQUE (aggregate_type, aggregate_id, aggregate_version)) INHERITS (wallet_stream);
SELECT error_of($$ SELECT wallet_credit('w2', 6, NULL, id(9)) $$);
ALTER TABLE archive ADD UNIQUE (event_id);
WITH moved AS (DELETE FROM wallet_stream RETURNING *) INSERT INTO archive SELECT * FROM moved;
SELECT wallet_credit('w2', 6, NULL, id(9)), wallet_create('w1', 100, id(1)), wallet_create(7, id(4)) = :'id1';
SELECT error_of($$ SELECT wallet_credit('w2', 7, NULL, id(9)) $$);
SELECT error_of($$ SELECT wallet_debit('w2', 1000, NULL, id(13)) $$);
WITH moved AS (DELETE FROM archive RETURNING *) INSERT INTO wallet_stream OVERRIDING SYSTEM VALUE SELECT * FROM moved;
DROP TABLE archive;

-- no lock is held to the end of the transaction
BEGIN;
SELECT count(wallet_credit('w2', 1, NULL, id(i))) FROM generate_series(100001, 120000) i;
SELECT count(*) < 100 FROM pg_locks WHERE locktype = 'advisory';
SELECT count(wallet_credit('w2', 1, NULL, id(i))), min(wallet_credit('w2', 1, NULL, id(i))) FROM generate_series(100001, 100100) i;
COMMIT;
SELECT error_of($$ SELECT wallet_debit('w2', 30000) $$);

--
-- How wallet_create was called before it had an id goes on to work.
--
SELECT wallet_create('a1', 1), wallet_create('a2', '2'), wallet_create('a3', 3.5), wallet_create('a4'::text, '4'), wallet_create('a5'::varchar, 5::bigint), wallet_create('6', 6), wallet_create('7', '7'),
       wallet_create('a8'::name, 8::smallint), wallet_create(initial_balance => 9, wallet_id => 'a9'), wallet_create(wallet_id => 'a10', initial_balance => '10'), wallet_create('a11'::bpchar, 11);
SELECT event_name, aggregate_id, payload FROM wallet_stream WHERE aggregate_id ~ '^a\d+$|^[67]$' ORDER BY no;
SELECT count(wallet_create(v::numeric)) FROM (VALUES ('1')) v (v);
SELECT wallet_create('100') <> wallet_create(100), wallet_create(initial_balance => '5') <> wallet_create(5);
SELECT payload -> 'initialBalance', count(*) FROM wallet_stream WHERE aggregate_id ~ '-4...-' AND aggregate_id <> :'id1' GROUP BY 1 ORDER BY 1;
PREPARE untyped AS SELECT wallet_create($1, $2);
EXECUTE untyped('p1', '1.5');
PREPARE untyped3 AS SELECT wallet_create($1, $2, $3);
EXECUTE untyped3('p2', '2.5', id(14));
EXECUTE untyped3('p2', '2.50', id(14));
PREPARE typed (text, numeric, uuid) AS SELECT wallet_create($1, $2, $3);
EXECUTE typed('p2', '2.5', id(14));
SELECT error_of($$ SELECT wallet_create('a12', 'many') $$);
SELECT error_of($$ SELECT wallet_create('a12', '1e400') $$);
SELECT error_of($$ SELECT wallet_create('a12', NULL) $$);
SELECT error_of($$ SELECT wallet_create(NULL, NULL) $$);
SELECT error_of($$ SELECT wallet_create(NULL, NULL, NULL) $$);
SELECT error_of($$ SELECT wallet_create(gen_random_uuid(), 1) $$);
SELECT error_of($$ SELECT wallet_create('a12', 1::float8) $$);
SELECT error_of($$ SELECT wallet_create(1, 1) $$);

SELECT projection_init('wallet_balance');
SELECT projection_run('wallet_balance') > 0;
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp CASCADE;
