--
-- Who may do what, and as whom does a batch run?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE ROLE regress_wp_owner;
CREATE ROLE regress_wp_member IN ROLE regress_wp_owner;
CREATE ROLE regress_wp_heir NOINHERIT IN ROLE regress_wp_owner;
CREATE ROLE regress_wp_writer;
CREATE ROLE regress_wp_reader;
CREATE ROLE regress_wp_stranger;
GRANT USAGE ON SCHEMA regress_wp TO PUBLIC;

-- whoever may not create tables cannot begin
SET ROLE regress_wp_owner;
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
SELECT error_of($$ SELECT projection_delete('wallet_balance') $$);
SELECT error_of($$ SELECT projection_set('wallet_balance', 'partitions', '4') $$);
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT stream_create('orders') $$);
SELECT error_of($$ SELECT wallet_create('w1', 1) $$);
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT CREATE ON SCHEMA regress_wp TO regress_wp_owner;

-- whoever begins is the owner
SET ROLE regress_wp_owner;
SELECT stream_create('orders');
SELECT projection_set('wallet_balance', 'partitions', '4');
SELECT projection_init('wallet_balance');
SELECT wallet_create('w1', 100), wallet_debit('w1', 1);
SELECT projection_run('wallet_balance');
RESET ROLE;
SELECT relname, relowner::regrole FROM pg_class WHERE relname IN ('orders', 'wallet_stream', 'wallet_balances') AND relnamespace = 'regress_wp'::regnamespace ORDER BY 1;
SELECT * FROM check_read_model();

-- a stranger may do nothing but look at the views
CREATE FUNCTION try_all() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT call || ' -> ' || split_part(error_of('SELECT * FROM ' || call), E'\n', 1)
      FROM unnest(ARRAY['stream_create(''mine'')', 'stream_create(''orders'')',
           'stream_append(''wallet_stream'', ''Wallet'', ''w1'', ''[{"event_name": "e", "payload": {}}]'')',
           'stream_read(''wallet_stream'', ''Wallet'', ''w1'')',
           'wallet_create(gen_random_uuid()::text, 1)', 'wallet_create(1)', 'wallet_debit(''w1'', 1)', 'wallet_credit(''w1'', 1)',
           'wallet_get_balance(''w1'')', 'wallet_get_statistics(''w1'')', 'projection_init(''wallet_balance'')',
           'projection_set(''wallet_balance'', ''batch_size'', ''5'')', 'projection_run(''wallet_balance'')', 'projection_backfill(''wallet_balance'')',
           'projection_reset(''wallet_balance'')', 'projection_delete(''wallet_balance'')',
           'projection_status', 'projection_partitions', 'wallet_projection.last_position(''wallet_stream'')', 'wallet_projection.gaps(''wallet_balance'', 0)', 'wallet_projection.positions(''wallet_balance'')',
           'wallet_projection.stream', 'wallet_projection.projection', 'wallet_projection.projection_state', 'wallet_projection.position', 'wallet_projection.old_gaps']) call
$$;
SET ROLE regress_wp_stranger;
SELECT try_all();
CALL projection_consume('async_projection', finish_when_no_messages => true);
\echo :LAST_ERROR_SQLSTATE
SELECT projection, state, head, lag_events, last_error FROM projection_status;
SELECT count(*) FROM projection_partitions;
RESET ROLE;
SELECT * FROM check_read_model();
-- the full error
SET ROLE regress_wp_stranger;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
RESET ROLE;

-- a writer of the stream writes, and no more
GRANT INSERT ON wallet_stream TO regress_wp_writer;
SET ROLE regress_wp_writer;
SELECT try_all();
RESET ROLE;
SET ROLE regress_wp_owner;
SELECT projection_run('wallet_balance') > 0;
RESET ROLE;
SELECT * FROM check_read_model();

-- a reader reads
GRANT SELECT ON wallet_stream, wallet_balances TO regress_wp_reader;
SET ROLE regress_wp_reader;
SELECT try_all();
RESET ROLE;
-- of some columns
REVOKE SELECT ON wallet_balances FROM regress_wp_reader;
GRANT SELECT (wallet_id, current_balance) ON wallet_balances TO regress_wp_reader;
SET ROLE regress_wp_reader;
SELECT error_of($$ SELECT wallet_get_balance('w1') $$);
SELECT error_of($$ SELECT wallet_get_statistics('w1') $$);
RESET ROLE;
-- insert into some columns is not enough
REVOKE INSERT ON wallet_stream FROM regress_wp_writer;
GRANT INSERT (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload) ON wallet_stream TO regress_wp_writer;
SET ROLE regress_wp_writer;
SELECT error_of($$ SELECT wallet_credit('w1', 1) $$);
RESET ROLE;

