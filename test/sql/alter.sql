--
-- Another definition for a projection: what may change, and what stays.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text, kind text, amount text, data jsonb, at timestamptz);
CREATE INDEX ON sales (shop);
CREATE TABLE totals (shop text PRIMARY KEY, n int NOT NULL, total numeric);
SELECT projection_create('totals', $$
  MERGE INTO totals t USING (SELECT * FROM sales WHERE kind <> 'draft') e ON t.shop = e.shop
  WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1, e.amount::numeric)
  WHEN MATCHED THEN UPDATE SET n = t.n + 1, total = t.total + e.amount::numeric $$);
INSERT INTO sales (shop, kind, amount) VALUES ('a', 'sale', '10'), ('b', 'sale', '20'), ('a', 'draft', '1'), ('a', 'sale', '30'), ('c', 'sale', 'bad'), ('c', 'sale', '5');
SELECT projection_run('totals');
SELECT * FROM totals ORDER BY shop;
\set state 'SELECT state, drift, parked FROM projection_status WHERE projection = ''totals'''
:state;

-- A new column with its expression, another filter
ALTER TABLE totals ADD highest numeric;
SELECT projection_alter('totals', $$
  MERGE INTO totals t USING sales e ON t.shop = e.shop
  WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1, e.amount::numeric, e.amount::numeric)
  WHEN MATCHED THEN UPDATE SET n = t.n + 1, total = t.total + e.amount::numeric, highest = greatest(t.highest, e.amount::numeric) $$);
:state;
SELECT definition FROM wallet_projection.definition;
-- rows stay as they are, events go by the new one
SELECT * FROM totals ORDER BY shop;
INSERT INTO sales (shop, kind, amount) VALUES ('a', 'draft', '2'), ('d', 'draft', '4');
SELECT projection_run('totals');
SELECT * FROM totals ORDER BY shop;
-- what is parked stays so, and goes by the new one
SELECT partition_key, no, waiting FROM projection_dead_letters;
UPDATE sales SET amount = '7' WHERE amount = 'bad';
SELECT dead_letter_replay_all('totals');
SELECT * FROM totals WHERE shop = 'c';
SELECT * FROM projection_verify('totals') ORDER BY 1, 3;
CALL projection_rebuild('totals');
:state;
SELECT * FROM totals ORDER BY shop;
SELECT * FROM projection_verify('totals');

