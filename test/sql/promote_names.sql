--
-- projection_promote where the tables differ: they exchange their names, and what
-- depends on the old one moves.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE ROLE regress_reader;
CREATE SCHEMA regress_staging;
GRANT USAGE ON SCHEMA regress_wp TO regress_reader;
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL, amount int NOT NULL);
CREATE TABLE "Totals" (id int GENERATED ALWAYS AS IDENTITY, shop text CONSTRAINT totals_pkey PRIMARY KEY, n int NOT NULL, total numeric NOT NULL);
CREATE TABLE regress_staging."Totals" (id int GENERATED ALWAYS AS IDENTITY, shop text CONSTRAINT totals_pkey PRIMARY KEY, total numeric(12, 2) NOT NULL, n int NOT NULL, highest int);
SELECT projection_create('v1', 'MERGE INTO "Totals" USING sales e ON "Totals".shop = e.shop
    WHEN NOT MATCHED THEN INSERT (shop, n, total) VALUES (e.shop, 1, e.amount) WHEN MATCHED THEN UPDATE SET n = "Totals".n + 1, total = "Totals".total + e.amount');
SELECT projection_create('v2', 'WITH e AS (SELECT shop, count(*) AS n, sum(amount) AS total, max(amount) AS highest FROM events GROUP BY shop)
    INSERT INTO regress_staging . "Totals" AS t (shop, n, total, highest) SELECT shop, n, total, highest FROM e
    ON CONFLICT (shop) DO UPDATE SET n = t.n + excluded.n, total = t.total + excluded.total, highest = greatest(t.highest, excluded.highest)',
    stream => 'sales', key => 'shop', for_each => 'batch');
INSERT INTO sales (shop, amount) SELECT 's' || i % 3, i FROM generate_series(1, 30) i;
SELECT projection_run('v1'), projection_run('v2');

CREATE VIEW busiest WITH (security_barrier, check_option = local) AS SELECT shop, n FROM "Totals" WHERE n > 1;
CREATE VIEW of_view AS SELECT count(*) FROM busiest;
COMMENT ON TABLE "Totals" IS 'what each shop has sold';
COMMENT ON COLUMN "Totals".n IS 'how often';
COMMENT ON COLUMN "Totals".total IS 'how much';
COMMENT ON COLUMN regress_staging."Totals".total IS 'how much, in cents';
GRANT SELECT ON "Totals", busiest TO regress_reader;
GRANT UPDATE (n) ON "Totals" TO regress_reader WITH GRANT OPTION;
GRANT DELETE ON regress_staging."Totals" TO regress_reader, PUBLIC;
CREATE TABLE badges (shop text REFERENCES "Totals" ON DELETE CASCADE DEFERRABLE, badge text);
INSERT INTO badges VALUES ('s1', 'gold');
CREATE TABLE partitioned (shop text REFERENCES "Totals", k int) PARTITION BY LIST (k);
CREATE TABLE partition_1 PARTITION OF partitioned FOR VALUES IN (1);
INSERT INTO partitioned VALUES ('s2', 1);
ALTER TABLE "Totals" ENABLE ROW LEVEL SECURITY;
CREATE POLICY s1_only ON "Totals" FOR SELECT TO regress_reader USING (shop = 's1');
CREATE TABLE fired (shop text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_wp.fired VALUES (NEW.shop); RETURN NULL; END $$;
CREATE TRIGGER fire AFTER INSERT OR UPDATE ON "Totals" FOR EACH ROW WHEN (NEW.n > 10) EXECUTE FUNCTION fire();
ALTER TABLE "Totals" ENABLE ALWAYS TRIGGER fire;
SET client_min_messages = error;
CREATE PUBLICATION regress_changes FOR TABLE "Totals" (shop, n) WHERE (shop <> 's9');
CREATE PUBLICATION regress_inserts FOR TABLE "Totals" WITH (publish = 'insert');
RESET client_min_messages;
SET client_min_messages = warning;
CREATE FUNCTION by_name() RETURNS numeric LANGUAGE sql AS 'SELECT sum(total) FROM "Totals"';

-- obstacles, all of them at once; and nothing has happened
CREATE MATERIALIZED VIEW frozen AS SELECT * FROM "Totals";
CREATE FUNCTION atomic() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM "Totals"; END;
CREATE FUNCTION of_row("Totals") RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE rows (t "Totals");
CREATE POLICY known ON badges USING (shop IN (SELECT shop FROM "Totals"));
CREATE VIEW with_rule AS SELECT 1 AS x;
CREATE RULE r AS ON INSERT TO with_rule DO INSTEAD DELETE FROM "Totals";
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
SELECT count(*), (SELECT count(*) FROM regress_staging."Totals") FROM "Totals";
DROP MATERIALIZED VIEW frozen;
DROP FUNCTION atomic;
DROP FUNCTION of_row;
DROP TABLE rows;
DROP POLICY known ON badges;
DROP VIEW with_rule;

PREPARE look AS SELECT shop, n, total FROM "Totals" ORDER BY shop;
EXECUTE look;
SELECT projection_promote('v2', 'v1');
EXECUTE look;
PREPARE look_now AS SELECT shop, n, total FROM "Totals" ORDER BY shop;
EXECUTE look_now;
TABLE busiest ORDER BY shop;
TABLE of_view;
SELECT by_name();
\d "Totals"
\d regress_staging."Totals"
SELECT conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = '"Totals"'::regclass;
SELECT pg_get_serial_sequence('"Totals"', 'id');
SELECT pubname, schemaname, tablename, attnames, rowfilter FROM pg_publication_tables ORDER BY 1;
SELECT reloptions FROM pg_class WHERE oid = 'busiest'::regclass;
SELECT grantee, privilege_type, is_grantable FROM information_schema.table_privileges WHERE table_schema = 'regress_wp' AND table_name IN ('Totals', 'busiest') AND grantee IN ('regress_reader', 'PUBLIC') ORDER BY table_name, 1, 2;
SELECT column_name, privilege_type, is_grantable FROM information_schema.column_privileges WHERE table_schema = 'regress_wp' AND table_name = 'Totals' AND grantee = 'regress_reader' AND privilege_type <> 'SELECT';
SELECT obj_description('"Totals"'::regclass), attname, col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = '"Totals"'::regclass AND attname IN ('n', 'total') ORDER BY 2;
SELECT projection, definition FROM wallet_projection.definition ORDER BY projection;
-- both go on
INSERT INTO sales (shop, amount) SELECT 's' || i % 4, i FROM generate_series(1, 8) i;
SELECT projection_run('v1'), projection_run('v2');
SELECT projection, state, last_error FROM projection_status WHERE projection LIKE 'v_' ORDER BY 1;
EXECUTE look_now;
SELECT shop, n, total FROM regress_staging."Totals" ORDER BY shop;
SELECT shop, count(*) FROM fired GROUP BY shop ORDER BY shop;
SET ROLE regress_reader;
SELECT shop FROM "Totals";
RESET ROLE;
-- back, without the triggers
SELECT projection_promote('v1', 'v2', triggers => false);
EXECUTE look_now;
\d "Totals"
TABLE of_view;
SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'fire';
SELECT projection, definition FROM wallet_projection.definition ORDER BY projection;
INSERT INTO sales (shop, amount) VALUES ('s1', 1);
SELECT projection_run('v1'), projection_run('v2');
SELECT projection, state, last_error FROM projection_status WHERE projection LIKE 'v_' ORDER BY 1;

-- a view that cannot be the same over the new table
CREATE TABLE wide (shop text PRIMARY KEY, n bigint NOT NULL, total numeric NOT NULL);
SELECT projection_create('v3', 'MERGE INTO wide w USING sales e ON w.shop = e.shop
    WHEN NOT MATCHED THEN INSERT (shop, n, total) VALUES (e.shop, 1, e.amount) WHEN MATCHED THEN UPDATE SET n = w.n + 1, total = w.total + e.amount');
SELECT error_of($$ SELECT projection_promote('v3', 'v1') $$);
-- nor can one that uses a column which the new one does not have, or a foreign key
CREATE TABLE narrow (shop text PRIMARY KEY, total numeric);
CREATE UNIQUE INDEX ON narrow (total, shop);
ALTER TABLE "Totals" ADD UNIQUE (n, shop), ADD UNIQUE (total, shop);
CREATE TABLE refers (n int, total numeric, shop text, FOREIGN KEY (shop, n) REFERENCES "Totals" (shop, n), FOREIGN KEY (shop, total) REFERENCES "Totals" (shop, total));
SELECT projection_create('v4', 'MERGE INTO narrow w USING sales e ON w.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount) WHEN MATCHED THEN UPDATE SET total = w.total + e.amount');
SELECT error_of($$ SELECT projection_promote('v4', 'v1') $$);
DROP TABLE refers;
-- a definition that means something else by now
DROP TRIGGER fire ON regress_staging."Totals";
ALTER TABLE regress_staging."Totals" ALTER n TYPE bigint;
SELECT error_of($$ SELECT projection_promote('v2', 'v3') $$);
-- a statement that changes two tables
CREATE TABLE e1 (no bigint);
CREATE TABLE e2 (no bigint);
SELECT projection_create('two', 'WITH one AS (INSERT INTO e1 SELECT no FROM events) INSERT INTO e2 SELECT no FROM events', stream => 'sales');
SELECT error_of($$ SELECT projection_promote('two', 'v1') $$);
SET client_min_messages = error;
DROP PUBLICATION regress_changes, regress_inserts;
DROP SCHEMA regress_staging CASCADE;
DROP OWNED BY regress_reader;
DROP ROLE regress_reader;
