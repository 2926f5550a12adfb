--
-- Does the projection wallet_balance hold what the events say, whatever is
-- done to it?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

-- a position as far as it matters here
CREATE VIEW position AS
SELECT count(*) AS partitions, min(head) AS lowest, max(head) AS highest, bool_or(NOT isempty(gaps)) AS gaps FROM projection_partitions;

--
-- Its life
--
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_backfill('wallet_balance') $$);
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT wallet_get_balance('w1') $$);
SELECT error_of($$ SELECT wallet_get_statistics('w1') $$);
SELECT projection_delete('wallet_balance');
SELECT projection_delete('wallet_balance');
SELECT projection_set('wallet_balance', 'max_parked', '0');
SELECT projection_init('wallet_balance');
SELECT projection_init('wallet_balance');
SELECT a.attname, format_type(a.atttypid, a.atttypmod), collname, attnotnull AS not_null, pg_get_expr(d.adbin, d.adrelid) AS default
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation c ON c.oid = a.attcollation
 WHERE a.attrelid = 'regress_wp.wallet_balances'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'regress_wp.wallet_balances'::regclass AND contype <> 'n';
SELECT to_regclass('wallet_stream');
SELECT * FROM position;
SELECT projection_run('wallet_balance');
SELECT wallet_get_balance('w1'), wallet_get_statistics('w1');

SELECT wallet_create('w1', 1000.00), wallet_create('w2', 500.00);
SELECT wallet_debit('w1', 100.00), wallet_credit('w1', 50.00), wallet_debit('w2', 200.00);
SELECT wallet_get_balance('w1');
SELECT projection_run('wallet_balance');
SELECT * FROM wallet_balances ORDER BY wallet_id;
SELECT wallet_get_balance('w1'), wallet_get_balance('w2'), wallet_get_balance('W1'), wallet_get_statistics('w1'), wallet_get_statistics('w2'), wallet_get_statistics('w3');
SELECT * FROM position;
-- again and again
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');
SELECT projection_backfill('wallet_balance');
SELECT projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
SELECT projection_reset('wallet_balance');
SELECT * FROM wallet_balances;
SELECT * FROM position;
SELECT wallet_get_balance('w1');
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
SELECT projection_delete('wallet_balance');
SELECT projection_set('wallet_balance', 'max_parked', '0');
SELECT to_regclass('wallet_balances'), (SELECT count(*) FROM wallet_stream), (SELECT count(*) FROM projection_partitions);
SELECT error_of($$ SELECT wallet_get_balance('w1') $$);
SELECT projection_delete('wallet_balance'), projection_set('wallet_balance', 'max_parked', '0'), projection_init('wallet_balance');
SELECT projection_backfill('wallet_balance');
SELECT * FROM check_read_model();
-- each of these is part of the transaction
BEGIN;
SELECT projection_reset('wallet_balance');
SELECT count(*) FROM wallet_balances;
ROLLBACK;
BEGIN;
SELECT projection_delete('wallet_balance');
SELECT projection_set('wallet_balance', 'max_parked', '0');
ROLLBACK;
BEGIN;
SELECT wallet_debit('w1', 1);
SELECT projection_run('wallet_balance');
ROLLBACK;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

--
-- Other events in the stream
--
SELECT stream_append('wallet_stream', 'Account', 'w1', '[{"event_name": "WalletWasCreated", "payload": {"initialBalance": 7}}, {"event_name": "WalletWasDebited", "payload": {"amount": "?"}}]');
SELECT stream_append('wallet_stream', 'wallet', 'w1', '[{"event_name": "WalletWasCreated", "payload": {"initialBalance": 7}}]');
SELECT stream_append('wallet_stream', 'WalletX', 'w1', '[{"event_name": "WalletWasCreated", "payload": {}}]');
SELECT stream_append('wallet_stream', 'Walle', 'w1', '[{"event_name": "WalletWasCreated", "payload": {}}]');
SELECT append_event('w1', 'WalletWasRenamed', '{"amount": "?"}'), append_event('w1', 'walletWasDebited', '{}'), append_event('w1', 'WalletWasDebitedX', '{}'), append_event('w1', 'WalletWas', '{}');
SELECT append_event('w9', 'WalletWasRenamed', '{}');
SELECT projection_run('wallet_balance');
SELECT lag_events FROM projection_status;
SELECT append_event('w9', 'WalletWasCreated', '{"initialBalance": 9}'), wallet_debit('w1', 1), append_event('w9', 'WalletWasRenamed', '{}');
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

