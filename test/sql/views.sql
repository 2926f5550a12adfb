--
-- Do the views say how things stand, also when they stand badly?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

\set status 'SELECT projection, stream, channel, state, partitions, head, last_position, lag_events, gaps, parked, dead_letters, last_error FROM projection_status'

SELECT c.relname, string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.oid IN ('projection_status'::regclass, 'projection_partitions'::regclass, 'projection_workers'::regclass) GROUP BY 1 ORDER BY 1;

-- declared; nothing there
:status;
SELECT * FROM projection_partitions;
SELECT projection_set('wallet_balance', 'partitions', '2');
:status;

-- initialized; nothing in the stream
SELECT projection_init('wallet_balance');
:status;
SELECT * FROM projection_partitions ORDER BY partition;

-- behind, on the way, up to date
SELECT count(wallet_create('w' || i, i)) FROM generate_series(1, 10) i;
:status;
SELECT projection_run('wallet_balance', 4);
:status;
SELECT * FROM projection_partitions ORDER BY partition;
SELECT projection_run('wallet_balance');
:status;
-- events of one's own transaction, and those that were taken back
BEGIN;
SELECT wallet_debit('w10', 1);
SELECT lag_events FROM projection_status;
ROLLBACK;
SELECT lag_events FROM projection_status;
SELECT projection_run('wallet_balance');
SELECT lag_events, head, last_position FROM projection_status;

-- partitions at different positions, with gaps: the worst of each
INSERT INTO wallet_projection.position SELECT projection, lane, version, 1, turn + 1, 2, 7, '{[2,3)}', written FROM wallet_projection.position;
UPDATE wallet_projection.position SET gaps = '{[3,5),[8,9)}', groups = 1 WHERE part = 0;
SELECT * FROM projection_partitions ORDER BY partition;
:status;
SELECT progress FROM projection_status;
SELECT wallet_projection.progress_bar(p) FROM unnest(ARRAY[0, 0.04, 0.0999, 0.5, 0.999, 1, NULL]) p;
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');
:status;

-- a stream that is not caught up with is late, and one that is, is not
SELECT lag_events, lag_time, catch_up_time, progress FROM projection_status;
SELECT wallet_credit('w1', 1);
SELECT lag_events, lag_time > '0' AND lag_time < '1 min', progress FROM projection_status;
SELECT wallet_projection.pending_since('wallet_balance') = max(created_at) FROM wallet_stream;
SELECT projection_run('wallet_balance');
SELECT lag_events, lag_time, catch_up_time, progress FROM projection_status;
SELECT wallet_projection.pending_since('wallet_balance');
-- failed
SELECT append_event('bad', 'WalletWasDebited', '{"amount": 1}') \gset
CALL projection_consume('async_projection', stop_on_failure => true);
:status;
DELETE FROM wallet_stream WHERE aggregate_id = 'bad';
SELECT projection_run('wallet_balance');
:status;

-- a stream that cannot be trusted, or is gone, does not hide the rest
ALTER SEQUENCE wallet_stream_no_seq CACHE 10;
SELECT projection, head FROM projection_status;
SELECT count(*) FROM projection_partitions;
ALTER SEQUENCE wallet_stream_no_seq CACHE 1;
ALTER TABLE wallet_stream RENAME metadata TO meta;
SELECT projection, head FROM projection_status;
ALTER TABLE wallet_stream RENAME meta TO metadata;
ALTER TABLE wallet_stream RENAME TO other_name;
SELECT projection, state, head, last_position, lag_events FROM projection_status;
ALTER TABLE other_name RENAME TO wallet_stream;
TRUNCATE wallet_stream RESTART IDENTITY;
SELECT projection, state, head, last_position, lag_events FROM projection_status;
DROP TABLE wallet_stream;
SELECT projection, state, head, last_position, lag_events FROM projection_status;
SELECT * FROM projection_partitions ORDER BY partition;

-- a read model that is gone: the projection is not ready
DROP TABLE wallet_balances;
SELECT projection, state <> 'ready' FROM projection_status;
SELECT projection_delete('wallet_balance');
:status;

DROP SCHEMA regress_wp CASCADE;
