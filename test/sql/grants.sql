--
-- Nobody gets further than his rights: what the extension's objects allow, and
-- whom a row of its catalog can harm.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE ROLE regress_wp_owner;
CREATE ROLE regress_wp_other;
CREATE ROLE regress_wp_stranger;
GRANT USAGE ON SCHEMA regress_wp TO PUBLIC;
GRANT CREATE ON SCHEMA regress_wp TO regress_wp_owner;

--
-- All objects of the extension
--
CREATE VIEW member AS
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wallet_projection');
-- whatever another role may do with its relations, sequences and columns: look at views
SELECT relkind, oid::regclass::text COLLATE "C", privilege_type, grantee = 0 AS public
  FROM pg_class c, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
 WHERE (relnamespace = 'wallet_projection'::regnamespace OR oid IN (SELECT objid FROM member)) AND grantee <> relowner ORDER BY 1, 2, 3;
SELECT count(*) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
 WHERE (relnamespace = 'wallet_projection'::regnamespace OR c.oid IN (SELECT objid FROM member)) AND attacl IS NOT NULL;
SELECT privilege_type, grantee = 0 AS public FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'wallet_projection' AND grantee <> nspowner;
-- nothing runs with more rights than its caller's, nobody but a superuser owns any of it, and views do not leak
SELECT p.oid::regprocedure FROM pg_proc p WHERE oid IN (SELECT objid FROM member) AND prosecdef;
SELECT DISTINCT rolsuper FROM pg_roles WHERE oid IN (SELECT relowner FROM pg_class WHERE oid IN (SELECT objid FROM member) UNION SELECT proowner FROM pg_proc WHERE oid IN (SELECT objid FROM member)
    UNION SELECT nspowner FROM pg_namespace WHERE oid IN (SELECT objid FROM member));
SELECT count(*) FROM pg_policy WHERE polrelid IN (SELECT objid FROM member);
-- what it is, others cannot make of it
SELECT DISTINCT superuser, trusted, relocatable FROM pg_available_extension_versions WHERE name = 'wallet_projection';
SELECT extname FROM pg_extension WHERE extname = 'wallet_projection' AND extowner = 'regress_wp_owner'::regrole;

-- nobody else writes the catalog, by any statement
SET ROLE regress_wp_owner;
SELECT table_name, statement, left(regress_wp.error_of(format(statement, table_name)), 5) AS error
  FROM unnest('{stream,projection,projection_state,position,old_gaps,parked,skipped,channel,started}'::text[]) table_name,
       unnest(ARRAY['INSERT INTO wallet_projection.%I DEFAULT VALUES', 'DELETE FROM wallet_projection.%I', 'TRUNCATE wallet_projection.%I', 'TABLE wallet_projection.%I',
                    'ALTER TABLE wallet_projection.%I ADD x int', 'LOCK TABLE wallet_projection.%I IN EXCLUSIVE MODE', 'CREATE TRIGGER x BEFORE INSERT ON wallet_projection.%I EXECUTE FUNCTION suppress_redundant_updates_trigger()',
                    'CREATE RULE x AS ON INSERT TO wallet_projection.%I DO INSTEAD NOTHING']) statement
 WHERE left(regress_wp.error_of(format(statement, table_name)), 5) <> '42501' ORDER BY 1, 2;
SELECT error_of($$ SELECT nextval('wallet_projection.parked_id_seq') $$);
RESET ROLE;

--
-- The functions that stand behind the views tell a stranger nothing more
--
SET ROLE regress_wp_owner;
SELECT projection_set('wallet_balance', 'max_parked', '10'), projection_init('wallet_balance'), wallet_create('w1', 5);
SELECT append_event('secret', 'WalletWasDebited', '{"amount": "secret"}');
SELECT projection_run('wallet_balance');
RESET ROLE;
SET ROLE regress_wp_stranger;
SELECT count(*) FROM wallet_projection.parked_event;
SELECT count(*) FROM dead_letter_list();
SELECT count(*) FROM dead_letter_show(1);
SELECT * FROM wallet_projection.event_now('wallet_stream', 'Wallet', 'secret', 2);
SELECT left(error_of($$ SELECT dead_letter_replay(1) $$), 5), left(error_of($$ SELECT dead_letter_delete(1) $$), 5), left(error_of($$ SELECT dead_letter_replay_all('wallet_balance') $$), 5);
SELECT projection, state, read_model, last_error FROM projection_status;
RESET ROLE;

