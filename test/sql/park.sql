--
-- Does a poison event stop its own wallet alone, and can it be told, retried,
-- replayed and deleted?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

\set dead 'SELECT projection, partition_key, no, event_name, state, attempts, sqlstate, message, waiting FROM projection_dead_letters ORDER BY partition_key'
\set run 'SELECT projection_run($$wallet_balance$$)'
SELECT projection_set('wallet_balance', 'max_parked', '10'), projection_set('wallet_balance', 'retry_delay', '1 hour'), projection_set('wallet_balance', 'retry_max_delay', '1 hour');
SELECT projection_init('wallet_balance');

-- one failure gives one entry, all else goes on, and replay-all heals
SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 9) i;
SELECT append_event('w1', 'WalletWasDebited', '{"amount": "much"}'), append_event('w1', 'WalletWasDebited', '{"amount": 1}');
SELECT wallet_debit('w2', 1);
:run;
:dead;
SELECT partition_key, no, first_failed_at <= last_failed_at AS times, next_retry_at - last_failed_at BETWEEN '53 min' AND '67 min' AS delay FROM dead_letter_list();
SELECT (SELECT count(*) FROM dead_letter_list('wallet_balance')), (SELECT count(*) FROM dead_letter_list('nothing'));
SELECT parked, dead_letters, state, lag_events FROM projection_status;
SELECT wallet_id, current_balance, transaction_count FROM wallet_balances WHERE wallet_id IN ('w1', 'w2') ORDER BY 1;
-- later events wait as well
SELECT append_event('w1', 'WalletWasCredited', '{"amount": 2}'), wallet_debit('w2', 1);
:run;
:dead;
-- replayed in vain
SELECT dead_letter_replay_all('wallet_balance');
:dead;
UPDATE wallet_stream SET payload = '{"amount": 7}' WHERE payload ->> 'amount' = 'much';
SELECT dead_letter_replay_all('wallet_balance');
:dead;
SELECT * FROM check_read_model();

-- attempts are counted; after the last one it is dead, and no more tried
SELECT projection_set('wallet_balance', 'max_attempts', '2'), projection_set('wallet_balance', 'retry_delay', '0'), projection_set('wallet_balance', 'retry_jitter', '0');
SELECT append_event('w3', 'WalletWasDebited', '{}');
:run;
SELECT state, attempts, next_retry_at IS NULL AS never FROM projection_dead_letters;
:run;
SELECT state, attempts, next_retry_at IS NULL AS never FROM projection_dead_letters;
SELECT parked, dead_letters FROM projection_status;
:run;
SELECT state, attempts FROM projection_dead_letters;
-- all that is known of it
SELECT id FROM projection_dead_letters \gset
SELECT projection, stream, aggregate_type, partition_key, no, version, event_name, payload, state, attempts, sqlstate, message, detail, hint, context, waiting,
       regexp_replace(next, '\d+', 'N', 'g') AS next FROM dead_letter_show(:id);
SELECT count(*) FROM dead_letter_show(0);
-- deleted by its id it is never handled, also not after a reset
SELECT wallet_debit('w3', 3);
:run;
:dead;
SELECT dead_letter_delete(:id);
:dead;
SELECT wallet_id, current_balance, total_debits, transaction_count FROM wallet_balances WHERE wallet_id = 'w3';
SELECT projection, no, partition_key, event_name, sqlstate, message FROM wallet_projection.skipped;
SELECT projection_reset('wallet_balance');
:run;
:dead;
SELECT wallet_id, current_balance, total_debits, transaction_count FROM wallet_balances WHERE wallet_id = 'w3';
DELETE FROM wallet_stream WHERE aggregate_id = 'w3';
DELETE FROM wallet_balances WHERE wallet_id = 'w3';
SELECT * FROM check_read_model();

