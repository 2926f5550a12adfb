--
-- Are sums that are kept in place what numeric makes of them, digit by digit?
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers

CREATE TABLE entries (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int, kind text, amount numeric, payload jsonb);
CREATE TABLE sums (
    account int PRIMARY KEY, plain numeric, cents numeric(10,2), fine numeric(19,4) DEFAULT 0,
    whole numeric(5), large numeric(25,4), tiny numeric(7,3), n int NOT NULL DEFAULT 0, note text);
CREATE TABLE by_loop (LIKE sums INCLUDING ALL);
-- the source of the loop: an entry at a time
CREATE TABLE one_entry (LIKE entries);

\set definition 'MERGE INTO sums s USING entries e ON s.account = e.account WHEN NOT MATCHED THEN INSERT (account, plain, cents, fine, whole, large, tiny) VALUES (e.account, e.amount, 0, 0, 0, 0, 0) WHEN MATCHED AND e.kind = ''add'' THEN UPDATE SET plain = s.plain + e.amount, cents = s.cents + e.amount, fine = (e.payload->>''n'')::numeric + s.fine, large = s.large - (e.payload->>''n'')::numeric, n = s.n + 1 WHEN MATCHED AND e.kind = ''take'' THEN UPDATE SET plain = s.plain - e.amount, fine = s.fine - (e.payload->>''n'')::numeric, whole = s.whole + e.amount, tiny = s.tiny + (e.payload->>''n'')::numeric WHEN MATCHED AND e.kind = ''read'' AND s.fine > 10 THEN UPDATE SET note = s.fine::text || '' '' || s.plain::text, plain = s.plain + e.amount, fine = s.cents WHEN MATCHED AND e.kind = ''swap'' THEN UPDATE SET plain = s.fine + e.amount, cents = s.cents - e.amount WHEN MATCHED AND e.kind = ''delete'' THEN DELETE'

-- Random amounts: with and without decimal places that are shown, too many of
-- them, too large, null and not finite
SELECT setseed(0.25);
INSERT INTO entries (account, kind, amount, payload)
SELECT account, kind, a,
       CASE WHEN random() < 0.05 THEN '{"n": null}' WHEN random() < 0.05 THEN jsonb_build_object('n', b::text) ELSE jsonb_build_object('n', b) END
  FROM (SELECT n % 97 AS account, (ARRAY['add','add','add','take','take','read','swap','delete'])[1 + floor(random() * 7.2)::int] AS kind,
               (ARRAY[(random() * 100)::numeric(10,2), (random() * 10)::numeric(10,4), floor(random() * 9)::numeric, 1.500, 0.0000, -3, 0.00001, 1.20000,
                      NULL, 'NaN', 123456789012345, 999999999999999.9999, 1e20])[1 + floor(random() * CASE WHEN random() < 0.996 THEN 8 ELSE 13 END)::int] AS a,
               (ARRAY[(random() * 10)::numeric(10,2), (random() / 10)::numeric(10,4), 0.5, -0.25, 0, 0.1230, 0.12345, 922337203685477.5807])[1 + floor(random() * CASE WHEN random() < 0.98 THEN 7 ELSE 8 END)::int] AS b
          FROM generate_series(1, 2500) n) e;

SELECT projection_create('sums', :'definition', ordering => 'arrival');
SELECT projection_run('sums', 1500) > 0, projection_run('sums') > 0;

-- An entry after the other; an account stops at the first that fails
CREATE FUNCTION loop_over(definition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    stopped int[] := '{}';
    e entries;
    failed bigint := 0;
BEGIN
    definition := replace(replace(definition, 'USING entries', 'USING one_entry'), 'INTO sums', 'INTO by_loop');
    FOR e IN SELECT * FROM entries ORDER BY no LOOP
        CONTINUE WHEN e.account = ANY (stopped);
        DELETE FROM one_entry;
        INSERT INTO one_entry SELECT e.*;
        BEGIN
            EXECUTE definition;
        EXCEPTION WHEN OTHERS THEN
            stopped := stopped || e.account;
            failed := failed + 1;
        END;
    END LOOP;
    RETURN failed;
END
$$;
SELECT loop_over(:'definition') = (SELECT count(*) FROM projection_dead_letters) AS as_many_fail,
       (SELECT count(*) FROM projection_dead_letters) BETWEEN 1 AND 60 AS some_fail;
-- as text: 1.5 is not 1.50
SELECT count(*) AS differ
  FROM (SELECT s::text FROM sums s EXCEPT SELECT s::text FROM by_loop s
        UNION ALL (SELECT s::text FROM by_loop s EXCEPT SELECT s::text FROM sums s)) d;
SELECT count(*) > 50 AS there, count(note) > 5 AS were_read FROM sums;

-- A long key is compressed in one row and not in another: it is one key
CREATE TABLE long_events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, filler text);
CREATE TABLE long_keys (k text PRIMARY KEY, n int);
SELECT projection_create('long_keys', 'MERGE INTO long_keys t USING long_events e ON t.k = e.k WHEN MATCHED THEN UPDATE SET n = t.n + 1 WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1)', ordering => 'arrival');
INSERT INTO long_events (k, filler) SELECT repeat('k', 1500), (SELECT string_agg(md5((n * m)::text), '') FROM generate_series(1, CASE WHEN n % 2 = 0 THEN 1 ELSE 60 END) m) FROM generate_series(1, 10) n;
SELECT count(DISTINCT pg_column_size(k)) AS forms FROM long_events;
SELECT projection_run('long_keys');
SELECT length(k), n FROM long_keys;
