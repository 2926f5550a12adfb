# What runs in the background, and by how many workers: start, stop, scale,
# channels, settings; with too few processes; in two databases; beside sessions
# that consume the same projection.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $wallets = 40;
my $start = "SELECT projection_start('wallet_balance')";
my $stop = "SELECT projection_stop('wallet_balance')";
my $run = "SELECT projection_run('wallet_balance')";
my $wait = "SELECT projection_wait('wallet_balance', '60 s')";
my $credit =
  "SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, $wallets) i";

my $node = worker_node('control', 'max_worker_processes = 12');

sub query
{
	my ($query, $database) = @_;

	return $node->safe_psql($database // 'postgres', $query);
}

sub wait_until
{
	my ($query, $database) = @_;

	$node->poll_query_until($database // 'postgres', $query)
	  or die "timed out: $query";
	return;
}

# Wait until channels have as many workers as this says, and no other has any:
# {channel, workers, ...}.
sub workers_are
{
	my ($expected, $database) = @_;

	wait_until(<<"SQL", $database);
SELECT coalesce(string_agg(channel || ' ' || workers, ', ' ORDER BY channel), '') = '$expected'
  FROM (SELECT channel, count(*) AS workers FROM projection_workers
         WHERE database = current_database() AND pid IS NOT NULL GROUP BY channel) c
SQL
	pass("workers: $expected" . ($database ? " in $database" : ''));
	return;
}

# The workers apply what comes, in all partitions.
sub follows
{
	my ($name, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	query($credit, $database);
	is(query($wait, $database), 't', "$name: the workers follow");
	consistent($node, $name, $database);
	return;
}

# Nobody applies these events but we, and others may.
sub only_we_apply
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	query($credit);
	workers_are('');
	is(query($run), $wallets, "$name: all events are left to a session");
	consistent($node, $name);
	return;
}

# A setting, by reload.
sub set
{
	my ($name, $value) = @_;

	$node->append_conf('postgresql.conf', "wallet_projection.$name = $value");
	$node->reload;
	return;
}

sub status
{
	return query(
		'SELECT activity, workers, workers_wanted, workers_problem FROM projection_status',
		shift);
}

# What is asked for: it must change nothing in a transaction that is rolled
# back, and be the same when it is repeated.
sub rolled_back
{
	return query("BEGIN; @_; ROLLBACK");
}

sub pids
{
	return query('SELECT string_agg(pid::text, $$,$$ ORDER BY pid) FROM projection_workers');
}

# Is the session's statement waiting for a lock, or has it not waited?
sub waits_for_lock
{
	my ($pid, $statement) = @_;

	wait_until(
		"SELECT query LIKE '$statement%' AND (state = 'idle' OR wait_event_type = 'Lock') FROM pg_stat_activity WHERE pid = $pid"
	);
	return query("SELECT state FROM pg_stat_activity WHERE pid = $pid") eq 'active';
}

# start
install($node);
put_wallets($node, $wallets);
workers_are('async_projection 2');
follows('projection_init');
is(status(), 'running|2|2|', 'they run');

# in a transaction that is rolled back
my $pids = pids();
rolled_back($stop);
rolled_back("SELECT channel_scale('async_projection', 5)");
rolled_back("SELECT projection_set('wallet_balance', 'channel', 'night')");
rolled_back("SELECT projection_delete('wallet_balance')");
follows('changes that are rolled back');
is(pids(), $pids, 'have moved no worker');
query("$start; $start");
follows('a start repeated');
is(pids(), $pids, 'has moved none either');

# stop waits for the batch that is running
query(<<'SQL');
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 -- however slow the machine
    AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
CREATE TRIGGER hold AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION hold();
SQL
my $held =
  "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = 1 AND NOT granted";
my ($holder, $stopper) = map { $node->background_psql('postgres') } 1 .. 2;
my $pid = backend_pid($stopper);
my $count = "SELECT sum(transaction_count) FROM wallet_balances";
$holder->query_safe('SELECT pg_advisory_lock(1)');
my $before = query($count);
query($credit);
wait_until($held);
$stopper->query_until(qr/begun/, "\\echo begun\n$stop;\n\\echo ended\n");
ok(waits_for_lock($pid, 'SELECT projection_stop'), 'a stop waits for the running batch');
is(query($count), $before, 'which has not been committed');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
$stopper->query_until(qr/ended/, '');
my $after = $stopper->query_safe($count);
cmp_ok($after, '>', $before, 'it has when the stop returns');
workers_are('');
is( $stopper->query_safe($run),
	$wallets - ($after - $before),
	'no batch has begun since, but that of a session');
consistent($node, 'stopped');
is(status(), 'stopped|0|0|', 'it is stopped');
query('DROP TRIGGER hold ON wallet_balances');
$node->restart;
$_->quit foreach ($holder, $stopper);
is(status(), 'stopped|0|0|', 'also after a restart');

rolled_back($start);
only_we_apply('a start that is rolled back');
query("$stop; $stop");
only_we_apply('a stop repeated');

# while somebody is about to stop it, nobody begins a batch, nor waits for one
query($start);
workers_are('async_projection 2');
follows('started again');
$node->restart;
workers_are('async_projection 2');
follows('a restart');
foreach my $end ('ROLLBACK', 'COMMIT')
{
	$stopper = $node->background_psql('postgres');
	$stopper->query_safe("BEGIN; $stop");
	query($credit);
	is(query("SELECT projection_wait('wallet_balance', '300 ms')"),
		'f', "no batch begins before a stop, $end");
	is( query(
			"SELECT count(*) FROM pg_stat_activity JOIN projection_workers USING (pid) WHERE xact_start IS NOT NULL AND wait_event_type = 'Lock'"
		),
		'0',
		"and no worker waits, $end");
	$stopper->query_safe($end);
	$stopper->quit;
	is(query($wait), 't', 'after a stop that was rolled back they go on')
	  if $end eq 'ROLLBACK';
}
workers_are('');
is(query($run), $wallets, 'after a stop no batch begins');
query($start);
workers_are('async_projection 2');

# scale
foreach my $workers (5, 1, 3)
{
	query("SELECT channel_scale('async_projection', $workers)");
	workers_are("async_projection $workers");
	follows("scaled to $workers");
}
query("SELECT channel_scale('async_projection', 0)");
workers_are('');
only_we_apply('scaled to 0');
is( status(), 'waiting|0|0|the channel is scaled to 0 workers', 'the status says why');
$node->restart;
only_we_apply('scaled to 0 and restarted');
query("SELECT channel_scale('async_projection', 2)");
workers_are('async_projection 2');
follows('scaled up from 0');
is(sqlstate($node, "SELECT channel_scale($_)"), '22023', "channel_scale($_)")
  foreach ("'async_projection', -1", "'async_projection', 1025", "'', 1");
is(sqlstate($node, "SELECT channel_scale('async_projection', NULL)"),
	'22004', 'channel_scale to null');
is(sqlstate($node, "SELECT channel_scale('nowhere', 1)"),
	'42704', 'channel_scale of a channel that no projection has');

# settings
set('workers', 4);
query("SELECT projection_set('wallet_balance', 'channel', 'night')");
workers_are('night 4');
follows('another channel, of the default size');
set('workers', 1);
workers_are('night 1');
follows('a smaller default');
set('workers', 3);
workers_are('night 3');
follows('a larger default');
set('workers', 0);
workers_are('');
only_we_apply('a default of 0');
is(status(), 'waiting|0|0|the channel is scaled to 0 workers', 'the status says why');
set('workers', 2);
workers_are('night 2');
query("SELECT projection_set('wallet_balance', 'channel', 'async_projection')");
workers_are('async_projection 2');
set('workers', 3);
query("SELECT projection_set('wallet_balance', 'batch_size', '10')");
follows('back in a channel that was scaled');
workers_are('async_projection 2');

set('enabled', 'off');
workers_are('');
only_we_apply('workers disabled');
is(status(), 'waiting|0|2|wallet_projection.enabled is off', 'the status says why');
set('enabled', 'on');
workers_are('async_projection 2');
follows('workers enabled');
is(status(), 'running|2|2|', 'they run again');

# settings that are refused
my %refused = (
	"workers = -1" => qr/-1 is outside the valid range for parameter "wallet_projection.workers" \(0 \.\. 1024\)/,
	"workers = 1025" => qr/1025 is outside the valid range for parameter "wallet_projection.workers" \(0 \.\. 1024\)/,
	"poll_interval = '1ms'" =>
	  qr/1 ms is outside the valid range for parameter "wallet_projection.poll_interval" \(10( ms)? \.\. 3600000( ms)?\)/,
	"poll_interval = '2h'" =>
	  qr/7200000 ms is outside the valid range for parameter "wallet_projection.poll_interval" \(10( ms)? \.\. 3600000( ms)?\)/,
	"batch_memory = '1kB'" =>
	  qr/1 kB is outside the valid range for parameter "wallet_projection.batch_memory" \(1024( kB)? \.\. \d+( kB)?\)/,
	"enabled = 'perhaps'" => qr/parameter "wallet_projection.enabled" requires a Boolean value/,
	"autostart = 'perhaps'" => qr/parameter "wallet_projection.autostart" requires a Boolean value/,
	"wrokers = 1" => qr/invalid configuration parameter name "wallet_projection.wrokers"/);
foreach my $setting (sort keys %refused)
{
	my ($status, $out, $err) =
	  $node->psql('postgres', "SET wallet_projection.$setting");

	# those of postgresql.conf only
	($status, $out, $err) =
	  $node->psql('postgres', "ALTER SYSTEM SET wallet_projection.$setting")
	  if $err =~ /cannot be changed now/;
	like($err, $refused{$setting}, "refused: $setting");
}
my $logged = -s $node->logfile;
set('workers', -1);
$node->wait_for_log($refused{'workers = -1'}, $logged);
pass('refused in postgresql.conf, too');
is(query('SHOW wallet_projection.workers'), 3, 'where the old value stays');
set('workers', 3);

# delete and init
query("SELECT projection_delete('wallet_balance')");
workers_are('');
is(status(), 'stopped|0|0|', 'deleted');
query("SELECT projection_init('wallet_balance')");
workers_are('async_projection 2');
follows('made anew');
query("SELECT projection_delete('wallet_balance')");
query("SET wallet_projection.autostart = off; SELECT projection_init('wallet_balance')");
workers_are('');
is(status(), 'stopped|0|0|', 'made with autostart off');
query($start);
workers_are('async_projection 2');
follows('and started');
query("SELECT projection_delete('wallet_balance')");
is(sqlstate($node, $start), '55000', 'what is deleted is not started');
query("SELECT projection_set('wallet_balance', 'batch_size', '10'); SELECT projection_init('wallet_balance')");

# beside sessions
query("SELECT channel_scale('async_projection', 3)");
my @clients = map { start_client($node, 'psql', '-X', '-c', "CALL projection_consume('async_projection')", '-d') } 1 .. 2;
my $runner = start_load($node, 1, run => "\\set n random(1, 30)\nSELECT projection_run('wallet_balance', :n);\n");
my $writers = start_writers($node, 3, $wallets);
my $looker = $node->background_psql('postgres');
my $head = query('SELECT min(head) + 800 FROM projection_partitions');
my %seen;
until ($looker->query_safe("SELECT min(head) >= $head FROM projection_partitions") eq 't')
{
	$seen{ $looker->query_safe('SELECT not_a_prefix FROM oracle()') }++;
}
$looker->quit;
is(join(',', keys %seen), '0', 'workers and sessions under writers: each row equals a prefix, at any time');
ok(query('SELECT bool_and(batches > 0) FROM projection_workers'), 'all workers had a part in it');
stop_client($_) foreach ($writers, $runner, @clients);
is(query($wait), 't', 'the workers apply what is left');
consistent($node, 'workers and sessions');
is(query('SELECT state FROM projection_status'), 'ready', 'nothing has failed');

# too few processes: one is the launcher's
query("SELECT channel_scale('async_projection', 3)");
$node->append_conf('postgresql.conf',
	"max_worker_processes = 3\nmax_logical_replication_workers = 0");
$logged = -s $node->logfile;
$node->restart;
workers_are('async_projection 2');
follows('fewer workers than wanted');
my $short =
  qr/WARNING:  wallet_projection could not start all workers that are wanted: the server has no worker process left/;
$node->wait_for_log($short, $logged);
like( slurp_file($node->logfile, $logged),
	qr/HINT:  Raise max_worker_processes \(now 3\), or ask for fewer workers with channel_scale\./,
	'the log says what to do');
my $problem = 'no worker process is left: raise max_worker_processes (now 3)';
is(status(), "running|2|3|$problem", 'so does the status');

# a second database
query('CREATE DATABASE other');
install($node, 'other');
query("SELECT count(wallet_create('w' || i, 1000)) FROM generate_series(1, $wallets) i", 'other');
workers_are('async_projection 1', 'other');
workers_are('async_projection 1');
is(status($_), "running|1|3|$problem", "$_ has one worker") foreach ('postgres', 'other');
foreach my $database ('other', 'postgres')
{
	follows("one worker in $database", $database);
}

# let the launcher look again
my $looked = query("SELECT state_change FROM pg_stat_activity WHERE backend_type = 'wallet_projection launcher'");
wait_until(
	"SELECT state_change > '$looked'::timestamptz + interval '1 s' FROM pg_stat_activity WHERE backend_type = 'wallet_projection launcher'"
);
is(() = slurp_file($node->logfile, $logged) =~ /$short/g, 1, 'the log says it once');
workers_are('async_projection 1', $_) foreach ('postgres', 'other');

query("SELECT channel_scale('async_projection', 1)", $_) foreach ('postgres', 'other');
$node->wait_for_log(qr/LOG:  wallet_projection has all workers that are wanted/, $logged);
is(status($_), 'running|1|1|', "$_ has all that it wants") foreach ('postgres', 'other');

# with enough of them
$node->append_conf('postgresql.conf', 'max_worker_processes = 12');
$node->restart;
query("SELECT channel_scale('async_projection', 3)", $_) foreach ('postgres', 'other');
workers_are('async_projection 3', $_) foreach ('postgres', 'other');
query("$credit; $credit; $credit", $_) foreach ('postgres', 'other');
follows("two databases: $_", $_) foreach ('postgres', 'other');
query($stop);
workers_are('');
follows('the other one stopped', 'other');
only_we_apply('stopped in one database');

$node->stop;
done_testing();
