--
-- What does a definition make of events, one after the other?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SET TimeZone = 'UTC';
SET DateStyle = 'ISO';

CREATE TABLE order_events (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text, kind text, amount numeric,
    payload jsonb, at timestamptz DEFAULT '2026-01-02 03:04:05+00', cents int GENERATED ALWAYS AS ((amount * 100)::int) STORED);
CREATE TABLE orders (
    order_id text PRIMARY KEY, status text NOT NULL DEFAULT 'new', total numeric(10,2) NOT NULL DEFAULT 0,
    note text, paid_at timestamptz);

-- Every action; a WHEN that does not hold; an event of no order
\set orders 'MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED AND e.kind = ''placed'' THEN INSERT (order_id, total, note) VALUES (e.order_id, e.amount, e.payload->>''note'') WHEN MATCHED AND e.kind = ''paid'' THEN UPDATE SET status = ''paid'', paid_at = e.at WHEN MATCHED AND e.kind = ''item'' THEN UPDATE SET total = o.total + (e.payload->>''price'')::numeric WHEN MATCHED AND e.kind = ''cancelled'' THEN DELETE WHEN MATCHED AND e.kind = ''seen'' THEN DO NOTHING'
\set events '[{"order_id": "a", "kind": "placed", "amount": 5, "payload": {"note": "n"}}, {"order_id": "b", "kind": "placed", "amount": 1.5}, {"order_id": "a", "kind": "item", "payload": {"price": 1.25}}, {"order_id": "b", "kind": "cancelled"}, {"order_id": "a", "kind": "paid"}, {"order_id": "a", "kind": "seen"}, {"order_id": "b", "kind": "paid"}, {"kind": "placed"}, {"order_id": "b", "kind": "placed"}, {"order_id": "a", "kind": "misspelt"}]'
SELECT * FROM projection_try(:'orders', replace(:'events', '{"order_id": "b", "kind": "placed"}, ', '')::jsonb);
SELECT * FROM projection_try(:'orders', replace(:'events', '{"order_id": "b", "kind": "placed"}, ', '')::jsonb, true);
-- a null for a NOT NULL column that the text sets is no default
SELECT * FROM projection_try(:'orders', :'events');
-- DELETE, then INSERT: what the INSERT does not list has its default again
SELECT * FROM projection_try(:'orders', '[{"no": 11, "order_id": "a", "kind": "placed", "amount": 1, "payload": {"note": "n"}}, {"no": 13, "order_id": "a", "kind": "paid"}, {"no": 17, "order_id": "a", "kind": "cancelled"}, {"no": 19, "order_id": "a", "kind": "placed", "amount": 2}]', true);
-- A key that is no column
SELECT * FROM projection_try(:'orders', '[{"order_id": "a", "kind": "placed", "amount": 1}, {"orderId": "a", "kind": "paid"}]');
-- Nothing was written, and no number was drawn
SELECT count(*) FROM orders;
SELECT is_called FROM order_events_no_seq;

-- Numbers from jsonb are what the cast makes of their text
CREATE TABLE numbers (order_id text PRIMARY KEY, n numeric, i int, b bigint, twice numeric);
\set numbers 'MERGE INTO numbers t USING order_events e ON t.order_id = e.order_id WHEN NOT MATCHED THEN INSERT VALUES (e.order_id, (e.payload->>''n'')::numeric, (e.payload->>''i'')::int, (e.payload->>''b'')::bigint, 2 * (e.payload->>''n'')::numeric)'
SELECT * FROM projection_try(:'numbers', '[{"order_id": "1", "payload": {"n": 1.50, "i": 7, "b": -9000000000}},
 {"order_id": "2", "payload": {"n": "1.50", "i": "7", "b": " 9 "}}, {"order_id": "3", "payload": {"n": null, "i": null}},
 {"order_id": "4", "payload": [1]}, {"order_id": "5", "payload": null}, {"order_id": "6"}, {"order_id": "7", "payload": 5},
 {"order_id": "8", "payload": {"n": 1e3, "i": 1e3, "b": 0}}, {"order_id": "9", "payload": {"n": 123456789012345678901234567890.12, "i": -2147483648, "b": 9223372036854775807}},
 {"order_id": "10", "payload": {"n": "NaN", "i": 100000000, "b": 10000000000000000}}, {"order_id": "11", "payload": {"n": -0.00010, "i": -0, "b": 20000}}]');
