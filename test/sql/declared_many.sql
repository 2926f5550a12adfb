--
-- Many declared projections over one stream: created, created again, changed,
-- dropped.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE hits (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, page int, n int);
INSERT INTO hits (page, n) SELECT i % 7, i FROM generate_series(1, 100) i;
CREATE FUNCTION definition(i int) RETURNS text LANGUAGE sql AS $$
    SELECT format('MERGE INTO pages_%s p USING hits h ON p.page = h.page WHEN NOT MATCHED THEN INSERT VALUES (h.page, h.n) WHEN MATCHED THEN UPDATE SET n = p.n + h.n', i)
$$;
DO $$
BEGIN
    FOR i IN 0 .. 19 LOOP
        EXECUTE format('CREATE TABLE pages_%s (page int PRIMARY KEY, n int)', i);
        PERFORM projection_create('pages_' || i, definition(i), start_at => CASE WHEN i % 2 = 0 THEN 'beginning' ELSE 'now' END);
    END LOOP;
END $$;
INSERT INTO hits (page, n) VALUES (1, 1000);
SELECT sum(projection_run('pages_' || i)) FROM generate_series(0, 19) i;
SELECT (SELECT sum(n) FROM pages_0), (SELECT sum(n) FROM pages_1), (SELECT sum(n) FROM pages_18), (SELECT sum(n) FROM pages_19);
-- one stream, whatever reads it
SELECT count(*) FROM wallet_projection.stream;
SELECT error_of($$ SELECT stream_detach('hits') $$);

-- again
SELECT error_of($$ SELECT projection_create('pages_0', 'MERGE INTO pages_0 p USING hits h ON p.page = h.page WHEN MATCHED THEN DELETE') $$);
SELECT error_of($$ SELECT projection_create('pages_0', 'MERGE INTO pages_0 p USING hits h ON p.page = h.page WHEN MATCHED THEN DELETE', if_not_exists => true) $$);
SET client_min_messages = notice;
SELECT projection_create('pages_0', definition(0), if_not_exists => true);
SET client_min_messages = warning;
SELECT error_of($$ SELECT projection_create('wallet_balance', 'MERGE INTO pages_0 p USING hits h ON p.page = h.page WHEN MATCHED THEN DELETE', if_not_exists => true) $$);

-- options, and what is for others
SELECT projection_set('pages_0', 'batch_size', '7');
SELECT projection_set('pages_0', 'max_parked', '3');
SELECT projection_set('pages_0', 'channel', 'night');
SELECT error_of($$ SELECT projection_set('pages_0', 'partitions', '3') $$);
SELECT error_of($$ SELECT projection_delete('pages_0') $$);
SELECT error_of($$ SELECT projection_init('pages_0') $$);
SELECT error_of($$ SELECT projection_drop('wallet_balance') $$);
SELECT error_of($$ SELECT projection_drop('nothing') $$);
INSERT INTO hits (page, n) VALUES (1, 1);
CALL projection_consume('night', finish_when_no_messages => true);
SELECT channel, lag_events FROM projection_status WHERE projection IN ('pages_0', 'pages_2') ORDER BY projection;
-- from where it began
TRUNCATE pages_1;
SELECT projection_reset('pages_1'), projection_reset('pages_0');
SELECT projection_run('pages_1'), projection_run('pages_0');
SELECT (SELECT sum(n) FROM pages_0), (SELECT sum(n) FROM pages_1);

-- dropped: the tables stay, and may begin again
SELECT count(projection_drop('pages_' || i)) FROM generate_series(0, 18) i;
SELECT count(*) FROM projection_status WHERE projection LIKE 'pages%';
SELECT count(*) FROM wallet_projection.definition;
SELECT sum(n) FROM pages_0;
SELECT error_of($$ SELECT projection_create('again', 'MERGE INTO pages_0 p USING hits h ON p.page = h.page WHEN NOT MATCHED THEN INSERT VALUES (h.page, h.n)') $$);
-- within a transaction that rolls back
TRUNCATE pages_0;
BEGIN;
SELECT projection_create('again', 'MERGE INTO pages_0 p USING hits h ON p.page = h.page WHEN NOT MATCHED THEN INSERT VALUES (h.page, h.n)');
SELECT projection_run('again');
ROLLBACK;
SELECT count(*) FROM pages_0;
SELECT error_of($$ SELECT projection_run('again') $$);
BEGIN;
SAVEPOINT s;
SELECT projection_create('again', 'MERGE INTO pages_0 p USING hits h ON p.page = h.page WHEN NOT MATCHED THEN INSERT VALUES (h.page, h.n)');
ROLLBACK TO s;
SELECT projection_create('again', 'MERGE INTO pages_0 p USING hits h ON p.page = h.page WHEN NOT MATCHED THEN INSERT VALUES (h.page, 1)');
COMMIT;
SELECT projection_run('again');
SELECT sum(n) FROM pages_0;
BEGIN;
SELECT projection_drop('again');
ROLLBACK;
SELECT projection_run('again');

DROP SCHEMA regress_wp CASCADE;
