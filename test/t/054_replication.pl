# A stream that logical replication fills: its position is an identity column
# that only the subscriber has, as the publisher's numbers arrive in order of
# commit.  Publisher, subscriber, the worker that applies changes and ours are
# killed under load.  The order per key is kept; at the end the read models equal
# a recomputation from the publisher's events: of a table that is replicated from
# its first row on (copy_data = false), and of one with rows that are copied
# (copy_data = true), in whatever order, to actions that commute.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Time::HiRes qw(usleep);
use WalletTest;

my $seed = $ENV{SEED} // time;
srand($seed);
diag "seed $seed";

my $rounds = $ENV{REPLICATION_ROUNDS} // 8;
my @common = ('fsync = off', 'shared_buffers = 16MB', 'wal_level = logical', 'max_wal_senders = 10',
	'max_replication_slots = 10', 'restart_after_crash = on', 'wal_retrieve_retry_interval = 100ms');
my $publisher = new_node('publisher', @common);
my $subscriber = worker_node('subscriber', @common, "wallet_projection.poll_interval = '50ms'");
my %table = (chained => 'ordered', summed => 'copied');

$publisher->safe_psql('postgres', <<'SQL');
CREATE TABLE ordered (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int NOT NULL, version int NOT NULL, amount int NOT NULL, UNIQUE (k, version));
CREATE TABLE copied (LIKE ordered INCLUDING ALL);
-- events of a key come one after the other
CREATE FUNCTION append(key int, number int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(key);
	INSERT INTO ordered (k, version, amount) SELECT key, coalesce(max(version), 0) + 1, number FROM ordered WHERE k = key;
	INSERT INTO copied (k, version, amount) SELECT key, coalesce(max(version), 0) + 1, number FROM copied WHERE k = key;
END $$;
CREATE PUBLICATION ordered FOR TABLE ordered;
CREATE PUBLICATION copied FOR TABLE copied;
INSERT INTO copied (k, version, amount) SELECT k, v, k * v FROM generate_series(1, 20) k, generate_series(1, 100) v;
SQL
$subscriber->safe_psql('postgres', 'CREATE EXTENSION wallet_projection');
$subscriber->safe_psql('postgres', <<'SQL');
CREATE TABLE ordered (id bigint PRIMARY KEY, k int NOT NULL, version int NOT NULL, amount int NOT NULL, no bigint GENERATED ALWAYS AS IDENTITY UNIQUE);
CREATE TABLE copied (LIKE ordered INCLUDING ALL);
CREATE TABLE chained (k int PRIMARY KEY, n int NOT NULL, chain text NOT NULL, disorder boolean NOT NULL);
CREATE TABLE summed (k int PRIMARY KEY, n int NOT NULL, total bigint NOT NULL);
-- the position is found by itself
SELECT projection_create('chained', $$MERGE INTO chained c USING ordered e ON c.k = e.k
	WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1, md5(e.id::text), e.version <> 1)
	WHEN MATCHED THEN UPDATE SET n = c.n + 1, chain = md5(c.chain || e.id), disorder = c.disorder OR e.version <> c.n + 1$$);
SELECT projection_create('summed', $$MERGE INTO summed c USING copied e ON c.k = e.k
	WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1, e.amount)
	WHEN MATCHED THEN UPDATE SET n = c.n + 1, total = c.total + e.amount$$);
SELECT channel_scale('async_projection', 2);
SELECT projection_start('chained'), projection_start('summed');
SQL
is($subscriber->safe_psql('postgres', q(SELECT string_agg(name || '.' || position, ' ' ORDER BY name) FROM wallet_projection.stream WHERE position IS NOT NULL)),
	'copied.no ordered.no', 'the local identity column is the position');

# What the publisher's events come to, in the form of the read models.
my %expected = (
	chained => <<'SQL',
WITH RECURSIVE c AS (SELECT k, 1 AS n, md5(id::text) AS chain FROM ordered WHERE version = 1
	UNION ALL SELECT c.k, n + 1, md5(chain || id) FROM c JOIN ordered o ON o.k = c.k AND version = n + 1)
SELECT md5(string_agg(format('%s %s %s f', k, n, chain), ',' ORDER BY k)) FROM (SELECT DISTINCT ON (k) * FROM c ORDER BY k, n DESC) x
SQL
	summed => "SELECT md5(string_agg(format('%s %s %s', k, n, total), ',' ORDER BY k)) FROM (SELECT k, count(*) AS n, sum(amount) AS total FROM copied GROUP BY k) x");
my %actual = (
	chained => "SELECT md5(string_agg(format('%s %s %s %s', k, n, chain, disorder), ',' ORDER BY k)) FROM chained",
	summed => "SELECT md5(string_agg(format('%s %s %s', k, n, total), ',' ORDER BY k)) FROM summed");

