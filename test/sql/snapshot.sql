--
-- Is a snapshot believed only in the event that it belongs to?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT wallet_create('alice', 1000), wallet_create('carl', 10), wallet_create('bob', 500), wallet_debit('alice', 100), wallet_create('zero', 0);
SELECT metadata FROM stream_read('wallet_stream', 'Wallet', 'alice');

-- stream_append takes no metadata of this kind, whatever it holds
SELECT error_of($$ SELECT stream_append('wallet_stream', 'Wallet', 'carl', jsonb_build_array(jsonb_build_object('event_name', 'WalletWasRenamed', 'payload', '{}'::jsonb, 'metadata', metadata)))
                     FROM stream_read('wallet_stream', 'Wallet', 'alice', 2) $$);
SELECT error_of(format($$ SELECT stream_append('wallet_stream', 'Order', 'o', '[{"event_name": "e", "payload": {}}, {"event_name": "e", "payload": {}, "metadata": %s}]') $$, metadata))
  FROM (VALUES ('{"_balance": null}'), ('{"a": 1, "_balance": 900}'), ('{"_balance": {}, "_balanc": 1}'), ('{"_balances": 1, "Balance": {"_balance": 1}}'), ('{}'), ('null')) v (metadata);

-- a copy of an event, by plain SQL, brings no balance along
CREATE FUNCTION copy_of(from_id text, from_version bigint, to_id text, to_version bigint, name text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
    SELECT gen_random_uuid(), coalesce(name, event_name), 'Wallet', to_id, to_version, payload, metadata
      FROM stream_read('wallet_stream', 'Wallet', from_id, from_version, 1)
$$;
-- to another wallet
SELECT copy_of('alice', 2, 'carl', 2, 'WalletWasRenamed');
SELECT error_of($$ SELECT wallet_debit('carl', 900) $$);
SELECT error_of($$ SELECT wallet_debit('carl', 10.0001) $$);
SELECT wallet_debit('carl', 10);
-- to another version of the same wallet: a credit of 900 was never there
SELECT wallet_debit('alice', 900);
SELECT copy_of('alice', 2, 'alice', 4, 'WalletWasRenamed');
SELECT error_of($$ SELECT wallet_debit('alice', 0.0001) $$);
SELECT copy_of('alice', 1, 'alice', 5, 'WalletWasRenamed');
SELECT error_of($$ SELECT wallet_debit('alice', 0.0001) $$);
SELECT wallet_credit('alice', 1), wallet_debit('alice', 1);
-- to a wallet that is none yet
SELECT copy_of('bob', 1, 'dora', 1, 'WalletWasRenamed');
SELECT error_of($$ SELECT wallet_debit('dora', 1) $$);
SELECT wallet_create('dora', 2);
SELECT error_of($$ SELECT wallet_debit('dora', 2.0001) $$);
-- from an aggregate of another type that has the same id and version
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
SELECT gen_random_uuid(), 'e', 'Order', 'bob', 1, '{}', metadata FROM stream_read('wallet_stream', 'Wallet', 'alice', 1, 1);
SELECT error_of($$ SELECT wallet_debit('bob', 500.0001) $$);
-- a version that is corrected takes its snapshot's word away, not the balance
SELECT wallet_debit('bob', 100);
UPDATE wallet_stream SET aggregate_version = 7 WHERE aggregate_id = 'bob' AND aggregate_version = 2;
SELECT error_of($$ SELECT wallet_debit('bob', 400.0001) $$);
SELECT wallet_debit('bob', 400);

-- a creation that is copied, or comes late, brings nothing either
SELECT wallet_create('emil', 1000), wallet_debit('emil', 990);
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
SELECT gen_random_uuid(), event_name, 'Wallet', 'emil', 3, payload, metadata FROM stream_read('wallet_stream', 'Wallet', 'emil', 1, 1);
SELECT error_of($$ SELECT wallet_debit('emil', 10.0001) $$);
SELECT append_event('emil', 'WalletWasCreated', '{"initialBalance": 1000000}');
SELECT error_of($$ SELECT wallet_debit('emil', 10.0001) $$);
SELECT wallet_debit('emil', 10);
-- where nothing else has made the wallet, it is the creation, whatever its version
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'fritz', 5, '{"initialBalance": 100}'),
       (gen_random_uuid(), 'WalletWasDebited', 'Wallet', 'fritz', 4, '{"amount": 70}');
SELECT error_of($$ SELECT wallet_debit('fritz', 30.0001) $$), error_of($$ SELECT wallet_create('fritz', 1) $$);
SELECT wallet_debit('fritz', 30);

-- what looks like a snapshot and is none
CREATE FUNCTION debit_after(snapshot text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
    VALUES (gen_random_uuid(), 'WalletWasRenamed', 'Wallet', 'zero', 2, '{}', snapshot::jsonb);
    result := split_part(error_of('SELECT wallet_debit(''zero'', 5)'), E'\n', 1);
    RAISE SQLSTATE 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
    RETURN result;
END $$;
-- {MARK} is the mark of this wallet and version
CREATE FUNCTION marked(snapshot text) RETURNS text LANGUAGE sql AS $$
    SELECT replace(snapshot, 'MARK', abs(hashtextextended('zero' COLLATE "C", 2) % 1000000000000)::text)
$$;
SELECT snapshot, debit_after(marked(snapshot)) FROM (VALUES
    ('{"_balance": [5, MARK]}'), ('{"_balance": [5.00, MARK.0], "a": 1}'),
    ('{"_balance": 5}'), ('{"_balance": [5]}'), ('{"_balance": []}'), ('{"_balance": {}}'), ('{"_balance": null}'), ('[{"_balance": [5, MARK]}]'), ('5'),
    ('{"_balance": [MARK, 5]}'), ('{"_balance": [5, MARK, 1]}'), ('{"_balance": {"5": MARK}}'), ('{"_balance": [[5, MARK]]}'), ('{"_balance": ["5", MARK]}'),
    ('{"_balance": [5, "MARK"]}'), ('{"_balance": [5, MARK.4]}'), ('{"_balance": [5, -MARK]}'), ('{"_balance": [5, 0]}'), ('{"_balance": [5, 1e30]}'), ('{"_balance": [5, null]}'),
    ('{"_balance": [null, MARK]}'), ('{"_balance": [5.00001, MARK]}'), ('{"_balance": [1e15, MARK]}')) v (snapshot);

DROP SCHEMA regress_wp CASCADE;
