--
-- Does bad input get a clear error, whatever the argument?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT stream_create('orders');
SELECT projection_init('wallet_balance');
SELECT wallet_create('w1', 100);
CREATE VIEW everything AS
SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM wallet_stream) AS wallet_stream, (SELECT count(*) FROM wallet_balances) AS wallet_balances,
       (SELECT count(*) FROM wallet_projection.stream) AS streams, (SELECT s FROM wallet_projection.projection_state s) IS DISTINCT FROM NULL AS state,
       (SELECT md5(string_agg(p::text, ' ' ORDER BY partition)) FROM projection_partitions p) AS positions;
CREATE TABLE before AS SELECT * FROM everything;

-- every argument of every function, null
SELECT n, error_of(call) FROM (VALUES
    (1, 'SELECT stream_create(NULL)'),
    (2, $$ SELECT stream_append(NULL, 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$),
    (3, $$ SELECT stream_append('orders', NULL, 'o1', '[{"event_name": "e", "payload": {}}]') $$),
    (4, $$ SELECT stream_append('orders', 'Order', NULL, '[{"event_name": "e", "payload": {}}]') $$),
    (5, $$ SELECT stream_append('orders', 'Order', 'o1', NULL) $$),
    (6, $$ SELECT * FROM stream_read(NULL, 'Order', 'o1') $$),
    (7, $$ SELECT * FROM stream_read('orders', NULL, 'o1') $$),
    (8, $$ SELECT * FROM stream_read('orders', 'Order', NULL) $$),
    (9, $$ SELECT * FROM stream_read('orders', 'Order', 'o1', NULL) $$),
    (10, 'SELECT wallet_create(NULL, 1)'),
    (11, $$ SELECT wallet_create('w2', NULL) $$),
    (12, 'SELECT wallet_create(NULL)'),
    (13, 'SELECT wallet_debit(NULL, 1)'),
    (14, $$ SELECT wallet_debit('w1', NULL) $$),
    (15, 'SELECT wallet_credit(NULL, 1)'),
    (16, $$ SELECT wallet_credit('w1', NULL) $$),
    (17, 'SELECT wallet_get_balance(NULL)'),
    (18, 'SELECT wallet_get_statistics(NULL)'),
    (19, 'SELECT projection_init(NULL)'),
    (20, 'SELECT projection_delete(NULL)'),
    (21, 'SELECT projection_reset(NULL)'),
    (22, 'SELECT projection_run(NULL)'),
    (23, 'SELECT projection_backfill(NULL)'),
    (24, $$ SELECT projection_set(NULL, 'channel', 'c') $$),
    (25, $$ SELECT projection_set('wallet_balance', NULL, 'c') $$),
    (26, $$ SELECT projection_set('wallet_balance', 'channel', NULL) $$),
    (27, $$ SELECT projection_set('wallet_balance', 'partitions', NULL) $$),
    (28, $$ SELECT projection_set('wallet_balance', 'batch_size', NULL) $$)) v (n, call) ORDER BY n;
CALL projection_consume(NULL);
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('async_projection', stop_on_failure => NULL);
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('async_projection', finish_when_no_messages => NULL);
\echo :LAST_ERROR_SQLSTATE
-- where null is an answer
SELECT wallet_projection.last_position(NULL), wallet_projection.gaps(NULL, 0), wallet_projection.gaps('wallet_balance', NULL), wallet_projection.gaps('wallet_balance', -1),
       wallet_projection.gaps('wallet_balance', 16), wallet_projection.gaps('nobody', 0);

-- empty
SELECT n, error_of(call) FROM (VALUES
    (1, $$ SELECT stream_create('') $$),
    (2, $$ SELECT stream_append('', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$),
    (3, $$ SELECT stream_append('orders', '', 'o1', '[{"event_name": "e", "payload": {}}]') $$),
    (4, $$ SELECT stream_append('orders', 'Order', '', '[{"event_name": "e", "payload": {}}]') $$),
    (5, $$ SELECT * FROM stream_read('', 'Order', 'o1') $$),
    (6, $$ SELECT * FROM stream_read('orders', '', 'o1') $$),
    (7, $$ SELECT * FROM stream_read('orders', 'Order', '') $$),
    (8, $$ SELECT wallet_create('', 1) $$),
    (9, $$ SELECT wallet_debit('', 1) $$),
    (10, $$ SELECT wallet_credit('', 1) $$),
    (11, $$ SELECT wallet_get_balance('') $$),
    (12, $$ SELECT wallet_get_statistics('') $$),
    (13, $$ SELECT projection_init('') $$),
    (14, $$ SELECT projection_delete('') $$),
    (15, $$ SELECT projection_reset('') $$),
    (16, $$ SELECT projection_run('') $$),
    (17, $$ SELECT projection_backfill('') $$),
    (18, $$ SELECT projection_set('', 'channel', 'c') $$),
    (19, $$ SELECT projection_set('wallet_balance', '', 'c') $$),
    (20, $$ SELECT projection_set('wallet_balance', 'channel', '') $$),
    (21, $$ SELECT projection_set('wallet_balance', 'partitions', '') $$),
    (22, $$ SELECT projection_set('wallet_balance', 'batch_size', '') $$)) v (n, call) ORDER BY n;
CALL projection_consume('');
\echo :LAST_ERROR_SQLSTATE

-- too long
SELECT n, error_of(call) FROM (VALUES
    (1, $$ SELECT stream_create(repeat('s', 64)) $$),
    (2, $$ SELECT stream_append(repeat('s', 64), 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$),
    (3, $$ SELECT stream_append('orders', repeat('t', 256), 'o1', '[{"event_name": "e", "payload": {}}]') $$),
    (4, $$ SELECT stream_append('orders', 'Order', repeat('i', 256), '[{"event_name": "e", "payload": {}}]') $$),
    (5, $$ SELECT * FROM stream_read(repeat('s', 64), 'Order', 'o1') $$),
    (6, $$ SELECT * FROM stream_read('orders', repeat('t', 256), 'o1') $$),
    (7, $$ SELECT * FROM stream_read('orders', 'Order', repeat('i', 256)) $$),
    (8, $$ SELECT wallet_create(repeat('w', 256), 1) $$),
    (9, $$ SELECT wallet_debit(repeat('w', 256), 1) $$),
    (10, $$ SELECT wallet_credit(repeat('w', 1000000), 1) $$),
    (11, $$ SELECT wallet_get_balance(repeat('w', 256)) $$),
    (12, $$ SELECT wallet_get_statistics(repeat('w', 256)) $$),
    (13, $$ SELECT projection_init(repeat('p', 64)) $$),
    (14, $$ SELECT projection_delete(repeat('p', 64)) $$),
    (15, $$ SELECT projection_reset(repeat('p', 64)) $$),
    (16, $$ SELECT projection_run(repeat('p', 64)) $$),
    (17, $$ SELECT projection_backfill(repeat('p', 1000000)) $$),
    (18, $$ SELECT projection_set(repeat('p', 64), 'channel', 'c') $$),
    (19, $$ SELECT projection_set('wallet_balance', repeat('o', 65), 'c') $$),
    (20, $$ SELECT projection_set('wallet_balance', 'channel', repeat('c', 64)) $$),
    (21, $$ SELECT projection_set('wallet_balance', 'partitions', repeat('0', 65)) $$),
    (22, $$ SELECT projection_set('wallet_balance', 'batch_size', repeat('0', 65)) $$)) v (n, call) ORDER BY n;
CALL projection_consume('cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc');
\echo :LAST_ERROR_SQLSTATE

-- negative, zero, too large
SELECT n, error_of(call) FROM (VALUES
    (1, $$ SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]', -1) $$),
    (2, $$ SELECT * FROM stream_read('orders', 'Order', 'o1', 0) $$),
    (3, $$ SELECT * FROM stream_read('orders', 'Order', 'o1', -9223372036854775808) $$),
    (4, $$ SELECT * FROM stream_read('orders', 'Order', 'o1', 1, -1) $$),
    (5, $$ SELECT wallet_create('w2', -1) $$),
    (6, $$ SELECT wallet_create(-1) $$),
    (7, $$ SELECT wallet_debit('w1', -1) $$),
    (8, $$ SELECT wallet_debit('w1', 1, -1) $$),
    (9, $$ SELECT wallet_credit('w1', -1) $$),
    (10, $$ SELECT wallet_credit('w1', 1, -9223372036854775808) $$),
    (11, $$ SELECT projection_run('wallet_balance', 0) $$),
    (12, $$ SELECT projection_run('wallet_balance', -1) $$),
    (13, $$ SELECT projection_backfill('wallet_balance', 0) $$),
    (14, $$ SELECT projection_backfill('wallet_balance', -2147483648) $$),
    (15, $$ SELECT projection_set('wallet_balance', 'partitions', '0') $$),
    (16, $$ SELECT projection_set('wallet_balance', 'partitions', '-1') $$),
    (17, $$ SELECT projection_set('wallet_balance', 'partitions', '1025') $$),
    (18, $$ SELECT projection_set('wallet_balance', 'batch_size', '0') $$),
    (19, $$ SELECT projection_set('wallet_balance', 'batch_size', '10000001') $$),
    (20, $$ SELECT projection_set('wallet_balance', 'batch_size', '18446744073709551617') $$)) v (n, call) ORDER BY n;
CALL projection_consume('async_projection', 0);
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('async_projection', -1);
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('async_projection', time_limit => '0');
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('async_projection', time_limit => '-1 day');
\echo :LAST_ERROR_SQLSTATE
CALL projection_consume('async_projection', time_limit => '1000000 years');
\echo :LAST_ERROR_SQLSTATE

-- not a number; of another type
SELECT n, error_of(call) FROM (VALUES
    (1, $$ SELECT wallet_create('w2', 'NaN') $$),
    (2, $$ SELECT wallet_create('NaN'::numeric) $$),
    (3, $$ SELECT wallet_debit('w1', 'NaN') $$),
    (4, $$ SELECT wallet_credit('w1', 'NaN') $$),
    (5, $$ SELECT wallet_create('w2', 'Infinity') $$),
    (6, $$ SELECT wallet_debit('w1', 'Infinity') $$),
    (7, $$ SELECT wallet_credit('w1', '-Infinity') $$),
    (8, $$ SELECT wallet_debit('w1', 'a lot') $$),
    (9, $$ SELECT wallet_credit('w1', 1::float8) $$),
    (10, $$ SELECT wallet_create(1, 1) $$),
    (11, $$ SELECT stream_append('orders', 'Order', 'o1', 'no JSON') $$),
    (12, $$ SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]', 'new') $$),
    (13, $$ SELECT projection_run('wallet_balance', 1.5) $$),
    (14, $$ SELECT projection_run('wallet_balance', 'all') $$),
    (15, $$ SELECT projection_set('wallet_balance', 'batch_size', 'many') $$),
    (16, $$ SELECT projection_set('wallet_balance', 'batch_size', '10 ') $$),
    (17, $$ SELECT projection_set('wallet_balance', 'batch_size', '1e3') $$),
    (18, $$ SELECT projection_set('wallet_balance', 'partitions', '1.5') $$),
    (19, $$ SELECT projection_set('wallet_balance', 'partitions', 'NaN') $$)) v (n, call) ORDER BY n;

-- what does not exist
SELECT n, error_of(call) FROM (VALUES
    (1, $$ SELECT stream_append('none', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$),
    (2, $$ SELECT * FROM stream_read('no"ne', 'Order', 'o1') $$),
    (3, $$ SELECT wallet_debit('none', 1) $$),
    (4, $$ SELECT wallet_credit('none', 1) $$),
    (5, $$ SELECT projection_init('none') $$),
    (6, $$ SELECT projection_delete('none') $$),
    (7, $$ SELECT projection_reset('none') $$),
    (8, $$ SELECT projection_run('Wallet_Balance') $$),
    (9, $$ SELECT projection_backfill('none') $$),
    (10, $$ SELECT projection_set('none', 'channel', 'c') $$),
    (11, $$ SELECT projection_set('wallet_balance', 'Channel', 'c') $$),
    (12, $$ SELECT projection_set('wallet_balance', 'mode', 'sync') $$)) v (n, call) ORDER BY n;
CALL projection_consume('none');
\echo :LAST_ERROR_SQLSTATE
SELECT wallet_get_balance('none'), wallet_get_statistics('none'), wallet_projection.last_position('none');

-- and nothing has changed
SELECT everything = before FROM everything, before;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- the catalog's own tables, written by hand: a handler that does not exist
INSERT INTO wallet_projection.projection (name, stream, aggregate_type, handler) VALUES ('mine', 'orders', 'Order', 'no such handler');
SELECT error_of($$ SELECT projection_init('mine') $$);

DROP SCHEMA regress_wp CASCADE;
