# A session that writes events in every way there is: by the wallet's commands,
# by stream_append, and as a foreign application does, by INSERT and COPY of
# its own; one statement at a time, and in transactions that are long, that
# are rolled back in part or whole, or that are prepared and finished later by
# whoever comes by.
#
# A foreign writer here is a well-behaved one: it knows an event's version
# before the INSERT draws the number, and takes the error that somebody else
# was faster as such.

package Writer;

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use Time::HiRes qw(sleep time);

use Consumer ();
use Session qw(chance choose between);
use Wallets qw(hot_wallet cold_wallet duel_wallet sprint_wallet
  partition_hash HOT_WALLETS DUELS_PER_SECOND);

# how many made calls are kept to be repeated
use constant REPEATABLE => 50;

# cold wallets: so many at first, so many more each second, so many the young
# ones that are preferred
use constant { FIRST_WALLETS => 200, NEW_WALLETS => 20, YOUNG => 40 };

# how many write in calm times
use constant FAST_WRITERS => 2;

# of an INSERT, where others are faster
use constant TRIES => 4;

my $insert = q(INSERT INTO wallet_stream (event_id, event_name,
	aggregate_type, aggregate_id, aggregate_version, payload));

my @foreign_types = qw(Order Wal Wallets wallet);

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
		  $self->{session}->longest_hold > 0 ? rough_action() : $self->calm_action;
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
		50 => "$insert SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet',
			'$wallet', max(aggregate_version) + 1, '{\"amount\": 1}'
			FROM wallet_stream
			WHERE aggregate_type = 'Wallet' AND aggregate_id = '$wallet'");

	if (!$self->{known}{$wallet})
	{
		# it may be refused, as any other statement
		$session->attempt(
			'sprint',
			sub {
				$self->create($wallet) unless $self->version('Wallet', $wallet) > 0;
			}) or return;
		$self->{known}{$wallet} = 1;
	}
	$session->attempt(
		'sprint',
		sub {
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

# How many cold wallets are in use by now: new ones come up all the time, as
# the order of a wallet's first events matters most.
sub cold_wallets_after
{
	my ($seconds) = @_;
	return FIRST_WALLETS + int(NEW_WALLETS * $seconds);
}

sub wallet
{
	my ($self, $kind) = @_;
	my $cold = cold_wallets_after($self->{session}->elapsed);
	my $oldest = chance(0.5) && !$self->{cold_only} ? $cold - YOUNG : 0;

	return hot_wallet($kind, int(rand(HOT_WALLETS)))
	  if !$self->{cold_only} && chance(0.4);
	return cold_wallet($kind, $oldest + int(rand($cold - $oldest)));
}

sub amount
{
	return sprintf('%.*f', int(rand(5)), between(1, 50));
}

#
# Transactions
#

# One step, a transaction of its own or none at all.
sub single
{
	my ($self) = @_;
	my $step = choose_step();
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

sub choose_step
{
	return choose(
		40 => 'command', 15 => 'append', 15 => 'insert',
		10 => 'insert_many', 5 => 'copy', 8 => 'foreign_type');
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
	my $end = choose(
		60 => 'committed', 20 => 'rolled_back',
		20 => 'prepared');

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
			my $action = choose_step();
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
	my $step = choose_step();
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
# Steps
#

sub command
{
	my ($self) = @_;
	my $session = $self->{session};
	my $wallet = $self->wallet(chance(0.6) ? 'c' : 'm');
	my $known = $self->{known}{$wallet}
	  || $self->version('Wallet', $wallet) > 0;
	my $name = choose(50 => 'wallet_debit', 50 => 'wallet_credit');
	my $errors = 'WP001';
	my $expected;

	if (chance($known ? 0.02 : 0.9))
	{
		$self->create($wallet);
		return;
	}
	# commands do not fail for each other, but for foreign writers
	$errors .= ' 23505' if $wallet =~ /^m/;
	$errors .= ' WP003' unless $known;
	if (chance(0.2))
	{
		$expected = $self->version('Wallet', $wallet);
		$errors .= ' 40001';
	}
	$session->expecting(
		$errors,
		sub {
			my $version = $session->query("SELECT $name(?, ?, ?)",
				$wallet, amount(), $expected);

			$session->fail("$name of $wallet, expected at version $expected,"
				  . " returned $version")
			  if defined $expected && $version != $expected + 1;
		});
	push(@{ $self->{touched} }, $wallet);
	return;
}

sub create
{
	my ($self, $wallet) = @_;

	$self->{session}->expecting(
		$wallet =~ /^m/ ? 'WP004 23505' : 'WP004',
		sub {
			$self->{session}->query('SELECT wallet_create(?, ?)',
				$wallet, chance(0.1) ? 0 : amount() * 10);
		});
	push(@{ $self->{touched} }, $wallet);
	return;
}

# A wallet whose name nobody knows beforehand; in a transaction.
sub new_wallet
{
	my ($self) = @_;
	my $session = $self->{session};
	my $wallet = $session->query(
		q(WITH made AS (SELECT wallet_create(?) AS id)
		  INSERT INTO torture.wallet SELECT id, NULL, true FROM made
		  RETURNING id), amount());

	$session->execute('UPDATE torture.wallet SET hash = ? WHERE id = ?',
		partition_hash($wallet), $wallet);
	$session->query('SELECT wallet_credit(?, ?)', $wallet, amount());
	return;
}

sub version
{
	my ($self, $type, $id) = @_;

	return $self->{session}->query(q(
		SELECT coalesce(max(aggregate_version), 0) FROM wallet_stream
		 WHERE aggregate_type = ? AND aggregate_id = ?), $type, $id);
}

# An event that may follow in a wallet at this version: name and payload.
sub wallet_event
{
	my ($version) = @_;
	my $name = choose(
		45 => 'WalletWasDebited', 45 => 'WalletWasCredited',
		10 => 'WalletWasRenamed');
	my $key = 'amount';
	# some are so large that they are stored out of line
	my $note = chance(0.01)
	  ? sprintf(', "note": "%s"', join('', map { rand() } 1 .. 500))
	  : '';

	($name, $key) = ('WalletWasCreated', 'initialBalance') if $version == 0;
	return ($name, sprintf('{"%s": %s%s}', $key,
		chance(0.8) ? amount() : '"' . amount() . '"', $note));
}

sub uuid
{
	my ($text) = @_;
	my $hex = md5_hex($text // join(' ', $$, time, rand));

	return $hex =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/r;
}

sub append
{
	my ($self) = @_;
	my $wallet = $self->wallet('m');
	my $version = $self->version('Wallet', $wallet);
	my $count = chance(0.02) ? 200 : 1 + int(rand(5));
	my $with_ids = chance(0.5);
	my @events;
	my $call;

	foreach my $i (0 .. $count - 1)
	{
		my ($name, $payload) = wallet_event($version + $i);
		my $id = $with_ids ? sprintf(', "event_id": "%s"', uuid()) : '';

		push(@events, qq({"event_name": "$name", "payload": $payload$id}));
	}
	$call = {
		type => 'Wallet',
		id => $wallet,
		events => '[' . join(', ', @events) . ']',
		# made later, it must not be the first of a wallet unless it was now
		expected => $self->{known}{$wallet} && chance(0.7) ? undef : $version,
	};
	$self->call_append($call);
	$self->remember_call($call) if $with_ids;
	# the same again, at once
	$self->call_append($call) if $with_ids && chance(0.2);
	push(@{ $self->{touched} }, $wallet);
	return;
}

sub remember_call
{
	my ($self, $call) = @_;
	my $calls = $self->{calls};

	shift(@$calls) if @$calls >= REPEATABLE;
	# in a transaction it is not certain yet that it was made
	push(@$calls, $call);
	return;
}

sub call_append
{
	my ($self, $call) = @_;
	my $session = $self->{session};
	my $version;

	$session->expecting(
		'40001 23505',
		sub {
			$version = $session->query(
				q(SELECT stream_append('wallet_stream', ?, ?, ?::jsonb, ?)),
				@{$call}{qw(type id events expected)});
		});
	return $version;
}

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
			$i + 1, uuid("$wallet $i")));
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

# A foreign writer: version first, then the INSERT, again if somebody else was
# faster.
sub insert
{
	my ($self, $wallet) = @_;
	my $session = $self->{session};

	$wallet //= $self->wallet('m');
	$session->expecting(
		'23505',
		sub {
			my $version = $self->version('Wallet', $wallet);
			my ($name, $payload) = wallet_event($version);

			$session->execute("$insert VALUES (?, ?, 'Wallet', ?, ?, ?)",
				uuid(), $name, $wallet, $version + 1, $payload);
		});
	push(@{ $self->{touched} }, $wallet);
	return;
}

# The same in one statement, which reads the version before it draws numbers.
sub insert_many
{
	my ($self, $wallet) = @_;

	$wallet //= $self->wallet('m');
	$self->{session}->expecting(
		'23505',
		sub {
			$self->{session}->execute(
				"$insert
				SELECT gen_random_uuid(), e.name, 'Wallet', ?, e.version,
				       jsonb_build_object(e.key, e.version)
				  FROM (SELECT coalesce(max(aggregate_version), 0)
				          FROM wallet_stream
				         WHERE aggregate_type = 'Wallet' AND aggregate_id = ?
				       ) last (version),
				       LATERAL (
				         SELECT last.version + i,
				                CASE last.version + i WHEN 1 THEN 'WalletWasCreated'
				                ELSE 'WalletWasCredited' END,
				                CASE last.version + i WHEN 1 THEN 'initialBalance'
				                ELSE 'amount' END
				           FROM generate_series(1, ?) i) e (version, name, key)",
				$wallet, $wallet, 1 + int(rand(5)));
		});
	push(@{ $self->{touched} }, $wallet);
	return;
}

# Events of several wallets in one COPY.
sub copy
{
	my ($self) = @_;
	my %wallets = map { $self->wallet('m') => 1 } 0 .. int(rand(10));
	my @lines;

	foreach my $wallet (sort keys %wallets)
	{
		my $version = $self->version('Wallet', $wallet);

		foreach my $i (0 .. int(rand(4)))
		{
			my ($name, $payload) = wallet_event($version + $i);

			push(@lines,
				csv(uuid(), $name, 'Wallet', $wallet, $version + $i + 1,
					$payload));
		}
	}
	$self->{session}->expecting(
		'23505',
		sub {
			$self->{session}->copy(
				$insert =~ s/INSERT INTO/COPY/r . ' FROM STDIN (FORMAT csv)',
				@lines);
		});
	push(@{ $self->{touched} }, keys %wallets);
	return;
}

sub csv
{
	my @fields = @_;

	return join(',', map { '"' . s/"/""/gr . '"' } @fields) . "\n";
}

# Events that are none of the projection's business, under a wallet's name.
sub foreign_type
{
	my ($self) = @_;
	my $stream = chance(0.8) ? 'wallet_stream' : 'other_stream';
	my $type = $foreign_types[ rand(@foreign_types) ];
	my ($name, $payload) = wallet_event(int(rand(3)));

	$self->{session}->query(
		'SELECT stream_append(?, ?, ?, ?::jsonb)',
		$stream, $type, $self->wallet('m'),
		qq([{"event_name": "$name", "payload": $payload}]));
	return;
}

1;
