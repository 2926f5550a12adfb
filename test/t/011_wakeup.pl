# Who wakes the workers, and who does not; that they sleep otherwise; and
# projection_wait.  A worker's state_change in pg_stat_activity moves whenever
# it wakes up.  With a poll interval of an hour its naps still begin short and
# double: one that it has slept in for 1.3 s lasts for 2.5 s at least.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use WalletTest;

my $workers = 4;
my $start = "SELECT projection_start('wallet_balance')";
my $stop = "SELECT projection_stop('wallet_balance')";
my $run = "SELECT projection_run('wallet_balance')";

my $node = worker_node('wakeup',
	'max_prepared_transactions = 2',
	"wallet_projection.workers = $workers",
	"wallet_projection.poll_interval = '1h'");

# of all sessions one that looks, and two that write
my ($observer, $writer, $other) = map { $node->background_psql('postgres') } 1 .. 3;
# it is not to be told why a wait has been in vain
$observer->query_safe('SET client_min_messages = warning');
$writer->query_safe('SET client_min_messages = error');

sub query
{
	return $observer->query_safe(shift);
}

# Often, to see what happens within milliseconds.
sub wait_until
{
	my ($query) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until (query($query) eq 't')
	{
		die "timed out: $query" if time > $deadline;
		usleep(5000);
	}
	return;
}

sub credit
{
	my ($wallet) = @_;

	return "SELECT wallet_credit('$wallet', 1)";
}

sub applied
{
	my ($wallet) = @_;

	return "SELECT count(*) = 1 FROM wallet_balances JOIN (SELECT aggregate_id, max(aggregate_version) AS version"
	  . " FROM wallet_stream GROUP BY 1) s ON aggregate_id = wallet_id"
	  . " AND version = transaction_count + 1 WHERE wallet_id = '$wallet'";
}

sub activity
{
	my ($pid) = @_;

	return query("SELECT state_change FROM pg_stat_activity WHERE pid = $pid");
}

# Wait until a worker is in a long nap.
sub asleep_for
{
	my ($time, $pid) = @_;

	wait_until(
		"SELECT state = 'idle' AND clock_timestamp() - state_change > '$time' FROM pg_stat_activity WHERE pid = $pid");
	return;
}

# Two wallets of each worker, which have no events while these come to be.
my %wallets;

sub find_wallets
{
	my $workers_pids = "SELECT string_agg(pid || ' ' || events, ',' ORDER BY pid) FROM projection_workers";
	my ($number, $found) = (0, 0);

	while ($found < $workers)
	{
		my %before = map { split / / } split(/,/, query($workers_pids));

		$number++;
		query("SELECT wallet_create('w$number', 1000)");
		wait_until("SELECT sum(events) = $number FROM projection_workers");
		my %after = map { split / / } split(/,/, query($workers_pids));

		foreach (keys %after)
		{
			next if $after{$_} == $before{$_};
			push @{ $wallets{$_} }, "w$number";
			$found++ if @{ $wallets{$_} } == 2;
		}
	}
	return;
}

install($node);
wait_until("SELECT count(pid) = $workers AND bool_and(clock_timestamp() - since > '0.1 s') FROM projection_workers");
find_wallets();
my ($control, $sleeper, $second, $third) = keys %wallets;
my $wallet = $wallets{$sleeper}[0];

# Does the worker sleep on when this is done?  A worker that is woken later
# than it would be has come, too.  As a nap may end just then, it is tried
# again.
sub leaves_asleep
{
	my ($pid, $name, $action) = @_;
	my $asleep;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach (1 .. 3)
	{
		asleep_for('0.7 s', $pid);
		my $before = activity($pid);

		$action->();
		query(credit($wallets{$control}[0]));
		wait_until(applied($wallets{$control}[0]));
		$asleep = activity($pid) eq $before;
		last if $asleep;
	}
	ok($asleep, "$name wakes nobody");
	return;
}

# Is the worker woken by this, so that it applies the event?  Before its nap
# is over.
sub wakes
{
	my ($pid, $name, $action) = @_;
	my $begun;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	asleep_for('1.3 s', $pid);
	$begun = time;
	$action->();
	wait_until(applied($wallets{$pid}[0]));
	cmp_ok(time - $begun, '<', 1, "$name wakes its worker");
	return;
}

