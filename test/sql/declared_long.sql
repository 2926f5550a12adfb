--
-- Keys that no index can hold, and events of so many items that they do not
-- fit into work_mem.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE words (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text, n int);
CREATE TABLE counts (word text PRIMARY KEY, n int);
SELECT projection_create('counts', 'MERGE INTO counts c USING words w ON c.word = w.word WHEN NOT MATCHED THEN INSERT VALUES (w.word, w.n) WHEN MATCHED THEN UPDATE SET n = c.n + w.n');
CREATE FUNCTION noise(seed text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(md5(seed || i), '') FROM generate_series(1, 200) i
$$;
-- two that begin alike, one that compresses well, and a short one
INSERT INTO words (word, n)
SELECT word, 1 FROM generate_series(1, 3), (VALUES (noise('a')), (noise('a') || 'b'), (repeat('c', 100000)), ('d'), (NULL)) AS v(word);
SELECT projection_run('counts');
SELECT left(word, 8) AS word, length(word), n FROM counts ORDER BY 1;
SELECT left(partition_key, 8) AS key, length(partition_key), no, sqlstate, waiting FROM projection_dead_letters ORDER BY no;
-- later events of such a key wait as well
INSERT INTO words (word, n) VALUES (noise('a'), 1), ('d', 1);
SELECT projection_run('counts');
SELECT left(partition_key, 8) AS key, no, waiting FROM projection_dead_letters ORDER BY no;
SELECT dead_letter_delete(id, whole => true) FROM projection_dead_letters ORDER BY no LIMIT 1;
SELECT projection_drop('counts');
TRUNCATE counts;

CREATE TABLE many (word text, i int, n int, PRIMARY KEY (word, i));
SELECT projection_create('many', 'MERGE INTO many m USING (SELECT w.word, g.i FROM words w, generate_series(1, w.n) AS g(i)) s ON m.word = s.word AND m.i = s.i WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.i, 1) WHEN MATCHED THEN UPDATE SET n = m.n + 1');
TRUNCATE words;
INSERT INTO words (word, n) VALUES ('a', 20000), ('b', 1), ('a', 20000);
SET work_mem = '64kB';
SELECT projection_run('many');
SELECT word, count(*), sum(n) FROM many GROUP BY word ORDER BY word;
SELECT projection_drop('many');

\set ECHO none
DROP SCHEMA regress_wp CASCADE;
