# A batch that does not end, as a trigger goes on for ever: the owner, who is no
# superuser, can end it and stop the projection; it is ended when its time is
# over; and it keeps nobody from shutting down or from dropping the database.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT logged log_end);

my $node = worker_node('cancel', 'max_worker_processes = 12');
my $wait = "SELECT projection_wait('wallet_balance', '60 s')";
my $parked = 'SELECT count(*) FROM projection_dead_letters';

# As the owner.
sub query
{
	my ($query) = @_;

	return $node->safe_psql('mine', "SET client_min_messages = warning; $query", extra_params => [ '-U', 'app' ]);
}

sub wait_until
{
	my ($query) = @_;

	$node->poll_query_until('mine', $query) or die "timed out: $query";
	return;
}

# Make batches of wallet w1 endless, by this loop; and have some run.
sub endless
{
	my ($loop) = @_;

	query(<<"SQL");
CREATE OR REPLACE FUNCTION endless() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
  IF NEW.wallet_id = 'w1' THEN $loop END IF;
  RETURN NULL;
END \$\$;
CREATE TRIGGER endless AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION endless();
SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i;
SQL
	wait_until("SELECT running_since < clock_timestamp() - interval '0.5 s' FROM projection_status");
	return;
}

sub mend
{
	my ($name) = @_;

	query('DROP TRIGGER endless ON wallet_balances');
	query("SELECT projection_start('wallet_balance')");
	is(query($wait), 't', "$name: mended, all is applied");
	is(query($parked), '0', "$name: no event is to blame");
	consistent($node, $name, 'mine');
	is(query("SELECT state, failures FROM projection_status"), 'ready|0', "$name: ready");
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE DATABASE mine OWNER app');
install($node, 'mine', -role => 'app');
query("SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 10) i");
is(query($wait), 't', 'all is applied');
wait_until('SELECT running_since IS NULL FROM projection_status');
like(sqlstate($node, "SELECT projection_stop('wallet_balance', NULL)", 'mine'), qr/22004/, 'cancel must be said');

my $sleep = 'LOOP PERFORM pg_sleep(0.01); END LOOP;';
my $tight = 'LOOP NULL; END LOOP;';
my $stubborn =
  'LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;';
my $raising =
  "BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN RAISE EXCEPTION 'the event is bad'; END;";

foreach my $loop ($sleep, $tight, $stubborn, $raising)
{
	endless($loop);
	my $stop = "SELECT projection_stop('wallet_balance', cancel => true)";
	my ($status, $out, $err) = $node->psql('mine', $stop, extra_params => [ '-U', 'other' ]);
	like($err, qr/must be owner/, "$loop: not by somebody else");
	isnt(query('SELECT running_since FROM projection_status'), '', "$loop: it is still there");

	# no batch begins while the stop is not committed
	is( query("BEGIN; $stop; SELECT running_since IS NULL FROM projection_status; SELECT pg_sleep(0.2); SELECT running_since IS NULL FROM projection_status; COMMIT"),
		"\nt\n\nt", "$loop: the owner ends it");
	is(query('SELECT activity, state FROM projection_status'), 'stopped|ready', "$loop: it is stopped, not failed");
	mend($loop);
}

# who waits for it is told what to do, also who stops it without cancel
endless($sleep);
wait_until("SELECT running_since < clock_timestamp() - interval '1.1 s' FROM projection_status");
my ($waited, $reached, $why) = $node->psql('mine', "SELECT projection_wait('wallet_balance', '100 ms')", extra_params => [ '-U', 'app' ]);
like($why, qr/in time: a batch has been running since \d.*\nHINT:  To end it: SELECT projection_stop\('wallet_balance', cancel => true\);/,
	'projection_wait tells of the batch');
my ($stopped, $nothing, $notice) = $node->psql('mine', "SET statement_timeout = '2 s'; SELECT projection_stop('wallet_balance')", extra_params => [ '-U', 'app' ]);
like($notice, qr/NOTICE:  waiting for a batch that has been running since \d.*\nHINT:  .*projection_stop\('wallet_balance', cancel => true\);/,
	'so does projection_stop');
query("SELECT projection_stop('wallet_balance', cancel => true)");
mend('told');

# by scaling the channel to 0
endless($tight);
query("SELECT channel_scale('async_projection', 0)");
wait_until('SELECT count(*) = 0 FROM projection_workers');
is(query('SELECT state, running_since IS NULL FROM projection_status'), 'ready|t', 'scaled to 0, it has ended');
query('DROP TRIGGER endless ON wallet_balances');
query("SELECT channel_scale('async_projection', 2)");
is(query($wait), 't', 'scaled up again, all is applied');
consistent($node, 'scaled', 'mine');

# when its time is over
foreach my $loop ($tight, $raising)
{
	my $from = log_end();

	$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = '700ms'");
	endless($loop);
	$node->reload;
	query("SELECT projection_stop('wallet_balance', true); SELECT projection_start('wallet_balance')");
	wait_until("SELECT failures > 0 FROM projection_status");
	like( query('SELECT state, last_error FROM projection_status'),
		qr/^failed\|57014: a batch took longer than wallet_projection.batch_timeout, 700 ms.*endless\(\)/s,
		"$loop: the status says so");
	cmp_ok(logged(qr/took longer than/, $from), '>', 0, "$loop: the log too");

	# whoever does it
	my ($status, $out, $err) = $node->psql('mine',
		"SELECT projection_stop('wallet_balance', true); CALL projection_consume('async_projection', finish_when_no_messages => true)",
		extra_params => [ '-U', 'app' ]);
	like($err, qr/ERROR:  a batch took longer than wallet_projection.batch_timeout, 700 ms/, "$loop: a session too");
	$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = 0");
	$node->reload;
	mend("$loop, batch_timeout");
}

# a shutdown, and DROP DATABASE
endless($tight);
$node->stop('fast');
pass('the server shuts down');
$node->start;
wait_until("SELECT running_since < clock_timestamp() FROM projection_status");
$node->safe_psql('postgres', 'DROP DATABASE mine WITH (FORCE)');
pass('the database is dropped');
$node->stop;
done_testing();