# An event that the extension does not write.
sub plain_insert
{
	my ($key) = @_;

	query(<<"SQL");
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet', '$key', max(aggregate_version) + 1, '{"amount": 5}'
  FROM wallet_stream WHERE aggregate_id = '$key'
SQL
	return;
}

# wakes nobody
leaves_asleep($sleeper, 'an event of another worker', sub { });
leaves_asleep($sleeper, 'a transaction that is rolled back',
	sub { query('BEGIN;' . credit($wallet) . '; ROLLBACK') });
leaves_asleep($sleeper, 'a transaction that fails',
	sub { $node->psql('postgres', 'BEGIN;' . credit($wallet) . '; SELECT 1/0; COMMIT') });
leaves_asleep(
	$sleeper,
	'a savepoint that is rolled back',
	sub {
		query('BEGIN; SAVEPOINT a;' . credit($wallet) . "; ROLLBACK TO a; SAVEPOINT b; SAVEPOINT c;"
			  . credit($wallet) . '; RELEASE c; ROLLBACK TO b; COMMIT');
	});
leaves_asleep($sleeper, 'an event of another type',
	sub { query("SELECT stream_append('wallet_stream', 'Other', '$wallet', '[{\"event_name\": \"e\", \"payload\": {}}]')") });
query("DELETE FROM wallet_stream WHERE aggregate_type = 'Other'");
leaves_asleep($sleeper, 'a prepared transaction',
	sub { query('BEGIN;' . credit($wallet) . "; PREPARE TRANSACTION 'w'; ROLLBACK PREPARED 'w'") });
leaves_asleep($third, 'a plain INSERT', sub { plain_insert($wallets{$third}[1]) });

# before the commit, and after it
leaves_asleep($sleeper, 'an open transaction',
	sub { $writer->query_safe('ROLLBACK; BEGIN;' . credit($wallet)) });
wakes($sleeper, 'a commit', sub { $writer->query_safe('COMMIT') });
leaves_asleep($second, 'an event of yet another worker',
	sub { query(credit($wallet)); wait_until(applied($wallet)) });
wakes($second, 'a savepoint that is released',
	sub { query('BEGIN; SAVEPOINT a;' . credit($wallets{$second}[0]) . '; RELEASE a; COMMIT') });

# foreign writers
query("SELECT stream_notify('wallet_stream', true)");
wakes($third, 'with stream_notify a plain INSERT', sub { plain_insert($wallets{$third}[0]) });
query("SELECT stream_notify('wallet_stream', false)");
leaves_asleep($sleeper, 'without it again, a plain INSERT', sub { plain_insert($wallet) });
wakes($sleeper, 'the next event', sub { query(credit($wallet)) });

# COMMIT PREPARED tells nobody: it is found by polling, in a gap too
$node->append_conf('postgresql.conf', "wallet_projection.poll_interval = '200ms'");
$node->reload;
query('BEGIN;' . credit($wallet) . "; PREPARE TRANSACTION 'w'");
query(credit($_)) foreach map { @$_[1] } values %wallets;
wait_until(applied($_)) foreach map { @$_[1] } values %wallets;
ok(query("SELECT max(gaps) > 0 FROM projection_status"), 'the prepared event is a gap');
query("COMMIT PREPARED 'w'");
wait_until(applied($wallet));
wait_until('SELECT max(gaps) = 0 FROM projection_status');
consistent($node, 'a prepared transaction is found by polling');

# idle, at the default poll interval
$node->append_conf('postgresql.conf', "wallet_projection.poll_interval = '500ms'");
$node->reload;
my $all = join(',', sort keys %wallets);

sub in_workers
{
	my ($condition) = @_;

	return "SELECT bool_and($condition) FROM pg_stat_activity WHERE pid IN ($all)";
}

# CPU time of the workers, in ticks.
sub ticks
{
	my $sum = 0;

	foreach (keys %wallets)
	{
		my @stat = split / /, slurp_file("/proc/$_/stat") =~ s/^.*\) //sr;
		$sum += $stat[11] + $stat[12];
	}
	return $sum;
}

