--
-- Statement projections: what does one statement over the events do?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE FUNCTION dead_letters() RETURNS SETOF text LANGUAGE sql AS
    $$ SELECT format('%s: %s, event %s, %s waiting: %s: %s', projection, partition_key, no, waiting, sqlstate, message)
         FROM projection_dead_letters ORDER BY 1 $$;
\set ECHO all
SET wallet_projection.autostart = off;

-- The stream's table has lost a column, and got another
CREATE TABLE order_events (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone text, order_id integer, kind text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}', at timestamptz);
ALTER TABLE order_events DROP COLUMN gone;
ALTER TABLE order_events ADD COLUMN customer text;

-- Order lines: an event makes several rows
CREATE TABLE order_lines (no bigint, order_id integer, sku text, quantity integer CHECK (quantity > 0));
\set lines 'INSERT INTO order_lines SELECT e.no, e.order_id, l.* FROM events e, jsonb_to_recordset(e.payload->''lines'') AS l(sku text, quantity int)'
SELECT projection_create('order_lines', :'lines', stream => 'order_events', key => 'order_id');
SELECT kind, key, for_each, columns, ordering FROM wallet_projection.definition;
INSERT INTO order_events (order_id, kind, payload) VALUES
    (1, 'placed', '{"lines": [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 2}]}'),
    (2, 'placed', '{"lines": [{"sku": "a", "quantity": 3}]}'),
    (2, 'added', '{"lines": [{"sku": "c", "quantity": 0}]}'),
    (NULL, 'other', '{"lines": [{"sku": "x", "quantity": 1}]}'),
    (2, 'added', '{"lines": [{"sku": "d", "quantity": 4}]}'),
    (3, 'placed', '{"lines": [{"sku": "d", "quantity": 5}]}');
SELECT projection_run('order_lines');
-- an event of no key is left out; the one that fails stops its key
SELECT * FROM order_lines ORDER BY no, sku;
SELECT dead_letters();
UPDATE order_events SET payload = '{"lines": [{"sku": "c", "quantity": 7}]}' WHERE no = 3;
SELECT dead_letter_replay_all('order_lines');
SELECT * FROM order_lines ORDER BY no, sku;
SELECT projection_reset('order_lines');
SELECT count(*) FROM order_lines;
SELECT projection_run('order_lines');
SELECT count(*) FROM order_lines;
-- the same again is nothing new; another key is
SELECT projection_create('order_lines', :'lines', stream => 'order_events', key => 'order_id', if_not_exists => true);
SELECT projection_create('order_lines', :'lines', stream => 'order_events', key => 'customer', if_not_exists => true);
-- what the text means has changed
ALTER TABLE order_events RENAME COLUMN payload TO body;
SELECT projection_run('order_lines');
ALTER TABLE order_events RENAME COLUMN body TO payload;
ALTER TABLE order_lines ALTER COLUMN quantity TYPE bigint;
SELECT projection_run('order_lines');
ALTER TABLE order_lines ALTER COLUMN quantity TYPE integer;
INSERT INTO order_events (order_id, kind, payload) VALUES (9, 'placed', '{"lines": [{"sku": "z", "quantity": 1}]}');
SELECT projection_run('order_lines');

-- Counts of distinct values, with a table that helps; a batch of any events
CREATE TABLE seen (order_id integer, sku text, PRIMARY KEY (order_id, sku));
CREATE TABLE skus (order_id integer PRIMARY KEY, skus bigint NOT NULL);
\set distinct 'WITH new AS (INSERT INTO seen SELECT DISTINCT e.order_id, l->>''sku'' FROM events e, jsonb_array_elements(e.payload->''lines'') l ON CONFLICT DO NOTHING RETURNING order_id) INSERT INTO skus SELECT order_id, count(*) FROM new GROUP BY 1 ON CONFLICT (order_id) DO UPDATE SET skus = skus.skus + excluded.skus'
SELECT projection_create('skus', :'distinct', stream => 'order_events', key => 'order_id', for_each => 'batch');
SELECT projection_run('skus');
INSERT INTO order_events (order_id, kind, payload) VALUES (1, 'added', '{"lines": [{"sku": "b"}, {"sku": "c"}]}'), (1, 'added', '{"lines": [{"sku": "c"}]}');
SELECT projection_run('skus');
SELECT * FROM skus ORDER BY 1;
CREATE TABLE numbered (order_id integer, id bigint GENERATED ALWAYS AS IDENTITY);
-- two tables: not emptied by one word; the other is taken as well
SELECT projection_reset('skus');
SELECT projection_create('other', 'INSERT INTO seen SELECT order_id, kind FROM events', stream => 'order_events');
SELECT projection_create('other', 'INSERT INTO skus SELECT order_id, 1 FROM events', stream => 'order_events');
SELECT projection_create('other', 'INSERT INTO numbered SELECT order_id FROM events', stream => 'skus');
SELECT projection_drop('skus');
SELECT projection_drop('order_lines');
TRUNCATE skus;
VACUUM skus;

