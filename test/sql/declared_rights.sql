--
-- Rights of declared projections: who may create one, as whom it runs, and that
-- nobody gets further through one than by himself.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
\set letters 'SELECT partition_key, no, state, attempts, waiting, sqlstate, message FROM projection_dead_letters ORDER BY no'
CREATE ROLE regress_maker;
CREATE ROLE regress_writer;
CREATE ROLE regress_other;
GRANT ALL ON SCHEMA regress_wp TO regress_maker, regress_writer, regress_other;
SET ROLE regress_writer;
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop int, amount int, secret text DEFAULT 'secret');
INSERT INTO sales (shop, amount) VALUES (1, 10), (2, 20);
SET ROLE regress_maker;
CREATE TABLE shops (shop int PRIMARY KEY, total int, who text);
\set declare 'SELECT projection_create(''shops'', $$MERGE INTO shops s USING sales e ON s.shop = e.shop WHEN NOT MATCHED THEN INSERT (shop, total) VALUES (e.shop, e.amount) WHEN MATCHED THEN UPDATE SET total = s.total + e.amount$$)'

-- SELECT on the columns that are used, of the stream; the position is one of them
:declare;
SET ROLE regress_writer;
GRANT SELECT (shop) ON sales TO regress_maker;
SET ROLE regress_maker;
:declare;
SET ROLE regress_writer;
GRANT SELECT (amount) ON sales TO regress_maker;
SET ROLE regress_maker;
:declare;
SELECT error_of($$ SELECT projection_run('shops') $$);
SELECT * FROM shops ORDER BY shop;
CREATE TABLE spied (shop int PRIMARY KEY, who text);
SELECT error_of($$ SELECT projection_create('all', 'MERGE INTO spied s USING sales e ON s.shop = e.shop WHEN MATCHED THEN UPDATE SET who = e.secret') $$);
SELECT error_of($$ SELECT projection_create('all', 'MERGE INTO spied s USING sales e ON s.shop = e.shop WHEN MATCHED THEN UPDATE SET who = e::text') $$);
-- not for others
RESET ROLE;
SET ROLE regress_other;
SELECT error_of($$ SELECT projection_run('shops') $$);
SELECT error_of($$ SELECT projection_drop('shops') $$);
SELECT error_of($$ SELECT projection_set('shops', 'batch_size', '1') $$);
SELECT error_of($$ SELECT projection_reset('shops') $$);
SELECT count(*) FROM projection_dead_letters;
RESET ROLE;
-- another's read model
GRANT ALL ON shops TO regress_writer;
SET ROLE regress_writer;
SELECT error_of($$ SELECT projection_create('mine', 'MERGE INTO spied s USING sales e ON s.shop = e.shop WHEN MATCHED THEN DELETE') $$);
RESET ROLE;

-- Rights that are taken away: the projection fails, no key does, and it heals
INSERT INTO sales (shop, amount) VALUES (1, 1);
SET ROLE regress_writer;
REVOKE SELECT (amount) ON sales FROM regress_maker;
SET ROLE regress_maker;
SELECT error_of($$ SELECT projection_run('shops') $$);
:letters;
SET ROLE regress_writer;
GRANT SELECT (amount) ON sales TO regress_maker;
SET ROLE regress_maker;
SELECT projection_run('shops');
-- of the owner himself on his table
REVOKE UPDATE ON shops FROM regress_maker;
SET ROLE regress_writer;
INSERT INTO sales (shop, amount) VALUES (1, 1);
SET ROLE regress_maker;
SELECT error_of($$ SELECT projection_run('shops') $$);
:letters;
GRANT UPDATE ON shops TO regress_maker;
SELECT projection_run('shops');
RESET ROLE;
-- of the schema
REVOKE ALL ON SCHEMA regress_wp FROM regress_maker;
INSERT INTO sales (shop, amount) VALUES (1, 1);
SELECT error_of($$ SELECT projection_run('shops') $$);
:letters;
GRANT ALL ON SCHEMA regress_wp TO regress_maker;
SELECT projection_run('shops');
SELECT * FROM shops ORDER BY shop;

-- Another owner: the projection is his, with his rights
ALTER TABLE shops OWNER TO regress_other;
INSERT INTO sales (shop, amount) VALUES (2, 1);
SET ROLE regress_maker;
SELECT error_of($$ SELECT projection_run('shops') $$);
SET ROLE regress_other;
SELECT error_of($$ SELECT projection_run('shops') $$);
-- who has the rights of both says that he means it
SELECT error_of($$ SELECT projection_init('shops') $$);
RESET ROLE;
SELECT projection_init('shops');
SET ROLE regress_other;
SELECT error_of($$ SELECT projection_run('shops') $$);
RESET ROLE;
GRANT SELECT ON sales TO regress_other;
SET ROLE regress_other;
SELECT projection_run('shops');
:letters;
SELECT projection_drop('shops');
RESET ROLE;
ALTER TABLE shops OWNER TO regress_maker;

