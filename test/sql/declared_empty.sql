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

-- The other way round: rows that were restored without the projection's positions
-- are not counted a second time
CREATE TABLE copied (k text PRIMARY KEY, n integer);
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text);
SELECT projection_create('copied', 'MERGE INTO copied t USING sales e ON t.k = e.k WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1');
INSERT INTO copied VALUES ('a', 2);
SELECT projection_run('copied');
INSERT INTO sales (k) VALUES ('a'), ('a'), ('b');
SELECT error_of($$ SELECT projection_run('copied') $$);
SELECT * FROM copied;
SELECT projection_reset('copied');
SELECT projection_run('copied');
SELECT * FROM copied ORDER BY k;
-- a row of somebody else's later on is no reason, nor where a definition makes none
INSERT INTO copied VALUES ('c', 7);
INSERT INTO sales (k) VALUES ('c');
SELECT projection_run('copied');
SELECT * FROM copied ORDER BY k;
CREATE TABLE products (k text PRIMARY KEY, sold integer NOT NULL DEFAULT 0);
SELECT projection_create('products', 'MERGE INTO products p USING sales e ON p.k = e.k WHEN MATCHED THEN UPDATE SET sold = p.sold + 1');
INSERT INTO products VALUES ('a');
SELECT projection_run('products');
SELECT * FROM products;
-- nor where it begins later
CREATE TABLE late (LIKE copied INCLUDING ALL);
INSERT INTO late SELECT * FROM copied;
SELECT projection_create('late', 'MERGE INTO late t USING sales e ON t.k = e.k WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1', start_at => 'now');
INSERT INTO sales (k) VALUES ('a');
SELECT projection_run('late');
SELECT * FROM late ORDER BY k;

\set ECHO none
DROP SCHEMA regress_wp CASCADE;
