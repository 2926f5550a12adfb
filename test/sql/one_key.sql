--
-- One key's trouble is its own: whatever is wrong with it, the others go on.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set run 'CALL projection_consume(''async_projection'', finish_when_no_messages => true)'
\set dead 'SELECT partition_key, no, event_name, state, attempts, sqlstate, message, waiting FROM projection_dead_letters ORDER BY id'
DO $$ BEGIN
    PERFORM projection_set('wallet_balance', 'max_parked', '100000'), projection_set('wallet_balance', 'max_attempts', '1');
    PERFORM projection_init('wallet_balance');
    PERFORM wallet_create('good', 1);
END $$;

-- order within a key is by number, whatever the versions are: the creation has the higher version
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'swapped', 9, '{"initialBalance": 100}'),
       (gen_random_uuid(), 'WalletWasDebited', 'Wallet', 'swapped', 5, '{"amount": 10}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'swapped', 7, '{"amount": 1}');
:run;
SELECT * FROM check_read_model();

-- never created, versions against the numbers: parked, and all others go on
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'never', 5, '{"amount": 1}'),
       (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'never', 4, '{"amount": 2}');
SELECT wallet_credit('good', 2);
:run;
:dead;
SELECT state, lag_events, parked, last_error FROM projection_status;
SELECT current_balance FROM wallet_balances WHERE wallet_id = 'good';
-- the second of them is below the first one's version, and is not lost
SELECT dead_letter_delete(id) FROM projection_dead_letters;
:dead;
SELECT dead_letter_delete(id) FROM projection_dead_letters;
:dead;
DELETE FROM wallet_stream WHERE aggregate_id = 'never';
SELECT * FROM check_read_model();

-- a bad creation with 50 credits behind it: the message names it, and one call skips all
SELECT append_event('carol', 'WalletWasCreated', '{"initialBalance": "much"}');
SELECT count(append_event('carol', 'WalletWasCredited', '{"amount": 1}')) FROM generate_series(1, 50);
:run;
:dead;
SELECT dead_letter_delete(id) FROM projection_dead_letters;
:dead;
SELECT detail, regexp_replace(next, '\d+', 'N', 'g') FROM projection_dead_letters d, dead_letter_show(d.id);
SELECT error_of(format('SELECT dead_letter_delete(%s, NULL)', id)) FROM projection_dead_letters;
SELECT error_of('SELECT dead_letter_delete(NULL, true)');
SELECT dead_letter_delete(id, whole => true) FROM projection_dead_letters;
:dead;
SELECT partition_key, no, event_name, last_no - no AS up_to, events FROM wallet_projection.skipped WHERE partition_key = 'carol' ORDER BY no;
:run;
SELECT state, lag_events, parked FROM projection_status;
-- what comes later is not skipped
SELECT append_event('carol', 'WalletWasCredited', '{"amount": 7}');
:run;
:dead;
SELECT detail FROM projection_dead_letters d, dead_letter_show(d.id);
SELECT dead_letter_delete(id, whole => true) FROM projection_dead_letters;
-- reset undoes that; the creation, which was skipped by itself, stays skipped
SELECT projection_reset('wallet_balance', force => true);
:run;
:dead;
SELECT partition_key, no, event_name, last_no, events FROM wallet_projection.skipped WHERE partition_key = 'carol' ORDER BY no;
-- a key that is given up keeps what came before
UPDATE wallet_stream SET payload = '{"initialBalance": 5}' WHERE aggregate_id = 'carol' AND event_name = 'WalletWasCreated';
DELETE FROM wallet_projection.skipped;
SELECT projection_reset('wallet_balance', force => true);
:run;
SELECT append_event('carol', 'WalletWasCredited', '{"amount": "x"}'), append_event('carol', 'WalletWasCredited', '{"amount": 3}');
:run;
SELECT dead_letter_delete(id, whole => true) FROM projection_dead_letters;
SELECT current_balance, total_credits, transaction_count FROM wallet_balances WHERE wallet_id = 'carol';
SELECT append_event('carol', 'WalletWasCredited', '{"amount": 4}');
:run;
SELECT current_balance, total_credits, transaction_count FROM wallet_balances WHERE wallet_id = 'carol';
-- given up, it is not applied by a replay of an event before or behind it
SELECT append_event('carol', 'WalletWasCredited', '{"amount": "y"}');
:run;
UPDATE wallet_stream SET payload = '{"amount": 10}' WHERE payload->>'amount' = 'y';
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SELECT current_balance, total_credits, transaction_count FROM wallet_balances WHERE wallet_id = 'carol';
DELETE FROM wallet_stream WHERE aggregate_id = 'carol';
DELETE FROM wallet_projection.skipped;
SELECT projection_reset('wallet_balance', force => true);
:run;
SELECT * FROM check_read_model();

