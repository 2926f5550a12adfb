--
-- In which transactions does what run?  A batch needs a snapshot that is
-- newer than its settlement, and everything that writes needs a transaction
-- that may.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT projection_init('wallet_balance');
SELECT wallet_create('w1', 10);

-- with one snapshot for all statements no batch runs
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_backfill('wallet_balance') $$);
-- commands do: they look at the newest events in any case
SELECT wallet_debit('w1', 1), wallet_create('w2', 5);
SELECT stream_append('wallet_stream', 'Other', 'x', '[{"event_name": "e", "payload": {}}]', 0);
SELECT count(*) FROM stream_read('wallet_stream', 'Wallet', 'w1');
SELECT wallet_get_balance('w1');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_backfill('wallet_balance') $$);
SELECT wallet_debit('w1', 1);
SELECT count(*) FROM stream_read('wallet_stream', 'Wallet', 'w1');
COMMIT;
BEGIN ISOLATION LEVEL READ UNCOMMITTED;
SELECT projection_run('wallet_balance');
COMMIT;
SELECT * FROM check_read_model();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT projection_reset('wallet_balance');
SELECT projection_delete('wallet_balance');
SELECT projection_set('wallet_balance', 'partitions', '4');
SELECT projection_init('wallet_balance');
SELECT state, partitions, lag_events FROM projection_status;
COMMIT;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- a transaction that may only read
SELECT wallet_credit('w1', 5);
BEGIN READ ONLY;
SELECT error_of($$ SELECT stream_create('orders') $$);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Other', 'x', '[{"event_name": "e", "payload": {}}]') $$);
SELECT error_of($$ SELECT wallet_create('w3', 5) $$);
SELECT error_of($$ SELECT wallet_create(5) $$);
SELECT error_of($$ SELECT wallet_debit('w1', 5) $$);
SELECT error_of($$ SELECT wallet_credit('w1', 5) $$);
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
SELECT error_of($$ SELECT projection_delete('wallet_balance') $$);
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT projection_set('wallet_balance', 'batch_size', '5') $$);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_backfill('wallet_balance') $$);
-- reading is allowed
SELECT count(*) FROM stream_read('wallet_stream', 'Wallet', 'w1');
SELECT wallet_get_balance('w1'), wallet_get_statistics('w1');
SELECT state, lag_events FROM projection_status;
SELECT count(*) FROM projection_partitions;
COMMIT;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- a savepoint that only reads
BEGIN;
SELECT wallet_debit('w1', 1);
SAVEPOINT s;
SET TRANSACTION READ ONLY;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
ROLLBACK TO s;
SELECT projection_run('wallet_balance');
COMMIT;
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp CASCADE;
