# A standby has the library, and no workers.  It shows what is replicated, and
# one may wait there for it.  When it is promoted, workers come by themselves
# and go on from where the positions are.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use Test::More;
use WalletTest;

my $primary = worker_node(
	'primary',
	'wal_level = replica',
	'max_wal_senders = 5',
	"wallet_projection.poll_interval = '100ms'");
install($primary, 'postgres', batch_size => 20);
put_wallets($primary, 50);
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
# a wait holds a snapshot, which must not hold up what it waits for
$standby->append_conf('postgresql.conf',
	"hot_standby_feedback = on\nwal_receiver_status_interval = 1");
$standby->start;

sub on_primary
{
	return $primary->safe_psql('postgres', shift);
}

sub on_standby
{
	return $standby->safe_psql('postgres', shift);
}

# Let the standby replay all that the primary has written.
sub replicate
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	return;
}

my $processes =
  "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'wallet_projection%'";

# under writers, a standby has prefixes too, and waits for what it has
my $writers = start_writers($primary, 2, 50);
foreach (1 .. 5)
{
	my $head = on_standby('SELECT min(head) + 100 FROM projection_partitions');

	$standby->poll_query_until('postgres',
		"SELECT min(head) >= $head FROM projection_partitions")
	  or die 'nothing is replicated';
	is_prefix($standby, "on the standby, $_");
	is(on_standby("SELECT projection_wait('wallet_balance', '60 s')"),
		't', "on the standby one can wait, $_");
}
stop_writers($primary, $writers);
caught_up($primary, 'primary');
replicate();
consistent($standby, 'standby');
is(on_standby($processes), 0, 'a standby has no workers, and no launcher');
is(on_standby('SELECT count(*) FROM projection_workers'), 0, 'and says so');
is( on_standby('SELECT projection, state, activity, workers, workers_wanted, workers_problem FROM projection_status'),
	'wallet_balance|ready|waiting|0|2|this server is a standby: workers start when it is promoted',
	'and why');
is(on_standby("SELECT count(*) FROM projection_health() WHERE what <> 'autovacuum is off'"), 0, 'a standby that follows is healthy');
my $positions =
  'SELECT partition, head, gaps FROM projection_partitions ORDER BY partition';
is(on_standby($positions), on_primary($positions), 'it shows the positions');

# nothing can be changed there
foreach my $statement (
	"SELECT projection_start('wallet_balance')",
	"SELECT projection_stop('wallet_balance')",
	"SELECT channel_scale('async_projection', 1)",
	"SELECT stream_notify('wallet_stream', true)",
	"SELECT projection_run('wallet_balance')",
	"SELECT projection_reset('wallet_balance')",
	"CALL projection_consume('async_projection')")
{
	is(sqlstate($standby, $statement), '25006', $statement);
}

# a wait on the standby lasts until the primary has applied it
on_primary("SELECT projection_stop('wallet_balance')");
on_primary("SELECT wallet_credit('w1', 1)");
replicate();
is(on_standby('SELECT activity FROM projection_status'),
	'stopped', 'it sees that the primary has stopped it');
is(on_standby("SELECT projection_wait('wallet_balance', '0.1 s')"),
	'f', 'a wait for what the primary has not applied ends with its time');
my $waiter = $standby->background_psql('postgres');
$waiter->query_until(qr/begun/,
	"\\echo begun\nSELECT projection_wait('wallet_balance', '60 s');\n\\echo ended\n");
on_primary("SELECT projection_start('wallet_balance')");
like($waiter->query_until(qr/ended/, ''), qr/^t$/m, 'or as soon as it is replicated');
$waiter->quit;

# promoted, in the midst of things
$writers = start_writers($primary, 2, 50);
my $head = on_standby('SELECT max(head) + 100 FROM projection_partitions');
$standby->poll_query_until('postgres',
	"SELECT max(head) >= $head FROM projection_partitions")
  or die 'nothing is replicated';
$primary->stop('immediate');
stop_client($writers);
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT count(pid) = 2 FROM projection_workers')
  or die 'no workers';
caught_up($standby, 'promoted');
$writers = start_writers($standby, 2, 50);
$head = on_standby('SELECT max(head) + 200 FROM projection_partitions');
$standby->poll_query_until('postgres',
	"SELECT max(head) >= $head FROM projection_partitions")
  or die 'the workers do nothing';
stop_writers($standby, $writers);
caught_up($standby, 'promoted, with new events');
ok( $standby->poll_query_until(
		'postgres', "SELECT bool_and(gaps = '{}' AND lag_events = 0) FROM projection_partitions"),
	'no gap is left');

$standby->stop;
done_testing();
