--
-- "ready" with lag 0 means that the read model equals the events.  Is what
-- makes that untrue told by the status, by batches and by projection_wait?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

-- what all of them say; without the numbers of OIDs
CREATE FUNCTION told() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT format('status: %s, lag %s, %s, %s', state, lag_events, read_model, last_error) FROM projection_status;
    RETURN NEXT 'run: ' || error_of($q$ SELECT projection_run('wallet_balance') $q$);
    RETURN NEXT 'wait: ' || error_of($q$ DO $do$ BEGIN IF projection_wait('wallet_balance', '0 s') THEN RAISE 'true' USING ERRCODE = '00TRU'; END IF; END $do$ $q$);
END $$;
SELECT projection_set('wallet_balance', 'partitions', '2'), projection_init('wallet_balance');

--
-- Events above the last number of the sequence
--
CREATE FUNCTION put_event(no bigint, wallet_id text, version bigint, name text, payload jsonb, stream regclass DEFAULT 'wallet_stream') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %s (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload) OVERRIDING SYSTEM VALUE
                    VALUES ($1, gen_random_uuid(), $4, ''Wallet'', $2, $3, $5)', stream) USING no, wallet_id, version, name, payload;
END $$;
-- as a subscriber has them
SELECT put_event(n, 'w' || n, 1, 'WalletWasCreated', '{"initialBalance": 10}') FROM generate_series(1, 3) n;
SELECT told();
CALL projection_consume('async_projection', finish_when_no_messages => true);
SELECT state, last_error LIKE '55000: event 3 of stream%' FROM projection_status;
SELECT setval('regress_wp.wallet_stream_no_seq', 3);
SELECT projection_run('wallet_balance');
SELECT told();
SELECT * FROM check_read_model();
-- beside events that have good numbers
SELECT wallet_create('good', 1);
SELECT put_event(50, 'w1', 2, 'WalletWasCredited', '{"amount": 1}');
SELECT told();
DELETE FROM wallet_stream WHERE no = 50;
SELECT projection_run('wallet_balance');
SELECT told();
-- nor once they are taken back
BEGIN;
SELECT put_event(50, 'w1', 2, 'WalletWasCredited', '{"amount": 1}');
SELECT state FROM projection_status;
ROLLBACK;
SELECT told();
-- in a child, which has an index on the number or not, and its columns in another order
CREATE TABLE child (extra int, no bigint NOT NULL, event_id uuid NOT NULL, event_name varchar(100) COLLATE "C" NOT NULL, aggregate_type varchar(255) COLLATE "C" NOT NULL, aggregate_id varchar(255) COLLATE "C" NOT NULL,
    aggregate_version bigint NOT NULL, payload jsonb NOT NULL, metadata jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT clock_timestamp());
ALTER TABLE child INHERIT wallet_stream;
SELECT told();
INSERT INTO child VALUES (1, 60, gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'w2', 2, '{"amount": 1}');
SELECT told();
CREATE INDEX ON child (no);
SELECT state, last_error FROM projection_status;
DELETE FROM child;
SELECT told();
DROP TABLE child;
-- the lowest number of all, and the highest
ALTER SEQUENCE wallet_stream_no_seq MINVALUE -9223372036854775808 RESTART -9223372036854775808;
SELECT state, lag_events, last_error FROM projection_status;
ALTER SEQUENCE wallet_stream_no_seq RESTART 5;
SELECT told();

--
-- The read model is emptied behind its projection's back
--
TRUNCATE wallet_balances;
SELECT told();
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT told();
-- by deleted rows, once their pages are gone
DELETE FROM wallet_balances;
VACUUM wallet_balances;
SELECT state FROM projection_status;
SELECT projection_reset('wallet_balance');
-- nothing was written yet: it may be empty
SELECT told();
-- what a replay of a parked key writes, counts as well
TRUNCATE wallet_stream RESTART IDENTITY;
SELECT projection_reset('wallet_balance'), projection_set('wallet_balance', 'max_parked', '10'), projection_set('wallet_balance', 'max_attempts', '1');
SELECT append_event('late', 'WalletWasCreated', '{"initialBalance": "x"}');
SELECT projection_run('wallet_balance');
SELECT written FROM wallet_projection.position;
UPDATE wallet_stream SET payload = '{"initialBalance": 5}';
SELECT dead_letter_replay(id) FROM projection_dead_letters;
TRUNCATE wallet_balances;
SELECT told();
SELECT projection_set('wallet_balance', 'max_parked', '0'), projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');

-- a table that a crash empties
ALTER TABLE wallet_balances SET UNLOGGED;
SELECT told();
ALTER TABLE wallet_balances SET LOGGED;
SELECT told();
ALTER TABLE wallet_stream SET UNLOGGED;
SELECT told();
ALTER TABLE wallet_stream SET LOGGED;
SELECT told();

