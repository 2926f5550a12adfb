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
    installation text,
    position     text,
    guard        text CHECK (guard OPERATOR(pg_catalog.=) 'identity'::pg_catalog.text OR guard OPERATOR(pg_catalog.=) 'trust'::pg_catalog.text)
);
COMMENT ON TABLE wallet_projection.stream IS
    'event streams, by the name that the extension knows them by: the table''s OID, which is true in this installation, and its name: the first one, and that of now, if it was renamed; of an attached table the column of its events'' numbers, and what keeps writers from bringing numbers';
COMMENT ON COLUMN wallet_projection.stream.name IS
    'name of the stream';
COMMENT ON COLUMN wallet_projection.stream.relation IS
    'OID of its table, true in the installation named here';
COMMENT ON COLUMN wallet_projection.stream.table_schema IS
    'schema of the table when it became a stream';
COMMENT ON COLUMN wallet_projection.stream.table_name IS
    'name of the table then';
COMMENT ON COLUMN wallet_projection.stream.new_schema IS
    'schema of the table now, if it was renamed';
COMMENT ON COLUMN wallet_projection.stream.new_name IS
    'name of the table now, if it was renamed';
COMMENT ON COLUMN wallet_projection.stream.installation IS
    'server, database and catalog in which the OIDs are true';
COMMENT ON COLUMN wallet_projection.stream."position" IS
    'column of the events'' numbers; null: a stream that stream_create has made';
COMMENT ON COLUMN wallet_projection.stream.guard IS
    'what keeps writers from bringing numbers: identity or trust; null: the column is GENERATED ALWAYS';

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
COMMENT ON COLUMN wallet_projection.projection.name IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.projection.stream IS
    'name of the stream';
COMMENT ON COLUMN wallet_projection.projection.aggregate_type IS
    'type of the aggregates whose events it applies';
COMMENT ON COLUMN wallet_projection.projection.handler IS
    'what applies the events';
COMMENT ON COLUMN wallet_projection.projection.channel IS
    'channel, as declared';
COMMENT ON COLUMN wallet_projection.projection.partitions IS
    'number of partitions, as declared';
COMMENT ON COLUMN wallet_projection.projection.batch_size IS
    'events per transaction of a consumer, as declared';
COMMENT ON COLUMN wallet_projection.projection.builtin IS
    'comes with the extension, and is not dumped';

CREATE TABLE wallet_projection.definition (
    projection   text COLLATE "C" NOT NULL PRIMARY KEY,
    kind         text NOT NULL,
    definition   text NOT NULL,
    key          text,
    for_each     text,
    settings     text[] NOT NULL,
    uses         text[] NOT NULL,
    columns      text[] NOT NULL,
    fingerprint  bigint NOT NULL,
    ordering     text NOT NULL,
    strict       boolean NOT NULL DEFAULT false,
    allow_stable boolean NOT NULL DEFAULT false,
    start_head   bigint NOT NULL DEFAULT '0'::bigint CHECK (start_head OPERATOR(pg_catalog.>=) 0),
    start_gaps   int8multirange NOT NULL DEFAULT '{}' CHECK (NOT pg_catalog.lower_inf(start_gaps) AND NOT pg_catalog.upper_inf(start_gaps))
);
COMMENT ON TABLE wallet_projection.definition IS
    'definitions of declared projections (projection_create): the text; the settings that it is read and run with; what its names were resolved to; the read model''s columns that it uses; a fingerprint of what chooses the key and the partition; the position at which it begins';
COMMENT ON COLUMN wallet_projection.definition.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.definition.kind IS
    'row or statement';
COMMENT ON COLUMN wallet_projection.definition.definition IS
    'the text';
COMMENT ON COLUMN wallet_projection.definition.key IS
    'of a statement: the key of its events';
COMMENT ON COLUMN wallet_projection.definition.for_each IS
    'of a statement: event or batch';
COMMENT ON COLUMN wallet_projection.definition.settings IS
    'settings with which the text is read and run';
COMMENT ON COLUMN wallet_projection.definition.uses IS
    'what the names of the text were resolved to';
COMMENT ON COLUMN wallet_projection.definition.columns IS
    'columns of the read model that the definition uses';
COMMENT ON COLUMN wallet_projection.definition.fingerprint IS
    'hash of what chooses the key and the partition';
COMMENT ON COLUMN wallet_projection.definition.ordering IS
    'version, number or arrival';
COMMENT ON COLUMN wallet_projection.definition.strict IS
    'an event for which no WHEN holds is bad';
COMMENT ON COLUMN wallet_projection.definition.allow_stable IS
    'functions of users that are STABLE are allowed';
COMMENT ON COLUMN wallet_projection.definition.start_head IS
    'head of the position at which it begins';
COMMENT ON COLUMN wallet_projection.definition.start_gaps IS
    'gaps of the position at which it begins';

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
    stream_tables oid[],
    rebuild_advised timestamptz,
    verify_rate  integer CHECK (verify_rate OPERATOR(pg_catalog.>=) 0 AND verify_rate OPERATOR(pg_catalog.<=) 1000000),
    drift        text,
    failed_since timestamptz,
    CHECK (max_attempts IS NULL AND retry_delay IS NULL AND retry_multiplier IS NULL AND retry_max_delay IS NULL AND retry_jitter IS NULL AND max_parked IS NULL
        OR max_attempts IS NOT NULL AND retry_delay IS NOT NULL AND retry_multiplier IS NOT NULL AND retry_max_delay IS NOT NULL AND retry_jitter IS NOT NULL AND max_parked IS NOT NULL)
);
COMMENT ON TABLE wallet_projection.projection_state IS
    'options set since (null: as declared; delays in milliseconds); the read model and the stream''s table, once initialized, by their OIDs, which are true in this installation, and the read model''s name: the first one, and that of now, if it was renamed; whose the projection is; the partitions or children of the stream''s table when positions were last saved, by their OIDs; the last error of a whole batch; when the definition was altered, if rows may still be those of an older one; keys per second that idle workers verify, and the first key that they have found different';
COMMENT ON COLUMN wallet_projection.projection_state.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.projection_state.channel IS
    'channel, if it was set';
COMMENT ON COLUMN wallet_projection.projection_state.partitions IS
    'number of partitions, if it was set';
COMMENT ON COLUMN wallet_projection.projection_state.batch_size IS
    'events per transaction, if it was set';
COMMENT ON COLUMN wallet_projection.projection_state.read_model IS
    'OID of the read model, once initialized';
COMMENT ON COLUMN wallet_projection.projection_state.relation IS
    'OID of the stream''s table, once initialized';
COMMENT ON COLUMN wallet_projection.projection_state.last_error IS
    'error of the last whole batch that failed';
COMMENT ON COLUMN wallet_projection.projection_state.failures IS
    'failed batches in a row';
COMMENT ON COLUMN wallet_projection.projection_state.next_try IS
    'when the failed batch is tried again';
COMMENT ON COLUMN wallet_projection.projection_state.failed_since IS
    'when the first of the failed batches in a row failed';
COMMENT ON COLUMN wallet_projection.projection_state.max_attempts IS
    'at an event, until its key is a dead letter';
COMMENT ON COLUMN wallet_projection.projection_state.retry_delay IS
    'after the first failure, in milliseconds';
COMMENT ON COLUMN wallet_projection.projection_state.retry_multiplier IS
    'of the delay, after each further failure';
COMMENT ON COLUMN wallet_projection.projection_state.retry_max_delay IS
    'the longest delay, in milliseconds';
COMMENT ON COLUMN wallet_projection.projection_state.retry_jitter IS
    'share by which a delay varies at random';
COMMENT ON COLUMN wallet_projection.projection_state.max_parked IS
    'keys that may be parked';
COMMENT ON COLUMN wallet_projection.projection_state.table_schema IS
    'schema of the read model when it was initialized';
COMMENT ON COLUMN wallet_projection.projection_state.table_name IS
    'name of the read model then';
COMMENT ON COLUMN wallet_projection.projection_state.new_schema IS
    'schema of the read model now, if it was renamed';
COMMENT ON COLUMN wallet_projection.projection_state.new_name IS
    'name of the read model now, if it was renamed';
COMMENT ON COLUMN wallet_projection.projection_state.installation IS
    'server, database and catalog in which the OIDs are true';
COMMENT ON COLUMN wallet_projection.projection_state.owner IS
    'OID of the role that has initialized the projection';
COMMENT ON COLUMN wallet_projection.projection_state.owner_name IS
    'name of that role';
COMMENT ON COLUMN wallet_projection.projection_state.stream_tables IS
    'OIDs of the stream''s partitions or children when positions were last saved';
COMMENT ON COLUMN wallet_projection.projection_state.rebuild_advised IS
    'when the definition was altered, if rows may still be those of an older one';
COMMENT ON COLUMN wallet_projection.projection_state.verify_rate IS
    'keys per second that idle workers verify';
COMMENT ON COLUMN wallet_projection.projection_state.drift IS
    'the first key that idle workers have found different';

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
COMMENT ON COLUMN wallet_projection.position.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.position.lane IS
    'the lowest group of partitions that the batch has claimed';
COMMENT ON COLUMN wallet_projection.position.version IS
    'of the lane; the highest counts';
COMMENT ON COLUMN wallet_projection.position.part IS
    'number of the row in its version';
COMMENT ON COLUMN wallet_projection.position.turn IS
    'of several rows with a group, the one with the highest turn counts';
COMMENT ON COLUMN wallet_projection.position.groups IS
    'bit mask of the groups of partitions that have this position';
COMMENT ON COLUMN wallet_projection.position.head IS
    'the highest number that was passed';
COMMENT ON COLUMN wallet_projection.position.gaps IS
    'numbers up to head that are not applied';
COMMENT ON COLUMN wallet_projection.position.written IS
    'rows were written to the read model since the beginning';
COMMENT ON COLUMN wallet_projection.position.old_blocks IS
    'blocks of old gaps of this position';
COMMENT ON COLUMN wallet_projection.position.old_first IS
    'lowest number in these blocks';
COMMENT ON COLUMN wallet_projection.position.old_last IS
    'highest number in these blocks';
COMMENT ON COLUMN wallet_projection.position.old_size IS
    'how many numbers these blocks hold';
COMMENT ON COLUMN wallet_projection.position.old_owners IS
    'a mark of the installation, and the transactions that may fill the old gaps';

CREATE TABLE wallet_projection.old_gaps (
    projection text COLLATE "C" NOT NULL,
    block      bigint NOT NULL CHECK (block OPERATOR(pg_catalog.>) 0),
    gaps       int8multirange NOT NULL CHECK (NOT pg_catalog.lower_inf(gaps) AND NOT pg_catalog.upper_inf(gaps)),
    PRIMARY KEY (projection, block)
);
COMMENT ON TABLE wallet_projection.old_gaps IS
    'gaps that only transactions can fill which have been open for long, in blocks that rows of wallet_projection.position name; a block is never changed';
