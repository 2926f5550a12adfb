--
-- projection_promote: a projection takes another one's place.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE ROLE regress_owner;
CREATE ROLE regress_reader;
GRANT USAGE, CREATE ON SCHEMA regress_wp TO regress_owner;
GRANT USAGE ON SCHEMA regress_wp TO regress_reader;
CREATE VIEW definitions AS SELECT projection, definition FROM wallet_projection.definition ORDER BY projection;
GRANT SELECT ON definitions TO regress_owner;
SET ROLE regress_owner;
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL, amount int NOT NULL);
CREATE TABLE totals (shop text PRIMARY KEY, n int NOT NULL CHECK (n > 0), total numeric NOT NULL, note text);
CREATE INDEX ON totals (total DESC) WHERE n > 1;
CREATE TABLE totals_new (LIKE totals INCLUDING ALL);
SELECT projection_create('v1', 'MERGE INTO totals USING sales e ON totals.shop = e.shop
    WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1, e.amount, repeat(md5(e.shop), 200))
    WHEN MATCHED THEN UPDATE SET n = totals.n + 1, total = totals.total + e.amount');
SELECT projection_create('v2', 'MERGE INTO regress_wp.totals_new /* the new one */ AS t USING sales e ON t.shop = e.shop
    WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1, 10 * e.amount, NULL)
    WHEN MATCHED THEN UPDATE SET n = t.n + 1, total = t.total + 10 * e.amount', partitions => 5);
