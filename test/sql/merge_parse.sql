--
-- What is a definition understood as, and what is refused?  With PostgreSQL's
-- caret at the place in the user's text.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set VERBOSITY default
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on

-- a definition in a few lines
CREATE FUNCTION parsed(definition text) RETURNS SETOF text
    LANGUAGE sql AS $$
    WITH d AS MATERIALIZED (SELECT wallet_projection.definition_describe(definition) AS d)
    SELECT format('%s from %s, items %s', d->>'read_model', d->>'stream', d->'items') FROM d
    UNION ALL
    SELECT format('key %s %s %s', k->>'column', k->>'operator', k->>'value') FROM d, jsonb_array_elements(d->'key') k
    UNION ALL
    SELECT 'filter ' || (d->>'filter') FROM d WHERE d->>'filter' IS NOT NULL
    UNION ALL
    SELECT format('%s when %s: %s %s', c->>'when', c->>'condition', c->>'action', c->>'columns') FROM d, jsonb_array_elements(d->'clauses') c
    UNION ALL
    SELECT 'tested ' || (d->>'tested') FROM d WHERE d->>'tested' IS NOT NULL
    UNION ALL
    SELECT 'notice ' || n FROM d, jsonb_array_elements_text(d->'notices') n
$$;
-- with another source, ON clause, or clauses, all else equal
CREATE FUNCTION source(source text) RETURNS SETOF text
    LANGUAGE sql AS $$
    SELECT parsed('MERGE INTO orders_view o USING ' || source || ' ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, status) VALUES (e.order_id, e.event_type)')
$$;
CREATE FUNCTION clauses(clauses text) RETURNS SETOF text
    LANGUAGE sql AS $$
    SELECT parsed('MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id ' || clauses)
$$;
CREATE FUNCTION key(target text, comparison text) RETURNS SETOF text
    LANGUAGE sql AS $$
    SELECT parsed('MERGE INTO ' || target || ' o USING order_events e ON ' || comparison || ' WHEN MATCHED THEN DELETE')
$$;
\set ECHO all

CREATE TABLE order_events (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL,
    event_type text NOT NULL,
    amount numeric,
    occurred_at timestamptz,
    payload jsonb
);
CREATE TABLE orders_view (order_id uuid PRIMARY KEY, status text NOT NULL, total numeric NOT NULL DEFAULT 0, paid_at timestamptz);

-- all of it
SELECT parsed($$
  MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id
  WHEN NOT MATCHED AND e.event_type = 'ORDER_PLACED' THEN INSERT (order_id, status, total) VALUES (e.order_id, 'placed', e.amount)
  WHEN MATCHED AND e.event_type = 'PAYMENT_RECEIVED' THEN UPDATE SET status = 'paid', paid_at = e.occurred_at
  WHEN MATCHED AND e.event_type = 'ITEM_ADDED' THEN UPDATE SET total = o.total + (e.payload->>'price')::numeric
  WHEN MATCHED AND e.event_type IN ('CANCELLED', 'EXPIRED') AND o.status <> 'paid' THEN DELETE
  WHEN MATCHED AND e.event_type = ANY ('{A,B}') THEN DO NOTHING
$$);

-- one statement
SELECT parsed(NULL);
SELECT parsed('');
SELECT parsed(' -- nothing');
SELECT parsed('SELECT 1');
SELECT parsed('DROP TABLE orders_view');
SELECT parsed('INSERT INTO orders_view SELECT order_id FROM order_events');
SELECT parsed('SELECT 1; SELECT 2');
SELECT parsed($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE;$$);

-- PostgreSQL's own errors
SELECT parsed($$
  MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id
  WHEN MATCHED AND e.event_tpye = 'CANCELLED' THEN DELETE
$$);
SELECT parsed($$
  MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id
  WHEN MATCHED AND e.event_type = 'CANCELLED' THEN REMOVE
$$);
SELECT parsed($$MERGE INTO orders_view o USING order_events e ON o.order_id = e.payload->>'id' WHEN MATCHED THEN DELETE$$);
SELECT parsed($$MERGE INTO orders_vew o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);
SELECT parsed($$MERGE INTO orders_view o USING order_events e ON o.order_id = $1 WHEN MATCHED THEN DELETE$$);

