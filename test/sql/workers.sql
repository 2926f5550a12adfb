--
-- Do the functions that control background workers check their arguments and
-- the caller's rights, and does projection_wait say what it should, without
-- any worker?  (What workers do is asked in test/t.)
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

-- null, empty, out of range
SELECT error_of(format('SELECT %s', c)) FROM unnest(ARRAY[
    'projection_start(NULL)', 'projection_start('''')', 'projection_stop(NULL)', 'projection_stop('''')',
    'channel_scale(NULL, 1)', 'channel_scale('''', 1)', 'channel_scale(''async_projection'', NULL)',
    'channel_scale(''async_projection'', -1)', 'channel_scale(''async_projection'', 1025)',
    'projection_wait(NULL)', 'projection_wait('''')', 'projection_wait(''nothing'')',
    'projection_wait(''wallet_balance'', NULL)', 'projection_wait(''wallet_balance'', ''-1 s'')',
    'projection_wait(''wallet_balance'')',
    'stream_notify(NULL, true)', 'stream_notify('''', true)', 'stream_notify(''wallet_stream'', NULL)',
    'stream_notify(''nothing'', true)', 'wallet_projection.stream_wake()',
    'projection_start(repeat(''x'', 64))']) c;

-- waiting, where nobody works
SELECT projection_init('wallet_balance');
SELECT projection_wait('wallet_balance', '0');
SELECT wallet_create('w1', 1);
SELECT projection_wait('wallet_balance', '0'), projection_wait('wallet_balance', '20 ms');
SELECT projection_run('wallet_balance');
SELECT projection_wait('wallet_balance', '0');
-- what the own transaction has written is nobody's to wait for; what it has applied counts
BEGIN;
SELECT wallet_credit('w1', 1);
SELECT projection_wait('wallet_balance', '0');
SAVEPOINT s;
SELECT wallet_credit('w1', 1);
SELECT projection_wait('wallet_balance', '0');
ROLLBACK;
SELECT wallet_credit('w1', 1);
BEGIN;
SELECT projection_wait('wallet_balance', '0');
SELECT projection_run('wallet_balance');
SELECT projection_wait('wallet_balance', '0');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT projection_wait('wallet_balance', '0');
COMMIT;
SELECT * FROM check_read_model();

-- the trigger: once, gone, and gone with the extension
\set triggers 'SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE $$wallet_projection%$$ ORDER BY tgname'
SELECT stream_notify('wallet_stream', true);
SELECT stream_notify('wallet_stream', true);
:triggers;
SELECT stream_notify('wallet_stream', false);
SELECT stream_notify('wallet_stream', false);
:triggers;
SELECT stream_notify('wallet_stream', true);
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'w1', 3, '{"amount": 1}');
CREATE ROLE regress_wp_other;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_other;
GRANT INSERT ON wallet_stream TO regress_wp_other;
SET ROLE regress_wp_other;
SELECT error_of(format('SELECT %s', c)) FROM unnest(ARRAY[
    'stream_notify(''wallet_stream'', true)', 'wallet_credit(''w1'', 1)']) c;
SELECT projection_wait('wallet_balance', '0');
RESET ROLE;
DROP EXTENSION wallet_projection;
:triggers;
DROP OWNED BY regress_wp_other;
DROP ROLE regress_wp_other;
DROP SCHEMA regress_wp CASCADE;
