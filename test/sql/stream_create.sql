--
-- Is a stream a table whose positions can be trusted, and nothing else?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

-- the table, in the extension's schema
SELECT stream_create('orders');
SELECT a.attname, format_type(a.atttypid, a.atttypmod), collname, attnotnull AS not_null, attidentity AS identity,
       pg_get_expr(d.adbin, d.adrelid) AS default
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation c ON c.oid = a.attcollation
 WHERE a.attrelid = 'regress_wp.orders'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE conrelid = 'regress_wp.orders'::regclass AND contype <> 'n' ORDER BY conname;
SELECT seqcache, seqincrement, seqcycle, seqmin FROM pg_sequence
 WHERE seqrelid = pg_get_serial_sequence('orders', 'no')::regclass;
SELECT name, relation::regclass FROM wallet_projection.stream;
SELECT wallet_projection.last_position('orders'), wallet_projection.last_position('other');

-- once
SELECT error_of($$ SELECT stream_create('orders') $$);

-- a name that needs quoting, and the longest one
SELECT stream_create('Order "Stream" \ ''1''');
SELECT stream_append('Order "Stream" \ ''1''', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');
SELECT aggregate_id FROM stream_read('Order "Stream" \ ''1''', 'Order', 'o1');
SELECT aggregate_id FROM "Order ""Stream"" \ '1'";
SELECT error_of($$ SELECT stream_append('order "Stream" \ ''1''', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$);
SELECT stream_create(repeat('s', 63));
SELECT stream_append(repeat('s', 63), 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');
SELECT error_of($$ SELECT stream_create(repeat('s', 64)) $$);

-- creation is part of the transaction
BEGIN;
SELECT stream_create('undone');
SELECT stream_append('undone', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');
ROLLBACK;
SELECT error_of($$ SELECT stream_append('undone', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$);
BEGIN;
SAVEPOINT s;
SELECT stream_create('undone');
ROLLBACK TO s;
SELECT stream_create('undone');
SELECT stream_append('undone', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');
COMMIT;
SELECT stream_append('undone', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');

-- a stream whose table was dropped is gone, and can be made again
DROP TABLE undone;
SELECT error_of($$ SELECT stream_append('undone', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$);
SELECT error_of($$ SELECT * FROM stream_read('undone', 'Order', 'o1') $$);
SELECT wallet_projection.last_position('undone');
SELECT stream_create('undone');
SELECT stream_append('undone', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');

-- one whose table was renamed or moved is the same stream
ALTER TABLE orders RENAME TO old_orders;
CREATE SCHEMA regress_wp_other;
ALTER TABLE old_orders SET SCHEMA regress_wp_other;
SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');
SELECT aggregate_version FROM stream_read('orders', 'Order', 'o1');
SELECT error_of($$ SELECT stream_create('orders') $$);
ALTER TABLE regress_wp_other.old_orders SET SCHEMA regress_wp;
ALTER TABLE old_orders RENAME TO orders;
DROP SCHEMA regress_wp_other;

-- another relation has the name
CREATE TABLE taken_by_table (no bigint);
CREATE VIEW taken_by_view AS SELECT 1;
CREATE SEQUENCE taken_by_sequence;
CREATE TYPE taken_by_type AS (no bigint);
CREATE INDEX taken_by_index ON taken_by_table (no);
SELECT error_of($$ SELECT stream_create('taken_by_table') $$);
SELECT error_of($$ SELECT stream_create('taken_by_view') $$);
SELECT error_of($$ SELECT stream_create('taken_by_sequence') $$);
SELECT error_of($$ SELECT stream_create('taken_by_type') $$);
SELECT error_of($$ SELECT stream_create('taken_by_index') $$);

-- a table of exactly a stream's shape is taken over, with its events
CREATE TABLE old_stream (LIKE orders INCLUDING ALL);
INSERT INTO old_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'e', 'Order', 'o1', 1, '{}');
SELECT error_of($$ SELECT stream_append('old_stream', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$);
SELECT stream_create('old_stream');
SELECT stream_append('old_stream', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');

-- a table that was changed so that positions or versions are in danger
CREATE FUNCTION after(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE change;
    result := error_of($q$ SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $q$);
    RAISE SQLSTATE 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
    RETURN result;
END $$;
SELECT after('ALTER TABLE orders ALTER payload TYPE json');
SELECT after('ALTER TABLE orders ALTER metadata DROP NOT NULL');
SELECT after('ALTER TABLE orders RENAME event_name TO name');
SELECT after('ALTER TABLE orders DROP created_at');
SELECT after('ALTER TABLE orders DROP created_at, ADD created_at timestamptz NOT NULL DEFAULT now()');
SELECT after('ALTER TABLE orders ALTER aggregate_id TYPE varchar(255) COLLATE "POSIX"');
SELECT after('ALTER TABLE orders ALTER no SET GENERATED BY DEFAULT');
SELECT after('ALTER TABLE orders ALTER no DROP IDENTITY');
SELECT after('ALTER TABLE orders SET UNLOGGED');
SELECT after('ALTER TABLE orders DROP CONSTRAINT orders_pkey');
SELECT after('ALTER TABLE orders DROP CONSTRAINT orders_event_id_key');
SELECT after('ALTER TABLE orders DROP CONSTRAINT orders_event_id_key, ADD UNIQUE (event_id) DEFERRABLE');
SELECT after('ALTER TABLE orders DROP CONSTRAINT orders_event_id_key; CREATE UNIQUE INDEX ON orders (event_id) WHERE no > 100');
SELECT after('ALTER TABLE orders DROP CONSTRAINT orders_aggregate_type_aggregate_id_aggregate_version_key');
SELECT after('ALTER TABLE orders DROP CONSTRAINT orders_aggregate_type_aggregate_id_aggregate_version_key; CREATE INDEX ON orders (aggregate_type, aggregate_id, aggregate_version)');
-- and one that is not
SELECT after('ALTER TABLE orders ADD tenant text');
SELECT after('ALTER TABLE orders DROP CONSTRAINT orders_event_id_key; CREATE UNIQUE INDEX ON orders (event_id)');
SELECT after('ALTER TABLE orders ALTER event_name TYPE varchar(200)');
SELECT after('SELECT 1');

-- a sequence that does not give numbers one at a time and in order
SELECT projection_init('wallet_balance');
CREATE FUNCTION position_after(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE change;
    result := error_of($q$ SELECT projection_run('wallet_balance') $q$);
    RAISE SQLSTATE 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
    RETURN result;
END $$;
SELECT position_after('ALTER SEQUENCE wallet_stream_no_seq CACHE 10');
SELECT position_after('ALTER SEQUENCE wallet_stream_no_seq INCREMENT 2');
SELECT position_after('ALTER SEQUENCE wallet_stream_no_seq CYCLE');
SELECT position_after('ALTER SEQUENCE wallet_stream_no_seq CACHE 10; ALTER SEQUENCE wallet_stream_no_seq RENAME TO "the ""numbers"""');
SELECT position_after('SELECT 1');

-- an event cannot bring its number along, as it is ...
SELECT error_of($$ INSERT INTO orders (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
                   VALUES (5, gen_random_uuid(), 'e', 'Order', 'o2', 1, '{}') $$);
-- ... and a version stands once
SELECT error_of($$ INSERT INTO orders (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
                   VALUES (gen_random_uuid(), 'e', 'Order', 'o1', 1, '{}') $$);

DROP SCHEMA regress_wp CASCADE;
