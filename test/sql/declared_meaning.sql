--
-- What a declared projection uses changes its meaning, or goes: it fails with an
-- error that says what, parks nobody, and heals once that is undone.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE ROLE regress_owner;
GRANT ALL ON SCHEMA regress_wp TO regress_owner;
CREATE SCHEMA regress_lib;
GRANT ALL ON SCHEMA regress_lib TO regress_owner;
SET ROLE regress_owner;
CREATE TYPE kind AS ENUM ('a', 'b');
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE TABLE events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text, kind kind, amount int, at timestamptz DEFAULT '2024-01-01 00:00+00', spare int, day text DEFAULT '02/03/2024');
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE FUNCTION key_of(n text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(n)';
CREATE VIEW good_events AS SELECT no, key_of(id) AS id, kind, amount, at, day FROM events WHERE amount >= 0;
CREATE TABLE sums (id text PRIMARY KEY, total int, small small, last text, kind kind, spare int);
RESET ROLE;
SET search_path = regress_lib, regress_wp;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SELECT projection_create('sums', $$
  MERGE INTO sums s USING good_events e ON s.id = e.id
  WHEN NOT MATCHED AND e.kind = 'a' THEN INSERT (id, total, small, last, kind) VALUES (e.id, twice(e.amount), 1, e.at::text, e.kind)
  WHEN MATCHED THEN UPDATE SET total = s.total + twice(e.amount), small = e.amount, last = e.at::text || ' ' || e.day::date::text
$$);
SET search_path = regress_wp;

-- What a change leads to, and that it heals when undone.
CREATE FUNCTION check_change(change text, undo text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    total_before bigint;
BEGIN
    SELECT total INTO total_before FROM regress_wp.sums WHERE id = 'x';
    INSERT INTO regress_wp.events (id, kind, amount) VALUES ('x', 'a', 1);
    EXECUTE change;
    RETURN NEXT error_of($q$ SELECT projection_run('sums') $q$);
    RETURN QUERY SELECT 'parked: ' || partition_key || ' ' || message FROM projection_dead_letters;
    EXECUTE undo;
    RETURN NEXT CASE error_of($q$ SELECT projection_run('sums') $q$) WHEN 'no error' THEN 'healed' ELSE error_of($q$ SELECT projection_run('sums') $q$) END;
    RETURN QUERY SELECT 'total: ' || total - total_before FROM regress_wp.sums WHERE id = 'x' AND total - total_before <> 2;
END $$;
\set ECHO all

INSERT INTO events (id, kind, amount) VALUES ('X', 'a', 1);
SELECT projection_run('sums');
SELECT * FROM sums;

-- columns
SELECT check_change('ALTER TABLE events RENAME amount TO sum', 'ALTER TABLE events RENAME sum TO amount');
SELECT check_change('ALTER VIEW good_events RENAME amount TO sum', 'ALTER VIEW good_events RENAME sum TO amount');
SELECT check_change('ALTER TABLE sums RENAME total TO sum', 'ALTER TABLE sums RENAME sum TO total');
SELECT check_change('ALTER TABLE sums RENAME id TO name', 'ALTER TABLE sums RENAME name TO id');
SELECT check_change('ALTER TABLE sums DROP last', 'ALTER TABLE sums ADD last text');
SELECT check_change('ALTER TABLE events RENAME no TO number', 'ALTER TABLE events RENAME number TO no');
SELECT check_change('ALTER TABLE sums ALTER total TYPE bigint', 'ALTER TABLE sums ALTER total TYPE int');
-- those that it does not use
SELECT check_change('ALTER TABLE sums DROP spare', 'ALTER TABLE sums ADD spare int');
SELECT check_change('ALTER TABLE events DROP spare', 'ALTER TABLE events ADD spare int');

-- functions and views
SELECT check_change('CREATE OR REPLACE FUNCTION key_of(n text) RETURNS text LANGUAGE sql IMMUTABLE AS ''SELECT n''', 'CREATE OR REPLACE FUNCTION key_of(n text) RETURNS text LANGUAGE sql IMMUTABLE AS ''SELECT lower(n)''');
SELECT check_change('ALTER FUNCTION twice(int) RENAME TO double', 'ALTER FUNCTION double(int) RENAME TO twice');
SELECT check_change('ALTER FUNCTION twice(int) VOLATILE', 'ALTER FUNCTION twice(int) IMMUTABLE');
SELECT check_change('CREATE FUNCTION regress_lib.twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 0''', 'DROP FUNCTION regress_lib.twice(int)');
SELECT check_change('CREATE FUNCTION regress_lib.times(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 0''; CREATE OPERATOR regress_lib.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = regress_lib.times)', 'DROP OPERATOR regress_lib.+ (int, int)');
SELECT check_change('CREATE OR REPLACE VIEW good_events AS SELECT no, key_of(id) AS id, kind, amount, at, day FROM events WHERE amount >= 1', 'CREATE OR REPLACE VIEW good_events AS SELECT no, key_of(id) AS id, kind, amount, at, day FROM events WHERE amount >= 0');
SELECT check_change('DROP VIEW good_events', 'CREATE VIEW good_events AS SELECT no, key_of(id) AS id, kind, amount, at, day FROM events WHERE amount >= 0; ALTER VIEW good_events OWNER TO regress_owner');
SELECT check_change('CREATE TABLE regress_lib.good_events (no int, id text)', 'DROP TABLE regress_lib.good_events');
-- a function that changes only what is computed: no other events, no other keys
SELECT check_change('CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT n + n''', 'SELECT 1');

-- types and domains
SELECT check_change('ALTER TYPE kind RENAME VALUE ''a'' TO ''c''', 'ALTER TYPE kind RENAME VALUE ''c'' TO ''a''');
SELECT check_change('ALTER TYPE kind RENAME TO sort', 'ALTER TYPE sort RENAME TO kind');
SELECT check_change('ALTER DOMAIN small DROP CONSTRAINT small_check; ALTER DOMAIN small ADD CHECK (VALUE < 1000)', 'ALTER DOMAIN small DROP CONSTRAINT small_check; ALTER DOMAIN small ADD CHECK (VALUE < 100)');

-- tables
SELECT check_change('ALTER TABLE sums RENAME TO totals', 'ALTER TABLE totals RENAME TO sums');
SELECT check_change('ALTER TABLE events RENAME TO occurrences', 'ALTER TABLE occurrences RENAME TO events');
SELECT check_change('ALTER TABLE sums SET SCHEMA regress_lib', 'ALTER TABLE regress_lib.sums SET SCHEMA regress_wp');
SELECT check_change('ALTER SCHEMA regress_lib RENAME TO regress_books', 'ALTER SCHEMA regress_books RENAME TO regress_lib');
SELECT check_change('CREATE TABLE regress_lib.sums (LIKE regress_wp.sums INCLUDING ALL)', 'DROP TABLE regress_lib.sums');
SELECT check_change('ALTER TABLE sums DROP CONSTRAINT sums_pkey', 'ALTER TABLE sums ADD PRIMARY KEY (id)');
SELECT check_change('ALTER TABLE sums DROP CONSTRAINT sums_pkey; ALTER TABLE sums ADD PRIMARY KEY (id) DEFERRABLE', 'ALTER TABLE sums DROP CONSTRAINT sums_pkey; ALTER TABLE sums ADD PRIMARY KEY (id)');
SELECT check_change('ALTER TABLE events DROP CONSTRAINT events_pkey', 'ALTER TABLE events ADD PRIMARY KEY (no)');
-- of another name: the same
SELECT check_change('ALTER INDEX sums_pkey RENAME TO sums_key', 'ALTER INDEX sums_key RENAME TO sums_pkey');

-- settings of the session and of the role do not matter
SELECT check_change('SET timezone = ''Asia/Tokyo''; SET datestyle = ''German''', 'SELECT 1');
SELECT last FROM sums;
SET datestyle = 'ISO, MDY';
SELECT check_change('ALTER ROLE regress_owner SET datestyle = ''SQL, DMY''; ALTER ROLE regress_owner SET search_path = regress_lib', 'SELECT 1');
SELECT last FROM sums;

-- a collation's new version, or hash functions of another release of PostgreSQL, give another fingerprint
SELECT check_change('UPDATE wallet_projection.definition SET fingerprint = fingerprint + 1', 'UPDATE wallet_projection.definition SET fingerprint = fingerprint - 1');

-- the role's name
SELECT check_change('ALTER ROLE regress_owner RENAME TO regress_owner_2', 'ALTER ROLE regress_owner_2 RENAME TO regress_owner');

-- a table that is made anew is another one
BEGIN;
DROP TABLE sums;
SELECT error_of($$ SELECT projection_run('sums') $$);
CREATE TABLE sums (id text PRIMARY KEY, total int, small small, last text, kind kind, spare int);
ALTER TABLE sums OWNER TO regress_owner;
SELECT error_of($$ SELECT projection_run('sums') $$);
ROLLBACK;
SELECT error_of($$ SELECT projection_run('sums') $$);
BEGIN;
DROP TABLE events CASCADE;
SELECT error_of($$ SELECT projection_run('sums') $$);
CREATE TABLE events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text, kind kind, amount int, at timestamptz DEFAULT '2024-01-01 00:00+00', spare int, day text DEFAULT '02/03/2024');
CREATE VIEW good_events AS SELECT no, key_of(id) AS id, kind, amount, at, day FROM events WHERE amount >= 0;
ALTER TABLE events OWNER TO regress_owner;
ALTER TABLE good_events OWNER TO regress_owner;
SELECT error_of($$ SELECT projection_run('sums') $$);
ROLLBACK;
SELECT error_of($$ SELECT projection_run('sums') $$);
-- the type goes, and the columns with it
BEGIN;
DROP TYPE kind CASCADE;
SELECT error_of($$ SELECT projection_run('sums') $$);
ROLLBACK;
SELECT error_of($$ SELECT projection_run('sums') $$);
SELECT count(*) FROM projection_dead_letters;
-- what the hint says helps
DROP TABLE sums;
SELECT error_of($$ SELECT projection_run('sums') $$);
SELECT projection_drop('sums');

DROP SCHEMA regress_lib CASCADE;
DROP SCHEMA regress_wp CASCADE;
DROP OWNED BY regress_owner;
DROP ROLE regress_owner;
