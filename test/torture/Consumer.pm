# A session that applies events, in every way there is.

package Consumer;

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Declared qw(declared);
use Session qw(chance choose between);

sub work
{
	my ($run, $number) = @_;
	# one of them gives up when it has to wait
	my @settings = $number == 1 ? ("lock_timeout = '50ms'") : ();
	my $self = bless {
		session => Session->new('consumer', $run, @settings),
	}, __PACKAGE__;

	while (!$self->{session}->over)
	{
		my $calm = $self->{session}->longest_hold == 0;
		my $action = choose(
			$calm ? 80 : 10 => 'sprint',
			30 => 'consume', 30 => 'run', 12 => 'block',
			2 => 'run_in_old_snapshot', 3 => 'pause', 2 => 'reconnect');
		$self->$action;
	}
	$self->{session}->finish;
	return;
}

sub reconnect
{
	my ($self) = @_;
	$self->{session}->connect;
	return;
}

sub pause
{
	sleep(between(0.05, 0.5));
	return;
}

sub consume
{
	my ($self) = @_;
	my $session = $self->{session};

	$session->attempt(
		'projection_consume',
		sub {
			$session->execute(sprintf(
				q(CALL projection_consume('async_projection',
					message_limit => %s, time_limit => '%f s',
					stop_on_failure => %s, finish_when_no_messages => %s)),
				chance(0.3) ? 1 + int(rand(50)) : 'NULL',
				between(0.05, 0.6),
				chance(0.8) ? 'true' : 'false',
				chance(0.3) ? 'true' : 'false'));
		});
	return;
}

# Batches as fast as the server can.
sub sprint
{
	my ($self) = @_;
	my $limit = limit() // 'NULL';
	my $projection = projection();

	$self->{session}->attempt(
		'sprint of batches',
		sub {
			$self->{session}->execute("
				DO \$\$ BEGIN FOR i IN 1..50 LOOP
					PERFORM projection_run('$projection', $limit); COMMIT;
				END LOOP; END \$\$");
		});
	return;
}

# Batches in transactions of their own.
sub run
{
	my ($self) = @_;
	my $session = $self->{session};

	foreach (0 .. int(rand(20)))
	{
		$session->attempt('batch', sub { apply($session) })
		  or last;
	}
	return;
}

# A limit of events: small ones cut a read in the middle.
sub limit
{
	return chance(0.4) ? undef : 1 + int(rand(20));
}

sub projection
{
	my @declared = declared();

	return chance(0.55) ? 'wallet_balance' : $declared[ rand(@declared) ];
}

# Applies events in the current transaction: of all partitions that are free,
# or of a few.
sub apply
{
	my ($session) = @_;
	my $limit = limit();
	my $projection = projection();
	my $events;

	if ($projection eq 'wallet_balance' && chance(0.2))
	{
		$session->query(q(SELECT projection_backfill('wallet_balance', ?)),
			chance(0.3) ? undef : 1 + int(rand(4)));
		$session->count('projection_backfill');
		return;
	}
	$events =
	  $session->query(q(SELECT projection_run(?, ?)), $projection, $limit);
	$session->count("batch of $projection") if $events > 0;
	# a parked key of few keys may have more that waits
	$session->fail("a run of $projection of at most $limit events applied $events")
	  if defined $limit && $events > $limit && $projection eq 'wallet_balance';
	return;
}

# In a transaction that may not be committed, or only later.
sub block
{
	my ($self) = @_;
	my $session = $self->{session};
	my $hold = chance(0.3) ? $session->longest_hold : 0;
	my $end = choose(60 => 'COMMIT', 25 => 'ROLLBACK', 15 => 'PREPARE');

	$hold = between(0.01, 0.5) if $hold > 0.5;
	$session->attempt(
		"batch, then $end",
		sub {
			$session->execute('BEGIN');
			apply($session);
			$session->execute('SAVEPOINT before_more');
			sleep($hold);
			apply($session) if chance(0.5);
			$session->execute('ROLLBACK TO SAVEPOINT before_more')
			  if chance(0.3);
			$self->end_block($end, $hold);
		});
	return;
}

sub end_block
{
	my ($self, $end, $hold) = @_;
	my $session = $self->{session};

	if ($end eq 'PREPARE')
	{
		$session->prepare_transaction($hold);
	}
	else
	{
		$session->execute($end);
	}
	return;
}

# Must be refused: the snapshot may be older than what is settled.
sub run_in_old_snapshot
{
	my ($self) = @_;
	my $session = $self->{session};

	$session->attempt(
		'refused in an old snapshot',
		sub {
			my $refused = 0;

			$session->execute('BEGIN ISOLATION LEVEL '
				  . choose(50 => 'REPEATABLE READ', 50 => 'SERIALIZABLE'));
			eval { apply($session); 1 } or do
			{
				die $@ unless ref $@ && $@->{state} eq '25001';
				$refused = 1;
			};
			$session->fail('a run under an old snapshot was not refused')
			  unless $refused;
			$session->execute('ROLLBACK');
		});
	return;
}

1;
