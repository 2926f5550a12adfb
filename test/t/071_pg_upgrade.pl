# What is started survives pg_upgrade, and stands in no restore's way: labels by
# which the launcher knows databases are never dumped; where there is none, the
# launcher asks the database.  A server may be upgraded to one of its own
# version, which is what can be tested with one.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $old = worker_node('old');
my $labels = "SELECT count(*) FROM pg_shseclabel WHERE provider = 'wallet_projection'";
my $preload = "shared_preload_libraries = 'wallet_projection'";
my $parked = 'SELECT id, partition_key, no, state FROM projection_dead_letters';
my $declared = <<'SQL';
CREATE TABLE busy (wallet_id text PRIMARY KEY, events integer NOT NULL);
SELECT projection_create('busy', $$
  MERGE INTO busy b USING wallet_stream e ON b.wallet_id = e.aggregate_id
  WHEN NOT MATCHED THEN INSERT VALUES (e.aggregate_id, 1)
  WHEN MATCHED THEN UPDATE SET events = b.events + 1 $$);
SQL
my $busy_is_exact = <<'SQL';
SELECT count(*) FROM busy FULL JOIN
  (SELECT aggregate_id AS wallet_id, count(*)::integer AS events FROM wallet_stream GROUP BY 1) e USING (wallet_id, events)
 WHERE busy IS NULL OR e IS NULL
SQL

# Workers apply new events, by themselves.
sub goes_on
{
	my ($node, $name) = @_;

	$node->safe_psql('wallet', "SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 6) i");
	is($node->safe_psql('wallet', "SELECT projection_wait('wallet_balance', '60 s') AND projection_wait('busy', '60 s')"),
		't', "$name: workers catch up");
	is($node->safe_psql('wallet', 'SELECT * FROM oracle()'), '0|1', "$name: all rows are exact, but for the parked key");
	is($node->safe_psql('wallet', $busy_is_exact), 0, "$name: the declared projection is exact");
	return;
}

sub upgrade
{
	my ($name, @settings) = @_;
	my $new = PostgreSQL::Test::Cluster->new($name);
	my $bin = $old->config_data('--bindir');

	$new->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$new->append_conf('postgresql.conf', join("\n", @settings));
	chdir $new->basedir or die;
	$new->command_ok(
		[
			'pg_upgrade', '--no-sync',
			'-d' => $old->data_dir, '-D' => $new->data_dir,
			'-b' => $bin, '-B' => $bin,
			'-s' => $new->host, '-p' => $old->port, '-P' => $new->port
		],
		"$name: pg_upgrade");
	return $new;
}

$old->safe_psql('postgres', 'CREATE DATABASE wallet');
$old->safe_psql('postgres', 'CREATE DATABASE without');
install($old, 'wallet', partitions => 4, max_attempts => 1);
$old->safe_psql('wallet', $declared);
$old->safe_psql('wallet', "SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 20) i");
$old->safe_psql('wallet', "INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
  VALUES (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'w7', 2, '{\"amount\": \"99999999999999999999\"}', '{}')");
ok($old->poll_query_until('wallet', "SELECT count(*) = 1 FROM projection_dead_letters WHERE state = 'dead'"), 'a key is parked');
$old->safe_psql('wallet', "SELECT channel_scale('async_projection', 3)");
is($old->safe_psql('wallet', $labels), 1, 'one database has a label');
is($old->safe_psql('wallet', 'SELECT count(*) FROM pg_seclabels'), 0, 'which no dump sees');

# a dump into a server without the library's line
my $dump = $old->basedir . '/dump.sql';
$old->command_ok([ 'pg_dumpall', '--no-sync', '-f', $dump ], 'pg_dumpall');
unlike(slurp_file($dump), qr/SECURITY LABEL/, 'no label is dumped');
my $bare = new_node('bare');
my ($out, $err) = ('', '');
$bare->psql('postgres', slurp_file($dump), stdout => \$out, stderr => \$err, on_error_stop => 0);
is(join("\n", grep { !/role ".*" already exists/ } grep { /ERROR/ } split /\n/, $err), '', 'it is restored where nothing is preloaded');
$bare->append_conf('postgresql.conf', $preload);
$bare->restart;
is($bare->safe_psql('wallet', $labels), 0, 'a restored projection is stopped');
$bare->safe_psql('wallet', "SELECT projection_start('wallet_balance'), projection_start('busy')");
goes_on($bare, 'restored');
$bare->stop;

# events that nobody has applied yet come along
$old->append_conf('postgresql.conf', 'wallet_projection.enabled = off');
$old->reload;
ok($old->poll_query_until('wallet', 'SELECT count(*) = 0 FROM projection_workers'), 'workers rest');
$old->safe_psql('wallet', "SELECT count(wallet_debit('w' || i, 1)) FROM generate_series(1, 6) i");
my $letter = $old->safe_psql('wallet', $parked);
$old->stop;

foreach my $with (0, 1)
{
	my $name = $with ? 'preloaded' : 'not_preloaded';
	my $new = upgrade($name, $with ? $preload : ());

	$new->append_conf('postgresql.conf', $preload) unless $with;
	$new->start;
	ok($new->poll_query_until('wallet', 'SELECT count(*) = 3 FROM projection_workers'),
		"$name: workers start, as many as before");
	goes_on($new, $name);
	is($new->safe_psql('wallet', $parked), $letter, "$name: the parked key is still parked");
	$new->stop;
}

done_testing();
