# The server dies under load, again and again, while background workers work: a
# worker, the launcher or the postmaster is killed at any moment, or the server
# is shut down at once.  After recovery each row equals a prefix of its events,
# and soon, by itself, all of them.
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

my $rounds = 32;
my $workers = 3;
my $node = worker_node(
	'worker_crash',
	'restart_after_crash = on',
	'max_prepared_transactions = 1',
	'shared_buffers = 16MB',
	"wallet_projection.poll_interval = '50ms'");

# Kill a process of ours, and wait until the server has begun again.
sub kill_one
{
	my ($type) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'wallet_projection $type%'");
	my $pid = $pids[ rand @pids ];

	die "there is no $type" unless defined $pid;
	usleep(rand(20_000));
	crash($node, $pid);
	return;
}

my %strike = (
	'a worker was killed' => sub { kill_one('worker') },
	'the launcher was killed' => sub { kill_one('launcher') },
	'the postmaster was killed' => sub {
		usleep(rand(20_000));
		kill_server($node);
	},
	'immediate shutdown' => sub {
		usleep(rand(20_000));
		$node->stop('immediate');
	});
my @strikes = sort keys %strike;

install($node, 'postgres', batch_size => 20);
put_wallets($node, 50);
$node->safe_psql('postgres', "SELECT channel_scale('async_projection', $workers)");

foreach my $round (1 .. $rounds)
{
	my $strike = $strikes[ $round % @strikes ];
	my $name = "round $round, $strike";
	my $writers = start_writers($node, 3, 50);
	my $prepared = $round % 8;

	# a wallet that nobody can follow up on, for some rounds
	$node->safe_psql('postgres',
		"BEGIN; SELECT wallet_create('p$round', 1); PREPARE TRANSACTION 'p'")
	  if $prepared == 1;

	# let them get to work, and strike at any moment of it
	my $head = $node->safe_psql('postgres',
		'SELECT max(head) + 50 FROM projection_partitions');
	$node->poll_query_until('postgres',
		"SELECT max(head) > $head FROM projection_partitions")
	  or die 'the workers do nothing';
	$strike{$strike}->();
	stop_client($writers);
	start_again($node) if $strike =~ /postmaster|shutdown/;

	is_prefix($node, $name);
	$node->safe_psql('postgres', "COMMIT PREPARED 'p'") if $prepared == 4;
	caught_up($node, $name);
	next if $prepared >= 1 && $prepared < 4;
	ok( $node->poll_query_until(
			'postgres', "SELECT bool_and(gaps = '{}') FROM projection_partitions"),
		"$name: no gap is left");
}

ok( $node->poll_query_until(
		'postgres',
		"SELECT count(pid) = $workers AND count(*) = $workers FROM projection_workers"),
	'all workers are there');
is($node->safe_psql('postgres', 'SELECT state FROM projection_status'),
	'ready', 'and well');

$node->stop;
done_testing();
