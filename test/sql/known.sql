--
-- Does a batch notice what has changed since the one before in this session?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set VERBOSITY terse
SET wallet_projection.autostart = off;
CREATE ROLE regress_wp_owner;
CREATE ROLE regress_wp_other;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_owner, regress_wp_other;
SELECT projection_init('wallet_balance');
SELECT wallet_create('a', 1), wallet_create('b', 1);
-- twice: the second one takes over what the first has found
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');

-- the catalog, by SQL
UPDATE wallet_projection.projection SET aggregate_type = 'Other';
SELECT wallet_credit('a', 1);
SELECT projection_run('wallet_balance');
UPDATE wallet_projection.projection SET aggregate_type = 'Wallet';
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');
BEGIN;
DELETE FROM wallet_projection.stream;
SELECT projection_run('wallet_balance');
ROLLBACK;
SELECT wallet_credit('a', 1);
SELECT projection_run('wallet_balance');

-- rows that have moved, in one transaction, so that their numbers are alike
BEGIN;
UPDATE wallet_projection.projection SET name = name;
UPDATE wallet_projection.projection_state SET projection = projection;
SELECT projection_run('wallet_balance');
COMMIT;
VACUUM FULL wallet_projection.projection, wallet_projection.projection_state, wallet_projection.stream, wallet_projection.started;
VACUUM FULL pg_extension;
SELECT wallet_credit('a', 1);
SELECT projection_run('wallet_balance');

-- a row that is gone, and whose table is empty then
BEGIN;
DELETE FROM wallet_projection.projection_state;
SELECT projection_run('wallet_balance');
ROLLBACK;
CREATE TEMP TABLE state AS TABLE wallet_projection.projection_state;
DELETE FROM wallet_projection.projection_state;
VACUUM wallet_projection.projection_state;
SELECT projection_run('wallet_balance');
INSERT INTO wallet_projection.projection_state TABLE state;
SELECT projection_run('wallet_balance');

-- tables that were renamed, and others in their places; taken back
BEGIN;
ALTER TABLE wallet_balances RENAME TO other;
CREATE TABLE wallet_balances (a integer);
SELECT projection_run('wallet_balance');
ROLLBACK;
SELECT projection_run('wallet_balance');
BEGIN;
ALTER TABLE wallet_stream RENAME TO other;
CREATE TABLE wallet_stream (a integer);
SELECT projection_run('wallet_balance');
ROLLBACK;
SELECT projection_run('wallet_balance');
ALTER TABLE wallet_balances RENAME TO balances;
SELECT projection_run('wallet_balance'), (SELECT read_model FROM projection_status), new_name
  FROM wallet_projection.projection_state;
ALTER TABLE balances RENAME TO wallet_balances;
SELECT projection_run('wallet_balance');

-- columns and persistence
ALTER TABLE wallet_balances RENAME total_debits TO debits;
SELECT projection_run('wallet_balance');
ALTER TABLE wallet_balances RENAME debits TO total_debits;
SELECT projection_run('wallet_balance');

-- owners and rights
ALTER TABLE wallet_balances OWNER TO regress_wp_owner;
SELECT projection_run('wallet_balance');
SELECT projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
GRANT SELECT ON wallet_stream TO regress_wp_owner;
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');
REVOKE SELECT ON wallet_stream FROM regress_wp_owner;
SELECT projection_run('wallet_balance');
GRANT SELECT ON wallet_stream TO regress_wp_owner;
ALTER TABLE wallet_balances ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT wallet_credit('a', 1);
SELECT projection_run('wallet_balance');
ALTER TABLE wallet_balances NO FORCE ROW LEVEL SECURITY;
SELECT projection_run('wallet_balance');
ALTER ROLE regress_wp_owner RENAME TO regress_wp_renamed;
SELECT projection_run('wallet_balance'), owner_name FROM wallet_projection.projection_state;
SET ROLE regress_wp_other;
SELECT projection_run('wallet_balance');
RESET ROLE;
SELECT * FROM wallet_balances ORDER BY wallet_id;

DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_wp_renamed, regress_wp_other;