SELECT * FROM projection_try(:'numbers', '[{"order_id": "1", "payload": {"n": true}}]');
SELECT * FROM projection_try(:'numbers', '[{"order_id": "1", "payload": {"n": "x"}}]');
SELECT * FROM projection_try(:'numbers', '[{"order_id": "1", "payload": {"n": {"a": 1}}}]');
SELECT * FROM projection_try(:'numbers', '[{"order_id": "1"}, {"order_id": "2", "payload": {"i": 1.0}}]');
SELECT * FROM projection_try(:'numbers', '[{"order_id": "1", "payload": {"i": 2147483648}}]');
SELECT * FROM projection_try(:'numbers', '[{"order_id": "1", "payload": {"b": 9223372036854775808}}]');
-- what a CASE prevents stays prevented
SELECT * FROM projection_try('MERGE INTO numbers t USING order_events e ON t.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, n, i) VALUES (e.order_id, CASE WHEN e.kind = ''n'' THEN (e.payload->>''n'')::numeric END, coalesce(1, (e.payload->>''n'')::int))',
 '[{"order_id": "1", "kind": "t", "payload": {"n": "x"}}, {"order_id": "2", "kind": "n", "payload": {"n": 3}}]');

-- Conditions: null is false; the first that holds; columns of the row
SELECT * FROM projection_try('MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED AND e.amount > 0 THEN INSERT (order_id, total) VALUES (e.order_id, e.amount) WHEN MATCHED AND e.kind = ''x'' AND o.total > 1 THEN UPDATE SET note = ''first'' WHEN MATCHED AND ''x'' = e.kind THEN UPDATE SET note = ''second'', total = o.total + 1 WHEN MATCHED THEN UPDATE SET note = o.note || ''!''',
 '[{"order_id": "a"}, {"order_id": "a", "amount": 1}, {"order_id": "a", "kind": "x"}, {"order_id": "a", "kind": "x"}, {"order_id": "a"}, {"order_id": "a", "kind": "xx"}]', true);
-- the old values are those of before, in all columns
CREATE TABLE swap (order_id text PRIMARY KEY, a text, b text, c text[]);
SELECT * FROM projection_try('MERGE INTO swap t USING order_events e ON t.order_id = e.order_id WHEN NOT MATCHED THEN INSERT VALUES (e.order_id, ''first'', ''second'', ARRAY[e.kind]) WHEN MATCHED THEN UPDATE SET a = t.b, b = t.a, c = t.c || e.kind',
 '[{"order_id": "a", "kind": "x"}, {"order_id": "a", "kind": "y"}, {"order_id": "a", "kind": "z"}, {"order_id": "a"}]', true);

-- Types: domains, enums, arrays, jsonb, composites, identity, generated columns
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN given AS text NOT NULL;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE kinds (
    id int PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY, serial serial, m mood DEFAULT 'sad', p positive,
    tags text[] DEFAULT '{}', doc jsonb, c pair, v varchar(3), t timestamptz(0),
    size int GENERATED ALWAYS AS (cardinality(tags)) STORED, CHECK (m <> 'sad' OR p < 10));
