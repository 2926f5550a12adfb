\echo Use "CREATE EXTENSION wallet_projection" to load this file. \quit

/*
 * Nothing is found by a search_path that anybody else can write into: the
 * schema of the extension may be a user's, with operators and functions in it
 * that fit better than those of pg_catalog.  So what is made here names its
 * schema, and everything that is used is qualified; its argument types are the
 * declared ones, without a cast that is not written (test/t/033_exact.pl).
 */
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

/*
 * The extension's own catalog.  It is dumped by pg_dump, and written by the
 * extension's C code only.
 */
CREATE SCHEMA wallet_projection;

CREATE TABLE wallet_projection.stream (
    name         text COLLATE "C" NOT NULL PRIMARY KEY,
    relation     oid NOT NULL,
    table_schema text,
    table_name   text,
    new_schema   text,
    new_name     text,
    installation text
);
COMMENT ON TABLE wallet_projection.stream IS
    'event streams, by the name that the extension knows them by: the table''s OID, which is true in this installation, and its name: the first one, and that of now, if it was renamed';

CREATE TABLE wallet_projection.projection (
    name           text COLLATE "C" NOT NULL PRIMARY KEY,
    stream         text COLLATE "C" NOT NULL,
    aggregate_type text COLLATE "C" NOT NULL,
    handler        text COLLATE "C" NOT NULL,
    channel        text COLLATE "C" NOT NULL DEFAULT 'async_projection',
    partitions     integer NOT NULL DEFAULT 16 CHECK (partitions OPERATOR(pg_catalog.>=) 1 AND partitions OPERATOR(pg_catalog.<=) 1024),
    batch_size     integer NOT NULL DEFAULT 10000 CHECK (batch_size OPERATOR(pg_catalog.>=) 1 AND batch_size OPERATOR(pg_catalog.<=) 10000000),
    builtin        boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE wallet_projection.projection IS
    'what a projection is, as it was declared: stream, filter, handler, options';

CREATE TABLE wallet_projection.projection_state (
    projection text COLLATE "C" NOT NULL PRIMARY KEY,
    channel    text COLLATE "C",
    partitions integer CHECK (partitions OPERATOR(pg_catalog.>=) 1 AND partitions OPERATOR(pg_catalog.<=) 1024),
    batch_size integer CHECK (batch_size OPERATOR(pg_catalog.>=) 1 AND batch_size OPERATOR(pg_catalog.<=) 10000000),
    read_model oid,
    relation   oid,
    last_error text,
    failures   integer,
    next_try   timestamptz,
    max_attempts     integer CHECK (max_attempts OPERATOR(pg_catalog.>=) 1 AND max_attempts OPERATOR(pg_catalog.<=) 1000),
    retry_delay      bigint CHECK (retry_delay OPERATOR(pg_catalog.>=) 0),
    retry_multiplier double precision CHECK (retry_multiplier OPERATOR(pg_catalog.>=) '1'::double precision),
    retry_max_delay  bigint CHECK (retry_max_delay OPERATOR(pg_catalog.>=) 0),
    retry_jitter     double precision CHECK (retry_jitter OPERATOR(pg_catalog.>=) '0'::double precision AND retry_jitter OPERATOR(pg_catalog.<=) '1'::double precision),
    max_parked       integer CHECK (max_parked OPERATOR(pg_catalog.>=) 0 AND max_parked OPERATOR(pg_catalog.<=) 1000000),
    table_schema text,
    table_name   text,
    new_schema   text,
    new_name     text,
    installation text,
    owner        oid,
    owner_name   text,
    CHECK (max_attempts IS NULL AND retry_delay IS NULL AND retry_multiplier IS NULL AND retry_max_delay IS NULL AND retry_jitter IS NULL AND max_parked IS NULL
        OR max_attempts IS NOT NULL AND retry_delay IS NOT NULL AND retry_multiplier IS NOT NULL AND retry_max_delay IS NOT NULL AND retry_jitter IS NOT NULL AND max_parked IS NOT NULL)
);
COMMENT ON TABLE wallet_projection.projection_state IS
    'options set since (null: as declared; delays in milliseconds); the read model and the stream''s table, once initialized, by their OIDs, which are true in this installation, and the read model''s name: the first one, and that of now, if it was renamed; whose the projection is; the last error of a whole batch';

CREATE TABLE wallet_projection.position (
    projection text COLLATE "C" NOT NULL,
    lane       integer NOT NULL CHECK (lane OPERATOR(pg_catalog.>=) 0 AND lane OPERATOR(pg_catalog.<=) 63),
    version    bigint NOT NULL CHECK (version OPERATOR(pg_catalog.>) 0),
    part       integer NOT NULL CHECK (part OPERATOR(pg_catalog.>=) 0 AND part OPERATOR(pg_catalog.<=) 63),
    turn       bigint NOT NULL CHECK (turn OPERATOR(pg_catalog.>) 0),
    groups     bigint NOT NULL CHECK (groups OPERATOR(pg_catalog.<>) 0),
    head       bigint NOT NULL CHECK (head OPERATOR(pg_catalog.>=) 0),
    gaps       int8multirange NOT NULL CHECK (NOT pg_catalog.lower_inf(gaps) AND NOT pg_catalog.upper_inf(gaps)),
    written    boolean NOT NULL DEFAULT false,
    old_blocks int8multirange,
    old_first  bigint,
    old_last   bigint,
    old_size   bigint,
    old_owners xid8[],
    PRIMARY KEY (projection, lane, version, part)
);
COMMENT ON TABLE wallet_projection.position IS
    'positions: an event is applied if and only if its number is not above head, not in gaps and not in a block of old gaps; of a lane the highest version counts, of a group (a bit of groups: partitions p with p mod 64 equal) the row with the highest turn; written: rows were written to the read model since the beginning; old_owners: a mark of the installation, and the only transactions there that may fill the old gaps; see projection_partitions';

CREATE TABLE wallet_projection.old_gaps (
    projection text COLLATE "C" NOT NULL,
    block      bigint NOT NULL CHECK (block OPERATOR(pg_catalog.>) 0),
    gaps       int8multirange NOT NULL CHECK (NOT pg_catalog.lower_inf(gaps) AND NOT pg_catalog.upper_inf(gaps)),
    PRIMARY KEY (projection, block)
);
COMMENT ON TABLE wallet_projection.old_gaps IS
    'gaps that only transactions can fill which have been open for long, in blocks that rows of wallet_projection.position name; a block is never changed';

CREATE TABLE wallet_projection.parked (
    projection      text COLLATE "C" NOT NULL,
    partition_key   text COLLATE "C" NOT NULL,
    id              bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    partition       integer NOT NULL,
    no              bigint NOT NULL,
    version         bigint NOT NULL,
    event_name      text NOT NULL,
    attempts        integer NOT NULL,
    waiting         bigint NOT NULL,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    next_retry_at   timestamptz,
    sqlstate        text NOT NULL,
    message         text NOT NULL,
    detail          text,
    hint            text,
    context         text,
    retry_error     text,
    applied         int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (projection, partition_key)
);
CREATE INDEX parked_retry ON wallet_projection.parked (projection, next_retry_at);
COMMENT ON TABLE wallet_projection.parked IS
    'keys whose next event (no) has failed; it and those behind it were passed over; no next retry: a dead letter';

CREATE TABLE wallet_projection.skipped (
    projection    text COLLATE "C" NOT NULL,
    no            bigint NOT NULL,
    partition_key text COLLATE "C" NOT NULL,
    event_name    text NOT NULL,
    skipped_at    timestamptz NOT NULL,
    skipped_by    text NOT NULL,
    sqlstate      text NOT NULL,
    message       text NOT NULL,
    event_id      uuid,
    last_no       bigint,
    events        bigint,
    PRIMARY KEY (projection, no)
);
COMMENT ON TABLE wallet_projection.skipped IS
    'events that a projection is never to apply, by dead_letter_delete; with last_no: all events of the key that waited, up to that number, until projection_reset';

CREATE TABLE wallet_projection.channel (
    name    text COLLATE "C" NOT NULL PRIMARY KEY,
    workers integer NOT NULL CHECK (workers OPERATOR(pg_catalog.>=) 0 AND workers OPERATOR(pg_catalog.<=) 1024)
);
COMMENT ON TABLE wallet_projection.channel IS
    'how many background workers a channel is to have, where channel_scale has said so';

/* Not dumped: a restored projection is stopped until somebody starts it. */
CREATE TABLE wallet_projection.started (
    projection text COLLATE "C" NOT NULL PRIMARY KEY,
    database   oid NOT NULL
);
COMMENT ON TABLE wallet_projection.started IS
    'the projections that background workers serve; rows of another database came with a copy of it, and do not count';

/*
 * Nobody is given a right on these tables: only the extension's C code writes
 * them, and a superuser dumps and restores them.
 */
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.stream', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.projection', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.projection_state', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.position', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.old_gaps', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.channel', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.parked', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.parked_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.skipped', '');

