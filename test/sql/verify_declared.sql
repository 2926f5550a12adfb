--
-- projection_verify of declared projections: each kind of definition, keys of
-- each kind, events that are not applied, columns that are not compared.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SET client_min_messages = warning;
\set declared :srcdir '/sql/declared_helpers.psql'
\i :declared
\set ECHO all
\pset null '(null)'

CREATE TABLE orders (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int, kind text, amount text, lines jsonb, at timestamptz DEFAULT '2024-01-01');

-- several items of an event, a key of two columns, deletion, filter, null keys
CREATE TABLE lines (id int, sku text COLLATE "C", gone int, n int NOT NULL, total numeric(10,2), PRIMARY KEY (sku, id));
ALTER TABLE lines DROP COLUMN gone;
SELECT projection_create('lines', $$
  MERGE INTO lines l
  USING (SELECT o.id, o.kind, x.sku, x.n FROM orders o, jsonb_to_recordset(o.lines) AS x(sku text, n int) WHERE o.kind <> 'noise') e
     ON l.id = e.id AND l.sku = e.sku
  WHEN MATCHED AND e.kind = 'cancel' THEN DELETE
  WHEN MATCHED THEN UPDATE SET n = l.n + e.n, total = l.total + e.n * 1.5
  WHEN NOT MATCHED AND e.kind <> 'cancel' THEN INSERT (id, sku, n, total) VALUES (e.id, e.sku, e.n, e.n * 1.5)$$, ordering => 'arrival');
INSERT INTO orders (id, kind, lines)
    SELECT i % 50, CASE i % 7 WHEN 0 THEN 'noise' WHEN 1 THEN 'cancel' ELSE 'line' END,
           jsonb_build_array(jsonb_build_object('sku', 'a' || i % 3, 'n', i), jsonb_build_object('sku', 'b' || i % 5, 'n', 1),
                             jsonb_build_object('sku', NULL, 'n', 1))
      FROM generate_series(1, 1000) i;
SELECT projection_run('lines', 400);
SELECT check_verified('lines');
SELECT projection_run('lines');
SELECT check_verified('lines');
UPDATE lines SET n = 7 WHERE id = 3 AND sku = 'a0';
DELETE FROM lines WHERE id = 4;
INSERT INTO lines VALUES (99, 'x,"y"', 1, 1), (99, 'b0', 1, 1);
SELECT * FROM projection_verify('lines') ORDER BY 1, 3;
SELECT * FROM projection_verify('lines', '(a0,3)');
SELECT * FROM projection_verify('lines', '(a2,4)');
SELECT * FROM projection_verify('lines', 'a0');
SELECT projection_drop('lines');

-- columns with defaults: those that change are not compared, nor evaluated
CREATE SEQUENCE drawn;
CREATE TABLE sums (id int PRIMARY KEY, total numeric NOT NULL, status text NOT NULL DEFAULT 'open', serial bigint NOT NULL DEFAULT nextval('drawn'),
    made timestamptz NOT NULL DEFAULT now(), twice numeric GENERATED ALWAYS AS (total * 2) STORED, of_serial bigint, own text,
    row_number bigint GENERATED ALWAYS AS IDENTITY, CHECK (total >= 0));
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a trigger was fired'; END $$;
SELECT projection_create('sums', $$
  MERGE INTO sums s USING (SELECT * FROM orders WHERE amount IS NOT NULL) o ON s.id = o.id
  WHEN NOT MATCHED THEN INSERT (id, total) VALUES (o.id, o.amount::numeric)
  WHEN MATCHED THEN UPDATE SET total = s.total + o.amount::numeric, of_serial = s.serial + 1$$, ordering => 'number');