-- the read model
CREATE VIEW a_view AS SELECT * FROM orders_view;
CREATE TABLE a_partitioned_table (order_id uuid PRIMARY KEY, status text) PARTITION BY HASH (order_id);
CREATE TABLE a_partition PARTITION OF a_partitioned_table FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE a_parent (order_id uuid PRIMARY KEY, status text);
CREATE TABLE a_child (PRIMARY KEY (order_id)) INHERITS (a_parent);
CREATE UNLOGGED TABLE an_unlogged_table (order_id uuid PRIMARY KEY, status text);
CREATE TEMPORARY TABLE a_temporary_table (order_id uuid PRIMARY KEY, status text);
CREATE TABLE a_ruled_table (order_id uuid PRIMARY KEY, status text);
CREATE RULE a_rule AS ON INSERT TO a_ruled_table DO ALSO SELECT 1;
CREATE FOREIGN DATA WRAPPER regress_wp_fdw;
CREATE SERVER regress_wp_server FOREIGN DATA WRAPPER regress_wp_fdw;
CREATE FOREIGN TABLE a_foreign_table (order_id uuid, event_type text) SERVER regress_wp_server;
SELECT key(name, 'o.order_id = e.order_id') FROM (VALUES ('a_view')) t(name);
SELECT key('a_partitioned_table', 'o.order_id = e.order_id');
SELECT key('a_partition', 'o.order_id = e.order_id');
SELECT key('a_parent', 'o.order_id = e.order_id');
SELECT key('a_child', 'o.order_id = e.order_id');
SELECT key('an_unlogged_table', 'o.order_id = e.order_id');
SELECT key('a_temporary_table', 'o.order_id = e.order_id');
SELECT key('a_ruled_table', 'o.order_id = e.order_id');
SELECT key('a_foreign_table', 'o.order_id = e.order_id');
SELECT parsed($$INSERT INTO a_view SELECT order_id, event_type FROM order_events ON CONFLICT (order_id) DO NOTHING$$);

-- the stream
CREATE MATERIALIZED VIEW a_materialized_view AS SELECT * FROM order_events;
CREATE TABLE a_parent_stream (LIKE order_events);
CREATE TABLE a_child_stream () INHERITS (a_parent_stream);
CREATE TABLE a_partitioned_stream (LIKE order_events) PARTITION BY RANGE (no);
CREATE UNLOGGED TABLE an_unlogged_stream (LIKE order_events);
CREATE TEMPORARY TABLE a_temporary_stream (LIKE order_events);
CREATE VIEW a_barrier WITH (security_barrier) AS SELECT * FROM order_events;
CREATE VIEW a_checked_view AS SELECT * FROM order_events WHERE amount > 0 WITH CHECK OPTION;
CREATE TABLE a_secured_stream (LIKE order_events);
ALTER TABLE a_secured_stream ENABLE ROW LEVEL SECURITY;
CREATE POLICY a_policy ON a_secured_stream USING (amount > 0);
CREATE VIEW an_order AS SELECT order_id, upper(event_type) AS event_type, amount FROM order_events WHERE amount > 0;
SELECT source('order_events e');
SELECT source('ONLY order_events e');
SELECT source('a_partitioned_stream e');
SELECT source('ONLY a_partitioned_stream e');
SELECT source('a_parent_stream e');
SELECT source('ONLY a_parent_stream e');
SELECT source('a_materialized_view e');
SELECT source('an_unlogged_stream e');
SELECT source('a_temporary_stream e');
SELECT source('a_foreign_table e');
SELECT source('a_barrier e');
SELECT source('a_checked_view e');
SELECT source('(SELECT status AS event_type, order_id FROM orders_view) e');
SELECT source('(SELECT relname::text AS event_type, NULL::uuid AS order_id FROM pg_class) e');
SELECT source('(SELECT ''x'' AS event_type, NULL::uuid AS order_id) e');

