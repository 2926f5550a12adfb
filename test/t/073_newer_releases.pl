# What releases of PostgreSQL do otherwise with tables and numbers, while writers
# append and workers apply: indexes of each kind are built, rebuilt and kept (16
# updates those that only summarize, 18 builds GIN in parallel, 19 has another way
# to fill them), tables are packed anew with or without a lock (19), numbers are
# added as SQL adds them, and events have ids of version 7 (18).  At the end each
# row is what plain SQL makes of the events, and each index finds it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

my $node = worker_node('newer_releases', 'fsync = off', 'wal_level = logical', 'max_wal_senders = 4',
	"wallet_projection.poll_interval = '50ms'", 'max_parallel_maintenance_workers = 2', 'min_parallel_table_scan_size = 0');
my $release = int(query('SHOW server_version_num') / 10000);

install($node);
put_wallets($node, 20);

# The read model has an index of each kind, with columns that change and others
# that do not, and generated columns of the kinds that the release has.
my $new_id = $release >= 18 ? 'uuidv7()' : 'gen_random_uuid()';
my $generated = 'twice numeric GENERATED ALWAYS AS (total * 2) STORED';
$generated .= ', half numeric GENERATED ALWAYS AS (total / 2) VIRTUAL' if $release >= 18;

query(<<"SQL");
CREATE TABLE measured (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid NOT NULL UNIQUE DEFAULT $new_id, sensor int NOT NULL, value numeric NOT NULL);
CREATE TABLE sensors (sensor int PRIMARY KEY, n bigint NOT NULL, total numeric NOT NULL, spread int4range, word text NOT NULL, seen text[] NOT NULL, $generated);
CREATE INDEX by_word ON sensors USING hash (word);
CREATE INDEX by_n ON sensors (n) WHERE n % 2 = 0;
CREATE INDEX by_square ON sensors ((n * n)) INCLUDE (total);
CREATE INDEX by_spread ON sensors USING gist (spread);
CREATE INDEX by_spread_too ON sensors USING spgist (spread);
CREATE INDEX by_seen ON sensors USING gin (seen);
CREATE INDEX by_block ON sensors USING brin (n, total) WITH (pages_per_range = 1, autosummarize = on);
CREATE INDEX by_twice ON sensors (twice);
SQL
query(<<'SQL');
SELECT projection_create('sensors', $$MERGE INTO sensors s USING measured e ON s.sensor = e.sensor
	WHEN NOT MATCHED THEN INSERT VALUES (e.sensor, 1, e.value, int4range(e.sensor, e.sensor + 1), 'w1', ARRAY['w1'])
	WHEN MATCHED AND s.n % 50 = 49 THEN DELETE
	WHEN MATCHED THEN UPDATE SET n = s.n + 1, total = s.total + e.value, spread = int4range(e.sensor, e.sensor + 1 + (s.n % 7)::int),
		word = 'w' || (s.n + 1), seen = CASE WHEN s.n % 10 = 0 THEN '{}' ELSE s.seen END || ('w' || (s.n + 1))$$);
-- what is there after the last 50th event of a sensor, by plain SQL
CREATE VIEW expected AS
	SELECT sensor, count(*) AS n, sum(value) AS total, 'w' || count(*) AS word
	  FROM (SELECT sensor, value, row_number() OVER w AS i, count(*) OVER (PARTITION BY sensor) / 50 * 50 AS gone
	          FROM measured WINDOW w AS (PARTITION BY sensor ORDER BY no)) e
	 WHERE i > gone GROUP BY sensor;
CREATE FUNCTION differences() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM expected e FULL JOIN sensors s USING (sensor, n, word)
	 WHERE e.total IS NULL OR s.total IS NULL OR e.total::text <> s.total::text OR s.twice <> s.total * 2 $$;
