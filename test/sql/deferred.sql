--
-- A trigger of the read model writes to a table with a deferred constraint,
-- and another than the owner runs the projection in a transaction of his own.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE ROLE regress_wp_owner;
CREATE ROLE regress_wp_member IN ROLE regress_wp_owner;
GRANT USAGE, CREATE ON SCHEMA regress_wp TO regress_wp_owner;
\set run 'SELECT error_of($$ SELECT projection_run($q$wallet_balance$q$) $$)'
\set dead 'SELECT partition_key, sqlstate, waiting FROM projection_dead_letters ORDER BY 1'
\set events 'SELECT current_balance, (SELECT count(*) FROM audit) FROM wallet_balances WHERE wallet_id'

-- a schema with a deferred constraint that the owner may not even use
CREATE SCHEMA regress_wp_private;
CREATE TABLE regress_wp_private.parent (id int PRIMARY KEY);
CREATE TABLE regress_wp_private.child (id int REFERENCES regress_wp_private.parent DEFERRABLE INITIALLY DEFERRED);

SET ROLE regress_wp_owner;
SELECT projection_set('wallet_balance', 'max_parked', '10'), projection_set('wallet_balance', 'max_attempts', '1');
SELECT projection_init('wallet_balance');
CREATE TABLE account (id text PRIMARY KEY);
CREATE TABLE audit (id text REFERENCES account DEFERRABLE INITIALLY DEFERRED, other text REFERENCES account DEFERRABLE);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_wp.audit VALUES (NEW.wallet_id, NEW.wallet_id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.audit();
INSERT INTO account SELECT 'w' || i FROM generate_series(1, 9) i WHERE i <> 4;
SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 9) i;
RESET ROLE;
SELECT projection_run('wallet_balance');

-- a superuser: good events are applied, a bad one parks its wallet
SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 5) i;
SELECT projection_run('wallet_balance');
:dead;
:events = 'w5';
INSERT INTO account VALUES ('w4');
SELECT dead_letter_replay_all('wallet_balance');
:dead;
SELECT * FROM check_read_model();

-- a member of the owner, who may not use the other schema either
SET ROLE regress_wp_member;
SELECT wallet_credit('w1', 1) \gset
SELECT projection_run('wallet_balance');
:events = 'w1';
RESET ROLE;

-- the caller's own deferred events on other tables stay deferred, before and after
BEGIN;
INSERT INTO regress_wp_private.child VALUES (1);
SELECT wallet_credit('w2', 1);
SELECT projection_run('wallet_balance');
INSERT INTO regress_wp_private.child VALUES (2);
INSERT INTO audit VALUES ('nobody');
INSERT INTO account VALUES ('nobody');
INSERT INTO regress_wp_private.parent VALUES (1), (2);
COMMIT;
:events = 'w2';
-- and are checked in the end
BEGIN;
INSERT INTO regress_wp_private.child VALUES (3);
SELECT wallet_credit('w2', 1);
SELECT projection_run('wallet_balance');
COMMIT;
SELECT projection_run('wallet_balance');
:events = 'w2';

-- what he has deferred on the same table must be checked before
BEGIN;
INSERT INTO audit VALUES ('somebody');
SELECT wallet_credit('w3', 1);
:run;
INSERT INTO account VALUES ('somebody');
SET CONSTRAINTS ALL IMMEDIATE;
:run;
COMMIT;
:events = 'w3';
BEGIN;
DELETE FROM account WHERE id = 'nobody';
SELECT wallet_credit('w3', 1);
:run;
ROLLBACK;

-- nor can what he wants to be deferred
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT wallet_credit('w3', 1);
:run;
COMMIT;
:run;

-- a name that a constraint shares with one that cannot be deferred
CREATE TABLE namesake (id text CONSTRAINT audit_id_fkey CHECK (true));
SELECT wallet_credit('w3', 1);
:run;
SET ROLE regress_wp_owner;
:run;
RESET ROLE;
DROP TABLE namesake;

-- one wallet lacks something, and the table is asked for another one's row
CREATE FUNCTION missing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nowhere VALUES (1); RETURN NEW; END $$;
CREATE TRIGGER missing BEFORE UPDATE ON wallet_balances FOR EACH ROW WHEN (NEW.wallet_id = 'w6') EXECUTE FUNCTION regress_wp.missing();
SELECT wallet_credit('w6', 1);
:run;
:dead;
DROP TRIGGER missing ON wallet_balances;
SELECT dead_letter_replay(id) FROM projection_dead_letters;

-- a partitioned table: the caller's events are on a partition
SET ROLE regress_wp_owner;
DROP TRIGGER audit ON wallet_balances;
CREATE TABLE ledger (id text, side int, CONSTRAINT whole FOREIGN KEY (id) REFERENCES account DEFERRABLE INITIALLY DEFERRED) PARTITION BY LIST (side);
CREATE TABLE ledger_1 PARTITION OF ledger FOR VALUES IN (1);
CREATE TABLE ledger_2 PARTITION OF ledger FOR VALUES IN (2);
CREATE FUNCTION ledger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_wp.ledger VALUES (NEW.wallet_id, 1); RETURN NULL; END $$;
CREATE TRIGGER ledger AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.ledger();
RESET ROLE;
SELECT wallet_credit('w7', 1);
BEGIN;
INSERT INTO ledger VALUES ('later', 2);
:run;
INSERT INTO account VALUES ('later');
COMMIT;
SELECT projection_run('wallet_balance');
SELECT * FROM ledger ORDER BY 1;
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp_private CASCADE;
DROP SCHEMA regress_wp CASCADE;
DROP OWNED BY regress_wp_owner;
DROP ROLE regress_wp_member, regress_wp_owner;
