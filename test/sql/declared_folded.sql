--
-- Keys whose different texts are equal: under a nondeterministic collation, and
-- of type citext.  Where the server has both.
--
SELECT getdatabaseencoding() <> 'UTF8' OR NOT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')
       OR NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') AS skip \gset
\if :skip
\quit
\endif
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set declared :srcdir '/sql/declared_helpers.psql'
\i :declared
CREATE EXTENSION citext;
\set ECHO all

CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT check_key('text COLLATE any_case', '{Anna,anna,Bob,ANNA}');
SELECT check_key('varchar(5) COLLATE any_case', '{Anna,anna,Bob}');
SELECT check_key('text[] COLLATE any_case', '{"{Anna,Bob}","{anna,bob}","{bob}"}');
CREATE TYPE names AS RANGE (subtype = text, collation = any_case);
SELECT check_key('names', '{"[Anna,Bob]","[anna,BOB]"}');
SELECT check_key('citext', '{Anna,anna,Bob}');
CREATE DOMAIN address AS citext CHECK (VALUE LIKE '%@%');
SELECT check_key('address', '{Anna@example,anna@EXAMPLE,Bob@example}');

-- What is equal may change with the provider: it chooses no partition, and all
-- keys are in one.
SELECT partitions_of('text COLLATE any_case', '{Anna,Bob,Carl}') AS texts,
       partitions_of('text[] COLLATE any_case', '{"{Anna}","{Bob}"}') AS arrays,
       partitions_of('names', '{"[Anna,Bob]","[anna,anna]"}') AS ranges,
       partitions_of('citext', '{Anna,Bob,Carl}') AS citexts;
-- the other columns choose it
CREATE TABLE seats (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, guest text COLLATE any_case, hall int, bad bool);
CREATE TABLE guests (guest text COLLATE any_case, hall int, seats int, PRIMARY KEY (guest, hall));
SELECT projection_create('guests', $$
  MERGE INTO guests g USING seats s ON g.guest = s.guest AND g.hall = s.hall
  WHEN NOT MATCHED THEN INSERT (guest, hall, seats) VALUES (s.guest, s.hall, 1 / (NOT s.bad)::int)
  WHEN MATCHED THEN UPDATE SET seats = g.seats + 1 / (NOT s.bad)::int
$$, partitions => 1024);
INSERT INTO seats (guest, hall, bad) VALUES ('Anna', 1, true), ('anna', 1, false), ('Anna', 2, true), ('BOB', 2, true), ('bob', 1, false), ('Bob', 1, false);
SELECT projection_run('guests');
SELECT partition_key, waiting FROM projection_dead_letters ORDER BY no;
SELECT count(DISTINCT partition) FROM wallet_projection.parked WHERE projection = 'guests';
UPDATE seats SET bad = false;
SELECT dead_letter_replay_all('guests');
SELECT * FROM guests ORDER BY hall, guest;

DROP SCHEMA regress_wp CASCADE;
