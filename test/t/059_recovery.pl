# Physical copies of a server that has some of everything, taken under load: a
# base backup that is started as a server of its own, a standby with a slot that
# is promoted after the primary was killed and the end of its WAL was lost, the
# old primary that follows it after pg_rewind and takes over again, and recovery
# to points in time.  Each of them has rows and positions that fit each other:
# workers go on by themselves, and all is exact.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Moved;
use WalletTest;

my $primary = PostgreSQL::Test::Cluster->new('primary');

delete $ENV{PGOPTIONS};
$primary->init(extra => [ '--encoding=UTF8', '--locale=C' ], has_archiving => 1, allows_streaming => 1);
# a worker of each channel, and processes of rebuilds
$primary->append_conf('postgresql.conf', join "\n", 'autovacuum = off', 'log_statement = none', 'max_worker_processes = 16',
	"shared_preload_libraries = 'wallet_projection'", "wallet_projection.poll_interval = '50ms'", 'wal_log_hints = on', 'wal_keep_size = 512MB');
$primary->start;
put_everything($primary, 'postgres');

my %load = (
	wallet => "\\set w random(8, 20)\n\\set a random(1, 100)\nBEGIN;\nSELECT wallet_credit('w' || :w, :a);\nSELECT pg_sleep(0.002);\nEND;\n",
	aborted => "\\set w random(8, 20)\nBEGIN;\nSELECT wallet_debit('w' || :w, 1);\nINSERT INTO sales (kind) VALUES ('big');\nROLLBACK;\n",
	sales => "\\set s random(1, 9)\n\\set m random(1, 60)\nINSERT INTO sales (kind, shop, amount, at, payload) VALUES ('big', 'shop' || :s, :s, '2024-01-01'::date + :m, '{\"lines\": [{\"sku\": \"x\", \"n\": 1}]}');\n",
	visits => "\\set m random(1, 50)\nINSERT INTO visits_seen (at, page) VALUES ('2024-01-01'::date + :m, 'page' || :m % 7);\n",
	# nobody reads what pgbench is told
	rebuild => "SET client_min_messages = warning;\n\\sleep 50 ms\nCALL projection_rebuild('wallet_balance');\nCALL projection_rebuild('per_shop');\n");

sub number
{
	my ($node) = @_;

	return $node->safe_psql('postgres', "SELECT head FROM projection_status WHERE projection = 'wallet_balance'");
}

# Wait until so many more events were applied.
sub go_on_for
{
	my ($node, $count) = @_;
	my $to = number($node) + $count;

	$node->poll_query_until('postgres', "SELECT head > $to FROM projection_status WHERE projection = 'wallet_balance'")
	  or die 'the workers do nothing';
	return;
}

# Before anybody applies anything: each row equals a prefix of its events.
sub fits
{
	my ($node, $name) = @_;

	is($node->safe_psql('postgres', "SELECT string_agg(v::text, ' ') FROM projection_status p, LATERAL projection_verify(projection) v WHERE kind <> 'statement' AND projection <> 'visits'"),
		'', "$name: rows fit the positions that are there");
	return;
}

my $load = start_load($primary, 4, %load);
go_on_for($primary, 50);
$primary->backup('base');
go_on_for($primary, 50);

# a server of its own; the two do not know of each other
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($primary, 'base');
$copy->start;
goes_on($copy, 'postgres', 'base backup');
$copy->stop;

my $standby = PostgreSQL::Test::Cluster->new('standby');
$primary->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('standby', true)");
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_slot_name = 'standby'\nhot_standby_feedback = on\n");
$standby->start;

# points in time, in the midst of batches
my @targets;
foreach (1 .. 3)
{
	go_on_for($primary, 30);
	usleep(rand(30_000));
	push @targets, $primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
}
my $archived = $primary->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$primary->poll_query_until('postgres', "SELECT last_archived_wal >= '$archived' FROM pg_stat_archiver")
  or die 'WAL is not archived';

foreach my $i (1 .. @targets)
{
	my $target = $targets[ $i - 1 ];
	my $name = "recovered_$i";
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf', "recovery_target_lsn = '$target'\nrecovery_target_action = promote\nwallet_projection.enabled = off\n");
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'recovery does not end';
	fits($node, $name);
	$node->append_conf('postgresql.conf', 'wallet_projection.enabled = on');
	$node->reload;
	goes_on($node, 'postgres', $name);
	$node->stop;
}

# The primary is killed; the standby has not got the last of what it has written.
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->reload;
$standby->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_wal_receiver') or die 'the standby still listens';
go_on_for($primary, 100);
my $lost = number($primary);
kill_server($primary);
stop_client($load);
$standby->append_conf('postgresql.conf', 'wallet_projection.enabled = off');
$standby->promote;
cmp_ok(number($standby), '<', $lost, 'batches are lost');
fits($standby, 'promoted');
$standby->append_conf('postgresql.conf', 'wallet_projection.enabled = on');
$standby->reload;
$load = start_load($standby, 3, map { $_ => $load{$_} } grep { $_ ne 'rebuild' } keys %load);
go_on_for($standby, 100);

# the old primary follows
$standby->safe_psql('postgres', 'CHECKPOINT');
$standby->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('primary', true)");
my $conf = slurp_file($primary->data_dir . '/postgresql.conf');
$primary->command_ok([ 'pg_rewind', '--no-sync', '--target-pgdata', $primary->data_dir, '--source-server', $standby->connstr('postgres') ],
	'pg_rewind');
unlink $primary->data_dir . '/postgresql.conf';
append_to_file($primary->data_dir . '/postgresql.conf', $conf);
$primary->append_conf('postgresql.conf', "primary_slot_name = 'primary'\nprimary_conninfo = '" . $standby->connstr . " application_name=primary'\n");
$primary->set_standby_mode;
$primary->start;
go_on_for($primary, 50);
is($primary->safe_psql('postgres', 'SELECT count(*) FROM projection_workers'), 0, 'the old primary has no workers');

# and takes over, after a clean end of the new one
stop_client($load);
$standby->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'") or die 'the writers do not end';
$standby->stop;
$primary->promote;
goes_on($primary, 'postgres', 'back again');
$primary->stop;
done_testing();