-- row-level security that applies, and that does not
SELECT source('a_secured_stream e');
CREATE ROLE regress_wp_owner;
GRANT USAGE ON SCHEMA regress_wp, wallet_projection TO regress_wp_owner;
ALTER TABLE a_secured_stream OWNER TO regress_wp_owner;
ALTER TABLE orders_view OWNER TO regress_wp_owner;
SET ROLE regress_wp_owner;
SELECT source('a_secured_stream e');
RESET ROLE;
ALTER TABLE a_secured_stream FORCE ROW LEVEL SECURITY;
SET ROLE regress_wp_owner;
SELECT source('a_secured_stream e');
ALTER TABLE a_secured_stream NO FORCE ROW LEVEL SECURITY;
ALTER TABLE orders_view ENABLE ROW LEVEL SECURITY;
SELECT source('a_secured_stream e');
ALTER TABLE orders_view FORCE ROW LEVEL SECURITY;
SELECT source('a_secured_stream e');
ALTER TABLE orders_view DISABLE ROW LEVEL SECURITY;
RESET ROLE;
ALTER TABLE a_secured_stream OWNER TO CURRENT_USER;

-- the rights that the statement itself would need
CREATE VIEW a_view_of_its_owner AS SELECT * FROM order_events;
CREATE VIEW a_view_of_its_invoker WITH (security_invoker) AS SELECT * FROM order_events;
SET ROLE regress_wp_owner;
SELECT source('order_events e');
RESET ROLE;
GRANT SELECT (order_id) ON order_events TO regress_wp_owner;
SET ROLE regress_wp_owner;
SELECT source('order_events e');
SELECT source('(SELECT order_id, ''x'' AS event_type FROM order_events) e');
SELECT source('a_view_of_its_owner e');
RESET ROLE;
GRANT SELECT ON a_view_of_its_owner, a_view_of_its_invoker TO regress_wp_owner;
SET ROLE regress_wp_owner;
SELECT source('a_view_of_its_owner e');
SELECT source('a_view_of_its_invoker e');
RESET ROLE;
GRANT SELECT (event_type) ON order_events TO regress_wp_owner;
SET ROLE regress_wp_owner;
SELECT source('order_events e');
RESET ROLE;
ALTER TABLE orders_view OWNER TO CURRENT_USER;
GRANT ALL ON orders_view TO regress_wp_owner;
SET ROLE regress_wp_owner;
SELECT source('order_events e');
RESET ROLE;
REVOKE ALL ON orders_view, order_events, a_view_of_its_owner, a_view_of_its_invoker FROM regress_wp_owner;
REVOKE SELECT (order_id, event_type) ON order_events FROM regress_wp_owner;
REVOKE ALL ON SCHEMA regress_wp, wallet_projection FROM regress_wp_owner;
DROP ROLE regress_wp_owner;

-- a source computes, renames and filters
SELECT source('an_order e');
SELECT source('(SELECT * FROM an_order WHERE event_type IS NOT NULL) e');
SELECT source('(SELECT order_id, to_jsonb(x)::text AS event_type FROM (SELECT order_id, amount AS a FROM order_events) x) e');
SELECT source('(SELECT order_id, to_jsonb(order_events)::text AS event_type FROM order_events) e');
SELECT source('(SELECT order_id, to_jsonb(v)::text AS event_type FROM an_order v) e');
SELECT parsed($$MERGE INTO orders_view o USING an_order e ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, status) VALUES (e.order_id, to_jsonb(e)) WHEN MATCHED THEN UPDATE SET status = to_jsonb(o)$$);

-- a row of a table with a dropped and a generated column
CREATE TABLE an_altered_stream (LIKE order_events);
ALTER TABLE an_altered_stream DROP COLUMN occurred_at, ADD COLUMN doubled numeric GENERATED ALWAYS AS (amount * 2) STORED;
SELECT source('(SELECT order_id, to_jsonb(an_altered_stream)::text || doubled AS event_type FROM an_altered_stream) e');

