--
-- What can be changed of a declared projection later, and what a reset may
-- empty?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE ROLE regress_wp_other;
CREATE TABLE events (no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int, kind text, secret text);
CREATE TABLE sums (k int PRIMARY KEY, n int);
SELECT projection_create('sums', $$MERGE INTO sums s USING events e ON s.k = e.k
  WHEN NOT MATCHED AND e.kind = 'add' THEN INSERT VALUES (e.k, 1) WHEN MATCHED AND e.kind = 'add' THEN UPDATE SET n = s.n + 1$$);

-- strict, from the next batch on
INSERT INTO events (k, kind) VALUES (1, 'add'), (1, 'misspelt');
SELECT projection_run('sums');
SELECT projection_set('sums', 'strict', 'true');
SELECT option, value FROM projection_options WHERE projection = 'sums' AND option = 'strict';
INSERT INTO events (k, kind) VALUES (2, 'add'), (2, 'misspelt'), (2, 'add');
SET client_min_messages = error;
SELECT projection_run('sums');
SET client_min_messages = warning;
SELECT no, event_name, waiting, message FROM projection_dead_letters;
SELECT projection_set('sums', 'strict', 'off');
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SELECT * FROM sums ORDER BY k;
SELECT error_of($$ SELECT projection_set('sums', 'strict', 'perhaps') $$);
SELECT error_of($$ SELECT projection_set('wallet_balance', 'strict', 'true') $$);
-- arguments of projection_create
SELECT option, error_of(format($$ SELECT projection_set('sums', %L, 'x') $$, option))
  FROM unnest(ARRAY['ordering', 'allow_stable', 'start_at', 'key', 'for_each', 'stricter']) AS option;

-- a projection from now on is not emptied of what came before
CREATE TABLE later (k int PRIMARY KEY, n int);
INSERT INTO later VALUES (1, 100);
SELECT projection_create('later', $$MERGE INTO later s USING events e ON s.k = e.k
  WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1) WHEN MATCHED THEN UPDATE SET n = s.n + 1$$, start_at => 'now');
INSERT INTO events (k, kind) VALUES (1, 'add');
SELECT projection_run('later');
SELECT error_of($$ SELECT projection_reset('later') $$);
SELECT * FROM later;
BEGIN; TRUNCATE regress_wp.later; SELECT projection_reset('later'); COMMIT;
SELECT projection_run('later');
SELECT * FROM later;
-- nor a statement's
CREATE TABLE log (no int, kind text);
INSERT INTO log VALUES (0, 'by hand');
SELECT projection_create('log', 'INSERT INTO log SELECT no, kind FROM events', stream => 'events', start_at => 'now');
SELECT error_of($$ SELECT projection_reset('log') $$);
SELECT * FROM log;

-- projection_wait asks no more of the owner than batches do: some columns, or a view
CREATE VIEW kinds AS SELECT k, kind FROM events;
GRANT USAGE, CREATE ON SCHEMA regress_wp TO regress_wp_other;
GRANT SELECT ON kinds TO regress_wp_other;
CREATE TABLE theirs (k int PRIMARY KEY, n int);
ALTER TABLE theirs OWNER TO regress_wp_other;
SELECT projection_create('theirs', $$MERGE INTO theirs s USING kinds e ON s.k = e.k
  WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1) WHEN MATCHED THEN UPDATE SET n = s.n + 1$$);
SET ROLE regress_wp_other;
SELECT projection_run('theirs');
SELECT projection_wait('theirs', '1 min');
SELECT * FROM theirs ORDER BY k;
RESET ROLE;
GRANT SELECT (k) ON events TO regress_wp_other;
CREATE TABLE thine (k int PRIMARY KEY);
ALTER TABLE thine OWNER TO regress_wp_other;
SELECT projection_create('thine', $$MERGE INTO thine s USING events e ON s.k = e.k WHEN NOT MATCHED THEN INSERT VALUES (e.k)$$);
SET ROLE regress_wp_other;
SELECT projection_run('thine');
SELECT projection_wait('thine', '1 min');
RESET ROLE;

DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_wp_other;
