--
-- Does projection_consume serve its channel, stop when it was told to, and
-- say what went wrong?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

-- the SQLSTATE of an error comes after its message
CREATE VIEW status AS SELECT state, lag_events, last_error FROM projection_status;
CREATE VIEW consumer_locks AS SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();

-- not initialized: nothing to serve
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('async_projection', stop_on_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM status;
SELECT projection_init('wallet_balance');

-- until there is nothing left
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT count(wallet_create('w' || i, i)) FROM generate_series(1, 10) i;
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM check_read_model();
SELECT * FROM status;
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM consumer_locks;

-- the message limit
SELECT count(wallet_credit('w' || i, i)) FROM generate_series(1, 10) i;
CALL projection_consume('async_projection', 3);
SELECT * FROM status;
CALL projection_consume('async_projection', message_limit => 1);
SELECT * FROM status;
SELECT projection_set('wallet_balance', 'batch_size', '2');
CALL projection_consume('async_projection', 5, finish_when_no_messages => true);
SELECT * FROM status;
CALL projection_consume('async_projection', 1000, finish_when_no_messages => true);
SELECT * FROM status;
SELECT * FROM check_read_model();

-- the time limit
CALL projection_consume('async_projection', time_limit => '10 ms');
SELECT wallet_credit('w1', 1);
CALL projection_consume('async_projection', NULL, '1 day', false, true);
CALL projection_consume('async_projection', NULL, '100 ms', false, false);
SELECT * FROM check_read_model();

-- a channel of its own
SELECT projection_set('wallet_balance', 'channel', 'My "Channel"');
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('my "channel"', finish_when_no_messages => true);
SELECT wallet_credit('w1', 1);
CALL projection_consume('My "Channel"', finish_when_no_messages => true);
SELECT * FROM check_read_model();
SELECT projection_set('wallet_balance', 'channel', 'async_projection');

-- it commits, so not inside a transaction
BEGIN;
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT error_of($$ CALL projection_consume('async_projection', finish_when_no_messages => true) $$);
CREATE FUNCTION consume() RETURNS void LANGUAGE sql AS $$ CALL projection_consume('async_projection', NULL, NULL, false, true) $$;
SELECT error_of($$ SELECT consume() $$);
-- a procedure that may commit itself may call it
SELECT wallet_credit('w1', 1);
DO $$ BEGIN CALL projection_consume('async_projection', finish_when_no_messages => true); END $$;
SELECT * FROM check_read_model();
SELECT wallet_credit('w1', 1);
DO $$
BEGIN
    CALL projection_consume('async_projection', finish_when_no_messages => true);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING '%: %', SQLSTATE, SQLERRM;
END $$;
SELECT * FROM consumer_locks;
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM check_read_model();

-- cancelled while it waits, it leaves nothing behind and no failure
SET statement_timeout = '200ms';
CALL projection_consume('async_projection');
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
SELECT * FROM consumer_locks;
SELECT * FROM status;

--
-- Failures.  Batches of 2: what was good before the bad event stays.
--
SELECT append_event('w2', 'WalletWasDebited', '{"amount": 1}'), append_event('w3', 'WalletWasDebited', '{"amount": 1}'), append_event('w3', 'WalletWasDebited', '{"amount": 1}'),
       append_event('bad', 'WalletWasDebited', '{"amount": 1}'), append_event('w4', 'WalletWasDebited', '{"amount": 1}');
CALL projection_consume('async_projection', stop_on_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM status;
SELECT wallet_get_balance('w2'), wallet_get_balance('w3'), wallet_get_balance('w4');
SELECT * FROM consumer_locks;
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM status;
CALL projection_consume('async_projection', time_limit => '500 ms');
-- a session sees the same
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
-- mended, it goes on, and the error is forgotten
DELETE FROM wallet_stream WHERE aggregate_id = 'bad';
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM status;
SELECT * FROM check_read_model();
-- the run of a session forgets it as well
SELECT append_event('bad', 'WalletWasCredited', '{"amount": "?"}') > 0;
CALL projection_consume('async_projection', stop_on_failure => true);
SELECT state FROM status;
DELETE FROM wallet_stream WHERE aggregate_id = 'bad';
SELECT projection_run('wallet_balance');
SELECT * FROM status;
-- so does a reset
SELECT append_event('bad', 'WalletWasCreated', '{"initialBalance": null}') > 0;
CALL projection_consume('async_projection', stop_on_failure => true);
SELECT projection_reset('wallet_balance');
SELECT state, last_error FROM status;
DELETE FROM wallet_stream WHERE aggregate_id = 'bad';
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM check_read_model();
-- an error of the read model's own
ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (current_balance < 100);
SELECT wallet_credit('w1', 100) > 0;
CALL projection_consume('async_projection', stop_on_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT last_error FROM status;
ALTER TABLE wallet_balances DROP CONSTRAINT small;
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM status;
SELECT * FROM check_read_model();
-- the read model is gone
DROP TABLE wallet_balances;
CALL projection_consume('async_projection', stop_on_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT projection_delete('wallet_balance'), projection_init('wallet_balance');
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM check_read_model();

-- settings of the session's that no batch can run under are the caller's
-- failure, not the projection's
SELECT wallet_credit('w1', 1) > 0;
SET default_transaction_isolation = 'repeatable read';
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_isolation;
SELECT state, last_error FROM status;
SET default_transaction_read_only = on;
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_read_only;
SELECT state, last_error FROM status;
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM status;

-- in a batch that little memory cuts short
SELECT projection_set('wallet_balance', 'batch_size', '10000000');
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), CASE WHEN i % 2 = 0 THEN 'WalletWasCreated' ELSE 'WalletWasRenamed' END, 'Wallet', 'many ' || i, 1, jsonb_build_object('initialBalance', i) FROM generate_series(1, 20000) i;
SET wallet_projection.batch_memory = '1MB';
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM status;
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp CASCADE;
