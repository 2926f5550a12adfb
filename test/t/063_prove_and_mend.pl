# Verify, rebuild and alter, at random, under load.  Four projections: the wallet,
# a MERGE with a text key, one with a key of two columns over a partitioned
# stream, and one whose events have several items.  Writers go on all the time;
# some keep transactions open, some roll back, some write events that are bad.
# Somebody spoils rows, gives projections other definitions, kills processes.
#
#	tampered	which keys were spoilt, written in the spoiler's transaction: a
#				snapshot that shows the damage shows the key as well
#	watch()		under one snapshot: projection_verify finds no other keys, a row
#				of any other key has its invariant and does not step back
#	snapshots	of the table while it is rebuilt: each key has its old row or
#				its new one
#
# SEED repeats what chance has chosen for the spoiler; PROVE_ROUNDS (default 8)
# makes it longer.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use WalletTest qw(:DEFAULT query wait_until);

my $seed = $ENV{SEED} // int(time);
my $rounds = $ENV{PROVE_ROUNDS} // 8;
srand($seed);
my $ordering = int(rand(2)) ? 'number' : 'arrival';
diag "seed $seed";

my $node = worker_node(
	'prove_and_mend', 'restart_after_crash = on', 'fsync = off', 'max_worker_processes = 16',
	"wallet_projection.poll_interval = '50ms'");
my %table = (wallet_balance => 'wallet_balances', account => 'account', daily => 'daily', item => 'item');
my @names = sort keys %table;
my @channels = ('async_projection');

install($node, 'postgres', partitions => 4, max_parked => 100000, max_attempts => 3, retry_delay => '50ms', retry_max_delay => '100ms');
query(<<'SQL');
CREATE TABLE booking (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text NOT NULL, version int NOT NULL,
	kind text NOT NULL, amount text NOT NULL, UNIQUE (account, version));
