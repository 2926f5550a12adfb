--
-- The extension comes and goes: what it brings, into which schema, by whom,
-- and what it leaves behind.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

--
-- What it brings
--
SELECT p.oid::regprocedure, CASE provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END,
       CASE proparallel WHEN 'u' THEN 'unsafe' WHEN 'r' THEN 'restricted' ELSE 'safe' END, CASE WHEN proisstrict THEN 'strict' END,
       CASE WHEN prosecdef THEN 'security definer' END, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
  FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wallet_projection')
 ORDER BY p.oid::regprocedure::text COLLATE "C";
-- everything has a comment, tables have a primary key, and a dump takes them along
SELECT c.relkind, c.oid::regclass, obj_description(c.oid, 'pg_class') IS NOT NULL AS comment, i.indexrelid IS NOT NULL AS key,
       (SELECT e.extcondition[array_position(e.extconfig, c.oid)] FROM pg_extension e WHERE extname = 'wallet_projection') AS dumped_where
  FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wallet_projection')
 ORDER BY c.relkind, c.oid::regclass::text COLLATE "C";
SELECT p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wallet_projection')
   AND obj_description(p.oid, 'pg_proc') IS NULL;
-- it does not move
SELECT error_of('ALTER EXTENSION wallet_projection SET SCHEMA public');
-- its functions without it
CREATE FUNCTION bare_stream_create(text) RETURNS void LANGUAGE C AS '$libdir/wallet_projection', 'stream_create';
CREATE FUNCTION bare_projection_run(text, bigint) RETURNS bigint LANGUAGE C AS '$libdir/wallet_projection', 'projection_run';
DROP EXTENSION wallet_projection;
SELECT to_regnamespace('wallet_projection'), to_regproc('stream_create');
SELECT error_of($$ SELECT bare_stream_create('orders') $$);
SELECT error_of($$ SELECT bare_projection_run('wallet_balance', NULL) $$);
-- its catalog's schema is its own
CREATE SCHEMA wallet_projection;
SELECT error_of('CREATE EXTENSION wallet_projection');
DROP SCHEMA wallet_projection;

--
-- By a superuser, not by the owner of a database, and into any schema, also
-- one that needs quoting
--
CREATE ROLE "regress_wp Data Owner";
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO "regress_wp Data Owner"', current_database()); END $$;
GRANT USAGE ON SCHEMA regress_wp TO PUBLIC;
CREATE ROLE regress_wp_nobody;
SET ROLE regress_wp_nobody;
SELECT left(error_of('CREATE EXTENSION wallet_projection'), 6);
SET ROLE "regress_wp Data Owner";
CREATE SCHEMA "regress_wp Events;";
SELECT left(error_of('CREATE EXTENSION wallet_projection SCHEMA "regress_wp Events;"'), 6);
RESET ROLE;
CREATE EXTENSION wallet_projection SCHEMA "regress_wp Events;";
SET ROLE "regress_wp Data Owner";
SET search_path = "regress_wp Events;";
SELECT nspname, (SELECT rolsuper FROM pg_roles WHERE oid = nspowner) FROM pg_namespace WHERE nspname = 'wallet_projection' OR nspname LIKE 'regress_wp %' ORDER BY 1;
SELECT c.oid::regclass, (SELECT rolsuper FROM pg_roles WHERE oid = relowner) FROM pg_class c WHERE relnamespace = 'wallet_projection'::regnamespace AND relkind = 'r' ORDER BY 1;
SELECT stream_create('Orders');
SELECT stream_append('Orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');
SELECT count(*) FROM stream_read('Orders', 'Order', 'o1');
SELECT projection_set('wallet_balance', 'partitions', '4');
SELECT projection_init('wallet_balance');
SELECT wallet_create('w1', 100), wallet_debit('w1', 1), length(wallet_create(5));
SELECT projection_run('wallet_balance');
SELECT wallet_credit('w1', 10);
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT wallet_get_balance('w1'), wallet_get_statistics('w1');
SELECT projection_reset('wallet_balance'), projection_backfill('wallet_balance');
SELECT projection, state, partitions, lag_events FROM projection_status;
SELECT oid::regclass, relowner::regrole FROM pg_class WHERE relname IN ('Orders', 'wallet_stream', 'wallet_balances') ORDER BY relname;
SELECT name, relation::regclass FROM wallet_projection.stream ORDER BY name;
-- the schema's name changes, and that is all
ALTER SCHEMA "regress_wp Events;" RENAME TO "regress_wp Wallets";
SET search_path = "regress_wp Wallets";
SELECT wallet_debit('w1', 9);
SELECT projection_run('wallet_balance');
SELECT wallet_get_balance('w1');
SELECT projection_delete('wallet_balance'), projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT wallet_id, current_balance FROM wallet_balances WHERE wallet_id = 'w1';

