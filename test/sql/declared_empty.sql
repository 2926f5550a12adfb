--
-- A declared projection's read model may be rightly empty: no WHEN has held, or
-- all rows were deleted.  One that was emptied by somebody else is noticed.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE TABLE events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, what text);
CREATE TABLE never (k text PRIMARY KEY, n integer);
CREATE TABLE board (k text PRIMARY KEY, n integer);
CREATE TABLE kept (k text PRIMARY KEY, n integer);
SELECT projection_create('never', 'MERGE INTO never t USING events e ON t.k = e.k WHEN NOT MATCHED AND e.what = ''opend'' THEN INSERT (k, n) VALUES (e.k, 1) WHEN MATCHED AND e.what = ''closed'' THEN UPDATE SET n = 0');
SELECT projection_create('board', 'MERGE INTO board t USING events e ON t.k = e.k WHEN NOT MATCHED AND e.what = ''opened'' THEN INSERT (k, n) VALUES (e.k, 1) WHEN MATCHED AND e.what = ''closed'' THEN DELETE');
SELECT projection_create('kept', 'MERGE INTO kept t USING events e ON t.k = e.k WHEN NOT MATCHED AND e.what = ''opened'' THEN INSERT (k, n) VALUES (e.k, 1) WHEN MATCHED AND e.what = ''closed'' THEN UPDATE SET n = 0');
INSERT INTO events (k, what) VALUES ('a', 'opened'), ('b', 'opened');
SELECT projection_run('never'), projection_run('board'), projection_run('kept');
INSERT INTO events (k, what) VALUES ('a', 'closed'), ('b', 'closed');
SELECT projection_run('never'), projection_run('board'), projection_run('kept');
-- a VACUUM gives the pages back
VACUUM board;
SELECT projection, state, last_error FROM projection_status WHERE kind = 'row' ORDER BY 1;
SELECT projection_wait('never'), projection_wait('board');
INSERT INTO events (k, what) VALUES ('c', 'opened');
SELECT projection_run('never'), projection_run('board'), projection_run('kept');
SELECT * FROM board;
SELECT * FROM kept ORDER BY k;
-- somebody else
TRUNCATE kept;
SELECT projection, state, last_error FROM projection_status WHERE kind = 'row' ORDER BY 1;
SELECT error_of($$ SELECT projection_run('kept') $$);
SELECT projection_reset('kept');
SELECT projection_run('kept');
SELECT * FROM kept ORDER BY k;

\set ECHO none
DROP SCHEMA regress_wp CASCADE;
