--
-- dead_letter_show of a declared projection: which event, as far as it can be
-- read, whatever its columns are?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE ROLE regress_wp_reader;

CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE TYPE pair AS (a int, b text);
-- a cast of a user's to JSON is not asked
CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as %', current_user; END $$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
CREATE TABLE events (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int, "Kind" varchar(20), k text, amount numeric, f float8, flag boolean,
    j json, b jsonb, m mood, s small, p pair, a int[], at timestamptz DEFAULT '2026-01-02 03:04:05+00', u uuid, raw bytea, secret text);
ALTER TABLE events DROP COLUMN gone;
CREATE TABLE sums (k int PRIMARY KEY, total numeric CHECK (total < 100));
SELECT projection_create('sums', $$MERGE INTO sums s USING events e ON s.k = e.k::int
  WHEN NOT MATCHED AND e."Kind" = 'add' THEN INSERT VALUES (e.k::int, e.amount)
  WHEN MATCHED AND e."Kind" = 'add' THEN UPDATE SET total = s.total + e.amount$$);
INSERT INTO events ("Kind", k, amount, f, flag, j, b, m, s, p, a, u, raw, secret) VALUES
 ('add', '1', 1e20, 'Infinity', true, '{"x": 1.50}', '[1, null]', 'ok', 7, '(1,"b ""c")', '{1,2}', '00000000-0000-0000-0000-000000000001', '\xff', 'for "few"'),
 ('add', '2', 'NaN', 1e300, false, '"\u0000"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 ('add', 'x', 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET client_min_messages = error;
SELECT projection_run('sums');
SET client_min_messages = warning;
\x on
SELECT d.no, d.partition_key, s.event_name, s.event_id, jsonb_pretty(s.payload) AS payload, s.metadata, s.created_at
  FROM projection_dead_letters d, dead_letter_show(d.id) s ORDER BY d.no;
\x off
-- with the caller's rights: what may not be read is left out
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_reader;
ALTER TABLE sums OWNER TO regress_wp_reader;
GRANT SELECT ("Kind", k, amount, id) ON events TO regress_wp_reader;
UPDATE wallet_projection.projection_state SET owner = 'regress_wp_reader'::regrole WHERE projection = 'sums';
SET ROLE regress_wp_reader;
SELECT s.payload FROM projection_dead_letters d, dead_letter_show(d.id) s ORDER BY d.no LIMIT 1;
RESET ROLE;
-- the event is gone; the table is
ALTER TABLE sums OWNER TO CURRENT_USER;
DELETE FROM events WHERE id = 1;
SELECT d.no, s.payload FROM projection_dead_letters d, dead_letter_show(d.id) s ORDER BY d.no LIMIT 1;
DROP TABLE events;
SELECT d.no, s.payload FROM projection_dead_letters d, dead_letter_show(d.id) s ORDER BY d.no;
SELECT projection_drop('sums');

-- a created stream, by a key that is no aggregate
SELECT stream_create('made');
CREATE TABLE names (name text PRIMARY KEY, n int CHECK (n < 2));
SELECT projection_create('names', $$MERGE INTO names t USING made e ON t.name = e.event_name
  WHEN NOT MATCHED THEN INSERT VALUES (e.event_name, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1$$);
SELECT stream_append('made', 'Thing', 'a', '[{"event_name": "seen", "payload": {"x": 1}}, {"event_name": "seen", "payload": {"x": 2}}]');
SET client_min_messages = error;
SELECT projection_run('names');
SET client_min_messages = warning;
SELECT s.partition_key, s.no, s.payload, s.event_id IS NOT NULL AS id, s.created_at IS NOT NULL AS at FROM projection_dead_letters d, dead_letter_show(d.id) s;

DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_wp_reader;
