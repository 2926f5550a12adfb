--
-- How a declared projection ends: dropped, its table dropped, by whom; and what
-- one who wants to change it is told.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE ROLE regress_wp_owner;
CREATE ROLE regress_wp_other;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_owner, regress_wp_other;
CREATE SCHEMA regress_wp_app AUTHORIZATION regress_wp_owner;
SET ROLE regress_wp_owner;
CREATE TABLE regress_wp_app.events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, n integer);
CREATE TABLE regress_wp_app.sums (k text PRIMARY KEY, n integer);
INSERT INTO regress_wp_app.events (k, n) VALUES ('a', 1), ('b', 2), ('a', 3);
SELECT projection_create('sums', 'MERGE INTO regress_wp_app.sums s USING regress_wp_app.events e ON s.k = e.k WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, e.n) WHEN MATCHED THEN UPDATE SET n = s.n + e.n');
-- the example, which nobody has initialized, is in nobody's way
CALL projection_consume('async_projection', finish_when_no_messages => true);
RESET ROLE;
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM regress_wp_app.sums ORDER BY k;
-- what is an argument of projection_create
SELECT error_of($$ SELECT projection_set('sums', 'partitions', '4') $$);
SELECT error_of($$ SELECT projection_set('sums', 'ordering', 'arrival') $$);
SELECT error_of($$ SELECT projection_init('sums') $$);
SELECT error_of($$ SELECT projection_delete('sums') $$);
-- the read model stays
SELECT projection_drop('sums');
SELECT * FROM regress_wp_app.sums ORDER BY k;
SET ROLE regress_wp_owner;
TRUNCATE regress_wp_app.sums;
SELECT projection_create('sums', 'MERGE INTO regress_wp_app.sums s USING regress_wp_app.events e ON s.k = e.k WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, e.n) WHEN MATCHED THEN UPDATE SET n = s.n + e.n');
-- a table that was dropped: its projection is still its owner's
DROP TABLE regress_wp_app.sums;
SELECT state, last_error FROM projection_status WHERE projection = 'sums';
SELECT error_of($$ SELECT projection_run('sums') $$);
SELECT error_of($$ SELECT projection_init('sums') $$);
SELECT error_of($$ SELECT projection_reset('sums') $$);
SET ROLE regress_wp_other;
SELECT error_of($$ SELECT projection_drop('sums') $$);
SET ROLE regress_wp_owner;
SELECT projection_drop('sums');
SELECT count(*) FROM projection_status WHERE projection = 'sums';
-- the stream is dropped
CREATE TABLE regress_wp_app.sums (k text PRIMARY KEY, n integer);
SELECT projection_create('sums', 'MERGE INTO regress_wp_app.sums s USING regress_wp_app.events e ON s.k = e.k WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, e.n) WHEN MATCHED THEN UPDATE SET n = s.n + e.n');
SELECT projection_run('sums');
DROP TABLE regress_wp_app.events;
SELECT state, last_error FROM projection_status WHERE projection = 'sums';
SELECT error_of($$ SELECT projection_run('sums') $$);
SELECT projection_drop('sums');
SELECT * FROM regress_wp_app.sums ORDER BY k;

\set ECHO none
RESET ROLE;
DROP SCHEMA regress_wp CASCADE;
DROP SCHEMA regress_wp_app CASCADE;
DROP ROLE regress_wp_owner, regress_wp_other;
