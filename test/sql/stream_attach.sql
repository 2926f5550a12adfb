--
-- Can a table of any columns be a stream, and is one refused whose positions
-- could not be trusted?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

-- the position is the identity column, whatever its name is
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id uuid NOT NULL, kind text NOT NULL, amount numeric);
INSERT INTO orders (order_id, kind) SELECT gen_random_uuid(), 'placed' FROM generate_series(1, 5);
DELETE FROM orders WHERE id = 2;
SELECT stream_attach('orders', 'orders');
SELECT name, relation::regclass, position, guard FROM wallet_projection.stream;
SELECT n FROM wallet_projection.stream_rows('orders', 1, 100) n;
SELECT n FROM wallet_projection.stream_rows('orders', 3, 4) n;
SELECT n FROM wallet_projection.stream_rows('orders', -9223372036854775808, 9223372036854775807) n;
SELECT wallet_projection.last_position('orders');
-- nothing of the table is changed
SELECT tgname FROM pg_trigger WHERE tgrelid = 'orders'::regclass;
-- once, under one name
SELECT error_of($$ SELECT stream_attach('orders', 'orders') $$);
SELECT error_of($$ SELECT stream_attach('others', 'orders') $$);
-- what the extension does with its own columns is not done
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$);
SELECT error_of($$ SELECT * FROM stream_read('orders', 'Order', 'o1') $$);
SELECT error_of($$ SELECT stream_create('orders') $$);
SELECT stream_notify('orders', true), stream_notify('orders', false);
-- columns that were dropped or added
ALTER TABLE orders DROP kind, ADD note text DEFAULT 'x';
INSERT INTO orders (order_id) VALUES (gen_random_uuid());
SELECT n FROM wallet_projection.stream_rows('orders', 1, 100) n;
-- the table is renamed, and its column; then it is gone
ALTER TABLE orders RENAME TO old_orders;
SELECT count(*) FROM wallet_projection.stream_rows('orders', 1, 100);
ALTER TABLE old_orders RENAME id TO ident;
SELECT error_of($$ SELECT * FROM wallet_projection.stream_rows('orders', 1, 100) $$);
SELECT wallet_projection.last_position('orders');
ALTER TABLE old_orders RENAME ident TO id;
DROP TABLE old_orders;
SELECT error_of($$ SELECT * FROM wallet_projection.stream_rows('orders', 1, 100) $$);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
SELECT error_of($$ SELECT stream_attach('orders', 'orders') $$);
SELECT stream_detach('orders');
SELECT error_of($$ SELECT stream_detach('orders') $$);
SELECT stream_attach('orders', 'orders'), stream_detach('orders');
SELECT count(*) FROM wallet_projection.stream;

-- arguments
SELECT error_of($$ SELECT stream_attach(NULL, 'orders') $$);
SELECT error_of($$ SELECT stream_attach('', 'orders') $$);
SELECT error_of($$ SELECT stream_attach('s', NULL) $$);
SELECT error_of($$ SELECT stream_attach('s', 1) $$);
SELECT error_of($$ SELECT stream_attach('s', 'orders', guard => 'none') $$);
SELECT error_of($$ SELECT stream_attach('s', 'orders', 'nothing') $$);
SELECT error_of($$ SELECT stream_attach('s', 'orders', 'ctid') $$);
SELECT error_of($$ SELECT stream_detach(NULL) $$);
SELECT error_of($$ SELECT stream_detach('s') $$);
SELECT error_of($$ SELECT stream_attach('wallet_stream', 'orders') $$);
SELECT stream_create('created');
SELECT error_of($$ SELECT stream_attach('s', 'created') $$);
SELECT error_of($$ SELECT stream_detach('created') $$);

-- smaller positions
CREATE TABLE small (a text, no smallint GENERATED ALWAYS AS IDENTITY UNIQUE);
INSERT INTO small SELECT 'x' FROM generate_series(1, 3);
SELECT stream_attach('small', 'small');
SELECT n FROM wallet_projection.stream_rows('small', 2, 100000000000) n;
CREATE TABLE middle (a text, no integer GENERATED ALWAYS AS IDENTITY UNIQUE);
INSERT INTO middle SELECT 'x' FROM generate_series(1, 3);
SELECT stream_attach('middle', 'middle');
SELECT n FROM wallet_projection.stream_rows('middle', 2, 100000000000) n;

