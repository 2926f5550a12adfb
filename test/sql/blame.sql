--
-- Whose fault is an error: an event's, the definition's, or nobody's?  One
-- wallet's errors do not stop the others, whatever their class and whenever
-- they are raised.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

\set dead 'SELECT partition_key, no, sqlstate, message, waiting FROM projection_dead_letters ORDER BY partition_key'
\set consume 'CALL projection_consume($$async_projection$$, finish_when_no_messages => true)'
SELECT projection_set('wallet_balance', 'retry_delay', '1 hour'), projection_set('wallet_balance', 'retry_max_delay', '1 hour'), projection_set('wallet_balance', 'batch_size', '10'), projection_set('wallet_balance', 'max_parked', '50');
SELECT projection_init('wallet_balance');
SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 9) i;
:consume;

-- something is missing for one wallet alone, which has more events than a batch
CREATE FUNCTION missing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nowhere VALUES (1); RETURN NEW; END $$;
CREATE TRIGGER missing BEFORE UPDATE ON wallet_balances FOR EACH ROW WHEN (NEW.wallet_id = 'w1') EXECUTE FUNCTION regress_wp.missing();
SELECT count(wallet_credit('w1', 1)) FROM generate_series(1, 20);
SELECT wallet_credit('w2', 1);
:consume;
:dead;
SELECT state, last_error FROM projection_status;
DROP TRIGGER missing ON wallet_balances;
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();

-- missing for all, though a wallet is created in the same batch
CREATE TRIGGER missing BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.missing();
SELECT wallet_credit('w1', 1);
SELECT wallet_create('w10', 100);
:consume;
:dead;
DROP TRIGGER missing ON wallet_balances;
:consume;
SELECT * FROM check_read_model();

-- missing for wallets that are created: several are nobody's fault, one is parked
CREATE TRIGGER missing BEFORE INSERT ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.missing();
SELECT wallet_create('w11', 100), wallet_create('w12', 100);
:consume;
:dead;
DROP TRIGGER missing ON wallet_balances;
:consume;
CREATE TRIGGER missing BEFORE INSERT ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.missing();
SELECT wallet_create('w13', 100);
:consume;
:dead;
DROP TRIGGER missing ON wallet_balances;
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();

-- a class that a lock's time-out shares
CREATE FUNCTION unassigned() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN IF NEW.total_credits < 1000 THEN SELECT 1 AS f INTO r; END IF; PERFORM r.f; RETURN NEW; END $$;
CREATE TRIGGER unassigned BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.unassigned();
SELECT count(wallet_credit('w' || i, CASE i WHEN 3 THEN 5000 ELSE 1 END)) FROM generate_series(1, 5) i;
:consume;
:dead;
DROP TRIGGER unassigned ON wallet_balances;
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();

