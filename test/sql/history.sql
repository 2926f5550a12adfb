--
-- Does an event keep its number and its aggregate?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT projection_init('wallet_balance');
SELECT wallet_create('a', 100), wallet_create('b', 1), wallet_credit('a', 5);
SELECT projection_run('wallet_balance');

-- another number would be applied a second time
SELECT error_of($$ UPDATE wallet_stream SET no = DEFAULT WHERE no = 3 $$);
SELECT error_of($$ UPDATE wallet_stream SET no = 3 WHERE no = 3 $$);
-- another aggregate would leave the old one's row as it is
SELECT error_of($$ UPDATE wallet_stream SET aggregate_id = 'b', aggregate_version = 2 WHERE no = 3 $$);
SELECT error_of($$ UPDATE wallet_stream SET aggregate_id = upper(aggregate_id) $$);
SELECT error_of($$ UPDATE wallet_stream SET aggregate_type = 'Purse' $$);
SELECT error_of($$ INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
                   SELECT event_id, event_name, aggregate_type, 'b', 9, payload FROM wallet_stream WHERE no = 3
                   ON CONFLICT (event_id) DO UPDATE SET aggregate_id = excluded.aggregate_id $$);
SELECT error_of($$ MERGE INTO wallet_stream s USING (VALUES (3, 'b')) v (no, id) ON s.no = v.no
                   WHEN MATCHED THEN UPDATE SET aggregate_id = v.id, aggregate_version = 9 $$);
-- also where another trigger does it, whatever its name
CREATE FUNCTION renumber() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.no := 1000; RETURN NEW; END $$;
CREATE TRIGGER zzz BEFORE UPDATE ON wallet_stream FOR EACH ROW EXECUTE FUNCTION renumber();
SELECT error_of($$ UPDATE wallet_stream SET payload = payload WHERE no = 3 $$);
DROP TRIGGER zzz ON wallet_stream;
-- also in a session that fires no ordinary triggers
SET session_replication_role = replica;
SELECT error_of($$ UPDATE wallet_stream SET no = DEFAULT WHERE no = 3 $$);
RESET session_replication_role;

-- all else may be written, these columns too where they stay what they are
UPDATE wallet_stream SET aggregate_type = aggregate_type, aggregate_id = 'a'::text || '', event_name = event_name, aggregate_version = 7,
                         payload = payload, metadata = '{"by": "hand"}', created_at = now(), event_id = gen_random_uuid() WHERE no = 3;
UPDATE wallet_stream SET aggregate_version = 2 WHERE no = 3;
SELECT error_of($$ SELECT wallet_debit('a', 106) $$);
SELECT wallet_debit('a', 105);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- types may be changed, and a column may be added before the trigger looks
ALTER TABLE wallet_stream ALTER aggregate_id TYPE varchar(300) COLLATE "C", ALTER aggregate_type TYPE varchar(60) COLLATE "C", ADD tenant text;
UPDATE wallet_stream SET tenant = 'acme';
SELECT error_of($$ UPDATE wallet_stream SET aggregate_id = 'c' WHERE no = 3 $$);

-- DROP EXTENSION leaves the table without it; taken over, it has one again,
-- whether it had one of this name or not
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'wallet_stream'::regclass AND NOT tgisinternal;
DROP EXTENSION wallet_projection;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'wallet_stream'::regclass AND NOT tgisinternal;
UPDATE wallet_stream SET no = DEFAULT WHERE no = 3;
CREATE EXTENSION wallet_projection;
CREATE TRIGGER wallet_projection_history BEFORE UPDATE ON wallet_stream FOR EACH STATEMENT EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT stream_create('wallet_stream');
SELECT tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'wallet_stream'::regclass AND NOT tgisinternal;
SELECT error_of($$ UPDATE wallet_stream SET no = DEFAULT WHERE no = 1 $$);
-- taken over by a command
DROP EXTENSION wallet_projection;
CREATE EXTENSION wallet_projection;
SELECT wallet_credit('b', 1);
SELECT error_of($$ UPDATE wallet_stream SET no = DEFAULT WHERE no = 1 $$);
-- the trigger of stream_notify beside it
SELECT stream_notify('wallet_stream', true);
DROP EXTENSION wallet_projection;
CREATE EXTENSION wallet_projection;
SELECT stream_create('wallet_stream');

-- a child has its own rules; the same trigger does for it
CREATE TABLE archive (PRIMARY KEY (no)) INHERITS (wallet_stream);
WITH moved AS (DELETE FROM wallet_stream WHERE no = 2 RETURNING *) INSERT INTO archive SELECT * FROM moved;
UPDATE wallet_stream SET aggregate_id = 'c' WHERE no = 2;
CREATE TRIGGER keep_history AFTER UPDATE ON archive FOR EACH ROW EXECUTE FUNCTION wallet_projection.keep_history();
SELECT error_of($$ UPDATE wallet_stream SET aggregate_id = 'b' WHERE no = 2 $$);

-- it is that trigger, and nothing else
SELECT error_of($$ SELECT wallet_projection.keep_history() $$);
CREATE TABLE other (aggregate_id text);
CREATE TRIGGER t1 BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION wallet_projection.keep_history();
INSERT INTO other VALUES (NULL), ('a');
SELECT error_of($$ UPDATE other SET aggregate_id = 'b' $$);
DROP TRIGGER t1 ON other;
CREATE TRIGGER t2 AFTER UPDATE ON other FOR EACH STATEMENT EXECUTE FUNCTION wallet_projection.keep_history();
SELECT error_of($$ UPDATE other SET aggregate_id = 'b' $$);
DROP TRIGGER t2 ON other;
CREATE TRIGGER t3 AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION wallet_projection.keep_history();
SELECT error_of($$ INSERT INTO other VALUES ('b') $$);
DROP TRIGGER t3 ON other;
CREATE TRIGGER t4 AFTER UPDATE ON other FOR EACH ROW EXECUTE FUNCTION wallet_projection.keep_history();
SELECT error_of($$ UPDATE other SET aggregate_id = 'b' WHERE aggregate_id IS NULL $$);
SELECT error_of($$ UPDATE other SET aggregate_id = NULL WHERE aggregate_id = 'a' $$);
UPDATE other SET aggregate_id = aggregate_id;

DROP SCHEMA regress_wp CASCADE;
