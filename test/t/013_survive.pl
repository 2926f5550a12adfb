# Background workers survive what is done to them and around them, with nobody's
# help: cancelled, terminated, a shutdown in the middle of a batch, tables that
# are altered under them, a read model that refuses rows, a disk that does.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WalletTest qw(:DEFAULT query wait_until logged log_end);

my $node = worker_node('survive', "wallet_projection.poll_interval = '100ms'");
my $workers = 3;
my $holder;

sub pids
{
	return query(
		"SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE backend_type LIKE 'wallet_projection worker%'"
	);
}

sub launcher
{
	return query(
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'wallet_projection launcher'"
	);
}

sub wait_for_workers
{
	wait_until("SELECT count(pid) = $workers AND count(*) = $workers FROM projection_workers");
	return;
}

# An event for each partition, so that each worker has something to do.
sub credit_all
{
	query("SELECT count(wallet_credit('w' || i, i)) FROM generate_series(1, 100) i");
	return;
}

# Have the workers stop in the middle of a batch, until let_go().
sub hold_up
{
	$holder = $node->background_psql('postgres');
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	credit_all();
	wait_until(
		"SELECT count(*) = $workers FROM pg_locks JOIN projection_workers USING (pid) WHERE locktype = 'advisory' AND objid = 1 AND NOT granted AND state = 'applying'"
	);
	return;
}

sub let_go
{
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$holder->quit;
	return;
}

sub signal_all
{
	my ($function) = @_;

	query(
		"SELECT $function(pid) FROM pg_stat_activity WHERE backend_type LIKE 'wallet_projection worker%'"
	);
	return;
}

# Others are there instead of these, and soon.
sub replaced
{
	my ($old, $name) = @_;
	my $begun = time;

	wait_until(
		"SELECT count(*) = $workers AND bool_and(pid <> ALL (ARRAY[$old])) FROM projection_workers WHERE pid IS NOT NULL"
	);
	cmp_ok(time - $begun, '<', 5, "$name: others come instead");
	return;
}

install($node, 'postgres', batch_size => 200);
put_wallets($node, 100);
query("SELECT channel_scale('async_projection', $workers)");
query(<<'SQL');
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
CREATE TRIGGER hold AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION hold();
SQL
wait_for_workers();
caught_up($node, 'at first');

# workers: cancelled they stay, terminated they are replaced
my $pids = pids();
signal_all('pg_cancel_backend');
credit_all();
caught_up($node, 'idle workers cancelled');
is(pids(), $pids, 'they stay');

signal_all('pg_terminate_backend');
replaced($pids, 'idle workers terminated');
credit_all();
caught_up($node, 'idle workers terminated');

$pids = pids();
hold_up();
my $offset = log_end();
signal_all('pg_cancel_backend');
$node->wait_for_log(
	qr/(?:a batch of channel "async_projection" was cancelled and will be done again.*){$workers}/s,
	$offset);
is(query('SELECT state FROM projection_status'),
	'ready', 'a cancelled batch is no failure of the projection');
is_prefix($node, 'batches cancelled');
let_go();
caught_up($node, 'batches cancelled');
is(pids(), $pids, 'their workers stay');

hold_up();
signal_all('pg_terminate_backend');
replaced($pids, 'workers terminated in a batch');
is_prefix($node, 'workers terminated in a batch');
let_go();
caught_up($node, 'workers terminated in a batch');
is(query('SELECT state FROM projection_status'), 'ready', 'nor is that a failure');

# the launcher
my $launcher = launcher();
query("SELECT pg_cancel_backend($launcher)");
$pids = pids();
signal_all('pg_terminate_backend');
replaced($pids, 'launcher cancelled');
is(launcher(), $launcher, 'a cancelled launcher stays, and does its work');

$pids = pids();
query("SELECT pg_terminate_backend($launcher)");
wait_until(
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'wallet_projection launcher' AND pid <> $launcher"
);
$node->wait_for_log(qr/\[@{[launcher()]}\].*wallet_projection launcher started/);
is(pids(), $pids, 'a terminated launcher is replaced, and its workers stay');
signal_all('pg_terminate_backend');
replaced($pids, 'workers of an earlier launcher terminated');

$pids = pids();
$launcher = launcher();
hold_up();
query("SELECT pg_terminate_backend($launcher)");
signal_all('pg_terminate_backend');
replaced($pids, 'launcher and workers terminated');
let_go();
caught_up($node, 'launcher and workers terminated');

# shutdown in the middle of a batch
hold_up();
my $begun = time;
$node->stop('fast');
cmp_ok(time - $begun, '<', 10, 'a fast shutdown does not wait for batches');
eval { $holder->quit };
$node->start;
wait_for_workers();
caught_up($node, 'after a shutdown in a batch');
query('DROP TRIGGER hold ON wallet_balances');