\set kinds 'MERGE INTO kinds k USING order_events e ON k.id = (e.payload->>''id'')::int WHEN NOT MATCHED THEN INSERT (id, p, doc, v, t) VALUES ((e.payload->>''id'')::int, (e.payload->>''p'')::int, e.payload - ''id'', e.payload->>''v'', e.at) WHEN MATCHED AND e.kind = ''mood'' THEN UPDATE SET m = (e.payload->>''m'')::mood WHEN MATCHED THEN UPDATE SET tags = k.tags || e.kind, p = k.p + 1, doc = k.doc || e.payload, c = ROW(k.p, e.kind)'
SELECT * FROM projection_try(:'kinds', '[{"payload": {"id": 1, "p": 8, "v": "abc"}, "at": "2026-05-05 05:05:05.6Z"}, {"payload": {"id": 2, "p": 1}}, {"kind": "x", "payload": {"id": 1, "more": [1, {"a": null}]}}, {"kind": "mood", "payload": {"id": 1, "m": "happy"}}, {"kind": "y", "payload": {"id": 1, "more": 1}}]');
SELECT * FROM projection_try(:'kinds', '[{"payload": {"id": 1, "p": -8}}]');
SELECT * FROM projection_try(:'kinds', '[{"payload": {"id": 1, "v": "abcd"}}]');
SELECT * FROM projection_try(:'kinds', '[{"payload": {"id": 1}}, {"kind": "mood", "payload": {"id": 1, "m": "bad"}}]');
-- a CHECK is tested for each event, though a later one would repair the row
SELECT * FROM projection_try(:'kinds', '[{"payload": {"id": 1, "p": 9}}, {"kind": "x", "payload": {"id": 1}}, {"kind": "mood", "payload": {"id": 1, "m": "happy"}}]');
SELECT * FROM projection_try('MERGE INTO kinds k USING order_events e ON k.id = (e.payload->>''id'')::int WHEN NOT MATCHED THEN INSERT (id, tags) VALUES ((e.payload->>''id'')::int, ARRAY[e.kind]) WHEN MATCHED THEN UPDATE SET tags[3] = e.kind', '[{"kind": "a", "payload": {"id": 1}}, {"kind": "b", "payload": {"id": 1}}]');
-- a domain forbids the null of a column that is not listed
CREATE TABLE dom (order_id text PRIMARY KEY, g given);
SELECT * FROM projection_try('MERGE INTO dom t USING order_events e ON t.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id) VALUES (e.order_id)', '[{"order_id": "a"}]');
-- NOT NULL
SELECT * FROM projection_try('MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id) VALUES (e.order_id) WHEN MATCHED THEN UPDATE SET status = e.kind', '[{"order_id": "a"}, {"order_id": "a", "kind": "x"}, {"order_id": "a"}]');