# naps of 0.5 s
asleep_for('0.4 s', $_) foreach keys %wallets;
wait_until(in_workers('backend_xid IS NULL AND backend_xmin IS NULL AND xact_start IS NULL'));
pass('idle workers have no transaction open');
my $wal = query('SELECT pg_current_wal_insert_lsn()');
my $began = query('SELECT clock_timestamp()');
my $ticks = -r "/proc/$sleeper/stat" ? ticks() : undef;
my $batches = query('SELECT sum(batches) FROM projection_workers');
wait_until("SELECT clock_timestamp() > '$began'::timestamptz + interval '2 s'");
is(query('SELECT pg_current_wal_insert_lsn()'), $wal, 'they write no WAL');
is(query('SELECT sum(batches) FROM projection_workers'), $batches, 'and apply nothing');
SKIP:
{
	skip 'no /proc', 1 unless defined $ticks;
	$ticks = ticks() - $ticks;
	cmp_ok($ticks, '<=', 2 * $workers, 'and need hardly any CPU');
	note("$ticks ticks");
}
ok(query(in_workers("state_change > '$began'::timestamptz + interval '1 s'")), 'though they have looked');

# projection_wait
sub waited
{
	my ($session, $time) = @_;

	return $session->query_safe("SELECT projection_wait('wallet_balance', '$time')");
}

my ($one, $two) = @{ $wallets{$sleeper} };
$node->append_conf('postgresql.conf', "wallet_projection.poll_interval = '1h'");
$node->reload;
foreach (1 .. 20)
{
	query(credit("w$_")) foreach (1 .. 2);
	last if waited($observer, '20 s') ne 't' or query('SELECT * FROM oracle()') ne '0|0';
}
is(query('SELECT * FROM oracle()'), '0|0', 'what is committed is applied when a wait returns');
$writer->query_safe('BEGIN;' . credit($one));
is(waited($writer, '20 s'), 't', 'a wait does not wait for its own transaction');
query(credit($two));
is(waited($observer, '20 s'), 't', 'nor for that of another session');
is(query(applied($two)), 't', 'but for what was committed');
$writer->query_safe('COMMIT');
is(waited($observer, '20 s'), 't', 'until that is committed, too');
is(query(applied($one)), 't', 'and is applied then');

# changes of what is to run are not found by polling
asleep_for('1.3 s', $_) foreach split /,/, query('SELECT string_agg(pid::text, $$,$$) FROM projection_workers');
my $changed = time;
query("SELECT projection_set('wallet_balance', 'channel', 'night')");
wait_until("SELECT count(*) = $workers AND bool_and(channel = 'night' AND pid IS NOT NULL) FROM projection_workers");
cmp_ok(time - $changed, '<', 1, 'a change of the channel wakes all');

query($stop);
is(waited($observer, '0'), 't', 'nothing is left to wait for');
$writer->query_safe('BEGIN;' . credit($one));
$other->query_safe(credit($two));
my $begun = time;
is(waited($observer, '0.3 s'), 'f', 'stopped: a wait ends in vain');
cmp_ok(time - $begun, '>=', 0.3, 'when its time is over');
is(query($run), 1, 'a session applies it');
is(waited($observer, '0.3 s'), 't', 'then it does not');
$writer->query_safe('COMMIT');
is(waited($observer, '0.3 s'), 'f', 'a late commit fills a gap: it is waited for');
is(query($run), 1, 'until it is applied');
is(waited($observer, '0.3 s'), 't', 'and no longer');

query(credit($one));
my $waiter = backend_pid($other);
$other->query_until(qr/begun/, "\\echo begun\nSELECT 'waited: ' || projection_wait('wallet_balance', '20 s');\n\\echo ended\n");
wait_until("SELECT query LIKE '%projection_wait%' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $waiter");
query($start);
like($other->query_until(qr/ended/, ''), qr/waited: true/, 'a wait that began before the start sees its end');
consistent($node, 'after all');

$_->quit foreach ($observer, $writer, $other);
$node->stop;
done_testing();
