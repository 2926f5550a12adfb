# The ways to write events: by the wallet's commands, by stream_append, and as
# a foreign application does, by INSERT and COPY of its own.  A step runs in
# the transaction there is, and says which errors are no surprise.
#
# A foreign writer here is a well-behaved one: it knows an event's version
# before the INSERT draws the number, and takes the error that somebody else
# was faster as such.

package Steps;

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use Time::HiRes qw(time);

use Session qw(chance choose between);
use Wallets qw(hot_wallet cold_wallet partition_hash HOT_WALLETS);

# how many calls of stream_append are kept to be repeated
use constant REPEATABLE => 50;

# cold wallets: so many at first, so many more each second, so many the young
# ones that are preferred
use constant { FIRST_WALLETS => 200, NEW_WALLETS => 20, YOUNG => 40 };

my $insert = q(INSERT INTO wallet_stream (event_id, event_name,
	aggregate_type, aggregate_id, aggregate_version, payload));

my @foreign_types = qw(Order Wal Wallets wallet);

sub choose_step
{
	return choose(
		40 => 'command', 15 => 'append', 15 => 'insert',
		10 => 'insert_many', 5 => 'copy', 8 => 'foreign_type');
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
	my $wallet = $session->query('SELECT wallet_create(?)', amount());

	$session->execute('INSERT INTO torture.wallet VALUES (?, ?, true)',
		$wallet, partition_hash($wallet));
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

# It may never be committed; repeated, it is then made for the first time.
sub remember_call
{
	my ($self, $call) = @_;
	my $calls = $self->{calls};

	shift(@$calls) if @$calls >= REPEATABLE;
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

# The next event of a wallet that nobody else writes to, as a statement.
sub insert_next
{
	my ($self, $wallet) = @_;

	return "$insert
		SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet', '$wallet',
		       max(aggregate_version) + 1, '{\"amount\": 1}'
		  FROM wallet_stream
		 WHERE aggregate_type = 'Wallet' AND aggregate_id = '$wallet'";
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

	$self->{session}->query('SELECT stream_append(?, ?, ?, ?::jsonb)',
		$stream, $type, $self->wallet('m'),
		qq([{"event_name": "$name", "payload": $payload}]));
	return;
}

1;