-- a bad deployment: 1,500 wallets get payloads that nobody understands, healthy ones go on
SELECT count(wallet_create('d' || i, 1)) FROM generate_series(1, 1500) i;
:run;
SELECT count(append_event('d' || i, 'WalletWasCredited', '{"sum": 1}')) FROM generate_series(1, 1500) i;
SELECT wallet_credit('good', 4);
:run;
SELECT state, lag_events, parked, dead_letters FROM projection_status;
SELECT current_balance FROM wallet_balances WHERE wallet_id = 'good';
-- one UPDATE and one call heal all
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE payload ? 'sum';
SELECT dead_letter_replay_all('wallet_balance');
SELECT state, lag_events, parked, dead_letters FROM projection_status;
SELECT * FROM check_read_model();

-- at the limit: whatever comes before the first key too many is applied, and those below it are parked
SELECT projection_set('wallet_balance', 'max_parked', '3');
SELECT wallet_credit('good', 8);
SELECT count(append_event('d' || i, 'WalletWasCredited', '{"sum": 1}')) FROM generate_series(1, 3) i;
SELECT count(wallet_credit('d' || i, 8)) FROM generate_series(4, 60) i;
:run;
SELECT state, lag_events, parked, last_error FROM projection_status;
SELECT count(append_event('d' || i, 'WalletWasCredited', '{"sum": 1}')) FROM generate_series(101, 105) i;
SELECT count(wallet_credit('d' || i, 8)) FROM generate_series(61, 70) i;
:run;
\echo :LAST_ERROR_SQLSTATE
SELECT state, parked, regexp_replace(last_error, '\d+ of stream', 'N of stream') FROM projection_status;
SELECT count(*) FROM wallet_balances WHERE transaction_count = 2;
-- likewise where the read model refuses the rows
SELECT projection_set('wallet_balance', 'max_parked', '6');
:run;
SELECT projection_set('wallet_balance', 'max_parked', '8');
:run;
SELECT state, lag_events, parked FROM projection_status;
ALTER TABLE wallet_balances ADD CHECK (current_balance < 1000);
SELECT projection_set('wallet_balance', 'max_parked', '10');
SELECT wallet_credit('good', 16);
SELECT count(wallet_credit('d' || i, CASE WHEN i % 10 = 0 THEN 1000 ELSE 1 END)) FROM generate_series(201, 240) i;
:run;
\echo :LAST_ERROR_SQLSTATE
SELECT state, parked FROM projection_status;
-- d201 to d229 are applied, but for d210 and d220, which are parked; d230 would be the eleventh
SELECT count(*), count(*) FILTER (WHERE transaction_count = 2) FROM wallet_balances WHERE wallet_id LIKE 'd%' AND substr(wallet_id, 2)::integer BETWEEN 201 AND 229;
SELECT count(*) FROM wallet_balances WHERE wallet_id LIKE 'd%' AND substr(wallet_id, 2)::integer BETWEEN 230 AND 240 AND transaction_count > 1;
-- a raised limit, and what is corrected heals
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE payload ? 'sum' OR payload->>'amount' = '1000';
SELECT projection_set('wallet_balance', 'max_parked', '100000');
:run;
SELECT dead_letter_replay_all('wallet_balance');
SELECT state, lag_events, parked FROM projection_status;
SELECT * FROM check_read_model();

-- a retry that seems to be further away than any delay is due: the clock was set back
SELECT projection_set('wallet_balance', 'max_attempts', '5');
SELECT append_event('good', 'WalletWasCredited', '{"sum": 1}');
:run;
UPDATE wallet_projection.parked SET next_retry_at = clock_timestamp() + '1 day';
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE payload ? 'sum';
:run;
SELECT count(*) FROM projection_dead_letters;
SELECT * FROM check_read_model();
DROP SCHEMA regress_wp CASCADE;