-- which column, where there are several
CREATE TABLE two (a bigint GENERATED ALWAYS AS IDENTITY UNIQUE, b bigserial UNIQUE);
SELECT error_of($$ SELECT stream_attach('two', 'two') $$);
SELECT stream_attach('two', 'two', 'a');

-- a writer may bring numbers: somebody has to decide
CREATE TABLE events (no bigserial PRIMARY KEY, event_id uuid NOT NULL UNIQUE, event_name varchar(100) NOT NULL, payload json NOT NULL, metadata jsonb NOT NULL, created_at timestamp(6) NOT NULL DEFAULT now());
INSERT INTO events (event_id, event_name, payload, metadata)
SELECT gen_random_uuid(), 'App\Domain\Event\WalletWasCredited', '{"amount": 5}', jsonb_build_object('_aggregate_id', n % 2) FROM generate_series(1, 4) n;
SELECT error_of($$ SELECT stream_attach('events', 'events') $$);
SELECT stream_attach('events', 'events', 'no', guard => 'trust');
SELECT name, position, guard FROM wallet_projection.stream WHERE name = 'events';
SELECT attidentity FROM pg_attribute WHERE attrelid = 'events'::regclass AND attname = 'no';
SELECT n FROM wallet_projection.stream_rows('events', 1, 100) n;
SELECT stream_detach('events');
-- or nobody may any more: the sequence goes on where it was, with its rights
CREATE ROLE regress_wp_writer;
GRANT SELECT, USAGE ON SEQUENCE events_no_seq TO regress_wp_writer;
SELECT setval('events_no_seq', 41), nextval('events_no_seq');
SELECT pg_relation_filenode('events') AS filenode \gset
SELECT stream_attach('events', 'events', guard => 'identity');
SELECT pg_relation_filenode('events') = :filenode AS not_rewritten;
INSERT INTO events (event_id, event_name, payload, metadata) VALUES (gen_random_uuid(), 'e', '{}', '{}') RETURNING no;
SELECT error_of($$ INSERT INTO events (no, event_id, event_name, payload, metadata) VALUES (99, gen_random_uuid(), 'e', '{}', '{}') $$);
SELECT pg_get_serial_sequence('events', 'no'), has_sequence_privilege('regress_wp_writer', 'events_no_seq', 'USAGE') AS "usage", has_sequence_privilege('regress_wp_writer', 'events_no_seq', 'UPDATE') AS "update";
SELECT n FROM wallet_projection.stream_rows('events', 1, 100) n;
-- an identity column by default; numbers above its sequence
CREATE TABLE by_default (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a text);
INSERT INTO by_default VALUES (7, 'x');
SELECT error_of($$ SELECT stream_attach('by_default', 'by_default') $$);
SELECT error_of($$ SELECT stream_attach('by_default', 'by_default', guard => 'trust') $$);
SELECT stream_attach('by_default', 'by_default', guard => 'identity');
INSERT INTO by_default (a) VALUES ('y') RETURNING id;
SELECT error_of($$ INSERT INTO by_default VALUES (9, 'x') $$);
-- sequences that are somewhat different
CREATE TABLE s1 (id smallserial PRIMARY KEY, a text);
SELECT stream_attach('s1', 's1', guard => 'identity');
INSERT INTO s1 (a) VALUES ('x') RETURNING id;
CREATE SEQUENCE s2_numbers START 5 MINVALUE 5;
CREATE TABLE s2 (id integer PRIMARY KEY DEFAULT nextval('s2_numbers'), a text);
ALTER SEQUENCE s2_numbers OWNED BY s2.id;
SELECT stream_attach('s2', 's2', guard => 'identity');
INSERT INTO s2 (a) VALUES ('x') RETURNING id;
SELECT seqtypid::regtype, seqstart, seqmin, seqmax, seqcache FROM pg_sequence WHERE seqrelid = 's2_numbers'::regclass;
CREATE TABLE s3 (id serial PRIMARY KEY, a text);
CREATE VIEW s3_view AS SELECT last_value FROM s3_id_seq;
SELECT error_of($$ SELECT stream_attach('s3', 's3', guard => 'identity') $$);
INSERT INTO s3 (a) VALUES ('x') RETURNING id;
-- what is not decided is not changed
CREATE TABLE refused (id bigserial, a text);
SELECT error_of($$ SELECT stream_attach('refused', 'refused', guard => 'identity') $$);
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'refused'::regclass;
-- later it is taken back
ALTER TABLE by_default ALTER id SET GENERATED BY DEFAULT;
SELECT error_of($$ SELECT * FROM wallet_projection.stream_rows('by_default', 1, 100) $$);

