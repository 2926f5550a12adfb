--
-- Declared projections, run: what random definitions have found
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text, kind text, cents int, lines jsonb);
INSERT INTO orders (order_id, kind, cents, lines) VALUES
    ('a', 'placed', 5, '[{"sku": "x", "kind": "placed"}, {"sku": "y", "kind": "paid"}]'),
    ('b', NULL, 0, '[]'), ('c', 'placed', 0, '[{"sku": "x", "kind": "placed"}]');

-- Items of a join, in each spelling
CREATE TABLE by_sku (sku text PRIMARY KEY, orders text[] NOT NULL);
CREATE FUNCTION run_with(source text) RETURNS SETOF by_sku LANGUAGE plpgsql AS $$
BEGIN
    PERFORM projection_create('by_sku', 'MERGE INTO by_sku s USING (' || source || ') e ON s.sku = e.sku
        WHEN MATCHED THEN UPDATE SET orders = s.orders || e.order_id
        WHEN NOT MATCHED THEN INSERT VALUES (e.sku, ARRAY[e.order_id])');
    PERFORM projection_run('by_sku');
    RETURN QUERY SELECT * FROM by_sku ORDER BY sku;
    PERFORM projection_drop('by_sku');
    DELETE FROM by_sku;
END $$;
SELECT * FROM run_with('SELECT o.order_id, l.sku FROM orders o, jsonb_to_recordset(o.lines) AS l (sku text)');
SELECT * FROM run_with('SELECT o.order_id, l.sku FROM orders o CROSS JOIN LATERAL jsonb_to_recordset(o.lines) AS l (sku text)');
SELECT * FROM run_with('SELECT o.order_id, coalesce(l.sku, ''none'') AS sku FROM orders o LEFT JOIN LATERAL jsonb_to_recordset(o.lines) AS l (sku text) ON l.sku <> ''y''');
SELECT * FROM run_with('SELECT order_id, sku FROM orders JOIN LATERAL jsonb_to_recordset(lines) AS l (sku text, kind text) USING (kind)');
SELECT * FROM run_with('SELECT o.order_id, l.sku || i AS sku FROM orders o CROSS JOIN LATERAL jsonb_to_recordset(o.lines) AS l (sku text) CROSS JOIN generate_series(1, 2) i');

-- What comes behind a null of an AND is not evaluated, so it does not fail
CREATE TABLE rates (order_id text PRIMARY KEY, rate int);
SELECT projection_create('rates', $$
    MERGE INTO rates r USING orders e ON r.order_id = e.order_id
    WHEN NOT MATCHED AND e.kind = 'placed' AND 10 / e.cents > 1 THEN INSERT VALUES (e.order_id, 10 / e.cents)
    WHEN NOT MATCHED THEN INSERT VALUES (e.order_id, NULL) $$);
SELECT projection_run('rates');
SELECT * FROM rates ORDER BY 1;
SELECT no, partition_key, sqlstate FROM projection_dead_letters;

-- Events with which nothing is done leave no row, and that is no finding
CREATE TABLE nothing (order_id text PRIMARY KEY);
SELECT projection_create('nothing', $$
    MERGE INTO nothing n USING orders e ON n.order_id = e.order_id WHEN NOT MATCHED AND e.cents > 99 THEN INSERT VALUES (e.order_id) $$);
SELECT projection_run('nothing');
SELECT projection_run('nothing');
SELECT state, last_error FROM projection_status WHERE projection = 'nothing';
INSERT INTO orders (order_id, cents) VALUES ('d', 100);
SELECT projection_run('nothing');
TABLE nothing;

-- nor is an empty table where rows are deleted
CREATE TABLE tickets (order_id text PRIMARY KEY);
SELECT projection_create('tickets', $$
    MERGE INTO tickets t USING orders e ON t.order_id = e.order_id
    WHEN NOT MATCHED AND e.kind = 'placed' THEN INSERT VALUES (e.order_id) WHEN MATCHED AND e.kind = 'done' THEN DELETE $$);
SELECT projection_run('tickets');
TABLE tickets;
INSERT INTO orders (order_id, kind) VALUES ('a', 'done'), ('c', 'done');
SELECT projection_run('tickets');
VACUUM tickets;
SELECT state, last_error FROM projection_status WHERE projection = 'tickets';
INSERT INTO orders (order_id, kind) VALUES ('a', 'placed');
SELECT projection_run('tickets');
TABLE tickets;
-- but a table that has lost its rows is
TRUNCATE nothing;
SELECT projection_run('nothing');

\set ECHO none
SET client_min_messages = warning;
DROP SCHEMA regress_wp CASCADE;
