# The random multi-session test.  Prints lines of TAP, what was done, and the
# seed; exit status 1 if anything is wrong.  Run it by `run`.
#
#   --seconds N    how long the sessions go on (20; some more seconds are spent
#                  before and after)
#   --seed S       of what the sessions choose (from the clock); what comes of
#                  it depends on the scheduler as well
#   --writers W    (6)
#   --consumers C  (3)
#   --crashes K    kill -9 of a server process, so many times (0)
#
# While the sessions run, their errors are known ones, and each look of the
# checker must find the read model to be what the positions say (Checker.pm).
# Afterwards what is left is applied, and everything is held against a
# recomputation from the events.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Getopt::Long;
use IO::Select;
use List::Util qw(sum0);
use POSIX ();
use Time::HiRes qw(sleep time);

use Checker;
use Consumer;
use Declared qw(declared);
use Nuisance;
use Session;
use Wallets qw(all_wallets partition_hash DUELS_PER_SECOND);
use Writer;

binmode($_, ':encoding(UTF-8)') foreach (\*STDOUT, \*STDERR);
$| = 1;

my %options = (
	seconds => 20,
	seed => time % 1_000_000,
	writers => 6,
	consumers => 3,
	crashes => 0);
GetOptions(map { ("$_=i" => \$options{$_}) } keys %options)
  && !@ARGV
  or die "usage: torture/run [--seconds N] [--seed S] [--writers W]"
  . " [--consumers C] [--crashes K]\n";

# how many seconds, after the time is over, the sessions may take to end
use constant PATIENCE => 30;

# what a run of the default length must have done
my @must_happen = (
	qw(command append insert insert_many copy foreign_type sprint duel check),
	'repeated call', 'savepoint rolled back',
	'transaction committed', 'transaction committed (long)',
	'transaction rolled_back', 'transaction prepared',
	'transaction prepared (long)', 'prepared (very long)',
	'COMMIT PREPARED', 'ROLLBACK PREPARED',
	qw(projection_consume projection_backfill batch),
	(map { "batch of $_" } declared()),
	(map { "batch, then $_" } qw(COMMIT ROLLBACK PREPARE)),
	'append and batch', 'writer as consumer',
	'refused in an old snapshot',
	qw(pg_terminate_backend pg_cancel_backend projection_set projection_reset),
	'projection_delete, projection_init', 'rows locked', 'ALTER DATABASE');

my $seconds = $options{seconds};
my $run = {
	database => "torture_$$",
	seconds => $seconds,
	crashes => $options{crashes},
	cold => Writer::cold_wallets_after($seconds) + 20 };
my %counts;
my %crashes;
my @failures;
my $tests = 0;
my $failed = 0;

sub ok
{
	my ($name, @complaints) = @_;

	$tests++;
	$failed++ if @complaints;
	print @complaints ? 'not ok' : 'ok', " $tests - $name\n";
	foreach my $complaint (@complaints)
	{
		print "# $_\n" foreach (split(/[\n\t]+/, $complaint));
	}
	return;
}

#
# Before
#