-- the hints help
CREATE TABLE no_numbers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), a text);
INSERT INTO no_numbers (a) VALUES ('x'), ('y');
SELECT error_of($$ SELECT stream_attach('no_numbers', 'no_numbers') $$);
ALTER TABLE regress_wp.no_numbers ADD COLUMN no bigint GENERATED ALWAYS AS IDENTITY UNIQUE;
SELECT stream_attach('no_numbers', 'no_numbers');
SELECT n FROM wallet_projection.stream_rows('no_numbers', 1, 100) n;
CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 20), a text, b uuid);
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
CREATE INDEX ON t (id);
CREATE UNIQUE INDEX ON t (a, id);
CREATE UNIQUE INDEX ON t (id) WHERE id > 10;
CREATE UNIQUE INDEX ON t (id DESC);
ALTER TABLE t ADD UNIQUE (id) DEFERRABLE;
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
CREATE UNIQUE INDEX ON regress_wp.t (id);
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
ALTER SEQUENCE regress_wp.t_id_seq CACHE 1 INCREMENT 1 NO CYCLE;
SELECT stream_attach('t', 't');
SELECT stream_detach('t');
ALTER SEQUENCE t_id_seq MINVALUE -5 RESTART -5;
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
INSERT INTO t (a) VALUES ('x');
ALTER SEQUENCE regress_wp.t_id_seq MINVALUE 1 RESTART;
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
UPDATE regress_wp.t SET id = DEFAULT WHERE id < 1;
SELECT stream_attach('t', 't'), stream_detach('t');
ALTER SEQUENCE t_id_seq CYCLE;
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
ALTER SEQUENCE t_id_seq NO CYCLE INCREMENT 2;
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
ALTER SEQUENCE t_id_seq INCREMENT 1;
INSERT INTO t (id, a) OVERRIDING SYSTEM VALUE VALUES (1000, 'y');
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
SELECT setval('regress_wp.t_id_seq', 1000);
SELECT stream_attach('t', 't'), stream_detach('t');
SELECT error_of($$ SELECT stream_attach('t', 't', 'b') $$);
-- a trigger that could change the number
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER before BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT error_of($$ SELECT stream_attach('t', 't') $$);
SELECT error_of($$ SELECT stream_attach('t', 't', guard => 'identity') $$);
SELECT stream_attach('t', 't', guard => 'trust'), stream_detach('t');
-- defaults
CREATE SEQUENCE shared;
CREATE TABLE d (id bigint UNIQUE DEFAULT nextval('shared'), other bigint DEFAULT nextval('shared'));
SELECT error_of($$ SELECT stream_attach('d', 'd', 'id', 'trust') $$);
ALTER TABLE d ALTER COLUMN id SET NOT NULL;
SELECT error_of($$ SELECT stream_attach('d', 'd', 'id', 'trust') $$);
ALTER SEQUENCE regress_wp.shared OWNED BY regress_wp.d.id;
SELECT error_of($$ SELECT stream_attach('d', 'd', 'id', 'trust') $$);
ALTER TABLE d DROP other;
SELECT stream_attach('d', 'd', 'id', 'trust'), stream_detach('d');
ALTER TABLE d ALTER id SET DEFAULT nextval('shared') + 1;
SELECT error_of($$ SELECT stream_attach('d', 'd', 'id', 'trust') $$);
ALTER TABLE d ALTER id DROP DEFAULT;
SELECT error_of($$ SELECT stream_attach('d', 'd', 'id', 'trust') $$);