-- What stays
CREATE TABLE others (shop text PRIMARY KEY, n int);
CREATE TABLE other_sales (LIKE sales INCLUDING ALL);
SELECT error_of($$ SELECT projection_alter('totals', 'MERGE INTO others t USING sales e ON t.shop = e.shop WHEN MATCHED THEN DELETE') $$);
SELECT error_of($$ SELECT projection_alter('totals', 'MERGE INTO totals t USING other_sales e ON t.shop = e.shop WHEN MATCHED THEN DELETE') $$);
SELECT error_of($$ SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = lower(e.shop) WHEN MATCHED THEN DELETE') $$);
-- a filter may be added, if the key stays; another spelling of the source too
SELECT projection_alter('totals', $$
  MERGE INTO totals USING (SELECT shop AS s, amount::numeric AS a FROM sales WHERE kind <> 'none') AS x ON x.s = totals.shop
  WHEN NOT MATCHED THEN INSERT VALUES (s, 1, a, a)
  WHEN MATCHED THEN UPDATE SET n = totals.n + 1, total = total + a, highest = greatest(highest, a) $$);
-- what creation would refuse
SELECT error_of($$ SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop WHEN MATCHED THEN UPDATE SET n = random()') $$);
SELECT error_of($$ SELECT projection_alter('totals', 'MERGE INTO') $$);
SELECT error_of($$ SELECT projection_alter('totals', NULL) $$);
SELECT error_of($$ SELECT projection_alter(NULL, 'x') $$);
SELECT error_of($$ SELECT projection_alter('none', 'x') $$);
SELECT error_of($$ SELECT projection_alter('wallet_balance', 'x') $$);

-- A definition that has failed is mended by another one
ALTER TABLE totals RENAME highest TO maximum;
INSERT INTO sales (shop, kind, amount) VALUES ('b', 'sale', '100');
SELECT error_of($$ SELECT projection_run('totals') $$);
SELECT projection_alter('totals', $$
  MERGE INTO totals t USING (SELECT * FROM sales WHERE kind <> 'none') e ON t.shop = e.shop
  WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1, e.amount::numeric, e.amount::numeric)
  WHEN MATCHED THEN UPDATE SET n = t.n + 1, total = t.total + e.amount::numeric, maximum = greatest(t.maximum, e.amount::numeric) $$);
SELECT projection_run('totals');
SELECT * FROM totals ORDER BY shop;
-- one whose key can no longer be told is not
ALTER TABLE sales RENAME kind TO type;
SELECT error_of($$ SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop WHEN MATCHED THEN UPDATE SET n = t.n + 1') $$);
ALTER TABLE sales RENAME type TO kind;
-- two alterations, the second one while a rebuild is advised
SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT (shop, n) VALUES (e.shop, 1)');
SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT (shop, n) VALUES (e.shop, 2)');
:state;
CALL projection_rebuild('totals', 'a');
:state;
CALL projection_rebuild('totals');
:state;
SELECT * FROM totals ORDER BY shop;

-- Settings are those of the session that alters
CREATE TABLE days (shop text PRIMARY KEY, day text);
SELECT projection_create('days', 'MERGE INTO days t USING sales e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.at::text)', start_at => 'now');
SET TimeZone = 'Asia/Tokyo';
SELECT projection_alter('days', 'MERGE INTO days t USING sales e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, ''at '' || e.at::text)');
RESET TimeZone;
INSERT INTO sales (shop, kind, at) VALUES ('x', 'sale', '2026-01-01 UTC');
SELECT projection_run('days');
SELECT * FROM days;
-- but where the key depends on them
CREATE TABLE by_day (day text PRIMARY KEY, n int);
SELECT projection_create('by_day', 'MERGE INTO by_day t USING sales e ON t.day = e.at::text WHEN NOT MATCHED THEN INSERT VALUES (e.at::text, 1)');
SET TimeZone = 'Asia/Tokyo';
SELECT error_of($$ SELECT projection_alter('by_day', 'MERGE INTO by_day t USING sales e ON t.day = e.at::text WHEN NOT MATCHED THEN INSERT VALUES (e.at::text, 2)') $$);
RESET TimeZone;
SELECT projection_alter('by_day', 'MERGE INTO by_day t USING sales e ON t.day = e.at::text WHEN NOT MATCHED THEN INSERT VALUES (e.at::text, 2)');

-- A source that multiplies events: more columns of the items, the same items
CREATE TABLE lines (sku text PRIMARY KEY, quantity int, price numeric);
SELECT projection_create('lines', $$
  MERGE INTO lines t USING (SELECT l->>'sku' AS sku, (l->>'q')::int AS q FROM sales s, jsonb_array_elements(s.data) AS l) e ON t.sku = e.sku
  WHEN NOT MATCHED THEN INSERT (sku, quantity) VALUES (e.sku, e.q)
  WHEN MATCHED THEN UPDATE SET quantity = t.quantity + e.q $$);
INSERT INTO sales (data) VALUES ('[{"sku": "s1", "q": 1, "p": 5}, {"sku": "s2", "q": 2, "p": 6}]');
SELECT projection_run('lines');
SELECT projection_alter('lines', $$
  MERGE INTO lines t USING (SELECT s.kind, l->>'sku' AS sku, (l->>'q')::int AS q, (l->>'p')::numeric AS p FROM sales s, jsonb_array_elements(s.data) AS l) e ON t.sku = e.sku
  WHEN NOT MATCHED THEN INSERT (sku, quantity, price) VALUES (e.sku, e.q, e.p)
  WHEN MATCHED AND e.kind IS NULL THEN UPDATE SET quantity = t.quantity + e.q, price = e.p $$);
INSERT INTO sales (data) VALUES ('[{"sku": "s1", "q": 1, "p": 7}]');
SELECT projection_run('lines');
SELECT * FROM lines ORDER BY sku;
SELECT error_of($$ SELECT projection_alter('lines', 'MERGE INTO lines t USING (SELECT l->>''sku'' AS sku FROM sales s, jsonb_array_elements(s.data->''lines'') AS l) e ON t.sku = e.sku WHEN MATCHED THEN DELETE') $$);
CALL projection_rebuild('lines');
SELECT * FROM lines ORDER BY sku;

-- An ordering that an index has proved has to stay proved
CREATE TABLE doc_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, class text NOT NULL, doc text NOT NULL, version int NOT NULL, UNIQUE (class, doc, version));
CREATE TABLE docs (doc text PRIMARY KEY, version int);
SELECT projection_create('docs', 'MERGE INTO docs t USING (SELECT * FROM doc_events WHERE class = ''x'') e ON t.doc = e.doc WHEN NOT MATCHED THEN INSERT VALUES (e.doc, e.version) WHEN MATCHED THEN UPDATE SET version = e.version');
SELECT ordering FROM projection_status WHERE projection = 'docs';
SELECT error_of($$ SELECT projection_alter('docs', 'MERGE INTO docs t USING doc_events e ON t.doc = e.doc WHEN NOT MATCHED THEN INSERT VALUES (e.doc, e.version)') $$);
SELECT projection_alter('docs', 'MERGE INTO docs t USING (SELECT * FROM doc_events WHERE class = ''y'') e ON t.doc = e.doc WHEN NOT MATCHED THEN INSERT VALUES (e.doc, e.version)');

-- Statements: the same tables, the same key
CREATE TABLE log (no bigint, shop text);
SELECT projection_create('log', 'INSERT INTO log SELECT no, shop FROM events', stream => 'sales', key => 'shop');
SELECT projection_run('log') > 0;
SELECT projection_alter('log', 'INSERT INTO log SELECT no, upper(shop) FROM events');
INSERT INTO sales (shop) VALUES ('z');
SELECT projection_run('log');
SELECT * FROM log ORDER BY no DESC LIMIT 1;
SELECT error_of($$ SELECT projection_alter('log', 'INSERT INTO others SELECT shop, no FROM events') $$);
SELECT error_of($$ SELECT projection_alter('log', 'WITH o AS (INSERT INTO others SELECT shop, no FROM events) INSERT INTO log SELECT no, shop FROM events') $$);
SELECT state FROM projection_status WHERE projection = 'log';

-- Rights
CREATE ROLE regress_wp_alter;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_alter;
GRANT SELECT ON sales, totals TO regress_wp_alter;
SET ROLE regress_wp_alter;
SELECT split_part(error_of($$ SELECT projection_alter('totals', 'x') $$), E'\n', 1);
SELECT split_part(error_of($$ SELECT projection_definition('totals') $$), E'\n', 1);
RESET ROLE;
REVOKE ALL ON sales, totals FROM regress_wp_alter;
REVOKE ALL ON SCHEMA regress_wp FROM regress_wp_alter;
DROP ROLE regress_wp_alter;

-- It goes like any other, and an option stands beside it
SELECT projection_set('totals', 'verify_rate', '10');
SELECT value, "default" FROM projection_options WHERE projection = 'totals' AND option = 'verify_rate';
SELECT error_of($$ SELECT projection_set('totals', 'verify_rate', '-1') $$);
SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop WHEN MATCHED THEN DO NOTHING');
SELECT projection_definition('totals'), projection_definition('wallet_balance');
SELECT error_of($$ SELECT projection_definition('nothing') $$);
SELECT projection_reset('totals');
:state;
SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop WHEN MATCHED THEN DO NOTHING');
SELECT projection_drop('totals');
SELECT count(*) FROM wallet_projection.projection_state WHERE projection = 'totals';

DROP SCHEMA regress_wp CASCADE;