COMMENT ON COLUMN wallet_projection.old_gaps.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.old_gaps.block IS
    'number of the block, which rows of position name';
COMMENT ON COLUMN wallet_projection.old_gaps.gaps IS
    'the numbers';

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
    by_number       boolean NOT NULL DEFAULT false,
    hash            bigint,
    whole_key       text COLLATE "C",
    PRIMARY KEY (projection, partition_key, by_number)
);
CREATE INDEX parked_retry ON wallet_projection.parked (projection, next_retry_at);
CREATE INDEX parked_by_number ON wallet_projection.parked (projection, by_number, no);
CREATE INDEX parked_hash ON wallet_projection.parked (projection, hash);
COMMENT ON TABLE wallet_projection.parked IS
    'keys whose next event (no) has failed; it and those behind it were passed over; no next retry: a dead letter; by_number: a single event whose key cannot be computed, and partition_key is its number; hash: of the key, by which a declared projection finds it, as equal keys may have different texts; whole_key: one that is too long for the index, of which partition_key is the beginning and a digest';
COMMENT ON COLUMN wallet_projection.parked.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.parked.partition_key IS
    'the key, or of an event without a computable key its number';
COMMENT ON COLUMN wallet_projection.parked.id IS
    'the id that users see';
COMMENT ON COLUMN wallet_projection.parked.partition IS
    'partition of the key';
COMMENT ON COLUMN wallet_projection.parked.no IS
    'number of the event that failed';
COMMENT ON COLUMN wallet_projection.parked.version IS
    'version of the event that failed';
COMMENT ON COLUMN wallet_projection.parked.event_name IS
    'type of the event that failed';
COMMENT ON COLUMN wallet_projection.parked.attempts IS
    'attempts at the event; 0: the key only waits for a lock or a value';
COMMENT ON COLUMN wallet_projection.parked.waiting IS
    'events of the key behind it that were passed over';
COMMENT ON COLUMN wallet_projection.parked.first_failed_at IS
    'time of the first failure';
COMMENT ON COLUMN wallet_projection.parked.last_failed_at IS
    'time of the last failure';
COMMENT ON COLUMN wallet_projection.parked.next_retry_at IS
    'when it is tried again; null: a dead letter';
COMMENT ON COLUMN wallet_projection.parked.sqlstate IS
    'SQLSTATE of the error';
COMMENT ON COLUMN wallet_projection.parked.message IS
    'message of the error';
COMMENT ON COLUMN wallet_projection.parked.detail IS
    'detail of the error';
COMMENT ON COLUMN wallet_projection.parked.hint IS
    'hint of the error';
COMMENT ON COLUMN wallet_projection.parked.context IS
    'context of the error';
COMMENT ON COLUMN wallet_projection.parked.retry_error IS
    'why the last retry could not be done, where that is no event''s fault';
COMMENT ON COLUMN wallet_projection.parked.applied IS
    'numbers behind the event that had been applied before it could be seen';
COMMENT ON COLUMN wallet_projection.parked.by_number IS
    'a single event whose key cannot be computed';
COMMENT ON COLUMN wallet_projection.parked.hash IS
    'hash of the key';
COMMENT ON COLUMN wallet_projection.parked.whole_key IS
    'a key that is too long for the index';

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
COMMENT ON COLUMN wallet_projection.skipped.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.skipped.no IS
    'number of the event that is never applied';
COMMENT ON COLUMN wallet_projection.skipped.partition_key IS
    'its key';
COMMENT ON COLUMN wallet_projection.skipped.event_name IS
    'its type';
COMMENT ON COLUMN wallet_projection.skipped.skipped_at IS
    'when it was skipped';
COMMENT ON COLUMN wallet_projection.skipped.skipped_by IS
    'the role that has skipped it';
COMMENT ON COLUMN wallet_projection.skipped.sqlstate IS
    'SQLSTATE of its error';
COMMENT ON COLUMN wallet_projection.skipped.message IS
    'message of its error';
COMMENT ON COLUMN wallet_projection.skipped.event_id IS
    'id of the event, if it has one';
COMMENT ON COLUMN wallet_projection.skipped.last_no IS
    'all events of the key up to this number are skipped, until projection_reset';
COMMENT ON COLUMN wallet_projection.skipped.events IS
    'how many these were';

CREATE TABLE wallet_projection.unhandled (
    projection text COLLATE "C" NOT NULL,
    lane       integer NOT NULL CHECK (lane OPERATOR(pg_catalog.>=) 0 AND lane OPERATOR(pg_catalog.<=) 63),
    part       integer NOT NULL,
    why        text NOT NULL,
    what       text,
    count      bigint NOT NULL,
    first_no   bigint NOT NULL,
    last_no    bigint NOT NULL,
    PRIMARY KEY (projection, lane, part)
);
COMMENT ON TABLE wallet_projection.unhandled IS
    'events that a declared projection has done nothing with, counted by each lane of positions for itself; see projection_unhandled';
COMMENT ON COLUMN wallet_projection.unhandled.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.unhandled.lane IS
    'the lane of positions that counts';
COMMENT ON COLUMN wallet_projection.unhandled.part IS
    'number of the row in its lane';
COMMENT ON COLUMN wallet_projection.unhandled.why IS
    'no WHEN holds, or the key is null';
COMMENT ON COLUMN wallet_projection.unhandled.what IS
    'type of the events';
COMMENT ON COLUMN wallet_projection.unhandled.count IS
    'number of events';
COMMENT ON COLUMN wallet_projection.unhandled.first_no IS
    'lowest number';
COMMENT ON COLUMN wallet_projection.unhandled.last_no IS
    'highest number';

CREATE TABLE wallet_projection.channel (
    name    text COLLATE "C" NOT NULL PRIMARY KEY,
    workers integer NOT NULL CHECK (workers OPERATOR(pg_catalog.>=) 0 AND workers OPERATOR(pg_catalog.<=) 1024)
);
COMMENT ON TABLE wallet_projection.channel IS
    'how many background workers a channel is to have, where channel_scale has said so';
COMMENT ON COLUMN wallet_projection.channel.name IS
    'name of the channel';
COMMENT ON COLUMN wallet_projection.channel.workers IS
    'how many background workers it is to have';

/* Not dumped: a restored projection is stopped until somebody starts it. */
CREATE TABLE wallet_projection.started (
    projection text COLLATE "C" NOT NULL PRIMARY KEY,
    database   oid NOT NULL
);
COMMENT ON TABLE wallet_projection.started IS
    'the projections that background workers serve; rows of another database came with a copy of it, and do not count';
COMMENT ON COLUMN wallet_projection.started.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.started.database IS
    'OID of the database in which it was started';

/*
 * Nobody is given a right on these tables: only the extension's C code writes
 * them, and a superuser dumps and restores them.
 */
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.stream', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.projection', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.definition', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.projection_state', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.position', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.old_gaps', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.channel', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.parked', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.parked_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.skipped', '');
SELECT pg_catalog.pg_extension_config_dump('wallet_projection.unhandled', '');

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
 * trigger on the table and on each of its partitions and children; off drops
 * them again.  To be called again for one that is attached later, if anybody
 * inserts straight into it.  Appends through the extension need none, and
 * workers find such events without it too, after
 * wallet_projection.poll_interval at the latest.  Locks the tables against
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
 * stream_attach(stream, relation, position, guard): makes a table of any
 * columns a stream of this name.  It is permanent, ordinary or partitioned,
 * and has a column of numbers, position (null: the one that a sequence
 * numbers): smallint, integer or bigint, not null, first in a unique index,
 * filled by a sequence of its own with CACHE 1, INCREMENT 1, NO CYCLE that the
 * INSERT draws from.  guard says what keeps writers from bringing numbers of
 * their own: null: the column is GENERATED ALWAYS AS IDENTITY; 'identity': make
 * it that (the table is locked for a moment, no row is rewritten; who brings a
 * number gets 428C9); 'trust': nobody does so, says the caller.  Otherwise
 * nothing in the table is changed.
 * Errors: 55000, 42809, 42804, 0A000 the table cannot be a stream, 42703 no
 * such column, 42702 several columns are numbered; 42710 there is such a
 * stream, or the table is one; 42501 not the table's owner, or the name is not
 * schema.table and the caller may not create in the extension's schema; 22004,
 * 22023 bad argument.
 */