-- Whole rows, CASE, functions
CREATE FUNCTION label(text, numeric) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || ':' || coalesce($2, 0) $$;
CREATE FUNCTION total_of(orders) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT $1.total $$;
CREATE FUNCTION kind_of(order_events) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1.kind || $1.cents; END $$;
CREATE FUNCTION looped(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT string_agg(x, '-' ORDER BY x) FROM regexp_split_to_table($1, '') x $$;
SELECT * FROM projection_try('MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, total, note) VALUES (e.order_id, e.amount, label(e.kind, e.amount)) WHEN MATCHED AND kind_of(e) LIKE ''z%'' THEN UPDATE SET note = looped(e.kind), total = total_of(o) * 2 WHEN MATCHED THEN UPDATE SET status = to_jsonb(o)->>''total'', note = CASE WHEN e.amount > 1 THEN kind_of(e) ELSE looped(e.kind) END',
 '[{"order_id": "a", "kind": "kk", "amount": 3}, {"order_id": "a", "kind": "z", "amount": 2}, {"order_id": "a", "kind": "zyx", "amount": 1}, {"order_id": "a", "kind": "cba"}, {"order_id": "a", "kind": "cba", "amount": 1}, {"order_id": "a", "kind": "cba", "amount": 7}]', true, allow_stable => true);

-- What projection_create refuses is refused here as well
SELECT * FROM projection_try('MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, paid_at) VALUES (e.order_id, now())', '[{"order_id": "a"}]', allow_stable => true);
SELECT * FROM projection_try('MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, note) VALUES (e.order_id, looped(e.kind))', '[{"order_id": "a"}]');
SELECT * FROM projection_try('INSERT INTO orders (order_id, note) SELECT order_id, looped(kind) FROM events', '[{"order_id": "a"}]', stream => 'order_events');
SELECT * FROM projection_try('INSERT INTO orders (order_id, note) SELECT order_id, looped(kind) FROM events', '[{"order_id": "a", "kind": "xy"}]', stream => 'order_events', allow_stable => true);
SELECT * FROM projection_try('INSERT INTO orders (order_id, note) SELECT order_id, looped(kind) FROM events', '[]', stream => 'order_events', allow_stable => NULL);

-- Keys: of another scale, of two columns, of no bytes in common
CREATE TABLE priced (price numeric(10,2) PRIMARY KEY, n int NOT NULL);
\set priced 'MERGE INTO priced p USING order_events e ON p.price = e.amount WHEN NOT MATCHED THEN INSERT VALUES (e.amount, 1) WHEN MATCHED THEN UPDATE SET n = p.n + 1'
SELECT * FROM projection_try(:'priced', '[{"amount": 1}, {"amount": 1.0}, {"amount": 2.50}, {"amount": 1.000}]', true);
SELECT * FROM projection_try(:'priced', '[{"amount": 1}, {"amount": 1.005}]');
CREATE TABLE daily (customer text, day date, n int, PRIMARY KEY (customer, day));
SELECT * FROM projection_try('MERGE INTO daily d USING order_events e ON d.day = (e.payload->>''day'')::date AND d.customer = e.order_id WHEN NOT MATCHED THEN INSERT VALUES (e.order_id, (e.payload->>''day'')::date, 1) WHEN MATCHED THEN UPDATE SET n = d.n + 1',
 '[{"order_id": "a", "payload": {"day": "2026-01-01"}}, {"order_id": "a", "payload": {"day": "2026-01-02"}}, {"order_id": "b", "payload": {}}, {"order_id": "a", "payload": {"day": "2026-1-1"}}]', true);
CREATE TABLE owned (id given PRIMARY KEY, n int);
SELECT * FROM projection_try('MERGE INTO owned t USING order_events e ON t.id = e.order_id WHEN NOT MATCHED THEN INSERT VALUES (e.order_id, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1', '[{"order_id": "a"}, {"order_id": "a"}]');

-- The source filters
SELECT * FROM projection_try('MERGE INTO orders o USING (SELECT order_id AS id, upper(kind) AS kind FROM order_events WHERE amount > 1) e ON o.order_id = e.id WHEN NOT MATCHED THEN INSERT (order_id, note) VALUES (e.id, e.kind)', '[{"order_id": "a", "amount": 1}, {"order_id": "b", "kind": "x", "amount": 2}, {"order_id": "c"}]', true);

-- The source multiplies: items in order, each to its own key
CREATE TABLE stock (sku text PRIMARY KEY, quantity int NOT NULL, last int, seen text);
\set stock 'MERGE INTO stock s USING (SELECT l.ord, l.line->>''sku'' AS sku, (l.line->>''q'')::int AS q, (SELECT string_agg(x, '','') FROM jsonb_array_elements_text(l.line->''tags'') x) AS tags FROM order_events e, jsonb_array_elements(e.payload->''lines'') WITH ORDINALITY AS l(line, ord) WHERE e.kind = ''shipped'') e ON s.sku = e.sku WHEN NOT MATCHED THEN INSERT VALUES (e.sku, e.q, e.ord, e.tags) WHEN MATCHED AND e.q = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET quantity = s.quantity + e.q, last = e.ord, seen = e.tags'
SELECT * FROM projection_try(:'stock', '[{"kind": "shipped", "payload": {"lines": [{"sku": "x", "q": 1, "tags": ["a", "b"]}, {"sku": "y", "q": 2}, {"sku": "x", "q": 10, "tags": []}]}},
 {"kind": "other", "payload": {"lines": [{"sku": "x", "q": 100}]}}, {"kind": "shipped", "payload": {"lines": []}}, {"kind": "shipped"}, {"kind": "shipped", "payload": {}},
 {"kind": "shipped", "payload": {"lines": [{"sku": "y", "q": 0}, {"q": 5}, {"sku": "y", "q": 7, "tags": ["c"]}]}}]', true);
SELECT * FROM projection_try(:'stock', '[{"kind": "shipped", "payload": {"lines": [{"sku": "x", "q": 1}]}}, {"kind": "shipped", "payload": {"lines": [{"sku": "x", "q": 1}, {"sku": "y"}]}}]');
SELECT * FROM projection_try(:'stock', '[{"kind": "shipped", "payload": {"lines": 7}}]');
-- arrays in arrays; an event of no items, then one of many
SELECT * FROM projection_try('MERGE INTO stock s USING (SELECT p.p->>''sku'' AS sku FROM order_events e, jsonb_array_elements(e.payload->''boxes'') b(b), jsonb_array_elements(b.b) p(p)) e ON s.sku = e.sku WHEN NOT MATCHED THEN INSERT VALUES (e.sku, 1) WHEN MATCHED THEN UPDATE SET quantity = s.quantity + 1',
 '[{"payload": {"boxes": [[{"sku": "x"}, {"sku": "y"}], [], [{"sku": "x"}]]}}, {"payload": {"boxes": []}}, {"payload": {"boxes": [[{"sku": "x"}], [{"sku": "z"}]]}}]');
-- a set in the target list; a row per word
SELECT * FROM projection_try('MERGE INTO stock s USING (SELECT regexp_split_to_table(e.kind, '' '') AS word FROM order_events e) e ON s.sku = e.word WHEN NOT MATCHED THEN INSERT VALUES (e.word, 1) WHEN MATCHED THEN UPDATE SET quantity = s.quantity + 1',
 '[{"kind": "a b a"}, {"kind": "b"}, {"kind": null}, {"kind": "c a"}]');

-- Positions; what the stream generates; defaults
SELECT * FROM projection_try('MERGE INTO numbers t USING order_events e ON t.order_id = e.order_id WHEN NOT MATCHED THEN INSERT VALUES (e.order_id, e.no, e.cents, extract(year FROM e.at)) WHEN MATCHED THEN UPDATE SET n = e.no', '[{"order_id": "a", "amount": 1.5}, {"order_id": "b", "no": 77, "amount": 0.07}, {"order_id": "a"}]', true);

-- What is refused
SELECT * FROM projection_try(NULL, '[]');
SELECT * FROM projection_try(:'orders', NULL);
SELECT * FROM projection_try(:'orders', '[]', NULL);
SELECT * FROM projection_try(:'orders', '{}');
SELECT * FROM projection_try(:'orders', '7');
SELECT * FROM projection_try(:'orders', '[]');
SELECT * FROM projection_try(:'orders', '[{"order_id": "a"}, 7]');
SELECT * FROM projection_try(:'orders', '[{"amount": "x"}]');

-- Who may not create the projection may not try it either
CREATE ROLE regress_wp_tries;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_tries;
GRANT SELECT ON order_events TO regress_wp_tries;
GRANT ALL ON orders TO regress_wp_tries;
SET ROLE regress_wp_tries;
SELECT * FROM projection_try(:'orders', '[]');
RESET ROLE;
ALTER TABLE orders OWNER TO regress_wp_tries;
REVOKE SELECT ON order_events FROM regress_wp_tries;
SET ROLE regress_wp_tries;
SELECT * FROM projection_try(:'orders', '[]');
RESET ROLE;
GRANT SELECT ON order_events TO regress_wp_tries;
REVOKE EXECUTE ON FUNCTION kind_of(order_events) FROM PUBLIC;
SET ROLE regress_wp_tries;
SELECT * FROM projection_try(:'orders', '[{"order_id": "a", "kind": "placed", "amount": 1}]');
SELECT * FROM projection_try('MERGE INTO orders o USING order_events e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, note) VALUES (e.order_id, kind_of(e))', '[{"order_id": "a", "kind": "placed", "amount": 1}]');
RESET ROLE;

DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_wp_tries;