-- and no more
SELECT source('(SELECT order_id, max(event_type) AS event_type FROM order_events e GROUP BY 1) e');
SELECT source('(SELECT DISTINCT order_id, event_type FROM order_events) e');
SELECT source('(SELECT order_id, lag(event_type) OVER (ORDER BY no) AS event_type FROM order_events) e');
SELECT source('(SELECT order_id, event_type FROM order_events UNION ALL SELECT order_id, event_type FROM order_events) e');
SELECT source('(SELECT order_id, event_type FROM order_events ORDER BY no) e');
SELECT source('(SELECT order_id, event_type FROM order_events LIMIT 10) e');
SELECT source('(SELECT order_id, event_type FROM order_events OFFSET 10) e');
SELECT source('(SELECT order_id, event_type FROM order_events FOR SHARE) e');
SELECT source('(SELECT order_id, event_type FROM order_events TABLESAMPLE system (10)) e');
SELECT source('(WITH w AS (SELECT * FROM order_events) SELECT order_id, event_type FROM w) e');
SELECT source('(SELECT x.order_id, event_type FROM order_events x JOIN orders_view USING (order_id)) e');
SELECT source('(SELECT order_id, event_type, (SELECT count(*) FROM orders_view o) FROM order_events) e');
SELECT source('(SELECT order_id, event_type FROM order_events WHERE order_id IN (SELECT order_id FROM orders_view)) e');
SELECT source('(SELECT order_id, event_type || random() AS event_type FROM order_events) e');
SELECT source('(SELECT order_id, event_type || ctid AS event_type FROM order_events) e');

