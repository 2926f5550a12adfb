--
-- Does the wallet keep its rules?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

-- before there is a stream there is no wallet
SELECT error_of($$ SELECT wallet_debit('w1', 1) $$);
SELECT error_of($$ SELECT wallet_credit('w1', 1) $$);
SELECT to_regclass('wallet_stream');

-- a life
SELECT wallet_create('w1', 1000);
SELECT wallet_debit('w1', 100.00);
SELECT wallet_credit('w1', 50.5);
SELECT wallet_debit('w1', 0.0001);
SELECT event_name, aggregate_type, aggregate_version, payload, metadata FROM stream_read('wallet_stream', 'Wallet', 'w1');

-- it is created once, and must be created
SELECT error_of($$ SELECT wallet_create('w1', 5) $$);
SELECT error_of($$ SELECT wallet_debit('W1', 5) $$);
SELECT error_of($$ SELECT wallet_credit('w1 ', 5) $$);
SELECT error_of($$ SELECT wallet_create('w2', -0.0001) $$);
SELECT wallet_create('w2', 0);

-- amounts are positive
SELECT error_of($$ SELECT wallet_debit('w1', 0) $$);
SELECT error_of($$ SELECT wallet_debit('w1', -1) $$);
SELECT error_of($$ SELECT wallet_credit('w1', 0.0000) $$);
SELECT error_of($$ SELECT wallet_credit('w1', -0.0001) $$);
SELECT error_of($$ SELECT wallet_debit('no such wallet', -1) $$);

-- a debit takes what is there, all of it perhaps, and no more
SELECT error_of($$ SELECT wallet_debit('w1', 950.5) $$);
SELECT error_of($$ SELECT wallet_debit('w2', 0.0001) $$);
SELECT wallet_debit('w1', 950.4999);
SELECT error_of($$ SELECT wallet_debit('w1', 0.0001) $$);

-- the expected version
SELECT wallet_credit('w1', 10, 5);
SELECT wallet_debit('w1', 1, expected_version => 6);
SELECT error_of($$ SELECT wallet_debit('w1', 1, 6) $$);
SELECT error_of($$ SELECT wallet_credit('w1', 1, 8) $$);
SELECT error_of($$ SELECT wallet_credit('w1', 1, 0) $$);
SELECT wallet_credit('w1', 1, NULL);
-- funds are looked at after it
SELECT error_of($$ SELECT wallet_debit('w1', 1000, 6) $$);

-- ids of its own
SELECT wallet_create(1.5) AS id1, wallet_create(0) AS id2 \gset
SELECT :'id1' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' AS is_uuid, :'id1' <> :'id2' AS differ;
SELECT wallet_debit(:'id1', 1.5);