CREATE FUNCTION @extschema@.stream_attach(stream text, relation regclass, "position" name DEFAULT NULL,
                              guard text DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_attach';
COMMENT ON FUNCTION @extschema@.stream_attach(text, regclass, name, text) IS
    'makes a table of any columns a stream';

/*
 * stream_detach(stream): forgets a stream that was attached.  The table stays
 * as it is.
 * Errors: 42704 no such attached stream; 55006 projections read it; 42501 not
 * the table's owner; 22004, 22023 bad argument.
 */
CREATE FUNCTION @extschema@.stream_detach(stream text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_detach';
COMMENT ON FUNCTION @extschema@.stream_detach(text) IS
    'forgets a stream that was attached; its table stays';

/*
 * The numbers first to last that are in a stream, in order, as a projection
 * reads them.  Needs the right to read the stream.
 */
CREATE FUNCTION wallet_projection.stream_rows(stream text, first bigint, last bigint) RETURNS SETOF bigint
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_rows';
COMMENT ON FUNCTION wallet_projection.stream_rows(text, bigint, bigint) IS
    'the numbers of a stream''s events, in order';

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
COMMENT ON TYPE wallet_projection.event IS
    'a row of stream_read: an event';
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
 * wallet_balance_at(wallet_id, at): a wallet's balance after its events up to
 * a number, or before its first event that is younger than a time; null: the wallet did not
 * exist yet.  From the events alone, with the caller's right to read the stream.
 * Errors: 42501 no right to select from the stream; WP005 an event of the
 * wallet cannot be applied; 22004, 22023, 22001 bad id.
 */
CREATE FUNCTION @extschema@.wallet_balance_at(wallet_id text, at bigint) RETURNS numeric
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_balance_at';
COMMENT ON FUNCTION @extschema@.wallet_balance_at(text, bigint) IS
    'a wallet''s balance after its events up to a number; null: there was no such wallet';

CREATE FUNCTION @extschema@.wallet_balance_at(wallet_id text, at timestamptz) RETURNS numeric
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_balance_at_time';
COMMENT ON FUNCTION @extschema@.wallet_balance_at(text, timestamptz) IS
    'a wallet''s balance at a time; null: there was no such wallet';

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
 * projection_reset(name, force): begins again, after running batches have
 * ended: all events are applied anew, those of parked keys too, and those that
 * were given up with a key.  Events that were skipped by themselves stay so.
 * Of a projection that runs (that is started, or has a consumer) rows are made
 * right where they stand, in the caller's transaction: who reads sees the old
 * rows, then the new ones, and never an empty table; batches wait meanwhile
 * (CALL projection_rebuild lets them go on).  Otherwise, and of a statement,
 * and where the positions mean nothing any more, the read model is emptied, and
 * all positions are set to the beginning of the stream.
 * Errors: 0A000 a statement that changes several tables, or rows that it has
 * not inserted; one that begins in the middle of the stream (start_at 'now'),
 * as long as its read model has rows.  55000 the stream does not begin at the
 * beginning any more, unless force; or more keys would be parked than may be.
 */
CREATE FUNCTION @extschema@.projection_reset(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_reset';
COMMENT ON FUNCTION @extschema@.projection_reset(text) IS
    'applies all events anew: of a projection that runs rows are made right where they stand, otherwise its read model is emptied first';
CREATE FUNCTION @extschema@.projection_reset(name text, force boolean) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_reset';
COMMENT ON FUNCTION @extschema@.projection_reset(text, boolean) IS
    'the same; force: also where the stream does not begin at the beginning any more';

/*
 * projection_create(name, definition, ...): a projection of the caller's own.
 * definition is one MERGE, applied event by event in order of the events'
 * numbers:
 *     MERGE INTO orders_view o USING order_events e ON o.order_id = e.order_id
 *     WHEN NOT MATCHED AND e.event_type = 'PLACED' THEN INSERT (order_id, total) VALUES (e.order_id, 0)
 *     WHEN MATCHED AND e.event_type = 'ITEM_ADDED' THEN UPDATE SET total = o.total + (e.payload->>'price')::numeric
 * The target is the read model, a table of the caller's; the source is the
 * stream, a table with a number for each event (see stream_attach), or a view
 * or sub-select over it; ON names the key, and covers a unique index of the
 * read model.  INSERT ... SELECT ... ON CONFLICT is read in the same way.
 *     channel       the workers and consumers that apply it
 *     partitions    1 to 1024: as many consumers can work at once
 *     start_at      'beginning': all events; 'now': those that this call does
 *                   not see, those of open transactions among them
 *     strict        an event for which no WHEN holds is bad: its key is parked
 *     ordering      'number': an event waits for all smaller numbers that may
 *                   still be written; 'arrival': it does not, as the actions
 *                   commute; null: as 'number', unless a unique index of the
 *                   stream on (key, version) proves that writers of a key wait
 *                   for each other
 *     if_not_exists one that exists with the same definition is left as it is
 *     allow_stable  user-defined functions that are STABLE may be used
 * With stream, the name of a stream or of a table, the definition is any
 * INSERT, UPDATE, DELETE or MERGE, also with others in its WITH. It reads its
 * events from the relation "events", which has the stream's columns:
 *     INSERT INTO order_lines SELECT e.no, e.order_id, l.*
 *       FROM events e, jsonb_to_recordset(e.payload->'lines') AS l(sku text, quantity int)
 * It may read other tables. The table that it modifies first is the read model.
 *     key           an expression over the stream's columns, or several, as in
 *                   'order_id': an event that fails stops only its key. An
 *                   event whose key is null is left out. Null: all events
 *                   have one key, so that one that fails stops all
 *     for_each      'event': it runs once per event, in order of their
 *                   numbers; 'batch': over any number of events at once,
 *                   of any keys: see projection_try
 * The projection belongs to the read model's owner, and works with that role's
 * rights.  Errors: 42710 it exists; 42501 no right; 0A000 what a definition
 * cannot do; 55000 the read model is not empty; 55006 another projection
 * writes to it; and those of the statement.
 */
CREATE FUNCTION @extschema@.projection_create(name text, definition text, stream text DEFAULT NULL, key text DEFAULT NULL,
                                  channel text DEFAULT 'async_projection'::pg_catalog.text, partitions integer DEFAULT 16,
                                  start_at text DEFAULT 'beginning'::pg_catalog.text, strict boolean DEFAULT false,
                                  ordering text DEFAULT NULL, if_not_exists boolean DEFAULT false,
                                  allow_stable boolean DEFAULT false, for_each text DEFAULT 'event'::pg_catalog.text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_create';
COMMENT ON FUNCTION @extschema@.projection_create(text, text, text, text, text, integer, text, boolean, text, boolean, boolean, text) IS
    'creates a projection from a MERGE over a stream, or from a statement over its events, and starts it where there are background workers';

/*
 * projection_alter(name, definition): gives a projection that projection_create
 * has made another definition, which is checked as at its creation, with the
 * settings of this session.  Waits until running batches have ended; from the
 * commit on events are applied by the new definition, also those of parked keys
 * that are tried again.  Rows that are there stay as they are until projection_rebuild has
 * made them what the new definition makes of all events; until then
 * projection_status.state is 'rebuild advised'.  To add a column: ALTER TABLE, projection_alter,
 * projection_rebuild.
 *
 * What stays: read model, stream, key (what ON compares, or argument key),
 * partitions, for_each, start_at, ordering, strict and allow_stable.  The
 * conditions, the filter and the values may be others.  A statement has to change
 * the same tables as before.
 * Errors: 0A000 what stays would be another one, and for a projection that comes with
 * the extension; 42501 not the owner; 42704 no such projection; those of projection_create
 * for a definition.
 */
CREATE FUNCTION @extschema@.projection_alter(name text, definition text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_alter';
COMMENT ON FUNCTION @extschema@.projection_alter(text, text) IS
    'gives a declared projection another definition, for events from now on; rows follow with projection_rebuild';

/*
 * projection_definition(name): the definition that is in force, as it was given to projection_create
 * or projection_alter.  Null for a projection that comes with the extension.
 * Errors: 42501 not the owner; 42704 no such projection.
 */
CREATE FUNCTION @extschema@.projection_definition(name text) RETURNS text
    LANGUAGE C STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'projection_definition';
COMMENT ON FUNCTION @extschema@.projection_definition(text) IS
    'the definition of a declared projection, for its owner; null: it has none';

/*
 * projection_verify(name [, partition_key]): are the rows of the read model what
 * the events say?  It computes all rows anew, or that of one key, from the events
 * that the positions say are applied, and returns what differs from the table:
 * no row means that the read model is right.
 *     problem       'different'   the row, or one of its columns, is another one;
 *                                 or an event that was applied cannot be computed
 *                                 any more: then expected is its error, and
 *                                 column_name is null
 *                   'missing'     there is no row
 *                   'surplus'     there is a row that no event has made
 *                   'late event'  an event that came into the stream below the
 *                                 positions (inserted with a number of its own)
 *                                 was never applied, and nothing else is wrong
 *                                 with the key. expected: the event
 *     column_name   the column that differs; null: the row as a whole
 *     expected, actual  the value, or the whole row, as text
 * partition_key is the key's text: of several columns in the form of a row.
 *
 * It writes nothing, fires no trigger and claims nothing, so consumers and
 * writers go on meanwhile: everything is read under one snapshot. The key of a
 * dead letter is compared up to the event that failed; skipped events are left
 * out. It takes at most wallet_projection.batch_memory, whatever the number of
 * keys is: where that is not enough it reads the stream several times. It may be
 * called in a read-only transaction and on a standby.
 *
 * Compared are the columns that the definition assigns and those with an
 * immutable default. Not compared are generated and identity columns, columns
 * whose default changes (now(), a sequence), or that are computed from such a
 * column, and columns that the definition does not know of. What a trigger has
 * changed of a row differs, as no event says it.
 *
 * force: also where the stream does not begin at the beginning any more, so that
 * what the missing events did is said to be wrong.
 * Errors: 42501 not the projection's owner; 0A000 it is a statement: create the
 * same into a second table, and compare the two; 55000 it was changed meanwhile,
 * or the stream lacks its beginning.
 */
CREATE FUNCTION @extschema@.projection_verify(name text, INOUT partition_key text DEFAULT NULL, force boolean DEFAULT false,
                                  OUT problem text, OUT column_name text, OUT expected text, OUT actual text) RETURNS SETOF record
    LANGUAGE C STABLE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_verify';
COMMENT ON FUNCTION @extschema@.projection_verify(text, text, boolean) IS
    'compares the read model with rows computed anew from the events, under one snapshot; returns what differs, so nothing if all is right';

/*
 * projection_drop(name): forgets a projection that projection_create has made:
 * its definition, positions, options, dead letters.  The read model and the
 * stream stay as they are.
 * Errors: 42809 it comes with the extension.
 */
CREATE FUNCTION @extschema@.projection_drop(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_drop';
COMMENT ON FUNCTION @extschema@.projection_drop(text) IS
    'forgets a declared projection; its read model stays';

/*
 * projection_row_at(name, key, at): the row that the projection's definition, as
 * it is now, makes of the key's events up to a number, or of those before the
 * first one that is younger than a time; null: there was no row.  From the events alone: what is applied or stands
 * in the read model makes no difference, and events are left out that
 * dead_letter_delete has skipped.  Columns whose defaults change (a
 * sequence's next number, the time of day) are null.  The key is a text as in
 * projection_dead_letters; one of several columns is a row: '(a,1)'.  A time needs a
 * stream that stream_create has made, or a column created_at, occurred_at, recorded_at,
 * inserted_at or event_time of type timestamptz.  Uses an index on the key where
 * the stream has one; a notice says which one would help.
 * Errors: that of an event that cannot be applied, its context says which;
 * 0A000 a statement projection, or no column says when; 42501 not the owner; 42704 no such
 * projection; 22004 null.
 */
CREATE FUNCTION @extschema@.projection_row_at(name text, key text, at bigint) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_row_at';
COMMENT ON FUNCTION @extschema@.projection_row_at(text, text, bigint) IS
    'the row that the key''s events up to a number make; null: none';

CREATE FUNCTION @extschema@.projection_row_at(name text, key text, at timestamptz) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_row_at_time';
COMMENT ON FUNCTION @extschema@.projection_row_at(text, text, timestamptz) IS
    'the row that the key''s events up to a time make; null: none';

/*
 * projection_compare(a, b): the differences between the read models of two
 * projections of one stream, in one snapshot in which both have applied the same
 * events. Such a snapshot is waited for, at most as long as timeout says. Rows
 * belong together by the key of a (of a statement projection, its table's primary
 * key); columns are compared that one of the projections uses. Returns no row
 * where there is no difference; otherwise
 *     partition_key  the key as text; null: it is not about a row
 *     problem        'different'; 'only in a', 'only in b': the other one has no
 *                    row of the key; 'column missing'
 *     column_name    the column; null: the row as a whole
 *     a, b           the values as text, or the rows
 * Nothing is written, and nobody waits. For the owner of both.
 * Errors: 42704 no such projection; 42501 not the owner; 55000 they are of
 * different streams, or have not applied the same events in time: the detail says
 * which is behind, and by how much; 42703 b's table lacks a column of the key;
 * 22004, 22023 an argument.
 */
CREATE FUNCTION @extschema@.projection_compare(a text, b text, timeout interval DEFAULT '10 seconds'::pg_catalog.interval,
                                   OUT partition_key text, OUT problem text, OUT column_name text, OUT in_a text, OUT in_b text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_compare';
COMMENT ON FUNCTION @extschema@.projection_compare(text, text, interval) IS
    'the differences between the read models of two projections of one stream, at equal positions';

/*
 * projection_promote(new, old): a projection takes another one's place. From the
 * commit on, the table that has the old one's name holds the rows of the new one,
 * which goes on with them; the old one goes on with its own rows, under the name
 * that the table of the new one had. Projections keep their names: 'v2' now feeds
 * the public table and 'v1' the other one, so the way back is
 * projection_promote('v1', 'v2'). Returns how it was done:
 *     'storage'  the tables are alike (columns, constraints, indexes): their
 *                storage was exchanged, and everything that depends on a table
 *                goes on to do so. Triggers, policies and rights stay with the
 *                name, indexes and constraints as well
 *     'names'    the tables differ: they have exchanged their names. The owner, grants,
 *                comments, policies, triggers, views, foreign keys that refer
 *                to the old table, and publications were moved. A statement
 *                that was prepared before goes on, unless the types of its
 *                result are others now
 * Where the two tables have different owners, the name's owner stays, and each
 * definition has the rights of the owner of its table from now on.
 * First the new projection has to apply what the old one has applied; its
 * consumers do that, or the call where there are none. Then both are locked, then
 * the tables, each for a moment; whatever cannot be had at once, everything is
 * given back and tried again. Readers wait for a tenth of a second or so, and see
 * the old rows before, the new ones after: never none, and none that are older.
 *     timeout   how long it tries
 *     force     also where keys of the new projection are parked, its definition
 *               was altered and it was not rebuilt, or subscribers of a
 *               publication may have copies of the rows
 *     triggers  where names are exchanged: the old table's triggers go along
 * In READ COMMITTED. For the owner of both; of views and tables that are changed
 * along as well.
 * Errors, after which nothing has changed: 42704 no such projection; 42501 not the
 * owner; 55000 they are of different streams, the new one has not caught up (the
 * detail says by how much), it has parked keys or rows of an earlier definition,
 * subscribers may have copies;
 * 0A000 something that cannot be moved depends on the old table (the detail
 * lists it); 55P03 the locks could not be had in time; 23503 a foreign key
 * refers to a row that the new table does not have; 22004, 22023 an argument.
 */
CREATE FUNCTION @extschema@.projection_promote(new text, old text, timeout interval DEFAULT '30 seconds'::pg_catalog.interval,
                                   force boolean DEFAULT false, triggers boolean DEFAULT true) RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_promote';
COMMENT ON FUNCTION @extschema@.projection_promote(text, text, interval, boolean, boolean) IS
    'lets a projection''s rows take the place of another one''s, under the name of its table';

/*
 * projection_set(name, option, value): sets an option.
 *     channel     the workers and consumers that apply it (default async_projection)
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
 *     max_parked        keys, 0 to 1000000 (default 100000); one more stops the
 *                       projection.  0: the first event that fails does.
 *     verify_rate keys per second that background workers with nothing else to
 *                 do compare with their events, 0 to 1000000 (default 0)
 *     strict      true or false: an event for which no WHEN of the definition
 *                 holds is bad; from the next batch on
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
 * CALL projection_rebuild(name, partition_key, force): makes the read model what
 * its events say, while everything goes on.  The stream is folded without a
 * claim; then, some keys at a time and a transaction each, only rows that differ
 * are written.  A reader sees each row as it was or as it ought to be, never an empty
 * table; events that come meanwhile are applied as ever.  Parked keys are tried
 * again.  May be cancelled, and called again; sessions that call it for
 * one projection share the work.  With a partition_key, only that key's row, in the
 * caller's transaction.  force: also where the stream has lost its oldest
 * events.  A row that cannot be written is left as it is, with a warning.
 * Errors: 42704 no such projection; 25001 inside a transaction block, without a
 * partition_key; 55000 not initialized, its stream does not begin at the
 * beginning any more, or the projection was changed meanwhile; 55006 it is being reset,
 * or, without preloading, rebuilt by another session; 0A000 it is a statement; 42501; 22004.
 */
CREATE PROCEDURE @extschema@.projection_rebuild(name text, partition_key text DEFAULT NULL, force boolean DEFAULT false)
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'projection_rebuild';
COMMENT ON PROCEDURE @extschema@.projection_rebuild(text, text, boolean) IS
    'makes rows of the read model what the events say, and writes only those that differ';

/*
 * CALL projection_rebuild_all(channel, force): rebuilds all projections of a
 * channel, one after the other, but for statements.  The first error ends the
 * call.
 * Errors: 42704 no projection has the channel; and those of projection_rebuild.
 */
CREATE PROCEDURE @extschema@.projection_rebuild_all(channel text DEFAULT 'async_projection', force boolean DEFAULT false)
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'projection_rebuild_all';
COMMENT ON PROCEDURE @extschema@.projection_rebuild_all(text, boolean) IS
    'rebuilds the projections of a channel';

/* The rebuilds that run in this database; none without preloading. */
CREATE FUNCTION wallet_projection.rebuild_progress(OUT projection text, OUT phase text, OUT done bigint, OUT total bigint,
                                                   OUT started_at timestamptz)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'rebuild_progress';
COMMENT ON FUNCTION wallet_projection.rebuild_progress() IS
    'the rebuilds that run in this database';

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

/* Whom a projection that is ordered by number waits for. */
CREATE FUNCTION wallet_projection.waits_for(projection text) RETURNS text
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_waits_for';
COMMENT ON FUNCTION wallet_projection.waits_for(text) IS
    'the open transactions that may still write events with smaller numbers than those that a projection could apply; null: none';

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
    'the event of an aggregate (of no type: of any) that has this number; of an attached stream its row is the payload; null is what is not there, cannot be read, or may not be';

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
COMMENT ON COLUMN @extschema@.projection_partitions.projection IS
    'name of the projection';
COMMENT ON COLUMN @extschema@.projection_partitions.partition IS
    'number of the partition, from 0';
COMMENT ON COLUMN @extschema@.projection_partitions.head IS
    'the highest number that the partition has passed';
COMMENT ON COLUMN @extschema@.projection_partitions.gaps IS
    'numbers up to head whose events are not applied: a transaction may still write them';
COMMENT ON COLUMN @extschema@.projection_partitions.lag_events IS
    'how many event numbers the partition is behind the end of the stream; numbers of other partitions count too';

CREATE VIEW @extschema@.projection_status AS
SELECT q.name AS projection, q.stream, q.channel,
       CASE WHEN NOT q.initialized THEN 'defined' WHEN coalesce(q.trouble, q.last_error) IS NOT NULL THEN 'failed'
            WHEN q.locked THEN 'locked' WHEN q.rebuild_advised THEN 'rebuild advised' ELSE 'ready' END AS state,
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
       coalesce(q.failures, 0) AS failures, q.next_try, q.read_model, a.running_since, q.kind, q.ordering,
       CASE WHEN q.lag_events OPERATOR(pg_catalog.>) 0 THEN wallet_projection.waits_for(q.name) END AS waits_for,
       CASE WHEN q.drift IS NULL OR pg_catalog.pg_has_role(q.owner, 'USAGE'::pg_catalog.text) THEN q.drift
            ELSE '<insufficient privilege>' END AS drift
  FROM (SELECT s.rebuild_advised IS NOT NULL AS rebuild_advised, s.drift, coalesce(t.kind, 'native') AS kind, coalesce(t.ordering, 'version') AS ordering, s.failures, s.next_try, d.name, d.stream, coalesce(s.channel, d.channel) AS channel, coalesce(s.partitions, d.partitions) AS partitions,
               f.initialized, f.read_model, f.owner, f.locked, f.problem AS trouble, s.last_error, l.last_position, p.head, p.lag_events, p.gaps, p.lag_sum,
               CASE WHEN l.last_position OPERATOR(pg_catalog.>) 0
                    THEN least(p.head_average OPERATOR(pg_catalog./) l.last_position::numeric, 1::numeric) END AS done
          FROM wallet_projection.projection d
          CROSS JOIN LATERAL (SELECT wallet_projection.last_position(d.stream) AS last_position) l
          LEFT JOIN wallet_projection.projection_state s ON s.projection OPERATOR(pg_catalog.=) d.name
          LEFT JOIN wallet_projection.definition t ON t.projection OPERATOR(pg_catalog.=) d.name
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
COMMENT ON COLUMN @extschema@.projection_status.projection IS
    'name of the projection';
COMMENT ON COLUMN @extschema@.projection_status.stream IS
    'name of the stream';
COMMENT ON COLUMN @extschema@.projection_status.channel IS
    'the workers and consumers that apply it';
COMMENT ON COLUMN @extschema@.projection_status.state IS
    'defined: not initialized; ready; failed: the read model may not equal the events, see last_error; locked: stream or read model are locked by somebody else; rebuild advised: the definition was altered, and rows may still be those of the old one';
COMMENT ON COLUMN @extschema@.projection_status.partitions IS
    'number of partitions';
COMMENT ON COLUMN @extschema@.projection_status.head IS
    'the lowest head of all partitions';
COMMENT ON COLUMN @extschema@.projection_status.last_position IS
    'the last number that was drawn for the stream';
COMMENT ON COLUMN @extschema@.projection_status.lag_events IS
    'how many event numbers the slowest partition is behind the end of the stream';
COMMENT ON COLUMN @extschema@.projection_status.gaps IS
    'numbers below head that a transaction may still write, of the partition with the most';
COMMENT ON COLUMN @extschema@.projection_status.parked IS
    'keys that wait because an event of them failed, dead letters included';
COMMENT ON COLUMN @extschema@.projection_status.dead_letters IS
    'parked keys that are not tried again by themselves';
COMMENT ON COLUMN @extschema@.projection_status.last_error IS
    'why the state is failed';
COMMENT ON COLUMN @extschema@.projection_status.activity IS
    'stopped; running; waiting: it is started, but no worker is there, see workers_problem';
COMMENT ON COLUMN @extschema@.projection_status.workers IS
    'background workers of the channel now';
COMMENT ON COLUMN @extschema@.projection_status.workers_wanted IS
    'background workers that the channel is to have';
COMMENT ON COLUMN @extschema@.projection_status.events_per_second IS
    'speed over the last 10 s';
COMMENT ON COLUMN @extschema@.projection_status.lag_time IS
    'age of the first event that some partition has not passed';
COMMENT ON COLUMN @extschema@.projection_status.catch_up_time IS
    'how long the rest takes at the speed of the last 10 s';
COMMENT ON COLUMN @extschema@.projection_status.progress IS
    'how much of the stream is applied, as a bar';
COMMENT ON COLUMN @extschema@.projection_status.workers_problem IS
    'why there are no workers, or fewer than wanted';
COMMENT ON COLUMN @extschema@.projection_status.failures IS
    'failed batches in a row';
COMMENT ON COLUMN @extschema@.projection_status.next_try IS
    'when the failed batch is tried again';
COMMENT ON COLUMN @extschema@.projection_status.read_model IS
    'name of the read model, with its schema, as it is now';
COMMENT ON COLUMN @extschema@.projection_status.running_since IS
    'when the oldest batch began that a worker is running';
COMMENT ON COLUMN @extschema@.projection_status.kind IS
    'row: from a MERGE or INSERT ... ON CONFLICT; statement: from a statement over events; native: in C';
COMMENT ON COLUMN @extschema@.projection_status.ordering IS
    'how events of one key are ordered: version, number or arrival';
COMMENT ON COLUMN @extschema@.projection_status.waits_for IS
    'with ordering number, the open transactions that may still write smaller numbers';
COMMENT ON COLUMN @extschema@.projection_status.drift IS
    'the first key whose row idle workers have found to be another one than its events make (option verify_rate); null: none since the last rebuild';

/*
 * A row per projection and option.  value: in force now, as projection_set or
 * projection_create takes it; default: what it is unless it is set.
 */
CREATE VIEW @extschema@.projection_options AS
SELECT d.name AS projection, o.option, o.value, o."default", o.description
  FROM wallet_projection.projection d
  LEFT JOIN wallet_projection.projection_state s ON s.projection OPERATOR(pg_catalog.=) d.name
  LEFT JOIN wallet_projection.definition t ON t.projection OPERATOR(pg_catalog.=) d.name
 CROSS JOIN LATERAL (VALUES
       (1, 'channel', coalesce(s.channel, d.channel), 'async_projection', 'the workers and consumers that apply it'),
       (2, 'partitions', coalesce(s.partitions, d.partitions)::pg_catalog.text, '16', 'the most workers and consumers that can share it; set before it begins'),
       (3, 'batch_size', coalesce(s.batch_size, d.batch_size)::pg_catalog.text, '10000', 'events per transaction of a consumer'),
       (4, 'max_attempts', coalesce(s.max_attempts, 5)::pg_catalog.text, '5', 'at an event that fails, until its key is a dead letter'),
       (5, 'retry_delay', pg_catalog.make_interval(secs => coalesce(s.retry_delay, '1000'::bigint)::double precision OPERATOR(pg_catalog./) '1000'::double precision)::pg_catalog.text, '00:00:01', 'after the first failure'),
       (6, 'retry_multiplier', coalesce(s.retry_multiplier, '2'::double precision)::pg_catalog.text, '2', 'of the delay, after each further failure'),
       (7, 'retry_max_delay', pg_catalog.make_interval(secs => coalesce(s.retry_max_delay, '300000'::bigint)::double precision OPERATOR(pg_catalog./) '1000'::double precision)::pg_catalog.text, '00:05:00', 'the longest delay'),
       (8, 'retry_jitter', coalesce(s.retry_jitter, '0.1'::double precision)::pg_catalog.text, '0.1', 'the share by which a delay varies at random'),
       (9, 'max_parked', coalesce(s.max_parked, 100000)::pg_catalog.text, '100000', 'keys that may be parked; one more stops the projection'),
       (10, 'ordering', t.ordering, NULL, 'number: an event waits for smaller numbers that may still be written; arrival: it does not; version: writers of a key wait for each other'),
       (11, 'strict', t.strict::pg_catalog.text, 'false', 'an event for which no WHEN holds is bad'),
       (12, 'allow_stable', t.allow_stable::pg_catalog.text, 'false', 'user-defined functions that are STABLE may be used'),
       (13, 'start_at', CASE WHEN t.projection IS NOT NULL THEN CASE WHEN t.start_head OPERATOR(pg_catalog.=) '0'::bigint THEN 'beginning' ELSE pg_catalog.format('after event %s', t.start_head) END END, 'beginning', 'the events that it begins with'),
       (14, 'for_each', t.for_each, 'event', 'how many events a statement sees at once'),
       (15, 'key', t.key, NULL, 'the key of a statement''s events'),
       (16, 'verify_rate', coalesce(s.verify_rate, 0)::pg_catalog.text, '0', 'keys per second that idle workers compare with their events')
       ) AS o (place, option, value, "default", description)
 WHERE o.value IS NOT NULL;
COMMENT ON VIEW @extschema@.projection_options IS
    'the options of each projection: what is in force, the default, what it means';
COMMENT ON COLUMN @extschema@.projection_options.projection IS
    'name of the projection';
COMMENT ON COLUMN @extschema@.projection_options.option IS
    'name of the option';
COMMENT ON COLUMN @extschema@.projection_options.value IS
    'what is in force';
COMMENT ON COLUMN @extschema@.projection_options."default" IS
    'the value where nobody has set one';
COMMENT ON COLUMN @extschema@.projection_options.description IS
    'what the option means';

CREATE VIEW @extschema@.projection_progress AS
SELECT q.projection, q.phase, q.done, q.total, q.rate,
       CASE WHEN q.rate OPERATOR(pg_catalog.>) 0::numeric
            THEN pg_catalog.make_interval(secs => ((q.total OPERATOR(pg_catalog.-) q.done)::numeric OPERATOR(pg_catalog./) q.rate)::double precision) END AS time_left,
       q.started_at
  FROM (SELECT p.projection, p.phase, p.done, p.total,
               pg_catalog.round(p.done::numeric OPERATOR(pg_catalog./)
                                greatest(extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.started_at), 0.001)) AS rate,
               p.started_at
          FROM wallet_projection.rebuild_progress() p) q;
COMMENT ON VIEW @extschema@.projection_progress IS
    'a row per rebuild that runs in this database (projection_rebuild); none where the library is not preloaded';
COMMENT ON COLUMN @extschema@.projection_progress.projection IS
    'name of the projection';
COMMENT ON COLUMN @extschema@.projection_progress.phase IS
    'folding (the stream is read), comparing, writing (rows that differ) or replaying (parked keys); of several sessions the earliest';
COMMENT ON COLUMN @extschema@.projection_progress.done IS
    'how much of total is done';
COMMENT ON COLUMN @extschema@.projection_progress.total IS
    'the work as a number: the stream''s last event number';
COMMENT ON COLUMN @extschema@.projection_progress.rate IS
    'done per second, since the rebuild began';
COMMENT ON COLUMN @extschema@.projection_progress.time_left IS
    'how long it will take at this rate';
COMMENT ON COLUMN @extschema@.projection_progress.started_at IS
    'when the first session began it';

CREATE VIEW @extschema@.projection_workers AS
SELECT pid, database, channel, projection, state, partitions, events, batches, last_error, since
  FROM wallet_projection.worker_slots();
COMMENT ON VIEW @extschema@.projection_workers IS
    'a row per background worker, of all databases: what it does, the partitions that it holds, what it has done';
COMMENT ON COLUMN @extschema@.projection_workers.pid IS
    'process id';
COMMENT ON COLUMN @extschema@.projection_workers.database IS
    'the database that the worker is connected to';
COMMENT ON COLUMN @extschema@.projection_workers.channel IS
    'the channel whose projections it applies';
COMMENT ON COLUMN @extschema@.projection_workers.projection IS
    'the projection that it applies now, or applied last';
COMMENT ON COLUMN @extschema@.projection_workers.state IS
    'starting, idle, reading, applying, or waiting for retry';
COMMENT ON COLUMN @extschema@.projection_workers.partitions IS
    'the partitions that it holds now';
COMMENT ON COLUMN @extschema@.projection_workers.events IS
    'events that it has applied since its start';
COMMENT ON COLUMN @extschema@.projection_workers.batches IS
    'batches since its start';
COMMENT ON COLUMN @extschema@.projection_workers.last_error IS
    'its last error; for members of pg_read_all_stats';
COMMENT ON COLUMN @extschema@.projection_workers.since IS
    'when the state began';

/*
 * Only for those with the rights of the projection's owner, or where its read
 * model was dropped, of those who may read all: messages hold data.
 */
CREATE VIEW wallet_projection.parked_event WITH (security_barrier) AS
SELECT p.id, p.projection, d.stream, d.aggregate_type, coalesce(p.whole_key, p.partition_key) AS partition_key, p.no, p.version, p.event_name,
       CASE WHEN p.attempts OPERATOR(pg_catalog.=) 0
            THEN CASE WHEN p.sqlstate OPERATOR(pg_catalog.=) '55P03'::pg_catalog.text THEN 'waiting for lock' ELSE 'waiting for value' END
            WHEN p.next_retry_at IS NULL THEN 'dead' ELSE 'retrying' END AS state, p.attempts,
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
COMMENT ON COLUMN wallet_projection.parked_event.id IS
    'id of the parked key';
COMMENT ON COLUMN wallet_projection.parked_event.projection IS
    'name of the projection';
COMMENT ON COLUMN wallet_projection.parked_event.stream IS
    'name of the stream';
COMMENT ON COLUMN wallet_projection.parked_event.aggregate_type IS
    'type of the aggregates that the projection applies';
COMMENT ON COLUMN wallet_projection.parked_event.partition_key IS
    'the key';
COMMENT ON COLUMN wallet_projection.parked_event.no IS
    'number of the event that failed';
COMMENT ON COLUMN wallet_projection.parked_event.version IS
    'version of the event that failed';
COMMENT ON COLUMN wallet_projection.parked_event.event_name IS
    'type of the event that failed';
COMMENT ON COLUMN wallet_projection.parked_event.state IS
    'retrying, dead, waiting for lock, or waiting for value';
COMMENT ON COLUMN wallet_projection.parked_event.attempts IS
    'attempts at this event so far';
COMMENT ON COLUMN wallet_projection.parked_event.max_attempts IS
    'attempts until the key is a dead letter';
COMMENT ON COLUMN wallet_projection.parked_event.first_failed_at IS
    'time of the first failure';
COMMENT ON COLUMN wallet_projection.parked_event.last_failed_at IS
    'time of the last failure';
COMMENT ON COLUMN wallet_projection.parked_event.next_retry_at IS
    'when it is tried again';
COMMENT ON COLUMN wallet_projection.parked_event.sqlstate IS
    'SQLSTATE of the error';
COMMENT ON COLUMN wallet_projection.parked_event.message IS
    'message of the error';
COMMENT ON COLUMN wallet_projection.parked_event.detail IS
    'detail of the error';
COMMENT ON COLUMN wallet_projection.parked_event.hint IS
    'hint of the error';
COMMENT ON COLUMN wallet_projection.parked_event.context IS
    'context of the error';
COMMENT ON COLUMN wallet_projection.parked_event.waiting IS
    'events of the key that wait behind it';
COMMENT ON COLUMN wallet_projection.parked_event.retry_error IS
    'why the last retry could not be done, where that is no event''s fault';

/*
 * Events that a declared projection has done nothing with, since it has begun
 * or was reset.  what: the value that the conditions compare with constants
 * (the event's type); null where there is none, or of further types than the
 * first hundred.  why: no WHEN held, or the key was null.  An event that the
 * source multiplies counts once for each of its items.
 */
CREATE VIEW @extschema@.projection_unhandled WITH (security_barrier) AS
SELECT u.projection, u.what, least(greatest(pg_catalog.sum(u.count), 0::numeric), 9223372036854775807::numeric)::bigint AS count, pg_catalog.min(u.first_no) AS first_no,
       pg_catalog.max(u.last_no) AS last_no, u.why
  FROM wallet_projection.unhandled u
  JOIN (SELECT name, wallet_projection.owner(name) AS owner
          FROM wallet_projection.projection OFFSET 0::bigint) d ON d.name OPERATOR(pg_catalog.=) u.projection
 WHERE CASE WHEN d.owner IS NULL THEN pg_catalog.pg_has_role('pg_read_all_data'::pg_catalog.name, 'USAGE'::pg_catalog.text)
            ELSE pg_catalog.pg_has_role(d.owner, 'USAGE'::pg_catalog.text) END
 GROUP BY u.projection, u.what, u.why;
COMMENT ON VIEW @extschema@.projection_unhandled IS
    'events that a declared projection has done nothing with, by type: no WHEN held, or the key was null';
COMMENT ON COLUMN @extschema@.projection_unhandled.projection IS
    'name of the projection';
COMMENT ON COLUMN @extschema@.projection_unhandled.what IS
    'value of the column that the conditions compare with constants, usually the event type; null where there is no such column, or the key is null';
COMMENT ON COLUMN @extschema@.projection_unhandled.count IS
    'number of events';
COMMENT ON COLUMN @extschema@.projection_unhandled.first_no IS
    'lowest number of such an event';
COMMENT ON COLUMN @extschema@.projection_unhandled.last_no IS
    'highest number of such an event';
COMMENT ON COLUMN @extschema@.projection_unhandled.why IS
    'no WHEN holds, or the key is null';

CREATE VIEW @extschema@.projection_dead_letters AS
SELECT id, projection, partition_key, no, event_name, state, attempts, first_failed_at, last_failed_at, next_retry_at,
       sqlstate, message, waiting
  FROM wallet_projection.parked_event;
COMMENT ON VIEW @extschema@.projection_dead_letters IS
    'a row per parked key: the event that failed, why, when it is tried again, and how many events wait behind it';
COMMENT ON COLUMN @extschema@.projection_dead_letters.id IS
    'argument of dead_letter_show, dead_letter_replay and dead_letter_delete';
COMMENT ON COLUMN @extschema@.projection_dead_letters.projection IS
    'name of the projection';
COMMENT ON COLUMN @extschema@.projection_dead_letters.partition_key IS
    'the key; the events number, where its key cannot be computed';
COMMENT ON COLUMN @extschema@.projection_dead_letters.no IS
    'number of the event that failed';
COMMENT ON COLUMN @extschema@.projection_dead_letters.event_name IS
    'type of the event that failed, where it is known';
COMMENT ON COLUMN @extschema@.projection_dead_letters.state IS
    'retrying; dead: it waits for dead_letter_replay or dead_letter_delete; waiting for lock; waiting for value';
COMMENT ON COLUMN @extschema@.projection_dead_letters.attempts IS
    'attempts at this event so far';
COMMENT ON COLUMN @extschema@.projection_dead_letters.first_failed_at IS
    'time of the first failure';
COMMENT ON COLUMN @extschema@.projection_dead_letters.last_failed_at IS
    'time of the last failure';
COMMENT ON COLUMN @extschema@.projection_dead_letters.next_retry_at IS
    'when it is tried again';
COMMENT ON COLUMN @extschema@.projection_dead_letters.sqlstate IS
    'SQLSTATE of the error';
COMMENT ON COLUMN @extschema@.projection_dead_letters.message IS
    'message of the error';
COMMENT ON COLUMN @extschema@.projection_dead_letters.waiting IS
    'how many events of the key wait behind it';

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
 * All that is known of one parked key; the event as it is in the stream now:
 * of an attached stream, payload is an object of all columns that can be read,
 * by name: numbers, booleans and JSON as such, all else as PostgreSQL prints it.
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

/*
 * What is not as it should be, and what to do about it.
 */

/* The column and the sequence that number a stream's events; nulls where they cannot be seen now. */
CREATE FUNCTION wallet_projection.numbering(stream text, OUT relation oid, OUT "column" text, OUT sequence oid,
                                            OUT last_number bigint, OUT highest bigint)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_numbering';
COMMENT ON FUNCTION wallet_projection.numbering(text) IS
    'the column and the sequence that number a stream, the last number drawn, and the highest that there can be';

/* Who may write to a stream now. */
CREATE FUNCTION wallet_projection.writers(stream text, OUT pid integer, OUT transaction xid)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 10
    AS 'MODULE_PATHNAME', 'stream_writers';
COMMENT ON FUNCTION wallet_projection.writers(text) IS
    'the open transactions that have written to a stream, or may: process (null: a prepared transaction) and id (null: it has none yet)';

/* Which is faster, the stream or the projection? */
CREATE FUNCTION wallet_projection.rates(projection text, partitions integer, OUT drawn double precision, OUT passed double precision)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_rates';
COMMENT ON FUNCTION wallet_projection.rates(text, integer) IS
    'event numbers per second over the last 10 s: those that the stream has drawn, and those that a partition has passed';

/*
 * The findings of projection_health().  A statement is made of names that are
 * quoted; out of the hint of a problem, which has names of users' tables, only
 * what looks like one of ours is taken.  lasted: for how long it has been so,
 * where that matters: what has lasted for less than the caller's patience is
 * not told; null: it is told at once.
 */
CREATE VIEW wallet_projection.health WITH (security_barrier) AS
WITH status AS MATERIALIZED (
    SELECT s.projection, s.stream, s.channel, s.state, s.activity, s.head, s.last_position, s.lag_events, s.gaps, s.parked, s.dead_letters,
           s.last_error, s.workers, s.workers_wanted, s.workers_problem, s.lag_time, s.catch_up_time, s.running_since, s.read_model,
           s.ordering, s.waits_for, s.partitions, s.drift,
           CASE WHEN s.lag_time OPERATOR(pg_catalog.>) '0'::interval THEN pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.lag_time END AS lag_since,
           coalesce(pg_catalog.strpos(s.workers_problem, 'shared_preload_libraries') OPERATOR(pg_catalog.>) 0, false) AS not_preloaded
      FROM @extschema@.projection_status s
     WHERE s.state OPERATOR(pg_catalog.<>) 'defined'
)
SELECT 'critical'::pg_catalog.text AS severity, s.projection, 'failed'::pg_catalog.text AS what, t.failed_since AS since,
       pg_catalog.split_part(s.last_error, ' HINT: ', 1) AS details,
       CASE WHEN pg_catalog.strpos(s.last_error, ' HINT: ') OPERATOR(pg_catalog.>) 0 THEN pg_catalog.split_part(s.last_error, ' HINT: ', 2)
            ELSE 'Mend the cause. The projection is tried again by itself; the statement tries it at once.' END AS what_to_do,
       coalesce(CASE WHEN pg_catalog.strpos(f.problem, 'projection_drop') OPERATOR(pg_catalog.>) 0
                     THEN pg_catalog.format('SELECT projection_definition(%L)', s.projection) END,
                CASE WHEN pg_catalog.strpos(f.problem, ' Or ') OPERATOR(pg_catalog.=) 0 THEN pg_catalog.substring(f.problem, ' HINT: .*?((?:SELECT (?:projection_(?:init|reset)|stream_create|(?:pg_catalog[.])?setval)[(][^;()]*[)]|ALTER (?:TABLE|SEQUENCE) [^;()]*));') END,
                CASE WHEN pg_catalog.starts_with(s.last_error, '57014: ')
                     THEN pg_catalog.format('SELECT tgname, tgfoid::regprocedure FROM pg_trigger WHERE tgrelid = %L::regclass AND NOT tgisinternal', s.read_model) END,
                pg_catalog.format('SELECT projection_run(%L)', s.projection)) AS statement,
       NULL::interval AS lasted
  FROM status s
  LEFT JOIN wallet_projection.projection_state t ON t.projection OPERATOR(pg_catalog.=) s.projection
 CROSS JOIN LATERAL wallet_projection.finding(s.projection) f
 WHERE s.state OPERATOR(pg_catalog.=) 'failed'
UNION ALL
SELECT CASE WHEN s.workers OPERATOR(pg_catalog.=) 0 AND s.lag_events OPERATOR(pg_catalog.>) '0'::bigint THEN 'critical' ELSE 'warning' END, s.projection, 'waiting for processes', s.lag_since,
       pg_catalog.format('%s; workers: %s of %s; event numbers that wait: %s', s.workers_problem, s.workers, s.workers_wanted, s.lag_events),
       CASE WHEN NOT pg_catalog.current_setting('wallet_projection.enabled')::boolean THEN 'Switch the workers of the server on again.'
            WHEN s.workers_wanted OPERATOR(pg_catalog.=) 0 THEN 'The channel rests until it is scaled up again.'
            WHEN pg_catalog.strpos(s.workers_problem, 'max_worker_processes') OPERATOR(pg_catalog.>) 0
            THEN 'Raise max_worker_processes and restart the server, or scale down a channel that needs fewer workers.'
            ELSE 'If it stays so, see the log of the server.' END,
       CASE WHEN NOT pg_catalog.current_setting('wallet_projection.enabled')::boolean THEN 'ALTER SYSTEM SET wallet_projection.enabled = on; SELECT pg_reload_conf()'
            WHEN s.workers_wanted OPERATOR(pg_catalog.=) 0 THEN pg_catalog.format('SELECT channel_scale(%L, 2)', s.channel)
            WHEN pg_catalog.strpos(s.workers_problem, 'max_worker_processes') OPERATOR(pg_catalog.>) 0
            THEN pg_catalog.format('ALTER SYSTEM SET max_worker_processes = %s', pg_catalog.current_setting('max_worker_processes')::integer OPERATOR(pg_catalog.+) 8)
            ELSE 'SELECT * FROM projection_workers' END,
       NULL
  FROM status s
 WHERE s.activity OPERATOR(pg_catalog.<>) 'stopped' AND s.workers_problem IS NOT NULL AND NOT s.not_preloaded AND NOT pg_catalog.pg_is_in_recovery()
UNION ALL
SELECT 'warning', s.projection, CASE WHEN s.not_preloaded THEN 'not preloaded' ELSE 'stopped' END, s.lag_since,
       pg_catalog.format(CASE WHEN s.not_preloaded THEN 'shared_preload_libraries does not list wallet_projection, so there are no background workers; event numbers that wait: %s'
                   WHEN pg_catalog.current_setting('wallet_projection.autostart')::boolean THEN 'background workers leave the projection alone; event numbers that wait: %s'
                   ELSE 'background workers leave the projection alone; event numbers that wait: %s; wallet_projection.autostart is off, so that no projection starts by itself' END, s.lag_events),
       CASE WHEN s.not_preloaded THEN 'Let a session apply the events; or add the library to shared_preload_libraries, restart the server, and start the projection.'
            ELSE 'Start it, unless it is stopped on purpose.' END,
       CASE WHEN s.not_preloaded THEN pg_catalog.format('CALL projection_consume(%L, finish_when_no_messages => true)', s.channel)
            ELSE pg_catalog.format('SELECT projection_start(%L)', s.projection) END,
       NULL
  FROM status s
 WHERE (s.activity OPERATOR(pg_catalog.=) 'stopped' OR s.not_preloaded) AND s.lag_events OPERATOR(pg_catalog.>) '0'::bigint AND NOT pg_catalog.pg_is_in_recovery()
UNION ALL
SELECT 'warning', s.projection, 'dead letters', p.since,
       pg_catalog.format('keys whose event has failed in all attempts: %s; events that wait behind them: %s', p.keys, p.waiting),
       'See why: projection_dead_letters, dead_letter_show(id). Mend the cause, and replay them; dead_letter_delete(id) skips an event that is wrong.',
       pg_catalog.format('SELECT dead_letter_replay_all(%L)', s.projection), NULL
  FROM status s
 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS keys, pg_catalog.sum(p.waiting) AS waiting, pg_catalog.min(p.last_failed_at) AS since
                       FROM wallet_projection.parked p
                      WHERE p.projection OPERATOR(pg_catalog.=) s.projection AND p.next_retry_at IS NULL) p
 WHERE p.keys OPERATOR(pg_catalog.>) '0'::bigint
UNION ALL
SELECT 'info', s.projection, 'keys are tried again', p.since,
       pg_catalog.format(CASE WHEN s.activity OPERATOR(pg_catalog.=) 'stopped' AND NOT s.not_preloaded THEN 'keys whose event has failed, and is tried again once the projection is started, or by a session: %s'
                   ELSE 'keys whose event has failed, and is tried again by itself: %s; the next at %s' END, p.keys, p.next),
       CASE WHEN s.activity OPERATOR(pg_catalog.=) 'stopped' AND NOT s.not_preloaded THEN 'Mend the cause, and start the projection, unless it is stopped on purpose.'
            ELSE 'Mend the cause, and they heal by themselves.' END,
       pg_catalog.format(CASE WHEN s.activity OPERATOR(pg_catalog.=) 'stopped' AND NOT s.not_preloaded THEN 'SELECT projection_start(%L)'
                   ELSE 'SELECT partition_key, no, message, next_retry_at FROM projection_dead_letters WHERE projection = %L' END, s.projection), NULL
  FROM status s
 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS keys, pg_catalog.min(p.first_failed_at) AS since, pg_catalog.min(p.next_retry_at) AS next
                       FROM wallet_projection.parked p
                      WHERE p.projection OPERATOR(pg_catalog.=) s.projection AND p.next_retry_at IS NOT NULL AND p.attempts OPERATOR(pg_catalog.>) 0) p
 WHERE p.keys OPERATOR(pg_catalog.>) '0'::bigint
UNION ALL
SELECT 'warning', s.projection, 'keys wait for others', p.since,
       pg_catalog.format('keys that wait for a lock on their row, or for a value that another row has: %s', p.keys),
       'They follow by themselves. The statement lists the open transactions, the oldest first: end the one that holds the lock.',
       'SELECT pid, xact_start, state, query FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start',
       pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.since
  FROM status s
 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS keys, pg_catalog.min(p.first_failed_at) AS since
                       FROM wallet_projection.parked p
                      WHERE p.projection OPERATOR(pg_catalog.=) s.projection AND p.next_retry_at IS NOT NULL AND p.attempts OPERATOR(pg_catalog.=) 0) p
 WHERE p.keys OPERATOR(pg_catalog.>) '0'::bigint
UNION ALL
SELECT 'warning', s.projection, 'many parked keys', NULL,
       pg_catalog.format('%s of at most %s keys are parked; one more than that, and the projection stops', s.parked, m.most),
       'Mend the cause, and replay them; or allow more.',
       pg_catalog.format('SELECT projection_set(%L, ''max_parked'', %L)', s.projection, m.most::bigint OPERATOR(pg_catalog.*) 2), NULL
  FROM status s
  LEFT JOIN wallet_projection.projection_state t ON t.projection OPERATOR(pg_catalog.=) s.projection
 CROSS JOIN LATERAL (SELECT coalesce(t.max_parked, 100000)) AS m (most)
 WHERE m.most OPERATOR(pg_catalog.>) 0 AND (s.parked OPERATOR(pg_catalog.*) 10) OPERATOR(pg_catalog.>=) (m.most::bigint OPERATOR(pg_catalog.*) 8)
UNION ALL
SELECT CASE WHEN r.drawn OPERATOR(pg_catalog.>) (r.passed OPERATOR(pg_catalog.*) '1.02'::double precision) THEN 'warning' ELSE 'info' END, s.projection,
       CASE WHEN r.drawn OPERATOR(pg_catalog.>) (r.passed OPERATOR(pg_catalog.*) '1.02'::double precision) THEN 'growing lag' ELSE 'lag' END, s.lag_since,
       pg_catalog.format('event numbers that wait: %s; over the last 10 s the stream has drawn %s a second, and the projection has passed %s',
              s.lag_events, pg_catalog.round(r.drawn), pg_catalog.round(r.passed)),
       CASE WHEN r.drawn OPERATOR(pg_catalog.>) (r.passed OPERATOR(pg_catalog.*) '1.02'::double precision)
            THEN 'Look for what makes the read model slow: triggers, indexes, foreign keys, the disk. More workers help where cores are idle.'
            ELSE 'It is catching up: see how catch_up_time goes down.' END,
       CASE WHEN r.drawn OPERATOR(pg_catalog.>) (r.passed OPERATOR(pg_catalog.*) '1.02'::double precision) THEN pg_catalog.format('SELECT channel_scale(%L, %s)', s.channel, s.workers_wanted OPERATOR(pg_catalog.+) 1)
            ELSE pg_catalog.format('SELECT lag_events, lag_time, catch_up_time FROM projection_status WHERE projection = %L', s.projection) END,
       greatest(s.lag_time, s.catch_up_time)
  FROM status s
 CROSS JOIN LATERAL wallet_projection.rates(s.projection, s.partitions) r
 WHERE s.activity OPERATOR(pg_catalog.=) 'running' AND s.state OPERATOR(pg_catalog.<>) 'failed' AND s.lag_events OPERATOR(pg_catalog.>) '0'::bigint AND s.waits_for IS NULL
UNION ALL
SELECT 'warning', s.projection, 'long batch', s.running_since,
       'a worker has not ended its batch',
       'See in pg_stat_activity what the worker does: a trigger, a lock. The statement ends the batch, and tries again.',
       pg_catalog.format('SELECT projection_stop(%L, cancel => true); SELECT projection_start(%L)', s.projection, s.projection),
       pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.running_since
  FROM status s
 WHERE s.running_since IS NOT NULL
UNION ALL
SELECT CASE WHEN s.ordering OPERATOR(pg_catalog.=) 'number' THEN 'warning' ELSE 'info' END, s.projection, 'long writer', coalesce(a.xact_start, x.prepared),
       pg_catalog.format(CASE WHEN s.ordering OPERATOR(pg_catalog.=) 'number' THEN '%s writes to stream "%s", and is still open; all keys wait behind event number %s, in %s of %s partitions'
                   ELSE '%s writes to stream "%s", and is still open; its own keys wait, all others go on; position %s, and %s of %s partitions look for its events' END,
              CASE WHEN w.pid IS NULL THEN pg_catalog.format('prepared transaction %L', x.gid) ELSE pg_catalog.format('pid %s (%s, %s)', w.pid, a.usename, a.state) END,
              s.stream, s.head, b.partitions, s.partitions),
       CASE WHEN w.pid IS NULL THEN 'Have it committed or rolled back by whoever has prepared it.'
            ELSE 'Have it committed or rolled back by its session. The statement ends the session, and takes back what the transaction has done.' END,
       CASE WHEN w.pid IS NULL THEN pg_catalog.format('ROLLBACK PREPARED %L', x.gid) ELSE pg_catalog.format('SELECT pg_terminate_backend(%s)', w.pid) END,
       coalesce(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) coalesce(a.xact_start, x.prepared), '0'::interval)
  FROM status s
 CROSS JOIN LATERAL wallet_projection.writers(s.stream) w
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) w.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts x ON w.pid IS NULL AND x.transaction OPERATOR(pg_catalog.=) w.transaction
 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS partitions
                       FROM wallet_projection.positions(s.projection) q
                      WHERE q.missing OPERATOR(pg_catalog.>) '0'::bigint OR q.head OPERATOR(pg_catalog.<) s.last_position) b
 WHERE s.lag_events OPERATOR(pg_catalog.>) '0'::bigint AND (w.pid IS NOT NULL OR x.gid IS NOT NULL)
UNION ALL
(SELECT 'warning', NULL, 'old snapshot', o.since,
        pg_catalog.format('%s has had a transaction open for %s; until it ends, no dead row can be removed from read models and positions', o.who, o.lasted),
        'Have it committed or rolled back. The statement ends it.', o.statement, o.lasted OPERATOR(pg_catalog./) '10'::double precision
   FROM (SELECT a.xact_start AS since, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.xact_start AS lasted, pg_catalog.format('pid %s (%s, %s)', a.pid, a.usename, a.state) AS who,
                pg_catalog.format('SELECT pg_terminate_backend(%s)', a.pid) AS statement
           FROM pg_catalog.pg_stat_activity a
          WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND a.backend_type OPERATOR(pg_catalog.<>) 'autovacuum worker'
            AND (a.datname IS NULL OR a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
         UNION ALL
         SELECT x.prepared, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) x.prepared, pg_catalog.format('prepared transaction %L', x.gid), pg_catalog.format('ROLLBACK PREPARED %L', x.gid)
           FROM pg_catalog.pg_prepared_xacts x
          WHERE x.database OPERATOR(pg_catalog.=) pg_catalog.current_database()) o
  WHERE o.since IS NOT NULL AND EXISTS (SELECT FROM status)
  ORDER BY o.since LIMIT '1'::bigint)
UNION ALL
SELECT CASE WHEN n.last_number::numeric OPERATOR(pg_catalog.>=) (n.highest::numeric OPERATOR(pg_catalog.*) '0.95'::numeric) THEN 'critical' ELSE 'warning' END, NULL, 'numbers run out', NULL,
       pg_catalog.format('stream "%s" has drawn number %s, and its highest is %s; after that no event can be inserted', t.name, n.last_number, n.highest),
       'Make the column and its sequence bigint. The table is rewritten, and locked meanwhile: choose a quiet hour.',
       pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I TYPE bigint; ALTER SEQUENCE %s AS bigint NO MAXVALUE', n.relation::pg_catalog.regclass, n."column", n.sequence::pg_catalog.regclass), NULL
  FROM wallet_projection.stream t
 CROSS JOIN LATERAL wallet_projection.numbering(t.name) n
 WHERE n.last_number::numeric OPERATOR(pg_catalog.>=) (n.highest::numeric OPERATOR(pg_catalog.*) '0.8'::numeric)
UNION ALL
SELECT 'warning', s.projection, 'read model without autovacuum', NULL,
       pg_catalog.format('autovacuum is off for table %s: each change of a row leaves a dead one, and none is removed', c.oid::pg_catalog.regclass),
       'Leave the table to autovacuum, unless something else vacuums it often.',
       pg_catalog.format('ALTER TABLE %s RESET (autovacuum_enabled)', c.oid::pg_catalog.regclass), NULL
  FROM status s
  JOIN wallet_projection.projection_state t ON t.projection OPERATOR(pg_catalog.=) s.projection
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.read_model
 WHERE s.read_model IS NOT NULL
   AND EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) o WHERE o.option_name OPERATOR(pg_catalog.=) 'autovacuum_enabled' AND NOT o.option_value::boolean)