-- a member of the owner has its rights, one that must SET ROLE first has not
SET ROLE regress_wp_member;
SELECT try_all();
SELECT projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
CALL projection_consume('async_projection', finish_when_no_messages => true);
RESET ROLE;
SELECT relowner::regrole FROM pg_class WHERE oid = 'wallet_stream'::regclass;
SELECT relowner::regrole FROM pg_class WHERE oid = 'wallet_balances'::regclass;
SET ROLE regress_wp_heir;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
RESET ROLE;

-- set up again for the owner
SELECT projection_delete('wallet_balance');
SELECT projection_set('wallet_balance', 'max_parked', '0');
DROP TABLE wallet_stream;
SET ROLE regress_wp_owner;
SELECT stream_create('wallet_stream');
SELECT projection_init('wallet_balance');
SELECT wallet_create('w1', 100);
RESET ROLE;

-- the last error may tell of data: only for the owner's eyes
SELECT append_event('secret', 'WalletWasDebited', '{"amount": 1}') > 0;
CALL projection_consume('async_projection', stop_on_failure => true);
SELECT last_error FROM projection_status;
SET ROLE regress_wp_member;
SELECT last_error FROM projection_status;
SET ROLE regress_wp_stranger;
SELECT state, last_error FROM projection_status;
RESET ROLE;
DELETE FROM wallet_stream WHERE aggregate_id = 'secret';
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

--
-- A batch runs as the owner, whoever calls.  What can the owner's code do to
-- a superuser that runs its batch?
--
CREATE TABLE seen (id int GENERATED ALWAYS AS IDENTITY, what text);
ALTER TABLE seen OWNER TO regress_wp_owner;
SET ROLE regress_wp_owner;
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    INSERT INTO regress_wp.seen (what) VALUES (format('%s %s as %s, superuser %s, search_path %s', TG_WHEN, TG_OP, current_user,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), current_setting('search_path')));
    FOREACH result IN ARRAY coalesce(TG_ARGV, '{}') LOOP
        INSERT INTO regress_wp.seen (what) VALUES (result || ' -> ' || left(regress_wp.error_of(result), 5));
    END LOOP;
    RETURN NEW;
END $$;
CREATE TRIGGER look_before BEFORE INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION look();
CREATE TRIGGER look_after AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION look('RESET ROLE', 'SET ROLE regress_wp_stranger', 'SET SESSION AUTHORIZATION DEFAULT',
    'CREATE TEMP TABLE trap ()', 'ALTER ROLE regress_wp_owner SUPERUSER', 'LISTEN trap');
