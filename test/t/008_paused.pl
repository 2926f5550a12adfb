# A consumer loses the processor at any point of its work, while writers go on:
# whatever it has looked at by then, and not yet, the outcome is exact.
#
# Between its steps lie microseconds; here they last long enough for others to
# begin, to draw numbers and to commit.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Time::HiRes qw(time usleep);
use WalletTest;

my $seed = $ENV{SEED} // time;
srand($seed);
note "seed $seed";

my $duration = $ENV{DURATION} // 8;
my $node = new_node('paused');
install($node);
put_wallets($node, 20);

my $writers = start_writers($node, 5, 20);
my $runners = start_load($node, 2,
	run => "SELECT projection_run('wallet_balance');\n",
	few => "SELECT projection_run('wallet_balance', 2);\n");
my $query =
  "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT projection_run%'";
$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM ($query) r")
  or die 'the consumers do nothing';
my @pids = split /\n/, $node->safe_psql('postgres', $query);
/^\d+$/ or die foreach @pids;

my $pauses = 0;
for (my $end = time + $duration; time < $end; $pauses++)
{
	my $pid = $pids[ rand @pids ];

	kill('STOP', $pid);
	usleep(rand(3000));
	kill('CONT', $pid);
	usleep(rand(1000));
}
note "$pauses pauses";
is_prefix($node, 'under writers');
stop_client($_) foreach ($writers, $runners);

$node->safe_psql('postgres', "SELECT projection_run('wallet_balance')");
consistent($node, 'after all');
is( $node->safe_psql(
		'postgres', 'SELECT DISTINCT gaps FROM projection_partitions'),
	'{}', 'no gap is left');
note $node->safe_psql('postgres', 'SELECT count(*) FROM wallet_stream')
  . ' events';

$node->stop;
done_testing();
