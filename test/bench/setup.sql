/*
 * What the benches share: events in bulk, the SQL that the extension is
 * measured against, and the check that both came to the same rows.
 */

/*
 * The id of the i-th wallet: 36 characters as a UUID has, in random order as
 * UUIDs are.  The pgbench scripts compute its first 8 digits the same way.
 */
CREATE FUNCTION bench_id(i bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN (10000000 + i * 48271 % 89999999)::text || '-0000-4000-8000-000000000000';

/* The metadata of a wallet's event: the balance after it. */
CREATE FUNCTION bench_snapshot(id text, version bigint, balance numeric) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN jsonb_build_object('_balance', jsonb_build_array(balance, abs(hashtextextended(id COLLATE "C", version) % 1000000000000)));

/* The creations of wallets first to last. */
CREATE PROCEDURE bench_create(first bigint, last bigint) LANGUAGE sql AS $$
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id,
                           aggregate_version, payload, metadata)
SELECT gen_random_uuid(), 'WalletWasCreated', 'Wallet', bench_id(i), 1,
       jsonb_build_object('walletId', bench_id(i), 'initialBalance', 1000000),
       bench_snapshot(bench_id(i), 1, 1000000)
  FROM generate_series(first, last) i
$$;

/*
 * Debits and credits of 0.01 to 100.00, spread at random over wallets first
 * to last, which have been created and have no other events yet.
 */
CREATE PROCEDURE bench_move(first bigint, last bigint, events bigint) LANGUAGE sql AS $$
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id,
                           aggregate_version, payload, metadata)
SELECT gen_random_uuid(),
       CASE WHEN amount < 0 THEN 'WalletWasDebited' ELSE 'WalletWasCredited' END,
       'Wallet', id, 1 + row_number() OVER earlier,
       jsonb_build_object('walletId', id, 'amount', abs(amount)),
       bench_snapshot(id, 1 + row_number() OVER earlier, 1000000 + sum(amount) OVER earlier)
  FROM (SELECT n,
               bench_id(first + floor(random() * (last - first + 1))::bigint) AS id,
               ((CASE WHEN random() < 0.5 THEN -1 ELSE 1 END
                 * (1 + floor(random() * 10000))) / 100)::numeric(19,2) AS amount
          FROM generate_series(1, events) n) e
WINDOW earlier AS (PARTITION BY id ORDER BY n ROWS UNBOUNDED PRECEDING)
 ORDER BY n
$$;

/*
 * The SQL to beat.  Sorted rows reach the primary key's index in its order,
 * which pays for the sort.
 */
CREATE VIEW bench_balances AS
SELECT aggregate_id AS wallet_id,
       coalesce(created, 0) + coalesce(credits, 0) - coalesce(debits, 0) AS current_balance,
       coalesce(debits, 0) AS total_debits, coalesce(credits, 0) AS total_credits,
       moves AS transaction_count
  FROM (SELECT aggregate_id,
               sum((payload->'initialBalance')::numeric) FILTER (WHERE event_name = 'WalletWasCreated') AS created,
               sum((payload->'amount')::numeric) FILTER (WHERE event_name = 'WalletWasDebited') AS debits,
               sum((payload->'amount')::numeric) FILTER (WHERE event_name = 'WalletWasCredited') AS credits,
               count(*) FILTER (WHERE event_name <> 'WalletWasCreated') AS moves
          FROM wallet_stream WHERE aggregate_type = 'Wallet'
         GROUP BY aggregate_id) s
 ORDER BY aggregate_id;

/* The projection wallet_balance as a MERGE. */
CREATE FUNCTION bench_definition() RETURNS text LANGUAGE sql IMMUTABLE RETURN $$
MERGE INTO bench_wallets w
USING (SELECT * FROM wallet_stream WHERE aggregate_type = 'Wallet') e ON w.wallet_id = e.aggregate_id
WHEN NOT MATCHED AND e.event_name = 'WalletWasCreated' THEN
    INSERT (wallet_id, current_balance) VALUES (e.aggregate_id, (e.payload->>'initialBalance')::numeric)
WHEN MATCHED AND e.event_name = 'WalletWasDebited' THEN
    UPDATE SET current_balance = w.current_balance - (e.payload->>'amount')::numeric,
               total_debits = w.total_debits + (e.payload->>'amount')::numeric,
               transaction_count = w.transaction_count + 1