-- what is no table for events
CREATE VIEW a_view AS SELECT * FROM t;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM t;
CREATE UNLOGGED TABLE unlogged (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TEMP TABLE temporary (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE FOREIGN DATA WRAPPER regress_wp_fdw;
CREATE SERVER regress_wp_server FOREIGN DATA WRAPPER regress_wp_fdw;
CREATE FOREIGN TABLE far (id bigint) SERVER regress_wp_server;
SELECT r, error_of(format('SELECT stream_attach(%L, %L)', 's', r))
  FROM unnest(ARRAY['a_view', 'a_matview', 'shared', 't_id_idx', 'far', 'unlogged', 'temporary', 'pg_catalog.pg_class', 'wallet_projection.stream']) r;
ALTER TABLE regress_wp.unlogged SET LOGGED;
SELECT stream_attach('unlogged', 'unlogged');
ALTER TABLE unlogged SET UNLOGGED;
SELECT error_of($$ SELECT * FROM wallet_projection.stream_rows('unlogged', 1, 100) $$);
-- children, by inheritance
CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text);
CREATE TABLE child (b text) INHERITS (parent);
SELECT error_of($$ SELECT stream_attach('child', 'child') $$);
SELECT stream_attach('parent', 'parent');
INSERT INTO parent (a) VALUES ('x'), ('y'), ('z');
INSERT INTO child SELECT id, a FROM ONLY parent WHERE id = 2;
SELECT error_of($$ SELECT * FROM wallet_projection.stream_rows('parent', 1, 100) $$);
DELETE FROM ONLY parent WHERE id = 2;
SELECT n FROM wallet_projection.stream_rows('parent', 1, 100) n;
ALTER TABLE child SET UNLOGGED;
SELECT stream_detach('parent');
SELECT error_of($$ SELECT stream_attach('parent', 'parent') $$);

CREATE TABLE parent_serial (id serial PRIMARY KEY, a text);
CREATE TABLE child_serial (b text) INHERITS (parent_serial);
SELECT error_of($$ SELECT stream_attach('parent_serial', 'parent_serial') $$);
SELECT error_of($$ SELECT stream_attach('parent_serial', 'parent_serial', guard => 'identity') $$);

-- partitions by month
CREATE TABLE monthly (id bigint GENERATED ALWAYS AS IDENTITY, created_at timestamptz NOT NULL DEFAULT now(), a text, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
SELECT stream_attach('monthly', 'monthly');
SELECT count(*), wallet_projection.last_position('monthly') FROM wallet_projection.stream_rows('monthly', 1, 100);
CREATE TABLE m1 PARTITION OF monthly FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE m2 PARTITION OF monthly FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY RANGE (created_at);
CREATE TABLE m2x (a text, junk int, created_at timestamptz NOT NULL, id bigint NOT NULL);
ALTER TABLE m2x DROP junk;
ALTER TABLE m2 ATTACH PARTITION m2x FOR VALUES FROM ('2026-02-01') TO ('2026-02-12');
CREATE TABLE m2y PARTITION OF m2 DEFAULT;
INSERT INTO monthly (created_at, a) SELECT d, a FROM generate_series(1, 3) n, (VALUES (timestamptz '2026-01-10'), ('2026-02-10'), ('2026-02-20')) v (d), (VALUES ('x')) w (a) ORDER BY n, d, a;
INSERT INTO m2x (created_at, a, id) VALUES ('2026-02-11', 'x', nextval('monthly_id_seq'));
SELECT tableoid::regclass, min(id), max(id), count(*) FROM monthly GROUP BY 1 ORDER BY 1;
SELECT string_agg(n::text, ' ') FROM wallet_projection.stream_rows('monthly', 1, 100) n;
SELECT wallet_projection.last_position('monthly');
SELECT error_of($$ SELECT stream_attach('m1', 'm1', 'id') $$);
SELECT error_of($$ SELECT stream_attach('m2x', 'm2x', 'id') $$);
-- a row that moves is the same event
UPDATE monthly SET created_at = '2026-01-20' WHERE id = 3;
SELECT string_agg(n::text, ' ') FROM wallet_projection.stream_rows('monthly', 1, 100) n;
-- a number twice is not
INSERT INTO m1 (created_at, a, id) VALUES ('2026-01-11', 'x', 8);
SELECT error_of($$ SELECT * FROM wallet_projection.stream_rows('monthly', 1, 100) $$);
DELETE FROM m1 WHERE id = 8;
ALTER TABLE m2 DETACH PARTITION m2x;
SELECT string_agg(n::text, ' ') FROM wallet_projection.stream_rows('monthly', 1, 100) n;
SELECT stream_detach('monthly');
-- which are no partitions for events
ALTER TABLE m1 SET UNLOGGED;
SELECT error_of($$ SELECT stream_attach('monthly', 'monthly') $$);
ALTER TABLE regress_wp.m1 SET LOGGED;
SELECT stream_attach('monthly', 'monthly');
CREATE TABLE by_list (id bigint GENERATED ALWAYS AS IDENTITY, a text) PARTITION BY LIST (a);
CREATE FOREIGN TABLE by_list_far PARTITION OF by_list FOR VALUES IN ('far') SERVER regress_wp_server;
SELECT error_of($$ SELECT stream_attach('by_list', 'by_list') $$);
ALTER TABLE regress_wp.by_list DETACH PARTITION regress_wp.by_list_far;
DROP FOREIGN DATA WRAPPER regress_wp_fdw CASCADE;
-- numbered by a default, which partitions inherit
CREATE TABLE by_serial (id bigserial, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE by_serial_1 PARTITION OF by_serial FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT error_of($$ SELECT stream_attach('by_serial', 'by_serial') $$);
CREATE UNIQUE INDEX ON regress_wp.by_serial (id, at);
SELECT error_of($$ SELECT stream_attach('by_serial', 'by_serial') $$);
SELECT error_of($$ SELECT stream_attach('by_serial', 'by_serial', guard => 'identity') $$);
SELECT stream_attach('by_serial', 'by_serial', guard => 'trust');
INSERT INTO by_serial (at) VALUES ('2026-01-01');
INSERT INTO by_serial_1 (at) VALUES ('2026-01-02');
SELECT string_agg(n::text, ' ') FROM wallet_projection.stream_rows('by_serial', 1, 100) n;
CREATE TABLE no_number (at date NOT NULL) PARTITION BY RANGE (at);
SELECT error_of($$ SELECT stream_attach('no_number', 'no_number') $$);

-- more rows than are read at once
CREATE TABLE long (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text);
CREATE TABLE long_child (PRIMARY KEY (id)) INHERITS (long);
INSERT INTO long (a) SELECT n FROM generate_series(1, 25000) n;
WITH moved AS (DELETE FROM ONLY long WHERE id % 2 = 0 RETURNING *) INSERT INTO long_child SELECT * FROM moved;
SELECT stream_attach('long', 'long');
SELECT count(*), sum(n), min(n), max(n), bool_and(n = o) AS in_order FROM wallet_projection.stream_rows('long', 1, 30000) WITH ORDINALITY r (n, o);
-- a number twice where one read ends and the next one begins
INSERT INTO long_child SELECT * FROM ONLY long WHERE id = 10001;
SELECT error_of($$ SELECT count(*) FROM wallet_projection.stream_rows('long', 1, 30000) $$);
SELECT error_of($$ SELECT count(*) FROM wallet_projection.stream_rows('long', 2, 30000) $$);
SELECT error_of($$ SELECT count(*) FROM wallet_projection.stream_rows('long', 10002, 30000) $$);

-- who may
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_writer;
SET ROLE regress_wp_writer;
SELECT error_of($$ SELECT stream_attach('regress_wp.t', 't') $$);
SELECT error_of($$ SELECT stream_detach('monthly') $$);
SELECT error_of($$ SELECT * FROM wallet_projection.stream_rows('monthly', 1, 100) $$);
RESET ROLE;
ALTER TABLE d OWNER TO regress_wp_writer;
SET ROLE regress_wp_writer;
ALTER TABLE d ALTER id SET DEFAULT nextval('shared');
SELECT error_of($$ SELECT stream_attach('d', 'd', guard => 'trust') $$);
SELECT error_of($$ SELECT stream_attach('wallet_stream', 'd', guard => 'trust') $$);
SELECT error_of($$ SELECT stream_attach('d', 'd', 'id') $$);
SELECT stream_attach('regress_wp.d', 'd', guard => 'trust');
-- by the table's name alone: the hint has the stream's
\set VERBOSITY default
SELECT stream_notify('d', true);
SELECT stream_detach('d');
SELECT stream_detach('regress_wp.d');
RESET ROLE;
ALTER TABLE d OWNER TO CURRENT_USER;
DROP OWNED BY regress_wp_writer;
DROP ROLE regress_wp_writer;

DROP SCHEMA regress_wp CASCADE;
