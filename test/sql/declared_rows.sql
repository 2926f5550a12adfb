--
-- Rows of declared projections: what their columns may be, and what else
-- watches over them: constraints within a row, between rows, between tables,
-- and triggers.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
\set letters 'SELECT partition_key, no, state, attempts, waiting, sqlstate, message FROM projection_dead_letters ORDER BY no'

-- Columns of every kind
CREATE TYPE status AS ENUM ('new', 'paid', 'sent');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE address AS (street text, zip text);
CREATE TABLE orders (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int, type text, data jsonb, at timestamptz);
CREATE TABLE orders_view (
    lines     jsonb NOT NULL DEFAULT '[]',
    dropped   text,
    id        int PRIMARY KEY,
    serial    bigint GENERATED ALWAYS AS IDENTITY,
    status    status NOT NULL DEFAULT 'new',
    tags      text[] DEFAULT '{}',
    discount  percent DEFAULT 0,
    total     numeric(12,2) CHECK (total >= 0),
    net       numeric GENERATED ALWAYS AS (total * (100 - discount) / 100) STORED,
    paid_at   timestamptz,
    ship_to   address,
    during    tstzrange,
    note      varchar(5),
    code      char(3),
    made_by   text DEFAULT 'projection',
    bits      bit(3) DEFAULT B'101',
    raw       bytea
);
ALTER TABLE orders_view DROP COLUMN dropped;
ALTER TABLE orders_view ADD COLUMN later int DEFAULT 42;
SELECT projection_create('orders_view', $$
  MERGE INTO orders_view o USING orders e ON o.id = e.id
  WHEN NOT MATCHED AND e.type = 'placed' THEN
    INSERT (id, total, tags, ship_to, during, note, code)
    VALUES (e.id, (e.data->>'total')::numeric, string_to_array(e.data->>'tags', ' '), ROW(e.data->>'street', NULL), tstzrange(e.at, NULL), e.data->>'note', 'ab')
  WHEN MATCHED AND e.type = 'paid' THEN UPDATE SET status = 'paid', paid_at = e.at, discount = (e.data->>'discount')::int, during = tstzrange(lower(o.during), e.at)
  WHEN MATCHED AND e.type = 'line' THEN UPDATE SET lines = o.lines || e.data, total = o.total + (e.data->>'price')::numeric, tags = o.tags || (e.data->>'sku'), raw = coalesce(o.raw, '') || convert_to(e.data->>'sku', 'UTF8')
  WHEN MATCHED AND e.type = 'status' THEN UPDATE SET (status, note, made_by, bits) = ROW((e.data->>'status')::status, DEFAULT, DEFAULT, DEFAULT)
  WHEN MATCHED AND e.type = 'gone' THEN DELETE
$$);
SET timezone = 'UTC';
INSERT INTO orders (id, type, data, at) VALUES
    (1, 'placed', '{"total": 10, "tags": "a b", "street": "High \"St\"", "note": "abc"}', '2024-01-01 10:00'),
    (1, 'line', '{"price": 2.345, "sku": "x"}', '2024-01-01 11:00'),
    (1, 'line', '{"price": 1, "sku": "y"}', '2024-01-01 11:30'),
    (1, 'paid', '{"discount": 10}', '2024-01-01 12:00'),
    (2, 'placed', '{"total": 0}', '2024-01-02'),
    (2, 'status', '{"status": "sent"}', '2024-01-02'),
    (3, 'placed', '{"total": 5, "note": "gone"}', '2024-01-03'), (3, 'gone', NULL, NULL),
    (4, 'placed', '{"total": 5, "note": "once"}', '2024-01-03'), (4, 'gone', NULL, NULL), (4, 'placed', '{"total": 6}', '2024-01-03');
SELECT projection_run('orders_view');
SELECT id, status, lines, tags, discount, total, net, paid_at, ship_to, during FROM orders_view ORDER BY id;
SELECT id, note, code, made_by, bits, raw, later, serial IS NOT NULL AS numbered FROM orders_view ORDER BY id;
-- what a row refuses is its event's fault
INSERT INTO orders (id, type, data, at) VALUES
    (1, 'paid', '{"discount": 101}', '2024-01-04'), (2, 'line', '{"price": -1, "sku": "x"}', '2024-01-04'),
    (4, 'status', '{"status": "lost"}', '2024-01-04'), (5, 'placed', '{"total": 1, "note": "too long"}', '2024-01-04'),
    (6, 'placed', '{"total": 1e12}', '2024-01-04'), (7, 'placed', '{"total": 1}', '2024-01-04'), (1, 'line', '{"price": 1, "sku": "z"}', '2024-01-04');