WHEN MATCHED AND e.event_name = 'WalletWasCredited' THEN
    UPDATE SET current_balance = w.current_balance + (e.payload->>'amount')::numeric,
               total_credits = w.total_credits + (e.payload->>'amount')::numeric,
               transaction_count = w.transaction_count + 1
$$;

/* The SQL to beat in batches: a transaction per 10,000 numbers of the stream. */
CREATE PROCEDURE bench_catchup(head bigint) LANGUAGE plpgsql AS $$
DECLARE
    last_number bigint := (SELECT max(no) FROM wallet_stream);
BEGIN
    WHILE head < last_number LOOP
        INSERT INTO bench_model AS m
        SELECT aggregate_id, coalesce(created, 0) + coalesce(credits, 0) - coalesce(debits, 0),
               coalesce(debits, 0), coalesce(credits, 0), moves
          FROM (SELECT aggregate_id,
                       sum((payload->'initialBalance')::numeric) FILTER (WHERE event_name = 'WalletWasCreated') AS created,
                       sum((payload->'amount')::numeric) FILTER (WHERE event_name = 'WalletWasDebited') AS debits,
                       sum((payload->'amount')::numeric) FILTER (WHERE event_name = 'WalletWasCredited') AS credits,
                       count(*) FILTER (WHERE event_name <> 'WalletWasCreated') AS moves
                  FROM wallet_stream
                 WHERE no > head AND no <= head + 10000 AND aggregate_type = 'Wallet'
                 GROUP BY aggregate_id) s
         ORDER BY aggregate_id
        ON CONFLICT (wallet_id) DO UPDATE
           SET current_balance = m.current_balance + excluded.current_balance,
               total_debits = m.total_debits + excluded.total_debits,
               total_credits = m.total_credits + excluded.total_credits,
               transaction_count = m.transaction_count + excluded.transaction_count;
        COMMIT;
        head := head + 10000;
    END LOOP;
END
$$;

/* wallet_debit, as one writes it in PL/pgSQL. */
CREATE FUNCTION bench_debit(wallet_id text, amount numeric) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    version bigint;
    balance numeric;
BEGIN
    IF amount <= 0 THEN
        RAISE EXCEPTION 'Debit amount must be positive';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(wallet_id, 0));
    SELECT s.aggregate_version, (s.metadata->'_balance'->0)::numeric INTO version, balance
      FROM wallet_stream s
     WHERE s.aggregate_type = 'Wallet' AND s.aggregate_id = wallet_id
     ORDER BY s.aggregate_version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such wallet';
    END IF;
    IF balance < amount THEN
        RAISE EXCEPTION 'Insufficient funds';
    END IF;
    INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id,
                               aggregate_version, payload, metadata)
    VALUES (gen_random_uuid(), 'WalletWasDebited', 'Wallet', wallet_id, version + 1,
            jsonb_build_object('walletId', wallet_id, 'amount', amount),
            jsonb_build_object('_balance', jsonb_build_array(balance - amount,
                                                             abs(hashtextextended(wallet_id COLLATE "C", version + 1) % 1000000000000))));
    RETURN version + 1;
END
$$;

/* Fails unless a table has exactly the rows of bench_balances. */
CREATE PROCEDURE bench_check(model regclass) LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL TABLE bench_balances)
                                          UNION ALL (TABLE bench_balances EXCEPT ALL TABLE %1$s)) d', model)
       INTO wrong;
    IF wrong > 0 THEN
        RAISE EXCEPTION '% has % rows more, less or other than its events say', model, wrong;
    END IF;
END
$$;

/*
 * Fails unless the newest events of wallets first, first + step, ... last
 * have the balance and the version that the (checked) read model says.
 */
CREATE PROCEDURE bench_check_snapshots(first bigint, last bigint, step bigint DEFAULT 1)
LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT count(*) INTO wrong
      FROM generate_series(first, last, step) i
      LEFT JOIN wallet_balances b ON b.wallet_id = bench_id(i)
      LEFT JOIN LATERAL (SELECT aggregate_version, (metadata->'_balance'->0)::numeric AS balance
                           FROM wallet_stream
                          WHERE aggregate_type = 'Wallet' AND aggregate_id = bench_id(i)
                          ORDER BY aggregate_version DESC LIMIT 1) s ON true
     WHERE s.balance IS DISTINCT FROM b.current_balance
        OR s.aggregate_version IS DISTINCT FROM b.transaction_count + 1;
    IF wrong > 0 THEN
        RAISE EXCEPTION '% wallets have another balance or version than their events say', wrong;
    END IF;
