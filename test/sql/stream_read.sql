--
-- Does stream_read give one aggregate's events, all that were asked for, in
-- order?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT stream_create('orders');
SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "e1", "payload": {"x": 1}, "metadata": {"m": true}, "event_id": "00000000-0000-0000-0000-000000000001"},
                                                {"event_name": "e2", "payload": {}}]');
SELECT stream_append('orders', 'Order', 'o2', '[{"event_name": "other", "payload": {}}]');
SELECT stream_append('orders', 'Invoice', 'o1', '[{"event_name": "other", "payload": {}}]');
SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "e3", "payload": {}}, {"event_name": "e4", "payload": {}}, {"event_name": "e5", "payload": {}}]');

-- its columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
 WHERE a.attrelid = 'wallet_projection.event'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata, created_at <= clock_timestamp()
  FROM stream_read('orders', 'Order', 'o1') LIMIT 1;

-- all, and a part
SELECT no, event_name, aggregate_version FROM stream_read('orders', 'Order', 'o1');
SELECT event_name FROM stream_read('orders', 'Order', 'o1', 4);
SELECT event_name FROM stream_read('orders', 'Order', 'o1', 2, 2);
SELECT event_name FROM stream_read('orders', 'Order', 'o1', 1, NULL);
SELECT event_name FROM stream_read('orders', 'Order', 'o1', max_count => 1);
SELECT count(*) FROM stream_read('orders', 'Order', 'o1', 1, 0);
SELECT count(*) FROM stream_read('orders', 'Order', 'o1', 6);
SELECT count(*) FROM stream_read('orders', 'Order', 'o1', 9223372036854775807, 9223372036854775807);
SELECT event_name FROM stream_read('orders', 'Order', 'o1', 5, 9223372036854775807);

-- nobody else's
SELECT event_name FROM stream_read('orders', 'Invoice', 'o1');
SELECT count(*) FROM stream_read('orders', 'Order', 'o3');
SELECT count(*) FROM stream_read('orders', 'order', 'o1');
SELECT count(*) FROM stream_read('orders', 'Order', 'o1 ');
SELECT count(*) FROM stream_read('orders', 'Order', 'o%');
SELECT count(*) FROM stream_read('orders', 'Order', '''; DROP TABLE orders; --');
SELECT error_of($$ SELECT * FROM stream_read('no such stream', 'Order', 'o1') $$);

-- in a join, and for each row of another table
SELECT o.id, r.event_name FROM (VALUES (1, 'o1'), (2, 'o2'), (3, 'o3')) o (n, id)
  LEFT JOIN LATERAL stream_read('orders', 'Order', o.id, max_count => 2) r ON true ORDER BY o.n, r.aggregate_version;
SELECT (stream_read('orders', 'Order', 'o2')).event_name;

-- what the transaction has appended itself, not what it took back
BEGIN;
SELECT stream_append('orders', 'Order', 'o2', '[{"event_name": "mine", "payload": {}}]');
SAVEPOINT s;
SELECT stream_append('orders', 'Order', 'o2', '[{"event_name": "taken back", "payload": {}}]');
ROLLBACK TO s;
SELECT event_name FROM stream_read('orders', 'Order', 'o2');
ROLLBACK;
SELECT event_name FROM stream_read('orders', 'Order', 'o2');

-- columns that were added are not in the result; events in child tables are
ALTER TABLE orders ADD tenant text DEFAULT 't';
CREATE TABLE archive () INHERITS (orders);
INSERT INTO archive (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (1000, gen_random_uuid(), 'archived', 'Order', 'o9', 1, '{}');
SELECT no, event_name FROM stream_read('orders', 'Order', 'o9');

-- a foreign search_path and operators of a user's do no harm
CREATE FUNCTION lie(varchar, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = text, FUNCTION = lie);
SET search_path = regress_wp, pg_catalog;
SELECT count(*) FROM stream_read('orders', 'Order', 'o1');
SET search_path = pg_catalog;
SELECT count(*) FROM regress_wp.stream_read('orders', 'Order', 'o1');
SET search_path = regress_wp;

DROP SCHEMA regress_wp CASCADE;
