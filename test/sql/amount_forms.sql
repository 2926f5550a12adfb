--
-- Which forms of an amount are taken, as JSON numbers and as strings, and what
-- holds their sums?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SELECT projection_set('wallet_balance', 'max_parked', '1000'), projection_set('wallet_balance', 'max_attempts', '1');
SELECT projection_init('wallet_balance');

-- what a credit of this payload does: the balance after it, or why not
CREATE FUNCTION credited(payload text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM append_event('form', 'WalletWasCreated', '{"initialBalance": 0}'), append_event('form', 'WalletWasCredited', payload::jsonb);
    PERFORM projection_run('wallet_balance');
    result := coalesce((SELECT message FROM projection_dead_letters), (SELECT current_balance::text FROM wallet_balances));
    RAISE SQLSTATE 'ZZZZZ';
EXCEPTION
    WHEN SQLSTATE 'ZZZZZ' THEN RETURN result;
    WHEN OTHERS THEN RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
-- the same as a number and as a string
SELECT form, credited(format('{"amount": %s}', form)) AS number, credited(format('{"amount": "%s"}', form)) AS string
  FROM unnest(ARRAY['1.00000', '1e-5', '1e400', '-0', '-0.00', '1E+2', '1.5E-3', '0E-10', '1e-4', '10e-5', '12.50e1', '0.00001e1', '0.00001e0', '1e14', '1e15', '0.1e16', '1E+15',
                    '999999999999999.9999', '9999999999999999999e-4', '99999999999999999999e-4', '99999999999999999990e-5', '-1.5e2', '-1E-4', '0e99999', '0e-99999',
                    '100000000000000000000e-6', '0.000000000000000000001e21', '0.00000000000000000000123e21', '1e0', '1e00', '1e+0', '1e-0', '000000', '1e010']) form;
-- strings that JSON numbers have no counterpart of
SELECT form, credited(jsonb_build_object('amount', form)::text)
  FROM unnest(ARRAY['007.5', '+5', '+5e1', '5.', '.5', ' 5', '5 ', '1,50', '1.5,0', '٣', '1٣', '５', '1e', '1e+', '1e-', 'e5', '1e5e5', '1.e5', '1.5.5', '1e1.5', '1e 5', '1 e5', '--5', '1e--5', '1e+-5', '', '-', '+', '.', 'E', '0x1F',
                    '1_000', '1e5x', 'NaN', 'Infinity', '-inf', '1e1000000000', '1e99999999999999999999999999', '1e-99999999999999999999999999', '0e99999999999999999999999999', '-0e-99999999999999999999999999']) form;
-- no numbers
SELECT form, credited(format('{"amount": %s}', form)) FROM unnest(ARRAY['true', 'false', 'null', '[5]', '{}', '{"amount": 5}', '[]', '"true"', '"null"', '"[5]"', '007.5', '+5', '5.', '.5', '1,50', 'NaN']) form;
-- a key that stands twice: the last one counts, as in any jsonb
SELECT credited('{"amount": 1, "amount": 2}'), credited('{"amount": "x", "amount": 2}'), credited('{"amount": 2, "amount": "x"}'), credited('{"Amount": 1}'), credited('{"amount ": 1}');
-- a million digits, in no time
SET statement_timeout = '20s';
SELECT name, left(credited(jsonb_build_object('amount', form)::text), 100)
  FROM (VALUES ('ones', repeat('1', 1000000)), ('zeros', repeat('0', 1000000) || '7'), ('places', '7.' || repeat('0', 1000000)), ('fine', '0.' || repeat('0', 1000000) || '1'),
               ('made up for', '0.' || repeat('0', 999999) || '1e1000000'), ('the other way', '1' || repeat('0', 1000000) || 'e-1000000'), ('exponent', '1e' || repeat('0', 1000000) || '2'), ('too large an exponent', '1e' || repeat('9', 1000000))) v (name, form);
SELECT left(credited('{"amount": ' || repeat('1', 100000) || '}'), 100), left(credited('{"amount": 1' || repeat('0', 100000) || 'e-100000}'), 100), left(credited('{"amount": ' || repeat('1', 1000000) || '}'), 100);
RESET statement_timeout;
-- commands take the same numbers
SELECT wallet_create('w', '1E+2'), wallet_credit('w', 1.5e2), wallet_debit('w', '0.0150e2'), wallet_credit('w', 1.00000);
SELECT error_of($$ SELECT wallet_credit('w', 1e-5) $$);
SELECT error_of($$ SELECT wallet_credit('w', 1e400) $$);
SELECT error_of($$ SELECT wallet_credit('w', '1,5') $$);
-- an event that others have appended with an exponent in a string counts for commands as well
SELECT append_event('w', 'WalletWasCredited', '{"amount": "1E+3"}');
SELECT error_of($$ SELECT wallet_debit('w', 10000) $$);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

--
-- Sums: the column's type is the limit, and nothing else.
--
SELECT wallet_create('rich', 0);
CREATE FUNCTION to_and_fro(n int) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(wallet_credit('rich', 999999999999999.9999) + wallet_debit('rich', 999999999999999.9999)) FROM generate_series(1, n)
$$;
SELECT to_and_fro(1);
SELECT projection_run('wallet_balance');
-- totals go beyond 15 digits, although the balance never does
SELECT to_and_fro(1);
SELECT projection_run('wallet_balance');
SELECT partition_key, state, message FROM projection_dead_letters;
ALTER TABLE wallet_balances ALTER total_credits TYPE numeric;
SET client_min_messages = error;
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SET client_min_messages = warning;
SELECT partition_key, message FROM projection_dead_letters;
ALTER TABLE wallet_balances ALTER total_debits TYPE numeric(24,4);
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SELECT wallet_id, current_balance, total_debits, total_credits FROM wallet_balances WHERE wallet_id = 'rich';
-- on and on, in one batch and in many
SELECT to_and_fro(500);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
SELECT projection_reset('wallet_balance');
SELECT projection_set('wallet_balance', 'batch_size', '7');
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT * FROM check_read_model();
SELECT wallet_get_statistics('rich');
SELECT projection_set('wallet_balance', 'batch_size', '10000');
-- beyond what 64 and 128 bits hold, by what somebody has put there
CREATE TABLE model AS TABLE wallet_balances;
UPDATE wallet_balances SET total_credits = 1e37 + 0.5 WHERE wallet_id = 'rich';
SELECT to_and_fro(1);
SELECT projection_run('wallet_balance');
SELECT total_credits - (SELECT total_credits FROM model WHERE wallet_id = 'rich') FROM wallet_balances WHERE wallet_id = 'w';
SELECT total_credits = 1e37 + 0.5 + 999999999999999.9999 FROM wallet_balances WHERE wallet_id = 'rich';
UPDATE wallet_balances SET total_credits = -1e40 + 0.123456789 WHERE wallet_id = 'rich';
SELECT to_and_fro(1);
SELECT projection_run('wallet_balance');
SELECT total_credits FROM wallet_balances WHERE wallet_id = 'rich';
UPDATE wallet_balances SET total_credits = 'NaN' WHERE wallet_id = 'rich';
SELECT to_and_fro(1);
SELECT projection_run('wallet_balance');
SELECT message FROM projection_dead_letters;
UPDATE wallet_balances SET total_credits = 0 WHERE wallet_id = 'rich';
SELECT dead_letter_replay(id) FROM projection_dead_letters;
-- a column of the user's own precision is a limit as well
ALTER TABLE wallet_balances ALTER total_debits TYPE numeric(20,4) USING 0;
SELECT to_and_fro(20);
SELECT projection_run('wallet_balance');
SELECT s.sqlstate, s.message, s.detail FROM projection_dead_letters l, LATERAL dead_letter_show(l.id) s;
-- the count of transactions at the end of bigint
ALTER TABLE wallet_balances ALTER total_debits TYPE numeric, ALTER transaction_count TYPE bigint;
SELECT dead_letter_replay(id) FROM projection_dead_letters;
UPDATE wallet_balances SET transaction_count = 9223372036854775806 WHERE wallet_id = 'rich';
SELECT wallet_credit('rich', 1), wallet_credit('rich', 1);
SELECT projection_run('wallet_balance');
SELECT message FROM projection_dead_letters;
SELECT transaction_count FROM wallet_balances WHERE wallet_id = 'rich';

DROP SCHEMA regress_wp CASCADE;
