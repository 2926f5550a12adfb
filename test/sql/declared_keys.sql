--
-- Keys of declared projections: of which types, what is equal, how a parked one
-- is shown and found again, which values do not fit.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set SHOW_CONTEXT never
SET client_min_messages = warning;

\set declared :srcdir '/sql/declared_helpers.psql'
\i :declared
\set ECHO all

SELECT check_key('uuid', '{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002}');
SELECT check_key('bigint', '{7,-9223372036854775808,0}');
SELECT check_key('smallint', '{7,-32768}');
SELECT check_key('integer', '{7,-1}');
SELECT check_key('text COLLATE "C"', '{b,a,"",B,"a b\"(),"}');
SELECT check_key('text', '{b,a,B,""}');
SELECT check_key('varchar(3)', '{abc,a,A}');
-- spaces at the end of a char(n) mean nothing
SELECT check_key('char(5)', '{ab,"ab ",abc}');
SELECT check_key('name', '{ab,abc}');
SELECT check_key('date', '{2024-02-29,infinity,0044-03-15 BC}');
SELECT check_key('time', '{12:00,12:00:00.000001}');
-- of the same number
SELECT check_key('numeric', '{1.0,1.00,1,NaN,1e100}');
SELECT check_key('numeric(10,2)', '{1.005,1.01,1}');
SELECT check_key('float8', '{-0,0,NaN,0.1}');
SET timezone = 'Asia/Kolkata';
SELECT check_key('timestamptz(0)', '{2024-01-01 00:00:00.4+00,2024-01-01 05:30+05:30,2024-01-01 00:00:01Z}');
RESET timezone;
SELECT check_key('timestamp', '{2024-01-01,-infinity}');
SELECT check_key('interval', '{1 day,24 hours,1 month}');
SELECT check_key('bool', '{t,f}');
SELECT check_key('bytea', '{"\\x00ff","\\x"}');
SELECT check_key('jsonb', '{"{\"a\": 1.0}","{\"a\": 1}","null"}');
SELECT check_key('inet', '{10.0.0.1,10.0.0.0/8}');
SELECT check_key('int[]', '{"{1,2}","{}","{NULL}"}');
SELECT check_key('int4range', '{"[1,3)","[1,2]",empty}');
SELECT check_key('int4multirange', '{"{[1,3),[3,4]}","{[1,5)}","{}"}');

-- labels, also within others
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
SELECT check_key('mood', '{"very happy",sad,ok}');
SELECT check_key('mood[]', '{"{sad,ok}","{\"very happy\"}","{}"}');
CREATE TYPE moods AS RANGE (subtype = mood);
SELECT check_key('moods', '{"[sad,ok]","(sad,ok]",empty}');
SELECT check_key('moods_multirange', '{"{[sad,ok]}","{}"}');
CREATE TYPE mood_of AS (who text, mood mood, amount numeric);
SELECT check_key('mood_of', '{"(a,sad,1.0)","(a,sad,1)","(\"b, c\",ok,)"}');
CREATE TYPE place AS (x int, y numeric);
SELECT check_key('place', '{"(1,1.0)","(1,1)","(1,)"}');
SELECT check_key('regclass', '{pg_class,pg_type}');
-- by what they are made of
CREATE DOMAIN code AS text CHECK (VALUE ~ '^[a-z]+$');
SELECT check_key('code', '{a,b}');

-- Which types' hashes are PostgreSQL's own is not to be seen from outside; that
-- a label's is not, is: after a restore it has another OID.
SELECT partitions_of('mood', '{sad,ok,very happy}') AS moods, partitions_of('mood[]', '{"{sad}","{ok}"}') AS arrays,
       partitions_of('moods', '{"[sad,ok]","[ok,ok]"}') AS ranges \gset
