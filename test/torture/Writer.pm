# A session that writes events, one statement at a time, and in transactions
# that are long, that are rolled back in part or whole, or that are prepared
# and finished later by whoever comes by.  What is written is up to Steps.pm.

package Writer;

use strict;
use warnings;

use parent 'Steps';

use Time::HiRes qw(sleep time);

use Consumer ();
use Session qw(chance choose between);
use Wallets qw(cold_wallet duel_wallet sprint_wallet DUELS_PER_SECOND);

# how many write in calm times
use constant FAST_WRITERS => 2;

# of an INSERT, where others are faster
use constant TRIES => 4;

sub work
{
	my ($run, $number) = @_;
	my $self = bless {
		session => Session->new('writer', $run, "lock_timeout = '100ms'"),
		run => $run,
		number => $number,
		known => {},       # wallets that certainly exist
		calls => [],       # of stream_append, to be repeated
		last_duel => -1,
	}, __PACKAGE__;

	while (!$self->{session}->over)
	{
		$self->duel;
		$self->hold_for_long if $number == 0;
		my $action =
		    $self->{session}->longest_hold > 0
		  ? rough_action()
		  : $self->calm_action;
		$self->$action;
	}
	$self->{session}->finish;
	return;
}

sub rough_action
{
	return choose(
		60 => 'single', 25 => 'block', 10 => 'finish_prepared',
		4 => 'repeat', 1 => 'reconnect');
}

# Few sessions, and fast: numbers settle all the time, and what is wrong with
# the order in which a batch looks at things has the best chance to show.
sub calm_action
{
	my ($self) = @_;

	return choose(20 => 'finish_prepared', 80 => 'rest')
	  if $self->{number} >= FAST_WRITERS;
	return choose(
		8 => 'sprint', 80 => 'single', 10 => 'block', 2 => 'finish_prepared');
}

# Many short transactions, as fast as the server can, on a wallet of our own.
sub sprint
{
	my ($self) = @_;
	my $session = $self->{session};
	my $wallet = sprint_wallet($self->{number});
	my $statement = choose(
		50 => "PERFORM wallet_credit('$wallet', 1)",
		50 => $self->insert_next($wallet));

	$session->attempt(
		'sprint',
		sub {
			$self->create($wallet) if $self->version('Wallet', $wallet) == 0;
			$session->execute(
				"DO \$\$ BEGIN FOR i IN 1..100 LOOP $statement; COMMIT;"
				  . ' END LOOP; END $$');
		});
	return;
}

sub rest
{
	sleep(0.02);
	return;
}

sub reconnect
{
	my ($self) = @_;
	$self->{session}->connect;
	return;
}

#
# Transactions
#

# One step, a transaction of its own or none at all.
sub single
{
	my ($self) = @_;
	my $step = $self->choose_step;
	my $wallet = $step =~ /^insert/ ? $self->wallet('m') : undef;
	my $tries = defined $wallet ? TRIES : 1;
	my $done = 0;

	while (!$done && $tries-- > 0)
	{
		$self->{touched} = [];
		$done =
		  $self->{session}->attempt($step, sub { $self->$step($wallet) });
	}
	$self->learn if $done;
	return;
}

# What was touched is committed.
sub learn
{
	my ($self) = @_;

	$self->{known}{$_} = 1 foreach (@{ $self->{touched} });
	return;
}

# A transaction of several steps.
sub block
{
	my ($self) = @_;
	my $session = $self->{session};
	my $done;
	my $isolation = choose(
		90 => 'READ COMMITTED', 5 => 'REPEATABLE READ', 5 => 'SERIALIZABLE');
	my $hold = chance(0.25) ? $session->longest_hold : 0;
	my $end =
	  choose(60 => 'committed', 20 => 'rolled_back', 20 => 'prepared');

	$hold = between(0.01, 2) if $hold > 2;
	# the others must not wait for us all the time
	$self->{cold_only} = $hold > 0 || $end eq 'prepared';
	$self->{touched} = [];
	$done = $session->attempt(
		'transaction ' . $end . ($hold > 0 ? ' (long)' : ''),
		sub {
			$session->expecting(
				$isolation eq 'READ COMMITTED' ? 'none' : '40001',
				sub {
					$session->execute("BEGIN ISOLATION LEVEL $isolation");
					$self->steps($hold, $isolation);
					$self->$end;
				});
		});
	$self->{cold_only} = 0;
	$self->after_prepare if $done && $end eq 'prepared';
	return;
}

sub steps
{
	my ($self, $hold, $isolation) = @_;
	my $steps = chance(0.05) ? 20 : 1 + int(rand(4));
	my $pause_after = 1 + int(rand($steps));

	foreach my $step (1 .. $steps)
	{
		if (chance(0.5))
		{
			$self->step_in_savepoint;
		}
		else
		{
			my $action = $self->choose_step;
			$self->$action;
		}
		sleep($hold) if $hold > 0 && $step == $pause_after;
	}
	$self->new_wallet if chance(0.1);
	if ($isolation eq 'READ COMMITTED' && chance(0.3))
	{
		# append and apply in one transaction
		Consumer::apply($self->{session});
		$self->{session}->count('append and batch');
	}
	return;
}