CREATE TRIGGER look_truncate BEFORE TRUNCATE ON wallet_balances EXECUTE FUNCTION look();
RESET ROLE;
SELECT wallet_credit('w1', 1), wallet_create('w2', 2);
SELECT projection_run('wallet_balance');
SELECT current_user = session_user, current_setting('search_path');
SELECT what FROM seen ORDER BY id;
DROP TRIGGER look_after ON wallet_balances;
TRUNCATE seen;
SELECT wallet_credit('w1', 1);
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT projection_reset('wallet_balance');
SELECT projection_backfill('wallet_balance');
SELECT current_user = session_user, current_setting('search_path');
-- for the owner itself it is no other
SET ROLE regress_wp_owner;
SELECT wallet_credit('w1', 1);
SELECT projection_run('wallet_balance');
SELECT current_user, current_setting('search_path');
RESET ROLE;
SELECT what FROM seen ORDER BY id;
SELECT * FROM check_read_model();
-- after an error the caller is who it was
SET ROLE regress_wp_owner;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'as %', current_user; END $$;
CREATE TRIGGER fail BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION fail();
RESET ROLE;
SELECT wallet_credit('w1', 1);
SELECT regexp_replace(error_of($$ SELECT projection_run('wallet_balance') $$), 'event \d+', 'event N');
SELECT current_user = session_user, current_setting('search_path');
BEGIN;
SAVEPOINT s;
SELECT projection_run('wallet_balance') \g /dev/null
ROLLBACK TO s;
SELECT current_user = session_user, current_setting('search_path');
COMMIT;
DROP TRIGGER fail ON wallet_balances;
SET ROLE regress_wp_member;
SELECT projection_run('wallet_balance');
SELECT current_user, current_setting('search_path');
RESET ROLE;
-- defaults, constraints, generated columns and index expressions run as the owner as well
SET ROLE regress_wp_owner;
CREATE FUNCTION who(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1 || current_user; END $$;
ALTER TABLE wallet_balances ADD by_default text DEFAULT current_user, ADD by_generation text GENERATED ALWAYS AS (regress_wp.who('')) STORED,
    ADD CHECK (regress_wp.who('') = 'regress_wp_owner');
CREATE INDEX ON wallet_balances (regress_wp.who(wallet_id));
RESET ROLE;
SELECT wallet_create('w3', 1);
SELECT projection_run('wallet_balance');
SELECT by_default, by_generation FROM wallet_balances WHERE wallet_id = 'w3';
SET enable_seqscan = off;
SELECT wallet_id FROM wallet_balances WHERE regress_wp.who(wallet_id) = 'w3regress_wp_owner';
RESET enable_seqscan;
-- a deferred trigger runs at the end of the batch, as the owner
SET ROLE regress_wp_owner;
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON wallet_balances DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();
RESET ROLE;
TRUNCATE seen;
SELECT wallet_credit('w1', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SET ROLE regress_wp_owner;
SELECT projection_run('wallet_balance');
RESET ROLE;
SELECT what FROM seen ORDER BY id;
SET ROLE regress_wp_owner;
DROP TRIGGER later ON wallet_balances;
RESET ROLE;
SELECT * FROM check_read_model();

--
-- The stream belongs to somebody else
--
ALTER TABLE wallet_stream OWNER TO regress_wp_writer;
SELECT wallet_credit('w1', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
GRANT SELECT ON wallet_stream TO regress_wp_owner;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
SET ROLE regress_wp_owner;
SELECT error_of($$ SELECT wallet_credit('w1', 1) $$);
SELECT error_of($$ SELECT stream_create('wallet_stream') $$);
RESET ROLE;
-- a table of a stream's shape that is somebody else's is not taken over
CREATE TABLE theirs (LIKE wallet_stream INCLUDING ALL);
SET ROLE regress_wp_owner;
SELECT error_of($$ SELECT stream_create('theirs') $$);
RESET ROLE;
SELECT stream_create('theirs');

--
-- Row-level security
--
-- of a stream: events must not be hidden, nor slip in
ALTER TABLE wallet_stream ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_but ON wallet_stream USING (aggregate_id <> 'w1');
GRANT SELECT, INSERT ON wallet_stream TO regress_wp_reader;
SET ROLE regress_wp_reader;
SELECT error_of($$ SELECT wallet_credit('w1', 1) $$);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Wallet', 'w9', '[{"event_name": "e", "payload": {}}]') $$);
SELECT count(*) FROM stream_read('wallet_stream', 'Wallet', 'w1');
SELECT count(*) FROM stream_read('wallet_stream', 'Wallet', 'w2');
RESET ROLE;
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SET ROLE regress_wp_writer;
SELECT wallet_credit('w1', 1) > 0;
RESET ROLE;
ALTER TABLE wallet_stream FORCE ROW LEVEL SECURITY;
SET ROLE regress_wp_writer;
SELECT error_of($$ SELECT wallet_credit('w1', 1) $$);
RESET ROLE;
ALTER ROLE regress_wp_owner BYPASSRLS;
SELECT projection_run('wallet_balance');
ALTER ROLE regress_wp_owner NOBYPASSRLS;
ALTER TABLE wallet_stream DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
SELECT * FROM check_read_model();
-- of the read model: the projection writes all, readers see what they may
ALTER TABLE wallet_balances ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_but ON wallet_balances USING (wallet_id <> 'w1');
GRANT SELECT ON wallet_balances TO regress_wp_reader;
SELECT wallet_credit('w1', 1);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
SET ROLE regress_wp_reader;
SELECT wallet_get_balance('w1'), wallet_get_balance('w2');
RESET ROLE;
SELECT wallet_get_balance('w1') > 0;

--
-- A function that runs with its owner's rights lends them
--
SET ROLE regress_wp_owner;
CREATE FUNCTION run_for_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = regress_wp, pg_temp AS $$ SELECT projection_run('wallet_balance') $$;
RESET ROLE;
SELECT wallet_credit('w2', 1);
SET ROLE regress_wp_stranger;
SELECT run_for_all();
RESET ROLE;
SELECT * FROM check_read_model();

--
-- Whoever looks at the views runs nobody's code: neither a policy of the
-- stream nor a column of another type
--
SELECT wallet_credit('w2', 1);
CREATE FUNCTION catch() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', 'nowhere', false); RETURN true; END $$;
CREATE POLICY catch ON wallet_stream USING (regress_wp.catch());
ALTER TABLE wallet_stream ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT projection, lag_events FROM projection_status;
SHOW search_path;
ALTER TABLE wallet_stream DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
DROP POLICY catch ON wallet_stream;
SELECT lag_time < '1 day' FROM projection_status;
ALTER TABLE wallet_stream ALTER created_at DROP DEFAULT, ALTER created_at TYPE text;
SELECT lag_time FROM projection_status;
REVOKE ALL ON wallet_stream FROM regress_wp_owner;
SELECT lag_time FROM projection_status;

DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_wp_owner, regress_wp_member, regress_wp_heir, regress_wp_writer, regress_wp_reader, regress_wp_stranger;
