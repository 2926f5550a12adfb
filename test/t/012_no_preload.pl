# Without shared_preload_libraries: what needs background workers says what to
# do, all else works.  Then with it, and without it again.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query);

my $node = new_node('no_preload');
my $status =
  'SELECT state, activity, workers, workers_wanted, workers_problem FROM projection_status';

# All that needs workers is refused, with advice.
sub refuses
{
	foreach my $statement (
		"SELECT projection_start('wallet_balance')",
		"SELECT projection_stop('wallet_balance')",
		"SELECT channel_scale('async_projection', 1)",
		'SELECT * FROM projection_workers')
	{
		my ($result, $out, $err) = $node->psql('postgres', $statement,
			extra_params => [ '-v', 'VERBOSITY=verbose' ]);

		like($err, qr/ERROR:  55000: .* needs the background workers/, "refused: $statement");
		like($err, qr/^HINT: .*shared_preload_libraries = 'wallet_projection'$/m, 'with advice');
	}
	return;
}

# Whoever consumes, projection_wait sees it.
sub works
{
	my ($name) = @_;
	my $credit = "SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i";
	my $wait = "SELECT projection_wait('wallet_balance', '60 s')";

	query($credit);
	is(query("SELECT projection_wait('wallet_balance', '0.1 s')"), 'f', "$name: nobody applies events");
	is(query("SELECT projection_run('wallet_balance')"), 10, 'but projection_run');
	is(query($wait), 't', 'as projection_wait says');
	query($credit);
	query("CALL projection_consume('async_projection', finish_when_no_messages => true)");
	is(query($wait), 't', 'and projection_consume');
	query($credit);

	my $session = $node->background_psql('postgres');
	my $pid = backend_pid($session);

	$session->query_until(qr/begun/, "\\echo begun\nSELECT 'waited: ' || projection_wait('wallet_balance', '60 s');\n\\echo ended\n");
	$node->poll_query_until('postgres',
		"SELECT query LIKE '%projection_wait%' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'it does not wait';
	is(query("SELECT projection_run('wallet_balance')"), 10, 'another session applies');
	like($session->query_until(qr/ended/, ''), qr/waited: true/, 'and a wait that has begun ends');
	$session->quit;
	consistent($node, $name);
	return;
}

sub workers_are
{
	my ($count) = @_;

	ok($node->poll_query_until('postgres', 'SELECT count(pid) FROM projection_workers', $count),
		"$count workers");
	return;
}

sub follows
{
	my ($name) = @_;

	query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i");
	is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', "$name: the workers follow");
	consistent($node, $name);
	return;
}

sub preload
{
	my ($libraries) = @_;

	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries'");
	$node->restart;
	return;
}

delete $ENV{PGOPTIONS};
install($node);
is( query($status),
	'ready|stopped|0|0|shared_preload_libraries does not list wallet_projection',
	'what is made without workers is stopped, and the status says why');
put_wallets($node, 10);
query("SELECT projection_run('wallet_balance')");
refuses();
works('without workers');
query("SELECT stream_notify('wallet_stream', true)");
works('with stream_notify');

preload('wallet_projection');
is(query($status), 'ready|stopped|0|0|', 'with workers it is still stopped');
works('stopped');
query("SELECT projection_start('wallet_balance')");
workers_are(2);
is(query($status), 'ready|running|2|2|', 'started, it runs');
follows('started');
query("SELECT channel_scale('async_projection', 3)");
workers_are(3);

preload('');
is( query($status),
	'ready|waiting|0|3|shared_preload_libraries does not list wallet_projection',
	'without the library it waits');
refuses();
works('without workers again');

preload('wallet_projection');
workers_are(3);
follows('with workers again');

# what is deleted without workers has none later
preload('');
query("SELECT projection_delete('wallet_balance')");
preload('wallet_projection');
is(query('SELECT activity FROM projection_status'), 'stopped', 'deleted, it is stopped');
workers_are(0);
query("SELECT projection_init('wallet_balance')");
workers_are(3);
follows('made anew');

$node->stop;
done_testing();