--
-- Limits: whatever the batches, the result is the same
--
SELECT count(wallet_create('many ' || i, i)) FROM generate_series(1, 100) i;
SELECT count(wallet_debit('many ' || 1 + i % 100, 0.01)), count(wallet_credit('many ' || 1 + i * 7 % 100, i)) FROM generate_series(1, 200) i;
SELECT count(append_event('many ' || i, 'Noise', '{}')) FROM generate_series(1, 50) i;
SELECT projection_run('wallet_balance', 3);
SELECT lag_events FROM projection_status;
SELECT projection_run('wallet_balance', 1);
SELECT projection_run('wallet_balance', max_events => 100);
SELECT projection_set('wallet_balance', 'batch_size', '30');
SELECT projection_run('wallet_balance', 100);
SELECT projection_run('wallet_balance', 9223372036854775807);
SELECT projection_run('wallet_balance', 1);
SELECT * FROM check_read_model();

CREATE FUNCTION anew(partitions int, batch_size int) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM projection_delete('wallet_balance');
    PERFORM projection_set('wallet_balance', 'partitions', partitions::text);
    PERFORM projection_set('wallet_balance', 'batch_size', batch_size::text);
    PERFORM projection_init('wallet_balance');
    RETURN NEXT format('%s partitions, batches of %s: %s events', (SELECT count(*) FROM projection_partitions), batch_size, projection_run('wallet_balance'));
    RETURN QUERY SELECT * FROM check_read_model();
END $$;
SELECT * FROM anew(1, 10000);
SELECT * FROM anew(1, 1);
SELECT * FROM anew(2, 17);
SELECT * FROM anew(16, 1);
SELECT * FROM anew(1024, 100);
SELECT * FROM anew(1024, 10000000);
SELECT min(partition), max(partition), min(head) = max(head) FROM projection_partitions;

-- a backfill of a part of the partitions leaves the others
SELECT projection_delete('wallet_balance'), projection_set('wallet_balance', 'max_parked', '0'), projection_set('wallet_balance', 'partitions', '4'), projection_init('wallet_balance');
SELECT projection_backfill('wallet_balance', 1) > 0;
SELECT count(*) FILTER (WHERE head = 0), count(*) FILTER (WHERE head > 0) FROM projection_partitions;
SELECT projection_backfill('wallet_balance', max_partitions => 2) > 0;
SELECT count(*) FILTER (WHERE head = 0), count(*) FILTER (WHERE head > 0) FROM projection_partitions;
SELECT projection_backfill('wallet_balance', 2147483647) > 0;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- little memory makes more batches: each fires the statement trigger once
CREATE TABLE batch (wallets bigint);
CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO regress_wp.batch SELECT count(*) FROM inserted;
    RETURN NULL;
END $$;
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'memory ' || i, 1, jsonb_build_object('initialBalance', i) FROM generate_series(1, 20000) i;
SELECT projection_delete('wallet_balance'), projection_set('wallet_balance', 'max_parked', '0'), projection_set('wallet_balance', 'batch_size', '10000000'), projection_init('wallet_balance');
CREATE TRIGGER note AFTER INSERT ON wallet_balances REFERENCING NEW TABLE AS inserted EXECUTE FUNCTION note_batch();
SET wallet_projection.batch_memory = '1MB';
SELECT projection_run('wallet_balance');
SELECT count(*) > 2 AS several, sum(wallets) FROM batch;
SELECT * FROM check_read_model();
TRUNCATE batch;
SELECT projection_reset('wallet_balance');
SELECT projection_backfill('wallet_balance');
SELECT count(*) > 2 AS several, sum(wallets) FROM batch;
SELECT * FROM check_read_model();
RESET wallet_projection.batch_memory;
TRUNCATE batch;
SELECT projection_reset('wallet_balance');
SELECT projection_backfill('wallet_balance');
SELECT wallets FROM batch;
-- newer releases print the unit of the bounds, too
SELECT regexp_replace(error_of($$ SET wallet_projection.batch_memory = '1023kB' $$), '(\d) kB( \.\.|\))', '\1\2', 'g');
SELECT error_of($$ SET wallet_projection.batch_memories = '1GB' $$);

