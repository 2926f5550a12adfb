--
-- A batch ends after so many events, whatever they are, and has saved what it has passed.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set run 'CALL projection_consume(''async_projection'', finish_when_no_messages => true)'
DO $$ BEGIN
    PERFORM projection_set('wallet_balance', 'batch_size', '10');
    PERFORM projection_init('wallet_balance'), wallet_create('w1', 1);
END $$;
-- events that the projection does not apply: of another type, or of another name
SELECT count(stream_append('wallet_stream', 'Order', 'o' || i % 7, '[{"event_name": "Placed", "payload": {}}]')) FROM generate_series(1, 500) i;
SELECT count(append_event('w1', 'WalletWasPainted', '{}')) FROM generate_series(1, 500) i;
-- the last event cannot be applied, and that is nobody's fault: what was passed before it stays passed
:run;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT projection_reset('wallet_balance');
SELECT wallet_credit('w1', 5);
:run;
SELECT state, min(p.head) > 700 AS moved_on, max(p.head) < 1002 AS not_to_the_end FROM projection_status s, projection_partitions p GROUP BY state;
DROP FUNCTION refuse CASCADE;
:run;
SELECT * FROM check_read_model();
-- a transaction of the caller's is not cut
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
DROP SCHEMA regress_wp CASCADE;
