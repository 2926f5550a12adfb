--
-- A key of text is compared under its index's collation, also where different
-- texts are equal.  Where the server has such collations, by ICU.
--
SELECT getdatabaseencoding() <> 'UTF8' OR NOT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS skip \gset
\if :skip
\quit
\endif
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE FUNCTION key(comparison text) RETURNS jsonb
    LANGUAGE sql AS $$
    SELECT wallet_projection.definition_describe('MERGE INTO people p USING people_events e ON ' || comparison || ' WHEN MATCHED THEN DELETE')->'key'
$$;
\set ECHO all

CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE people_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, folded text COLLATE any_case, c text COLLATE "C");
CREATE TABLE people (name text COLLATE any_case UNIQUE, plain text UNIQUE);

SELECT key('p.name = e.name');
SELECT key('p.name = e.folded');
SELECT key('p.name = e.c COLLATE any_case');
SELECT key('p.plain = e.name');
-- only the same texts are equal in both collations
SELECT key('p.plain = e.c');
-- other texts are equal
SELECT key('p.name = e.name COLLATE "C"');
SELECT key('p.plain = e.folded');
-- the server knows no collation for these
SELECT key('p.name = e.c');

-- by another index of the same column
CREATE UNIQUE INDEX people_c ON people (name COLLATE "C");
SELECT key('p.name = e.name COLLATE "C"');

-- places are counted in characters
SELECT key($$p.name = e.name || 'äöü' AND e.name <> 'x'$$);

DROP SCHEMA regress_wp CASCADE;