--
-- Appends and runs in one transaction
--
SELECT projection_delete('wallet_balance'), projection_set('wallet_balance', 'max_parked', '0'), projection_init('wallet_balance'), projection_run('wallet_balance');
BEGIN;
SELECT wallet_create('own', 10);
SELECT projection_run('wallet_balance');
SAVEPOINT a;
SELECT wallet_debit('own', 1);
SAVEPOINT b;
SELECT wallet_debit('own', 2);
SELECT projection_run('wallet_balance');
SELECT wallet_get_balance('own');
ROLLBACK TO b;
SELECT wallet_get_balance('own');
SELECT projection_run('wallet_balance');
SELECT wallet_get_balance('own');
ROLLBACK TO a;
SELECT projection_run('wallet_balance');
SELECT wallet_get_balance('own');
SELECT wallet_credit('own', 5);
SELECT wallet_credit('own', 6), projection_run('wallet_balance'), wallet_debit('own', 1), projection_run('wallet_balance');
COMMIT;
SELECT projection_run('wallet_balance');
SELECT wallet_get_balance('own');
SELECT * FROM check_read_model();

-- a run in the midst of an insert, which has drawn its number but put no row in place yet
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'midst 1', 1, '{"initialBalance": 1}') RETURNING projection_run('wallet_balance');
WITH inserted AS (
    INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
    VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'midst 2', 1, '{"initialBalance": 2}') RETURNING no)
SELECT projection_run('wallet_balance') FROM inserted;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
CREATE FUNCTION run_projection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM projection_run('wallet_balance');
    RETURN NEW;
END $$;
CREATE TRIGGER run BEFORE INSERT ON wallet_stream FOR EACH ROW EXECUTE FUNCTION run_projection();
SELECT wallet_create('midst 3', 3);
SELECT wallet_debit('midst 3', 1);
DROP TRIGGER run ON wallet_stream;
SELECT projection_run('wallet_balance') > 0;
SELECT * FROM check_read_model();
-- one after each append keeps the read model up to date
CREATE TRIGGER run AFTER INSERT ON wallet_stream FOR EACH ROW EXECUTE FUNCTION run_projection();
SELECT wallet_create('at once', 3);
SELECT wallet_debit('at once', 1), wallet_credit('at once', 0.5);
SELECT wallet_get_balance('at once');
SELECT * FROM check_read_model();
DROP TRIGGER run ON wallet_stream;

-- numbers that were drawn and taken back leave no trace
BEGIN;
SELECT wallet_create('never', 1);
ROLLBACK;
SELECT projection_run('wallet_balance');
SELECT lowest = highest AND lowest = (SELECT last_position FROM projection_status), gaps FROM position;
BEGIN;
SELECT wallet_create('never', 1);
ROLLBACK;
SELECT wallet_create('after all', 1);
SELECT projection_run('wallet_balance');
SELECT lowest = highest AND lowest = (SELECT max(no) FROM wallet_stream), gaps FROM position;
SELECT * FROM check_read_model();

--
-- Bad events: the error says which, nothing is changed, and it heals.  A new
-- stream, so that the numbers are known.
--
DROP TABLE wallet_stream;
SELECT error_of($$ SELECT wallet_create('good', 1) $$);
SELECT error_of($$ SELECT wallet_credit('good', 1) $$);
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT stream_create('wallet_stream');
SELECT projection_delete('wallet_balance'), projection_set('wallet_balance', 'max_parked', '0'), projection_init('wallet_balance');
SELECT wallet_create('good', 1);
SELECT projection_run('wallet_balance');