-- ids that are hard to quote
CREATE TABLE hard AS SELECT * FROM (VALUES ('''; DROP TABLE wallet_stream; --'), ('"w"'), ('\'), (' '), (E'a\nb\tc'), ('%'), ('{"a": 1}'), (repeat('x', 255))) v (id);
SELECT wallet_create(id, 1) = id, wallet_credit(id, 1) FROM hard;
SELECT count(*), bool_and(r.payload ->> 'walletId' = id AND r.metadata -> '_balance' ->> 0 = '2.0000')
  FROM hard, LATERAL stream_read('wallet_stream', 'Wallet', id, 2) r;

-- how large and how fine an amount may be
SELECT wallet_create('rich', 999999999999999.9999);
SELECT error_of($$ SELECT wallet_create('richer', 1000000000000000) $$);
SELECT error_of($$ SELECT wallet_credit('rich', 0.0001) $$);
SELECT error_of($$ SELECT wallet_credit('w1', 0.00001) $$);
SELECT error_of($$ SELECT wallet_debit('w1', 1e15) $$);
SELECT error_of($$ SELECT wallet_debit('w1', 'NaN') $$);
SELECT error_of($$ SELECT wallet_credit('w1', 'Infinity') $$);
SELECT error_of($$ SELECT wallet_create('w3', '-Infinity') $$);
SELECT wallet_debit('rich', 999999999999999.9999);
SELECT wallet_credit('rich', 1.50000000);
SELECT payload, metadata FROM stream_read('wallet_stream', 'Wallet', 'rich');

-- events that others append count as well, whatever form their amounts have
SELECT wallet_create('w4', 10);
SELECT append_event('w4', 'WalletWasCredited', '{"amount": "2.50"}');
SELECT append_event('w4', 'WalletWasRenamed', '{"amount": 100}');
SELECT append_event('w4', 'WalletWasDebited', '{"amount": 1e0}');
SELECT error_of($$ SELECT wallet_debit('w4', 12) $$);
SELECT wallet_debit('w4', 11.5);
SELECT metadata FROM stream_read('wallet_stream', 'Wallet', 'w4', 5);
SELECT append_event('w5', 'WalletWasCreated', '{"initialBalance": 3}');
SELECT error_of($$ SELECT wallet_create('w5', 1) $$);
SELECT error_of($$ SELECT wallet_debit('w5', 4) $$);
SELECT wallet_debit('w5', 3);
-- metadata that is not a snapshot is not taken for one
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
VALUES (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'w5', 3, '{"amount": 7}', '{"_balance": "lots"}');
SELECT error_of($$ SELECT wallet_debit('w5', 8) $$);
-- an amount that cannot be read stops the wallet until it is mended
SELECT append_event('w5', 'WalletWasCredited', '{"amount": "many"}') \g /dev/null
SELECT regexp_replace(error_of($$ SELECT wallet_debit('w5', 1) $$), 'event \d+', 'event N');
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE aggregate_id = 'w5' AND payload ->> 'amount' = 'many';
SELECT wallet_debit('w5', 8);
-- metadata that is large, stored out of line
SELECT stream_append('wallet_stream', 'Wallet', 'w5', jsonb_build_array(jsonb_build_object('event_name', 'WalletWasCredited', 'payload', '{"amount": 6}'::jsonb,
                     'metadata', jsonb_build_object('trace', (SELECT string_agg(md5(i::text), ' ') FROM generate_series(1, 200) i)))));
SELECT wallet_debit('w5', 6);
-- events before a creation are no creation
SELECT append_event('w6', 'WalletWasRenamed', '{}');
SELECT error_of($$ SELECT wallet_debit('w6', 1) $$);
SELECT wallet_create('w6', 1);
SELECT wallet_debit('w6', 1);

-- what was taken back never was
BEGIN;
SELECT wallet_create('w7', 10);
SAVEPOINT s;
SELECT wallet_debit('w7', 10);
SELECT error_of($$ SELECT wallet_debit('w7', 1) $$);
ROLLBACK TO s;
SELECT wallet_debit('w7', 6);
COMMIT;
SELECT wallet_debit('w7', 4);
BEGIN;
SELECT wallet_create('w8', 10);
ROLLBACK;
SELECT error_of($$ SELECT wallet_debit('w8', 1) $$);
SELECT wallet_create('w8', 1);

-- a thousand commands: a debit is refused where it would overdraw, and each
-- snapshot is the sum of the events so far
SELECT wallet_create('busy', 100);
SELECT count(*) FILTER (WHERE result = 'no error') > 300 AS many_done,
       count(*) FILTER (WHERE result LIKE 'WP001: Insufficient funds%') > 100 AS many_refused,
       count(*) FILTER (WHERE result <> 'no error' AND result NOT LIKE 'WP001: Insufficient funds%') AS others
  FROM (SELECT error_of(CASE WHEN h % 2 = 0 THEN format('SELECT wallet_debit(%L, %s)', 'busy', (1 + h / 4 % 1000000) / 2000.0)
                             ELSE format('SELECT wallet_credit(%L, %s)', 'busy', (1 + h / 4 % 1000000) / 10000.0) END) AS result
          FROM (SELECT abs(hashint4(i)::bigint) AS h FROM generate_series(1, 1000) i) r) c;
SELECT count(*) > 300 AS many, bool_and(snapshot = balance) AS right, min(balance) >= 0 AS never_negative
  FROM (SELECT (metadata -> '_balance' ->> 0)::numeric AS snapshot,
               sum(CASE event_name WHEN 'WalletWasCreated' THEN (payload ->> 'initialBalance')::numeric
                                   WHEN 'WalletWasCredited' THEN (payload ->> 'amount')::numeric
                                   ELSE -(payload ->> 'amount')::numeric END) OVER (ORDER BY aggregate_version) AS balance
          FROM stream_read('wallet_stream', 'Wallet', 'busy')) w;

DROP SCHEMA regress_wp CASCADE;
