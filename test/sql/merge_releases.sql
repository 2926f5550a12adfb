--
-- What releases of PostgreSQL say otherwise about a definition: MERGE without
-- RETURNING and WHEN NOT MATCHED BY SOURCE before 17, and hints of its own.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set VERBOSITY default
\set SHOW_CONTEXT never
\set ECHO all
CREATE TABLE order_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id uuid NOT NULL, amount numeric);
CREATE TABLE orders_view (order_id uuid PRIMARY KEY, total numeric NOT NULL DEFAULT 0);
CREATE FUNCTION whens(whens text) RETURNS jsonb LANGUAGE sql
    RETURN wallet_projection.definition_describe('MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id ' || whens);
SELECT whens('WHEN MATCHED THEN DELETE RETURNING *');
SELECT whens('WHEN NOT MATCHED BY SOURCE THEN DELETE');
SELECT whens('WHEN MATCHED THEN UPDATE SET o.total = 1');
SELECT whens('WHEN NOT MATCHED THEN INSERT (order_id, total) VALUES (e.order_id, o.total)');
SELECT whens('WHEN NOT MATCHED AND o.total > 1 THEN INSERT (order_id, total) VALUES (e.order_id, 1)');
SELECT wallet_projection.definition_describe('MERGE INTO orders_view o USING (SELECT * FROM order_events) ON o.order_id = order_id WHEN MATCHED THEN DELETE');
SELECT wallet_projection.definition_describe('MERGE INTO orders_view o USING (SELECT order_id FROM order_events e GROUP BY 1) e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id) VALUES (e.order_id)');
-- the same is refused where a projection is created
SELECT error_of($$ SELECT projection_create('orders', 'MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED BY SOURCE THEN DELETE') $$);
SELECT error_of($$ SELECT projection_create('orders', 'MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE RETURNING o.order_id') $$);
DROP SCHEMA regress_wp CASCADE;
