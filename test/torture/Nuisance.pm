# What else happens to a database: sessions that are killed, maintenance, other
# people's DDL, rows that others lock, settings, a projection that is set, reset
# or made anew while it runs, a crash.

package Nuisance;

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Declared qw(declared);
use Session qw(chance choose between);

my @maintenance = (
	'VACUUM wallet_stream',
	'VACUUM wallet_balances',
	'VACUUM FULL wallet_balances',
	'VACUUM wallet_projection.position',
	'ANALYZE',
	'REINDEX TABLE wallet_balances',
	'VACUUM torture.by_wallet, torture.in_order',
	'VACUUM FULL torture.as_they_come',
	'REINDEX TABLE torture.in_order',
	'CHECKPOINT',
	q(SELECT projection_init('wallet_balance')),
);

# for sessions that connect from now on
my @settings = (
	q(DateStyle = 'SQL, DMY'), q(IntervalStyle = sql_standard),
	q(TimeZone = 'Asia/Kathmandu'), 'extra_float_digits = -15',
	'bytea_output = escape', 'xmloption = document', 'array_nulls = off',
	'transform_null_equals = on', 'quote_all_identifiers = on',
	'row_security = off', 'enable_indexscan = off',
	'enable_indexonlyscan = off', 'enable_seqscan = off',
	'plan_cache_mode = force_generic_plan', 'parallel_setup_cost = 0',
	q(work_mem = '64kB'), q(wallet_projection.batch_memory = '1MB'),
	'check_function_bodies = off', q(default_tablespace = 'pg_default'),
	q(lc_messages = 'C'), 'synchronous_commit = off');

sub work
{
	my ($run, $number) = @_;
	my $session = Session->new('nuisance', $run, "lock_timeout = '300ms'");
	my $self = bless {
		session => $session,
		run => $run,
		columns => 0,
		crashes => 0,
		started_again => 0,
	}, __PACKAGE__;

	while (!$session->over)
	{
		my $action = choose(
			30 => 'terminate', 30 => 'cancel', 25 => 'maintain',
			5 => 'add_column', 10 => 'set_batch_size',
			20 => 'lock_rows', 10 => 'change_setting');
		$self->$action;
		$self->start_again;
		$self->crash;
		sleep(between(0.02, 0.3));
	}
	$session->finish;
	return;
}

sub terminate
{
	my ($self) = @_;
	$self->signal('pg_terminate_backend');
	return;
}

sub cancel
{
	my ($self) = @_;
	$self->signal('pg_cancel_backend');
	return;
}

# To a consumer or a writer, preferably one that is at work.
sub signal
{
	my ($self, $function) = @_;
	my $session = $self->{session};

	$session->attempt(
		$function,
		sub {
			$session->query("
				SELECT $function(pid) FROM pg_stat_activity
				 WHERE datname = current_database()
				   AND application_name IN ('writer', 'consumer')
				 ORDER BY state = 'idle', random() LIMIT 1");
		});
	return;
}

sub maintain
{
	my ($self) = @_;
	my $statement = $maintenance[ rand(@maintenance) ];

	$self->{session}->attempt($statement,
		sub { $self->{session}->execute($statement) });
	return;
}

# NOT NULL with a default: rows without it would be refused
sub add_column
{
	my ($self) = @_;
	my $table = choose(50 => 'wallet_balances', 20 => 'wallet_stream',
		30 => 'torture.by_wallet');
	my $number = ++$self->{columns};

	$self->{session}->attempt(
		"ALTER TABLE $table ADD COLUMN",
		sub {
			$self->{session}->execute("ALTER TABLE $table
				ADD COLUMN more$number integer NOT NULL DEFAULT $number");
		});
	return;
}

# An application has rows of the read model for a while.
sub lock_rows
{
	my ($self) = @_;
	my $session = $self->{session};
	my $how = choose(60 => 'UPDATE', 20 => 'NO KEY UPDATE', 20 => 'SHARE');
	my $rows = choose(50 => 1, 40 => 5, 10 => 100);
	my $table = choose(60 => 'wallet_balances', 20 => 'torture.by_wallet',
		10 => 'torture.in_order', 10 => 'torture.as_they_come');

	$session->attempt(
		'rows locked',
		sub {
			$session->execute('BEGIN');
			$session->rows("SELECT FROM $table
				ORDER BY random() LIMIT $rows FOR $how SKIP LOCKED");
			sleep(between(0.01, 0.4));
			$session->execute(choose(50 => 'COMMIT', 50 => 'ROLLBACK'));
		});
	return;
}

# As an administrator does for the application.
sub change_setting
{
	my ($self) = @_;
	my $database = $self->{run}{database};
	my $change = choose(
		80 => 'SET ' . $settings[ rand(@settings) ],
		20 => 'RESET ALL');

	$self->{session}->attempt(
		'ALTER DATABASE',
		sub { $self->{session}->execute("ALTER DATABASE $database $change") });
	return;
}

# Small batches: reads are cut short.  (Smaller ones are asked for by limits.)
sub set_batch_size
{
	my ($self) = @_;
	my $size = choose(20 => 20, 40 => 200, 40 => 10000);
	my $projection = ('wallet_balance', declared())[ rand 4 ];

	$self->{session}->attempt(
		'projection_set',
		sub {
			$self->{session}->query(
				q(SELECT projection_set(?, 'batch_size', ?)),
				$projection, $size);
		});
	return;
}

# In the first half of the run, so that it does not hide what goes wrong
# later: the read model from the first event again.
sub start_again
{
	my ($self) = @_;
	my $session = $self->{session};
	my $seconds = $self->{run}{seconds};
	my $partitions = choose(50 => 1, 50 => 1 + int(rand(40)));

	return
	  if $self->{started_again} >= 2
	  || $session->elapsed < $seconds * (1 + $self->{started_again}) / 10
	  || $session->elapsed > $seconds / 2;
	if ($self->{started_again} == 0)
	{
		$self->{started_again} += $session->attempt(
			'projection_reset',
			sub {
				$session->query(q(SELECT projection_reset(?)), $_)
				  foreach ('wallet_balance', declared());
			});
		return;
	}
	$self->{started_again} += $session->attempt(
		'projection_delete, projection_init',
		sub {
			$session->execute('BEGIN');
			$session->query(q(SELECT projection_delete('wallet_balance')));
			$session->query(
				q(SELECT projection_set('wallet_balance', 'partitions', ?)),
				$partitions);
			$session->query(q(SELECT projection_init('wallet_balance')));
			$session->execute('COMMIT');
		});
	return;
}

# kill -9 of our own server process; all the others are told to go, and the
# server recovers.
sub crash
{
	my ($self) = @_;
	my $session = $self->{session};
	my $crashes = $self->{run}{crashes};

	return
	  if $self->{crashes} >= $crashes
	  || $session->elapsed <
	  $self->{run}{seconds} * ($self->{crashes} + 1) / ($crashes + 1);
	$self->{crashes}++;
	$session->attempt(
		'crash',
		sub {
			$session->execute(q(COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'));
		});
	return;
}

1;
