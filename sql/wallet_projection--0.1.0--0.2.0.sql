\echo Use "ALTER EXTENSION wallet_projection UPDATE" to load this file. \quit

/*
 * Nothing is found by a search_path that anybody else can write into; see
 * wallet_projection--0.2.0.sql.
 */
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

/*
 * The library must be of the version that the functions below are of.  It is
 * not where the server has preloaded the one before.
 */
LOAD 'MODULE_PATHNAME';
DO $$
BEGIN
    IF pg_catalog.current_setting('wallet_projection.version', true) IS DISTINCT FROM '0.2.0'::pg_catalog.text THEN
        RAISE EXCEPTION 'the library wallet_projection that is loaded is not of version 0.2.0'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Connect again; if the library is in shared_preload_libraries, restart the server.';
    END IF;
END
$$;

-- test/update_script writes from here ...

ALTER TABLE wallet_projection.stream
    ADD COLUMN position     text,
    ADD COLUMN guard        text CHECK (guard OPERATOR(pg_catalog.=) 'identity'::pg_catalog.text OR guard OPERATOR(pg_catalog.=) 'trust'::pg_catalog.text);

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

ALTER TABLE wallet_projection.projection_state
    ADD COLUMN stream_tables oid[],
    ADD COLUMN rebuild_advised timestamptz,
    ADD COLUMN verify_rate  integer CHECK (verify_rate OPERATOR(pg_catalog.>=) 0 AND verify_rate OPERATOR(pg_catalog.<=) 1000000),
    ADD COLUMN drift        text,
    ADD COLUMN failed_since timestamptz;

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

COMMENT ON COLUMN wallet_projection.old_gaps.projection IS
    'name of the projection';

COMMENT ON COLUMN wallet_projection.old_gaps.block IS
    'number of the block, which rows of position name';

COMMENT ON COLUMN wallet_projection.old_gaps.gaps IS
    'the numbers';

ALTER TABLE wallet_projection.parked
    ADD COLUMN by_number       boolean NOT NULL DEFAULT false,
    ADD COLUMN hash            bigint,
    ADD COLUMN whole_key       text COLLATE "C";

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

COMMENT ON COLUMN wallet_projection.channel.name IS
    'name of the channel';

COMMENT ON COLUMN wallet_projection.channel.workers IS
    'how many background workers it is to have';

COMMENT ON COLUMN wallet_projection.started.projection IS
    'name of the projection';

COMMENT ON COLUMN wallet_projection.started.database IS
    'OID of the database in which it was started';

SELECT pg_catalog.pg_extension_config_dump('wallet_projection.definition', '');

SELECT pg_catalog.pg_extension_config_dump('wallet_projection.unhandled', '');