-- an event may be multiplied by what is in it
SELECT source('(SELECT order_id, l.line->>''sku'' AS event_type, l.ord FROM order_events x, jsonb_array_elements(x.payload->''lines'') WITH ORDINALITY AS l(line, ord)) e');
SELECT source('(SELECT order_id, sku AS event_type FROM order_events x, jsonb_to_recordset(x.payload->''lines'') AS l(sku text)) e');
SELECT source('(SELECT order_id, l AS event_type FROM order_events x CROSS JOIN LATERAL jsonb_array_elements_text(x.payload) l) e');
SELECT source('(SELECT order_id, l AS event_type FROM order_events x LEFT JOIN LATERAL unnest(string_to_array(event_type, '','')) l ON l <> '''') e');
SELECT source('(SELECT order_id, l AS event_type FROM order_events x, ROWS FROM (jsonb_array_elements_text(x.payload), generate_series(1, 2)) r(l, n)) e');
SELECT source('(SELECT order_id, side AS event_type FROM order_events x, LATERAL (VALUES (''debit'', amount), (''credit'', -amount)) v(side, amount)) e');
SELECT source('(SELECT order_id, jsonb_array_elements_text(payload) AS event_type FROM order_events) e');
SELECT source('(SELECT order_id, (SELECT max(x) FROM jsonb_array_elements_text(payload) x) AS event_type FROM order_events) e');
SELECT source('(SELECT order_id, l AS event_type FROM order_events x, jsonb_array_elements_text(x.payload) l ORDER BY l) e');
SELECT source('(SELECT order_id, a || b AS event_type FROM order_events x, jsonb_array_elements_text(x.payload) a, LATERAL (SELECT x.event_type || n AS b FROM generate_series(1, 2) n WHERE n > 1) s) e');
SELECT source('(SELECT order_id, event_type, total FROM order_events JOIN LATERAL jsonb_to_recordset(payload) AS l(event_type text, total int) USING (event_type)) e');
SELECT source('(SELECT x.order_id, l."end" AS event_type FROM order_events x, jsonb_to_recordset(x.payload) AS l("end" text)) e');
SELECT parsed($$MERGE INTO orders_view o USING order_events e CROSS JOIN LATERAL jsonb_array_elements_text(e.payload) l ON o.order_id = e.order_id WHEN NOT MATCHED THEN INSERT (order_id, status) VALUES (e.order_id, l)$$);
SELECT source('(SELECT order_id, l AS event_type FROM generate_series(1, 2) l LEFT JOIN order_events ON true) e');
SELECT source('(SELECT order_id, a || b AS event_type FROM order_events x, jsonb_array_elements_text(x.payload) a, LATERAL (SELECT n AS b FROM generate_series(1, 2) n ORDER BY n DESC) s) e');
SELECT source('(SELECT order_id, a || jsonb_array_elements_text(payload) AS event_type FROM order_events x, jsonb_array_elements_text(x.payload) a) e');
SELECT source('(SELECT order_id, a || b AS event_type FROM order_events x, jsonb_array_elements_text(x.payload) a, jsonb_array_elements_text(x.payload) b ORDER BY a) e');
SELECT source('(SELECT order_id, to_jsonb(a)::text || b AS event_type FROM order_events x, jsonb_to_recordset(x.payload) a(sku text), jsonb_array_elements_text(x.payload) b) e');

-- keys of many types
CREATE TYPE color AS ENUM ('red', 'green');
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TABLE keys (
    id bigint UNIQUE, small smallint UNIQUE, c text COLLATE "C" UNIQUE, t text UNIQUE, v varchar(10) UNIQUE, day date UNIQUE,
    color color UNIQUE, n numeric(10, 2) UNIQUE, at timestamptz(0) UNIQUE, code code UNIQUE, tags text[] UNIQUE, f float8 UNIQUE,
    js jsonb UNIQUE, fixed char(5) UNIQUE, price money UNIQUE, name name UNIQUE, plain text,
    a int, b text, d date, UNIQUE (a, b), UNIQUE (a, b, d),
    g int GENERATED ALWAYS AS (a * 2) STORED UNIQUE, late int UNIQUE DEFERRABLE, partial int
);
CREATE UNIQUE INDEX ON keys (partial) WHERE partial > 0;
CREATE UNIQUE INDEX ON keys (lower(plain));
SELECT key('keys', 'o.id = e.no');
SELECT key('keys', 'e.no = o.id');
SELECT key('keys', 'o.id = (e.payload->>''id'')::int');
SELECT key('keys', 'o.c = e.event_type');
SELECT key('keys', 'o.t = e.event_type');
SELECT key('keys', 'o.v = e.payload->>''code''');
SELECT key('keys', 'o.day = (e.occurred_at AT TIME ZONE ''UTC'')::date');
SELECT key('keys', 'o.color = (e.payload->>''color'')::color');
SELECT key('keys', 'o.n = e.amount');
SELECT key('keys', 'o.n = (e.payload->>''n'')::int');
SELECT key('keys', 'o.at = e.occurred_at');
SELECT key('keys', 'o.code = e.event_type');
SELECT key('keys', 'o.tags = string_to_array(e.event_type, '','')');
SELECT key('keys', 'o.f = (e.payload->>''f'')::float4');
SELECT key('keys', 'o.js = e.payload->''id''');
SELECT key('keys', 'o.a = (e.payload->>''a'')::int AND o.b = e.event_type');
SELECT key('keys', '(o.a, o.b) = ((e.payload->>''a'')::int, e.event_type)');
SELECT key('keys', '(o.a = (e.payload->>''a'')::int AND o.d = (e.payload->>''d'')::date) AND e.event_type = o.b');

-- INSERT may coerce what ON compares
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.v = e.payload->>'code' WHEN NOT MATCHED THEN INSERT (v) VALUES (e.payload->>'code')$$);
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.id = (e.payload->>'id')::int WHEN NOT MATCHED THEN INSERT (id) VALUES ((e.payload->>'id')::int)$$);
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.n = (e.payload->>'id')::int WHEN NOT MATCHED THEN INSERT (n) VALUES ((e.payload->>'id')::int)$$);
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.day = e.occurred_at::date WHEN NOT MATCHED THEN INSERT (day) VALUES (e.occurred_at)$$);
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.at = e.occurred_at WHEN NOT MATCHED THEN INSERT (at, code) VALUES (e.occurred_at, e.event_type)$$);
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.code = e.event_type WHEN NOT MATCHED THEN INSERT (code, day) VALUES (e.event_type, e.occurred_at::date)$$);
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.code = e.event_type WHEN NOT MATCHED THEN INSERT (code, day) VALUES (upper(e.event_type), e.occurred_at::date)$$);
SELECT parsed($$MERGE INTO keys o USING order_events e ON o.a = (e.payload->>'a')::int AND o.b = e.event_type WHEN NOT MATCHED THEN INSERT (b, a, day) VALUES (e.event_type, e.amount, e.occurred_at)$$);

