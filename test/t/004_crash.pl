# The server dies under load, again and again: by the kill of a consumer in the
# middle of its work, or of everything at once.  After recovery each row equals
# a prefix of its events, and after a catch-up all of them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Time::HiRes qw(usleep);
use WalletTest;

my $seed = $ENV{SEED} // time;
srand($seed);
note "seed $seed";

my $node = new_node('crash', 'restart_after_crash = on',
	'max_prepared_transactions = 5', 'shared_buffers = 16MB');
install($node, 'postgres', batch_size => 20);
put_wallets($node, 100);

foreach my $round (1 .. 6)
{
	my $writers = start_writers($node, 3, 100);
	my $consumer = start_client($node, 'psql', '-X', '-c',
		"CALL projection_consume('async_projection')", '-d');
	my $runner = start_load($node, 1,
		run => "SELECT projection_run('wallet_balance', 5);\n");
	my $victim = $round % 2 ? 'CALL projection_consume' : 'SELECT projection_run';
	my $kill = $round % 3 != 0;

	$node->safe_psql('postgres',
		"BEGIN; SELECT wallet_create('p', 1); PREPARE TRANSACTION 'p'")
	  if $round == 2;

	# let them get to work, and strike at any moment of it
	$node->poll_query_until('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '$victim%' AND pid <> pg_backend_pid()",
		'1')
	  or die "there is no $victim";
	my $head = $node->safe_psql('postgres',
		'SELECT max(head) + 200 FROM projection_partitions');
	$node->poll_query_until('postgres',
		"SELECT max(head) > $head FROM projection_partitions")
	  or die 'the consumers do nothing';
	usleep(rand(20_000));
	if ($kill)
	{
		my $pid = $node->safe_psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE query LIKE '$victim%'");

		$pid =~ /^\d+$/ or die "there is not one $victim: $pid";
		crash($node, $pid);
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	stop_client($_) foreach ($writers, $consumer, $runner);

	my $how = $kill ? 'a consumer was killed' : 'immediate shutdown';
	is_prefix($node, "round $round, $how");
	$node->safe_psql('postgres',
		"CALL projection_consume('async_projection', finish_when_no_messages => true)"
	);
	next if $round >= 2 && $round < 4;	# a transaction is prepared
	$node->safe_psql('postgres', "COMMIT PREPARED 'p'") if $round == 4;
	$node->safe_psql('postgres',
		"CALL projection_consume('async_projection', finish_when_no_messages => true)"
	);
	consistent($node, "round $round, $how, caught up");
	is( $node->safe_psql(
			'postgres', 'SELECT DISTINCT gaps FROM projection_partitions'),
		'{}',
		"round $round: no gap is left");
}

$node->stop;
done_testing();