--
-- Another table in its place
--
CREATE TABLE other (LIKE wallet_balances INCLUDING ALL);
INSERT INTO other VALUES ('w', 1);
-- a rename is followed
ALTER TABLE wallet_balances RENAME TO kept;
SELECT told();
SELECT table_schema, table_name, new_schema, new_name FROM wallet_projection.projection_state;
-- also where a view takes the name
CREATE VIEW wallet_balances AS SELECT * FROM kept;
SELECT told();
DROP VIEW wallet_balances;
-- but not where another table does, at once or later
ALTER TABLE other RENAME TO wallet_balances;
SELECT told();
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT projection_delete('wallet_balance') $$);
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
SELECT * FROM wallet_balances;
BEGIN;
ALTER TABLE wallet_balances RENAME TO other;
ALTER TABLE kept RENAME TO wallet_balances;
COMMIT;
SELECT told();
SELECT new_name FROM wallet_projection.projection_state;
BEGIN;
ALTER TABLE wallet_balances RENAME TO kept;
ALTER TABLE other RENAME TO wallet_balances;
SELECT state FROM projection_status;
ROLLBACK;
-- in another schema
CREATE SCHEMA regress_wp_other;
ALTER TABLE wallet_balances SET SCHEMA regress_wp_other;
SELECT told();
ALTER TABLE regress_wp_other.wallet_balances SET SCHEMA regress_wp;
DROP SCHEMA regress_wp_other;
SELECT told();

-- the stream
SELECT stream_create('other_stream');
BEGIN;
ALTER TABLE wallet_stream RENAME TO kept;
ALTER TABLE other_stream RENAME TO wallet_stream;
SELECT told();
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
ROLLBACK;
ALTER TABLE wallet_stream RENAME TO kept;
SELECT told();
SELECT table_name, new_name FROM wallet_projection.stream WHERE name = 'wallet_stream';
ALTER TABLE kept RENAME TO wallet_stream;
SELECT told();

-- a table that has only the OID in common is neither emptied nor dropped
CREATE TABLE precious (id int);
INSERT INTO precious VALUES (1);
BEGIN;
UPDATE wallet_projection.projection_state SET read_model = 'precious'::regclass;
SELECT told();
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT projection_delete('wallet_balance') $$);
SELECT * FROM precious;
SELECT * FROM check_read_model();
ROLLBACK;
-- one that looks a little like it
BEGIN;
DROP TABLE wallet_balances;
CREATE TABLE customer (wallet_id text);
UPDATE wallet_projection.projection_state SET read_model = 'customer'::regclass;
SELECT told();
SELECT error_of($$ SELECT projection_delete('wallet_balance') $$);
ROLLBACK;
-- nor one that has the name, in another installation
BEGIN;
ALTER TABLE wallet_balances RENAME TO kept;
ALTER TABLE precious RENAME TO wallet_balances;
UPDATE wallet_projection.projection_state SET installation = 'elsewhere';
SELECT told();
SELECT error_of($$ SELECT projection_reset('wallet_balance') $$);
SELECT error_of($$ SELECT projection_delete('wallet_balance') $$);
SELECT * FROM wallet_balances;
ROLLBACK;
-- nor is it taken over by an owner who could not have made it
CREATE ROLE regress_wp_nobody;
GRANT SELECT ON wallet_stream TO regress_wp_nobody;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_nobody;
BEGIN;
ALTER TABLE wallet_balances OWNER TO regress_wp_nobody;
SELECT state, split_part(last_error, ' DETAIL', 1) FROM projection_status;
SELECT projection_init('wallet_balance');
SELECT told();
UPDATE wallet_projection.projection_state SET installation = 'elsewhere', read_model = 1;
SELECT told();
GRANT CREATE ON SCHEMA regress_wp TO regress_wp_nobody;
SELECT told();
REVOKE CREATE ON SCHEMA regress_wp FROM regress_wp_nobody;
SELECT told();
ROLLBACK;
DROP OWNED BY regress_wp_nobody;
DROP ROLE regress_wp_nobody;