-- what the read model refuses: the very event, what comes before it is applied
SELECT projection_set('wallet_balance', 'retry_delay', '1 hour');
ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (current_balance < 1000);
SELECT wallet_credit('w4', a) FROM unnest(ARRAY[1, 2, 3, 4000, 5, 6]) a;
SELECT wallet_credit('w5', 1);
CREATE FUNCTION deep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.transaction_count >= 3 THEN PERFORM 1 / (NEW.transaction_count / 100); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER deep AFTER UPDATE ON wallet_balances FOR EACH ROW WHEN (NEW.wallet_id = 'w6') EXECUTE FUNCTION regress_wp.deep();
SELECT wallet_credit('w6', 1) FROM generate_series(1, 5);
CREATE UNIQUE INDEX one ON wallet_balances (total_debits) WHERE total_debits > 50;
SELECT wallet_debit('w7', 60), wallet_debit('w8', 60);
:run;
:dead;
SELECT wallet_id, current_balance, transaction_count FROM wallet_balances ORDER BY 1;
-- healed by what each needs
ALTER TABLE wallet_balances DROP CONSTRAINT small;
DROP TRIGGER deep ON wallet_balances;
DROP INDEX one;
SELECT dead_letter_replay(id) FROM projection_dead_letters ORDER BY id;
SELECT * FROM check_read_model();

-- the fault is not the keys': nobody is parked
CREATE FUNCTION missing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nowhere VALUES (1); RETURN NEW; END $$;
CREATE TRIGGER missing BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.missing();
SELECT wallet_credit('w1', 1), wallet_credit('w2', 1);
:run;
:dead;
DROP TRIGGER missing ON wallet_balances;
CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = TG_ARGV[0]; END $$;
SELECT string_agg(format('CREATE TRIGGER busy BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.busy(%L); SELECT left(error_of($$ SELECT projection_run(''wallet_balance'') $$), 5), (SELECT count(*) FROM projection_dead_letters); DROP TRIGGER busy ON wallet_balances;', s), ' ')
  FROM unnest(ARRAY['40P01', '40001', '53100', '53200', '55P03', '58030', 'XX000']) s \gset each_
:each_string_agg
:run;
SELECT * FROM check_read_model();

-- the limit
SELECT projection_set('wallet_balance', 'max_parked', '2');
SELECT append_event('w' || i, 'WalletWasDebited', '{"amount": null}') FROM unnest(ARRAY[1, 2, 5]) i;
SELECT wallet_credit('w9', 9);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
:dead;
SELECT projection_set('wallet_balance', 'max_parked', '3');
:run;
SELECT parked, dead_letters FROM projection_status;
-- begun again, all are tried again
UPDATE wallet_stream SET payload = '{"amount": 0.5}' WHERE payload ->> 'amount' IS NULL AND event_name = 'WalletWasDebited';
SELECT projection_reset('wallet_balance');
:run;
:dead;
SELECT * FROM check_read_model();

-- a retry that something missing makes fail is no attempt, and the event's own error stays
SELECT append_event('w1', 'WalletWasDebited', '{"amount": "bad"}'), append_event('w1', 'WalletWasDebited', '{"amount": "worse"}'), append_event('w1', 'WalletWasDebited', '{"amount": 1}');
:run;
UPDATE wallet_stream SET payload = '{"amount": 2}' WHERE payload ->> 'amount' = 'bad';
CREATE TRIGGER missing BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION regress_wp.missing();
SELECT dead_letter_replay_all('wallet_balance');
:dead;
DROP TRIGGER missing ON wallet_balances;
-- an id is of one failed event: whoever has looked at it cannot mean the next one
SELECT id FROM projection_dead_letters \gset
SELECT dead_letter_replay(:id);
:dead;
SELECT dead_letter_delete(:id);
:dead;
UPDATE wallet_stream SET payload = '{"amount": 3}' WHERE payload ->> 'amount' = 'worse';
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SELECT * FROM check_read_model();
-- versions that are not in the order of their numbers: the numbers count
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'odd', 1, '{"initialBalance": 9}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'odd', 3, '{"amount": "bad"}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'odd', 2, '{"amount": 1}');
:run;
UPDATE wallet_stream SET payload = '{"amount": 2}' WHERE payload ->> 'amount' = 'bad';
SELECT dead_letter_replay(id) FROM projection_dead_letters;
:dead;
SELECT wallet_credit('w9', 1);
:run;
SELECT * FROM check_read_model();
-- the same where the read model refuses a row
ALTER TABLE wallet_balances ADD CONSTRAINT odd CHECK (current_balance <> 777);
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'odd2', 1, '{"initialBalance": 100}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'odd2', 3, '{"amount": 10}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'odd2', 2, '{"amount": 20}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'odd2', 4, '{"amount": 647}');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
:dead;
ALTER TABLE wallet_balances DROP CONSTRAINT odd;
SELECT dead_letter_replay(id) FROM projection_dead_letters;
:run;
SELECT * FROM check_read_model();

