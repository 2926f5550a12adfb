--
-- Constraints of PostgreSQL 18 and later: NOT ENFORCED, NOT NULL ... NOT VALID,
-- and foreign keys with PERIOD. Read models have them, foreign keys refer to
-- read models, and a promotion leaves them as they are.
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
CREATE TABLE payments (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid NOT NULL UNIQUE DEFAULT uuidv7(), shop text NOT NULL, amount numeric);
CREATE TABLE totals (shop text PRIMARY KEY, total numeric NOT NULL, CHECK (total < 10) NOT ENFORCED);
CREATE TABLE totals_new (LIKE totals INCLUDING ALL);
\set totals 'MERGE INTO totals t USING payments e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount) WHEN MATCHED THEN UPDATE SET total = t.total + e.amount'
\set totals_new 'MERGE INTO totals_new t USING payments e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount) WHEN MATCHED THEN UPDATE SET total = t.total + coalesce(e.amount, 0)'
SELECT projection_create('old', :'totals');
SELECT projection_create('new', :'totals_new');
-- what is not enforced parks nobody
INSERT INTO payments (shop, amount) VALUES ('a', 5), ('b', 6), ('a', 7) RETURNING old.shop, new.shop, new.event_id IS NULL AS without_id;
SELECT projection_run('old'), projection_run('new');
SELECT * FROM totals ORDER BY 1;
SELECT count(*) FROM projection_dead_letters;
SELECT * FROM projection_compare('old', 'new');

-- foreign keys that are not enforced, or not valid, where storage is exchanged
CREATE TABLE badges (shop text, badge text);
INSERT INTO badges VALUES ('a', 'gold'), ('no such shop', 'silver');
ALTER TABLE badges ADD CONSTRAINT hoped FOREIGN KEY (shop) REFERENCES totals NOT ENFORCED, ADD CONSTRAINT loose FOREIGN KEY (shop) REFERENCES totals NOT VALID;
CREATE TABLE visits (shop text, day int) PARTITION BY LIST (day);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES IN (1);
CREATE TABLE calls (LIKE visits) PARTITION BY LIST (day);
CREATE TABLE calls_1 PARTITION OF calls FOR VALUES IN (1);
INSERT INTO visits VALUES ('a', 1), ('no such shop', 1);
INSERT INTO calls TABLE visits;
ALTER TABLE visits ADD CONSTRAINT hoped_for FOREIGN KEY (shop) REFERENCES totals NOT ENFORCED;
ALTER TABLE calls ADD CONSTRAINT loose_too FOREIGN KEY (shop) REFERENCES totals NOT VALID;
CREATE TABLE strict (shop text REFERENCES totals);
INSERT INTO strict VALUES ('a');
CREATE VIEW constraints AS
    SELECT conrelid::regclass AS on_table, conname, confrelid::regclass AS refers_to, conenforced AS enforced, convalidated AS valid
    FROM pg_constraint WHERE contype = 'f' AND confrelid IN (SELECT oid FROM pg_class WHERE relname IN ('totals', 'totals_new'));
SELECT projection_promote('new', 'old');
SELECT * FROM constraints ORDER BY on_table::text, conname;
-- where names are, and back again
ALTER TABLE totals_new DROP CONSTRAINT totals_total_check;
SELECT projection_promote('old', 'new');
SELECT * FROM constraints ORDER BY on_table::text, conname;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('totals'::regclass, 'totals_new'::regclass) AND contype = 'c';
SELECT projection_promote('new', 'old');
SELECT * FROM constraints ORDER BY on_table::text, conname;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('totals'::regclass, 'totals_new'::regclass) AND contype = 'c';
-- they go on to mean what they meant
INSERT INTO badges VALUES ('nowhere', 'none');
ALTER TABLE badges DROP CONSTRAINT loose;
INSERT INTO badges VALUES ('nowhere', 'none');

-- rows need not obey a NOT NULL that is NOT VALID: storage does not go where it is valid
CREATE TABLE noted (shop text PRIMARY KEY, amount numeric);
CREATE TABLE noted_new (shop text PRIMARY KEY, amount numeric NOT NULL);
\set noted 'MERGE INTO noted t USING payments e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount) WHEN MATCHED THEN UPDATE SET amount = e.amount'
\set noted_new 'MERGE INTO noted_new t USING payments e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, coalesce(e.amount, 0)) WHEN MATCHED THEN UPDATE SET amount = coalesce(e.amount, 0)'
SELECT projection_create('noted', :'noted');
SELECT projection_create('noted_new', :'noted_new');
INSERT INTO payments (shop, amount) VALUES ('c', NULL);
SELECT projection_run('noted'), projection_run('noted_new');
ALTER TABLE noted ADD CONSTRAINT later NOT NULL amount NOT VALID;
SELECT projection_promote('noted_new', 'noted');
SELECT shop FROM noted_new WHERE amount IS NULL;
SELECT shop FROM noted WHERE amount IS NULL;
-- but events after it have to
INSERT INTO payments (shop, amount) VALUES ('c', NULL), ('d', NULL), ('e', 1);
SELECT projection_run('noted');
SELECT partition_key, sqlstate, message FROM projection_dead_letters WHERE projection = 'noted' ORDER BY 1;

-- a key WITHOUT OVERLAPS that foreign keys refer to with PERIOD
CREATE TABLE stays (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, room int4range NOT NULL, days daterange NOT NULL, guest text);
CREATE TABLE booked (room int4range, days daterange, guest text, PRIMARY KEY (room, days WITHOUT OVERLAPS), UNIQUE (room, days));
CREATE TABLE booked_new (LIKE booked INCLUDING ALL);
SELECT projection_create('booked', 'MERGE INTO booked b USING stays e ON b.room = e.room AND b.days = e.days WHEN NOT MATCHED THEN INSERT VALUES (e.room, e.days, e.guest) WHEN MATCHED THEN DELETE');
SELECT projection_create('booked_new', 'MERGE INTO booked_new b USING stays e ON b.room = e.room AND b.days = e.days WHEN NOT MATCHED THEN INSERT VALUES (e.room, e.days, upper(e.guest)) WHEN MATCHED THEN DELETE');
INSERT INTO stays (room, days, guest) VALUES ('[1,2)', '[2026-01-01,2026-01-05)', 'a'), ('[1,2)', '[2026-01-05,2026-01-08)', 'b'), ('[2,3)', '[2026-01-04,2026-01-06)', 'c');
SELECT projection_run('booked'), projection_run('booked_new');
CREATE TABLE breakfasts (room int4range, days daterange, CONSTRAINT eaten FOREIGN KEY (room, PERIOD days) REFERENCES booked (room, PERIOD days));
INSERT INTO breakfasts VALUES ('[1,2)', '[2026-01-02,2026-01-07)');
SELECT projection_promote('booked_new', 'booked');
SELECT confrelid::regclass, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'eaten';
SELECT * FROM booked ORDER BY 1, 2;
-- a row that is referred to cannot go
INSERT INTO stays (room, days) VALUES ('[1,2)', '[2026-01-05,2026-01-08)'), ('[2,3)', '[2026-01-04,2026-01-06)');
SELECT projection_run('booked'), projection_run('booked_new');
SELECT * FROM booked ORDER BY 1, 2;
SELECT projection, partition_key, sqlstate, message FROM projection_dead_letters WHERE projection LIKE 'booked%' ORDER BY 1;
DROP SCHEMA regress_wp CASCADE;