-- a deferred constraint of another table, which a trigger writes to: at commit
CREATE TABLE account (id text PRIMARY KEY);
INSERT INTO account SELECT 'w' || i FROM generate_series(1, 13) i WHERE i <> 4;
CREATE TABLE audit (id text REFERENCES account DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO regress_wp.audit VALUES (NEW.wallet_id); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.audit();
SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(2, 6) i;
:consume;
:dead;
SELECT count(*) FROM audit;
-- tried again when it is due
UPDATE wallet_projection.parked SET next_retry_at = now();
:consume;
SELECT partition_key, attempts FROM projection_dead_letters;
INSERT INTO account VALUES ('w4');
UPDATE wallet_projection.parked SET next_retry_at = now();
:consume;
:dead;
SELECT count(*) FROM audit;
SELECT * FROM check_read_model();
-- in a caller's transaction they are his, at its end
DELETE FROM audit;
DELETE FROM account WHERE id = 'w4';
SELECT wallet_credit('w4', 1);
SELECT error_of($$ SELECT projection_run('wallet_balance'); SET CONSTRAINTS ALL IMMEDIATE $$);
BEGIN;
INSERT INTO audit VALUES ('nobody');
SELECT wallet_credit('w5', 1);
SELECT projection_run('wallet_balance');
DELETE FROM audit WHERE id = 'nobody';
INSERT INTO account VALUES ('w4');
COMMIT;
:dead;
SELECT * FROM check_read_model();
DROP TRIGGER audit ON wallet_balances;

-- a limit holds, also where a key is tried again before
SELECT append_event('w1', 'WalletWasCredited', '{"amount": "bad"}'), append_event('w1', 'WalletWasCredited', '{"amount": 1}');
:consume;
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE payload ->> 'amount' = 'bad';
UPDATE wallet_projection.parked SET next_retry_at = now();
SELECT count(wallet_credit('w2', 1)) FROM generate_series(1, 50);
SELECT sum(transaction_count) AS before FROM wallet_balances \gset
CALL projection_consume('async_projection', message_limit => 2);
SELECT sum(transaction_count) - :before FROM wallet_balances;
CALL projection_consume('async_projection', message_limit => 3);
SELECT sum(transaction_count) - :before FROM wallet_balances;
:consume;
SELECT * FROM check_read_model();

-- more keys fail than may be parked: as soon as that is known
SELECT projection_set('wallet_balance', 'max_parked', '5'), projection_set('wallet_balance', 'batch_size', '10000');
SELECT count(wallet_create('x' || i, 1)) FROM generate_series(1, 400) i;
:consume;
ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (wallet_id NOT LIKE 'x%') NOT VALID;
SELECT count(wallet_credit('x' || i, 1)) FROM generate_series(1, 400) i;
SELECT regexp_replace(error_of($$ SELECT projection_run('wallet_balance') $$), '(event |"x)\d+', '\1N', 'g');
:dead;
SELECT projection_set('wallet_balance', 'max_parked', '400');
SELECT projection_run('wallet_balance');
SELECT count(*) FROM projection_dead_letters;
ALTER TABLE wallet_balances DROP CONSTRAINT small;
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();

-- what is nobody's fault when a key is tried again is no attempt; it can be seen, and nobody else waits
SELECT projection_set('wallet_balance', 'max_parked', '50');
SELECT append_event('w1', 'WalletWasCredited', '{"amount": "bad"}');
SELECT projection_run('wallet_balance');
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE payload ->> 'amount' = 'bad';
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no space' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER full_disk BEFORE UPDATE ON wallet_balances FOR EACH ROW WHEN (NEW.wallet_id = 'w1') EXECUTE FUNCTION regress_wp.full_disk();
UPDATE wallet_projection.parked SET next_retry_at = now();
SELECT wallet_credit('w2', 1);
SELECT projection_run('wallet_balance');
SELECT s.attempts, s.sqlstate, s.retry_error, s.next_retry_at > now() + interval '50 min' AS later FROM projection_dead_letters l, dead_letter_show(l.id) s;
SELECT state, lag_events, parked FROM projection_status;
UPDATE wallet_projection.parked SET next_retry_at = now();
SELECT wallet_credit('w2', 1);
:consume;
SELECT attempts, retry_error FROM dead_letter_show((SELECT id FROM projection_dead_letters));
SELECT wallet_credit('w2', 1);
UPDATE wallet_projection.parked SET next_retry_at = now();
CALL projection_consume('async_projection', stop_on_failure => true);
DROP TRIGGER full_disk ON wallet_balances;
:consume;
:dead;
SELECT * FROM check_read_model();

-- the failed event's version is corrected
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'v', 1, '{"initialBalance": 9}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'v', 5, '{"amount": "bad"}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'v', 3, '{"amount": 2}');
:consume;
UPDATE wallet_stream SET aggregate_version = 2, payload = '{"amount": 1}' WHERE payload ->> 'amount' = 'bad';
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();

-- a stream that has begun again is not waited for in good faith
SELECT projection_wait('wallet_balance', '0');
BEGIN;
TRUNCATE wallet_stream RESTART IDENTITY;
SELECT wallet_create('again', 1);
SELECT projection_wait('wallet_balance', '0');
ROLLBACK;
SELECT projection_wait('wallet_balance', '0');

-- parked keys can be seen also where the read model is gone
SELECT append_event('w1', 'WalletWasCredited', '{"amount": "bad"}');
SELECT projection_run('wallet_balance');
ALTER TABLE wallet_balances RENAME TO gone;
:dead;
DROP TABLE gone;
SELECT partition_key, sqlstate, waiting FROM projection_dead_letters;