-- Rows that somebody else has made are changed, many by one event; in order
CREATE TABLE prices (sku text, shop integer, price numeric, PRIMARY KEY (sku, shop));
INSERT INTO prices SELECT s, n, 10 FROM unnest('{a,b}'::text[]) s, generate_series(1, 100) n;
CREATE TABLE price_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sku text, plus numeric, factor numeric);
SELECT projection_create('prices', 'UPDATE prices p SET price = (p.price + e.plus) * e.factor FROM events e WHERE e.sku = p.sku', stream => 'price_events', key => 'sku');
INSERT INTO price_events (sku, plus, factor) VALUES ('a', 1, 2), ('b', 5, 1), ('a', 3, 1), ('a', 0, 10);
SELECT projection_run('prices');
SELECT sku, price, count(*) FROM prices GROUP BY 1, 2 ORDER BY 1;
SELECT projection_reset('prices');
SELECT projection_drop('prices');

-- All kinds of statements; a key of several columns, and of an expression
CREATE TABLE open_orders (order_id integer, customer text);
SELECT projection_create('open_orders', $$MERGE INTO open_orders o USING events e ON o.order_id = e.order_id
    WHEN MATCHED AND e.kind = 'closed' THEN DELETE WHEN NOT MATCHED AND e.kind = 'placed' THEN INSERT VALUES (e.order_id, e.customer)$$,
    stream => 'order_events', key => 'order_id, lower(customer)');
INSERT INTO order_events (order_id, kind, customer) VALUES (20, 'placed', 'Ann'), (21, 'placed', 'Bob'), (20, 'closed', 'ANN');
SELECT projection_run('open_orders');
SELECT * FROM open_orders;
-- the last row is deleted, and the table is without a page: nothing is wrong
INSERT INTO order_events (order_id, kind, customer) VALUES (21, 'closed', 'Bob');
SELECT projection_run('open_orders');
VACUUM open_orders;
SELECT pg_relation_size('open_orders');
SELECT projection_run('open_orders');
SELECT state, last_error FROM projection_status WHERE projection = 'open_orders';
SELECT projection_drop('open_orders');
-- no event makes a row: nothing is wrong either
CREATE TABLE never (no bigint);
SELECT projection_create('never', 'INSERT INTO never SELECT no FROM events WHERE kind = ''never''', stream => 'order_events');
SELECT projection_run('never') > 0;
SELECT projection_run('never');
SELECT state, last_error FROM projection_status WHERE projection = 'never';
SELECT projection_drop('never');
-- the same for a MERGE
SELECT projection_create('open_orders', $$MERGE INTO skus s USING order_events e ON s.order_id = e.order_id WHEN NOT MATCHED AND e.kind = 'never' THEN INSERT VALUES (e.order_id, 0)$$);
SELECT projection_run('open_orders') > 0;
SELECT projection_run('open_orders');
SELECT state, last_error FROM projection_status WHERE projection = 'open_orders';
SELECT projection_drop('open_orders');
-- WITH alone, and without a key: one that fails stops all
CREATE TABLE log (no bigint, word text CHECK (word <> 'bad'));
SELECT projection_create('log', 'WITH w AS (INSERT INTO log SELECT no, kind FROM events RETURNING no) SELECT count(*) FROM w',
                         stream => 'order_events', for_each => 'batch', start_at => 'now');
INSERT INTO order_events (kind) VALUES ('good'), ('bad'), ('good');
SELECT projection_run('log');
SELECT word FROM log;
SELECT regexp_replace(d, '\d+, 1', 'N, 1') FROM dead_letters() d;
SELECT dead_letter_delete(id) FROM projection_dead_letters;
SELECT word FROM log;
SELECT projection_drop('log');

