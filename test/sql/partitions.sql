--
-- Are partitions and children that come, go or change found by the status and
-- by a batch, and is it right what the hints say?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE TABLE sale (id bigserial, k int NOT NULL, created_at date NOT NULL, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE counted (k int PRIMARY KEY, n int NOT NULL);
SELECT stream_attach('sale', 'sale', guard => 'trust');
SELECT projection_create('counted', 'MERGE INTO counted c USING sale e ON c.k = e.k WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1) WHEN MATCHED THEN UPDATE SET n = c.n + 1');
CREATE VIEW known AS SELECT stream_tables::regclass[] FROM wallet_projection.projection_state WHERE projection = 'counted';
CREATE VIEW status AS SELECT state, last_error FROM projection_status WHERE projection = 'counted';
TABLE known;
INSERT INTO sale (k, created_at) SELECT i % 3, '2024-01-01'::date + i FROM generate_series(1, 50) i;
SELECT projection_run('counted');

-- a new partition, empty
CREATE TABLE sale_3 PARTITION OF sale FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
SELECT projection_run('counted');
TABLE known;
-- with events that positions have passed
CREATE TABLE late (LIKE sale INCLUDING ALL);
WITH moved AS (DELETE FROM sale WHERE id = 7 RETURNING *) INSERT INTO late SELECT id, k, '2024-04-01' FROM moved;
ALTER TABLE sale ATTACH PARTITION late FOR VALUES FROM ('2024-04-01') TO ('2024-05-01');
TABLE status;
SELECT error_of($$ SELECT projection_run('counted') $$);
SELECT error_of($$ SELECT projection_wait('counted') $$);
ALTER TABLE sale DETACH PARTITION late;
TABLE status;
SELECT projection_run('counted');
ALTER TABLE sale ATTACH PARTITION late FOR VALUES FROM ('2024-04-01') TO ('2024-05-01');
SELECT projection_init('counted');
TABLE status;
TABLE known;
SELECT sum(n), (SELECT count(*) FROM sale) FROM counted;
SELECT projection_reset('counted');
SELECT projection_run('counted');
SELECT sum(n), (SELECT count(*) FROM sale) FROM counted;
-- its events are applied now: it may go
ALTER TABLE sale DETACH PARTITION late;
SELECT projection_run('counted');
TABLE known;

-- one that goes before it is applied
INSERT INTO sale (k, created_at) VALUES (1, '2024-03-02');
ALTER TABLE sale DETACH PARTITION sale_3;
TABLE status;
SELECT error_of($$ SELECT projection_run('counted') $$);
ALTER TABLE sale ATTACH PARTITION sale_3 FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
SELECT projection_run('counted');
ALTER TABLE sale DETACH PARTITION sale_3;
TABLE status;
DROP TABLE sale_3;

-- of another kind
ALTER TABLE sale_2 SET UNLOGGED;
TABLE status;
SELECT error_of($$ SELECT projection_run('counted') $$);
ALTER TABLE regress_wp.sale_2 SET LOGGED;
SELECT projection_run('counted');

-- somebody has forgotten, or changed, what was known
UPDATE wallet_projection.projection_state SET stream_tables = NULL;
TABLE status;
INSERT INTO sale (k, created_at) VALUES (1, '2024-01-02');
SELECT projection_run('counted');
TABLE known;
UPDATE wallet_projection.projection_state SET stream_tables = '{{1,2},{NULL,3}}';
TABLE status;
SELECT projection_run('counted');

-- a partition whose columns are in another order
CREATE TABLE strange (created_at date NOT NULL, gone int, k int NOT NULL, id bigint NOT NULL DEFAULT nextval('sale_id_seq'));
ALTER TABLE strange DROP gone;
ALTER TABLE sale ATTACH PARTITION strange FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
INSERT INTO sale (k, created_at) SELECT 5, ('{2024-01-01,2024-02-01,2024-05-01}'::date[])[i % 3 + 1] FROM generate_series(0, 9) i;
INSERT INTO strange (k, created_at) VALUES (6, '2024-05-02');
SELECT n FROM wallet_projection.stream_rows('sale', 53, 100) n;
SELECT projection_run('counted');
TABLE counted ORDER BY k;
-- a number that is there twice
INSERT INTO sale VALUES (54, 1, '2024-01-03');
SELECT error_of($$ SELECT count(*) FROM wallet_projection.stream_rows('sale', 53, 100) $$);

-- writers into a partition wake the workers, too; detaching the stream ends that
DELETE FROM sale WHERE id = 54 AND created_at = '2024-01-03';
SELECT stream_notify('sale', true);
SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'wallet_projection_notify' ORDER BY 1::text;
INSERT INTO sale_1 (k, created_at) VALUES (1, '2024-01-04');
SELECT projection_drop('counted'), stream_detach('sale');
SELECT count(*) FROM pg_trigger WHERE tgname = 'wallet_projection_notify';

-- children: a trigger that could change numbers, made when the stream is known
CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int);
CREATE TABLE old_log (PRIMARY KEY (id)) INHERITS (log);
SELECT stream_attach('log', 'log');
INSERT INTO log (k) VALUES (1), (2);
SELECT count(*) FROM wallet_projection.stream_rows('log', 1, 100);
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER change BEFORE INSERT ON old_log FOR EACH ROW EXECUTE FUNCTION change();
SELECT error_of($$ SELECT count(*) FROM wallet_projection.stream_rows('log', 1, 100) $$);
DROP TRIGGER change ON old_log;
SELECT count(*) FROM wallet_projection.stream_rows('log', 1, 100);

-- a MERGE reads a table that has children ONLY; its children are its stream's all the same
CREATE TABLE logged (k int PRIMARY KEY, n int);
SELECT projection_create('logged', 'MERGE INTO logged c USING ONLY log e ON c.k = e.k WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1) WHEN MATCHED THEN UPDATE SET n = c.n + 1');
CREATE TABLE plain_log () INHERITS (log);
INSERT INTO plain_log (id, k) VALUES (nextval('log_id_seq'), 3), (nextval('log_id_seq'), 1);
INSERT INTO log (k) VALUES (2);
-- one without an index on the numbers is read as a whole
SELECT n FROM wallet_projection.stream_rows('log', 2, 100) n;
SELECT projection_run('logged');
TABLE logged ORDER BY k;
-- in another server
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE abroad () INHERITS (log) SERVER nowhere;
SELECT state, last_error FROM projection_status WHERE projection = 'logged';
SELECT error_of($$ SELECT projection_run('logged') $$);
DROP FOREIGN TABLE abroad;
SELECT projection_run('logged');
DROP FOREIGN DATA WRAPPER nothing CASCADE;
