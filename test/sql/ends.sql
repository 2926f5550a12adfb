--
-- Do numbers and versions end in an error, and nothing twice?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT projection_init('wallet_balance');
SELECT wallet_create('a', 1), wallet_create('b', 1);
SELECT projection_run('wallet_balance');

-- the last numbers of a stream
SELECT seqmax FROM pg_sequence WHERE seqrelid = 'wallet_stream_no_seq'::regclass;
SELECT error_of($$ ALTER TABLE wallet_stream ALTER no RESTART WITH 9223372036854775807 $$);
ALTER TABLE wallet_stream ALTER no RESTART WITH 9223372036854775805;
SELECT wallet_credit('a', 5);
SELECT projection_run('wallet_balance');
SELECT wallet_credit('b', 5);
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');
SELECT error_of($$ SELECT wallet_credit('a', 5) $$);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Order', 'o', '[{"event_name": "e", "payload": {}}]') $$);
SELECT error_of($$ INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
                   VALUES (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'a', 3, '{"amount": 5}') $$);
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');
SELECT state, head, last_position, lag_events, gaps, last_error FROM projection_status;
SELECT projection_wait('wallet_balance', '0');
SELECT * FROM check_read_model();
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');
SELECT * FROM check_read_model();

-- a sequence that goes on to the end of the type, as that of an older table
ALTER SEQUENCE wallet_stream_no_seq NO MAXVALUE;
SELECT error_of($$ SELECT wallet_credit('a', 5) $$);
SELECT error_of($$ SELECT wallet_credit('a', 5) $$);
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');
SELECT state, head, last_position, lag_events, gaps, last_error FROM projection_status;
SELECT * FROM check_read_model();
-- its last number is seen, and not applied, once or twice
SELECT setval('wallet_stream_no_seq', 9223372036854775807, false);
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'a', 3, '{"amount": 5}');
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT state, head, last_position, lag_events, last_error FROM projection_status;
SELECT wallet_id, current_balance FROM wallet_balances ORDER BY 1;
DELETE FROM wallet_stream WHERE no = 9223372036854775807;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
-- with a gap before it, and in a stream that is read by a plan
SELECT setval('wallet_stream_no_seq', 9223372036854775800);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT projection_reset('wallet_balance');
DELETE FROM wallet_stream WHERE no > 9223372036854775800;
CREATE TABLE archive (UNIQUE (aggregate_type, aggregate_id, aggregate_version)) INHERITS (wallet_stream);
BEGIN;
SELECT wallet_credit('a', 1);
ROLLBACK;
SELECT wallet_credit('a', 1), wallet_credit('b', 1);
SELECT projection_run('wallet_balance');
SELECT wallet_credit('a', 1), wallet_credit('b', 1);
SELECT projection_run('wallet_balance');
SELECT wallet_credit('a', 1);
SELECT error_of($$ SELECT wallet_credit('b', 1) $$);
SELECT projection_run('wallet_balance'), projection_run('wallet_balance');
SELECT state, head, last_position, lag_events, gaps, last_error FROM projection_status;
SELECT * FROM check_read_model();
DROP TABLE archive;

-- numbers that positions do not reach at the other end
ALTER SEQUENCE wallet_stream_no_seq MINVALUE -9223372036854775808;
SELECT projection_run('wallet_balance');
SELECT setval('wallet_stream_no_seq', -9223372036854775808, false);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT setval('wallet_stream_no_seq', -5);
SELECT error_of($$ SELECT projection_run('wallet_balance') $$);
SELECT error_of($$ SELECT wallet_credit('a', 1) $$);
SELECT setval('wallet_stream_no_seq', 9223372036854775806);
ALTER SEQUENCE wallet_stream_no_seq MINVALUE 1;
SELECT projection_run('wallet_balance');

-- the last versions of an aggregate
TRUNCATE wallet_stream RESTART IDENTITY;
ALTER TABLE wallet_stream ALTER no RESTART WITH 1;
SELECT projection_reset('wallet_balance');
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'a', 9223372036854775805, '{"initialBalance": 10}');
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Wallet', 'a', '[{"event_name": "e", "payload": {}}, {"event_name": "e", "payload": {}}, {"event_name": "e", "payload": {}}]') $$);
SELECT wallet_credit('a', 1);
SELECT wallet_credit('a', 1, 9223372036854775806);
SELECT error_of($$ SELECT wallet_debit('a', 1) $$);
SELECT error_of($$ SELECT wallet_debit('a', 1, 9223372036854775807) $$);
SELECT error_of($$ SELECT wallet_debit('a', 1, 9223372036854775806) $$);
SELECT error_of($$ SELECT wallet_debit('a', 1, command_id => '00000000-0000-0000-0000-000000000001') $$);
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Wallet', 'a', '[{"event_name": "e", "payload": {}}]', 9223372036854775807) $$);
SELECT aggregate_version, metadata FROM stream_read('wallet_stream', 'Wallet', 'a', 9223372036854775807, 9223372036854775807);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
-- a key that is parked there
SELECT projection_set('wallet_balance', 'max_parked', '10');
UPDATE wallet_stream SET payload = '{"amount": "x"}' WHERE aggregate_version = 9223372036854775807;
SELECT projection_reset('wallet_balance', force => true);
SELECT projection_run('wallet_balance');
SELECT no, event_name, waiting FROM projection_dead_letters;
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE aggregate_version = 9223372036854775807;
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp CASCADE;
