# CALL projection_consume: several at once under writers, and all the ways in
# which it ends: cancelled, terminated, at its limits, when nothing is left.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Time::HiRes qw(time);
use WalletTest qw(:DEFAULT query wait_until);

my $consumers = 3;
my $call = "CALL projection_consume('async_projection')";
my $finish =
  "CALL projection_consume('async_projection', finish_when_no_messages => true)";

my $node = new_node('consumers');
install($node, 'postgres', batch_size => 10);
put_wallets($node, 50);

# Sessions that consume.
sub consuming
{
	return query(
		"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL projection_consume%' AND state = 'active'"
	);
}

# Locks that are neither on tables nor on the transactions themselves.
sub locks
{
	return query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'");
}

# Wait until all events there are have been applied.
sub wait_for_all
{
	my $last = query('SELECT last_position FROM projection_status');

	wait_until("SELECT bool_and(head >= $last AND isempty(gaps)) FROM projection_partitions");
	return;
}

# several consumers, under writers
my @clients =
  map { start_client($node, 'psql', '-X', '-c', $call, '-d') } 1 .. $consumers;
my $writers = start_writers($node, 3, 50);
foreach (1 .. 5)
{
	my $head = query('SELECT min(head) + 100 FROM projection_partitions');

	wait_until("SELECT min(head) >= $head FROM projection_partitions");
	is_prefix($node, "$consumers consumers under writers, $_");
}
stop_client($writers);
wait_for_all();
consistent($node, "$consumers consumers");
is(consuming(), $consumers, 'they wait for more');
ok( $node->poll_query_until(
		'postgres',
		"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
		$consumers),
	'each with a lock that says it is present');
ok( $node->poll_query_until(
		'postgres',
		"SELECT bool_and(backend_xid IS NULL AND backend_xmin IS NULL) FROM pg_stat_activity WHERE query LIKE 'CALL projection_consume%'"
	),
	'and with no snapshot or transaction id');

# one is terminated, and leaves nothing behind
query(
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL projection_consume%' LIMIT 1"
);
wait_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
	$consumers - 1);
is(consuming(), $consumers - 1, 'a terminated one is gone');

# the others are cancelled
query(
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL projection_consume%'"
);
wait_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", 0);
stop_client($_) foreach @clients;
is(query('SELECT state FROM projection_status'),
	'ready', 'neither is a failure of the projection');

# cancelled, the session goes on as any other
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = backend_pid($session);
$session->query_until(qr/begun/, "\\set VERBOSITY sqlstate\n\\echo begun\n$call;\n\\echo ended\n");
wait_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $pid", 1);
query("SELECT wallet_credit('w1', 1)");
wait_for_all();
query("SELECT pg_cancel_backend($pid)");
$session->query_until(qr/ended/, '');
like($session->{stderr}, qr/ERROR:  57014/, 'a cancelled call says so');
$session->{stderr} = '';
is(locks(), 0, 'and leaves no lock in its session');
query("SELECT wallet_credit('w1', 1)");
$session->query_safe($finish);
consistent($node, 'the same session consumes again');

# limits
my $before = time;
$session->query_safe("CALL projection_consume('async_projection', time_limit => '0.3 s')");
my $lasted = time - $before;
cmp_ok($lasted, '>=', 0.3, 'a time limit is kept');
cmp_ok($lasted, '<', 5, 'and ends the call');
query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 50) i");
my $applied = query('SELECT sum(transaction_count) FROM wallet_balances');
$session->query_safe("CALL projection_consume('async_projection', message_limit => 33)");
is( query("SELECT sum(transaction_count) - $applied FROM wallet_balances"),
	33, 'a message limit is kept');
is_prefix($node, 'after a message limit');

# nothing is left only when nobody holds a partition with something in it
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT projection_backfill('wallet_balance', 3)");
$session->query_until(qr/begun/, "\\echo begun\n$finish;\n\\echo ended\n");
wait_until('SELECT count(*) FILTER (WHERE lag_events = 0) = 13 FROM projection_partitions');
is(consuming(), 1, 'a consumer that is to finish waits for what others hold');
$holder->query_safe('ROLLBACK');
$session->query_until(qr/ended/, '');
consistent($node, 'and takes it when it is given back');

# a failure is written down, and the next success takes it back
query("DELETE FROM wallet_balances WHERE wallet_id = 'w1'");
query("SELECT wallet_credit('w1', 1), wallet_credit('w2', 1)");
is( sqlstate($node,
		"CALL projection_consume('async_projection', stop_on_failure => true)"),
	'WP005',
	'a failure ends a call that is to stop at one');
like( query('SELECT state, last_error FROM projection_status'),
	qr/^failed\|WP005: projection "wallet_balance" cannot apply event \d+ /,
	'and is in the status');
is(sqlstate($node, $finish), '00000', 'a call that is to finish parks it');
is(query('SELECT state, parked FROM projection_status'), 'ready|1', 'and goes on');
is_prefix($node, 'with a failure');
query("SELECT projection_reset('wallet_balance')");
query($finish);
is(query('SELECT state, last_error FROM projection_status'),
	'ready|', 'after a reset it is well');
consistent($node, 'after a failure');

$_->quit foreach ($session, $holder);
$node->stop;
done_testing();