-- a skipped event is not its number: after a TRUNCATE that is another event's
TRUNCATE wallet_stream RESTART IDENTITY;
SELECT projection_reset('wallet_balance');
SELECT append_event('w1', 'WalletWasDebited', '{}');
:run;
SELECT dead_letter_delete(id) FROM projection_dead_letters;
SELECT projection, no FROM wallet_projection.skipped;
TRUNCATE wallet_stream RESTART IDENTITY;
SELECT projection_reset('wallet_balance');
SELECT wallet_create('w1', 1), wallet_create('w2', 2);
:run;
SELECT * FROM check_read_model();

-- arguments and rights
SELECT error_of(format('SELECT %s', c)) FROM unnest(ARRAY[
    'dead_letter_replay(NULL)', 'dead_letter_delete(NULL)', 'dead_letter_replay_all(NULL)', 'dead_letter_replay_all('''')',
    'dead_letter_replay(-1)', 'dead_letter_delete(-1)', 'dead_letter_replay_all(''nothing'')',
    'projection_set(''wallet_balance'', ''max_attempts'', ''0'')', 'projection_set(''wallet_balance'', ''max_attempts'', ''1001'')',
    'projection_set(''wallet_balance'', ''retry_delay'', ''-1 s'')', 'projection_set(''wallet_balance'', ''retry_delay'', ''soon'')',
    'projection_set(''wallet_balance'', ''retry_max_delay'', ''2 years'')', 'projection_set(''wallet_balance'', ''retry_multiplier'', ''0.5'')',
    'projection_set(''wallet_balance'', ''retry_multiplier'', ''NaN'')', 'projection_set(''wallet_balance'', ''retry_jitter'', ''1.1'')',
    'projection_set(''wallet_balance'', ''max_parked'', ''-1'')', 'projection_set(''wallet_balance'', ''max_parked'', ''many'')']) c;
SELECT append_event('w1', 'WalletWasDebited', '{"amount": "secret"}');
:run;
SELECT max(id) AS id FROM projection_dead_letters \gset
CREATE ROLE regress_wp_stranger;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_stranger;
SET ROLE regress_wp_stranger;
SELECT parked FROM projection_status;
SELECT count(*) FROM projection_dead_letters;
SELECT count(*) FROM dead_letter_show(:id);
SELECT count(*) FROM dead_letter_list();
SELECT split_part(error_of(format('SELECT %s', c)), E'\n', 1) FROM unnest(ARRAY['dead_letter_replay(' || :id || ')', 'dead_letter_delete(' || :id || ')', 'dead_letter_replay_all(''wallet_balance'')', '* FROM wallet_projection.parked']) c;
RESET ROLE;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT dead_letter_replay(:id);
ROLLBACK;
SELECT dead_letter_delete(:id);
SELECT count(*) FROM wallet_projection.skipped;
SELECT projection_delete('wallet_balance');
SELECT count(*) FROM wallet_projection.skipped;
DROP OWNED BY regress_wp_stranger;
DROP ROLE regress_wp_stranger;
DROP SCHEMA regress_wp CASCADE;
