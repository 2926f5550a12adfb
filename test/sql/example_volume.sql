--
-- An example to copy: the volume of each day, from a table of transfers. Many
-- writers write to one day at the same time, and sums may be added in any
-- order: ordering => 'arrival'.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\pset tuples_only off
\pset format aligned
\pset null ''
\set ECHO all

CREATE TABLE transfers (
    no       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    currency char(3) NOT NULL,
    amount   numeric(12,2) NOT NULL,
    at       timestamptz NOT NULL
);
CREATE TABLE daily_volume (
    day       date,
    currency  char(3),
    transfers bigint NOT NULL,
    volume    numeric NOT NULL,
    largest   numeric NOT NULL,
    average   numeric GENERATED ALWAYS AS (round(volume / transfers, 2)) STORED,
    PRIMARY KEY (day, currency)
);
-- The day of a time depends on the time zone. It is named, so that the day of
-- an event never changes.
SELECT projection_create('daily_volume', $$
  MERGE INTO daily_volume v
  USING (SELECT (at AT TIME ZONE 'Europe/Berlin')::date AS day, currency, amount FROM transfers) t
     ON v.day = t.day AND v.currency = t.currency
  WHEN NOT MATCHED THEN INSERT (day, currency, transfers, volume, largest) VALUES (t.day, t.currency, 1, t.amount, t.amount)
  WHEN MATCHED THEN UPDATE SET transfers = v.transfers + 1, volume = v.volume + t.amount, largest = greatest(v.largest, t.amount)
$$, ordering => 'arrival');

INSERT INTO transfers (currency, amount, at) VALUES
('EUR', 10, '2026-01-05 10:00'), ('EUR', 2.5, '2026-01-05 12:00'), ('USD', 7, '2026-01-05 12:00'),
('EUR', 1, '2026-01-05 22:59'), ('EUR', 100, '2026-01-05 23:00');
SELECT projection_run('daily_volume');
SELECT * FROM daily_volume ORDER BY day, currency;

-- Many, and some that were rolled back: their numbers stay unused.
BEGIN;
INSERT INTO transfers (currency, amount, at) VALUES ('EUR', 1000000, '2026-01-06 10:00');
ROLLBACK;
INSERT INTO transfers (currency, amount, at)
SELECT CASE n % 3 WHEN 0 THEN 'USD' ELSE 'EUR' END, n % 100 + 0.25, timestamptz '2026-01-06' + n * interval '7 minutes'
  FROM generate_series(1, 1000) n;
SELECT projection_run('daily_volume');
SELECT * FROM daily_volume ORDER BY day, currency;

-- One query over all events says the same.
SELECT (at AT TIME ZONE 'Europe/Berlin')::date AS day, currency, count(*) AS transfers, sum(amount) AS volume, max(amount) AS largest
  FROM transfers GROUP BY 1, 2
EXCEPT SELECT day, currency, transfers, volume, largest FROM daily_volume;

\set ECHO none
DROP SCHEMA regress_wp CASCADE;