INSERT INTO wallet_projection.projection (name, stream, aggregate_type, handler, builtin)
VALUES ('wallet_balance', 'wallet_stream', 'Wallet', 'wallet_balance', true);

/*
 * Streams
 */

/*
 * stream_create(stream): makes the stream's table, named like the stream, in
 * the extension's schema, owned by the caller.  A table of that name and of
 * exactly a stream's shape, as DROP EXTENSION leaves it behind, is taken over.
 * Errors: 42710 the stream exists; 42P07 another relation has the name;
 * 42501 no right to create; 22004, 22023, 42622 bad name.
 */
CREATE FUNCTION @extschema@.stream_create(stream text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_create';
COMMENT ON FUNCTION @extschema@.stream_create(text) IS
    'creates an event stream: a table of that name in the extension''s schema';

/*
 * The trigger function of a stream's table, AFTER UPDATE, FOR EACH ROW: refuses
 * (428C9) a change of no, aggregate_type or aggregate_id.  stream_create makes
 * the trigger; a child of the table needs one of its own.
 */
CREATE FUNCTION wallet_projection.keep_history() RETURNS trigger
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'keep_history';
COMMENT ON FUNCTION wallet_projection.keep_history() IS
    'trigger: an event keeps its number and its aggregate';

/*
 * stream_append(stream, aggregate_type, aggregate_id, events,
 * expected_version): appends events, a JSON array of
 *     {"event_name": text, "payload": object, "metadata": object, "event_id": uuid}
 * (metadata and event_id may be left out; the key "_balance" of metadata is
 * reserved), all or nothing, as the next
 * versions of the aggregate, and returns its new version.  A call whose event
 * ids have all been appended before changes nothing and returns the version
 * of its last event.  Appends to one aggregate wait for each other.
 * Errors: 40001 expected_version is not the current version; 23505 an event
 * id belongs to another event; 42704 no such stream; 42501 no right to
 * insert; 22004, 22023, 22001 bad argument.
 */
CREATE FUNCTION @extschema@.stream_append(stream text, aggregate_type text, aggregate_id text, events jsonb,
                              expected_version bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_append';
COMMENT ON FUNCTION @extschema@.stream_append(text, text, text, jsonb, bigint) IS
    'appends events to an aggregate, all or nothing; returns the aggregate''s new version';

/*
 * stream_notify(stream, "on"): has writers that insert into the stream's table
 * by themselves wake the background workers when they commit, by a statement
 * trigger; off drops it again.  Appends through the extension need none, and
 * workers find such events without it too, after
 * wallet_projection.poll_interval at the latest.  Locks the table against
 * writers for a moment.
 * Errors: 42704 no such stream; 42501 not the owner; 22004, 22023 bad
 * argument.
 */
CREATE FUNCTION wallet_projection.stream_wake() RETURNS trigger
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'stream_wake';
COMMENT ON FUNCTION wallet_projection.stream_wake() IS
    'trigger: wakes the workers of the stream when the transaction commits';

CREATE FUNCTION @extschema@.stream_notify(stream text, "on" boolean) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_notify';
COMMENT ON FUNCTION @extschema@.stream_notify(text, boolean) IS
    'lets plain INSERTs into a stream wake the background workers, or not';

/*
 * stream_read(stream, aggregate_type, aggregate_id, from_version, max_count):
 * the aggregate's events from from_version (at least 1) on, in order, at most
 * max_count of them (null: all).  No rows for an unknown aggregate.
 * Errors: 42704 no such stream; 42501 no right to select; 22004, 22023, 22001
 * bad argument.
 */
CREATE TYPE wallet_projection.event AS (
    no                bigint,
    event_id          uuid,
    event_name        varchar,
    aggregate_type    varchar,
    aggregate_id      varchar,
    aggregate_version bigint,
    payload           jsonb,
    metadata          jsonb,
    created_at        timestamptz
);
GRANT USAGE ON SCHEMA wallet_projection TO PUBLIC;

CREATE FUNCTION @extschema@.stream_read(stream text, aggregate_type text, aggregate_id text,
                            from_version bigint DEFAULT '1'::bigint, max_count bigint DEFAULT NULL)
    RETURNS SETOF wallet_projection.event
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'stream_read';
COMMENT ON FUNCTION @extschema@.stream_read(text, text, text, bigint, bigint) IS
    'reads the events of one aggregate in order of version';

/*
 * Wallet: an event-sourced aggregate in the stream wallet_stream.
 *
 * Amounts are exact decimals with up to 4 decimal places and 15 digits before
 * the point.  Commands on one wallet wait for each other; two at once never
 * fail for it.  SQLSTATEs of the wallet's rules:
 *     WP001 insufficient funds
 *     WP002 the amount is not positive
 *     WP003 there is no such wallet
 *     WP004 the wallet exists already
 * Others: 40001 expected_version is not the current version; 22003 too many
 * digits; 22004 null; 22023 empty, NaN or Infinity; 22001 id too long;
 * 42501 no right to insert into the stream.
 */

/*
 * Each command takes an id of the caller's choice, command_id (null: none).
 * It becomes the id of the command's event.  The same command with the same
 * id again changes nothing, and returns what the first call returned, whatever
 * the balance or the version is by then.  23505: another command has this id.
 */

/* wallet_create(wallet_id, initial_balance, command_id): returns the id. */
CREATE FUNCTION @extschema@.wallet_create(wallet_id text, initial_balance numeric, command_id uuid DEFAULT NULL) RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_create';
COMMENT ON FUNCTION @extschema@.wallet_create(text, numeric, uuid) IS
    'creates a wallet; returns its id';

/* wallet_create(initial_balance, command_id): the id is a new UUID. */
CREATE FUNCTION @extschema@.wallet_create(initial_balance numeric, command_id uuid DEFAULT NULL) RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_create_with_new_id';
COMMENT ON FUNCTION @extschema@.wallet_create(numeric, uuid) IS
    'creates a wallet with a new UUID for an id; returns the id';

/*
 * wallet_create('id', '100'), with two literals of no type: PostgreSQL could
 * not choose between the two above, and prefers this one.  Its second argument
 * has a name of its own, so that calls by name never mean it.
 */
CREATE FUNCTION @extschema@.wallet_create(wallet_id text, initial_balance_text text, command_id uuid DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE PARALLEL UNSAFE
    RETURN @extschema@.wallet_create(wallet_id, initial_balance_text::numeric, command_id);
COMMENT ON FUNCTION @extschema@.wallet_create(text, text, uuid) IS
    'creates a wallet; returns its id (for a balance that is a literal or parameter of no type)';

/* wallet_debit(wallet_id, amount, expected_version, command_id): returns the new version. */
CREATE FUNCTION @extschema@.wallet_debit(wallet_id text, amount numeric, expected_version bigint DEFAULT NULL,
                             command_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_debit';
COMMENT ON FUNCTION @extschema@.wallet_debit(text, numeric, bigint, uuid) IS
    'takes an amount from a wallet that holds at least as much; returns the wallet''s new version';

/* wallet_credit(wallet_id, amount, expected_version, command_id): returns the new version. */
CREATE FUNCTION @extschema@.wallet_credit(wallet_id text, amount numeric, expected_version bigint DEFAULT NULL,
                              command_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_credit';
COMMENT ON FUNCTION @extschema@.wallet_credit(text, numeric, bigint, uuid) IS
    'adds an amount to a wallet; returns the wallet''s new version';

/*
 * wallet_get_balance(wallet_id), wallet_get_statistics(wallet_id): what the
 * read model wallet_balances says now; zero for a wallet that is not in it.
 * Errors: 55000 the projection wallet_balance is not initialized; 42501 no
 * right to select from the read model; 22004, 22023, 22001 bad id.
 */
CREATE FUNCTION @extschema@.wallet_get_balance(wallet_id text) RETURNS numeric
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_get_balance';
COMMENT ON FUNCTION @extschema@.wallet_get_balance(text) IS
    'a wallet''s balance in the read model; 0 for an unknown wallet';

CREATE FUNCTION @extschema@.wallet_get_statistics(wallet_id text) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_get_statistics';
COMMENT ON FUNCTION @extschema@.wallet_get_statistics(text) IS
    'a wallet''s balance, total_debits, total_credits and transaction_count in the read model, as numbers';

/*
 * Projections
 *
 * All of these need the rights of the projection's owner, who is the owner of
 * its read model.  Errors that all share: 42704 no such projection; 42501 not
 * the owner; 22004, 22023 bad argument.
 */

/*
 * projection_init(name): makes the read model, owned by the caller, and the
 * positions of all partitions, and the stream where there is none yet; where
 * the library is preloaded, starts the projection, unless
 * wallet_projection.autostart is off.  May be repeated, and then does nothing.
 * Errors: 42P07 another relation has the read model's name.
 */
CREATE FUNCTION @extschema@.projection_init(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_init';
COMMENT ON FUNCTION @extschema@.projection_init(text) IS
    'creates a projection''s read model and positions, and starts it where there are background workers; may be repeated';

/*
 * projection_delete(name): drops the read model, the positions and the
 * options, after running batches have ended.  The stream stays.  May be
 * repeated.
 */
CREATE FUNCTION @extschema@.projection_delete(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_delete';
COMMENT ON FUNCTION @extschema@.projection_delete(text) IS
    'drops a projection''s read model, positions and options; may be repeated';

/*
 * projection_reset(name): empties the read model and sets all positions to
 * the beginning of the stream, after running batches have ended.
 */
CREATE FUNCTION @extschema@.projection_reset(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_reset';
COMMENT ON FUNCTION @extschema@.projection_reset(text) IS
    'empties a projection''s read model and starts again from the first event';

/*
 * projection_set(name, option, value): sets an option.
 *     channel     the consumers that serve it (default async_projection)
 *     partitions  1 to 1024 (default 16); only before projection_init
 *     batch_size  events per transaction of a consumer, 1 to 10000000
 *                 (default 10000)
 *     max_attempts      at an event that fails, the first one counted, until
 *                       its key is a dead letter: 1 to 1000 (default 5)
 *     retry_delay       after the first failure, an interval (default 1 s)
 *     retry_multiplier  of the delay, after each further one: 1 to 1000
 *                       (default 2)
 *     retry_max_delay   an interval (default 5 min)
 *     retry_jitter      the share by which a delay varies at random, both
 *                       ways: 0 to 1 (default 0.1)
 *     max_parked        keys, 0 to 1000000 (default 1000); one more stops the
 *                       projection.  0: the first event that fails does.
 * Errors: 22023 no such option or bad value; 55000 partitions after init.
 */
CREATE FUNCTION @extschema@.projection_set(name text, option text, value text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_set';
COMMENT ON FUNCTION @extschema@.projection_set(text, text, text) IS
    'sets an option of a projection: channel, partitions, batch_size, or one of retries';

/*
 * projection_run(name, max_events): applies all that is pending in the
 * partitions that no other session holds, or at most max_events events, in
 * the caller's transaction, and returns the number of events applied.  A key
 * whose event cannot be applied is parked, and parked keys that are due are
 * tried again.  Memory is bounded by wallet_projection.batch_memory.
 * Errors: WP005, or the read model's own, if max_parked keys are parked; 55000 not initialized, or the
 * stream went backwards; 25001 the transaction's isolation level is not
 * READ COMMITTED; whatever the read model's constraints and triggers raise.
 */
CREATE FUNCTION @extschema@.projection_run(name text, max_events bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_run';
COMMENT ON FUNCTION @extschema@.projection_run(text, bigint) IS
    'applies pending events in the caller''s transaction; returns their number';

/*
 * projection_backfill(name, max_partitions): as projection_run, of up to so
 * many partitions (null: all that are free): sessions that run at once share
 * a long stream when each takes a part of them.
 */
CREATE FUNCTION @extschema@.projection_backfill(name text, max_partitions integer DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_backfill';
COMMENT ON FUNCTION @extschema@.projection_backfill(text, integer) IS
    'applies all pending events of some partitions; returns their number';

/*
 * CALL projection_consume(channel, ...): serves all projections of the
 * channel whose owner's rights the caller has, a transaction per batch, until
 * message_limit events are applied, time_limit is over, or, with
 * finish_when_no_messages, nothing is left; without any of these until it is
 * cancelled.  A key whose event cannot be applied is parked; with
 * stop_on_failure its error ends the call instead.  A projection that fails as
 * a whole is tried again after 1 s, then 2 s, up to 60 s, while the others go
 * on; the error is in projection_status.last_error.  With stop_on_failure the
 * first error ends the call; with finish_when_no_messages it ends the call once
 * the others have nothing left.
 * Errors: 42704 no projection has the channel; 25001 inside a transaction
 * block; 42501, 22004, 22023; and those of projection_run.
 */
CREATE PROCEDURE @extschema@.projection_consume(channel text, message_limit bigint DEFAULT NULL, time_limit interval DEFAULT NULL,
                                    stop_on_failure boolean DEFAULT false, finish_when_no_messages boolean DEFAULT false)
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'projection_consume';
COMMENT ON PROCEDURE @extschema@.projection_consume(text, bigint, interval, boolean, boolean) IS
    'serves the projections of a channel, a transaction per batch';

/*
 * Background workers.  They need shared_preload_libraries =
 * 'wallet_projection'; without it projection_start, projection_stop,
 * channel_scale and the view projection_workers raise 55000.
 */

/*
 * projection_start(name): from the commit on, background workers serve the
 * projection, also after a restart.  projection_init does it by itself, unless
 * wallet_projection.autostart is off.  May be repeated.
 * Errors: 55000 not preloaded, or not initialized; 54000 too many channels.
 */
CREATE FUNCTION @extschema@.projection_start(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_start';
COMMENT ON FUNCTION @extschema@.projection_start(text) IS
    'lets background workers serve a projection';

/*
 * projection_stop(name, cancel): background workers leave the projection alone.
 * Returns when running batches have ended; with cancel those of workers are
 * ended, and done again after the next start.  Sessions may still run it.  May
 * be repeated.
 * Errors: 55000 not preloaded; 42501 not the owner.
 */
CREATE FUNCTION @extschema@.projection_stop(name text, cancel boolean DEFAULT false) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_stop';
COMMENT ON FUNCTION @extschema@.projection_stop(text, boolean) IS
    'lets background workers leave a projection alone; returns when the running batch has ended';

/*
 * channel_scale(channel, workers): how many background workers serve the
 * channel, 0 to 1024, as far as max_worker_processes allows.  Until it is
 * called they are wallet_projection.workers.  The caller must own all
 * projections of the channel.  0 also ends batches that go on for more than
 * about a second.
 * Errors: 55000 not preloaded; 42704 no projection has the channel; 22023
 * not from 0 to 1024.
 */
CREATE FUNCTION @extschema@.channel_scale(channel text, workers integer) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'channel_scale';
COMMENT ON FUNCTION @extschema@.channel_scale(text, integer) IS
    'sets how many background workers serve a channel';

/*
 * projection_wait(name, timeout): waits until all that was committed before
 * the call is applied, whoever applies it, and returns true; false when the
 * timeout is over, and a notice says why.  What the own transaction has written, and what open ones
 * have, is not waited for.  Anybody may call it.  Call it as a statement of its
 * own: the snapshot of the statement, or of a REPEATABLE READ transaction, is
 * older than what it waits for.
 * Errors: 42704 no such projection; 55000 not initialized; 22023 a negative
 * timeout.
 */
CREATE FUNCTION @extschema@.projection_wait(name text, timeout interval DEFAULT '5 s') RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_wait';
COMMENT ON FUNCTION @extschema@.projection_wait(text, interval) IS
    'waits until all that is committed now is applied; false on time-out';

/*
 * Parked keys and dead letters.  A key whose event fails is parked: that event
 * and those behind it wait in the stream, and everything else goes on.  It is
 * tried again by itself, with the delays that projection_set says; after the
 * last attempt it is a dead letter, and waits for one of these calls.  Then
 * NOTIFY wallet_projection_dead_letter has
 *     {"id": number, "projection": text, "partition_key": text, "no": number}
 * Errors that all share: 42704 no such id or projection; 42501 not the owner;
 * 22004 null; 25001 not READ COMMITTED.
 */

/*
 * dead_letter_replay(id): applies the key's waiting events now, in order, in
 * this transaction, whether it is dead or waits for a retry.  True if all went
 * well, and the key is no longer parked; false, with a warning, if one of them
 * fails: those before it are applied.
 */
CREATE FUNCTION @extschema@.dead_letter_replay(id bigint) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'dead_letter_replay';
COMMENT ON FUNCTION @extschema@.dead_letter_replay(bigint) IS
    'applies a parked key''s waiting events now; false if one of them fails';

/* dead_letter_replay_all(projection): the same for all its parked keys; returns how many went well. */
CREATE FUNCTION @extschema@.dead_letter_replay_all(projection text) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'dead_letter_replay_all';
COMMENT ON FUNCTION @extschema@.dead_letter_replay_all(text) IS
    'applies the waiting events of all parked keys of a projection; returns how many keys went well';

/*
 * dead_letter_delete(id, whole): the failed event is never applied, also not
 * after projection_reset; wallet_projection.skipped says so.  Goes on with the
 * events behind it, as dead_letter_replay does.  With whole, all events of the
 * key that wait now are skipped with it, until projection_reset, which tries
 * them again.
 * Errors: 55000 the key has not failed, it waits for a lock.
 */
CREATE FUNCTION @extschema@.dead_letter_delete(id bigint, whole boolean DEFAULT false) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'dead_letter_delete';
COMMENT ON FUNCTION @extschema@.dead_letter_delete(bigint, boolean) IS
    'skips the event on which a parked key stands, and applies those behind it; false if one of them fails; with whole, skips all that waits';

/*
 * What can be seen.  The catalog's tables are not for everybody; these views
 * are.
 */

/* The stream's last number drawn; null where its table is gone. */
CREATE FUNCTION wallet_projection.last_position(stream text) RETURNS bigint
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_last_position';
COMMENT ON FUNCTION wallet_projection.last_position(text) IS
    'the last number that was drawn for a stream';

/* The positions of a projection; none where they cannot be read. */
CREATE FUNCTION wallet_projection.positions(projection text, OUT partition integer, OUT head bigint, OUT missing bigint)
    RETURNS SETOF record
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_positions';
COMMENT ON FUNCTION wallet_projection.positions(text) IS
    'the positions of a projection: of each partition its head, and how many numbers up to there are gaps';

/* The gaps of a partition, which may be many. */
CREATE FUNCTION wallet_projection.gaps(projection text, partition integer) RETURNS int8multirange
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_gaps';
COMMENT ON FUNCTION wallet_projection.gaps(text, integer) IS
    'the numbers up to the head of a partition whose events it has not applied';

/* When the first event was made that a partition has not passed yet. */
CREATE FUNCTION wallet_projection.pending_since(projection text) RETURNS timestamptz
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_pending_since';
COMMENT ON FUNCTION wallet_projection.pending_since(text) IS
    'when the first event was made that some partition of a projection has not passed; null where there is none';

/* What the tables of a projection look like; waits for nobody. */
CREATE FUNCTION wallet_projection.finding(projection text, OUT initialized boolean, OUT read_model text, OUT owner oid,
                                          OUT locked boolean, OUT problem text)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_finding';
COMMENT ON FUNCTION wallet_projection.finding(text) IS
    'a projection''s read model, its owner, and what is wrong with it, the positions or the stream; locked: that could not be looked at';

/* An event as it is in the stream now, as far as it can be read. */
CREATE FUNCTION wallet_projection.event_now(stream text, aggregate_type text, aggregate_id text, no bigint, OUT event_id uuid,
                                            OUT payload jsonb, OUT metadata jsonb, OUT created_at timestamptz)
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_event_now';
COMMENT ON FUNCTION wallet_projection.event_now(text, text, text, bigint) IS
    'the event of an aggregate that has this number; null is what is not there, cannot be read, or may not be';

/* Who owns a projection; null where it has no read model. */
CREATE FUNCTION wallet_projection.owner(projection text) RETURNS oid
    LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'projection_owner';
COMMENT ON FUNCTION wallet_projection.owner(text) IS
    'the owner of a projection''s read model';

/* What background workers do for a projection. */
CREATE FUNCTION wallet_projection.activity(projection text, channel text, OUT started boolean, OUT workers integer,
                                           OUT workers_wanted integer, OUT events_per_second double precision,
                                           OUT numbers_per_second double precision, OUT problem text, OUT running_since timestamptz)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_activity';
COMMENT ON FUNCTION wallet_projection.activity(text, text) IS
    'whether a projection is started, its workers, its speed over the last 10 s, why workers are missing, and when the oldest running batch began';

/* The worker slots that are taken, of all databases. */
CREATE FUNCTION wallet_projection.worker_slots(OUT pid integer, OUT database text, OUT channel text, OUT projection text,
                                               OUT state text, OUT partitions integer[], OUT events bigint,
                                               OUT batches bigint, OUT last_error text, OUT since timestamptz)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'worker_slots';
COMMENT ON FUNCTION wallet_projection.worker_slots() IS
    'the background workers of all databases';

/* A share of 1 as a bar of 20 characters. */
CREATE FUNCTION wallet_projection.progress_bar(done numeric) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.format('[%s%s] %s%%', pg_catalog.repeat('#', pg_catalog.floor(done OPERATOR(pg_catalog.*) 20::numeric)::integer),
                             pg_catalog.repeat('.', 20 OPERATOR(pg_catalog.-) pg_catalog.floor(done OPERATOR(pg_catalog.*) 20::numeric)::integer),
                             pg_catalog.lpad(pg_catalog.floor(done OPERATOR(pg_catalog.*) 100::numeric)::pg_catalog.text, 3));
COMMENT ON FUNCTION wallet_projection.progress_bar(numeric) IS
    'a number from 0 to 1 as a bar';

CREATE VIEW @extschema@.projection_partitions AS
SELECT l.name AS projection, p.partition, p.head, wallet_projection.gaps(l.name, p.partition) AS gaps,
       CASE WHEN l.last_position IS NOT NULL
            THEN least(greatest(l.last_position::numeric OPERATOR(pg_catalog.-) p.head::numeric, 0::numeric)
                       OPERATOR(pg_catalog.+) p.missing::numeric, 9223372036854775807::numeric)::bigint END AS lag_events
  FROM (SELECT d.name, wallet_projection.last_position(d.stream) AS last_position
          FROM wallet_projection.projection d) l
  CROSS JOIN LATERAL wallet_projection.positions(l.name) p;
COMMENT ON VIEW @extschema@.projection_partitions IS
    'a row per partition: its position; lag_events counts the stream''s numbers that it has not passed yet';

CREATE VIEW @extschema@.projection_status AS
SELECT q.name AS projection, q.stream, q.channel,
       CASE WHEN NOT q.initialized THEN 'defined' WHEN coalesce(q.trouble, q.last_error) IS NOT NULL THEN 'failed'
            WHEN q.locked THEN 'locked' ELSE 'ready' END AS state,
       q.partitions, q.head, q.last_position, q.lag_events, q.gaps, k.parked, k.dead_letters,
       CASE WHEN q.trouble IS NOT NULL THEN q.trouble
            WHEN q.last_error IS NULL OR pg_catalog.pg_has_role(q.owner, 'USAGE'::pg_catalog.text) THEN q.last_error
            ELSE '<insufficient privilege>' END AS last_error,
       CASE WHEN NOT a.started THEN 'stopped' WHEN a.workers OPERATOR(pg_catalog.=) 0 THEN 'waiting' ELSE 'running' END AS activity,
       a.workers, a.workers_wanted, pg_catalog.round(a.events_per_second)::bigint AS events_per_second,
       CASE WHEN q.lag_events OPERATOR(pg_catalog.>) 0
            THEN (SELECT CASE WHEN p.since IS NULL THEN '0'::interval
                              WHEN pg_catalog.isfinite(p.since)
                              THEN greatest(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.since, '0'::interval) END
                    FROM wallet_projection.pending_since(q.name) AS p (since))
            WHEN q.lag_events IS NOT NULL THEN '0'::interval END AS lag_time,
       CASE WHEN q.lag_sum OPERATOR(pg_catalog.=) 0::numeric THEN '0'::interval
            WHEN coalesce(q.trouble, q.last_error) IS NULL AND a.numbers_per_second OPERATOR(pg_catalog.>) '0'::double precision
                 AND q.lag_sum::double precision OPERATOR(pg_catalog./) a.numbers_per_second OPERATOR(pg_catalog.<) '1e9'::double precision
            THEN pg_catalog.make_interval(secs => pg_catalog.ceil(q.lag_sum::double precision
                                                                  OPERATOR(pg_catalog./) a.numbers_per_second)) END AS catch_up_time,
       wallet_projection.progress_bar(q.done) AS progress, CASE WHEN q.initialized THEN a.problem END AS workers_problem,
       coalesce(q.failures, 0) AS failures, q.next_try, q.read_model, a.running_since
  FROM (SELECT s.failures, s.next_try, d.name, d.stream, coalesce(s.channel, d.channel) AS channel, coalesce(s.partitions, d.partitions) AS partitions,
               f.initialized, f.read_model, f.owner, f.locked, f.problem AS trouble, s.last_error, l.last_position, p.head, p.lag_events, p.gaps, p.lag_sum,
               CASE WHEN l.last_position OPERATOR(pg_catalog.>) 0
                    THEN least(p.head_average OPERATOR(pg_catalog./) l.last_position::numeric, 1::numeric) END AS done
          FROM wallet_projection.projection d
          CROSS JOIN LATERAL (SELECT wallet_projection.last_position(d.stream) AS last_position) l
          LEFT JOIN wallet_projection.projection_state s ON s.projection OPERATOR(pg_catalog.=) d.name
          CROSS JOIN LATERAL wallet_projection.finding(d.name) f
          CROSS JOIN LATERAL (SELECT pg_catalog.min(r.head) AS head, pg_catalog.max(r.lag)::bigint AS lag_events,
                                     pg_catalog.max(r.missing) AS gaps, pg_catalog.sum(r.lag) AS lag_sum, pg_catalog.avg(r.head) AS head_average
                                FROM (SELECT r.head, r.missing,
                                             CASE WHEN l.last_position IS NOT NULL
                                                  THEN least(greatest(l.last_position::numeric OPERATOR(pg_catalog.-) r.head::numeric, 0::numeric)
                                                             OPERATOR(pg_catalog.+) r.missing::numeric, 9223372036854775807::numeric) END AS lag
                                        FROM wallet_projection.positions(d.name) r) r) p) q
  CROSS JOIN LATERAL wallet_projection.activity(q.name, q.channel) a
  CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS parked, pg_catalog.count(*) FILTER (WHERE p.next_retry_at IS NULL) AS dead_letters
                        FROM wallet_projection.parked p WHERE p.projection OPERATOR(pg_catalog.=) q.name) k;
COMMENT ON VIEW @extschema@.projection_status IS
    'a row per projection: state, position, lag, errors; its background workers, speed, time to catch up and progress';

CREATE VIEW @extschema@.projection_workers AS
SELECT pid, database, channel, projection, state, partitions, events, batches, last_error, since
  FROM wallet_projection.worker_slots();
COMMENT ON VIEW @extschema@.projection_workers IS
    'a row per background worker, of all databases: what it does, the partitions that it holds, what it has done';

/*
 * Only for those with the rights of the projection's owner, or where its read
 * model was dropped, of those who may read all: messages hold data.
 */
CREATE VIEW wallet_projection.parked_event WITH (security_barrier) AS
SELECT p.id, p.projection, d.stream, d.aggregate_type, p.partition_key, p.no, p.version, p.event_name,
       CASE WHEN p.attempts OPERATOR(pg_catalog.=) 0 THEN 'waiting for lock' WHEN p.next_retry_at IS NULL THEN 'dead'
            ELSE 'retrying' END AS state, p.attempts,
       coalesce(s.max_attempts, 5) AS max_attempts, p.first_failed_at, p.last_failed_at, p.next_retry_at, p.sqlstate, p.message,
       p.detail, p.hint, p.context, p.waiting, p.retry_error
  FROM wallet_projection.parked p
  JOIN (SELECT name, stream, aggregate_type, wallet_projection.owner(name) AS owner
          FROM wallet_projection.projection OFFSET 0::bigint) d ON d.name OPERATOR(pg_catalog.=) p.projection
  LEFT JOIN wallet_projection.projection_state s ON s.projection OPERATOR(pg_catalog.=) p.projection
 WHERE CASE WHEN d.owner IS NULL THEN pg_catalog.pg_has_role('pg_read_all_data'::pg_catalog.name, 'USAGE'::pg_catalog.text)
            ELSE pg_catalog.pg_has_role(d.owner, 'USAGE'::pg_catalog.text) END;
COMMENT ON VIEW wallet_projection.parked_event IS
    'parked keys with all that is known of their failed event';

CREATE VIEW @extschema@.projection_dead_letters AS
SELECT id, projection, partition_key, no, event_name, state, attempts, first_failed_at, last_failed_at, next_retry_at,
       sqlstate, message, waiting
  FROM wallet_projection.parked_event;
COMMENT ON VIEW @extschema@.projection_dead_letters IS
    'a row per parked key: the event that failed, why, when it is tried again, and how many events wait behind it';

CREATE FUNCTION @extschema@.dead_letter_list(projection text DEFAULT NULL)
    RETURNS TABLE (id bigint, projection text, partition_key text, no bigint, event_name text, state text, attempts integer,
                   first_failed_at timestamptz, last_failed_at timestamptz, next_retry_at timestamptz, sqlstate text,
                   message text, waiting bigint)
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
        SELECT l.id, l.projection, l.partition_key, l.no, l.event_name, l.state, l.attempts, l.first_failed_at,
               l.last_failed_at, l.next_retry_at, l.sqlstate, l.message, l.waiting
          FROM @extschema@.projection_dead_letters l
         WHERE dead_letter_list.projection IS NULL OR l.projection OPERATOR(pg_catalog.=) dead_letter_list.projection
         ORDER BY l.id;
    END;
COMMENT ON FUNCTION @extschema@.dead_letter_list(text) IS
    'the parked keys of a projection (null: of all) as in projection_dead_letters';

/*
 * All that is known of one parked key; the event as it is in the stream now.
 * retry_error: why it could not be tried again, where that is no event's fault
 * (a full disk, a missing table); that was no attempt.
 */
CREATE FUNCTION @extschema@.dead_letter_show(id bigint)
    RETURNS TABLE (id bigint, projection text, stream text, aggregate_type text, partition_key text, no bigint,
                   version bigint, event_name text, event_id uuid, payload jsonb, metadata jsonb, created_at timestamptz,
                   state text, attempts integer, first_failed_at timestamptz, last_failed_at timestamptz,
                   next_retry_at timestamptz, sqlstate text, message text, detail text, hint text, context text,
                   waiting bigint, next text, retry_error text)
    LANGUAGE sql STABLE PARALLEL UNSAFE
    BEGIN ATOMIC
        SELECT l.id, l.projection, l.stream, l.aggregate_type, l.partition_key, l.no, l.version, l.event_name, e.event_id,
               e.payload, e.metadata, e.created_at, l.state, l.attempts, l.first_failed_at, l.last_failed_at, l.next_retry_at,
               l.sqlstate, l.message, l.detail, l.hint, l.context, l.waiting,
               CASE WHEN l.state OPERATOR(pg_catalog.=) 'dead' THEN pg_catalog.format('waits for SELECT dead_letter_replay(%s); or dead_letter_delete(%s), which skips this event, or dead_letter_delete(%s, whole => true), which skips all that waits', l.id, l.id, l.id)
                            WHEN l.state OPERATOR(pg_catalog.=) 'waiting for lock' THEN pg_catalog.format('is applied once its row is unlocked; looked at again at %s', l.next_retry_at)
                            ELSE pg_catalog.format('attempt %s of %s at %s', l.attempts::bigint OPERATOR(pg_catalog.+) 1, l.max_attempts, l.next_retry_at) END,
               l.retry_error
          FROM wallet_projection.parked_event l
         CROSS JOIN LATERAL wallet_projection.event_now(l.stream, l.aggregate_type, l.partition_key, l.no) e
         WHERE l.id OPERATOR(pg_catalog.=) dead_letter_show.id;
    END;
COMMENT ON FUNCTION @extschema@.dead_letter_show(bigint) IS
    'all that is known of one parked key: its event, the error, what waits behind it, and what happens next';

GRANT SELECT ON @extschema@.projection_partitions, @extschema@.projection_status, @extschema@.projection_workers,
    @extschema@.projection_dead_letters, wallet_projection.parked_event TO PUBLIC;