SELECT projection_set('orders_view', 'max_parked', '100');
SELECT projection_run('orders_view');
:letters;
UPDATE orders SET data = '{"total": 1, "discount": 50, "price": 3, "sku": "m", "status": "paid", "note": "short"}' WHERE no BETWEEN 12 AND 16;
SELECT dead_letter_replay_all('orders_view');
SELECT id, status, lines, tags, discount, total, net, note FROM orders_view ORDER BY id;
-- each event is computed by itself: a domain or a CHECK that holds at the end only does not help
INSERT INTO orders (id, type, data, at) VALUES (7, 'line', '{"price": -2, "sku": "x"}', NULL), (7, 'line', '{"price": 2, "sku": "x"}', NULL);
SELECT projection_run('orders_view');
:letters;
SELECT projection_drop('orders_view');

-- Unique values across keys
CREATE TABLE seats (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, guest int, seat text);
CREATE TABLE guests (guest int PRIMARY KEY, seat text UNIQUE);
SET client_min_messages = notice;
SELECT projection_create('guests', $$
  MERGE INTO guests g USING seats s ON g.guest = s.guest
  WHEN NOT MATCHED THEN INSERT VALUES (s.guest, s.seat)
  WHEN MATCHED AND s.seat = 'left' THEN DELETE
  WHEN MATCHED THEN UPDATE SET seat = s.seat
$$);
SET client_min_messages = warning;
-- two swap theirs, three go round, one takes the place of one who leaves
INSERT INTO seats (guest, seat) SELECT i, 'S' || i FROM generate_series(1, 8) i;
SELECT projection_run('guests');
INSERT INTO seats (guest, seat) VALUES
    (1, NULL), (2, 'S1'), (1, 'S2'),
    (3, NULL), (4, 'S3'), (5, 'S4'), (3, 'S5'),
    (7, 'left'), (6, 'S7'), (7, 'S6');
SELECT projection_run('guests');
:letters;
SELECT * FROM guests ORDER BY guest;
-- the same in one batch with the rows' first events
TRUNCATE guests;
SELECT projection_reset('guests');
SELECT projection_run('guests');
:letters;
SELECT * FROM guests ORDER BY guest;
-- somebody really has it: the first failure is no attempt
INSERT INTO seats (guest, seat) VALUES (8, 'S1'), (8, 'S9'), (7, 'S8'), (8, 'S1'), (7, 'S9');
SELECT projection_run('guests');
:letters;
SELECT * FROM guests WHERE guest IN (2, 7, 8) ORDER BY guest;
SELECT hint FROM wallet_projection.parked ORDER BY id LIMIT 1;
-- not skipped: it has not failed
SELECT error_of(format('SELECT dead_letter_delete(%s)', id)) FROM projection_dead_letters LIMIT 1;
-- the second one counts
SELECT projection_run('guests');
:letters;
-- it is given up: the one that waits follows, and who waits for him
INSERT INTO seats (guest, seat) VALUES (2, 'S10');
SELECT projection_run('guests');
SELECT dead_letter_replay_all('guests');
:letters;
SELECT * FROM guests ORDER BY guest;
-- where no key may be parked the projection fails
SELECT projection_set('guests', 'max_parked', '0');
INSERT INTO seats (guest, seat) VALUES (8, 'S10');
SELECT error_of($$ SELECT projection_run('guests') $$);
UPDATE seats SET seat = 'S11' WHERE guest = 8 AND seat = 'S10';
SELECT projection_run('guests');
SELECT projection_drop('guests');