INSERT INTO orders (id, amount) SELECT i % 10, i::text FROM generate_series(1, 100) i;
SELECT projection_run('sums');
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON sums FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT check_verified('sums');
SELECT last_value FROM drawn;
ALTER TABLE sums DISABLE TRIGGER refuse;
UPDATE sums SET own = 'mine', made = '2024-01-01', serial = 5, of_serial = 7;
SELECT check_verified('sums');
UPDATE sums SET status = 'closed', total = total + 1 WHERE id = 3;
SELECT * FROM projection_verify('sums') ORDER BY 1, 3;
UPDATE sums SET status = 'open', total = total - 1 WHERE id = 3;
-- a constraint that is added says nothing of what was before
ALTER TABLE sums ADD CHECK (total > 100);
SELECT check_verified('sums');
-- parked keys: all up to the failed event; and an event without a key
SELECT projection_set('sums', 'max_parked', '10');
INSERT INTO orders (id, amount) VALUES (1, '1'), (1, 'x'), (1, '2'), (2, 'y'), (3, '-1000000'), (2, '1');
SELECT projection_run('sums');
SELECT partition_key, no, waiting FROM projection_dead_letters ORDER BY 1;
SELECT check_verified('sums');
SELECT dead_letter_delete(id) FROM projection_dead_letters WHERE partition_key = '1';
SELECT dead_letter_delete(id, whole => true) FROM projection_dead_letters WHERE partition_key = '2';
SELECT check_verified('sums');
SELECT projection_drop('sums');
DROP TABLE sums;

-- an event whose key cannot be computed
CREATE TABLE keyed (k int PRIMARY KEY, n int NOT NULL);
SELECT projection_create('keyed', $$
  MERGE INTO keyed k USING orders o ON k.k = o.amount::int
  WHEN NOT MATCHED THEN INSERT VALUES (o.amount::int, 1)
  WHEN MATCHED THEN UPDATE SET n = k.n + 1$$, ordering => 'arrival');
SELECT projection_set('keyed', 'max_parked', '10');
SELECT projection_run('keyed');
SELECT partition_key, message FROM projection_dead_letters ORDER BY 1;
SELECT check_verified('keyed');
UPDATE orders SET amount = 'z' WHERE amount = '77';
SELECT * FROM projection_verify('keyed') ORDER BY 1;
UPDATE orders SET amount = '77' WHERE amount = 'z';
SELECT dead_letter_delete(id) FROM projection_dead_letters WHERE message LIKE '%"x"%';
SELECT check_verified('keyed');
SELECT projection_drop('keyed');
DROP TABLE keyed;

-- equality that is not of bytes; spelt as an upsert, over a view
CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE names (name text COLLATE ignore_case PRIMARY KEY, n int NOT NULL);
CREATE VIEW named AS SELECT no, kind AS name FROM orders;
SELECT projection_create('names', $$
  INSERT INTO names AS r SELECT name, 1 FROM named e
  ON CONFLICT (name) DO UPDATE SET n = r.n + 1$$, ordering => 'arrival');
INSERT INTO orders (kind) VALUES ('LINE'), ('Noise'), ('CANCEL'), (NULL);
SELECT projection_run('names');
SELECT check_verified('names');
UPDATE names SET name = upper(name);
SELECT check_verified('names');
UPDATE names SET n = 0 WHERE name = 'noise';
SELECT * FROM projection_verify('names');
SELECT * FROM projection_verify('names', 'nOISE');
SELECT projection_drop('names');

-- it begins now; strict
CREATE TABLE strict (id int PRIMARY KEY, n int);
SELECT projection_create('strict', $$
  MERGE INTO strict r USING orders e ON r.id = e.id
  WHEN NOT MATCHED AND e.kind = 'new' THEN INSERT (id, n) VALUES (e.id, 1)
  WHEN MATCHED AND e.kind = 'add' THEN UPDATE SET n = r.n + 1$$, start_at => 'now', strict => true);
