--
-- Are amounts exact?  They are taken apart by their format on disk, and held
-- here against numeric's own arithmetic.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT projection_init('wallet_balance');

--
-- Arguments.  What is an amount, says numeric: 15 digits before the point and
-- 4 after it.
--
CREATE FUNCTION expected_outcome(x numeric) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN x IN ('NaN', 'Infinity', '-Infinity') THEN '22023'
                WHEN abs(x) >= 1e15 OR x <> trunc(x, 4) THEN '22003'
                WHEN x < 0 THEN 'WP002'
                ELSE 'no error' END
$$;
CREATE FUNCTION create_outcome(id text, x numeric) RETURNS text LANGUAGE sql AS $$
    SELECT split_part(error_of(format('SELECT wallet_create(%L, %L)', id, x)), ':', 1)
$$;
CREATE TABLE number (id text PRIMARY KEY, x numeric);
-- the edges of base 10000 digits, of 64 bits, and of what is allowed
INSERT INTO number
SELECT format('edge %s %s %s', sign, name, step), sign * (base + step)
  FROM (VALUES (1), (-1)) s (sign),
       (VALUES ('0', 0), ('1', 1), ('10^4', 1e4), ('10^8', 1e8), ('10^12', 1e12), ('10^14', 1e14), ('10^15', 1e15), ('10^16', 1e16), ('10^20', 1e20),
               ('2^63', 922337203685477.5807), ('2^64', 1844674407370955.1615), ('2^31', 2147483647), ('10^-4', 0.0001), ('1.5', 1.5)) b (name, base),
       (VALUES (0), (0.0001), (-0.0001), (0.0000000000), (0.00001), (0.9999), (1), (-1), (9999), (0.99990000)) t (step);
INSERT INTO number VALUES ('NaN', 'NaN'), ('Infinity', 'Infinity'), ('-Infinity', '-Infinity'), ('1e300', 1e300), ('1e-300', 1e-300), ('1e100000', '1e100000');
INSERT INTO number SELECT format('scale %s', i), round(1234567.5, i) FROM generate_series(0, 40) i;
INSERT INTO number SELECT format('zeros %s', i), ('1' || repeat('0', i) || '.' || repeat('0', j))::numeric FROM generate_series(0, 16) i, LATERAL (SELECT i % 7) z (j);
-- of every length and scale
INSERT INTO number
SELECT format('number %s', i), (('x' || left(md5(i::text), 15))::bit(60)::bigint * 1000000000::numeric + i) % 10::numeric ^ (1 + i % 17) / 10::numeric ^ (i / 17 % 6)
  FROM generate_series(1, 1500) i;
SELECT expected_outcome(x), count(*) > 20 AS many, count(*) FILTER (WHERE create_outcome(id, x) <> expected_outcome(x)) AS differ
  FROM number GROUP BY 1 ORDER BY expected_outcome(x) COLLATE "C";
-- what was accepted stands in the event, in the snapshot and in the read model
SELECT projection_run('wallet_balance') = (SELECT count(*) FROM number WHERE expected_outcome(x) = 'no error');
SELECT count(*) FROM number n LEFT JOIN wallet_stream s ON s.aggregate_id = n.id LEFT JOIN wallet_balances b ON b.wallet_id = n.id
 WHERE CASE WHEN expected_outcome(x) <> 'no error' THEN s.no IS NOT NULL OR b.wallet_id IS NOT NULL
            ELSE ((s.payload ->> 'initialBalance')::numeric = x AND (s.metadata -> '_balance' ->> 0)::numeric = x
                  AND b.current_balance = x AND wallet_get_balance(n.id) = x
                  AND (wallet_get_statistics(n.id) ->> 'balance')::numeric = x) IS NOT TRUE END;
SELECT bool_and(scale(current_balance) = 4) FROM wallet_balances;
-- statistics have no trailing zeros
SELECT wallet_get_statistics(id) FROM (VALUES ('edge 1 1.5 0'), ('edge 1 10^14 0'), ('scale 40'), ('edge 1 10^-4 0'), ('edge 1 10^15 -0.0001')) v (id);
SELECT * FROM check_read_model();

