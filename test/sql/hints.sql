--
-- A hint that has a statement in it: the statement is what helps.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set run 'CALL projection_consume(''async_projection'', finish_when_no_messages => true)'
DO $$ BEGIN
    PERFORM projection_set('wallet_balance', 'max_parked', '100'), projection_set('wallet_balance', 'max_attempts', '1');
    PERFORM projection_init('wallet_balance');
    PERFORM wallet_create('rich', 0), wallet_create('busy', 10);
END $$;
-- The first statement in the hint of the key's dead letter.
CREATE FUNCTION statement_of(key text) RETURNS text LANGUAGE sql AS $$
    SELECT substring(hint FROM '(?:ALTER TABLE|DELETE FROM)[^;]*;')
      FROM projection_dead_letters l, dead_letter_show(l.id) WHERE l.partition_key = key
$$;

-- a column that is too narrow, each of the kinds
:run;
ALTER TABLE wallet_balances ALTER wallet_id TYPE varchar(5) COLLATE "C", ALTER total_debits TYPE numeric(19, 1);
UPDATE wallet_balances SET transaction_count = 2147483647 WHERE wallet_id = 'busy';
SELECT append_event('rich', 'WalletWasCredited', '{"amount": 999999999999999}'), append_event('rich', 'WalletWasDebited', '{"amount": 999999999999999}'),
       append_event('rich', 'WalletWasCredited', '{"amount": 1}') \g /dev/null
SELECT wallet_create('long name', 1), wallet_create('cents', 1), wallet_debit('cents', 0.25), wallet_credit('busy', 1) \g /dev/null
:run;
SELECT partition_key, message, statement_of(partition_key) FROM projection_dead_letters ORDER BY 1;
SELECT statement_of(partition_key) FROM projection_dead_letters ORDER BY partition_key \gexec
SELECT dead_letter_replay_all('wallet_balance');
UPDATE wallet_balances SET transaction_count = 1 WHERE wallet_id = 'busy';
SELECT * FROM check_read_model();

-- created anew, where only the events were deleted
DELETE FROM wallet_stream WHERE aggregate_id = 'cents';
SELECT wallet_create('cents', 7);
:run;
SELECT l.message, hint FROM projection_dead_letters l, dead_letter_show(l.id);
SELECT statement_of('cents') \gexec
SELECT dead_letter_replay_all('wallet_balance');
SELECT * FROM check_read_model();

-- created twice in one batch: its row is there once that is applied
SELECT append_event('twice', 'WalletWasCreated', '{"initialBalance": 1}'), append_event('twice', 'WalletWasCreated', '{"initialBalance": 1}') \g /dev/null
:run;
SELECT l.message, hint FROM projection_dead_letters l, dead_letter_show(l.id);
SELECT dead_letter_delete(id) FROM projection_dead_letters;

-- an event that a command cannot read: an amount, and the initial balance
SELECT append_event('sold', 'WalletWasCreated', '{}'), append_event('sold', 'WalletWasCredited', '{"amount": "many"}') \g /dev/null
CREATE FUNCTION correction() RETURNS text LANGUAGE sql AS $$ SELECT substring(error_of('SELECT wallet_debit(''sold'', 1)') FROM 'UPDATE[^;]*;') $$;
SELECT error_of($$ SELECT wallet_debit('sold', 1) $$);
SELECT correction() \gexec
SELECT error_of($$ SELECT wallet_debit('sold', 1) $$);
SELECT correction() \gexec
SELECT wallet_debit('sold', 1);
:run;
SELECT current_balance FROM wallet_balances WHERE wallet_id = 'sold';

-- skipping one: which was, which fails now, and what is between them
SELECT append_event('sold', 'WalletWasCredited', '{"amount": "a"}'), append_event('sold', 'WalletWasCredited', '{"amount": 1}'),
       append_event('sold', 'WalletWasCredited', '{"amount": 2}'), append_event('sold', 'WalletWasCredited', '{"amount": "b"}') \g /dev/null
:run;
SELECT dead_letter_delete(id) FROM projection_dead_letters;

DROP SCHEMA regress_wp CASCADE;