-- An event whose key cannot be computed is parked by itself
CREATE TABLE skus_of (id integer, sku text COLLATE "C");
SELECT projection_create('skus_of', 'INSERT INTO skus_of SELECT (payload->>''id'')::int, kind FROM events', stream => 'order_events', key => '(payload->>''id'')::int', start_at => 'now');
INSERT INTO order_events (kind, payload) VALUES ('a', '{"id": 1}'), ('b', '{"id": "one"}'), ('c', '{"id": 1}'), ('d', '{}');
SELECT projection_run('skus_of');
SELECT * FROM skus_of ORDER BY sku;
SELECT by_number, sqlstate, message FROM wallet_projection.parked;
-- a function in the key that is another one now
SELECT projection_drop('skus_of');
CREATE FUNCTION customer_key(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
SELECT projection_create('skus_of', 'INSERT INTO skus_of SELECT no, kind FROM events', stream => 'order_events', key => 'customer_key(customer)', start_at => 'now');
CREATE OR REPLACE FUNCTION customer_key(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper($1)';
SELECT projection_run('skus_of');
SELECT projection_drop('skus_of');

-- One key of a thousand fails, in a batch
CREATE TABLE thousand (key integer, n bigint CHECK (key <> 777 OR n < 3));
CREATE TABLE events_of_many (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key integer, n bigint);
INSERT INTO events_of_many (key, n) SELECT k, n FROM generate_series(1, 4) n, generate_series(1, 1000) k;
SELECT projection_create('thousand', 'INSERT INTO thousand SELECT key, n FROM events', stream => 'events_of_many', key => 'key', for_each => 'batch');
SELECT projection_run('thousand');
SELECT count(*), count(*) FILTER (WHERE key = 777) AS of_777, max(n) FILTER (WHERE key = 777), count(DISTINCT key) FROM thousand;
SELECT dead_letters();
UPDATE events_of_many SET n = 0 WHERE key = 777;
SELECT dead_letter_replay_all('thousand');
SELECT count(*) FROM thousand;
SELECT projection_drop('thousand');

-- Constraints that are deferred, and AFTER triggers: whose fault is it?
CREATE TABLE allowed (n integer PRIMARY KEY);
INSERT INTO allowed SELECT generate_series(1, 100) EXCEPT SELECT 42;
CREATE TABLE checked (key integer, n integer REFERENCES allowed DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION after_checked() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF EXISTS (SELECT FROM new WHERE n = 13) THEN RAISE EXCEPTION 'unlucky'; END IF; RETURN NULL; END $$;
CREATE TRIGGER after_checked AFTER INSERT ON checked REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION after_checked();
CREATE TABLE events_checked (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key integer, n integer);
INSERT INTO events_checked (key, n) SELECT n % 20, n FROM generate_series(1, 100) n;
SELECT projection_create('checked', 'INSERT INTO checked SELECT key, n FROM events', stream => 'events_checked', key => 'key', for_each => 'batch');
SELECT projection_run('checked');
SELECT count(*) FROM checked;
SELECT dead_letters();
SELECT projection_drop('checked');

-- Another table is read; a column that a join does not use makes no difference
CREATE TABLE names (key integer, name text);
INSERT INTO names VALUES (1, 'one');
CREATE TABLE named (key integer, name text);
SELECT projection_create('named', 'INSERT INTO named SELECT e.key, n.name FROM events e LEFT JOIN names n USING (key)', stream => 'events_checked', key => 'key', start_at => 'now');
INSERT INTO events_checked (key, n) VALUES (1, 1), (2, 2);
SELECT projection_run('named');
ALTER TABLE events_checked ADD COLUMN more text;
ALTER TABLE names ADD COLUMN more text;
CREATE TEMP TABLE events (key integer);
INSERT INTO events_checked (key, n) VALUES (1, 3);
SELECT projection_run('named');
SELECT * FROM named ORDER BY 1;
DROP TABLE events;
SELECT projection_drop('named');

-- Tried: nothing stays
SELECT projection_try(:'lines', '[{"order_id": 7, "payload": {"lines": [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 2}]}}, {"payload": {"lines": [{"sku": "n"}]}}, {"order_id": 8, "payload": {"lines": [{"sku": "c", "quantity": 1}]}}]', stream => 'order_events', key => 'order_id');
SELECT projection_try(:'lines', '[{"order_id": 7, "payload": {"lines": [{"sku": "a", "quantity": 0}]}}]', stream => 'order_events', key => 'order_id');
SELECT count(*) FROM order_lines WHERE order_id IN (7, 8);
TRUNCATE seen, skus;
\set events '[{"order_id": 1, "payload": {"lines": [{"sku": "a"}, {"sku": "b"}]}}, {"order_id": 2, "payload": {"lines": [{"sku": "a"}]}}, {"order_id": 1, "payload": {"lines": [{"sku": "b"}, {"sku": "c"}]}}]'
SELECT projection_try(:'distinct', :'events', stream => 'order_events', key => 'order_id', for_each => 'batch');
SELECT (SELECT count(*) FROM seen), (SELECT count(*) FROM skus);
-- counted per batch: depends on how batches are cut
SELECT projection_try('INSERT INTO skus SELECT order_id, count(DISTINCT kind) FROM events GROUP BY 1 ON CONFLICT (order_id) DO UPDATE SET skus = skus.skus + excluded.skus',
                      '[{"order_id": 1, "kind": "a"}, {"order_id": 1, "kind": "a"}]', stream => 'order_events', key => 'order_id', for_each => 'batch');
-- rows of other keys: depends on the order of keys
SELECT projection_try('INSERT INTO skus SELECT e.order_id, (SELECT count(*) FROM skus) FROM events e',
                      '[{"order_id": 1, "kind": "a"}, {"order_id": 2, "kind": "a"}]', stream => 'order_events', key => 'order_id', for_each => 'batch');
SELECT projection_try('INSERT INTO skus SELECT e.order_id, (SELECT count(*) FROM skus) FROM events e',
                      '[{"order_id": 1, "kind": "a"}, {"order_id": 2, "kind": "a"}]', stream => 'order_events', key => 'order_id');
-- the first key wins: depends on which key comes first
SELECT projection_try('INSERT INTO skus SELECT order_id, 0 FROM events WHERE NOT EXISTS (SELECT FROM skus) ORDER BY no LIMIT 1',
                      '[{"order_id": 1, "kind": "a"}, {"order_id": 2, "kind": "a"}]', stream => 'order_events', key => 'order_id', for_each => 'batch');
-- numbers that the table draws by itself make no difference
SELECT projection_try('INSERT INTO numbered (order_id) SELECT order_id FROM events', '[{"order_id": 1}, {"order_id": 2}, {"order_id": 1}]', stream => 'order_events', key => 'order_id', for_each => 'batch');
SELECT projection_try(:'lines', '[]', trace => true, stream => 'order_events');
SELECT projection_try(:'lines', '[]', stream => 'order_events', for_each => 'key');
SELECT projection_try(:'lines', '[]', stream => 'order_events', for_each => NULL);
SELECT projection_try(:'lines', '[{"order_id": "x"}]', stream => 'order_events', key => 'order_id');

-- Refused, with what to do
SELECT projection_create('p', 'SELECT * FROM events', stream => 'order_events');
SELECT projection_create('p', 'TRUNCATE skus', stream => 'order_events');
SELECT projection_create('p', 'CREATE TABLE x AS SELECT * FROM events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO seen SELECT no FROM events; DELETE FROM skus', stream => 'order_events');
SELECT projection_create('p', '/* nothing */', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO order_events (kind) SELECT kind FROM events', stream => 'order_events');
SELECT projection_create('p', 'WITH w AS (UPDATE order_events SET kind = kind RETURNING no) INSERT INTO seen SELECT no FROM events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO events (kind) SELECT kind FROM events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO wallet_projection.skipped (projection) SELECT kind FROM events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO seen SELECT order_id FROM events RETURNING *', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO seen SELECT order_id, $1 FROM events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO seen SELECT order_id, kind FROM order_events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO seen SELECT order_id, now() FROM events', stream => 'order_events');
SELECT projection_create('p', E'INSERT INTO seen\n SELECT order_id, random()\n FROM events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO seen SELECT order_id, payload->>''x''::int FROM events', stream => 'order_events');
SELECT projection_create('p', 'INSERT INTO seen SELECT order_id, misspelt FROM events', stream => 'order_events');
CREATE VIEW hour AS SELECT extract(hour FROM clock_timestamp())::text AS h;
SELECT projection_create('p', 'INSERT INTO seen SELECT order_id, h FROM events, hour', stream => 'order_events');
SELECT projection_create('p', 'UPDATE skus SET skus = 1 FROM events WHERE kind IN (SELECT h FROM hour)', stream => 'order_events');
\set simple 'INSERT INTO seen SELECT order_id, kind FROM events'
SELECT projection_create('p', :'simple');
SELECT projection_create('p', :'simple', stream => 'nosuch');
SELECT projection_create('p', :'simple', key => 'order_id');
SELECT projection_create('p', 'MERGE INTO skus', for_each => 'batch');
SELECT projection_create('p', :'simple', stream => 'order_events', strict => true);
SELECT projection_create('p', :'simple', stream => 'order_events', for_each => 'key');
SELECT projection_create('p', :'simple', stream => 'order_events', key => 'misspelt');
SELECT projection_create('p', :'simple', stream => 'order_events', key => 'order_id, (kind');
SELECT projection_create('p', :'simple', stream => 'order_events', key => 'order_id FROM order_events');
SELECT projection_create('p', :'simple', stream => 'order_events', key => 'count(order_id)');
SELECT projection_create('p', :'simple', stream => 'order_events', key => 'kind, age(at)');
SELECT projection_create('p', :'simple', stream => 'order_events', key => '(order_id, kind)');
SELECT projection_create('p', :'simple', stream => 'order_events', key => 'order_events');
SELECT projection_create('p', :'simple', stream => 'order_events', key => 'payload::json');
INSERT INTO seen VALUES (1, 'x');
SELECT projection_create('p', :'simple', stream => 'order_events');
TRUNCATE seen;

-- Rights: it runs as the owner of its table, restricted
CREATE ROLE regress_wp_owner;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_owner;
CREATE TABLE owned (order_id integer, kind text, who name DEFAULT current_user);
ALTER TABLE owned OWNER TO regress_wp_owner;
CREATE TABLE secrets (secret text);
INSERT INTO secrets VALUES ('s');
\set owned 'INSERT INTO owned (order_id, kind) SELECT order_id, kind FROM events'
SET ROLE regress_wp_owner;
SELECT projection_create('owned', :'owned', stream => 'order_events', start_at => 'now');
RESET ROLE;
GRANT SELECT (no, order_id) ON order_events TO regress_wp_owner;
SET ROLE regress_wp_owner;
SELECT projection_create('owned', :'owned', stream => 'order_events', start_at => 'now');
SELECT projection_create('owned', 'INSERT INTO seen SELECT order_id FROM events', stream => 'order_events', start_at => 'now');
SELECT projection_create('owned', 'WITH w AS (INSERT INTO owned (order_id) SELECT order_id FROM events) INSERT INTO seen SELECT 1', stream => 'order_events', start_at => 'now');
SELECT projection_create('owned', 'INSERT INTO owned (order_id, kind) SELECT order_id, secret FROM events, secrets', stream => 'order_events', start_at => 'now');
RESET ROLE;
GRANT SELECT (kind) ON order_events TO regress_wp_owner;
SET ROLE regress_wp_owner;
SELECT projection_create('owned', :'owned', stream => 'order_events', key => 'order_id', start_at => 'now');
RESET ROLE;
-- a trigger of the owner's, run by a superuser
CREATE FUNCTION hostile() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.kind := NEW.kind || ' by ' || current_user;
    IF NEW.kind LIKE 'steal%' THEN SELECT secret INTO NEW.kind FROM regress_wp.secrets; END IF;
    IF NEW.kind LIKE 'become%' THEN RESET ROLE; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hostile BEFORE INSERT ON owned FOR EACH ROW EXECUTE FUNCTION hostile();
INSERT INTO order_events (order_id, kind) VALUES (1, 'placed'), (2, 'steal'), (3, 'become');
SELECT projection_run('owned');
SELECT * FROM owned ORDER BY 1;
SELECT regexp_replace(d, 'event \d+', 'event N') FROM dead_letters() d;
SELECT projection_try(:'owned', '[{"order_id": 1, "kind": "steal"}]', stream => 'order_events', key => 'order_id');
SELECT projection_try(:'owned', '[{"order_id": 1, "kind": "tried"}]', stream => 'order_events', key => 'order_id');
-- a right that is taken back: nobody's key is at fault
REVOKE SELECT (kind) ON order_events FROM regress_wp_owner;
INSERT INTO order_events (order_id, kind) VALUES (4, 'placed');
SELECT projection_run('owned');
SELECT count(*) FROM projection_dead_letters;

-- a table that workers cannot see
CREATE TEMP TABLE mine (k integer);
SELECT projection_create('temporary', 'INSERT INTO owned SELECT e.no, e.kind FROM events e WHERE e.order_id IN (SELECT k FROM mine)', stream => 'order_events', key => 'order_id');

\set ECHO none
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA regress_wp CASCADE;
DROP OWNED BY regress_wp_owner;
DROP ROLE regress_wp_owner;
