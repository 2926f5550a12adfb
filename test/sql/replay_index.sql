--
-- A replay that looks through the stream for want of an index says which one
-- would help.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE TABLE events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int, payload jsonb, bad boolean);
CREATE TABLE sums (id text PRIMARY KEY, n int NOT NULL);
CREATE TABLE columns (k int PRIMARY KEY, n int NOT NULL);
SELECT projection_create('sums', $$MERGE INTO sums s USING events e ON s.id = e.payload->>'id'
  WHEN NOT MATCHED THEN INSERT VALUES (e.payload->>'id', 1 / (1 - e.bad::int)) WHEN MATCHED THEN UPDATE SET n = s.n + 1 / (1 - e.bad::int)$$);
SELECT projection_create('columns', $$MERGE INTO columns s USING events e ON s.k = e.k
  WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1 / (1 - e.bad::int)) WHEN MATCHED THEN UPDATE SET n = s.n + 1 / (1 - e.bad::int)$$);
INSERT INTO events (k, payload, bad) SELECT i % 3, jsonb_build_object('id', (i % 3)::text), i BETWEEN 2 AND 3 FROM generate_series(1, 100) i;
SET client_min_messages = error;
SELECT projection_run('sums'), projection_run('columns');
SET client_min_messages = notice;
-- few numbers
UPDATE events SET bad = false WHERE no = 3;
SELECT dead_letter_replay(id) FROM projection_dead_letters WHERE no = 3 ORDER BY id;
UPDATE events SET bad = true WHERE no = 3;
-- many; a notice for each call
INSERT INTO events (k, payload, bad) SELECT i % 3, jsonb_build_object('id', (i % 3)::text), false FROM generate_series(1, 12000) i;
SET client_min_messages = error;
SELECT projection_run('sums'), projection_run('columns');
SET client_min_messages = notice;
UPDATE events SET bad = false;
SELECT dead_letter_replay_all('sums') AS healed \gset
SELECT :healed, dead_letter_replay(id) FROM projection_dead_letters WHERE projection = 'columns';
-- what the hints say helps
UPDATE events SET bad = true WHERE no = 102;
SET client_min_messages = error;
SELECT projection_reset('sums'), projection_reset('columns');
SELECT projection_run('sums'), projection_run('columns');
SET client_min_messages = notice;
UPDATE events SET bad = false;
CREATE INDEX ON regress_wp.events (((payload ->> 'id'::text)));
SELECT dead_letter_replay_all('sums');
SELECT dead_letter_replay_all('columns');
SELECT * FROM sums ORDER BY id;

SET client_min_messages = warning;
DROP SCHEMA regress_wp CASCADE;
