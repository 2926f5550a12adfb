# The memory of a consumer is flat, however many batches it has behind it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $batches = 1000;
my $wallets = 10;
my $node = new_node('flat');

# Append so many events, a batch each, and wait until they are applied.
sub consume
{
	my ($events) = @_;

	$node->safe_psql('postgres',
		"SELECT count(wallet_credit('w' || i % $wallets + 1, 1)) FROM generate_series(1, $events) i"
	);
	my $last = $node->safe_psql('postgres',
		'SELECT last_position FROM projection_status');
	$node->poll_query_until('postgres',
		"SELECT bool_and(head >= $last) FROM projection_partitions")
	  or die 'the events are not applied';
	return;
}

# What all memory contexts of a process take, in bytes.
sub memory
{
	my ($pid) = @_;
	my $offset = -s $node->logfile;
	my $total = qr/\[$pid\].*LOG:  Grand total: (\d+) bytes/;

	$node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($pid)");
	$node->wait_for_log($total, $offset);
	slurp_file($node->logfile, $offset) =~ $total or die;
	return $1;
}

install($node, 'postgres', batch_size => 1);
put_wallets($node, $wallets);

# the consumer of a channel: one call, a transaction a batch
my $consumer = start_client($node, 'psql', '-X', '-c',
	"CALL projection_consume('async_projection')", '-d');
consume(100);
my $pid = $node->safe_psql('postgres',
	"SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL projection_consume%'");
my $before = memory($pid);
consume($batches);
my $growth = memory($pid) - $before;
note "grew by $growth of $before bytes";
cmp_ok($growth, '<', 10 * $batches, "projection_consume: flat over $batches batches");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
stop_client($consumer);

# a session that runs many batches in one statement: they are gone afterwards
my $session = $node->background_psql('postgres');
my $taken = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
$node->safe_psql('postgres', "SELECT projection_reset('wallet_balance')");
$session->query_safe("SELECT projection_run('wallet_balance', 100)");
$before = $session->query_safe($taken);
$session->query_safe("SELECT projection_run('wallet_balance', $batches)");
$growth = $session->query_safe($taken) - $before;
note "grew by $growth of $before bytes";
cmp_ok($growth, '<', 10 * $batches, "projection_run: flat over $batches batches");

$session->query_safe("SELECT projection_run('wallet_balance')");
consistent($node, 'after all');

$session->quit;
$node->stop;
done_testing();