INSERT INTO sales (shop, amount) SELECT 's' || i % 3, i FROM generate_series(1, 30) i;
SELECT projection_run('v1');
-- whatever depends on the public table
CREATE VIEW sums AS SELECT count(*), sum(total) FROM totals;
CREATE MATERIALIZED VIEW sums_then AS TABLE sums;
GRANT SELECT ON totals TO regress_reader;
CREATE TABLE badges (shop text REFERENCES totals, badge text);
INSERT INTO badges VALUES ('s1', 'gold');
CREATE TABLE fired (shop text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_wp.fired VALUES (NEW.shop); RETURN NULL; END $$;
CREATE TRIGGER fire AFTER INSERT ON totals FOR EACH ROW EXECUTE FUNCTION fire();
PREPARE look AS SELECT shop, n, total, length(note) FROM totals ORDER BY shop;
EXECUTE look;
SELECT 'totals'::regclass::oid AS public_oid \gset

-- the storage of tables that are alike is exchanged; where nobody works on it, the new one catches up in the call
SELECT projection_promote('v2', 'v1');
EXECUTE look;
TABLE sums;
SELECT shop, n, total, length(note) FROM totals_new ORDER BY shop;
SELECT 'totals'::regclass::oid = :public_oid;
TABLE definitions;
SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'badges'::regclass;
-- both go on
INSERT INTO sales (shop, amount) SELECT 's' || i % 4, i FROM generate_series(1, 8) i;
SELECT projection_run('v1'), projection_run('v2');
EXECUTE look;
SELECT shop, n, total, length(note) FROM totals_new ORDER BY shop;
TABLE fired;
SELECT projection, state, last_error FROM projection_status WHERE projection LIKE 'v_' ORDER BY 1;
SET enable_seqscan = off;
SELECT total FROM totals WHERE shop = 's1';
SELECT shop FROM totals WHERE n > 1 ORDER BY total DESC LIMIT 1;
RESET enable_seqscan;
SELECT relname, (SELECT relname FROM pg_class t WHERE t.oid = c.reltoastrelid) = 'pg_toast_' || c.oid AS its_own FROM pg_class c WHERE oid IN ('totals'::regclass, 'totals_new'::regclass) ORDER BY 1;
-- and back
SELECT projection_promote('v1', 'v2');
EXECUTE look;
TABLE definitions;
SELECT relname, (SELECT relname FROM pg_class t WHERE t.oid = c.reltoastrelid) = 'pg_toast_' || c.oid AS its_own FROM pg_class c WHERE oid IN ('totals'::regclass, 'totals_new'::regclass) ORDER BY 1;
RESET ROLE;
VACUUM FULL totals;
SET ROLE regress_owner;
SELECT shop, n, total, length(note) FROM totals_new ORDER BY shop;
-- taken back
BEGIN;
SELECT projection_promote('v2', 'v1');
TABLE sums;
ROLLBACK;
TABLE sums;
SELECT projection_run('v1'), projection_run('v2');

-- a foreign key of a row that the new one does not have: nothing has happened
INSERT INTO sales (shop, amount) VALUES ('s7', 1);
SELECT projection_run('v1'), projection_run('v2');
INSERT INTO badges VALUES ('s7', 'silver');
DELETE FROM totals_new WHERE shop = 's7';
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
DELETE FROM badges WHERE shop = 's7';
SELECT convalidated FROM pg_constraint WHERE conrelid = 'badges'::regclass;
SELECT count(*) FROM sums;

-- rows that refer to the table, and are many: the user is told what is left
INSERT INTO badges SELECT 's1', repeat('x', 200) FROM generate_series(1, 40000);
SET client_min_messages = notice;
SELECT projection_promote('v2', 'v1', force => true);
SELECT projection_promote('v1', 'v2');
RESET client_min_messages;
SET client_min_messages = warning;
SELECT convalidated FROM pg_constraint WHERE conrelid = 'badges'::regclass;
ALTER TABLE badges VALIDATE CONSTRAINT badges_shop_fkey;
TRUNCATE badges;

-- what is refused
SELECT error_of($$ SELECT projection_promote('v1', 'v1') $$);
SELECT error_of($$ SELECT projection_promote('v3', 'v1') $$);
SELECT error_of($$ SELECT projection_promote('v2', NULL) $$);
SELECT error_of($$ SELECT projection_promote(NULL, 'v1') $$);
SELECT error_of($$ SELECT projection_promote('v2', 'v1', NULL) $$);
SELECT error_of($$ SELECT projection_promote('v2', 'v1', force => NULL) $$);
SELECT error_of($$ SELECT projection_promote('v2', 'v1', triggers => NULL) $$);
SELECT error_of($$ SELECT projection_promote('v2', 'wallet_balance') $$);
SET ROLE regress_reader;
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
SET ROLE regress_owner;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM totals;
FETCH 1 FROM c \g /dev/null
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
ROLLBACK;
-- a projection of another stream
CREATE TABLE returns (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL);
CREATE TABLE returned (shop text PRIMARY KEY);
SELECT projection_create('returned', 'MERGE INTO returned r USING returns e ON r.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop)');
SELECT error_of($$ SELECT projection_promote('returned', 'v1') $$);
-- keys that are parked
CREATE TABLE totals_bad (LIKE totals INCLUDING ALL);
SELECT projection_create('bad', 'MERGE INTO totals_bad t USING sales e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1, 1 / (e.amount - 3), NULL) WHEN MATCHED THEN UPDATE SET n = t.n + 1');
SELECT error_of($$ SELECT projection_promote('bad', 'v1', '1 s') $$);
SELECT projection_run('bad');
SELECT error_of($$ SELECT projection_promote('bad', 'v1', '1 s') $$);
DELETE FROM badges;
SELECT projection_promote('bad', 'v1', force => true);
SELECT count(*), (SELECT count(*) FROM projection_dead_letters WHERE projection = 'bad') FROM totals;
SELECT projection_promote('v1', 'bad');
TABLE sums;
-- of the example, which is native: a definition may do the same
RESET ROLE;
SELECT projection_init('wallet_balance'), wallet_create('w1', 5);
SELECT projection_run('wallet_balance');
CREATE TABLE wallets (LIKE wallet_balances INCLUDING ALL);
SELECT projection_create('wallets', $$ MERGE INTO wallets w USING wallet_stream e ON w.wallet_id = e.aggregate_id
    WHEN NOT MATCHED AND e.event_name = 'WalletWasCreated' THEN INSERT (wallet_id, current_balance, total_debits, total_credits, transaction_count) VALUES (e.aggregate_id, (e.payload->>'initialBalance')::numeric, 0, 0, 0)
    WHEN MATCHED AND e.event_name = 'WalletWasCredited' THEN UPDATE SET current_balance = w.current_balance + (e.payload->>'amount')::numeric, transaction_count = w.transaction_count + 1 $$);
SELECT projection_promote('wallets', 'wallet_balance');
SELECT wallet_credit('w1', 3);
SELECT projection_run('wallet_balance'), projection_run('wallets');
SELECT wallet_id, current_balance, total_credits, transaction_count FROM wallet_balances;
SELECT wallet_id, current_balance, total_credits, transaction_count FROM wallets;
SELECT projection_promote('wallet_balance', 'wallets');
SELECT wallet_id, current_balance, total_credits, transaction_count FROM wallet_balances;
SELECT projection, state, last_error FROM projection_status ORDER BY 1;
SET ROLE regress_owner;

-- indexes that differ in an operator class's options have other bytes; a partitioned table's foreign key is valid again as a whole
CREATE TABLE found_1 (shop text PRIMARY KEY, words tsvector);
CREATE TABLE found_2 (LIKE found_1 INCLUDING ALL);
CREATE TABLE found_3 (LIKE found_1 INCLUDING ALL);
CREATE INDEX ON found_1 USING gist (words tsvector_ops (siglen = 32));
CREATE INDEX ON found_2 USING gist (words tsvector_ops (siglen = 500));
CREATE INDEX ON found_3 USING gist (words tsvector_ops (siglen = 32));
SELECT count(projection_create(format('f%s', i), format('MERGE INTO found_%s f USING sales e ON f.shop = e.shop WHEN NOT MATCHED THEN INSERT VALUES (e.shop, NULL)', i))) FROM generate_series(1, 3) i;
SELECT count(projection_run(format('f%s', i))) FROM generate_series(1, 3) i;
CREATE TABLE visits (shop text REFERENCES found_1, day int) PARTITION BY LIST (day);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES IN (1);
INSERT INTO visits SELECT shop, 1 FROM found_1;
SELECT projection_promote('f3', 'f1');
SELECT conrelid::regclass, convalidated FROM pg_constraint WHERE confrelid = 'found_1'::regclass ORDER BY 1;
SELECT projection_promote('f2', 'f3');
SELECT projection_promote('f3', 'f2');
DROP TABLE visits;
-- one that was NOT VALID before is none of ours to validate
CREATE TABLE guesses (shop text);
INSERT INTO guesses VALUES ('no such shop');
ALTER TABLE guesses ADD CONSTRAINT loose FOREIGN KEY (shop) REFERENCES found_1 NOT VALID;
SELECT projection_promote('f1', 'f3');
SELECT confrelid::regclass, convalidated FROM pg_constraint WHERE conname = 'loose';
SELECT projection_promote('f2', 'f1');
SELECT confrelid::regclass, convalidated FROM pg_constraint WHERE conname = 'loose';
DROP TABLE guesses;

-- the tables' owners: the name's owner stays
RESET ROLE;
CREATE ROLE regress_other;
GRANT USAGE, CREATE ON SCHEMA regress_wp TO regress_other;
ALTER TABLE totals_new OWNER TO regress_other;
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
SELECT projection_init('v2');
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
GRANT SELECT ON sales TO regress_other;
SELECT projection_promote('v2', 'v1');
SELECT relname, relowner::regrole FROM pg_class WHERE relname IN ('totals', 'totals_new') ORDER BY 1;
SELECT projection_run('v1'), projection_run('v2');
SELECT projection, owner_name, last_error FROM wallet_projection.projection_state WHERE projection LIKE 'v_' ORDER BY 1;
SET ROLE regress_other;
SELECT error_of($$ SELECT projection_promote('v1', 'v2') $$);
RESET ROLE;
SELECT projection_promote('v1', 'v2');
SET ROLE regress_owner;

-- rows that are known to be wrong, or may be
RESET ROLE;
UPDATE wallet_projection.projection_state SET rebuild_advised = now() WHERE projection = 'v2';
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
UPDATE wallet_projection.projection_state SET rebuild_advised = NULL, drift = 's1' WHERE projection = 'v2';
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
UPDATE wallet_projection.projection_state SET drift = NULL WHERE projection = 'v2';
-- rows that are gone
TRUNCATE totals_new;
SELECT error_of($$ SELECT projection_promote('v2', 'v1') $$);
RESET ROLE;
DROP OWNED BY regress_owner, regress_reader, regress_other CASCADE;
DROP ROLE regress_owner, regress_reader, regress_other;
