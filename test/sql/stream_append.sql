--
-- Does an append keep what it promises: versions without a hole, all or
-- nothing, once, and nothing but events?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

SELECT stream_create('orders');

-- versions count from 1, per aggregate; numbers count over all
SELECT stream_append('orders', 'Order', 'o1', '[{"event_name": "Placed", "payload": {"sum": 12.50, "lines": [1, {"a": null}]}}]');
SELECT stream_append('orders', 'Order', 'o1', '[
    {"event_name": "Paid", "payload": {}, "metadata": {"by": "\u0022me\u0022"}},
    {"payload": {"n": 1}, "event_name": "Sent", "event_id": "01234567-89AB-cdef-0123-456789abcdef"},
    {"event_name": "Received", "payload": {}, "metadata": {}}]');
SELECT stream_append('orders', 'Order', 'o2', '[{"event_name": "Placed", "payload": {}}]');
SELECT stream_append('orders', 'Invoice', 'o1', '[{"event_name": "Made", "payload": {}}]');
SELECT no, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata FROM orders ORDER BY no;

-- event ids: those given stay, others are UUIDs of version 7 that ascend and carry the time
SELECT event_id FROM orders WHERE event_name = 'Sent';
SELECT count(*), count(DISTINCT event_id),
       bool_and(event_id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS version_7,
       array_agg(event_id ORDER BY no) = array_agg(event_id ORDER BY event_id) AS ascending,
       max(abs(('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0
               - extract(epoch FROM created_at))) < 1 AS timely
  FROM orders WHERE event_name <> 'Sent';

-- a thousand at once
SELECT stream_append('orders', 'Order', 'many',
                     (SELECT jsonb_agg(jsonb_build_object('event_name', 'Changed', 'payload', jsonb_build_object('i', i)))
                        FROM generate_series(1, 1000) i));
SELECT count(*), count(DISTINCT event_id), min(aggregate_version), max(aggregate_version),
       bool_and(payload ->> 'i' = aggregate_version::text) AS in_order, max(no) - min(no) AS numbers,
       array_agg(event_id ORDER BY no) = array_agg(event_id ORDER BY event_id) AS ascending
  FROM orders WHERE aggregate_id = 'many';

-- the expected version
SELECT stream_append('orders', 'Order', 'o3', '[{"event_name": "Placed", "payload": {}}]', 0);
SELECT stream_append('orders', 'Order', 'o3', '[{"event_name": "Paid", "payload": {}}]', expected_version => 1);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o3', '[{"event_name": "Paid", "payload": {}}]', 1) $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o3', '[{"event_name": "Paid", "payload": {}}]', 3) $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o3', '[{"event_name": "Paid", "payload": {}}]', 0) $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'new', '[{"event_name": "Paid", "payload": {}}]', 1) $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'new', '[{"event_name": "Paid", "payload": {}}]', 9223372036854775807) $$);
SELECT count(*) FROM orders WHERE aggregate_id = 'new';

-- the same call again changes nothing and says the same, whatever version is expected
SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "a", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"},
                                                {"event_name": "b", "payload": {"x": 2}, "event_id": "00000000-0000-0000-0000-0000000000a2"}]', 0);
SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "c", "payload": {}}]');
SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "a", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"},
                                                {"event_name": "b", "payload": {"x": 2}, "event_id": "00000000-0000-0000-0000-0000000000a2"}]', 0);
SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "b", "payload": {"x": 2.0}, "event_id": "00000000-0000-0000-0000-0000000000A2", "metadata": {"try": 2}}]', 7);
SELECT aggregate_version, event_name, metadata FROM stream_read('orders', 'Order', 'o4');
-- also within a transaction, and again after it was taken back
BEGIN;
SELECT stream_append('orders', 'Order', 'o5', '[{"event_name": "a", "payload": {}, "event_id": "00000000-0000-0000-0000-0000000000b1"}]');
SELECT stream_append('orders', 'Order', 'o5', '[{"event_name": "a", "payload": {}, "event_id": "00000000-0000-0000-0000-0000000000b1"}]');
ROLLBACK;
SELECT stream_append('orders', 'Order', 'o5', '[{"event_name": "a", "payload": {}, "event_id": "00000000-0000-0000-0000-0000000000b1"}]');
SELECT count(*) FROM orders WHERE aggregate_id = 'o5';