--
-- It goes, and leaves streams and read models; it comes back, and takes the
-- streams over, but not a read model whose position nobody knows
--
RESET ROLE;
DROP EXTENSION wallet_projection;
SELECT to_regnamespace('wallet_projection');
SELECT count(*) FROM wallet_stream;
SELECT wallet_id, current_balance FROM wallet_balances WHERE wallet_id = 'w1';
CREATE EXTENSION wallet_projection;
SET ROLE "regress_wp Data Owner";
SELECT projection, state FROM projection_status;
SELECT regress_wp.error_of($$ SELECT stream_append('Orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]') $$);
SELECT stream_create('Orders');
SELECT stream_append('Orders', 'Order', 'o1', '[{"event_name": "e", "payload": {}}]');
SELECT wallet_create('w2', 2);
SELECT wallet_debit('w1', 1);
SELECT regress_wp.error_of($$ SELECT wallet_create('w1', 5) $$);
SELECT regress_wp.error_of($$ SELECT projection_init('wallet_balance') $$);
SELECT state FROM projection_status;
SELECT projection_delete('wallet_balance');
SELECT wallet_id, current_balance FROM wallet_balances WHERE wallet_id = 'w1';
ALTER TABLE wallet_balances RENAME TO old_balances;
SELECT projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT n.wallet_id, n.current_balance - o.current_balance AS more FROM wallet_balances n LEFT JOIN old_balances o USING (wallet_id) WHERE wallet_id LIKE 'w_' ORDER BY 1;
-- projection_init makes the stream known again as well
RESET ROLE;
DROP EXTENSION wallet_projection;
DROP TABLE wallet_balances;
CREATE EXTENSION wallet_projection;
SET ROLE "regress_wp Data Owner";
SELECT projection_init('wallet_balance');
SELECT wallet_debit('w1', 1);
SELECT projection_run('wallet_balance');
RESET ROLE;

--
-- The names are taken
--
SET search_path = regress_wp;
DROP EXTENSION wallet_projection;
DROP SCHEMA "regress_wp Wallets" CASCADE;
DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM "regress_wp Data Owner"', current_database()); END $$;
DROP ROLE "regress_wp Data Owner", regress_wp_nobody;
CREATE EXTENSION wallet_projection;
CREATE VIEW wallet_stream AS SELECT 1 AS no;
SELECT error_of($$ SELECT wallet_create('w1', 1) $$);
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
DROP VIEW wallet_stream;
CREATE VIEW wallet_balances AS SELECT 1 AS wallet_id;
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
SELECT state, last_position FROM projection_status;
DROP VIEW wallet_balances;
CREATE TYPE wallet_balances AS ENUM ('a');
SELECT split_part(error_of($$ SELECT projection_init('wallet_balance') $$), E'\n', 1);
DROP TYPE wallet_balances;
SELECT stream_create('wallet_balances');
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
DROP TABLE wallet_balances;
SELECT projection_init('wallet_balance');
SELECT error_of($$ SELECT stream_create('wallet_balances') $$);
-- a table of that name in another schema that comes first is another table
CREATE TEMP TABLE wallet_balances (wallet_id text);
CREATE TEMP TABLE wallet_stream (no bigint);
SELECT wallet_create('w1', 1);
SELECT projection_run('wallet_balance');
SELECT wallet_get_balance('w1');
SELECT * FROM regress_wp.wallet_balances;
SELECT projection_reset('wallet_balance'), projection_delete('wallet_balance'), projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT (SELECT count(*) FROM pg_temp.wallet_balances), (SELECT count(*) FROM pg_temp.wallet_stream);

DROP SCHEMA regress_wp CASCADE;
SELECT count(*) FROM pg_extension WHERE extname = 'wallet_projection';