CREATE OR REPLACE FUNCTION @extschema@.stream_attach(stream text, relation regclass, "position" name DEFAULT NULL,
                              guard text DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_attach';

COMMENT ON FUNCTION @extschema@.stream_attach(text, regclass, name, text) IS
    'makes a table of any columns a stream';

CREATE OR REPLACE FUNCTION @extschema@.stream_detach(stream text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_detach';

COMMENT ON FUNCTION @extschema@.stream_detach(text) IS
    'forgets a stream that was attached; its table stays';

CREATE OR REPLACE FUNCTION wallet_projection.stream_rows(stream text, first bigint, last bigint) RETURNS SETOF bigint
    LANGUAGE C STABLE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_rows';

COMMENT ON FUNCTION wallet_projection.stream_rows(text, bigint, bigint) IS
    'the numbers of a stream''s events, in order';

COMMENT ON TYPE wallet_projection.event IS
    'a row of stream_read: an event';

CREATE OR REPLACE FUNCTION @extschema@.wallet_balance_at(wallet_id text, at bigint) RETURNS numeric
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_balance_at';

COMMENT ON FUNCTION @extschema@.wallet_balance_at(text, bigint) IS
    'a wallet''s balance after its events up to a number; null: there was no such wallet';

CREATE OR REPLACE FUNCTION @extschema@.wallet_balance_at(wallet_id text, at timestamptz) RETURNS numeric
    LANGUAGE C STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'wallet_balance_at_time';

COMMENT ON FUNCTION @extschema@.wallet_balance_at(text, timestamptz) IS
    'a wallet''s balance at a time; null: there was no such wallet';

COMMENT ON FUNCTION @extschema@.projection_reset(text) IS
    'applies all events anew: of a projection that runs rows are made right where they stand, otherwise its read model is emptied first';

CREATE OR REPLACE FUNCTION @extschema@.projection_reset(name text, force boolean) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_reset';

COMMENT ON FUNCTION @extschema@.projection_reset(text, boolean) IS
    'the same; force: also where the stream does not begin at the beginning any more';

CREATE OR REPLACE FUNCTION @extschema@.projection_create(name text, definition text, stream text DEFAULT NULL, key text DEFAULT NULL,
                                  channel text DEFAULT 'async_projection'::pg_catalog.text, partitions integer DEFAULT 16,
                                  start_at text DEFAULT 'beginning'::pg_catalog.text, strict boolean DEFAULT false,
                                  ordering text DEFAULT NULL, if_not_exists boolean DEFAULT false,
                                  allow_stable boolean DEFAULT false, for_each text DEFAULT 'event'::pg_catalog.text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_create';

COMMENT ON FUNCTION @extschema@.projection_create(text, text, text, text, text, integer, text, boolean, text, boolean, boolean, text) IS
    'creates a projection from a MERGE over a stream, or from a statement over its events, and starts it where there are background workers';

CREATE OR REPLACE FUNCTION @extschema@.projection_alter(name text, definition text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_alter';

COMMENT ON FUNCTION @extschema@.projection_alter(text, text) IS
    'gives a declared projection another definition, for events from now on; rows follow with projection_rebuild';

CREATE OR REPLACE FUNCTION @extschema@.projection_definition(name text) RETURNS text
    LANGUAGE C STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'projection_definition';

COMMENT ON FUNCTION @extschema@.projection_definition(text) IS
    'the definition of a declared projection, for its owner; null: it has none';

CREATE OR REPLACE FUNCTION @extschema@.projection_verify(name text, INOUT partition_key text DEFAULT NULL, force boolean DEFAULT false,
                                  OUT problem text, OUT column_name text, OUT expected text, OUT actual text) RETURNS SETOF record
    LANGUAGE C STABLE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_verify';

COMMENT ON FUNCTION @extschema@.projection_verify(text, text, boolean) IS
    'compares the read model with rows computed anew from the events, under one snapshot; returns what differs, so nothing if all is right';

CREATE OR REPLACE FUNCTION @extschema@.projection_drop(name text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_drop';

COMMENT ON FUNCTION @extschema@.projection_drop(text) IS
    'forgets a declared projection; its read model stays';

CREATE OR REPLACE FUNCTION @extschema@.projection_row_at(name text, key text, at bigint) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_row_at';

COMMENT ON FUNCTION @extschema@.projection_row_at(text, text, bigint) IS
    'the row that the key''s events up to a number make; null: none';

CREATE OR REPLACE FUNCTION @extschema@.projection_row_at(name text, key text, at timestamptz) RETURNS jsonb
    LANGUAGE C STABLE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_row_at_time';

COMMENT ON FUNCTION @extschema@.projection_row_at(text, text, timestamptz) IS
    'the row that the key''s events up to a time make; null: none';

CREATE OR REPLACE FUNCTION @extschema@.projection_compare(a text, b text, timeout interval DEFAULT '10 seconds'::pg_catalog.interval,
                                   OUT partition_key text, OUT problem text, OUT column_name text, OUT in_a text, OUT in_b text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_compare';

COMMENT ON FUNCTION @extschema@.projection_compare(text, text, interval) IS
    'the differences between the read models of two projections of one stream, at equal positions';

CREATE OR REPLACE FUNCTION @extschema@.projection_promote(new text, old text, timeout interval DEFAULT '30 seconds'::pg_catalog.interval,
                                   force boolean DEFAULT false, triggers boolean DEFAULT true) RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_promote';

COMMENT ON FUNCTION @extschema@.projection_promote(text, text, interval, boolean, boolean) IS
    'lets a projection''s rows take the place of another one''s, under the name of its table';

CREATE OR REPLACE PROCEDURE @extschema@.projection_rebuild(name text, partition_key text DEFAULT NULL, force boolean DEFAULT false)
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'projection_rebuild';

COMMENT ON PROCEDURE @extschema@.projection_rebuild(text, text, boolean) IS
    'makes rows of the read model what the events say, and writes only those that differ';

CREATE OR REPLACE PROCEDURE @extschema@.projection_rebuild_all(channel text DEFAULT 'async_projection', force boolean DEFAULT false)
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'projection_rebuild_all';

COMMENT ON PROCEDURE @extschema@.projection_rebuild_all(text, boolean) IS
    'rebuilds the projections of a channel';

CREATE OR REPLACE FUNCTION wallet_projection.rebuild_progress(OUT projection text, OUT phase text, OUT done bigint, OUT total bigint,
                                                   OUT started_at timestamptz)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'rebuild_progress';

COMMENT ON FUNCTION wallet_projection.rebuild_progress() IS
    'the rebuilds that run in this database';

CREATE OR REPLACE FUNCTION wallet_projection.waits_for(projection text) RETURNS text
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_waits_for';

COMMENT ON FUNCTION wallet_projection.waits_for(text) IS
    'the open transactions that may still write events with smaller numbers than those that a projection could apply; null: none';

COMMENT ON FUNCTION wallet_projection.event_now(text, text, text, bigint) IS
    'the event of an aggregate (of no type: of any) that has this number; of an attached stream its row is the payload; null is what is not there, cannot be read, or may not be';

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

CREATE OR REPLACE VIEW @extschema@.projection_status AS
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

CREATE OR REPLACE VIEW @extschema@.projection_options AS
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

CREATE OR REPLACE VIEW @extschema@.projection_progress AS
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

CREATE OR REPLACE VIEW wallet_projection.parked_event WITH (security_barrier) AS
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

CREATE OR REPLACE VIEW @extschema@.projection_unhandled WITH (security_barrier) AS
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

CREATE OR REPLACE FUNCTION wallet_projection.numbering(stream text, OUT relation oid, OUT "column" text, OUT sequence oid,
                                            OUT last_number bigint, OUT highest bigint)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stream_numbering';

COMMENT ON FUNCTION wallet_projection.numbering(text) IS
    'the column and the sequence that number a stream, the last number drawn, and the highest that there can be';

CREATE OR REPLACE FUNCTION wallet_projection.writers(stream text, OUT pid integer, OUT transaction xid)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 10
    AS 'MODULE_PATHNAME', 'stream_writers';

COMMENT ON FUNCTION wallet_projection.writers(text) IS
    'the open transactions that have written to a stream, or may: process (null: a prepared transaction) and id (null: it has none yet)';

CREATE OR REPLACE FUNCTION wallet_projection.rates(projection text, partitions integer, OUT drawn double precision, OUT passed double precision)
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'projection_rates';

COMMENT ON FUNCTION wallet_projection.rates(text, integer) IS
    'event numbers per second over the last 10 s: those that the stream has drawn, and those that a partition has passed';

CREATE OR REPLACE VIEW wallet_projection.health WITH (security_barrier) AS
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

CREATE OR REPLACE FUNCTION @extschema@.projection_health(patience interval DEFAULT '00:01:00'::interval)
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

CREATE OR REPLACE FUNCTION wallet_projection.definition_describe(definition text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'definition_describe';

COMMENT ON FUNCTION wallet_projection.definition_describe(text) IS
    'what a definition of a projection is understood as: stream, read model, key, clauses';

CREATE OR REPLACE FUNCTION @extschema@.projection_try(definition text, events jsonb, trace boolean DEFAULT false,
                               stream text DEFAULT NULL, key text DEFAULT NULL, for_each text DEFAULT 'event'::pg_catalog.text,
                               allow_stable boolean DEFAULT false)
    RETURNS SETOF jsonb
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.projection_try(text, jsonb, boolean, text, text, text, boolean) IS
    'the rows that these events would make, or with trace what each of them would do; nothing is written';

CREATE OR REPLACE FUNCTION wallet_projection.definition_meaning(definition text, OUT uses text[], OUT partitioning text, OUT fingerprint bigint, OUT settings text[])
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'definition_meaning';

COMMENT ON FUNCTION wallet_projection.definition_meaning(text) IS
    'what the names of a definition mean, what chooses the partition, and the settings that results depend on';

-- ... to here.

ALTER TABLE wallet_projection.parked
    DROP CONSTRAINT parked_pkey,
    ADD PRIMARY KEY (projection, partition_key, by_number);

/*
 * The launcher hears at commit of what is started.  Version 0.1.0 told it by a
 * label that nobody reads any more.
 */
CREATE FUNCTION wallet_projection.publish() RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'desired_publish';
SELECT wallet_projection.publish();
DROP FUNCTION wallet_projection.publish();