sub administer
{
	my ($statement) = @_;
	my $dbh = DBI->connect('dbi:Pg:dbname=' . ($ENV{PGDATABASE} // 'postgres'),
		undef, undef, { RaiseError => 1, PrintError => 0 });

	$dbh->do($statement);
	$dbh->disconnect;
	return;
}

sub set_up
{
	my $session;

	administer("CREATE DATABASE $run->{database}"
		  . q( TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'));
	$run->{started} = time;
	$run->{reports} = \*STDERR;
	$session = Session->new('main', $run);
	$session->execute($_)
	  foreach (
		'CREATE EXTENSION wallet_projection',
		'CREATE SCHEMA torture',
		'CREATE TABLE torture.wallet (id text COLLATE "C" PRIMARY KEY,
			hash numeric, commands_only boolean NOT NULL)');
	die "max_prepared_transactions is 0\n"
	  if $session->query('SHOW max_prepared_transactions') == 0;
	$session->query(q(SELECT stream_create('other_stream')));
	$session->query(
		q(SELECT projection_set('wallet_balance', 'batch_size', '200')));
	$session->query(q(SELECT projection_init('wallet_balance')));
	Declared::set_up($session);
	$session->execute('BEGIN');
	$session->execute('INSERT INTO torture.wallet VALUES (?, ?, ?)',
		$_, partition_hash($_), /^c/ ? 1 : 0)
	  foreach (all_wallets($run->{cold},
			$seconds * DUELS_PER_SECOND + 10,
			$options{writers}));
	$session->execute('COMMIT');
	$session->execute('ANALYZE torture.wallet');
	$session->disconnect;
	return;
}

#
# The sessions
#

# Starts a process; returns its id.
sub start
{
	my ($index, $work, $number) = @_;
	my $pid = fork;

	die "cannot fork: $!\n" unless defined $pid;
	return $pid if $pid;
	srand($options{seed} * 1000 + $index);
	eval { $work->($run, $number); 1 }
	  or syswrite($run->{reports}, "fail $@\n");
	POSIX::_exit(0);
}

# Runs all sessions to their end, or until one has found something wrong.
sub run_sessions
{
	my @jobs = (
		(map { [ \&Writer::work, $_ ] } 0 .. $options{writers} - 1),
		(map { [ \&Consumer::work, $_ ] } 0 .. $options{consumers} - 1),
		[ \&Nuisance::work, 0 ],
		[ \&Checker::work, 0 ]);
	my @pids;
	my $reader;

	pipe($reader, $run->{reports}) or die "cannot make a pipe: $!\n";
	$run->{started} = time;
	$run->{ends} = $run->{started} + $seconds;
	@pids = map { start($_, @{ $jobs[$_] }) } 0 .. $#jobs;
	close($run->{reports});
	read_reports($reader);
	# all have ended, or need not go on
	kill('TERM', @pids);
	waitpid($_, 0) foreach (@pids);
	return;
}

sub read_reports
{
	my ($reader) = @_;
	my $select = IO::Select->new($reader);
	my $buffer = '';

	while (!@failures)
	{
		if (!$select->can_read($run->{ends} + PATIENCE - time))
		{
			push(@failures, 'sessions do not end', waiting_sessions());
			last;
		}
		sysread($reader, $buffer, 65536, length($buffer)) or last;
		while ($buffer =~ s/^(\w+) (.*)\n//)
		{
			my ($kind, $text) = ($1, $2);

			utf8::decode($text);
			push(@failures, $text) if $kind eq 'fail';
			$counts{$2} += $1
			  if $kind eq 'count' && $text =~ /^(\d+) (.*)/;
			crashed($1, $2) if $kind eq 'crashed' && $text =~ /^(\S+) (.*)/;
		}
	}
	return;
}

# Who waits for whom; 0 is a prepared transaction.
sub waiting_sessions
{
	my $session = Session->new('main', $run);
	my @rows = $session->rows(q(
		SELECT application_name AS role, pid, pg_blocking_pids(pid) AS waits_for,
		       wait_event, query,
		       (SELECT array_agg(format('%s %s', locktype, mode)) FROM pg_locks l
		         WHERE l.pid = a.pid AND NOT granted) AS lock
		  FROM pg_stat_activity a
		 WHERE datname = current_database() AND state <> 'idle'
		   AND pid <> pg_backend_pid()));

	$session->disconnect;
	return map { describe($_) } @rows;
}

# A session has met a server that was started again at this time.
sub crashed
{
	my ($start, $statement) = @_;

	$crashes{$start} = 1;
	push(@failures, "the server crashed, perhaps by this: $statement")
	  if keys %crashes > $run->{crashes};
	return;
}

#
# After
#

# Ends what the sessions have left behind, and applies what is left.
sub settle
{
	my ($session) = @_;
	my @prepared;

	$session->query(q(
		SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
		 WHERE datname = current_database() AND pid <> pg_backend_pid()
		   AND backend_type = 'client backend'));
	@prepared = $session->rows(q(
		SELECT gid FROM pg_prepared_xacts
		 WHERE database = current_database() ORDER BY random()));
	$session->execute(
		(rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$_->{gid}'")
	  foreach (@prepared);
	$session->execute(
		q(CALL projection_consume('async_projection', finish_when_no_messages => true)));
	# those whose row was locked when their turn came
	$session->query(q(SELECT dead_letter_replay_all(?)), $_)
	  foreach ('wallet_balance', declared());
	$session->execute(q(CALL projection_consume('async_projection',
		stop_on_failure => true, finish_when_no_messages => true)));
	return;
}

# A query that must find nothing.
sub none
{
	my ($session, $name, $sql) = @_;
	my @rows;

	eval { @rows = $session->rows("$sql LIMIT 5"); 1 }
	  or @rows = ({ error => ref $@ ? $@->{message} : $@ });
	ok($name, map { describe($_) } @rows);
	return;
}

sub describe
{
	my ($row) = @_;
	return join(', ',
		map {
			my $value = $row->{$_} // 'NULL';
			"$_ " . (ref $value ? "(@$value)" : $value)
		} sort keys %$row);
}

my $wallet_event = q(
	SELECT no, aggregate_id AS wallet_id, aggregate_version AS version,
	       event_name AS name, (metadata->'_balance'->>0)::numeric AS snapshot,
	       coalesce(payload->>'amount', payload->>'initialBalance')::numeric
	       * CASE event_name WHEN 'WalletWasDebited' THEN -1
	         WHEN 'WalletWasRenamed' THEN 0 ELSE 1 END AS change
	  FROM wallet_stream WHERE aggregate_type = 'Wallet');
my $running = qq(
	SELECT *, sum(change) OVER (PARTITION BY wallet_id ORDER BY version) AS balance
	  FROM ($wallet_event) e);

sub check_the_end
{
	my ($session) = @_;

	none($session, 'all rows equal a recomputation', qq(
		SELECT coalesce(e.wallet_id, b.wallet_id) AS wallet_id, b.*, e.*
		  FROM (SELECT wallet_id, sum(change),
		               coalesce(-sum(change) FILTER (WHERE name = 'WalletWasDebited'), 0),
		               coalesce(sum(change) FILTER (WHERE name = 'WalletWasCredited'), 0),
		               count(*) FILTER (WHERE name ~ 'Debited|Credited')
		          FROM ($wallet_event) e GROUP BY wallet_id
		       ) e (wallet_id, balance, debits, credits, transactions)
		  FULL JOIN wallet_balances b ON b.wallet_id = e.wallet_id
		 WHERE (e.balance, e.debits, e.credits, e.transactions) IS DISTINCT FROM
		       (b.current_balance, b.total_debits, b.total_credits, b.transaction_count)));
	none($session, 'every head is the last number, and there are no gaps', q(
		SELECT p.*, s.last_value
		  FROM projection_partitions p, wallet_stream_no_seq s
		 WHERE p.head <> s.last_value OR NOT isempty(p.gaps)));
	none($session, 'no lag', q(
		SELECT * FROM projection_status
		 WHERE (lag_events, gaps, state, parked) IS DISTINCT FROM (0, 0, 'ready', 0)));
	none($session, 'versions are 1 to n, in the order of the numbers', q(
		SELECT * FROM (
			SELECT no, aggregate_type, aggregate_id, aggregate_version,
			       row_number() OVER (PARTITION BY aggregate_type, aggregate_id
			                          ORDER BY no) AS expected
			  FROM wallet_stream) e
		 WHERE aggregate_version <> expected));
	none($session, 'no wallet was ever overdrawn by commands', qq(
		SELECT * FROM ($running) e JOIN torture.wallet w ON w.id = e.wallet_id
		 WHERE commands_only AND balance < 0));
	none($session, 'the balances that commands wrote into events are true', qq(
		SELECT * FROM ($running) e WHERE snapshot <> balance));
	none($session, 'a call made by many at once was made once', q(
		SELECT aggregate_id, count(*) FROM wallet_stream
		 WHERE aggregate_id LIKE 'd-%' GROUP BY 1 HAVING count(*) <> 3));
	my @checks = Declared::checks();
	none($session, splice(@checks, 0, 2)) while @checks;
	return;
}

sub finish
{
	my $session;

	ok('everything that can happen did',
		map { "never: $_" } grep { !$counts{$_} } @must_happen)
	  if $seconds >= 20;
	$run->{reports} = \*STDERR;
	$session = Session->new('main', $run);
	ok('what was left was applied',
		eval { settle($session); 1 } ? () : ref $@ ? $@->{message} : $@);
	check_the_end($session);
	print_counts($session);
	$session->disconnect;
	return;
}

sub print_counts
{
	my ($session) = @_;
	my ($events, $drawn) = $session->query(
		'SELECT count(*), (SELECT last_value FROM wallet_stream_no_seq)
		   FROM wallet_stream');

	printf "# %d events, %d numbers drawn, %d checks,"
	  . " %d errors that the test caused\n",
	  $events, $drawn, $counts{check} // 0,
	  sum0(map { $counts{$_} } grep { /^error / } keys %counts);
	printf "# %8d %s\n", $counts{$_}, $_ foreach (sort keys %counts);
	return;
}

print "# seed $options{seed}, $seconds s, $options{writers} writers,"
  . " $options{consumers} consumers, $options{crashes} crashes\n";
set_up();
run_sessions();
ok('while it ran, rows were what positions say, and errors known ones',
	@failures);
finish() unless @failures;
print "1..$tests\n";
if ($failed)
{
	print "# seed $options{seed}; see database $run->{database}\n";
	exit 1;
}
administer("DROP DATABASE $run->{database}");