--
-- Positions that are missing, and what parts of a dump leave behind
--
BEGIN;
UPDATE wallet_projection.position SET groups = 1;
SELECT told();
ROLLBACK;
TRUNCATE wallet_projection.position;
SELECT told();
SELECT error_of($$ SELECT projection_init('wallet_balance') $$);
SELECT projection_reset('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT told();
SELECT * FROM check_read_model();

INSERT INTO wallet_projection.parked OVERRIDING SYSTEM VALUE VALUES ('wallet_balance', 'late', 1000, 0, 1, 1, 'e', 1, 0, now(), now(), NULL, 'XX000', 'm');
INSERT INTO wallet_projection.skipped VALUES ('wallet_balance', 77, 'late', 'e', now(), 'r', 'XX000', 'm', gen_random_uuid());
-- positions, parked and skipped rows without a state
DELETE FROM wallet_projection.projection_state;
ALTER TABLE wallet_balances RENAME TO old_balances;
SELECT state, parked FROM projection_status;
SELECT count(*) FROM projection_dead_letters;
SELECT projection_init('wallet_balance');
SELECT (SELECT count(*) FROM wallet_projection.parked), (SELECT count(*) FROM wallet_projection.skipped), (SELECT count(*) FROM projection_partitions);
SELECT projection_run('wallet_balance');
SELECT * FROM check_read_model();
DELETE FROM wallet_projection.projection_state;
SELECT projection_delete('wallet_balance');
SELECT count(*) FROM wallet_projection.position;
DROP TABLE wallet_balances;
-- a state without anything else, of a table that is gone
SELECT projection_set('wallet_balance', 'partitions', '3'), projection_init('wallet_balance');
DELETE FROM wallet_projection.position;
DROP TABLE wallet_balances;
SELECT told();
SELECT projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT told();
SELECT partitions FROM projection_status;
SELECT * FROM check_read_model();
DROP TABLE wallet_balances;
SELECT projection_delete('wallet_balance');
-- the table is there, and nobody knows of it
CREATE TABLE wallet_balances (wallet_id text);
SELECT split_part(error_of($$ SELECT projection_init('wallet_balance') $$), E'\n', 1);
DROP TABLE wallet_balances;

--
-- The views bear what tables can hold
--
SELECT projection_set('wallet_balance', 'partitions', '2'), projection_set('wallet_balance', 'max_attempts', '1'), projection_init('wallet_balance');
SELECT projection_run('wallet_balance');
\set lag 'SELECT state, lag_events, lag_time FROM projection_status'
SELECT wallet_create('x', 1);
UPDATE wallet_stream SET created_at = 'infinity' WHERE aggregate_id = 'x';
:lag;
UPDATE wallet_stream SET created_at = '-infinity' WHERE aggregate_id = 'x';
:lag;
UPDATE wallet_stream SET created_at = '294276-01-01 UTC' WHERE aggregate_id = 'x';
:lag;
UPDATE wallet_stream SET created_at = '4713-01-01 BC UTC' WHERE aggregate_id = 'x';
SELECT lag_time > '6000 years' FROM projection_status;
SELECT projection_run('wallet_balance');
-- ids that no command takes
SELECT put_event(nextval('wallet_stream_no_seq'), '', 1, 'WalletWasDebited', '{"amount": 1}');
ALTER TABLE wallet_stream ALTER aggregate_id TYPE varchar COLLATE "C";
SELECT projection_set('wallet_balance', 'max_parked', '10');
SELECT put_event(nextval('wallet_stream_no_seq'), repeat('x', 100000), 1, 'WalletWasDebited', '{"amount": 1}');
SELECT projection_run('wallet_balance');
SELECT length(s.partition_key), s.payload, s.created_at IS NULL AS unknown FROM projection_dead_letters l, dead_letter_show(l.id) s ORDER BY 1;
UPDATE wallet_stream SET created_at = 'infinity', metadata = '{"m": 1}';
SELECT length(s.partition_key), s.created_at, s.metadata, s.event_id IS NULL AS unknown FROM projection_dead_letters l, dead_letter_show(l.id) s ORDER BY 1;
-- columns that are something else now
BEGIN;
ALTER TABLE wallet_stream DROP metadata, ALTER payload TYPE text, ALTER created_at DROP DEFAULT, ALTER created_at TYPE text;
ALTER TABLE wallet_stream RENAME event_id TO id;
SELECT length(s.partition_key), s.payload, s.created_at, s.metadata, s.event_id FROM projection_dead_letters l, dead_letter_show(l.id) s ORDER BY 1;
SELECT projection, head FROM projection_status;
ALTER TABLE wallet_stream RENAME no TO number;
SELECT length(s.partition_key), s.payload FROM projection_dead_letters l, dead_letter_show(l.id) s ORDER BY 1;
SELECT projection, head FROM projection_status;
ROLLBACK;
-- positions at the ends of bigint
BEGIN;
UPDATE wallet_projection.position SET head = 9223372036854775807, gaps = '{[1, 9223372036854775807)}';
SELECT lag_events FROM projection_partitions;
SELECT state, head, lag_events, gaps FROM projection_status;
ROLLBACK;
-- an id that is used again after its events were deleted
SELECT projection_reset('wallet_balance');
DELETE FROM wallet_stream;
SELECT wallet_create('erased', 100);
SELECT projection_run('wallet_balance');
DELETE FROM wallet_stream WHERE aggregate_id = 'erased';
SELECT wallet_create('erased', 5);
SELECT projection_run('wallet_balance');
SELECT message FROM projection_dead_letters;
SELECT wallet_get_balance('erased');
DELETE FROM wallet_balances WHERE wallet_id = 'erased';
SELECT dead_letter_replay(id) FROM projection_dead_letters;
SELECT wallet_get_balance('erased');

DROP SCHEMA regress_wp CASCADE;
