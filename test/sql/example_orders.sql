--
-- An example to copy: one table of order events, and three read models of it:
-- orders by state, spend per customer, stock per product and day.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\pset tuples_only off
\pset format aligned
\pset null ''
\set ECHO all

-- The events. A line of an order is an element of the payload's "lines".
CREATE TABLE order_events (
    no          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    uuid NOT NULL,
    version     integer NOT NULL,
    event_type  text NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL,
    UNIQUE (order_id, version)
);

-- 1. Orders, each with its state. Writers of one order wait for each other at
-- the unique index (order_id, version), so nothing needs to be said of order.
CREATE TABLE orders (
    order_id  uuid PRIMARY KEY,
    customer  text NOT NULL,
    state     text NOT NULL CHECK (state IN ('placed', 'paid', 'shipped')),
    total     numeric(10,2) NOT NULL,
    placed_at timestamptz NOT NULL,
    paid_at   timestamptz
);
SELECT projection_create('orders', $$
  MERGE INTO orders o USING order_events e ON o.order_id = e.order_id
  WHEN NOT MATCHED AND e.event_type = 'PLACED' THEN
       INSERT (order_id, customer, state, total, placed_at)
       VALUES (e.order_id, e.payload->>'customer', 'placed', (e.payload->>'total')::numeric, e.occurred_at)
  WHEN MATCHED AND e.event_type = 'PAID' THEN UPDATE SET state = 'paid', paid_at = e.occurred_at
  WHEN MATCHED AND e.event_type = 'SHIPPED' THEN UPDATE SET state = 'shipped'
  WHEN MATCHED AND e.event_type = 'CANCELLED' THEN DELETE
$$, strict => true);

-- 2. What a customer has spent. The event PAID names the customer and the
-- amount, so the customer can be the key. Sums may be added in any order.
CREATE TABLE customer_spend (
    customer text PRIMARY KEY,
    payments bigint NOT NULL,
    spent    numeric NOT NULL
);
SELECT projection_create('customer_spend', $$
  INSERT INTO customer_spend AS s (customer, payments, spent)
  SELECT e.payload->>'customer', 1, (e.payload->>'amount')::numeric
    FROM order_events e WHERE e.event_type = 'PAID'
  ON CONFLICT (customer) DO UPDATE SET payments = s.payments + 1, spent = s.spent + EXCLUDED.spent
$$, ordering => 'arrival');

-- 3. Pieces that have left the stock, per product and day: an event has many
-- lines, each line goes to the row of its product and day.
CREATE TABLE stock_per_day (
    sku    text,
    day    date,
    pieces bigint NOT NULL,
    PRIMARY KEY (sku, day)
);
SELECT projection_create('stock_per_day', $$
  MERGE INTO stock_per_day s
  USING (SELECT l.line->>'sku' AS sku, (e.occurred_at AT TIME ZONE 'UTC')::date AS day,
                (l.line->>'quantity')::bigint * CASE e.event_type WHEN 'SHIPPED' THEN -1 ELSE 1 END AS pieces
           FROM order_events e, jsonb_array_elements(e.payload->'lines') WITH ORDINALITY AS l(line, ord)
          WHERE e.event_type IN ('SHIPPED', 'RETURNED')) e
     ON s.sku = e.sku AND s.day = e.day
  WHEN NOT MATCHED THEN INSERT (sku, day, pieces) VALUES (e.sku, e.day, e.pieces)
  WHEN MATCHED THEN UPDATE SET pieces = s.pieces + e.pieces
$$, ordering => 'arrival');

-- What an application writes.
INSERT INTO order_events (order_id, version, event_type, payload, occurred_at) VALUES
('00000000-0000-0000-0000-000000000001', 1, 'PLACED', '{"customer": "alice", "total": 30}', '2026-01-05 10:00'),
('00000000-0000-0000-0000-000000000002', 1, 'PLACED', '{"customer": "bob", "total": 8.5}', '2026-01-05 11:00'),
('00000000-0000-0000-0000-000000000001', 2, 'PAID', '{"customer": "alice", "amount": 30}', '2026-01-05 12:00'),
('00000000-0000-0000-0000-000000000003', 1, 'PLACED', '{"customer": "alice", "total": 4}', '2026-01-06 09:00'),
('00000000-0000-0000-0000-000000000001', 3, 'SHIPPED', '{"lines": [{"sku": "tea", "quantity": 2}, {"sku": "cup", "quantity": 1}]}', '2026-01-06 10:00'),
('00000000-0000-0000-0000-000000000002', 2, 'CANCELLED', '{}', '2026-01-06 11:00'),
('00000000-0000-0000-0000-000000000003', 2, 'PAID', '{"customer": "alice", "amount": 4}', '2026-01-06 12:00'),
('00000000-0000-0000-0000-000000000003', 3, 'SHIPPED', '{"lines": [{"sku": "tea", "quantity": 1}, {"sku": "tea", "quantity": 4}]}', '2026-01-06 23:00');

-- Background workers would have done it by now.
SELECT projection_run('orders'), projection_run('customer_spend'), projection_run('stock_per_day');
SELECT * FROM orders ORDER BY order_id;
SELECT state, count(*), sum(total) FROM orders GROUP BY state ORDER BY state;
SELECT * FROM customer_spend ORDER BY customer;
SELECT * FROM stock_per_day ORDER BY sku, day;

-- An event that "orders" does not know: strict says so, and only this order waits.
INSERT INTO order_events (order_id, version, event_type, payload, occurred_at) VALUES
('00000000-0000-0000-0000-000000000003', 4, 'RETURNED', '{"lines": [{"sku": "tea", "quantity": 1}]}', '2026-01-07 10:00'),
('00000000-0000-0000-0000-000000000004', 1, 'PLACED', '{"customer": "carol", "total": 1}', '2026-01-07 11:00');
SELECT projection_run('orders'), projection_run('customer_spend'), projection_run('stock_per_day');
SELECT projection, partition_key, no, event_name, sqlstate, message FROM projection_dead_letters;
SELECT order_id, state FROM orders ORDER BY order_id;
SELECT * FROM stock_per_day ORDER BY sku, day;

-- Made again from the first event, they are the same.
CREATE TABLE spent_before AS TABLE customer_spend;
CREATE TABLE stock_before AS TABLE stock_per_day;
SELECT projection_reset('customer_spend'), projection_reset('stock_per_day');
SELECT projection_run('customer_spend'), projection_run('stock_per_day');
SELECT count(*) FROM (TABLE customer_spend EXCEPT TABLE spent_before) d;
SELECT count(*) FROM (TABLE stock_per_day EXCEPT TABLE stock_before) d;
-- And they are what one query over all events says.
SELECT payload->>'customer' AS customer, count(*) AS payments, sum((payload->>'amount')::numeric) AS spent
  FROM order_events WHERE event_type = 'PAID' GROUP BY 1
EXCEPT TABLE customer_spend;

\set ECHO none
DROP SCHEMA regress_wp CASCADE;