--
-- A row that names another role's table
--
CREATE TABLE of_other (LIKE wallet_balances INCLUDING ALL);
ALTER TABLE of_other OWNER TO regress_wp_other;
CREATE TABLE saved AS TABLE wallet_projection.projection_state;
UPDATE wallet_projection.projection_state SET read_model = 'of_other'::regclass, table_name = 'of_other';
UPDATE wallet_projection.position SET head = 0, gaps = '{}', written = false;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT projection_delete('wallet_balance') $$);
SELECT state, left(last_error, 80) FROM projection_status;
SET ROLE regress_wp_owner;
SELECT left(error_of($$ SELECT projection_run('wallet_balance') $$), 90);
SELECT left(error_of($$ SELECT projection_init('wallet_balance') $$), 90);
SET ROLE regress_wp_other;
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
RESET ROLE;
-- nor one that says nothing of its owner, or another one
UPDATE wallet_projection.projection_state SET owner = NULL, owner_name = NULL;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
UPDATE wallet_projection.projection_state SET installation = NULL, owner_name = 'regress_wp_owner';
SELECT left(error_of($$ SELECT projection_run('wallet_balance') $$), 90);
GRANT CREATE ON SCHEMA regress_wp TO regress_wp_other;
SELECT left(error_of($$ SELECT projection_run('wallet_balance') $$), 90);
SELECT count(*) FROM of_other;
DROP TABLE of_other;
DELETE FROM wallet_projection.projection_state;
INSERT INTO wallet_projection.projection_state TABLE saved;
SELECT projection_reset('wallet_balance'), projection_run('wallet_balance');
-- a table that is given to another role: who has the rights of both says so
ALTER TABLE wallet_balances OWNER TO regress_wp_other;
GRANT SELECT ON wallet_stream TO regress_wp_other;
SELECT wallet_credit('w1', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SET ROLE regress_wp_other;
SELECT left(error_of($$ SELECT projection_init('wallet_balance') $$), 70);
RESET ROLE;
GRANT regress_wp_owner TO regress_wp_other;
SET ROLE regress_wp_other;
SELECT projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
RESET ROLE;
SELECT state, last_error FROM projection_status;
-- a role that has another name is the same
ALTER ROLE regress_wp_other RENAME TO regress_wp_another;
SELECT wallet_credit('w1', 1), projection_run('wallet_balance');
SELECT owner_name, owner = 'regress_wp_another'::regrole FROM wallet_projection.projection_state;

--
-- A damaged row stops its own projection, and no other of its channel
--
INSERT INTO wallet_projection.projection
SELECT n, stream, aggregate_type, 'nobody''s', channel, partitions, batch_size, false FROM wallet_projection.projection, unnest('{a,z}'::text[]) n;
SELECT projection, state, last_error FROM projection_status ORDER BY 1;
SELECT error_of($$ SELECT projection_run('a') $$);
SELECT error_of($$ SELECT projection_init('a') $$);
SELECT error_of($$ SELECT projection_delete('a') $$);
SELECT wallet_credit('w1', 1);
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT projection, state, lag_events FROM projection_status WHERE state = 'ready';
SELECT total_credits FROM wallet_balances WHERE wallet_id = 'w1';
DELETE FROM wallet_projection.projection WHERE name IN ('a', 'z');
CALL projection_consume('async_projection', finish_when_no_messages => true);

--
-- To ask for a balance runs nothing of the read model's owner
--
SET ROLE regress_wp_another;
CREATE FUNCTION trap(numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'trapped as %', current_user; RETURN $1; END $$;
CREATE DOMAIN trapped AS numeric CHECK (regress_wp.trap(VALUE) >= 0);
RESET ROLE;
ALTER TABLE wallet_balances ALTER current_balance TYPE trapped;
SET client_min_messages = notice;
SELECT left(error_of($$ SELECT wallet_get_balance('w1') $$), 100);
SELECT left(error_of($$ SELECT wallet_get_statistics('w1') $$), 100);
SET client_min_messages = warning;

--
-- To look at the status runs nothing of the stream's owner
--
SET ROLE regress_wp_another;
CREATE FUNCTION trap() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'trapped as %', current_user; RETURN true; END $$;
RESET ROLE;
SELECT relname FROM pg_class WHERE oid = 'wallet_stream'::regclass;
ALTER TABLE wallet_stream OWNER TO regress_wp_another;
ALTER TABLE wallet_stream DROP CONSTRAINT wallet_stream_pkey;
SET ROLE regress_wp_another;
CREATE UNIQUE INDEX trapped ON wallet_stream (no) WHERE regress_wp.trap();
RESET ROLE;
SET client_min_messages = notice;
SELECT count(*) FROM projection_status;
SELECT left(error_of($$ SELECT projection_run('wallet_balance') $$), 100);
SET client_min_messages = warning;

--
-- A table that somebody else has put in a stream's place is not appended to unasked
--
SELECT projection_delete('wallet_balance');
DROP TABLE wallet_stream;
DELETE FROM wallet_projection.stream;
GRANT CREATE ON SCHEMA regress_wp TO regress_wp_stranger;
SET ROLE regress_wp_stranger;
SELECT stream_create('wallet_stream');
RESET ROLE;
DELETE FROM wallet_projection.stream;
SELECT left(error_of($$ SELECT wallet_create('mine', 1) $$), 100);
SELECT left(error_of($$ SELECT projection_init('wallet_balance') $$), 100);
SELECT stream_create('wallet_stream');
SELECT wallet_create('mine', 1);

DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_wp_owner, regress_wp_another, regress_wp_stranger;
