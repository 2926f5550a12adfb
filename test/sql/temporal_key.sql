--
-- Keys WITHOUT OVERLAPS (PostgreSQL 18 and later) are no keys of a projection's
-- rows, since a value may meet several of them; as constraints of a read model
-- they are obeyed.
--
SELECT current_setting('server_version_num')::int < 180000 AS skip \gset
\if :skip
\quit
\endif
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
-- ranges of numbers, since those need no other extension
CREATE TABLE bookings (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rooms int4range NOT NULL,
    days daterange NOT NULL,
    guest text NOT NULL);
SELECT stream_attach('bookings', 'bookings');
CREATE TABLE booked (rooms int4range, days daterange, guest text, PRIMARY KEY (rooms, days WITHOUT OVERLAPS));
SELECT projection_create('booked', 'MERGE INTO booked b USING bookings e ON b.rooms = e.rooms AND b.days = e.days WHEN NOT MATCHED THEN INSERT (rooms, days, guest) VALUES (e.rooms, e.days, e.guest)');
SELECT projection_create('booked', 'MERGE INTO booked b USING bookings e ON b.rooms = e.rooms WHEN NOT MATCHED THEN INSERT (rooms, days, guest) VALUES (e.rooms, e.days, e.guest)');
SELECT projection_create('booked', 'INSERT INTO booked (rooms, days, guest) SELECT rooms, days, guest FROM bookings ON CONFLICT (rooms, days) DO UPDATE SET guest = excluded.guest');
-- with another key
CREATE UNIQUE INDEX ON booked (rooms, days);
SELECT projection_create('booked', 'MERGE INTO booked b USING bookings e ON b.rooms = e.rooms AND b.days = e.days WHEN NOT MATCHED THEN INSERT (rooms, days, guest) VALUES (e.rooms, e.days, e.guest) WHEN MATCHED THEN UPDATE SET guest = e.guest');
INSERT INTO bookings (rooms, days, guest) VALUES
    ('[1,2)', '[2026-01-01,2026-01-05)', 'a'),
    ('[1,2)', '[2026-01-05,2026-01-07)', 'b'),
    ('[2,3)', '[2026-01-04,2026-01-06)', 'c'),
    ('[1,2)', '[2026-01-01,2026-01-05)', 'd');
SELECT projection_run('booked');
SELECT * FROM booked ORDER BY 1, 2;
INSERT INTO bookings (rooms, days, guest) VALUES ('[1,2)', '[2026-01-04,2026-01-06)', 'e'), ('[2,3)', '[2026-01-06,2026-01-07)', 'f');
SELECT projection_run('booked');
SELECT * FROM booked ORDER BY 1, 2;
SELECT partition_key, no, state, sqlstate, message FROM projection_dead_letters;
-- by a statement
CREATE TABLE occupied (rooms int4range, days daterange, guest text, PRIMARY KEY (rooms, days WITHOUT OVERLAPS));
SELECT projection_create('occupied', 'INSERT INTO occupied SELECT rooms, days, guest FROM events ON CONFLICT DO NOTHING', stream => 'bookings', key => 'rooms', for_each => 'event');
SELECT projection_run('occupied');
SELECT * FROM occupied ORDER BY 1, 2;
DROP SCHEMA regress_wp CASCADE;