-- how many rows an index does not find, or finds without need
CREATE FUNCTION unfound(condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	by_index bigint[];
	by_table bigint[];
BEGIN
	SET LOCAL enable_seqscan = off;
	EXECUTE 'SELECT array_agg(sensor ORDER BY sensor) FROM sensors WHERE ' || condition INTO by_index;
	SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
	EXECUTE 'SELECT array_agg(sensor ORDER BY sensor) FROM sensors WHERE ' || condition INTO by_table;
	SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on;
	RETURN (SELECT count(*) FROM (SELECT unnest(by_index)) i (s) FULL JOIN (SELECT unnest(by_table)) t (s) USING (s) WHERE i IS NULL OR t IS NULL);
END $$;
SELECT projection_start('sensors');
SQL

# of each scale and size, so that sums have many forms
my $append = <<'PGBENCH';
\set s random(1, 200)
\set a random(-1000000, 1000000)
\set d random(0, 6)
PGBENCH
my $insert = "INSERT INTO measured (sensor, value) VALUES (:s, :a / 10::numeric ^ :d);\n";
my $load = start_load($node, 2,
	one => $append . $insert,
	several => $append . "BEGIN;\n" . $insert x 3 . "END;\n",
	aborted => "$append BEGIN;\n$insert ROLLBACK;\n",
	savepoint => "$append BEGIN;\n$insert SAVEPOINT s;\n$insert ROLLBACK TO s;\n$insert END;\n");
my $wallets = start_writers($node, 1, 20);

# while that goes on
my @maintenance = (
	'CREATE INDEX CONCURRENTLY by_seen_too ON sensors USING gin (seen)',
	'CREATE INDEX by_seen_three ON sensors USING gin (seen)',
	'CREATE INDEX by_block_too ON sensors USING brin (total)',
	'REINDEX TABLE CONCURRENTLY sensors',
	"SELECT brin_summarize_new_values('by_block')",
	'REINDEX INDEX by_seen',
	'VACUUM sensors, measured, wallet_stream, wallet_balances',
	'VACUUM FULL sensors',
	'CLUSTER measured USING measured_pkey');
push @maintenance, 'REPACK sensors USING INDEX sensors_pkey', 'REPACK (CONCURRENTLY) sensors', 'REPACK (CONCURRENTLY) measured',
  'REPACK (CONCURRENTLY) wallet_stream', 'REPACK (CONCURRENTLY) wallet_balances', 'REPACK measured', 'REPACK wallet_projection.position'
  if $release >= 19;

my $started = query('SELECT count(*) FROM measured');
foreach my $statement (@maintenance)
{
	my ($status, $out, $err) = $node->psql('postgres', $statement);

	is($err, '', "while workers apply: $statement");
	wait_until("SELECT count(*) > $started + 100 FROM measured");
	$started = query('SELECT count(*) FROM measured');
}
stop_writers($node, $load, $wallets);

is(query("SELECT projection_wait('sensors', '60 s')"), 't', 'all is applied');
is(query('SELECT differences()'), '0', 'each row is what SQL makes of the events, to the last digit');
is(query('SELECT count(*) FROM sensors WHERE half <> total / 2'), '0', 'columns that are not stored, too') if $release >= 18;
is(query("SELECT count(*) FROM projection_verify('sensors')"), '0', 'and what a verification makes of them');
caught_up($node, 'wallets');
is(query(q(SELECT string_agg(projection, ' ' ORDER BY projection) FROM projection_status WHERE state = 'ready' AND parked = 0)),
	'sensors wallet_balance', 'nothing has failed');
is(query('SELECT count(DISTINCT uuid_extract_version(event_id)), min(uuid_extract_version(event_id)) FROM measured'),
	'1|7', 'ids of version 7') if $release >= 18;

my %finds = (
	sensors_pkey => 'sensor BETWEEN 20 AND 60',
	by_word => "word = 'w12'",
	by_n => 'n % 2 = 0 AND n > 5',
	by_square => 'n * n > 100',
	by_spread => "spread && '[10,90)'",
	by_seen => "seen @> ARRAY['w11']",
	by_block => 'n > 25',
	by_block_too => 'total > 0',
	by_twice => 'twice > 0');
is(query('SELECT unfound($$' . $finds{$_} . '$$)'), '0', "$_ finds what is there") foreach sort keys %finds;

# what contrib says of them, where it is installed
SKIP:
{
	skip 'amcheck is not installed', 1 if query("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'") eq '0';

	my $gin = $release >= 18 ? "WHEN 'gin' THEN format('SELECT gin_index_check(%L)', c.oid::regclass)" : '';

	query('CREATE EXTENSION amcheck');
	my $checks = query(<<"SQL");
SELECT string_agg(check_it, ';') FROM (SELECT CASE amname WHEN 'btree' THEN format('SELECT bt_index_check(%L, true)', c.oid::regclass) $gin END
  FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
 WHERE indrelid IN ('sensors'::regclass, 'measured'::regclass, 'wallet_balances'::regclass, 'wallet_projection.position'::regclass)) x (check_it)
SQL
	my ($status, $out, $err) = $node->psql('postgres', $checks);
	is($err, '', 'amcheck finds nothing wrong');
}

# Statements of newer releases, for each event: MERGE that returns what it did, and
# that has an action for rows without an event (17); rows as they were and are
# (18); ON CONFLICT that gives the row that is there (19).
sub merged
{
	my ($name, $statement) = @_;

	query(sprintf q(SELECT projection_create('%s', $_$%s$_$, stream => 'orders', for_each => 'event')), $name, $statement);
	query("SELECT projection_run('$name')");
	return;
}

query(<<'SQL');
CREATE TABLE orders (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int NOT NULL, v int NOT NULL);
INSERT INTO orders (k, v) VALUES (1, 2), (2, 3), (1, 5), (1, -1), (3, 1), (1, 9);
CREATE TABLE kept (k int PRIMARY KEY, v int);
CREATE TABLE told (no bigint, k int, what text, before int, after int);
CREATE TABLE newest (k int PRIMARY KEY, v int);
CREATE TABLE firsts (k int PRIMARY KEY, v int);
CREATE TABLE since (no bigint, v int);
SQL
my $merge = 'MERGE INTO kept t USING events e ON t.k = e.k WHEN NOT MATCHED THEN INSERT VALUES (e.k, e.v)
	WHEN MATCHED AND e.v < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = t.v + e.v';
if ($release >= 17)
{
	my $values = $release >= 18 ? 'old.v AS before, new.v AS after' : 'NULL::int AS before, t.v AS after';

	merged('told', "WITH x AS ($merge RETURNING merge_action() AS what, e.no, t.k, $values)
		INSERT INTO told SELECT no, k, what, before, after FROM x");
	is(query('SELECT * FROM kept ORDER BY 1'), "1|9\n2|3\n3|1", 'MERGE in WITH: what is kept');
	is(query('SELECT what FROM told ORDER BY no'), join("\n", qw(INSERT INSERT UPDATE DELETE INSERT INSERT)), 'and what it returns');
	is(query('SELECT before, after FROM told ORDER BY no'), "|2\n|3\n2|7\n7|\n|1\n|9", 'rows as they were and are') if $release >= 18;
	merged('newest', 'MERGE INTO newest t USING events e ON t.k = e.k WHEN NOT MATCHED THEN INSERT VALUES (e.k, e.v)
		WHEN NOT MATCHED BY SOURCE THEN DELETE');
	is(query('SELECT * FROM newest'), '1|9', 'rows without an event');
}
if ($release >= 19)
{
	my ($status, $out, $err) = $node->psql('postgres',
		q(SELECT projection_create('firsts', 'INSERT INTO firsts SELECT k, v FROM orders ON CONFLICT (k) DO SELECT RETURNING k')));

	like($err, qr/ERROR:  ON CONFLICT DO SELECT is not possible in a projection's definition/, 'a projection selects nothing');
	($status, $out, $err) = $node->psql('postgres',
		q(SELECT projection_create('firsts', 'INSERT INTO firsts SELECT k, v FROM events ON CONFLICT (k) DO SELECT RETURNING k', stream => 'orders')));
	like($err, qr/ERROR:  ON CONFLICT DO SELECT is not possible in a projection's definition/, 'nor does a statement');
	merged('since', 'WITH f AS (INSERT INTO firsts SELECT k, v FROM events ON CONFLICT (k) DO SELECT RETURNING k, v)
		INSERT INTO since SELECT e.no, e.v - f.v FROM events e JOIN f USING (k)');
	is(query('SELECT string_agg(v::text, $$ $$ ORDER BY no) FROM since'), '0 0 3 -3 0 7', 'but what it does in WITH');
}
is(query("SELECT count(*) FROM projection_status WHERE last_error IS NOT NULL"), '0', 'no statement has failed');

# The wallet's own arithmetic is SQL's, for amounts of any scale.
query(<<'SQL');
SELECT setseed(0.5);
SELECT count(wallet_credit('w' || i % 20 + 1, round((random() * 10 ^ (i % 14))::numeric, i % 5) + 0.0001)),
       count(wallet_debit('w' || i % 20 + 1, round((random() * 10 ^ (i % 6))::numeric, i % 5) + 0.0001)) FROM generate_series(1, 2000) i;
SQL
caught_up($node, 'amounts of any scale');
$node->stop;

done_testing();