UNION ALL
SELECT 'warning', NULL, 'autovacuum is off', NULL,
       'autovacuum, or track_counts, is off for the whole server: dead rows of read models and positions are not removed',
       'Switch it on.', 'ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()', NULL
 WHERE NOT (pg_catalog.current_setting('autovacuum')::boolean AND pg_catalog.current_setting('track_counts')::boolean) AND EXISTS (SELECT FROM status)
UNION ALL
SELECT 'critical', s.projection, 'drift', NULL,
       pg_catalog.format('the row of key %s is another one than its events make', s.drift),
       'Somebody has changed the read model by hand, or a trigger has. projection_verify lists all such keys; the statement makes their rows anew.',
       pg_catalog.format('CALL projection_rebuild(%L)', s.projection), NULL
  FROM status s
 WHERE s.drift IS NOT NULL
UNION ALL
SELECT 'info', s.projection, 'rebuild advised', t.rebuild_advised,
       'the definition was altered, and rows may still be those of the old one',
       'Make the rows anew when the server has time. Readers see the old ones until then.',
       pg_catalog.format('CALL projection_rebuild(%L)', s.projection), NULL
  FROM status s
  JOIN wallet_projection.projection_state t ON t.projection OPERATOR(pg_catalog.=) s.projection
 WHERE s.state OPERATOR(pg_catalog.<>) 'failed' AND t.rebuild_advised IS NOT NULL