-- A superuser creates one over another's table: it is that one's
TRUNCATE shops;
CREATE FUNCTION whoami() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
GRANT SELECT ON sales TO regress_maker;
SELECT projection_create('shops', $$
  MERGE INTO shops s USING sales e ON s.shop = e.shop
  WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount, whoami())
  WHEN MATCHED THEN UPDATE SET total = s.total + e.amount, who = whoami()
$$, allow_stable => true);
SELECT projection_run('shops');
SELECT * FROM shops ORDER BY shop;
SET ROLE regress_maker;
SELECT projection_drop('shops');
-- not over what that one may not read
RESET ROLE;
TRUNCATE shops;
CREATE TABLE hidden (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop int, amount int);
SELECT error_of($$ SELECT projection_create('shops', 'MERGE INTO shops s USING hidden e ON s.shop = e.shop WHEN MATCHED THEN DELETE') $$);

-- Hostile code: run by others, it is run as the read model's owner, who cannot
-- become anybody else
CREATE TABLE loot (what text);
SET ROLE regress_maker;
CREATE FUNCTION steal_now(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE 'RESET ROLE';
        EXECUTE 'INSERT INTO regress_wp.loot VALUES (''by RESET ROLE'')';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'SET SESSION AUTHORIZATION DEFAULT';
        EXECUTE 'INSERT INTO regress_wp.loot VALUES (''by SET SESSION AUTHORIZATION'')';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'INSERT INTO regress_wp.loot VALUES (''as the session'')';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN n;
END $$;
-- says that it is immutable
CREATE FUNCTION steal(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN regress_wp.steal_now(n); END $$;
CREATE FUNCTION steal_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM regress_wp.steal_now(1);
    NEW.who := current_user;
    RETURN NEW;
END $$;
CREATE DOMAIN stolen AS int CHECK (regress_wp.steal(VALUE) > 0);
CREATE FUNCTION steal_plus(a int, b text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT regress_wp.steal(a)';
CREATE OPERATOR +^ (LEFTARG = int, RIGHTARG = text, FUNCTION = steal_plus);
CREATE TYPE coin AS (n int);
CREATE FUNCTION steal_cast(c coin) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT regress_wp.steal(c.n)';
CREATE CAST (coin AS int) WITH FUNCTION steal_cast(coin);
CREATE TABLE victims (shop int PRIMARY KEY, total stolen, cast_total int, made int DEFAULT regress_wp.steal_now(1), gen int GENERATED ALWAYS AS (steal(shop)) STORED, who text, CHECK (steal_now(total) > 0));
CREATE INDEX ON victims (steal(total)) WHERE steal(total) > 0;
CREATE TRIGGER steal BEFORE INSERT OR UPDATE ON victims FOR EACH ROW EXECUTE FUNCTION steal_trigger();
CREATE VIEW steal_sales AS SELECT no, shop, steal(amount) AS amount FROM sales WHERE steal(amount) > 0;
SELECT projection_create('victims', $$
  MERGE INTO victims s USING steal_sales e ON s.shop = e.shop
  WHEN NOT MATCHED AND steal(e.shop) > 0 THEN INSERT (shop, total, cast_total) VALUES (e.shop, e.amount +^ '', ROW(e.amount)::coin::int)
  WHEN MATCHED THEN UPDATE SET total = s.total +^ '', cast_total = steal(s.total)
$$);
RESET ROLE;
SELECT projection_run('victims');
SELECT * FROM victims ORDER BY shop;
TABLE loot;
-- nor at creation, by a superuser
SET ROLE regress_maker;
SELECT projection_drop('victims');
TRUNCATE victims;
RESET ROLE;
SELECT projection_create('victims', $$
  MERGE INTO victims s USING steal_sales e ON s.shop = e.shop
  WHEN NOT MATCHED AND steal(1) > 0 THEN INSERT (shop, total) VALUES (e.shop, regress_wp.steal(1))
$$);
TABLE loot;
SELECT projection_run('victims');
TABLE loot;
SELECT projection_reset('victims');
SELECT projection_drop('victims');
TABLE loot;

-- One that raises: the event's fault if it depends on it
SET ROLE regress_maker;
CREATE FUNCTION moody(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF n = 20 THEN RAISE 'not %', n; END IF;
    RETURN n;
END $$;
CREATE TABLE moods (shop int PRIMARY KEY, total int);
SELECT projection_create('moods', 'MERGE INTO moods s USING sales e ON s.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, moody(e.amount)) WHEN MATCHED THEN UPDATE SET total = s.total + e.amount');
SELECT projection_run('moods');
:letters;
CREATE OR REPLACE FUNCTION moody(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n';
SELECT dead_letter_replay_all('moods');
SELECT * FROM moods ORDER BY shop;
SELECT projection_drop('moods');
TRUNCATE moods;

-- Temporary objects and functions of others stand in nobody's way
CREATE FUNCTION price(n bigint) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n::int';
SELECT projection_create('moods', 'MERGE INTO moods s USING sales e ON s.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, price(e.amount)) WHEN MATCHED THEN UPDATE SET total = s.total + price(e.amount)');
SELECT projection_run('moods');
RESET ROLE;
INSERT INTO sales (shop, amount) VALUES (1, 1);
CREATE TEMP TABLE sales (no bigint, shop int, amount int);
CREATE TEMP TABLE moods (shop int PRIMARY KEY, total int);
CREATE FUNCTION pg_temp.price(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -1';
SELECT projection_run('moods');
SELECT * FROM regress_wp.moods ORDER BY shop;
DROP TABLE pg_temp.sales, pg_temp.moods;
-- a better overload: the text would mean that one
INSERT INTO sales (shop, amount) VALUES (1, 1);
CREATE FUNCTION price(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -1';
SELECT error_of($$ SELECT projection_run('moods') $$);
:letters;
DROP FUNCTION regress_wp.price(int);
SELECT projection_run('moods');
SELECT * FROM moods ORDER BY shop;
SET ROLE regress_maker;
SELECT projection_drop('moods');
TRUNCATE moods;
RESET ROLE;

-- Views: the owner's rights, or those of who reads
CREATE TABLE ledger (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop int, amount int);
INSERT INTO ledger (shop, amount) VALUES (1, 5), (2, 6), (1, 7);
CREATE VIEW open_ledger AS SELECT no, shop, amount FROM ledger WHERE amount <> 6;
SET ROLE regress_maker;
\set over 'SELECT projection_create(''moods'', $$MERGE INTO moods s USING open_ledger e ON s.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount) WHEN MATCHED THEN UPDATE SET total = s.total + e.amount$$)'
:over;
RESET ROLE;
GRANT SELECT ON open_ledger TO regress_maker;
SET ROLE regress_maker;
:over;
SELECT projection_run('moods');
SELECT * FROM moods ORDER BY shop;
RESET ROLE;
-- one that reads as who uses it
ALTER VIEW open_ledger SET (security_invoker = true);
INSERT INTO ledger (shop, amount) VALUES (1, 5);
SELECT error_of($$ SELECT projection_run('moods') $$);
GRANT SELECT ON ledger TO regress_maker;
SELECT error_of($$ SELECT projection_run('moods') $$);
ALTER VIEW open_ledger RESET (security_invoker);
SELECT projection_run('moods');
-- whose owner may not read any more
ALTER VIEW open_ledger OWNER TO regress_other;
INSERT INTO ledger (shop, amount) VALUES (1, 5);
SELECT error_of($$ SELECT projection_run('moods') $$);
GRANT SELECT ON ledger TO regress_other;
SELECT projection_run('moods');
:letters;
SELECT * FROM moods ORDER BY shop;
SELECT projection_drop('moods');
TRUNCATE moods;

-- Row security: never silently
ALTER TABLE ledger ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON ledger USING (shop = 1);
SET ROLE regress_maker;
SELECT error_of($$ SELECT projection_create('moods', 'MERGE INTO moods s USING ledger e ON s.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount)') $$);
RESET ROLE;
ALTER TABLE ledger DISABLE ROW LEVEL SECURITY;
SET ROLE regress_maker;
SELECT projection_create('moods', 'MERGE INTO moods s USING ledger e ON s.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount)');
RESET ROLE;
ALTER TABLE ledger ENABLE ROW LEVEL SECURITY;
SELECT error_of($$ SELECT projection_run('moods') $$);
ALTER TABLE ledger DISABLE ROW LEVEL SECURITY;
-- of the read model: its owner is not subject to it, unless forced
ALTER TABLE moods ENABLE ROW LEVEL SECURITY;
SELECT projection_run('moods');
ALTER TABLE moods FORCE ROW LEVEL SECURITY;
INSERT INTO ledger (shop, amount) VALUES (3, 5);
SELECT error_of($$ SELECT projection_run('moods') $$);
:letters;
ALTER TABLE moods NO FORCE ROW LEVEL SECURITY;
SELECT projection_run('moods');
SELECT * FROM moods ORDER BY shop;
SELECT projection_drop('moods');

DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_maker, regress_writer, regress_other;