DROP TYPE mood CASCADE;
DROP TYPE IF EXISTS moods;
CREATE TYPE mood AS ENUM ('other', 'sad', 'ok', 'very happy');
CREATE TYPE moods AS RANGE (subtype = mood);
SELECT partitions_of('mood', '{sad,ok,very happy}') = :'moods' AS moods, partitions_of('mood[]', '{"{sad}","{ok}"}') = :'arrays' AS arrays,
       partitions_of('moods', '{"[sad,ok]","[ok,ok]"}') = :'ranges' AS ranges;
-- as a text of the same characters, and as a bigint of the same value
SELECT partitions_of('mood', '{sad,ok,very happy}') = partitions_of('text', '{sad,ok,very happy}') AS labels,
       partitions_of('smallint', '{7,-5}') = partitions_of('bigint', '{7,-5}') AS integers,
       partitions_of('numeric', '{1.0}') = partitions_of('numeric', '{1.000}') AS numerics;
-- names of objects choose no partition, so all are of one
SELECT partitions_of('regclass', '{pg_class,pg_type,pg_proc}') AS regclass;

-- Several columns
CREATE TABLE lines (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, day date, sku text, shelf numeric, quantity text);
CREATE TABLE stock (shelf numeric, sku text, day date, quantity int NOT NULL, PRIMARY KEY (day, sku, shelf));
SELECT projection_create('stock', $$
  MERGE INTO stock s USING lines l ON s.sku = l.sku AND s.shelf = l.shelf AND s.day = l.day
  WHEN NOT MATCHED THEN INSERT (day, sku, shelf, quantity) VALUES (l.day, l.sku, l.shelf, l.quantity::int)
  WHEN MATCHED THEN UPDATE SET quantity = s.quantity + l.quantity::int
$$);
INSERT INTO lines (day, sku, shelf, quantity) VALUES
    ('2024-01-01', 'a "b", (c)\', 1.0, 1), ('2024-01-01', 'a "b", (c)\', 1.00, 'bad'), ('2024-01-01', 'a "b", (c)\', 1, 3),
    ('2024-01-01', '', 1, 1), ('2024-01-01', '', 1, 'bad'), ('2024-01-02', 'a', 1, 5),
    -- a null in the key: nobody's event
    (NULL, 'a', 1, 5), ('2024-01-02', NULL, 1, 5), ('2024-01-02', 'a', NULL, 5);
SELECT projection_run('stock');
SELECT partition_key, no, waiting FROM projection_dead_letters ORDER BY no;
INSERT INTO lines (day, sku, shelf, quantity) VALUES ('2024-01-01', 'a "b", (c)\', 1.000, 10), ('2024-01-01', '', 1.000, 20);
SELECT projection_run('stock');
SELECT partition_key, no, waiting FROM projection_dead_letters ORDER BY no;
UPDATE lines SET quantity = 100 WHERE quantity = 'bad';
SELECT dead_letter_replay_all('stock');
SELECT * FROM stock ORDER BY day, sku;
SELECT count(*) FROM projection_dead_letters;

-- An event without a key comes before the one at which its key stands: the key
-- stands before it then, and all of it is tried
CREATE TABLE votes (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, n text);
CREATE TABLE tally (k int PRIMARY KEY, n int, seen text);
SELECT projection_create('tally', $$
  MERGE INTO tally t USING votes v ON t.k = v.k::int
  WHEN NOT MATCHED THEN INSERT VALUES (v.k::int, v.n::int, v.no::text)
  WHEN MATCHED THEN UPDATE SET n = t.n + v.n::int, seen = t.seen || ' ' || v.no
$$);
INSERT INTO votes (k, n) VALUES ('?', 1), ('?', 2), ('5', 'bad'), ('5', 3), ('6', 4);
SELECT projection_run('tally');
SELECT partition_key, no, waiting FROM projection_dead_letters WHERE projection = 'tally' ORDER BY no;
UPDATE votes SET k = '5' WHERE k = '?';
UPDATE votes SET n = 7 WHERE n = 'bad';
BEGIN;
SELECT dead_letter_replay_all('tally');
SELECT * FROM tally ORDER BY k;
SELECT partition_key, no, waiting, message FROM projection_dead_letters WHERE projection = 'tally' ORDER BY no;
ROLLBACK;
CALL projection_rebuild('tally');
SELECT * FROM tally ORDER BY k;
SELECT partition_key, no, waiting, message FROM projection_dead_letters WHERE projection = 'tally' ORDER BY no;

-- What does not fit
CREATE TABLE wide (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, n text);
CREATE FUNCTION declare_narrow(key_type text) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE narrow (k %s PRIMARY KEY, n int)', key_type);
    PERFORM projection_create('narrow', format('MERGE INTO narrow r USING wide e ON r.k = e.k%s
        WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k%1$s, 1) WHEN MATCHED THEN UPDATE SET n = r.n + 1',
        CASE WHEN key_type ~ '^(varchar|code)' THEN '' ELSE '::' || regexp_replace(key_type, '\(.*', '') END));
END $$;
CREATE FUNCTION drop_narrow() RETURNS void
    LANGUAGE sql AS $$ SELECT projection_drop('narrow'); DROP TABLE narrow; $$;
\set letters 'SELECT partition_key, no, sqlstate, message FROM projection_dead_letters WHERE projection = ''narrow'' ORDER BY no'

-- too long: not cut off, its key waits
INSERT INTO wide (k) VALUES ('abc'), ('abcd'), ('abcd'), ('abc'), ('abc  ');
SELECT declare_narrow('varchar(3)');
SELECT projection_run('narrow');
:letters;
SELECT k, n FROM narrow ORDER BY k;
SELECT drop_narrow();
-- rounded on the way into the row: another key than the event's
UPDATE wide SET k = '1.005';
INSERT INTO wide (k) VALUES ('2.10'), ('12345678.1'), ('123456789.1'), ('NaN');
SELECT declare_narrow('numeric(10,2)');
SELECT projection_run('narrow');
:letters;
SELECT k, n FROM narrow ORDER BY k;
SELECT drop_narrow();
-- no such value: what cannot be computed is parked by itself
UPDATE wide SET k = '7';
INSERT INTO wide (k) VALUES ('x'), ('32768'), ('x');
SELECT declare_narrow('smallint');
SELECT projection_run('narrow');
:letters;
SELECT k, n FROM narrow ORDER BY k;
SELECT drop_narrow();
-- a domain refuses
UPDATE wide SET k = 'a';
INSERT INTO wide (k) VALUES ('B'), ('b'), (NULL);
SELECT declare_narrow('code');
SELECT projection_run('narrow');
:letters;
SELECT k, n FROM narrow ORDER BY k;
SELECT drop_narrow();

-- a label of a key that is renamed: parked keys, and what is in which partition,
-- would be another one's
CREATE TYPE grade AS ENUM ('a', 'b');
CREATE TABLE grade_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k grade, v int);
CREATE TABLE grades (k grade PRIMARY KEY, n int);
SELECT projection_create('grades', 'MERGE INTO grades r USING grade_events e ON r.k = e.k
  WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, 1 / e.v) WHEN MATCHED THEN UPDATE SET n = r.n + 1');
INSERT INTO grade_events (k, v) VALUES ('a', 0), ('b', 1);
SELECT projection_run('grades');
ALTER TYPE grade RENAME VALUE 'a' TO 'z';
INSERT INTO grade_events (k, v) VALUES ('z', 1);
SELECT projection_run('grades');
ALTER TYPE grade RENAME VALUE 'z' TO 'a';
ALTER TYPE grade ADD VALUE 'c' BEFORE 'b';
INSERT INTO grade_events (k, v) VALUES ('c', 1);
SELECT projection_run('grades');
SELECT * FROM grades ORDER BY k;
SELECT partition_key, waiting FROM projection_dead_letters;
SELECT projection_drop('grades');

DROP SCHEMA regress_wp CASCADE;
