--
-- projection_compare: where the rows of two projections differ.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text, day date NOT NULL DEFAULT '2024-05-01', amount int NOT NULL);
CREATE TABLE a (shop text, day date, n int, total numeric, at timestamptz, twice int GENERATED ALWAYS AS (2 * n) STORED, PRIMARY KEY (shop, day));
CREATE TABLE b (total numeric, day timestamp, shop varchar(20), n bigint, at timestamptz, highest int, UNIQUE (shop, day));
SELECT projection_create('a', 'MERGE INTO a USING sales e ON a.shop = e.shop AND a.day = e.day
    WHEN NOT MATCHED THEN INSERT (shop, day, n, total, at) VALUES (e.shop, e.day, 1, e.amount, e.day)
    WHEN MATCHED THEN UPDATE SET n = a.n + 1, total = a.total + e.amount');
SELECT projection_create('b', 'MERGE INTO b USING sales e ON b.shop = e.shop AND b.day = e.day::timestamp
    WHEN NOT MATCHED AND e.shop <> ''hidden'' THEN INSERT (shop, day, n, total, at, highest) VALUES (e.shop, e.day, 1, e.amount, e.day, e.amount)
    WHEN MATCHED THEN UPDATE SET n = b.n + 1, total = b.total + e.amount, highest = greatest(b.highest, e.amount)', partitions => 3);
SELECT * FROM projection_compare('a', 'b');
INSERT INTO sales (shop, amount) SELECT 's' || i % 3, i FROM generate_series(1, 9) i;
-- one is behind, whichever it is
SELECT projection_run('a');
SELECT error_of($$ SELECT projection_compare('a', 'b', '0') $$);
SELECT error_of($$ SELECT projection_compare('b', 'a', '0') $$);
SELECT projection_run('b', 5);
SELECT error_of($$ SELECT projection_compare('a', 'b', '0') $$);
SELECT projection_run('b');
SELECT * FROM projection_compare('a', 'b');
SELECT * FROM projection_compare('b', 'a');
-- differences of each kind
INSERT INTO sales (shop, amount) VALUES ('hidden', 1);
SELECT projection_run('a'), projection_run('b');
UPDATE a SET total = NULL, n = 7 WHERE shop = 's1';
UPDATE b SET total = 18.00, at = at + interval '1 hour' WHERE shop = 's0';
DELETE FROM a WHERE shop = 's2';
SELECT * FROM projection_compare('a', 'b');
-- in a snapshot: a transaction's
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM projection_compare('a', 'b');
ROLLBACK;
-- a number that no event has
INSERT INTO sales (shop, amount) SELECT 's5', 1 FROM (SELECT nextval('sales_no_seq')) n;
SELECT projection_run('a'), projection_run('b');
SELECT count(*) FROM projection_compare('a', 'b');
-- the native one, with itself
SELECT projection_init('wallet_balance'), wallet_create('w1', 5);
SELECT projection_run('wallet_balance');
SELECT * FROM projection_compare('wallet_balance', 'wallet_balance');
SELECT error_of($$ SELECT projection_compare('wallet_balance', 'a') $$);
-- of a statement: by the table's primary key
CREATE TABLE c (shop text, n int);
SELECT projection_create('c', 'INSERT INTO c SELECT shop, count(*) FROM events WHERE shop IS NOT NULL GROUP BY shop', stream => 'sales', key => 'shop', for_each => 'batch');
SELECT projection_run('c');
SELECT error_of($$ SELECT projection_compare('c', 'a', '0') $$);
CREATE TABLE d (shop text PRIMARY KEY, n int);
SELECT projection_create('d', 'INSERT INTO d SELECT shop, 1 FROM events WHERE shop IS NOT NULL ON CONFLICT (shop) DO UPDATE SET n = d.n + 1', stream => 'sales', key => 'shop');
SELECT projection_run('d');
SELECT * FROM projection_compare('d', 'c');
-- columns of the names that the two tables have in the query; keys of a length, and of other collations
CREATE TABLE e (k char(10) COLLATE "C", p text COLLATE "POSIX", a int, b int, PRIMARY KEY (k, p));
CREATE TABLE f (k char(10), p text COLLATE "C", a int, b int, PRIMARY KEY (k, p));
SELECT projection_create('e', 'MERGE INTO e USING sales s ON e.k = s.shop::char(10) AND e.p = s.shop WHEN NOT MATCHED THEN INSERT VALUES (s.shop::char(10), s.shop, 1, 2)');
SELECT projection_create('f', 'MERGE INTO f USING sales s ON f.k = s.shop::char(10) AND f.p = s.shop WHEN NOT MATCHED THEN INSERT VALUES (s.shop::char(10), s.shop, 1, 2)');
SELECT projection_run('e'), projection_run('f');
SELECT * FROM projection_compare('e', 'f');
UPDATE e SET b = 3 WHERE k = 's1';
DELETE FROM f WHERE k = 's2';
SELECT * FROM projection_compare('e', 'f');
-- whoever makes a cast of a type must not get the caller's rights with it
CREATE TYPE shops AS ENUM ('s0', 's1', 's2', 's5', 'hidden');
CREATE FUNCTION told(shop shops) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'called as %', current_user; END $$;
CREATE CAST (shops AS text) WITH FUNCTION told(shops);
CREATE TABLE g (shop text PRIMARY KEY);
CREATE TABLE h (shop shops PRIMARY KEY);
SELECT projection_create('g', 'MERGE INTO g USING sales s ON g.shop = s.shop WHEN NOT MATCHED THEN INSERT VALUES (s.shop)');
SELECT projection_create('h', 'MERGE INTO h USING (SELECT CASE shop WHEN ''s0'' THEN ''s0''::shops WHEN ''s1'' THEN ''s1'' END AS shop FROM sales) s ON h.shop = s.shop WHEN NOT MATCHED THEN INSERT VALUES (s.shop)');
SELECT projection_run('g'), projection_run('h');
SELECT error_of($$ SELECT projection_compare('g', 'h') $$);
DROP CAST (shops AS text);
SELECT * FROM projection_compare('g', 'h');
SELECT * FROM projection_compare('h', 'g');
-- arguments, and rights
SELECT error_of($$ SELECT projection_compare('a', 'nothing') $$);
SELECT error_of($$ SELECT projection_compare(NULL, 'a') $$);
SELECT error_of($$ SELECT projection_compare('a', NULL) $$);
SELECT error_of($$ SELECT projection_compare('a', 'b', NULL) $$);
SELECT error_of($$ SELECT projection_compare('a', 'b', '-1') $$);
CREATE ROLE regress_stranger;
GRANT USAGE ON SCHEMA regress_wp TO regress_stranger;
SET ROLE regress_stranger;
SELECT error_of($$ SELECT projection_compare('a', 'b') $$);
RESET ROLE;
DROP OWNED BY regress_stranger;
DROP ROLE regress_stranger;