END
$$;

/* Fails unless bench_append has versions 1 to n, by hundreds, of each aggregate. */
CREATE PROCEDURE bench_check_versions() LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT count(*) INTO wrong
      FROM (SELECT min(aggregate_version) AS low, max(aggregate_version) AS high, count(*) AS n
              FROM bench_append GROUP BY aggregate_type, aggregate_id) s
     WHERE low <> 1 OR high <> n OR n % 100 <> 0;
    IF wrong > 0 OR NOT EXISTS (SELECT FROM bench_append) THEN
        RAISE EXCEPTION '% aggregates lack a version', wrong;
    END IF;
END
$$;

/* Versions of events whose wallet has no other use for them. */
CREATE SEQUENCE bench_version START 1000000;

/* One event each of wallets first to last, by a plain INSERT. */
CREATE PROCEDURE bench_event(first bigint, last bigint, event text DEFAULT 'WalletWasCredited',
                             amount jsonb DEFAULT '0.01') LANGUAGE sql AS $$
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), event, 'Wallet', bench_id(i), nextval('bench_version'),
       jsonb_build_object('walletId', bench_id(i), 'amount', amount)
  FROM generate_series(first, last) i
$$;

/* The same with a dead number before each event: one that is drawn and not used. */
CREATE PROCEDURE bench_gaps(wallets bigint, gaps bigint) LANGUAGE sql AS $$
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(),
       CASE WHEN nextval(pg_get_serial_sequence('wallet_stream', 'no')) > 0 THEN 'WalletWasCredited' END,
       'Wallet', bench_id(1 + i % wallets), nextval('bench_version'),
       jsonb_build_object('walletId', bench_id(1 + i % wallets), 'amount', 0.01)
  FROM generate_series(1, gaps) i
$$;

/* Events that are not a wallet's. */
CREATE PROCEDURE bench_foreign(events bigint) LANGUAGE sql AS $$
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'LineWasAdded', 'Order', bench_id(1 + i % 10000), nextval('bench_version'),
       jsonb_build_object('line', i, 'price', 12.5)
  FROM generate_series(1, events) i
$$;

/*
 * Seconds: of time, or of the session's CPU time.  The kernel adds that up
 * when a process sleeps, so it does, for a millisecond.
 */
CREATE FUNCTION bench_clock(cpu boolean) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
    IF cpu THEN
        PERFORM pg_sleep(0.001);
        RETURN split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::numeric / 1e9;
    END IF;
    RETURN extract(epoch FROM clock_timestamp());
END
$$;

/*
 * Runs a statement n times, as far as some seconds allow, each time in a
 * transaction of its own and after another statement, also in its own.  The
 * microseconds and bytes of WAL of the first, and of both, commits included,
 * in the median.  In the other, @ stands for the round, and # for one of
 * 10,000 wallets.
 */
