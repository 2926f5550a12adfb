\echo Use "CREATE EXTENSION wallet_projection" to load this file. \quit

/*
 * The extension's own catalog.  It is dumped by pg_dump, and written by the
 * extension's C code only.
 */
CREATE SCHEMA wallet_projection;

CREATE TABLE wallet_projection.stream (
    name     text COLLATE "C" NOT NULL PRIMARY KEY,
    relation regclass NOT NULL
);
COMMENT ON TABLE wallet_projection.stream IS
    'event streams, by the name that the extension knows them by';

CREATE TABLE wallet_projection.projection (
    name           text COLLATE "C" NOT NULL PRIMARY KEY,
    stream         text COLLATE "C" NOT NULL,
    aggregate_type text COLLATE "C" NOT NULL,
    handler        text COLLATE "C" NOT NULL,
    channel        text COLLATE "C" NOT NULL DEFAULT 'async_projection',
    partitions     integer NOT NULL DEFAULT 16 CHECK (partitions BETWEEN 1 AND 1024),
    batch_size     integer NOT NULL DEFAULT 10000 CHECK (batch_size BETWEEN 1 AND 10000000),
    builtin        boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE wallet_projection.projection IS
    'what a projection is, as it was declared: stream, filter, handler, options';

CREATE TABLE wallet_projection.projection_state (
    projection text COLLATE "C" NOT NULL PRIMARY KEY,
    channel    text COLLATE "C",
    partitions integer CHECK (partitions BETWEEN 1 AND 1024),
    batch_size integer CHECK (batch_size BETWEEN 1 AND 10000000),
    read_model regclass,
    relation   regclass,
    last_error text
);
COMMENT ON TABLE wallet_projection.projection_state IS
    'options set since (null: as declared); the read model and the stream''s table, once initialized; the last error of a consumer';

CREATE TABLE wallet_projection.partition (
    projection text COLLATE "C" NOT NULL,
    partition  integer NOT NULL CHECK (partition BETWEEN 0 AND 1023),
    head       bigint NOT NULL CHECK (head >= 0),
    gaps       int8multirange NOT NULL CHECK (NOT pg_catalog.lower_inf(gaps) AND NOT pg_catalog.upper_inf(gaps)),
    PRIMARY KEY (projection, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE wallet_projection.partition IS
    'positions: an event is applied if and only if its number is not above head and not in gaps';

/*
 * The tables stay the superuser's who installs them, whatever role creates
 * the extension: the C code trusts their shape.  That role may dump and
 * restore them.
 */
GRANT SELECT, INSERT ON wallet_projection.stream, wallet_projection.projection, wallet_projection.projection_state,
    wallet_projection.partition TO @extowner@;

SELECT pg_catalog.pg_extension_config_dump('wallet_projection.stream', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.projection', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.projection_state', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.partition', '');

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
CREATE FUNCTION stream_create(stream text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_create';
COMMENT ON FUNCTION stream_create(text) IS
    'creates an event stream: a table of that name in the extension''s schema';

/*
 * stream_append(stream, aggregate_type, aggregate_id, events,
 * expected_version): appends events, a JSON array of
 *     {"event_name": text, "payload": object, "metadata": object, "event_id": uuid}
 * (metadata and event_id may be left out), all or nothing, as the next
 * versions of the aggregate, and returns its new version.  A call whose event
 * ids have all been appended before changes nothing and returns the version
 * of its last event.  Appends to one aggregate wait for each other.
 * Errors: 40001 expected_version is not the current version; 23505 an event
 * id belongs to another event; 42704 no such stream; 42501 no right to
 * insert; 22004, 22023, 22001 bad argument.
 */
CREATE FUNCTION stream_append(stream text, aggregate_type text, aggregate_id text, events jsonb,
                              expected_version bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_append';
COMMENT ON FUNCTION stream_append(text, text, text, jsonb, bigint) IS
    'appends events to an aggregate, all or nothing; returns the aggregate''s new version';

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

CREATE FUNCTION stream_read(stream text, aggregate_type text, aggregate_id text,
                            from_version bigint DEFAULT 1, max_count bigint DEFAULT NULL)
    RETURNS SETOF wallet_projection.event
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'stream_read';
COMMENT ON FUNCTION stream_read(text, text, text, bigint, bigint) IS
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

/* wallet_create(wallet_id, initial_balance): returns the id. */
CREATE FUNCTION wallet_create(wallet_id text, initial_balance numeric) RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_create';
COMMENT ON FUNCTION wallet_create(text, numeric) IS
    'creates a wallet; returns its id';

/* wallet_create(initial_balance): the id is a new UUID. */
CREATE FUNCTION wallet_create(initial_balance numeric) RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_create_with_new_id';
COMMENT ON FUNCTION wallet_create(numeric) IS
    'creates a wallet with a new UUID for an id; returns the id';

/* wallet_debit(wallet_id, amount, expected_version): returns the new version. */
CREATE FUNCTION wallet_debit(wallet_id text, amount numeric, expected_version bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_debit';
COMMENT ON FUNCTION wallet_debit(text, numeric, bigint) IS
    'takes an amount from a wallet that holds at least as much; returns the wallet''s new version';

/* wallet_credit(wallet_id, amount, expected_version): returns the new version. */
CREATE FUNCTION wallet_credit(wallet_id text, amount numeric, expected_version bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wallet_credit';
COMMENT ON FUNCTION wallet_credit(text, numeric, bigint) IS
    'adds an amount to a wallet; returns the wallet''s new version';

/*
 * wallet_get_balance(wallet_id), wallet_get_statistics(wallet_id): what the
 * read model wallet_balances says now; zero for a wallet that is not in it.
 * Errors: 55000 the projection wallet_balance is not initialized; 42501 no
 * right to select from the read model; 22004, 22023, 22001 bad id.
 */
CREATE FUNCTION wallet_get_balance(wallet_id text) RETURNS numeric
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_get_balance';
COMMENT ON FUNCTION wallet_get_balance(text) IS
    'a wallet''s balance in the read model; 0 for an unknown wallet';

CREATE FUNCTION wallet_get_statistics(wallet_id text) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_get_statistics';
COMMENT ON FUNCTION wallet_get_statistics(text) IS
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
 * positions of all partitions, and the stream where there is none yet.  May
 * be repeated.
 * Errors: 42P07 another relation has the read model's name.
 */
CREATE FUNCTION projection_init(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_init';
COMMENT ON FUNCTION projection_init(text) IS
    'creates a projection''s read model and positions; may be repeated';

/*
 * projection_delete(name): drops the read model, the positions and the
 * options, after running batches have ended.  The stream stays.  May be
 * repeated.
 */
CREATE FUNCTION projection_delete(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_delete';
COMMENT ON FUNCTION projection_delete(text) IS
    'drops a projection''s read model, positions and options; may be repeated';

/*
 * projection_reset(name): empties the read model and sets all positions to
 * the beginning of the stream, after running batches have ended.
 */
CREATE FUNCTION projection_reset(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_reset';
COMMENT ON FUNCTION projection_reset(text) IS
    'empties a projection''s read model and starts again from the first event';

/*
 * projection_set(name, option, value): sets an option.
 *     channel     the consumers that serve it (default async_projection)
 *     partitions  1 to 1024 (default 16); only before projection_init
 *     batch_size  events per transaction of a consumer, 1 to 10000000
 *                 (default 10000)
 * Errors: 22023 no such option or bad value; 55000 partitions after init.
 */
CREATE FUNCTION projection_set(name text, option text, value text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_set';
COMMENT ON FUNCTION projection_set(text, text, text) IS
    'sets an option of a projection: channel, partitions or batch_size';

/*
 * projection_run(name, max_events): applies all that is pending in the
 * partitions that no other session holds, or at most max_events events, in
 * the caller's transaction, and returns the number of events applied.  Memory
 * is bounded by wallet_projection.batch_memory.
 * Errors: WP005 an event cannot be applied; 55000 not initialized, or the
 * stream went backwards; 25001 the transaction's isolation level is not
 * READ COMMITTED; whatever the read model's constraints and triggers raise.
 */
CREATE FUNCTION projection_run(name text, max_events bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_run';
COMMENT ON FUNCTION projection_run(text, bigint) IS
    'applies pending events in the caller''s transaction; returns their number';

/*
 * projection_backfill(name, max_partitions): as projection_run, of up to so
 * many partitions (null: all that are free): sessions that run at once share
 * a long stream when each takes a part of them.
 */
CREATE FUNCTION projection_backfill(name text, max_partitions integer DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_backfill';
COMMENT ON FUNCTION projection_backfill(text, integer) IS
    'applies all pending events of some partitions; returns their number';

/*
 * CALL projection_consume(channel, ...): serves all projections of the
 * channel whose owner's rights the caller has, a transaction per batch, until
 * message_limit events are applied, time_limit is over, or, with
 * finish_when_no_messages, nothing is left; without any of these until it is
 * cancelled.  A projection whose batch fails is tried again after 1 s, then
 * 2 s, up to 60 s, while the others go on; the error is in
 * projection_status.last_error.  With stop_on_failure the first error ends
 * the call; with finish_when_no_messages it ends the call once the others
 * have nothing left.
 * Errors: 42704 no projection has the channel; 25001 inside a transaction
 * block; 42501, 22004, 22023; and those of projection_run.
 */
CREATE PROCEDURE projection_consume(channel text, message_limit bigint DEFAULT NULL, time_limit interval DEFAULT NULL,
                                    stop_on_failure boolean DEFAULT false, finish_when_no_messages boolean DEFAULT false)
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'projection_consume';
COMMENT ON PROCEDURE projection_consume(text, bigint, interval, boolean, boolean) IS
    'serves the projections of a channel, a transaction per batch';

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

/* How many numbers are in a set. */
CREATE FUNCTION wallet_projection.size(numbers int8multirange) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT coalesce(pg_catalog.sum(pg_catalog.upper(r) OPERATOR(pg_catalog.-) pg_catalog.lower(r)), 0)
              FROM pg_catalog.unnest(numbers) r)::bigint;
COMMENT ON FUNCTION wallet_projection.size(int8multirange) IS
    'how many numbers a multirange holds';

CREATE VIEW projection_partitions AS
SELECT p.projection, p.partition, p.head, p.gaps,
       CASE WHEN l.last_position IS NOT NULL
            THEN greatest(l.last_position - p.head, 0) + wallet_projection.size(p.gaps) END AS lag_events
  FROM (SELECT d.name, wallet_projection.last_position(d.stream) AS last_position
          FROM wallet_projection.projection d) l
  JOIN wallet_projection.partition p ON p.projection = l.name;
COMMENT ON VIEW projection_partitions IS
    'a row per partition: its position; lag_events counts the stream''s numbers that it has not passed yet';

CREATE VIEW projection_status AS
SELECT q.name AS projection, q.stream, q.channel,
       CASE WHEN q.read_model IS NULL THEN 'defined' WHEN coalesce(q.trouble, q.last_error) IS NOT NULL THEN 'failed'
            ELSE 'ready' END AS state,
       q.partitions, q.head, q.last_position, q.lag_events, q.gaps, 0::bigint AS parked, 0::bigint AS dead_letters,
       CASE WHEN q.trouble IS NOT NULL THEN q.trouble
            WHEN q.last_error IS NULL OR pg_catalog.pg_has_role(q.owner, 'USAGE') THEN q.last_error
            ELSE '<insufficient privilege>' END AS last_error
  FROM (SELECT d.name, d.stream, coalesce(s.channel, d.channel) AS channel, coalesce(s.partitions, d.partitions) AS partitions,
               s.read_model, c.relowner AS owner, s.last_error, l.last_position, p.head, p.lag_events, p.gaps,
               CASE WHEN s.read_model IS NULL THEN NULL
                    WHEN c.oid IS NULL THEN 'the read model was dropped'
                    WHEN l.last_position IS NULL THEN 'the stream was dropped'
                    WHEN s.relation OPERATOR(pg_catalog.<>) t.relation THEN 'the stream was replaced'
                    WHEN l.last_position < p.highest THEN 'the numbers of the stream went backwards' END AS trouble
          FROM wallet_projection.projection d
          CROSS JOIN LATERAL (SELECT wallet_projection.last_position(d.stream) AS last_position) l
          LEFT JOIN wallet_projection.projection_state s ON s.projection = d.name
          LEFT JOIN pg_catalog.pg_class c ON c.oid = s.read_model
          LEFT JOIN wallet_projection.stream t ON t.name = d.stream
          LEFT JOIN (SELECT projection, min(head) AS head, max(head) AS highest, max(lag_events) AS lag_events,
                            max(wallet_projection.size(gaps)) AS gaps
                       FROM projection_partitions GROUP BY projection) p ON p.projection = d.name) q;
COMMENT ON VIEW projection_status IS
    'a row per projection: state, lowest head, the stream''s last number, lag, gaps, and the last error of a consumer';

GRANT SELECT ON projection_partitions, projection_status TO PUBLIC;