# tables that are altered while writers write
my $writers = start_writers($node, 2, 100);
foreach my $change (
	'wallet_balances ADD COLUMN note text',
	q{wallet_balances ADD COLUMN seen timestamptz DEFAULT clock_timestamp()},
	'wallet_balances ALTER COLUMN current_balance TYPE numeric(30,4)',
	'wallet_balances ALTER COLUMN transaction_count TYPE bigint',
	'wallet_balances ALTER COLUMN transaction_count TYPE integer',
	'wallet_balances ALTER COLUMN wallet_id TYPE text',
	'wallet_balances DROP COLUMN note',
	'wallet_balances SET (fillfactor = 50)',
	'wallet_stream ADD COLUMN note text',
	q{wallet_stream ADD COLUMN seen timestamptz DEFAULT clock_timestamp()},
	'wallet_stream DROP COLUMN note',
	'wallet_stream ALTER COLUMN payload SET STORAGE external')
{
	query("ALTER TABLE $change");

	my $last = query('SELECT last_position FROM projection_status');
	wait_until("SELECT min(head) >= $last FROM projection_partitions");
	is(query('SELECT state, last_error FROM projection_status'),
		'ready|', "ALTER TABLE $change");
}
query('VACUUM FULL wallet_balances');
query('CLUSTER wallet_stream USING wallet_stream_pkey');
stop_writers($node, $writers);
caught_up($node, 'tables altered');

# a type that the projection does not write
$writers = start_writers($node, 2, 100);
query('ALTER TABLE wallet_balances ALTER COLUMN total_debits TYPE double precision');
wait_until("SELECT state = 'failed' FROM projection_status");
is( query('SELECT last_error FROM projection_status'),
	'42804: column "total_debits" of read model "wallet_balances" has type double precision DETAIL: The projection writes numeric.',
	'a type that does not fit is an error that says so');
query('ALTER TABLE wallet_balances ALTER COLUMN total_debits TYPE numeric(19,4)');
wait_until("SELECT state = 'ready' FROM projection_status");
stop_writers($node, $writers);
caught_up($node, 'the type changed back');

# a row that the read model refuses, where no key may be parked
$offset = log_end();
query("SELECT projection_set('wallet_balance', 'max_parked', '0')");
query("ALTER TABLE wallet_balances ADD CONSTRAINT good CHECK (wallet_id <> 'bad')");
query("SELECT wallet_create('bad', 1)");
credit_all();
wait_until(
	"SELECT count(*) = 1 FROM projection_workers WHERE state = 'waiting for retry' AND last_error LIKE '%\"bad\"%'"
);
like( query('SELECT state, last_error FROM projection_status'),
	qr/^failed\|23514: projection "wallet_balance" cannot apply .*"bad".*"good"/,
	'a constraint that fails is in the status');
foreach my $retry (1, 2)
{
	my $since =
	  query("SELECT since FROM projection_workers WHERE state = 'waiting for retry'");

	wait_until(
		"SELECT since <> '$since' FROM projection_workers WHERE state = 'waiting for retry'");
}
is(logged('projection "wallet_balance" failed', $offset), 1, 'and once in the log');
is_prefix($node, 'with a constraint that fails');
is( query('SELECT count(*) > 0 FROM projection_partitions WHERE lag_events = 0'),
	't',
	'other workers go on');
query('ALTER TABLE wallet_balances DROP CONSTRAINT good');
query("SELECT projection_set('wallet_balance', 'max_parked', '1000')");
wait_until("SELECT state = 'ready' FROM projection_status");
$node->wait_for_log(qr/projection "wallet_balance" is well again/, $offset);
caught_up($node, 'without the constraint');
is( query(
		"SELECT count(*) FROM projection_workers WHERE state <> 'waiting for retry' AND last_error IS NULL"
	),
	$workers,
	'and the workers say so');

# A disk that refuses to be written to: files can grow to 17 MB, which is more
# than a segment of WAL, and less than the rows, one to a page.
sub limit_files
{
	my ($limit) = @_;

	system_or_bail('prlimit', '--pid', $$, "--fsize=$limit:");
	return;
}

query(<<'SQL');
ALTER TABLE wallet_balances ADD COLUMN filler text DEFAULT repeat('x', 5000), ALTER COLUMN filler SET STORAGE plain;
SQL
$node->stop;
limit_files(17 * 1024 * 1024);
$node->start;
limit_files('unlimited');
wait_for_workers();
query("SELECT count(wallet_create('big' || i, 1)) FROM generate_series(1, 2200) i");
wait_until(
	"SELECT state = 'failed' AND last_error LIKE '%File too large%' FROM projection_status");
wait_until("SELECT count(*) > 0 FROM projection_workers WHERE state = 'waiting for retry'");
is_prefix($node, 'a file cannot grow');
is(query('SELECT behind > 0 FROM oracle()'), 't', 'some events are not applied');
$node->restart;
caught_up($node, 'when it can');
wait_until("SELECT state = 'ready' FROM projection_status");

$node->stop;
done_testing();
