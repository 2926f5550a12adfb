# A session of the test: a connection that may be cancelled, terminated or lost
# in a crash at any moment, and an account of what was done in it.
#
# Statements die with a Session::Error.  Some errors are what the test itself
# causes (always tolerated), some a statement expects; any other is reported
# to the main process and ends the test.

package Session;

use strict;
use warnings;

use DBI ();
use List::Util qw(sum);
use Time::HiRes qw(sleep time);

use Exporter qw(import);
our @EXPORT_OK = qw(chance choose between);

# deadlock, lock time-out, cancelled, terminated
my %always_tolerated = map { $_ => 1 } qw(40P01 55P03 57014 57P01 lost);

# what consumers may warn of: the same, in words
my $tolerated_warning = qr/
	deadlock\ detected | lock\ timeout | canceling\ statement |
	terminating\ connection
/x;

# a statement that takes longer hangs
use constant HANG_SECONDS => 60;

# seconds of a cycle: first the rough part, with long transactions, then a
# calm one, in which all writers end soon and so all numbers settle
use constant { CYCLE => 5, ROUGH => 2.5 };

sub chance
{
	my ($probability) = @_;
	return rand() < $probability;
}

sub between
{
	my ($low, $high) = @_;
	return $low + rand($high - $low);
}

# choose(weight => value, ...)
sub choose
{
	my @pairs = @_;
	my $left = rand(sum(@pairs[ grep { $_ % 2 == 0 } 0 .. $#pairs ]));

	while (($left -= $pairs[0]) >= 0)
	{
		splice(@pairs, 0, 2);
	}
	return $pairs[1];
}

# new(role, run, settings...): role is the application_name; run is what all
# sessions share (see torture.pl).
sub new
{
	my ($class, $role, $run, @settings) = @_;
	my $self = bless {
		role => $role,
		run => $run,
		settings => \@settings,
		last_statement => 'nothing yet',
		counts => {},
	}, $class;

	$SIG{__WARN__} = sub { $self->warned(@_) };
	$self->connect;
	return $self;
}

# Connects, waiting for a server that is coming back from a crash.
sub connect
{
	my ($self) = @_;
	my $give_up = time + HANG_SECONDS;
	my $connected = 0;

	while (!$connected)
	{
		$connected = eval { $self->try_connect; 1 };
		if (!$connected)
		{
			$self->fail("$self->{role} cannot connect: $@") if time > $give_up;
			sleep(0.05);
		}
	}
	return;
}

sub try_connect
{
	my ($self) = @_;

	$self->disconnect;
	$self->{dbh} = DBI->connect("dbi:Pg:dbname=$self->{run}{database}",
		undef, undef, { RaiseError => 1, PrintError => 0, PrintWarn => 1, AutoCommit => 1 });
	$self->{dbh}->do("SET $_")
	  foreach (
		"application_name = '$self->{role}'",
		'client_encoding = UTF8',
		'client_min_messages = warning',
		"statement_timeout = '" . HANG_SECONDS . "s'",
		'jit = off',
		@{ $self->{settings} });
	$self->look_for_crash;
	return;
}

# A server that has crashed has new processes.  The main process knows
# whether it had to.
sub look_for_crash
{
	my ($self) = @_;
	my $server = $self->{dbh}->selectrow_array(q(
		SELECT extract(epoch FROM backend_start) FROM pg_stat_activity
		 WHERE backend_type = 'checkpointer'))
	  // die "the server is not up yet\n";

	$self->report('crashed', "$server $self->{role}: $self->{last_statement}")
	  if defined $self->{server} && $self->{server} != $server;
	$self->{server} = $server;
	return;
}

sub disconnect
{
	my ($self) = @_;

	eval { $self->{dbh}->disconnect } if $self->{dbh};
	$self->{dbh} = undef;
	return;
}

# Has the time come to end?
sub over
{
	my ($self) = @_;
	return time >= $self->{run}{ends};
}

sub elapsed
{
	my ($self) = @_;
	return time - $self->{run}{started};
}

# How long, in seconds, may a transaction that begins now stay open?
sub longest_hold
{
	my ($self) = @_;
	my $in_cycle = $self->elapsed;

	$in_cycle -= CYCLE * int($in_cycle / CYCLE);
	return $in_cycle < ROUGH ? ROUGH - $in_cycle : 0;
}

# Runs a statement; returns its first row.
sub query
{
	my ($self, $sql, @values) = @_;
	my @row;

	eval { @row = $self->{dbh}->selectrow_array($sql, undef, @values); 1 }
	  or $self->throw($sql, @values);
	return wantarray ? @row : $row[0];
}

# Runs a statement; returns all rows as hashes.
sub rows
{
	my ($self, $sql, @values) = @_;
	my $rows;

	eval {
		$rows =
		  $self->{dbh}->selectall_arrayref($sql, { Slice => {} }, @values);
		1;
	} or $self->throw($sql, @values);
	return @$rows;
}

sub execute
{
	my ($self, $sql, @values) = @_;

	eval { $self->{dbh}->do($sql, undef, @values); 1 }
	  or $self->throw($sql, @values);
	return;
}

# COPY FROM STDIN of these lines
sub copy
{
	my ($self, $sql, @lines) = @_;

	eval {
		$self->{dbh}->do($sql);
		$self->{dbh}->pg_putcopydata($_) foreach (@lines);
		$self->{dbh}->pg_putcopyend;
		1;
	} or $self->throw($sql, @lines);
	return;
}

sub throw
{
	my ($self, $sql, @values) = @_;
	my $message = $self->{dbh}->errstr // $@;
	my $state = $self->{dbh}->state;
	my $lost = !$self->{dbh}->ping;

	$state = 'lost' if $lost;
	$self->{last_statement} = $sql;
	die bless {
		state => $state,
		message => $message,
		statement => join(', ', $sql, map { $_ // 'NULL' } @values),
		tolerated => $always_tolerated{$state}
		  && $message !~ /statement timeout/,
	}, 'Session::Error';
}

# Prepares the transaction, to be finished by whoever comes by after that many
# seconds (Writer::finish_prepared).  Returns its name.
sub prepare_transaction
{
	my ($self, $hold) = @_;
	my $gid = join(':', 'torture', time + $hold, $$, ++$self->{prepared});

	# there is a limit to how many there may be
	$self->expecting('53200',
		sub { $self->execute("PREPARE TRANSACTION '$gid'") });
	return $gid;
}

# Runs code that may fail with these SQLSTATEs.
sub expecting
{
	my ($self, $states, $code) = @_;
	my $error;

	return 1 if eval { $code->(); 1 };
	$error = $@;
	if (ref $error && $states =~ /\b\Q$error->{state}\E\b/)
	{
		$error->{tolerated} = 1;
	}
	die $error;
}

# Runs an action and counts it; true if it came to its end.  The session is
# outside a transaction afterwards, whatever has happened.
sub attempt
{
	my ($self, $action, $code) = @_;
	my $error;

	if (eval { $code->(); 1 })
	{
		$self->count($action);
		return 1;
	}
	$error = $@;
	$self->fail("$action: $error") unless ref $error;
	$self->fail("$self->{role}, $action: $error->{state} $error->{message}\n"
		  . "in: $error->{statement}")
	  unless $error->{tolerated};
	$self->count("error $error->{state}");
	$self->recover;
	return 0;
}

sub recover
{
	my ($self) = @_;
	my $status = $self->{dbh}->ping;

	# 1: idle
	return if $status == 1;
	$self->connect
	  unless $status > 0 && eval { $self->{dbh}->do('ROLLBACK'); 1 };
	return;
}

sub count
{
	my ($self, $what, $number) = @_;

	$self->{counts}{$what} += $number // 1;
	return;
}

sub warned
{
	my ($self, $warning) = @_;

	$self->fail("$self->{role} was warned: $warning")
	  unless $warning =~ $tolerated_warning;
	$self->count('warning');
	return;
}

# Tells the main process what is wrong, and ends.
sub fail
{
	my ($self, $text) = @_;

	$self->report('fail',
		sprintf('after %.1f s, %s', $self->elapsed, $text));
	exit 1;
}

# Tells the main process what was done.
sub finish
{
	my ($self) = @_;

	$self->disconnect;
	$self->report('count', "$self->{counts}{$_} $_")
	  foreach (keys %{ $self->{counts} });
	return;
}

# A line to the main process; short enough to stay in one piece.
sub report
{
	my ($self, $kind, $text) = @_;

	utf8::encode($text) if utf8::is_utf8($text);
	$text =~ s/\s*\n\s*/\t/g;
	syswrite($self->{run}{reports}, substr("$kind $text", 0, 4000) . "\n");
	return;
}

1;