-- a change of a wallet that was never created
SELECT wallet_credit('good', 1);
SELECT append_event('bad', 'WalletWasDebited', '{"amount": 5}');
SELECT append_event('bad', 'WalletWasCreated', '{"initialBalance": 5}');
SELECT append_event('bad', 'WalletWasDebited', '{"amount": 5}');
SELECT wallet_credit('good', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_backfill('wallet_balance') $$);
SELECT * FROM wallet_balances;
SELECT * FROM position;
SELECT state, last_error FROM projection_status;
DELETE FROM wallet_stream WHERE no = 3;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- a second creation: at once, and in a later batch
SELECT append_event('twice', 'WalletWasCreated', '{"initialBalance": 1}'), append_event('twice', 'WalletWasDebited', '{"amount": 1}'),
       append_event('twice', 'WalletWasCreated', '{"initialBalance": 1}'), append_event('twice', 'WalletWasDebited', '{"amount": 1}');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT projection_run('wallet_balance', 2);
SELECT error_of($$ SELECT projection_run('wallet_balance', 1) $$);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT wallet_get_statistics('twice');
-- after a change in the same batch
UPDATE wallet_stream SET event_name = 'WalletWasCredited', payload = '{"amount": 1}' WHERE no = 9;
SELECT append_event('twice', 'WalletWasCreated', '{"initialBalance": 1}');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
DELETE FROM wallet_stream WHERE no = 11;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- an amount that is none, among good events: all wait, none is lost
SELECT wallet_credit('good', 1);
SELECT append_event('good', 'WalletWasCredited', '{"amount": "many"}'), append_event('good', 'WalletWasDebited', '{}'), append_event('good', 'WalletWasCredited', '{"amount": 1}');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_run('wallet_balance', 2) $$);
SELECT projection_run('wallet_balance', 1);
UPDATE wallet_stream SET payload = '{"amount": 3}' WHERE no = 13;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
UPDATE wallet_stream SET payload = '{"amount": 2}' WHERE no = 14;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- a row that somebody has deleted: put back, or begin again
DELETE FROM wallet_balances WHERE wallet_id = 'good';
SELECT wallet_debit('good', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT projection_reset('wallet_balance', force => true);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- values that no amount can be added to
UPDATE wallet_balances SET current_balance = 'NaN' WHERE wallet_id = 'good';
SELECT wallet_debit('good', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
UPDATE wallet_balances SET current_balance = 0, transaction_count = 2147483647 WHERE wallet_id = 'good';
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT projection_reset('wallet_balance', force => true);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- names that are hard to quote
SELECT append_event(E'a "b" 100% \\ \n''c''', 'WalletWasDebited', '{"amount": 5}');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
DELETE FROM wallet_stream WHERE no = 18;
SELECT append_event(repeat('long', 63), 'WalletWasDebited', '{"amount": 5}');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
DELETE FROM wallet_stream WHERE no = 19;

--
-- A stream that begins again
--
TRUNCATE wallet_stream RESTART IDENTITY;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT wallet_create('good', 7);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
DROP TABLE wallet_stream;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT wallet_get_balance('good');
SELECT stream_create('wallet_stream');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT wallet_create('good', 8), projection_run('wallet_balance');
SELECT * FROM check_read_model();
-- a sequence that gives numbers out of order
ALTER SEQUENCE wallet_stream_no_seq CACHE 100;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
ALTER SEQUENCE wallet_stream_no_seq CACHE 1;
SELECT projection_run('wallet_balance');

--
-- Options
--
SELECT projection_set('wallet_balance', 'partitions', '16');
SELECT error_of($$ SELECT projection_set('wallet_balance', 'partitions', '8') $$);
SELECT projection_set('wallet_balance', 'channel', 'my "own" channel'), projection_set('wallet_balance', 'batch_size', '1'), projection_set('wallet_balance', 'batch_size', '10000000');
SELECT channel, partitions FROM projection_status;
SELECT projection_reset('wallet_balance');
SELECT channel FROM projection_status;
SELECT projection_delete('wallet_balance');
SELECT projection_set('wallet_balance', 'max_parked', '0');
SELECT channel, partitions, state FROM projection_status;
SELECT projection_set('wallet_balance', 'partitions', '1');
SELECT projection_set('wallet_balance', 'partitions', '1024');
SELECT partitions, state FROM projection_status;
SELECT projection_init('wallet_balance');
SELECT partitions, state FROM projection_status;

-- the read model was dropped behind its back
DROP TABLE wallet_balances;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT wallet_get_balance('good') $$);
-- it begins anew, with its options
SELECT channel, partitions FROM projection_status;
SELECT projection_init('wallet_balance');
SELECT channel, partitions FROM projection_status;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp CASCADE;