# A step that is taken back if it fails, and sometimes if it does not.
sub step_in_savepoint
{
	my ($self) = @_;
	my $session = $self->{session};
	my $step = $self->choose_step;
	my $known = @{ $self->{touched} };
	my $done;

	$session->execute('SAVEPOINT step');
	$done = eval { $self->$step; 1 };
	# an error by which the connection or the whole transaction is lost
	die $@
	  unless $done
	  || ref $@ && $@->{tolerated} && $@->{state} =~ /^(WP|23505|40001)/;
	if (!$done || chance(0.3))
	{
		$session->execute('ROLLBACK TO SAVEPOINT step');
		$session->count('savepoint rolled back');
		splice(@{ $self->{touched} }, $known);
	}
	return;
}

sub committed
{
	my ($self) = @_;

	$self->{session}->execute('COMMIT');
	$self->learn;
	return;
}

sub rolled_back
{
	my ($self) = @_;

	$self->{session}->execute('ROLLBACK');
	return;
}

# Prepared, to be finished by anybody after that many seconds.
sub prepared
{
	my ($self, $hold) = @_;

	$hold //= rand($self->{session}->longest_hold);
	$self->{gid} = $self->{session}->prepare_transaction($hold);
	return;
}

# A session that writes may consume as well: it must not take what it knew as
# the writer for what holds now that the transaction is prepared.
sub after_prepare
{
	my ($self) = @_;
	my $session = $self->{session};

	foreach (1 .. 3)
	{
		$session->attempt('writer as consumer',
			sub { Consumer::apply($session) });
	}
	$self->finish($self->{gid}) if $session->longest_hold == 0;
	return;
}

sub finish_prepared
{
	my ($self) = @_;
	my $session = $self->{session};
	my $gid;

	$session->attempt(
		'look for prepared',
		sub {
			$gid = $session->query(q(
				SELECT gid FROM pg_prepared_xacts
				 WHERE database = current_database()
				   AND split_part(gid, ':', 2)::float8 <= ?
				 ORDER BY random() LIMIT 1), time);
		});
	$self->finish($gid) if defined $gid;
	return;
}

sub finish
{
	my ($self, $gid) = @_;
	my $session = $self->{session};
	my $how = choose(70 => 'COMMIT PREPARED', 30 => 'ROLLBACK PREPARED');

	# somebody else may do so at the same time
	$session->attempt(
		$how,
		sub {
			$session->expecting('55000 42704',
				sub { $session->execute("$how '$gid'") });
		});
	return;
}

# Once in a run: a prepared transaction that stays for a quarter of it.  It
# touches wallets that the others come to last.
sub hold_for_long
{
	my ($self) = @_;
	my $session = $self->{session};
	my $seconds = $self->{run}{seconds};
	my $last = $self->{run}{cold} - 1;

	return if $self->{held} || $session->elapsed < $seconds / 2;
	$self->{touched} = [];
	$self->{held} = $session->attempt(
		'prepared (very long)',
		sub {
			$session->execute('BEGIN');
			$self->insert(cold_wallet('m', $last - $_)) foreach (0 .. 4);
			$self->prepared($seconds / 4);
		});
	return;
}

#
# Repeated calls
#

# A call that was made before, whatever became of it.  Made once more after
# that, it must return what it just returned.
sub repeat
{
	my ($self) = @_;
	my $session = $self->{session};
	my $call = $self->{calls}[ rand(@{ $self->{calls} }) ];
	my $version;

	return unless $call;
	$session->attempt('repeated call',
		sub { $version = $self->call_append($call) })
	  or return;
	$session->attempt(
		'repeated call',
		sub {
			my $again = $self->call_append($call);

			$session->fail("a call on $call->{id} returned version $version,"
				  . " repeated $again")
			  if $again != $version;
		});
	return;
}

# The same call by all writers at about the same time: one of them appends,
# all are told the same version.
sub duel
{
	my ($self) = @_;
	my $session = $self->{session};
	my $number = int($session->elapsed * DUELS_PER_SECOND);
	my ($wallet, @events) = (duel_wallet($number));

	return if $number == $self->{last_duel};
	$self->{last_duel} = $number;
	foreach my $i (0 .. 2)
	{
		push(@events, sprintf(
			'{"event_name": "%s", "payload": {"%s": %d}, "event_id": "%s"}',
			$i == 0 ? ('WalletWasCreated', 'initialBalance')
			: ('WalletWasCredited', 'amount'),
			$i + 1, Steps::uuid("$wallet $i")));
	}
	$session->attempt(
		'duel',
		sub {
			my $version = $session->query(
				q(SELECT stream_append('wallet_stream', 'Wallet', ?, ?::jsonb)),
				$wallet, '[' . join(', ', @events) . ']');

			$session->fail("duel on $wallet returned version $version")
			  if $version != 3;
		});
	return;
}

1;