-- Times that must not overlap
CREATE TABLE bookings (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int, during int4range);
CREATE TABLE calendar (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
SELECT projection_create('calendar', $$
  MERGE INTO calendar c USING bookings b ON c.id = b.id
  WHEN NOT MATCHED THEN INSERT VALUES (b.id, b.during)
  WHEN MATCHED THEN UPDATE SET during = b.during
$$);
INSERT INTO bookings (id, during) VALUES (1, '[1,5)'), (2, '[5,9)'), (1, '[10,12)'), (2, '[1,4)'), (1, '[4,8)'), (3, '[7,9)'), (4, '[20,30)');
SELECT projection_run('calendar');
:letters;
SELECT * FROM calendar ORDER BY id;
INSERT INTO bookings (id, during) VALUES (1, 'empty');
SELECT projection_run('calendar');
SELECT dead_letter_replay_all('calendar');
SELECT * FROM calendar ORDER BY id;
SELECT projection_drop('calendar');

-- Constraints that are checked at the end
CREATE TABLE ranks (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int, rank int);
CREATE TABLE teams (id int PRIMARY KEY);
CREATE TABLE ranking (id int PRIMARY KEY, rank int UNIQUE DEFERRABLE INITIALLY DEFERRED, team int REFERENCES teams DEFERRABLE INITIALLY DEFERRED);
SELECT projection_create('ranking', $$
  MERGE INTO ranking r USING ranks e ON r.id = e.id
  WHEN NOT MATCHED THEN INSERT VALUES (e.id, e.rank, CASE WHEN e.id > 3 THEN e.id END)
  WHEN MATCHED THEN UPDATE SET rank = e.rank
$$);
INSERT INTO ranks (id, rank) VALUES (1, 1), (2, 2), (3, 3), (1, 2), (2, 1), (4, 4), (3, 2), (1, 3);
SELECT projection_run('ranking');
:letters;
SELECT * FROM ranking ORDER BY id;
INSERT INTO ranks (id, rank) VALUES (1, 2);
SELECT projection_run('ranking');
:letters;
INSERT INTO teams VALUES (4);
SELECT dead_letter_replay_all('ranking');
SELECT * FROM ranking ORDER BY id;
SELECT projection_drop('ranking');

-- Foreign keys, from the row and to the row
CREATE TABLE customers (id int PRIMARY KEY);
CREATE TABLE purchases (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int, customer int, type text);
CREATE TABLE purchase (id int PRIMARY KEY, customer int REFERENCES customers);
CREATE TABLE notes (purchase int REFERENCES purchase ON DELETE CASCADE, note text);
CREATE TABLE marks (purchase int REFERENCES purchase ON DELETE SET NULL, mark text);
CREATE TABLE audits (purchase int REFERENCES purchase);
INSERT INTO customers VALUES (1), (2);
SET client_min_messages = notice;
SELECT projection_create('purchase', $$
  MERGE INTO purchase p USING purchases e ON p.id = e.id
  WHEN MATCHED AND e.type = 'gone' THEN DELETE
  WHEN MATCHED THEN UPDATE SET customer = e.customer
  WHEN NOT MATCHED THEN INSERT VALUES (e.id, e.customer)
$$);
SET client_min_messages = warning;
INSERT INTO purchases (id, customer, type) VALUES (1, 1, 'new'), (2, 3, 'new'), (3, NULL, 'new'), (4, 3, 'new'), (4, 1, 'moved'), (5, 1, 'new');
SELECT projection_run('purchase');
:letters;
TABLE purchase ORDER BY id;
INSERT INTO notes VALUES (1, 'n'), (3, 'n');
INSERT INTO marks VALUES (1, 'm'), (3, 'm');
INSERT INTO audits VALUES (5);
-- between the deletion and the new row it was gone
INSERT INTO purchases (id, customer, type) VALUES (1, NULL, 'gone'), (1, 2, 'new'), (5, NULL, 'gone'), (5, 2, 'new');
SELECT projection_run('purchase');
:letters;
TABLE purchase ORDER BY id;
TABLE notes ORDER BY 1;
TABLE marks ORDER BY 1;
INSERT INTO customers VALUES (3);
DELETE FROM audits;
SELECT dead_letter_replay_all('purchase');
TABLE purchase ORDER BY id;
SELECT projection_drop('purchase');

-- Triggers
CREATE TABLE steps (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int, what text, n int);
CREATE TABLE state (id int PRIMARY KEY, n int, seen int NOT NULL DEFAULT 0);
CREATE TABLE fired (at int GENERATED ALWAYS AS IDENTITY, what text);
\set declare 'SELECT projection_create(''state'', $$MERGE INTO state s USING steps e ON s.id = e.id WHEN NOT MATCHED AND e.what = ''new'' THEN INSERT (id, n) VALUES (e.id, e.n) WHEN MATCHED AND e.what = ''add'' THEN UPDATE SET n = s.n + e.n WHEN MATCHED AND e.what = ''gone'' THEN DELETE$$)'
\set fired 'SELECT what FROM fired ORDER BY at; TRUNCATE fired'
CREATE FUNCTION fire() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO regress_wp.fired (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'INSERT' THEN OLD END::text, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN NEW END::text));
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
-- after the row: as it is after the last event of a batch
CREATE TRIGGER after_row AFTER INSERT OR UPDATE ON state FOR EACH ROW EXECUTE FUNCTION fire();
CREATE CONSTRAINT TRIGGER at_end AFTER INSERT OR UPDATE ON state DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.n > 100) EXECUTE FUNCTION fire();
SET client_min_messages = notice;
:declare;
SET client_min_messages = warning;
INSERT INTO steps (id, what, n) VALUES (1, 'new', 1), (1, 'add', 2), (2, 'new', 5), (1, 'add', 3), (3, 'new', 1), (3, 'gone', NULL), (2, 'add', 100);
SELECT projection_run('state');
:fired;
-- nothing changes: nobody is told
INSERT INTO steps (id, what, n) VALUES (1, 'other', 1), (9, 'add', 2);
SELECT projection_run('state');
:fired;
-- once per statement, and its rows
CREATE FUNCTION fire_rows() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO regress_wp.fired (what) SELECT concat_ws(' ', TG_OP, 'rows', (SELECT string_agg(r::text, ' ' ORDER BY r) FROM rows r));
    RETURN NULL;