SELECT projection_set('strict', 'max_parked', '10');
INSERT INTO orders (id, kind) VALUES (1, 'new'), (1, 'add'), (2, 'add'), (1, 'new'), (3, 'new');
SELECT projection_run('strict');
SELECT partition_key FROM projection_dead_letters ORDER BY 1;
SELECT check_verified('strict');
SELECT * FROM strict;
UPDATE orders SET kind = 'odd' WHERE kind = 'new' AND id = 3;
SELECT * FROM projection_verify('strict');
SELECT projection_drop('strict');

-- a row whose key is null: no event's
CREATE TABLE loose (id int UNIQUE, n int);
SELECT projection_create('loose', $$
  MERGE INTO loose r USING orders e ON r.id = e.id
  WHEN NOT MATCHED THEN INSERT (id, n) VALUES (e.id, 1)
  WHEN MATCHED THEN UPDATE SET n = r.n + 1$$, ordering => 'arrival');
SELECT projection_run('loose');
SELECT check_verified('loose');
INSERT INTO loose VALUES (NULL, 3);
SELECT * FROM projection_verify('loose');
SELECT projection_drop('loose');

-- events whose key cannot be computed, before the start and above the positions
CREATE TABLE by_line (id int PRIMARY KEY, n int);
INSERT INTO orders (id, lines) VALUES (1, '"x"'), (2, '"x"');
SELECT projection_create('by_line', $$
  MERGE INTO by_line r USING orders e ON r.id = (e.lines #>> '{}')::int
  WHEN NOT MATCHED THEN INSERT (id, n) VALUES ((e.lines #>> '{}')::int, 1)
  WHEN MATCHED THEN UPDATE SET n = r.n + 1$$, ordering => 'arrival', start_at => 'now');
INSERT INTO orders (lines) VALUES ('1'), ('2'), ('1');
SELECT projection_run('by_line');
UPDATE by_line SET n = 7 WHERE id = 2;
INSERT INTO orders (lines) VALUES ('"y"');
SELECT * FROM projection_verify('by_line');
SELECT * FROM projection_verify('by_line', '2');
SELECT projection_drop('by_line');

-- a partitioned stream, and values that are stored apart
CREATE TABLE parted (no bigint NOT NULL, day int NOT NULL, k text, doc jsonb, PRIMARY KEY (no, day)) PARTITION BY RANGE (day);
CREATE SEQUENCE parted_no OWNED BY parted.no;
ALTER TABLE parted ALTER no SET DEFAULT nextval('parted_no');
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (2);
CREATE TABLE parted_2 (day int NOT NULL, k text, gone int, doc jsonb, no bigint NOT NULL DEFAULT nextval('parted_no'));
ALTER TABLE parted_2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (2) TO (3);
SELECT stream_attach('parted', 'parted', guard => 'trust');
CREATE TABLE docs (k text PRIMARY KEY, doc jsonb, n int);
SELECT projection_create('docs', $$
  MERGE INTO docs r USING parted e ON r.k = e.k
  WHEN NOT MATCHED THEN INSERT (k, doc, n) VALUES (e.k, e.doc, 1)
  WHEN MATCHED THEN UPDATE SET doc = r.doc || e.doc, n = r.n + 1$$, ordering => 'arrival');
INSERT INTO parted (day, k, doc) SELECT 1 + i % 2, 'k' || i % 5, jsonb_build_object('f' || i, repeat(md5(i::text), 200)) FROM generate_series(1, 60) i;
SELECT projection_run('docs');
SELECT check_verified('docs');
UPDATE docs SET doc = doc - 'f7';
SELECT partition_key, problem, column_name, length(expected) - length(actual) AS longer FROM projection_verify('docs');
SELECT projection_drop('docs');

-- a statement's rows cannot be computed by themselves
CREATE TABLE log (no bigint PRIMARY KEY);
SELECT projection_create('log', 'INSERT INTO log SELECT no FROM events', stream => 'orders');
SELECT error_of($$SELECT projection_verify('log')$$);
SELECT projection_drop('log');