-- an id that is another event's is not a repetition
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o5', '[{"event_name": "a", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"}]') $$);
SELECT error_of($$ SELECT stream_append('orders', 'Invoice', 'o4', '[{"event_name": "a", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"}]') $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "b", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"}]') $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "a", "payload": {"x": 3}, "event_id": "00000000-0000-0000-0000-0000000000a1"}]') $$);
-- nor is a call that repeats some of its events: the known one is named
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "a", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"},
                                                                   {"event_name": "n", "payload": {}, "event_id": "00000000-0000-0000-0000-0000000000c1"}]') $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "n", "payload": {}, "event_id": "00000000-0000-0000-0000-0000000000c1"},
                                                                   {"event_name": "a", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"}]') $$);
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "a", "payload": {"x": 1}, "event_id": "00000000-0000-0000-0000-0000000000a1"},
                                                                   {"event_name": "n", "payload": {}}]') $$);
-- nor one with an id twice
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o4', '[{"event_name": "n", "payload": {}, "event_id": "00000000-0000-0000-0000-0000000000c1"},
                                                                   {"event_name": "m", "payload": {}},
                                                                   {"event_name": "n", "payload": {}, "event_id": "00000000-0000-0000-0000-0000000000C1"}]') $$);
SELECT max(aggregate_version) FROM orders WHERE aggregate_id = 'o4';

-- versions have no hole where a savepoint was rolled back; numbers do
BEGIN;
SELECT stream_append('orders', 'Order', 'o6', '[{"event_name": "a", "payload": {}}]');
SAVEPOINT s;
SELECT stream_append('orders', 'Order', 'o6', '[{"event_name": "lost", "payload": {}}, {"event_name": "lost", "payload": {}}]');
ROLLBACK TO s;
SELECT stream_append('orders', 'Order', 'o6', '[{"event_name": "b", "payload": {}}]', 1);
COMMIT;
SELECT aggregate_version, event_name, no - min(no) OVER () AS number FROM stream_read('orders', 'Order', 'o6');

-- what is not an event is refused, and nothing of its call is appended
CREATE FUNCTION refused(events jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(error_of(format('SELECT stream_append(%L, %L, %L, %L)', 'orders', 'Order', 'o7', events)),
                          E'\nHINT: An event is .*', '')
$$;
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o7', '[{"event_name": "a"}]') $$);
SELECT refused('{}');
SELECT refused('[]');
SELECT refused('null');
SELECT refused('"a"');
SELECT refused('1');
SELECT refused('{"event_name": "a", "payload": {}}');
SELECT refused('[1]');
SELECT refused('[null]');
SELECT refused('[[{"event_name": "a", "payload": {}}]]');
SELECT refused('[{}]');
SELECT refused('[{"event_name": "a", "payload": {}}, {"payload": {}}]');
SELECT refused('[{"event_name": "a", "payload": {}}, {"event_name": "a", "payload": {}}, {"event_name": ""}]');
SELECT refused('[{"event_name": "a", "payload": {}, "Metadata": {}}]');
SELECT refused('[{"event_name": 1, "payload": {}}]');
SELECT refused('[{"event_name": null, "payload": {}}]');
SELECT refused('[{"event_name": ["a"], "payload": {}}]');
SELECT refused('[{"event_name": "", "payload": {}}]');
SELECT refused(jsonb_build_array(jsonb_build_object('event_name', repeat('n', 101), 'payload', '{}'::jsonb)));
SELECT refused('[{"event_name": "a"}]');
SELECT refused('[{"event_name": "a", "payload": null}]');
SELECT refused('[{"event_name": "a", "payload": "{}"}]');
SELECT refused('[{"event_name": "a", "payload": 1}]');
SELECT refused('[{"event_name": "a", "payload": [{}]}]');
SELECT refused('[{"event_name": "a", "payload": {}, "metadata": null}]');
SELECT refused('[{"event_name": "a", "payload": {}, "metadata": []}]');
SELECT refused('[{"event_name": "a", "payload": {}, "event_id": null}]');
SELECT refused('[{"event_name": "a", "payload": {}, "event_id": 1}]');
SELECT refused('[{"event_name": "a", "payload": {}, "event_id": ""}]');
SELECT refused('[{"event_name": "a", "payload": {}, "event_id": "00000000-0000-0000-0000-00000000000"}]');
SELECT refused('[{"event_name": "a", "payload": {}, "event_id": "00000000-0000-0000-0000-00000000000g"}]');
SELECT refused('[{"event_name": "a", "payload": {}, "event_id": "00000000-0000-0000-0000-000000000000 "}]');
SELECT count(*) FROM orders WHERE aggregate_id = 'o7';

-- as long as may be
SELECT stream_append('orders', repeat('T', 255), repeat('i', 255), jsonb_build_array(jsonb_build_object('event_name', repeat('n', 100), 'payload', '{}'::jsonb)));
SELECT length(aggregate_type), length(aggregate_id), length(event_name) FROM orders WHERE aggregate_id LIKE 'iii%';

-- the table's own columns, defaults and constraints
ALTER TABLE orders ADD tenant text NOT NULL DEFAULT 'tenant ' || 1, ADD name_length int GENERATED ALWAYS AS (length(event_name)) STORED,
    ADD CONSTRAINT known CHECK (event_name <> 'Forbidden') NOT VALID, ADD note text;
SELECT stream_append('orders', 'Order', 'o8', '[{"event_name": "Placed", "payload": {}}]');
SELECT event_name, tenant, name_length, note FROM orders WHERE aggregate_id = 'o8';
SELECT regexp_replace(error_of($$ SELECT stream_append('orders', 'Order', 'o8', '[{"event_name": "Fine", "payload": {}}, {"event_name": "Forbidden", "payload": {}}]') $$),
                      'DETAIL.*', 'DETAIL ...');
SELECT count(*) FROM orders WHERE aggregate_id = 'o8';

-- its triggers
CREATE TABLE fired (id int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        INSERT INTO fired (what) SELECT format('%s %s', TG_WHEN, TG_LEVEL);
        RETURN NULL;
    END IF;
    IF TG_WHEN = 'BEFORE' THEN
        NEW.note = 'seen';
    END IF;
    INSERT INTO fired (what) SELECT format('%s %s %s, in the table: %s', TG_WHEN, TG_LEVEL, NEW.aggregate_version,
                                           (SELECT count(*) FROM orders WHERE aggregate_id = NEW.aggregate_id));
    RETURN NEW;
END $$;
CREATE FUNCTION fire_with_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fired (what) SELECT format('with a table of %s', count(*)) FROM new_events;
    RETURN NULL;
END $$;
CREATE TRIGGER after_row AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TRIGGER before_statement BEFORE INSERT ON orders EXECUTE FUNCTION fire();
CREATE TRIGGER after_statement AFTER INSERT ON orders EXECUTE FUNCTION fire();
CREATE TRIGGER after_table AFTER INSERT ON orders REFERENCING NEW TABLE AS new_events EXECUTE FUNCTION fire_with_table();
SELECT stream_append('orders', 'Order', 'o9', '[{"event_name": "a", "payload": {}}, {"event_name": "b", "payload": {}}]');
SELECT what FROM fired ORDER BY id;
TRUNCATE fired;
CREATE TRIGGER before_row BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fire();
SELECT stream_append('orders', 'Order', 'o10', '[{"event_name": "a", "payload": {}}, {"event_name": "b", "payload": {}}]');
SELECT what FROM fired ORDER BY id;
SELECT event_name, note FROM orders WHERE aggregate_id = 'o10' ORDER BY no;
-- one that suppresses an event is an error
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER suppress BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.event_name = 'b') EXECUTE FUNCTION suppress();
SELECT error_of($$ SELECT stream_append('orders', 'Order', 'o11', '[{"event_name": "a", "payload": {}}, {"event_name": "b", "payload": {}}]') $$);
SELECT count(*) FROM orders WHERE aggregate_id = 'o11';

DROP SCHEMA regress_wp CASCADE;
