--
-- projection_verify: it finds what differs and nothing else, whatever the
-- definition is, and leaves no trace.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SET client_min_messages = warning;
\set declared :srcdir '/sql/declared_helpers.psql'
\i :declared
\set ECHO all
\pset null '(null)'

SELECT projection_verify('wallet_balance');
SELECT projection_init('wallet_balance');
SELECT count(*) FROM projection_verify('wallet_balance');
SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 5) i;
SELECT wallet_debit('w1', 10), wallet_debit('w2', 20), wallet_credit('w1', 1);
-- nothing is applied yet, and nothing is expected
SELECT * FROM projection_verify('wallet_balance');
SELECT projection_run('wallet_balance', 6);
SELECT * FROM projection_verify('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT * FROM projection_verify('wallet_balance');

-- tampering of each kind
BEGIN;
UPDATE wallet_balances SET current_balance = 7, transaction_count = 70 WHERE wallet_id = 'w1';
DELETE FROM wallet_balances WHERE wallet_id = 'w2';
INSERT INTO wallet_balances VALUES ('nobody', 1, 2, 3, 4);
SELECT * FROM projection_verify('wallet_balance') ORDER BY 1, 3;
SELECT * FROM projection_verify('wallet_balance', 'w1') ORDER BY 1, 3;
SELECT * FROM projection_verify('wallet_balance', 'w2');
SELECT * FROM projection_verify('wallet_balance', 'nobody');
SELECT * FROM projection_verify('wallet_balance', 'w3');
SELECT * FROM projection_verify('wallet_balance', 'no such key');
TRUNCATE wallet_balances;
SELECT partition_key, problem FROM projection_verify('wallet_balance') ORDER BY 1;
ROLLBACK;
-- a user's column is the user's
ALTER TABLE wallet_balances ADD COLUMN note text DEFAULT 'new';
UPDATE wallet_balances SET note = wallet_id;
SELECT * FROM projection_verify('wallet_balance');
ALTER TABLE wallet_balances DROP COLUMN note;
SELECT * FROM projection_verify('wallet_balance');

-- any transaction will do
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT * FROM projection_verify('wallet_balance');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE wallet_balances SET current_balance = 7 WHERE wallet_id = 'w1';
SELECT * FROM projection_verify('wallet_balance');
ROLLBACK;

-- an event that comes below the head is never applied
SELECT setval(pg_get_serial_sequence('wallet_stream', 'no'), 20);
SELECT wallet_credit('w3', 1);
SELECT projection_run('wallet_balance');
INSERT INTO wallet_stream (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
    OVERRIDING SYSTEM VALUE
    VALUES (15, gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'w5', 2, '{"amount": 3}', '{}');
SELECT * FROM projection_verify('wallet_balance');
SELECT * FROM projection_verify('wallet_balance', 'w5');
-- if the row is not as without it either, it may be anything
UPDATE wallet_balances SET current_balance = 0 WHERE wallet_id = 'w5';
SELECT * FROM projection_verify('wallet_balance') ORDER BY 1, 3;
DELETE FROM wallet_stream WHERE no = 15;
UPDATE wallet_balances SET current_balance = 100 WHERE wallet_id = 'w5';
SELECT * FROM projection_verify('wallet_balance');

-- keys parked, skipped, given up as a whole
SELECT projection_set('wallet_balance', 'max_parked', '100');
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
    SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet', w, v, CASE v WHEN 7 THEN '{}' ELSE '{"amount": 3}' END::jsonb, '{}'
      FROM generate_series(6, 8) v, unnest('{w1,w2,w3}'::text[]) w;
SELECT projection_run('wallet_balance');
SELECT partition_key, waiting FROM projection_dead_letters ORDER BY 1;
SELECT * FROM projection_verify('wallet_balance');
SELECT dead_letter_delete(id) FROM projection_dead_letters WHERE partition_key = 'w1';
SELECT dead_letter_delete(id, whole => true) FROM projection_dead_letters WHERE partition_key = 'w2';
SELECT * FROM projection_verify('wallet_balance');
UPDATE wallet_balances SET current_balance = current_balance + 1 WHERE wallet_id IN ('w1', 'w2', 'w3');
SELECT * FROM projection_verify('wallet_balance') ORDER BY 1;
UPDATE wallet_balances SET current_balance = current_balance - 1 WHERE wallet_id IN ('w1', 'w2', 'w3');

-- an event that cannot be folded, though it was
UPDATE wallet_stream SET payload = '{}' WHERE aggregate_id = 'w4';
SELECT * FROM projection_verify('wallet_balance');

-- many keys in little memory
SELECT count(wallet_create('m' || i, i)) FROM generate_series(1, 20000) i;
SELECT projection_run('wallet_balance');
UPDATE wallet_balances SET total_debits = 1 WHERE wallet_id IN ('m17', 'm18000');
DELETE FROM wallet_balances WHERE wallet_id IN ('m1', 'm20000');
INSERT INTO wallet_balances SELECT 'foreign' || i, 1, 1, 1, 1 FROM generate_series(1, 3) i;
SET wallet_projection.batch_memory = '1MB';
SELECT partition_key, problem, column_name FROM projection_verify('wallet_balance') ORDER BY 1;
RESET wallet_projection.batch_memory;
SELECT partition_key, problem, column_name FROM projection_verify('wallet_balance') ORDER BY 1;

-- nulls
SELECT projection_verify(NULL);
SELECT projection_verify('wallet_balance', force => NULL);
SELECT projection_verify('no such projection');
SELECT projection_verify('wallet_balance', '');
