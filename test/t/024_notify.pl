# Listeners are told of dead letters by NOTIFY when the transaction commits; and
# where NOTIFY would make the transaction fail, they are not told.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until logged log_end);

my $node = worker_node('notify', 'wallet_projection.autostart = off',
	'max_prepared_transactions = 2', 'wal_level = replica', 'max_wal_senders = 2', 'synchronous_commit = local',
	"wallet_projection.poll_interval = '100ms'");
my $dead = 'SELECT dead_letters FROM projection_status';
my $wallet = 0;
my $listener;

# The next wallet, with an event that fails.
sub bad
{
	$wallet++;
	return "SELECT wallet_create('d$wallet', 1); SELECT stream_append('wallet_stream', 'Wallet', 'd$wallet',"
	  . q{'[{"event_name": "WalletWasCredited", "payload": {"amount": "bad"}}]');};
}

# Which wallets has the listener been told of since it was asked?
sub told
{
	my $out = $listener->query('SELECT 1');

	return join ' ', $out =~ /"partition_key": "(\w+)"/g;
}

sub start_listener
{
	$listener = $node->background_psql('postgres');
	$listener->query_safe('LISTEN wallet_projection_dead_letter');
	return;
}

install($node, 'postgres', max_attempts => 1);
# who has told once is silent, each worker by itself
query("SELECT channel_scale('async_projection', 1)");
start_listener();
my $run = "SELECT projection_run('wallet_balance');";

query(bad() . $run);
is(told(), 'd1', 'a commit tells');
query('BEGIN;' . bad() . $run . 'ROLLBACK');
is(told(), '', 'a rollback does not');
query('BEGIN;' . bad() . $run . 'SAVEPOINT s;' . bad() . $run . 'ROLLBACK TO s;' . bad() . $run . 'COMMIT');
is(told(), 'd3 d5', 'nor does a savepoint that is rolled back');
query(bad() . "CALL projection_consume('async_projection', finish_when_no_messages => true)");
is(told(), 'd6', 'projection_consume tells');

is(sqlstate($node, 'BEGIN;' . bad() . $run . "PREPARE TRANSACTION 'p'"), '00000',
	'a transaction with a dead letter can be prepared');
query("COMMIT PREPARED 'p'");
is(query($dead), '5', 'and committed');
query(bad() . $run);
is(told(), 'd8', 'it tells nobody; the next one does');

# a commit with a NOTIFY waits for a standby that is not there, and holds the lock
my $offset = log_end();
my $waiting = $node->background_psql('postgres');
my $pid = backend_pid($waiting);

query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
query('SELECT pg_reload_conf()');
wait_until("SELECT current_setting('synchronous_standby_names') = 'nobody'");
query('CHECKPOINT');    # then everybody knows
query('CREATE TABLE written ()');
$waiting->query_until(qr/begun/, "SET synchronous_commit = on;\nBEGIN;\nINSERT INTO written DEFAULT VALUES;\nNOTIFY other;\n\\echo begun\nCOMMIT;\n");
wait_until("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $pid");
query(bad());
query("SELECT projection_start('wallet_balance')");
wait_until($dead, 7);
is(query('SELECT state, lag_events FROM projection_status'), 'ready|0', 'a dead letter does not wait for NOTIFY');
is(logged(qr/LOG: .*listeners are not told of 1 dead letters/, $offset), 1, 'the log says that nobody is told');
query(bad());
wait_until($dead, 8);
is(logged(qr/LOG: .*listeners are not told/, $offset), 1, 'once');
query('ALTER SYSTEM RESET synchronous_standby_names');
query('SELECT pg_reload_conf()');
wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'SyncRep'");
$waiting->quit;
query(bad());
wait_until($dead, 9);
is(told(), 'd11', 'then listeners are told again');
$listener->quit;

# without background workers
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
start_listener();
query(bad() . $run);
is(told(), 'd12', 'also without shared_preload_libraries');
$listener->quit;

$node->stop;
done_testing();