UNION ALL
SELECT 'info', u.projection, 'unhandled events', NULL,
       pg_catalog.format('events with which nothing was done: %s; most of them: %s', u.events, pg_catalog.concat_ws(', ', pg_catalog.quote_literal(u.most), u.why)),
       'If they should have an effect, look how the definition spells them, and correct it with projection_alter. If not, add WHEN ... THEN DO NOTHING, and they are not counted.',
       pg_catalog.format('SELECT what, count, first_no, last_no, why FROM projection_unhandled WHERE projection = %L', u.projection), NULL
  FROM (SELECT DISTINCT ON (e.projection) e.projection, e.what AS most, e.why, pg_catalog.sum(e.count) OVER (PARTITION BY e.projection) AS events
          FROM @extschema@.projection_unhandled e
         ORDER BY e.projection, e.count DESC) u
UNION ALL
SELECT 'info', s.projection, 'locked', NULL,
       'somebody has locked the stream or the read model, so that nobody can look at them',
       'It ends with the lock. The statement lists who holds locks that others wait for.',
       'SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0', NULL
  FROM status s
 WHERE s.state OPERATOR(pg_catalog.=) 'locked';
COMMENT ON VIEW wallet_projection.health IS
    'the findings of projection_health(), also those that have lasted for a moment only';
