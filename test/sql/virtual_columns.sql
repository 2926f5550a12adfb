--
-- Generated columns that are not stored (PostgreSQL 18 and later): a definition
-- does without them; tables that have them are streams and read models.
--
SELECT current_setting('server_version_num')::int < 180000 AS skip \gset
\if :skip
\quit
\endif
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE order_events (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id text NOT NULL,
    amount numeric,
    twice numeric GENERATED ALWAYS AS (amount * 2),
    lower_id text GENERATED ALWAYS AS (lower(order_id)) VIRTUAL);
SELECT stream_attach('order_events', 'order_events');
CREATE TABLE orders (
    order_id text PRIMARY KEY,
    total numeric NOT NULL,
    half numeric GENERATED ALWAYS AS (total / 2) NOT NULL CHECK (half < 100));
-- as an event's value, in its key, in a filter; as the row's value
SELECT projection_create('twice', 'MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, total) VALUES (e.order_id, e.twice)');
SELECT projection_create('lower', 'MERGE INTO orders o USING order_events e ON o.order_id = e.lower_id WHEN NOT MATCHED THEN INSERT (order_id, total) VALUES (e.lower_id, e.amount)');
SELECT projection_create('filter', 'MERGE INTO orders o USING (SELECT * FROM order_events WHERE twice > 1) e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, total) VALUES (e.order_id, e.amount)');
SELECT projection_create('half', 'MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN UPDATE SET total = o.half');
SELECT projection_create('set', 'MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN UPDATE SET half = e.amount');
SELECT projection_create('by_number', 'MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, total) VALUES (e.order_id, e.amount)', key => 'twice');
-- a statement
CREATE TABLE log (order_id text, twice numeric);
SELECT projection_create('log', 'INSERT INTO log SELECT order_id, twice FROM events', stream => 'order_events');
SELECT projection_create('log_2', 'INSERT INTO log SELECT order_id, amount * 2 FROM events', stream => 'order_events', key => 'lower_id');
-- its number
CREATE TABLE numbers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, no bigint GENERATED ALWAYS AS (id) VIRTUAL NOT NULL);
SELECT stream_attach('numbers', 'numbers', 'no');
-- without them: constraints over a row's are checked
\set orders 'MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, total) VALUES (e.order_id, e.amount) WHEN MATCHED THEN UPDATE SET total = o.total + e.amount'
SELECT projection_create('orders', :'orders');
INSERT INTO order_events (order_id, amount) VALUES ('a', 1), ('B', 2), ('a', 3), ('c', 150), ('c', 60), ('B', NULL), ('B', 5);
SELECT projection_run('orders');
SELECT * FROM orders ORDER BY 1;
SELECT projection_run('log');
SELECT * FROM log;
SELECT partition_key, no, waiting, sqlstate, message FROM projection_dead_letters ORDER BY no;
UPDATE order_events SET amount = 50 WHERE no = 4;
UPDATE order_events SET amount = 4 WHERE no = 6;
SELECT dead_letter_replay_all('orders');
SELECT * FROM orders ORDER BY 1;
SELECT projection_try(:'orders', '[{"order_id": "d", "amount": 7}]');
SELECT projection_row_at('orders', 'a', 1);
-- they are not compared, as they are not stored; they follow what is
SELECT * FROM projection_verify('orders');
UPDATE orders SET total = 5 WHERE order_id = 'a';
SELECT * FROM projection_verify('orders');
CALL projection_rebuild('orders');
SELECT * FROM orders ORDER BY 1;
-- tables that have them are alike if those are
CREATE TABLE orders_new (LIKE orders INCLUDING ALL);
SELECT projection_create('orders_new', replace(:'orders', 'orders o', 'orders_new o'));
SELECT projection_run('orders_new');
SELECT * FROM projection_compare('orders', 'orders_new');
SELECT projection_promote('orders_new', 'orders');
ALTER TABLE orders_new DROP half;
ALTER TABLE orders_new ADD half numeric GENERATED ALWAYS AS (total / 3) VIRTUAL;
SELECT projection_promote('orders', 'orders_new');
\x on
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'orders'::regclass;
\x off
SELECT projection_promote('orders_new', 'orders');
SELECT projection_reset('orders');
SELECT projection_run('orders');
SELECT * FROM orders ORDER BY 1;
DROP SCHEMA regress_wp CASCADE;