END $$;
DROP TRIGGER after_row ON state;
CREATE TRIGGER before_statement BEFORE INSERT OR UPDATE OR DELETE ON state EXECUTE FUNCTION fire();
CREATE TRIGGER after_statement AFTER INSERT OR UPDATE OR DELETE ON state EXECUTE FUNCTION fire();
CREATE TRIGGER inserted AFTER INSERT ON state REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION fire_rows();
CREATE TRIGGER updated AFTER UPDATE ON state REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION fire_rows();
CREATE TRIGGER deleted AFTER DELETE ON state REFERENCING OLD TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION fire_rows();
SELECT projection_drop('state');
TRUNCATE steps, state;
SET client_min_messages = notice;
:declare;
SET client_min_messages = warning;
INSERT INTO steps (id, what, n) VALUES (1, 'new', 2), (2, 'new', 5);
SELECT projection_run('state');
:fired;
INSERT INTO steps (id, what, n) VALUES (1, 'add', 2), (2, 'gone', 5), (4, 'new', 3), (5, 'new', 1), (5, 'add', 3);
SELECT projection_run('state');
:fired;
DROP TRIGGER before_statement ON state;
DROP TRIGGER after_statement ON state;
DROP TRIGGER inserted ON state;
DROP TRIGGER updated ON state;
DROP TRIGGER deleted ON state;
-- before each row, and after deletions: event by event
CREATE FUNCTION change() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.seen := NEW.seen + 1;
    CASE NEW.n
        WHEN 13 THEN RETURN NULL;
        WHEN 14 THEN NEW.id := NEW.id + 1;
        WHEN 15 THEN RAISE 'not 15';
        WHEN 16 THEN NEW.n := NULL;
        ELSE NULL;
    END CASE;
    RETURN NEW;
END $$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE ON state FOR EACH ROW EXECUTE FUNCTION change();
CREATE TRIGGER before_deletion BEFORE DELETE ON state FOR EACH ROW WHEN (OLD.n = 0) EXECUTE FUNCTION fire();
CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON state FOR EACH ROW EXECUTE FUNCTION fire();
INSERT INTO steps (id, what, n) VALUES (6, 'new', 1), (6, 'add', 2), (6, 'add', 3), (7, 'new', 0), (7, 'gone', 0), (7, 'new', 1);
SELECT projection_run('state');
:fired;
-- suppressed: its event is bad
INSERT INTO steps (id, what, n) VALUES (8, 'new', 13), (8, 'add', 1), (6, 'add', 7), (6, 'add', 1);
SELECT projection_run('state');
:letters;
-- another key: the event is bad
INSERT INTO steps (id, what, n) VALUES (20, 'new', 14), (7, 'add', 13), (24, 'new', 15), (22, 'new', 16), (22, 'add', 1), (23, 'new', 1);
SELECT projection_run('state');
:letters;
SELECT * FROM state ORDER BY id;
UPDATE steps SET n = 17 WHERE n IN (13, 14, 15);
UPDATE steps SET n = 3 WHERE id = 6 AND n = 7;
SELECT dead_letter_replay_all('state');
SELECT * FROM state ORDER BY id;
-- one that is not there for everybody
ALTER TABLE state DISABLE TRIGGER before_row;
INSERT INTO steps (id, what, n) VALUES (30, 'new', 13);
SELECT projection_run('state');
ALTER TABLE state ENABLE REPLICA TRIGGER before_row;
INSERT INTO steps (id, what, n) VALUES (31, 'new', 13);
SELECT projection_run('state');
SELECT * FROM state WHERE id >= 30 ORDER BY id;
SELECT projection_drop('state');