CREATE TABLE sale (id bigserial, place text NOT NULL, day date NOT NULL, amount text NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2024-01-04');
CREATE TABLE sale_2 (amount text NOT NULL, gone int, day date NOT NULL, place text NOT NULL, id bigint NOT NULL DEFAULT nextval('sale_id_seq'));
ALTER TABLE sale_2 DROP gone;
ALTER TABLE sale ATTACH PARTITION sale_2 FOR VALUES FROM ('2024-01-04') TO ('2024-01-07');
CREATE TABLE sale_3 PARTITION OF sale FOR VALUES FROM ('2024-01-07') TO ('2024-02-01');
CREATE TABLE orders (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lines jsonb NOT NULL);

CREATE TABLE account (account text PRIMARY KEY, credits numeric NOT NULL, debits numeric NOT NULL, balance numeric NOT NULL, n int NOT NULL, chain text NOT NULL);
CREATE TABLE daily (n int NOT NULL, day date NOT NULL, total numeric NOT NULL, place text NOT NULL, twice numeric NOT NULL, PRIMARY KEY (place, day));
CREATE TABLE item (sku int PRIMARY KEY, n int NOT NULL, quantity numeric NOT NULL, thrice numeric NOT NULL);

-- an event of amount 4 makes no row; each key begins with another one
CREATE FUNCTION definition(name text, columns text[] DEFAULT '{}', factors int[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	amount text := CASE name WHEN 'item' THEN '(e.line->>''quantity'')::numeric' ELSE 'e.amount::numeric' END;
	more text := coalesce((SELECT string_agg(', ' || c, '') FROM unnest(columns) c), '');
	new_values text := coalesce((SELECT string_agg(format(', %s * %s', amount, f), '') FROM unnest(factors) f), '');
	updates text := coalesce((SELECT string_agg(format(', %s = r.%1$s + %s * %s', c, amount, f), '') FROM unnest(columns, factors) x (c, f)), '');
BEGIN
	RETURN CASE name
	WHEN 'account' THEN format($m$MERGE INTO account r USING booking e ON r.account = e.account
		WHEN NOT MATCHED AND e.amount = '4' THEN DO NOTHING
		WHEN NOT MATCHED AND e.kind = 'credit' THEN INSERT (account, credits, debits, balance, n, chain%s) VALUES (e.account, e.amount::numeric, 0, e.amount::numeric, 1, md5(e.no::text)%s)
		WHEN NOT MATCHED THEN INSERT (account, credits, debits, balance, n, chain%1$s) VALUES (e.account, 0, e.amount::numeric, -e.amount::numeric, 1, md5(e.no::text)%2$s)
		WHEN MATCHED AND e.kind = 'credit' THEN UPDATE SET credits = r.credits + e.amount::numeric, balance = r.balance + e.amount::numeric, n = r.n + 1, chain = md5(r.chain || e.no)%3$s
		WHEN MATCHED THEN UPDATE SET debits = r.debits + e.amount::numeric, balance = r.balance - e.amount::numeric, n = r.n + 1, chain = md5(r.chain || e.no)%3$s$m$,
		more, new_values, updates)
	WHEN 'daily' THEN format($m$MERGE INTO daily r USING sale e ON r.day = e.day AND r.place = e.place
		WHEN NOT MATCHED AND e.amount <> '4' THEN INSERT (place, day, n, total, twice%s) VALUES (e.place, e.day, 1, e.amount::numeric, e.amount::numeric * 2%s)
		WHEN MATCHED THEN UPDATE SET n = r.n + 1, total = r.total + e.amount::numeric, twice = r.twice + 2 * e.amount::numeric%s$m$,
		more, new_values, updates)
	ELSE format($m$MERGE INTO item r USING (SELECT o.no, l.line FROM orders o, jsonb_array_elements(o.lines) AS l (line)) e ON r.sku = (e.line->>'sku')::int
		WHEN NOT MATCHED THEN INSERT (sku, n, quantity, thrice%s) VALUES ((e.line->>'sku')::int, 1, (e.line->>'quantity')::numeric, (e.line->>'quantity')::numeric * 3%s)
		WHEN MATCHED THEN UPDATE SET n = r.n + 1, quantity = r.quantity + (e.line->>'quantity')::numeric, thrice = r.thrice + (e.line->>'quantity')::numeric * 3%s$m$,
		more, new_values, updates) END;
END $$;
SELECT stream_attach('sale', 'sale', guard => 'trust');
SELECT projection_create('account', definition('account'), partitions => 8);
SELECT projection_create('daily', definition('daily'), partitions => 8, ordering => 'arrival');
SELECT projection_set(p, o, v) FROM unnest('{account,daily}'::text[]) p,
	(VALUES ('max_parked', '100000'), ('max_attempts', '3'), ('retry_delay', '50ms'), ('retry_max_delay', '100ms')) x (o, v);

-- The writers

CREATE FUNCTION amount(chance int) RETURNS text LANGUAGE sql AS $$ SELECT CASE WHEN chance < 2 THEN 'bad' WHEN chance % 2 = 0 THEN '4' ELSE chance::text END $$;
-- writers of an account wait for each other before they draw a number
CREATE FUNCTION book(name text, chance int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(7, hashtext(name));
	INSERT INTO booking (account, version, kind, amount)
		SELECT name, coalesce(max(version), 0) + 1, CASE chance % 3 WHEN 0 THEN 'debit' ELSE 'credit' END, amount(chance) FROM booking WHERE account = name;
END $$;
CREATE FUNCTION pay(name text, chance int) RETURNS void LANGUAGE sql AS $$
	SELECT stream_append('wallet_stream', 'Wallet', name, jsonb_build_array(jsonb_build_object(
		'event_name', CASE chance % 3 WHEN 0 THEN 'WalletWasDebited' ELSE 'WalletWasCredited' END, 'payload', jsonb_build_object('amount', amount(chance)))))
$$;
CREATE FUNCTION sell(k int, chance int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO sale (place, day, amount) VALUES ('place ' || k % 12, '2024-01-01'::date + k % 9, amount(chance))
$$;
CREATE FUNCTION sort_out(k int, chance int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO orders (lines) VALUES (jsonb_build_array(jsonb_build_object('sku', CASE chance WHEN 2 THEN 'none' ELSE k::text END, 'quantity', amount(chance)),
		jsonb_build_object('sku', NULL), jsonb_build_object('sku', (k + chance) % 60, 'quantity', 1), jsonb_build_object('sku', k / 2, 'quantity', 2)))
$$;
CREATE FUNCTION act(k int, chance int) RETURNS void LANGUAGE sql AS $$
	SELECT book('a' || k, chance); SELECT pay('w' || k, chance); SELECT sell(k, chance); SELECT sort_out(k, chance) $$;

-- The mender
CREATE FUNCTION skip_some() RETURNS void LANGUAGE plpgsql AS $$
DECLARE letter bigint;
BEGIN
	SELECT id INTO letter FROM projection_dead_letters WHERE projection IN ('account', 'daily') ORDER BY random() LIMIT 1;
	IF FOUND THEN PERFORM dead_letter_delete(letter); END IF;
EXCEPTION WHEN undefined_object THEN NULL;
END $$;
CREATE FUNCTION mend(most int) RETURNS void LANGUAGE sql AS $$
	UPDATE wallet_stream SET payload = '{"amount": 3}' WHERE no IN (SELECT no FROM wallet_stream WHERE payload->>'amount' = 'bad' LIMIT most);
	UPDATE booking SET amount = '3' WHERE no IN (SELECT no FROM booking WHERE amount = 'bad' LIMIT most);
	UPDATE sale SET amount = '3' WHERE id IN (SELECT id FROM sale WHERE amount = 'bad' LIMIT most);
	UPDATE orders SET lines = replace(replace(lines::text, '"bad"', '3'), '"none"', '55')::jsonb
		WHERE no IN (SELECT no FROM orders WHERE lines::text ~ 'bad|none' LIMIT most) $$;

-- The spoiler

CREATE TABLE tampered (projection text, key text);	-- key null: all of them
CREATE TABLE hidden (no_snapshot_before xid8);		-- TRUNCATE is seen by older snapshots, too
CREATE FUNCTION key_of(projection text, r record) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	j jsonb := to_jsonb(r);
BEGIN
	RETURN CASE projection WHEN 'wallet_balance' THEN j->>'wallet_id' WHEN 'account' THEN j->>'account'
		WHEN 'daily' THEN ROW(j->>'place', (j->>'day')::date)::text ELSE j->>'sku' END;
END $$;
CREATE FUNCTION tamper(projection text, "table" text, share float) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	counter text := CASE projection WHEN 'wallet_balance' THEN 'transaction_count' ELSE 'n' END;
	sum text := CASE projection WHEN 'wallet_balance' THEN 'current_balance' WHEN 'account' THEN 'balance' WHEN 'daily' THEN 'twice' ELSE 'quantity' END;
BEGIN
	EXECUTE format('WITH u AS (UPDATE %I t SET %I = %2$I + 7.5 WHERE random() < %s RETURNING key_of(%L, t) AS k) INSERT INTO tampered SELECT %4$L, k FROM u', "table", sum, share, projection);
	EXECUTE format('WITH u AS (UPDATE %I t SET %I = -1000000 WHERE random() < %s AND %2$I >= 0 RETURNING key_of(%4$L, t) AS k) INSERT INTO tampered SELECT %4$L, k FROM u', "table", counter, share / 3, projection);
	EXECUTE format('WITH u AS (DELETE FROM %I t WHERE random() < %s RETURNING key_of(%L, t) AS k) INSERT INTO tampered SELECT %3$L, k FROM u', "table", share / 2, projection);
	EXECUTE format('WITH u AS (INSERT INTO %I AS t %s ON CONFLICT DO NOTHING RETURNING key_of(%L, t) AS k) INSERT INTO tampered SELECT %3$L, k FROM u', "table",
		CASE projection WHEN 'wallet_balance' THEN $i$(wallet_id) SELECT 'foreign ' || i FROM generate_series(1, 5) i$i$
			WHEN 'account' THEN $i$(account, credits, debits, balance, n, chain) SELECT 'foreign ' || i, 1, 1, 1, 1, '' FROM generate_series(1, 5) i$i$
			WHEN 'daily' THEN $i$(place, day, n, total, twice) SELECT 'foreign', '2030-01-01'::date + i, 1, 1, 1 FROM generate_series(1, 5) i$i$
			ELSE $i$(sku, n, quantity, thrice) SELECT -i, 1, 1, 1 FROM generate_series(1, 5) i$i$ END, projection);
END $$;
CREATE FUNCTION empty(projection text, "table" text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('LOCK TABLE %I', "table");
	EXECUTE format('INSERT INTO tampered SELECT %L, key_of(%1$L, t) FROM %I t', projection, "table");
	EXECUTE format('TRUNCATE %I', "table");
	INSERT INTO hidden VALUES (pg_current_xact_id());
END $$;

-- whoever inserts a row takes his time
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.004); RETURN NULL; END $$;
CREATE TRIGGER slowly AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION slowly();
CREATE TRIGGER slowly AFTER INSERT ON daily FOR EACH ROW EXECUTE FUNCTION slowly();

-- Who watches

CREATE TABLE wrong (at timestamptz DEFAULT clock_timestamp(), snapshot pg_snapshot DEFAULT pg_current_snapshot(), projection text, what text);
CREATE TABLE last_seen (projection text, key text, n bigint, PRIMARY KEY (projection, key));
CREATE TABLE looks (projection text, what text);
CREATE FUNCTION is_tampered(p text, k text) RETURNS boolean LANGUAGE sql STABLE AS $$
	SELECT EXISTS (SELECT FROM tampered t WHERE t.projection = p AND (t.key IS NULL OR t.key = k)) $$;
CREATE FUNCTION prove(p text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO wrong (projection, what) SELECT p, 'false: ' || v::text FROM projection_verify(p) v WHERE NOT is_tampered(p, v.partition_key);
	INSERT INTO looks VALUES (p, 'verify');
EXCEPTION WHEN OTHERS THEN
	INSERT INTO wrong (projection, what) VALUES (p, concat('error ', SQLSTATE, ' ', SQLERRM));
END $$;
CREATE FUNCTION watch(p text, "table" text, counter text, invariant text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	rows text := format('SELECT key_of(%L, t) AS key, %I AS n, %s AS holds, t::text AS row FROM %I t', p, counter, invariant, "table");
BEGIN
	EXECUTE format('INSERT INTO wrong (projection, what) SELECT %L, ''invariant: '' || row FROM (%s) r WHERE NOT holds AND NOT is_tampered(%1$L, key)', p, rows);
	EXECUTE format('INSERT INTO wrong (projection, what) SELECT %L, format(''a step back: %%s had %%s: %%s'', s.key, s.n, coalesce(r.row, ''gone''))
		FROM last_seen s LEFT JOIN (%s) r USING (key) WHERE s.projection = %1$L AND (r.key IS NULL OR r.n < s.n) AND NOT is_tampered(%1$L, s.key)', p, rows);
	DELETE FROM last_seen s WHERE s.projection = p;
	EXECUTE format('INSERT INTO last_seen SELECT %L, key, n FROM (%s) r WHERE NOT is_tampered(%1$L, key)', p, rows);
	INSERT INTO looks VALUES (p, 'read');
END $$;
CREATE FUNCTION watch() RETURNS void LANGUAGE sql AS $$
	SELECT watch('wallet_balance', 'wallet_balances', 'transaction_count', 'current_balance = 1000 + total_credits - total_debits');
	SELECT watch('account', 'account', 'n', 'balance = credits - debits');
	SELECT watch('daily', 'daily', 'n', 'twice = 2 * total');
	SELECT watch('item', 'item', 'n', 'thrice = 3 * quantity') $$;

-- The oracle: rows that plain SQL does not make of the events, without those that wait or were skipped

CREATE FUNCTION chain_next(text, bigint) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$ SELECT CASE WHEN $1 IS NULL THEN md5($2::text) ELSE md5($1 || $2) END $$;
CREATE AGGREGATE chain(bigint) (SFUNC = chain_next, STYPE = text);
CREATE FUNCTION differences(p text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	skipped text := format('NOT IN (SELECT s.no FROM wallet_projection.skipped s WHERE s.projection = %L)', p);
	found bigint;
BEGIN
	EXECUTE 'SELECT count(*) FROM (' || CASE p
	WHEN 'wallet_balance' THEN $q$SELECT aggregate_id AS wallet_id, count(*) - 1 AS transaction_count, sum(CASE event_name WHEN 'WalletWasDebited' THEN -a ELSE a END) AS current_balance,
		coalesce(sum(a) FILTER (WHERE event_name = 'WalletWasDebited'), 0) AS total_debits, coalesce(sum(a) FILTER (WHERE event_name = 'WalletWasCredited'), 0) AS total_credits
		FROM wallet_stream, LATERAL (SELECT coalesce(payload->>'amount', payload->>'initialBalance')::numeric) x (a) WHERE no $q$ || skipped || $q$ GROUP BY 1) e
		FULL JOIN (SELECT wallet_id::text, transaction_count::bigint, current_balance, total_debits, total_credits FROM wallet_balances) r USING (wallet_id, transaction_count, current_balance, total_debits, total_credits)$q$
	WHEN 'account' THEN $q$SELECT account, count(*) AS n, chain(no ORDER BY no) AS chain, coalesce(sum(amount::numeric) FILTER (WHERE kind = 'credit'), 0) AS credits,
		coalesce(sum(amount::numeric) FILTER (WHERE kind = 'debit'), 0) AS debits FROM booking WHERE no $q$ || skipped || $q$ GROUP BY 1) e
		FULL JOIN account r USING (account, n, chain, credits, debits)$q$
	WHEN 'daily' THEN $q$SELECT place, day, count(*) AS n, sum(amount::numeric) AS total, 2 * sum(amount::numeric) AS twice FROM sale WHERE id $q$ || skipped || $q$ GROUP BY 1, 2) e
		FULL JOIN daily r USING (place, day, n, total, twice)$q$
	ELSE $q$SELECT (line->>'sku')::int AS sku, count(*) AS n, sum((line->>'quantity')::numeric) AS quantity, 3 * sum((line->>'quantity')::numeric) AS thrice
		FROM orders, jsonb_array_elements(lines) l (line) WHERE line->>'sku' IS NOT NULL AND no $q$ || skipped || $q$ GROUP BY 1) e
		FULL JOIN item r USING (sku, n, quantity, thrice)$q$ END || ' WHERE e IS NULL OR r IS NULL' INTO found;
	RETURN found;
END $$;
SELECT count(wallet_create('w' || i, 1000)) FROM generate_series(0, 49) i;
SELECT count(*) FROM (SELECT act(i % 50, 11 + 2 * (i % 45)) FROM generate_series(1, 300) i) x;
SQL

query("SELECT projection_create('item', definition('item'), partitions => 3, ordering => '$ordering')");
query("SELECT projection_set('item', o, v) FROM (VALUES ('max_parked', '100000'), ('max_attempts', '3'), ('retry_delay', '50ms'), ('retry_max_delay', '100ms')) x (o, v)");
my %load;

# A load that is stopped by itself.
sub begin_load
{
	my ($name, @load) = @_;
	local $ENV{PGAPPNAME} = $name;

	$load{$name} = start_load($node, @load);
	return;
}

sub end_load
{
	foreach my $name (@_)
	{
		next if !$load{$name};
		stop_client(delete $load{$name});
		wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = '$name'");
	}
	return;
}

sub start_all
{
	my $any = "\\set k random(0, 49)\n\\set j random(0, 49)\n\\set c random(0, 120)\n\\set d random(3, 300)\n";
	my $pause = "\\sleep 3 ms\n";

	begin_load('writers', 3,
		single => "$any SELECT act(:k, :c);\n$pause",
		wallet => "$any SELECT pay('w' || :k, :d);\n$pause",
		aborted => "$any BEGIN;\nSELECT act(:k, :c);\nROLLBACK;\n$pause",
		savepoint => "$any BEGIN;\nSELECT book('a' || :k, :d);\nSAVEPOINT s;\nSELECT sell(:k, :d);\nROLLBACK TO s;\nSELECT sell(:j, :d);\nEND;\n$pause");
	# gaps stay open
	begin_load('slow', 2,
		open => "$any BEGIN;\nSELECT act(:k, :d);\nSELECT pg_sleep(0.7);\nSELECT act(:k, :d);\nEND;\n",
		rolled_back => "$any BEGIN;\nSELECT act(:k, :d);\nSELECT pg_sleep(0.5);\nROLLBACK;\n");
	start_mending();
	start_watching();
	return;
}

# Bad events are skipped or mended, one now and then.
sub start_mending
{
	my $set = "SET client_min_messages = error;\n";
	my $pause = "\\sleep 60 ms\n";

	begin_load('mender', 1,
		skip => "$set SELECT skip_some();\n$pause",
		replay => "$set SELECT dead_letter_replay_all('account');\n$pause",
		mend => "$set SELECT mend(1);\n$pause");
	return;
}

sub start_watching
{
	begin_load('reader', 1, watch => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT watch();\nEND;\n\\sleep 20 ms\n");
	begin_load('prover', 1, prove => join '', map { "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT prove('$_');\nEND;\n\\sleep 30 ms\n" } @names);
	return;
}

sub stop_all
{
	end_load(sort keys %load);
	return;
}

# A crash: nobody goes on until the server is there again.
sub crash_somebody
{
	my ($pid) = @_;

	if ($pid ne '' && int(rand(2)))
	{
		crash($node, $pid);
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	stop_client($_) foreach values %load;
	%load = ();
	# what was seen may be seen again a little later, as commits need not wait for WAL
	query('TRUNCATE last_seen');
	start_all();
	return;
}

# Keys that verify says are wrong and were not tampered with, and the other way
# round, under one snapshot.
sub proven
{
	my ($name, $all) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach (@names)
	{
		is(query(<<"SQL"), '', "$name: verify of $_ finds the keys that were tampered with, and no others");
WITH found AS (SELECT DISTINCT partition_key AS key FROM projection_verify('$_')),
     wanted AS (SELECT DISTINCT key FROM tampered WHERE projection = '$_')
SELECT string_agg(concat(CASE WHEN f IS NULL THEN 'not found: ' ELSE 'found: ' END, key), ', ' ORDER BY key) FROM found f FULL JOIN wanted w USING (key) WHERE f IS NULL OR w IS NULL
SQL
	}
	return;
}

sub tamper
{
	my ($name, $share) = @_;

	query("SELECT tamper('$name', '$table{$name}', $share)");
	return;
}

# Its keys are right afterwards.
sub rebuild
{
	my ($name) = @_;

	query("SET client_min_messages = error; CALL projection_rebuild('$name')");
	query("DELETE FROM tampered WHERE projection = '$name'");
	return;
}

sub start_rebuild
{
	my ($name) = @_;

	return start_client($node, 'psql', '-X', '-c', "CALL projection_rebuild('$name')", '-d');
}

sub workers
{
	my ($count) = @_;

	query("SELECT channel_scale('async_projection', $count)");
	wait_until('SELECT count(*) = 0 FROM projection_workers') if $count == 0;
	return;
}

# The rounds

# Nobody applies events; writers go on.  Exactly the rows that differ are
# written, and each key has its old row or its new one at every moment.
sub exact_round
{
	my ($round) = @_;

	workers(0);
	end_load('mender');
	tamper($_, rand(0.5)) foreach @names;
	proven("round $round, no workers");
	foreach my $name (@names)
	{
		my $table = $table{$name};
		my $stats = "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = '$table'";

		query("DROP TABLE IF EXISTS before, polled; CREATE TABLE before AS SELECT key_of('$name', t) AS key, t::text AS row FROM $table t;
			CREATE TABLE polled (key text, row text)");
		my $differ = query("SELECT count(DISTINCT key) FROM tampered WHERE projection = '$name'");
		my $written = query($stats);
		my $letters = "SELECT string_agg(concat_ws(' ', partition_key, no), ', ' ORDER BY id) FROM wallet_projection.parked WHERE projection = '$name'";
		my $parked = query($letters);
		begin_load('poller', 1, poll => <<"PGBENCH");
WITH now AS MATERIALIZED (SELECT key_of('$name', t) AS key, t::text AS row FROM $table t)
INSERT INTO polled SELECT key, now.row FROM before b FULL JOIN now USING (key) WHERE b.row IS DISTINCT FROM now.row;
PGBENCH
		my ($status, $out, $err) = $node->psql('postgres', "CALL projection_rebuild('$name')");
		end_load('poller');
		# unless keys have gone on from events that were mended
		my $retried = $parked ne query($letters);
		like($err, qr/rows written: $differ\b/, "round $round: rows of $name that differed are written") if !$retried;
		is(query($stats) - $written, $differ, "round $round: no other row of $name is written") if !$retried;
		is(query(<<"SQL"), '0', "round $round: each key of $name had its old or its new row") if !$retried;
SELECT count(*) FROM polled p LEFT JOIN (SELECT key_of('$name', t) AS key, t::text AS row FROM $table t) n USING (key) WHERE n.row IS DISTINCT FROM p.row
SQL
		query("DELETE FROM tampered WHERE projection = '$name'");
	}
	proven("round $round, mended");
	workers(2);
	start_mending();
	return;
}

# While workers go on, with one session or two; twice with no row left.
sub live_round
{
	my ($round) = @_;

	tamper($_, 0.2 + rand(0.6)) foreach @names;
	proven("round $round");
	# events that must not be lost to a row that is inserted at the same time
	begin_load('burst', 1, burst => "\\set k random(0, 49)\nSELECT sell(:k, 4);\nSELECT book('a' || :k, 4);\n\\sleep 1 ms\n");
	foreach my $name (@names)
	{
		my @others = map { start_rebuild($name) } 1 .. int(rand(2));

		rebuild($name);
		eval { $_->finish } foreach @others;
	}
	foreach my $name (('account', 'daily') x 2)
	{
		tamper($name, 2);
		rebuild($name);
	}
	end_load('burst');
	proven("round $round, mended");
	return;
}

sub emptied_round
{
	my ($round) = @_;
	my $name = $names[ rand @names ];

	query("SELECT empty('$name', '$table{$name}')");
	rebuild($name);
	wait_until("SELECT state <> 'failed' FROM projection_status WHERE projection = '$name'");
	proven("round $round, $name was emptied");
	return;
}

sub crash_round
{
	my ($round) = @_;
	my $name = $names[ rand @names ];

	tamper($name, 0.7);
	my @clients = map { start_rebuild($name) } 0 .. int(rand(2));
	usleep(int(rand(150_000)));
	crash_somebody(query(int(rand(2)) ? "SELECT max(pid) FROM pg_stat_activity WHERE query LIKE 'CALL projection_rebuild%' AND state = 'active'"
			: 'SELECT max(pid) FROM projection_workers'));
	eval { $_->finish } foreach @clients;
	# some keys were mended
	is(query("SELECT count(*) FROM projection_verify('$name') v WHERE NOT is_tampered('$name', v.partition_key)"), '0', "round $round, crashed: $name has no other wrong keys");
	rebuild($name);
	proven("round $round, crashed");
	return;
}

my %columns = map { $_ => {} } @names;

sub alter_round
{
	my ($round) = @_;
	my $name = (grep { $_ ne 'wallet_balance' } @names)[ rand 3 ];
	my $columns = $columns{$name};
	my $add = '';

	if (keys %$columns < 2)
	{
		$add = "ALTER TABLE $name ADD COLUMN c$round numeric;";
		$columns->{"c$round"} = 0;
	}
	$columns->{$_} = 1 + int(rand(9)) foreach keys %$columns;
	my $list = join ',', sort keys %$columns;
	my $factors = join ',', map { $columns->{$_} } sort keys %$columns;
	query("BEGIN; $add SELECT projection_alter('$name', definition('$name', '{$list}', '{$factors}')); INSERT INTO tampered VALUES ('$name', NULL); COMMIT");
	wait_until("SELECT state = 'rebuild advised' FROM projection_status WHERE projection = '$name'");
	rebuild($name);
	proven("round $round, $name was altered");
	wait_until("SELECT state <> 'rebuild advised' FROM projection_status WHERE projection = '$name'");
	columns_right("round $round");
	return;
}

# Added columns are a multiple of what the definition has summed.
sub columns_right
{
	my ($when) = @_;
	my %sum = (account => 'credits + debits', daily => 'total', item => 'quantity');

	foreach my $name (sort keys %sum)
	{
		my %factor = %{ $columns{$name} };

		is(query("SELECT count(*) FROM $name t WHERE NOT is_tampered('$name', key_of('$name', t)) AND $_ IS DISTINCT FROM ($sum{$name}) * $factor{$_}"),
			'0', "$when: $_ of $name is right")
		  foreach sort keys %factor;
	}
	return;
}

sub events
{
	return query('SELECT min(n) FROM (SELECT count(*) AS n FROM wallet_stream UNION ALL SELECT count(*) FROM booking UNION ALL SELECT count(*) FROM sale UNION ALL SELECT count(*) FROM orders) x');
}

is(query("SELECT projection_wait('$_', '60 s')"), 't', "$_ has applied all") foreach @names;
workers(2);
start_all();
my @rounds = (\&exact_round, \&live_round, \&alter_round, \&emptied_round, \&crash_round);
my $began = time;
for my $round (1 .. $rounds)
{
	my $before = events();

	# each kind once, then by chance
	$rounds[ $round <= @rounds ? $round - 1 : rand @rounds ]->($round);
	wait_until("SELECT bool_and(state <> 'failed') FROM projection_status");
	my $after = events();
	for (1 .. 100)
	{
		last if $after > $before;
		usleep(100_000);
		$after = events();
	}
	cmp_ok($after, '>', $before, "round $round: writers go on");
	note sprintf '%.1f s', time - $began;
}

# The end: what was bad is mended, and all is tried again
stop_all();
note query("SELECT string_agg(format('%s: %s parked, %s events', p, (SELECT count(*) FROM wallet_projection.parked k WHERE k.projection = p), (SELECT count(*) FROM wallet_projection.skipped k WHERE k.projection = p) || ' skipped'), '; ') FROM unnest('{@{[join ',', @names]}}'::text[]) p");
cmp_ok(query('SELECT count(*) FROM wallet_projection.parked'), '>', 0, 'keys are parked');
is(query("SELECT projection_wait('$_', '60 s')"), 't', "$_ has applied all that it can") foreach @names;
proven('before bad events are mended');
query('SELECT mend(1000000)');
rebuild($_) foreach @names;
is(query("SELECT projection_wait('$_', '60 s')"), 't', "$_ has applied all") foreach @names;
is(query('SELECT string_agg(p::text, E\'\n\') FROM wallet_projection.parked p'), '', 'no key is parked any more');
proven('at the end');
is(query("SELECT differences('$_')"), '0', "$_ equals a recomputation") foreach @names;
columns_right('at the end');

is(query(<<'SQL'), '', 'nobody has seen anything wrong');
SELECT string_agg(concat(projection, ' ', what), E'\n' ORDER BY at) FROM (SELECT * FROM wrong w WHERE what !~ '^error 55000.*changed meanwhile'
	AND NOT EXISTS (SELECT FROM hidden h WHERE NOT pg_visible_in_snapshot(h.no_snapshot_before, w.snapshot)
		AND w.at < now()) ORDER BY at LIMIT 20) x
SQL
cmp_ok(query("SELECT count(*) FROM looks WHERE projection = '$_->[0]' AND what = '$_->[1]'"), '>', $rounds, "the $_->[1] of $_->[0] went on")
  foreach map { [ $_, 'read' ], [ $_, 'verify' ] } @names;
note query("SELECT string_agg(format('%s %s %s', c, p, w), ', ') FROM (SELECT projection, what, count(*) FROM looks GROUP BY 1, 2) x (p, w, c)");

$node->stop;
done_testing();