sub subscribe
{
	my ($name, $copy) = @_;
	my $connection = $publisher->connstr . ' dbname=postgres';

	$subscriber->safe_psql('postgres',
		"CREATE SUBSCRIPTION $name CONNECTION '$connection' PUBLICATION $name WITH (copy_data = $copy)");
	return;
}

# Nobody writes: does everything arrive, and is it applied?
sub all_applied
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $projection (sort keys %table)
	{
		my $count = $publisher->safe_psql('postgres', "SELECT count(*) FROM $table{$projection}");

		$subscriber->poll_query_until('postgres', "SELECT count(*) = $count FROM $table{$projection}")
		  or die "events do not arrive in $table{$projection}";
		is($subscriber->safe_psql('postgres', "SELECT projection_wait('$projection', '60 s')"), 't', "$name: $projection has applied all");
		is($subscriber->safe_psql('postgres', $actual{$projection}), $publisher->safe_psql('postgres', $expected{$projection}),
			"$name: $projection equals a recomputation from the publisher's events");
	}
	return;
}

# One of the subscriber's processes of this kind.
sub kill_process
{
	my ($kind) = @_;
	my $pid;

	foreach (1 .. 300)
	{
		my @pids = split /\n/, $subscriber->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '$kind'");

		$pid = $pids[ rand @pids ];
		last if defined $pid;
		usleep(100_000);
	}
	die "there is no $kind" unless defined $pid;
	crash($subscriber, $pid);
	return;
}

my @strikes = (
	[ 'the publisher was killed', sub { kill_server($publisher); start_again($publisher) } ],
	[ 'the subscriber was killed', sub { kill_server($subscriber); start_again($subscriber) } ],
	[ 'the worker that applies changes was killed', sub { kill_process('logical replication%worker') } ],
	[ 'a worker of ours was killed', sub { kill_process('wallet_projection worker%') } ]);

my $any = "\\set k random(1, 20)\n\\set j random(1, 20)\n\\set a random(1, 1000)\n";
my %load = (
	short => "$any SELECT append(:k, :a);\n",
	long => "$any BEGIN;\nSELECT append(least(:k, :j), :a);\nSELECT pg_sleep(0.01);\nSELECT append(greatest(:k, :j), :a);\nEND;\n",
	aborted => "$any BEGIN;\nSELECT append(:k, :a);\nROLLBACK;\n",
	savepoint => "$any BEGIN;\nSAVEPOINT s;\nSELECT append(:k, :a);\nROLLBACK TO s;\nSELECT append(:k, 7);\nEND;\n");

subscribe('ordered', 'false');
foreach my $round (1 .. $rounds)
{
	my ($name, $strike) = @{ $strikes[ ($round - 1) % @strikes ] };
	my $load = start_load($publisher, 3, %load);
	my $head = $subscriber->safe_psql('postgres', q(SELECT max(head) + 50 FROM projection_partitions WHERE projection = 'chained'));

	subscribe('copied', 'true') if $round == 1;
	$subscriber->poll_query_until('postgres', "SELECT max(head) > $head FROM projection_partitions WHERE projection = 'chained'")
	  or die 'the workers do nothing';
	usleep(rand(50_000));
	$strike->();
	stop_client($load);
	$publisher->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'", '0')
	  or die 'the writers do not end';
	all_applied("round $round, $name");
}
is($subscriber->safe_psql('postgres', q(SELECT string_agg(DISTINCT state, ' ') FROM projection_status WHERE projection IN ('chained', 'summed'))),
	'ready', 'both are ready');

# numbers of the publisher's are none of the subscriber's: there, its sequence stands still
$subscriber->safe_psql('postgres', 'CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int, version int, amount int)');
$subscriber->safe_psql('postgres', "SELECT stream_attach('plain', 'plain')");
$subscriber->safe_psql('postgres', 'CREATE TABLE plain_counts (k int PRIMARY KEY, n int)');
$subscriber->safe_psql('postgres', q(SELECT projection_create('plain_counts', 'MERGE INTO plain_counts c USING plain e ON c.k = e.k WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1) WHEN MATCHED THEN UPDATE SET n = c.n + 1')));
$publisher->safe_psql('postgres', 'CREATE TABLE plain (LIKE ordered INCLUDING ALL); INSERT INTO plain (k, version, amount) VALUES (1, 1, 1); CREATE PUBLICATION plain FOR TABLE plain');
subscribe('plain', 'true');
$subscriber->poll_query_until('postgres', 'SELECT count(*) = 1 FROM plain') or die 'the event does not arrive';
like($subscriber->safe_psql('postgres', q(SELECT last_error FROM projection_status WHERE projection = 'plain_counts')),
	qr/was not numbered by the stream's sequence/, 'replicated numbers are found by the status');

$subscriber->stop;
$publisher->stop;
done_testing();