-- what PostgreSQL does not evaluate is not computed beforehand: subscripts of a
-- null array, columns behind the first that differs
CREATE TABLE lazy_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int NOT NULL, a int[], p jsonb);
CREATE TABLE lazies (k int PRIMARY KEY, n int, f boolean);
SELECT projection_create('lazies', $$
  MERGE INTO lazies r USING lazy_events e ON r.k = e.k
  WHEN NOT MATCHED THEN INSERT (k, n, f)
    VALUES (e.k, e.a[(e.p->>'i')::int], (e.k, (e.p->>'j')::int) < (2, 0)) $$);
INSERT INTO lazy_events (k, a, p) VALUES
  (1, NULL, '{"i": "x", "j": "y"}'), (2, '{7,8}', '{"i": 2, "j": -1}'), (3, '{7}', '{"i": 1, "j": "y"}');
SELECT projection_run('lazies');
SELECT * FROM lazies ORDER BY k;
SELECT projection_drop('lazies');
DROP TABLE lazies, lazy_events CASCADE;

-- items of an event that take more than work_mem, beside events that fail
SET work_mem = '64kB';
CREATE TABLE many_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lines jsonb);
CREATE TABLE many (k int PRIMARY KEY, n int);
SELECT projection_create('many', $$
  MERGE INTO many r USING (SELECT (l.line->>'k')::int AS k, (l.line->>'v')::int AS v
                             FROM many_events e, jsonb_array_elements(e.lines) AS l (line)) e ON r.k = e.k
  WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, 1 / e.v)
  WHEN MATCHED THEN UPDATE SET n = r.n + 1 / e.v $$);
INSERT INTO many_events (lines)
  SELECT (SELECT jsonb_agg(jsonb_build_object('k', i % 10, 'v', 1, 'pad', repeat('x', 100))) FROM generate_series(1, 2000) i)
    FROM generate_series(1, 3);
INSERT INTO many_events (lines) VALUES ('[{"k": "zz", "v": 1}]'), ('[{"k": 1, "v": 0}]');
INSERT INTO many_events (lines) SELECT lines FROM many_events WHERE no <= 2;
SELECT projection_run('many');
SELECT count(*), sum(n) FROM many;
:letters;
UPDATE many_events SET lines = '[]' WHERE no IN (4, 5);
SELECT dead_letter_replay_all('many');
SELECT count(*), sum(n) FROM many;
SELECT projection_drop('many');
RESET work_mem;
DROP TABLE many, many_events;

-- a trigger changes the row that is being deleted
CREATE TABLE board_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int, closed boolean);
CREATE TABLE board (k int PRIMARY KEY, n int);
CREATE FUNCTION change_board() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE board SET n = 0 WHERE k = OLD.k;
    PERFORM 1;
    RETURN OLD;
END $$;
CREATE TRIGGER change BEFORE DELETE ON board FOR EACH ROW EXECUTE FUNCTION change_board();
SELECT projection_create('board', $$
  MERGE INTO board b USING board_events e ON b.k = e.k
  WHEN NOT MATCHED THEN INSERT (k, n) VALUES (e.k, 1)
  WHEN MATCHED AND e.closed THEN DELETE $$);
INSERT INTO board_events (k) VALUES (1);
SELECT projection_run('board');
INSERT INTO board_events (k, closed) VALUES (1, true);
SELECT projection_run('board');
SELECT sqlstate, message FROM projection_dead_letters;
SELECT projection_drop('board');
DROP TABLE board, board_events;

DROP SCHEMA regress_wp CASCADE;