CREATE PROCEDURE bench_batches(before text, batch text, n integer, seconds numeric, cpu boolean,
                               INOUT us numeric DEFAULT NULL, INOUT wal numeric DEFAULT NULL,
                               INOUT both_us numeric DEFAULT NULL, INOUT both_wal numeric DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + seconds * interval '1 s';
    clocks numeric[];
    wals pg_lsn[];
    all_us numeric[];
    all_wal numeric[];
    all_both_us numeric[];
    all_both_wal numeric[];
BEGIN
    FOR i IN 1 .. n LOOP
        wals[1] := pg_current_wal_insert_lsn();
        clocks[1] := bench_clock(cpu);
        IF before <> '' THEN
            EXECUTE replace(replace(before, '@', i::text), '#', (1 + i * 4817 % 10000)::text);
            COMMIT;
        END IF;
        wals[2] := pg_current_wal_insert_lsn();
        clocks[2] := bench_clock(cpu);
        EXECUTE batch;
        COMMIT;
        clocks[3] := bench_clock(cpu);
        wals[3] := pg_current_wal_insert_lsn();
        all_us := all_us || (clocks[3] - clocks[2]) * 1000000;
        all_wal := all_wal || (wals[3] - wals[2]);
        all_both_us := all_both_us || (clocks[3] - clocks[1]) * 1000000;
        all_both_wal := all_both_wal || (wals[3] - wals[1]);
        EXIT WHEN clock_timestamp() > deadline;
    END LOOP;
    us := percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM unnest(all_us) v;
    wal := percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM unnest(all_wal) v;
    both_us := percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM unnest(all_both_us) v;
    both_wal := percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM unnest(all_both_wal) v;
END
$$;

/*
 * What is seen of a session from its next statement to its end: the longest
 * time, in seconds, for which it had one transaction, and how often the
 * lowest head has moved meanwhile.
 */
CREATE PROCEDURE bench_watch(watched integer, INOUT longest numeric DEFAULT 0,
                             INOUT saves integer DEFAULT 0)
LANGUAGE plpgsql AS $$
DECLARE
    transaction text;
    before text;
    began timestamptz;
    head bigint;
    head_before bigint := (SELECT min(p.head) FROM projection_partitions p);
    seen boolean := false;
    active boolean;
BEGIN
    LOOP
        active := (SELECT state = 'active' FROM pg_stat_activity WHERE pid = watched);
        EXIT WHEN seen AND active IS NOT TRUE;
        seen := seen OR active;
        transaction := (SELECT min(l.virtualxid) FROM pg_locks l WHERE l.pid = watched AND l.locktype = 'virtualxid');
        IF transaction IS DISTINCT FROM before THEN
            began := clock_timestamp();
            before := transaction;
        ELSIF transaction IS NOT NULL THEN
            longest := greatest(longest, extract(epoch FROM clock_timestamp() - began));
        END IF;
        head := (SELECT min(p.head) FROM projection_partitions p);
        IF head > head_before THEN
            saves := saves + 1;
            head_before := head;
        END IF;
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
END
$$;

/* Writes of the read model's rows, where a bench asks for them; see bench_lag. */
CREATE UNLOGGED TABLE bench_effect (wallet_id text, count bigint);
CREATE FUNCTION bench_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.bench_effect VALUES (NEW.wallet_id, NEW.transaction_count);
    RETURN NULL;
END
$$;

/*
 * Milliseconds from the commit of a credit to that of the row's write that has
 * it, in the median and in 99 of 100.  A write is the effect of all events
 * since the one before.
 */
CREATE FUNCTION bench_lag(OUT middle numeric, OUT late numeric) LANGUAGE sql
BEGIN ATOMIC
    WITH e AS (SELECT aggregate_id, aggregate_version - 1 AS count, pg_xact_commit_timestamp(xmin) AS at
                 FROM wallet_stream WHERE event_name = 'WalletWasCredited'),
         f AS (SELECT wallet_id, count, pg_xact_commit_timestamp(xmin) AS at,
                      lag(count) OVER (PARTITION BY wallet_id ORDER BY count) AS before FROM bench_effect),
         d AS (SELECT extract(epoch FROM f.at - e.at) * 1000 AS ms
                 FROM f JOIN e ON e.aggregate_id = f.wallet_id AND e.count <= f.count
                  AND e.count > coalesce(f.before, f.count - 1))
    SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2),
           round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 2) FROM d;
END;

/* The projection as a row trigger on the stream, for wallets of which bench_model has a row. */
CREATE FUNCTION bench_upsert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    debit numeric := CASE WHEN NEW.event_name = 'WalletWasDebited' THEN (NEW.payload->'amount')::numeric ELSE 0 END;
    credit numeric := CASE WHEN NEW.event_name = 'WalletWasCredited' THEN (NEW.payload->'amount')::numeric ELSE 0 END;
BEGIN
    INSERT INTO bench_model AS m (wallet_id, current_balance, total_debits, total_credits, transaction_count)
    VALUES (NEW.aggregate_id, credit - debit, debit, credit, 1)
    ON CONFLICT (wallet_id) DO UPDATE
       SET current_balance = m.current_balance + excluded.current_balance,
           total_debits = m.total_debits + excluded.total_debits,
           total_credits = m.total_credits + excluded.total_credits,
           transaction_count = m.transaction_count + excluded.transaction_count;
    RETURN NULL;
END
$$;