COMMENT ON COLUMN wallet_projection.health.severity IS
    'critical, warning or info';
COMMENT ON COLUMN wallet_projection.health.projection IS
    'name of the projection; null: a finding of the server';
COMMENT ON COLUMN wallet_projection.health.what IS
    'what was found';
COMMENT ON COLUMN wallet_projection.health.since IS
    'since when';
COMMENT ON COLUMN wallet_projection.health.lasted IS
    'for how long';
COMMENT ON COLUMN wallet_projection.health.details IS
    'what is known of it';
COMMENT ON COLUMN wallet_projection.health.what_to_do IS
    'what to do about it';
COMMENT ON COLUMN wallet_projection.health.statement IS
    'the statement for that';

/*
 * projection_health(patience): a row per finding, the gravest first; none: all
 * is well.  severity: critical (read models do not follow), warning (they will
 * not for long, or some keys do not), info.  projection: null where it concerns
 * several, or a stream.  since: null where nobody knows.  statement: what helps,
 * or what shows more; to be read before it is run.  Lag, long batches, long
 * writers and keys that wait for others are told if they have lasted for
 * patience; an old snapshot if it has lasted for ten times that.
 * A long plan of few rows, so it is not compiled.
 *     Everybody may call it.  As in projection_status, messages of errors are for
 * members of the read model's owner.  Transactions of other roles are seen by
 * members of pg_read_all_stats or pg_monitor.
 */