-- comparisons that are not the index's
SELECT key('keys', 'o.small = e.no');
SELECT key('keys', 'o.small = e.amount');
SELECT key('keys', 'o.day = e.occurred_at');
SELECT key('keys', 'o.at = (e.payload->>''day'')::date');
SELECT key('keys', 'o.name = e.event_type');
SELECT key('keys', 'o.fixed = e.event_type');
SELECT key('keys', 'o.id::text = e.event_type');
SELECT key('keys', 'lower(o.plain) = e.event_type');
SELECT key('keys', 'o.plain = e.event_type');
SELECT key('keys', 'o.late = (e.payload->>''a'')::int');
SELECT key('keys', 'o.partial = (e.payload->>''a'')::int');
SELECT key('keys', 'o.g = (e.payload->>''a'')::int');
SELECT key('keys', 'o.price = e.amount::money');
SELECT key('keys', 'o.a = (e.payload->>''a'')::int');
SELECT key('keys', 'o.id = e.no AND o.t = e.event_type');
SELECT key('keys', 'o.id = e.no AND e.amount > 0');
SELECT key('keys', 'o.id = e.no AND o.plain IS NOT NULL');
SELECT key('keys', 'o.id = e.no OR o.t = e.event_type');
SELECT key('keys', 'o.id > e.no');
SELECT key('keys', 'o.id <> e.no');
SELECT key('keys', 'NOT o.id = e.no');
SELECT key('keys', 'o.id IN (e.no, e.no + 1)');
SELECT key('keys', 'o.id IS NOT DISTINCT FROM e.no');
SELECT key('keys', 'o.id = 1');
SELECT key('keys', 'o.a = 1 AND o.b = e.event_type');
SELECT key('keys', 'o.id = e.no AND o.id = e.no + 1');
SELECT key('keys', 'o.id = o.a + e.no');
SELECT key('keys', 'o.id + 1 = e.no');
SELECT key('keys', 'o.id = (SELECT e.no)');
SELECT key('keys', 'o.ctid::text = e.event_type');
SELECT key('keys', 'o.tableoid = e.no::oid');
SELECT key('keys', 'true');
SELECT key('keys', 'o.c = e.event_type COLLATE "POSIX"');

