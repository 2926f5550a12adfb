--
-- What a row was: by the number of an event, and by time.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text, kind text, amount text, occurred_at timestamptz);
CREATE INDEX ON sales (shop);
CREATE TABLE totals (shop text PRIMARY KEY, n int NOT NULL, total numeric, serial bigint GENERATED ALWAYS AS IDENTITY,
    made_at timestamptz DEFAULT clock_timestamp(), colour text DEFAULT 'red', twice int GENERATED ALWAYS AS (n * 2) STORED, by_hand text);
SELECT projection_create('totals', $$
  MERGE INTO totals t USING (SELECT * FROM sales WHERE kind <> 'draft') e ON t.shop = e.shop
  WHEN NOT MATCHED THEN INSERT (shop, n, total) VALUES (e.shop, 1, e.amount::numeric)
  WHEN MATCHED AND e.kind = 'close' THEN DELETE
  WHEN MATCHED THEN UPDATE SET n = t.n + 1, total = t.total + e.amount::numeric $$);
INSERT INTO sales (shop, kind, amount, occurred_at) VALUES
  ('a', 'sale', '10', '2026-01-01 UTC'), ('b', 'sale', '20', '2026-01-02 UTC'), ('a', 'draft', 'x', '2026-01-03 UTC'),
  ('a', 'sale', '30', '2026-01-04 UTC'), ('a', 'close', NULL, '2026-01-05 UTC'), ('a', 'sale', '7', '2026-01-06 UTC'),
  ('c', 'sale', '1', '2026-01-07 UTC'), ('c', 'sale', '2', '2026-01-09 UTC'), ('c', 'sale', '4', '2026-01-08 UTC');
-- nothing is applied yet, and that makes no difference
SELECT no, projection_row_at('totals', 'a', no) FROM sales ORDER BY no;
SELECT projection_run('totals');
SELECT no, projection_row_at('totals', 'a', no) ->> 'total' AS total FROM sales ORDER BY no;
SELECT projection_row_at('totals', 'a', 0), projection_row_at('totals', 'none', 100);
-- nothing was drawn from the sequence
SELECT shop, serial FROM totals ORDER BY serial;
-- by time, up to the first event that is younger
SELECT d, projection_row_at('totals', 'a', d) ->> 'total' AS a, projection_row_at('totals', 'c', d) ->> 'total' AS c
  FROM generate_series('2025-12-31 UTC'::timestamptz, '2026-01-10 UTC', '1 day') d;
SELECT projection_row_at('totals', 'c', 'infinity'::timestamptz) ->> 'n', projection_row_at('totals', 'c', '-infinity'::timestamptz) ->> 'n';
-- a standby and a READ ONLY transaction can do it
BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY;
SELECT projection_row_at('totals', 'a', 4) ->> 'total';
COMMIT;
-- an event that cannot be applied is an error, and one that was skipped is left out
INSERT INTO sales (shop, kind, amount) VALUES ('b', 'sale', 'bad'), ('b', 'sale', '5');
SELECT projection_set('totals', 'max_attempts', '1');
SELECT projection_run('totals');
SELECT error_of($$ SELECT projection_row_at('totals', 'b', 11) $$);
SELECT projection_row_at('totals', 'b', 9) ->> 'total';
SELECT dead_letter_delete(id) FROM projection_dead_letters;
SELECT projection_row_at('totals', 'b', 11) ->> 'total';
-- the definition of now
SELECT projection_alter('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop WHEN NOT MATCHED THEN INSERT (shop, n) VALUES (e.shop, 0)');
SELECT projection_row_at('totals', 'a', 4);

-- A key of several columns, of no index; no time; begun in the middle
CREATE TABLE moves (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x int, y numeric, d int);
CREATE TABLE places (x int, y numeric, d int, PRIMARY KEY (x, y));
INSERT INTO moves (x, y, d) SELECT i % 7, i % 3, i FROM generate_series(1, 10100) i;
SELECT projection_create('places', 'MERGE INTO places t USING moves e ON t.x = e.x AND t.y = e.y WHEN NOT MATCHED THEN INSERT VALUES (e.x, e.y, e.d) WHEN MATCHED THEN UPDATE SET d = t.d + e.d');
SELECT projection_row_at('places', '(1,2.00)', 100);
SELECT projection_row_at('places', '(1,2)', 10100);
SELECT error_of($$ SELECT projection_row_at('places', '1', 100) $$);
SELECT error_of($$ SELECT projection_row_at('places', '(1,2)', now()) $$);
CREATE TABLE later (x int PRIMARY KEY, n int);
SELECT projection_create('later', 'MERGE INTO later t USING moves e ON t.x = e.x WHEN NOT MATCHED THEN INSERT VALUES (e.x, 1) WHEN MATCHED THEN UPDATE SET n = t.n + 1', start_at => 'now');
INSERT INTO moves (x) VALUES (1), (1);
SELECT projection_row_at('later', '1', 20000);
CREATE TABLE log (no bigint);
SELECT projection_create('log', 'INSERT INTO log SELECT no FROM events', stream => 'moves');
SELECT error_of($$ SELECT projection_row_at('log', '1', 1) $$);

-- Wallets
SELECT projection_init('wallet_balance');
SELECT wallet_balance_at('w', 1);
SELECT wallet_create('w', 100), wallet_debit('w', 5), wallet_credit('w', 7);
SELECT n, wallet_balance_at('w', n), projection_row_at('wallet_balance', 'w', n) FROM generate_series(0, 4) n;
SELECT wallet_balance_at('w', clock_timestamp()), wallet_balance_at('w', '-infinity'::timestamptz), wallet_balance_at('nobody', 100);
SELECT count(*) FROM wallet_stream WHERE wallet_balance_at('w', created_at) IS DISTINCT FROM wallet_balance_at('w', no);
SELECT projection_row_at('wallet_balance', 'w', clock_timestamp()) ->> 'current_balance';

-- Arguments and rights
SELECT error_of($$ SELECT projection_row_at(NULL, 'a', 1) $$);
SELECT error_of($$ SELECT projection_row_at('totals', NULL, 1) $$);
SELECT error_of($$ SELECT projection_row_at('totals', 'a', NULL::bigint) $$);
SELECT error_of($$ SELECT projection_row_at('totals', 'a', NULL::timestamptz) $$);
SELECT error_of($$ SELECT projection_row_at('none', 'a', 1) $$);
SELECT error_of($$ SELECT wallet_balance_at(NULL, 1) $$);
SELECT error_of($$ SELECT wallet_balance_at('w', NULL::bigint) $$);
SELECT error_of($$ SELECT wallet_balance_at('w', NULL::timestamptz) $$);
CREATE ROLE regress_wp_row_at;
GRANT USAGE ON SCHEMA regress_wp TO regress_wp_row_at;
GRANT SELECT ON sales, totals TO regress_wp_row_at;
SET ROLE regress_wp_row_at;
SELECT split_part(error_of($$ SELECT projection_row_at('totals', 'a', 1) $$), E'\n', 1);
SELECT error_of($$ SELECT wallet_balance_at('w', 1) $$);
RESET ROLE;
GRANT SELECT ON wallet_stream TO regress_wp_row_at;
SET ROLE regress_wp_row_at;
SELECT wallet_balance_at('w', 2);
RESET ROLE;
REVOKE ALL ON sales, totals, wallet_stream FROM regress_wp_row_at;
REVOKE ALL ON SCHEMA regress_wp FROM regress_wp_row_at;
DROP ROLE regress_wp_row_at;

DROP SCHEMA regress_wp CASCADE;