--
-- Amounts in events that others have appended: what a credit of each does.
--
CREATE FUNCTION projected(event_name text, payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF event_name <> 'WalletWasCreated' THEN
        PERFORM append_event('form', 'WalletWasCreated', '{"initialBalance": 0}');
    END IF;
    PERFORM append_event('form', event_name, payload);
    PERFORM projection_run('wallet_balance');
    RAISE SQLSTATE 'ZZZZZ' USING MESSAGE = (SELECT coalesce(nullif(current_balance, 0)::text, 'zero') FROM wallet_balances WHERE wallet_id = 'form');
EXCEPTION
    WHEN SQLSTATE 'ZZZZZ' THEN RETURN SQLERRM;
    WHEN OTHERS THEN RETURN SQLSTATE || regexp_replace(SQLERRM, '.* to Wallet "form":', '');
END $$;
CREATE TABLE form (id int GENERATED ALWAYS AS IDENTITY, form jsonb);
INSERT INTO form (form) VALUES
    ('1'), ('0'), ('-0'), ('0.0000000000'), ('-5'), ('1.5'), ('1.50000000'), ('-0.0001'), ('1.0001'), ('1.00010'), ('1.00001'), ('0.00001'),
    ('1e3'), ('1E-4'), ('1e-5'), ('1.5e2'), ('-2.5e-3'), ('0e1000'), ('1e14'), ('1e15'), ('1e16'), ('1e300'), ('1e-300'), ('1e100000'), ('-1e15'),
    ('999999999999999.9999'), ('999999999999999.99990000'), ('999999999999999.99999'), ('-999999999999999.9999'), ('1000000000000000'),
    ('922337203685477.5807'), ('922337203685477.5808'), ('-922337203685477.5808'), ('12345678901234567890'), ('100000000'), ('10000.0001');
INSERT INTO form (form) VALUES
    ('"1"'), ('"0"'), ('"-0"'), ('"12.50"'), ('"0012.5"'), ('"+7"'), ('"-7"'), ('"0.00010000"'), ('"0.00001"'), ('"000000000000000000000001"'),
    ('"999999999999999.9999"'), ('"-999999999999999.9999"'), ('"999999999999999.99995"'), ('"1000000000000000"'), ('"999999999999999999999999999999999999999999999999"'),
    ('"1e3"'), ('"1E3"'), ('"1."'), ('".5"'), ('"."'), ('"-"'), ('""'), ('" 1"'), ('"1 "'), ('"1,5"'), ('"1.5.0"'), ('"1 000"'), ('"1_000"'), ('"--5"'), ('"+-5"'), ('"0x10"'),
    ('"5-"'), ('"\n1"'), ('"NaN"'), ('"nan"'), ('"Infinity"'), ('"-inf"'), ('"one"'), ('"true"'), ('"null"'), ('"$5"');
INSERT INTO form (form) SELECT to_jsonb(v) FROM (VALUES ('1.' || repeat('0', 1000)), (repeat('0', 1000) || '1.5'), (repeat('9', 1000)), ('1.' || repeat('0', 1000) || '1'), (repeat('x', 1000))) t (v);
INSERT INTO form (form) VALUES ('null'), ('true'), ('false'), ('[]'), ('[1]'), ('{}'), ('{"amount": 1}');
SELECT left(form::text, 30) AS form, projected('WalletWasCredited', jsonb_build_object('amount', form)) FROM form ORDER BY id;
-- what the oracle says of them: a number is taken exactly, or not at all
SELECT count(*) AS taken, count(*) FILTER (WHERE projected::numeric = (form #>> '{}')::numeric AND scale(projected::numeric) = 4) AS exactly
  FROM (SELECT form, nullif(projected('WalletWasCredited', jsonb_build_object('amount', form)), 'zero') AS projected FROM form) f
 WHERE projected ~ '^-?[0-9.]+$';
-- the same goes for debits and creations
SELECT count(*) FROM form
 WHERE projected('WalletWasCreated', jsonb_build_object('initialBalance', form))
       IS DISTINCT FROM replace(projected('WalletWasCredited', jsonb_build_object('amount', form)), '"amount"', '"initialBalance"');
SELECT count(*) FROM (SELECT projected('WalletWasDebited', jsonb_build_object('amount', form)) AS debited,
                             projected('WalletWasCredited', jsonb_build_object('amount', form)) AS credited FROM form) f
 WHERE CASE WHEN debited ~ '^-?[0-9.]+$' THEN debited::numeric <> -credited::numeric ELSE debited <> credited END;

-- no amount, or no place for one
SELECT projected('WalletWasCredited', '{}');
SELECT projected('WalletWasCredited', '{"Amount": 1, "amounts": 2, "initialBalance": 3, "amoun": 4, "a": {"amount": 5}}');
SELECT projected('WalletWasCreated', '{"amount": 1}');
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCreated', 'Wallet', format('odd %s', i), 1, payload
  FROM unnest('{5,"\"amount\"","[\"initialBalance\", 1]",true,"[]"}'::jsonb[]) WITH ORDINALITY p (payload, i);
CREATE TABLE odd AS SELECT no, aggregate_id, payload FROM wallet_stream WHERE aggregate_id LIKE 'odd %';
CREATE PROCEDURE delete_one_by_one() LANGUAGE plpgsql AS $$
DECLARE
    o odd;
BEGIN
    FOR o IN SELECT * FROM odd ORDER BY no LOOP
        RAISE WARNING '%: %', o.payload, replace(split_part(error_of($q$ SELECT projection_run('wallet_balance') $q$), E'\n', 1), 'event ' || o.no, 'event N');
        DELETE FROM wallet_stream WHERE no = o.no;
    END LOOP;
END $$;
CALL delete_one_by_one();
SELECT projection_run('wallet_balance');

-- payloads short and long, compressed and out of line
SELECT wallet_create('sizes', 0);
SELECT count(append_event('sizes', 'WalletWasCredited', jsonb_build_object('amount', i + 0.0001, 'a', repeat('a', i), 'pad', repeat('-', i)))) FROM generate_series(0, 200) i;
SELECT count(append_event('sizes', 'WalletWasDebited', jsonb_build_object('amount', i::text, 'pad', repeat('-', i)))) FROM generate_series(100, 50000, 4990) i;
SELECT count(append_event('sizes', 'WalletWasCredited', jsonb_build_object('amount', i * 1000, 'pad', (SELECT string_agg(md5(j::text), '') FROM generate_series(1, i) j))))
  FROM generate_series(1, 2501, 250) i;
SELECT count(*) FILTER (WHERE pg_column_size(payload) < 127) > 0 AS short, count(*) FILTER (WHERE pg_column_size(payload) > 127) > 0 AS long,
       count(*) FILTER (WHERE pg_column_size(payload) < length(payload::text) / 2) > 0 AS compressed, max(pg_column_size(payload)) > 50000 AS out_of_line
  FROM wallet_stream WHERE aggregate_id = 'sizes';
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

--
-- Sums: amounts of all sizes, to and fro, against numeric's sum().
--
SELECT count(append_event('sum ' || i % 50,
              CASE WHEN i <= 50 THEN 'WalletWasCreated' WHEN i % 3 = 0 THEN 'WalletWasDebited' ELSE 'WalletWasCredited' END,
              jsonb_build_object(CASE WHEN i <= 50 THEN 'initialBalance' ELSE 'amount' END,
                                 CASE WHEN i % 5 = 0 THEN to_jsonb(round(x, 4)::text) ELSE to_jsonb(round(x, i % 5)) END)))
  FROM (SELECT i, (CASE WHEN i % 11 = 0 THEN -1 ELSE 1 END)
                  * (('x' || left(md5(i::text), 15))::bit(60)::bigint % 10::numeric ^ (1 + i % 17)) / 1000 AS x
          FROM generate_series(1, 5000) i) r;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
-- the same in steps of 7
SELECT projection_reset('wallet_balance');
SELECT projection_set('wallet_balance', 'batch_size', '7');
SELECT projection_run('wallet_balance') = (SELECT count(*) FROM wallet_stream WHERE aggregate_type = 'Wallet');
SELECT * FROM check_read_model();

-- a sum of 15 digits fits, one more does not; it stays as it was
SELECT wallet_create('full', 0);
SELECT append_event('full', 'WalletWasCredited', '{"amount": 999999999999999}'), append_event('full', 'WalletWasDebited', '{"amount": 999999999999999}'),
       append_event('full', 'WalletWasCredited', '{"amount": 0.9999}');
SELECT projection_run('wallet_balance');
SELECT wallet_id, current_balance, total_debits, total_credits, transaction_count FROM wallet_balances WHERE wallet_id = 'full';
SELECT append_event('full', 'WalletWasCredited', '{"amount": 0.0001}') \gset
SELECT regexp_replace(error_of($$ SELECT projection_run('wallet_balance') $$), 'event \d+', 'event N');
DELETE FROM wallet_stream WHERE aggregate_id = 'full' AND aggregate_version = :append_event;
SELECT append_event('full', 'WalletWasDebited', '{"amount": 1}') \gset
SELECT regexp_replace(error_of($$ SELECT projection_run('wallet_balance') $$), 'event \d+', 'event N');
DELETE FROM wallet_stream WHERE aggregate_id = 'full' AND aggregate_version = :append_event;
SELECT append_event('full', 'WalletWasCredited', '{"amount": -999999999999999}'), append_event('full', 'WalletWasDebited', '{"amount": 1}') \gset
SELECT regexp_replace(error_of($$ SELECT projection_run('wallet_balance') $$), 'events \d+ to \d+', 'events M to N');
DELETE FROM wallet_stream WHERE aggregate_id = 'full' AND aggregate_version > 4;
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();

DROP SCHEMA regress_wp CASCADE;