-- the clauses
SELECT clauses($$WHEN NOT MATCHED THEN INSERT VALUES (e.order_id, 'x')$$);
SELECT clauses($$WHEN NOT MATCHED THEN INSERT (order_id, status, total, paid_at) VALUES (e.order_id, CASE WHEN e.amount > 0 THEN 'x' END, DEFAULT, DEFAULT)$$);
SELECT clauses($$WHEN MATCHED THEN UPDATE SET (status, total) = (e.event_type, DEFAULT), paid_at = NULL$$);
SELECT clauses($$WHEN NOT MATCHED THEN INSERT (order_id, status) VALUES (e.order_id, 'x') WHEN MATCHED AND e.event_type = 'a' AND o.total = 0 THEN DELETE WHEN MATCHED AND (o.total = 0 AND e.event_type = 'a' AND e.amount > 1) THEN DO NOTHING WHEN MATCHED AND e.event_type = 'b' THEN DELETE WHEN MATCHED THEN UPDATE SET total = 1$$);
SELECT parsed($$MERGE INTO orders_view o USING (SELECT order_id, CASE WHEN amount > 0 THEN 'x' END AS when, 1 AS end FROM order_events) e ON o.order_id = e.order_id WHEN MATCHED AND e.end = 1 AND CASE e.when WHEN 'x' THEN true END THEN DELETE WHEN NOT MATCHED THEN INSERT DEFAULT VALUES$$);
SELECT clauses($$WHEN MATCHED AND e.amount = 1 AND (e.event_type = 'a' OR e.event_type = 'b') THEN DELETE WHEN MATCHED AND NOT e.event_type = 'c' THEN DELETE WHEN MATCHED AND e.payload->>'t' IN ('x') AND e.amount = 1 THEN DO NOTHING$$);
SELECT clauses($$WHEN NOT MATCHED THEN INSERT DEFAULT VALUES$$);
SELECT clauses($$WHEN MATCHED AND CASE WHEN true THEN true END THEN DELETE WHEN NOT MATCHED THEN INSERT (status) VALUES ('x')$$);
SELECT clauses($$WHEN NOT MATCHED THEN INSERT (order_id, status, total) VALUES ((e.payload->>'id')::uuid, 'x', e.amount)$$);
SELECT clauses($$WHEN MATCHED THEN UPDATE SET order_id = e.order_id$$);
SELECT clauses($$WHEN MATCHED AND EXISTS (SELECT 1) THEN DELETE$$);
SELECT clauses($$WHEN MATCHED THEN UPDATE SET total = (SELECT 1)$$);
SELECT clauses($$WHEN MATCHED THEN UPDATE SET (status, total) = (SELECT 'x', 1)$$);
SELECT clauses($$WHEN MATCHED THEN UPDATE SET total = count(*)$$);
SELECT clauses($$WHEN MATCHED THEN UPDATE SET total = generate_series(1, 2)$$);
SELECT clauses($$WHEN MATCHED AND o.ctid IS NOT NULL THEN DELETE$$);
SELECT clauses($$WHEN MATCHED THEN DELETE WHEN MATCHED THEN DO NOTHING$$);
SELECT parsed($$WITH w AS (SELECT 1) MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id WHEN MATCHED THEN DELETE$$);

-- what a row is filled with
CREATE TYPE address AS (street text, city text);
CREATE TABLE filled (
    n numeric(10, 2) PRIMARY KEY, id bigint GENERATED ALWAYS AS IDENTITY, by_default int GENERATED BY DEFAULT AS IDENTITY,
    doubled numeric GENERATED ALWAYS AS (n * 2) STORED, at timestamptz DEFAULT now(), code code, gone int, tags text[],
    address address, v varchar(3)
);
ALTER TABLE filled DROP COLUMN gone;
SELECT parsed($$MERGE INTO filled o USING order_events e ON o.n = e.amount WHEN NOT MATCHED THEN INSERT (n, v) VALUES (e.amount, e.event_type) WHEN MATCHED THEN UPDATE SET tags[1] = e.event_type, address.city = 'x', v = e.event_type, at = DEFAULT, by_default = DEFAULT, code = DEFAULT$$);
SELECT parsed($$MERGE INTO filled o USING order_events e ON o.n = e.amount WHEN NOT MATCHED THEN INSERT (n, id) VALUES (e.amount, 1)$$);
SELECT parsed($$MERGE INTO filled o USING order_events e ON o.n = e.amount WHEN NOT MATCHED THEN INSERT (n, id) OVERRIDING SYSTEM VALUE VALUES (e.amount, e.no)$$);
SELECT parsed($$MERGE INTO filled o USING order_events e ON o.n = e.amount WHEN NOT MATCHED THEN INSERT (n, doubled) VALUES (e.amount, 1)$$);
SELECT parsed($$MERGE INTO filled o USING order_events e ON o.n = e.amount WHEN NOT MATCHED THEN INSERT (n) VALUES (round(e.amount, 2))$$);