CREATE FUNCTION @extschema@.projection_health(patience interval DEFAULT '00:01:00'::interval)
    RETURNS TABLE (severity text, projection text, what text, since timestamptz, details text, what_to_do text, statement text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE
    SET jit TO off
    BEGIN ATOMIC
        SELECT h.severity, h.projection, h.what, h.since, h.details, h.what_to_do, h.statement
          FROM wallet_projection.health h
         WHERE h.lasted IS NULL OR h.lasted OPERATOR(pg_catalog.>=) projection_health.patience
         ORDER BY CASE WHEN h.severity OPERATOR(pg_catalog.=) 'critical' THEN 1 WHEN h.severity OPERATOR(pg_catalog.=) 'warning' THEN 2 ELSE 3 END, h.projection NULLS FIRST, h.what, h.since;
    END;
COMMENT ON FUNCTION @extschema@.projection_health(interval) IS
    'a row per finding: how grave it is, what, since when, what to do about it, and the statement for that; no row: all is well';

GRANT SELECT ON @extschema@.projection_partitions, @extschema@.projection_progress, @extschema@.projection_status, @extschema@.projection_workers,
    @extschema@.projection_dead_letters, @extschema@.projection_unhandled, @extschema@.projection_options, wallet_projection.parked_event,
    wallet_projection.health TO PUBLIC;

/*
 * What a definition of a projection is understood as, without creating one:
 * stream, read_model, key (column, value, operator), items (the stream's
 * columns that are kept of an event; or "multiplied"), filter, clauses (when,
 * action, condition, columns), tested (what the conditions compare with
 * constants), notices.
 * Errors: those of PostgreSQL's parser, 0A000 for what a projection cannot
 * have, 42809 for what can be no stream or read model, 42501 for what the
 * current user may not do, 22004 for null.
 */
CREATE FUNCTION wallet_projection.definition_describe(definition text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'definition_describe';
COMMENT ON FUNCTION wallet_projection.definition_describe(text) IS
    'what a definition of a projection is understood as: stream, read model, key, clauses';

/*
 * Try a definition on events, as a unit test of it: nothing is written, no
 * table is read, and the read model is taken to be empty.
 *
 * events: an array of objects, one per event, in order. Its keys are the
 *   stream's columns, as for jsonb_populate_record(); a column that is left
 *   out has its default if that is constant, else it is null. A position
 *   that is left out is the event's place in the array: 1, 2, 3.
 * Returns the rows that the events make, one per key in the order in which
 *   the keys have appeared first, as to_jsonb() shows them. Identity columns
 *   and others that draw from a sequence count from 1.
 * With trace: what each item of each event has done, in order:
 *   no       the position
 *   key      as jsonb; an array if the key has several columns; null if one
 *            of them is null: then the projection ignores the item
 *   matched  whether the key had a row before
 *   clause   number of the WHEN that was applied, from 1; null: none was
 *   action   insert, update, delete or nothing; null: no WHEN was applied
 *   row      the key's row after that; null: it has none
 * With stream, the definition is a statement over events, with key and for_each
 * as projection_create takes them. It runs as the owner of its table, on the
 * tables as they are, and what it has done is taken back; only numbers that
 * it has drawn from sequences are gone. Returns the rows of the table that it
 * has made or changed. With for_each 'batch' it is run event by event, in one
 * batch, and key by key in two orders; 0A000: the rows are not the same.
 * allow_stable: user-defined functions that are STABLE may be used, as for
 * projection_create.
 * Errors: that of the first event that fails; its context says which.
 *   22004 an argument is null
 *   22023 events is not an array of objects
 *   42501 the caller may not create this projection
 *   0A000 what projection_create refuses: now(), random() and the like
 */
CREATE FUNCTION @extschema@.projection_try(definition text, events jsonb, trace boolean DEFAULT false,
                               stream text DEFAULT NULL, key text DEFAULT NULL, for_each text DEFAULT 'event'::pg_catalog.text,
                               allow_stable boolean DEFAULT false)
    RETURNS SETOF jsonb
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.projection_try(text, jsonb, boolean, text, text, text, boolean) IS
    'the rows that these events would make, or with trace what each of them would do; nothing is written';

/*
 * What is remembered of a definition, beside its text: what each name means,
 * what chooses the partition of an event (and a hash of that), and the settings
 * that its results can depend on, as they are now.
 */
CREATE FUNCTION wallet_projection.definition_meaning(definition text, OUT uses text[], OUT partitioning text, OUT fingerprint bigint, OUT settings text[])
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'definition_meaning';
COMMENT ON FUNCTION wallet_projection.definition_meaning(text) IS
    'what the names of a definition mean, what chooses the partition, and the settings that results depend on';
