--
-- Does a rebuild make each row what its events say, and write nothing else?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
SET client_min_messages = notice;

-- a native projection: what is right is not written
CALL projection_rebuild('wallet_balance');
SELECT projection_init('wallet_balance');
CALL projection_rebuild('wallet_balance');
SELECT count(wallet_create('w' || i, 100)), count(wallet_debit('w' || i, i)) FROM generate_series(1, 9) i;
SELECT projection_run('wallet_balance');
CREATE TABLE old_rows (wallet_id text, place tid, writer text);
-- rows that were written since the table of old ones was made
CREATE FUNCTION written(OUT id text, OUT what text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT coalesce(n.wallet_id, o.wallet_id), CASE WHEN o.wallet_id IS NULL THEN 'insert' WHEN n.wallet_id IS NULL THEN 'delete' ELSE 'update' END
      FROM (SELECT wallet_id, ctid AS place, xmin AS writer FROM wallet_balances) n
      FULL JOIN old_rows o ON o.wallet_id = n.wallet_id
     WHERE o.wallet_id IS NULL OR n.wallet_id IS NULL OR (n.place, n.writer::text) IS DISTINCT FROM (o.place, o.writer) ORDER BY 1
$$;
\set keep 'TRUNCATE old_rows; INSERT INTO old_rows SELECT wallet_id, ctid, xmin::text FROM wallet_balances'
:keep;
CALL projection_rebuild('wallet_balance');
SELECT * FROM written();
-- different, missing and foreign rows
UPDATE wallet_balances SET current_balance = 7 WHERE wallet_id = 'w1';
UPDATE wallet_balances SET transaction_count = 7, total_debits = 3 WHERE wallet_id = 'w2';
DELETE FROM wallet_balances WHERE wallet_id = 'w3';
INSERT INTO wallet_balances (wallet_id, current_balance) VALUES ('nobody', 1);
SELECT partition_key, problem, column_name FROM projection_verify('wallet_balance') ORDER BY 1, 3;
:keep;
CALL projection_rebuild('wallet_balance');
SELECT * FROM written();
SELECT * FROM projection_verify('wallet_balance');
SELECT * FROM check_read_model();
-- an emptied table, which batches refuse
TRUNCATE wallet_balances;
SELECT wallet_debit('w1', 1);
SELECT error_of($$SELECT projection_run('wallet_balance')$$);
CALL projection_rebuild('wallet_balance');
SELECT projection_run('wallet_balance');
SELECT * FROM projection_verify('wallet_balance');
SELECT * FROM check_read_model();
-- one key, also in a transaction block
UPDATE wallet_balances SET current_balance = 7 WHERE wallet_id IN ('w1', 'w2', 'w3');
CALL projection_rebuild('wallet_balance', 'w1');
BEGIN;
CALL projection_rebuild('wallet_balance', 'w2');
ROLLBACK;
BEGIN;
SELECT wallet_debit('w3', 1);
SELECT projection_run('wallet_balance');
CALL projection_rebuild('wallet_balance', 'w3');
COMMIT;
CALL projection_rebuild('wallet_balance', 'unknown');
SELECT partition_key, problem FROM projection_verify('wallet_balance');
BEGIN;
CALL projection_rebuild('wallet_balance');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL projection_rebuild('wallet_balance', 'w2');
ROLLBACK;
CALL projection_rebuild_all();
SELECT partition_key, problem FROM projection_verify('wallet_balance');
-- arguments
CALL projection_rebuild(NULL);
CALL projection_rebuild('nothing');
CALL projection_rebuild('wallet_balance', force => NULL);
CALL projection_rebuild_all(NULL);
CALL projection_rebuild_all('nothing');
CREATE ROLE regress_nobody;
GRANT USAGE ON SCHEMA regress_wp TO regress_nobody;
SET ROLE regress_nobody;
CALL projection_rebuild('wallet_balance');
RESET ROLE;
SELECT * FROM projection_progress;

-- events that have failed: the row is made right up to there, and they are tried again
SELECT projection_set('wallet_balance', 'max_parked', '10'), projection_set('wallet_balance', 'retry_delay', '1 hour'), projection_set('wallet_balance', 'retry_max_delay', '1 hour');
SELECT append_event('w4', 'WalletWasDebited', '{"amount": "much"}'), append_event('w4', 'WalletWasDebited', '{"amount": 1}');
SELECT append_event('w5', 'WalletWasDebited', '{"amount": "more"}'), append_event('w5', 'WalletWasDebited', '{"amount": 1}');
SELECT projection_run('wallet_balance');
UPDATE wallet_stream SET payload = '{"amount": 7}' WHERE payload ->> 'amount' = 'much';
UPDATE wallet_balances SET current_balance = 7 WHERE wallet_id IN ('w4', 'w5');
CALL projection_rebuild('wallet_balance');
SELECT partition_key, waiting FROM projection_dead_letters;
SELECT wallet_id, current_balance, transaction_count FROM wallet_balances WHERE wallet_id IN ('w4', 'w5') ORDER BY 1;
UPDATE wallet_stream SET payload = '{"amount": 7}' WHERE payload ->> 'amount' = 'more';
CALL projection_rebuild('wallet_balance', 'w5');
SELECT partition_key, waiting FROM projection_dead_letters;
SELECT * FROM check_read_model();

-- a row that cannot be written stays as it is; the others are written
ALTER TABLE wallet_balances ADD CONSTRAINT few CHECK (current_balance <> 92) NOT VALID;
UPDATE wallet_balances SET current_balance = 1;
CALL projection_rebuild('wallet_balance');
SELECT partition_key, problem FROM projection_verify('wallet_balance');
ALTER TABLE wallet_balances DROP CONSTRAINT few;
CALL projection_rebuild('wallet_balance');
SELECT * FROM check_read_model();

-- a stream that has lost its oldest events
DELETE FROM wallet_stream WHERE aggregate_id = 'w9' AND aggregate_version = 1;
CALL projection_rebuild('wallet_balance');
CALL projection_rebuild('wallet_balance', 'w9');
CALL projection_rebuild('wallet_balance', force => true);
DELETE FROM wallet_stream;
CALL projection_rebuild('wallet_balance');
SELECT wallet_create('w10', 1);
CALL projection_rebuild('wallet_balance');
CALL projection_rebuild('wallet_balance', force => true);
SELECT wallet_id FROM wallet_balances;

-- a declared projection: columns that are not the definition's keep their values
CREATE TABLE orders (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id numeric, type text, amount numeric, tag text);
CREATE TABLE orders_view (id numeric PRIMARY KEY, status text NOT NULL DEFAULT 'new', total numeric NOT NULL DEFAULT 0, tag text UNIQUE,
    twice numeric GENERATED ALWAYS AS (total * 2) STORED, serial int GENERATED ALWAYS AS IDENTITY, made_at timestamptz DEFAULT clock_timestamp(), note text);
SELECT projection_create('orders_view', $$
  MERGE INTO orders_view o USING orders e ON o.id = e.id
  WHEN NOT MATCHED AND e.type = 'placed' THEN INSERT (id, tag) VALUES (e.id, e.tag)
  WHEN MATCHED AND e.type = 'line' THEN UPDATE SET total = o.total + e.amount
  WHEN MATCHED AND e.type = 'tag' THEN UPDATE SET tag = e.tag
  WHEN MATCHED AND e.type = 'gone' THEN DELETE $$, partitions => 4);
INSERT INTO orders (id, type, amount, tag) SELECT i, t, i, 'tag' || i FROM generate_series(1, 20) i, unnest('{placed,line,line}'::text[]) t;
INSERT INTO orders (id, type) VALUES (20, 'gone'), (1.0, 'line');
INSERT INTO orders (id, type, amount) VALUES (1.00, 'line', 5);
SELECT projection_run('orders_view');
SELECT * FROM projection_verify('orders_view');
UPDATE orders_view SET note = 'kept', total = total + CASE id WHEN 2 THEN 1 ELSE 0 END;
DELETE FROM orders_view WHERE id IN (3, 4);
INSERT INTO orders_view (id, tag) VALUES (99, 'tag3'), (20, 'x');
-- tag4 is 5's, whose row must be written first
UPDATE orders_view SET tag = 'tag4' WHERE id = 5;
SELECT partition_key, problem, column_name FROM projection_verify('orders_view') ORDER BY partition_key::numeric, 3;
CALL projection_rebuild('orders_view');
SELECT id, total, twice, tag, note, serial > 20 AS made_anew FROM orders_view WHERE id IN (2, 3, 4, 5, 20, 99) ORDER BY id;
SELECT * FROM projection_verify('orders_view');
-- values that two rows have exchanged: neither can be written first
BEGIN;
UPDATE orders_view SET tag = 'y' WHERE id = 6;
UPDATE orders_view SET tag = 'tag6' WHERE id = 7;
UPDATE orders_view SET tag = 'tag7' WHERE id = 6;
COMMIT;
CALL projection_rebuild('orders_view');
UPDATE orders_view SET tag = NULL WHERE id = 6;
CALL projection_rebuild('orders_view');
SELECT * FROM projection_verify('orders_view');

-- another definition, and a column that it adds
ALTER TABLE orders_view ADD COLUMN lines int;
SELECT projection_alter('orders_view', $$
  MERGE INTO orders_view o USING orders e ON o.id = e.id
  WHEN NOT MATCHED AND e.type = 'placed' THEN INSERT (id, tag, lines) VALUES (e.id, e.tag, 0)
  WHEN MATCHED AND e.type = 'line' THEN UPDATE SET total = o.total + e.amount, lines = o.lines + 1
  WHEN MATCHED AND e.type = 'tag' THEN UPDATE SET tag = e.tag
  WHEN MATCHED AND e.type = 'gone' THEN DELETE $$);
SELECT state FROM projection_status WHERE projection = 'orders_view';
CALL projection_rebuild('orders_view', '1.0');
SELECT state FROM projection_status WHERE projection = 'orders_view';
CALL projection_rebuild('orders_view');
SELECT state FROM projection_status WHERE projection = 'orders_view';
SELECT id, total, lines FROM orders_view WHERE id < 4 ORDER BY id;
SELECT * FROM projection_verify('orders_view');

-- foreign keys, triggers and deferred constraints see each write
CREATE TABLE log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log VALUES (concat_ws(' ', TG_OP, OLD.id, NEW.id));
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON orders_view FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE refers (id numeric REFERENCES orders_view DEFERRABLE INITIALLY DEFERRED);
INSERT INTO refers VALUES (8);
UPDATE orders_view SET total = 1 WHERE id = 8;
INSERT INTO orders_view (id) VALUES (77), (78);
INSERT INTO refers VALUES (77);
DELETE FROM orders_view WHERE id = 9;
TRUNCATE log;
CALL projection_rebuild('orders_view');
SELECT * FROM log ORDER BY 1;
DELETE FROM refers WHERE id = 77;
CALL projection_rebuild('orders_view');
SELECT * FROM projection_verify('orders_view');
DROP TABLE refers;
DROP TRIGGER note ON orders_view;

-- a second projection of the stream is another one's; one that began now knows nothing of before
CREATE TABLE totals (type text PRIMARY KEY, n int NOT NULL);
CREATE TABLE totals_now (LIKE totals INCLUDING ALL);
SELECT projection_create('totals', $$MERGE INTO totals t USING orders e ON t.type = e.type WHEN NOT MATCHED THEN INSERT (type, n) VALUES (e.type, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1$$);
INSERT INTO totals_now VALUES ('placed', 100);
SELECT projection_create('totals_now', $$MERGE INTO totals_now t USING orders e ON t.type = e.type WHEN NOT MATCHED THEN INSERT (type, n) VALUES (e.type, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1$$, start_at => 'now');
INSERT INTO orders (id, type, amount) VALUES (10, 'line', 1);
SELECT projection_run('totals'), projection_run('totals_now');
UPDATE totals SET n = 0;
CALL projection_rebuild('totals');
SELECT * FROM totals ORDER BY 1;
CALL projection_rebuild('totals_now');
CALL projection_rebuild('totals_now', 'line');
CALL projection_rebuild('totals_now', force => true);
SELECT * FROM totals_now;
SELECT * FROM projection_verify('totals_now');
-- one that cannot be rebuilt does not keep the others from it
UPDATE totals SET n = 0;
CALL projection_rebuild_all();
SELECT * FROM projection_verify('totals');

-- an event whose key could not be computed, and that comes too late now: the rows of its keys are made anew
CREATE TABLE parts (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, doc jsonb);
CREATE TABLE part_list (k text PRIMARY KEY, list text NOT NULL);
SELECT projection_create('part_list', $$MERGE INTO part_list p USING (SELECT e.no, e.k, x.v FROM parts e, jsonb_array_elements(e.doc) x (v)) e ON p.k = (e.k || (e.v::int)::text)
  WHEN NOT MATCHED THEN INSERT (k, list) VALUES (e.k || (e.v::int)::text, e.no) WHEN MATCHED AND e.no <> 7 THEN UPDATE SET list = p.list || e.no
  WHEN MATCHED THEN UPDATE SET list = 1 / (e.no - 7)$$);
SELECT projection_set('part_list', 'max_parked', '10'), projection_set('part_list', 'retry_delay', '1 hour'), projection_set('part_list', 'retry_max_delay', '1 hour');
INSERT INTO parts (k, doc) VALUES ('a', '[1, 2]'), ('a', '[1, "?", 3]'), ('a', '[1, 2]'), ('b', '["?"]'), ('b', '[1, "?"]'), ('b', '[1]'), ('a', '[2]');
SELECT projection_run('part_list');
SELECT partition_key, by_number, no, waiting FROM wallet_projection.parked WHERE projection = 'part_list' ORDER BY no;
SELECT * FROM projection_verify('part_list');
-- of key a2 another event fails: this one comes before it
UPDATE parts SET doc = '[1, 2, 3]' WHERE no = 2;
UPDATE parts SET doc = '[1, "?"]' WHERE no = 4;
SELECT dead_letter_replay(id) FROM projection_dead_letters WHERE no = 2;
CALL projection_rebuild('part_list', 'a1');
SELECT * FROM part_list ORDER BY k;
UPDATE parts SET doc = '[1]' WHERE no = 4;
CALL projection_rebuild('part_list');
UPDATE parts SET doc = '[1, 1]' WHERE no = 5;
-- a row that cannot be written: the event stays parked
ALTER TABLE part_list ADD CONSTRAINT short CHECK (length(list) < 4) NOT VALID;
CALL projection_rebuild('part_list');
ALTER TABLE part_list DROP CONSTRAINT short;
CALL projection_rebuild('part_list');
SELECT * FROM part_list ORDER BY k;
SELECT partition_key, by_number, no, waiting FROM wallet_projection.parked WHERE projection = 'part_list' ORDER BY no;
SELECT * FROM projection_verify('part_list');
SELECT projection_drop('part_list');
-- rows without a key are no event's
CREATE TABLE by_tag (tag text UNIQUE, n int NOT NULL);
SELECT projection_create('by_tag', $$MERGE INTO by_tag t USING orders e ON t.tag = e.tag WHEN NOT MATCHED THEN INSERT (tag, n) VALUES (e.tag, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1$$);
SELECT projection_run('by_tag');
INSERT INTO by_tag VALUES (NULL, 1), (NULL, 2);
SELECT partition_key, problem, actual FROM projection_verify('by_tag');
CALL projection_rebuild('by_tag');
SELECT * FROM projection_verify('by_tag');

-- a reset of what does not run empties it (test/t/065_rebuild_more.pl has the other)
SELECT projection_reset('by_tag', force => NULL);
SELECT projection_reset('by_tag');
SELECT count(*) FROM by_tag;
SELECT projection_drop('by_tag');

-- statements are refused
CREATE TABLE lines (no bigint PRIMARY KEY);
SELECT projection_create('lines', 'INSERT INTO lines SELECT e.no FROM events e', stream => 'orders', key => 'id');
CALL projection_rebuild('lines');
CALL projection_rebuild_all(force => true);

\set ECHO none
SET client_min_messages = warning;
DROP SCHEMA regress_wp CASCADE;
DROP ROLE regress_nobody;