-- the spelling that people know
SELECT parsed($$INSERT INTO orders_view AS o (order_id, status, total) SELECT order_id, event_type, amount FROM order_events WHERE event_type = 'x' ON CONFLICT (order_id) DO UPDATE SET total = o.total + excluded.total, status = excluded.status WHERE o.status <> excluded.status$$);
SELECT parsed($$INSERT INTO orders_view SELECT order_id, event_type FROM order_events ON CONFLICT ON CONSTRAINT orders_view_pkey DO UPDATE SET total = orders_view.total + excluded.total$$);
SELECT parsed($$INSERT INTO orders_view SELECT order_id, event_type FROM order_events ON CONFLICT DO NOTHING$$);
SELECT parsed($$INSERT INTO filled (n, v) SELECT l::numeric, event_type FROM order_events, jsonb_array_elements_text(payload) l ON CONFLICT (n) DO UPDATE SET v = excluded.v, code = excluded.code$$);
SELECT parsed($$INSERT INTO filled (n) SELECT amount FROM order_events ON CONFLICT (n) DO UPDATE SET at = excluded.at$$);
SELECT parsed($$INSERT INTO filled (n) SELECT amount FROM order_events ON CONFLICT (n) DO UPDATE SET v = excluded.doubled$$);
SELECT parsed($$INSERT INTO filled (n) SELECT amount FROM order_events ON CONFLICT (n) DO UPDATE SET n = 1$$);
SELECT parsed($$INSERT INTO filled (n) SELECT amount FROM order_events ON CONFLICT (n) DO UPDATE SET v = (SELECT 'x')$$);
SELECT parsed($$INSERT INTO filled (n) SELECT amount FROM order_events ON CONFLICT (n) DO UPDATE SET v = 'x' RETURNING n$$);
SELECT parsed($$INSERT INTO filled (v) SELECT event_type FROM order_events ON CONFLICT (n) DO NOTHING$$);
SELECT parsed($$INSERT INTO filled (n) SELECT 1 FROM order_events ON CONFLICT (n) DO NOTHING$$);
SELECT parsed($$INSERT INTO filled (n) VALUES (1) ON CONFLICT (n) DO NOTHING$$);
SELECT parsed($$INSERT INTO keys (id) SELECT no FROM order_events ON CONFLICT DO NOTHING$$);
SELECT parsed($$INSERT INTO keys (id) SELECT no FROM order_events ON CONFLICT (plain) DO NOTHING$$);
SELECT parsed($$INSERT INTO keys (id) SELECT no FROM order_events ON CONFLICT (g) DO NOTHING$$);
SELECT parsed($$INSERT INTO keys (id) SELECT no FROM order_events ON CONFLICT (price) DO NOTHING$$);
SELECT parsed($$INSERT INTO keys (d, b, a) SELECT occurred_at, event_type, no FROM order_events ON CONFLICT (b, a) DO UPDATE SET d = excluded.d, plain = 'x'$$);
SELECT parsed($$INSERT INTO keys (d, b, a) SELECT occurred_at, event_type, no FROM order_events ON CONFLICT (b, a) DO UPDATE SET plain = excluded::text$$);
SELECT parsed($$INSERT INTO keys (id) SELECT no FROM order_events ON CONFLICT (lower(plain)) DO NOTHING$$);
SELECT parsed($$INSERT INTO keys (partial) SELECT no FROM order_events ON CONFLICT (partial) WHERE partial > 0 DO NOTHING$$);
SELECT parsed($$INSERT INTO orders_view SELECT order_id, event_type, sum(amount) FROM order_events GROUP BY 1, 2 ON CONFLICT (order_id) DO NOTHING$$);
SELECT parsed($$INSERT INTO orders_view SELECT order_id, 'x', count(*) FROM order_events GROUP BY order_id ON CONFLICT (order_id) DO NOTHING$$);
SELECT parsed($$INSERT INTO orders_view SELECT DISTINCT order_id, 'x' FROM order_events ON CONFLICT (order_id) DO NOTHING$$);
SELECT parsed($$WITH w AS (SELECT 1) INSERT INTO orders_view SELECT order_id, 'x' FROM order_events ON CONFLICT (order_id) DO NOTHING$$);

DROP FOREIGN DATA WRAPPER regress_wp_fdw CASCADE;
DROP TABLE a_temporary_table, a_temporary_stream;
DROP SCHEMA regress_wp CASCADE;
