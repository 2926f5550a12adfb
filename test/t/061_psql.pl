# psql: the shortcuts of doc/operations/psqlrc work, tab completion is as it was,
# and no message names something that only the C code knows.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

my $root = "$FindBin::RealBin/../..";
my $shortcuts = "$root/doc/operations/psqlrc";
my $node = worker_node('psql');

install($node);
query("SELECT wallet_create('w1', 10)");
query("SELECT projection_wait('wallet_balance', '60 s')");

# What psql prints for this input, after the shortcuts were loaded.
sub psql_says
{
	my ($input) = @_;
	my $says = '';

	IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ],
		'<', \"\\i $shortcuts\n$input\n", '>', \$says, '2>&1');
	return $says;
}

my @names = slurp_file($shortcuts) =~ /^\\set (\w+)/mg;

cmp_ok(@names, '>', 5, 'there are shortcuts');
foreach my $name (grep { !/^watch_/ } @names)
{
	unlike(psql_says(":$name"), qr/ERROR|invalid|unrecognized/, ":$name runs");
}
is(psql_says(':health'), "warning||autovacuum is off||autovacuum, or track_counts, is off for the whole server: dead rows of read models and positions are not removed|Switch it on.|ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()\n",
	':health shows what is wrong');
like(psql_says(':projections'), qr/^wallet_balance\|ready\|/, ':projections shows how they stand');
like(psql_says(':workers'), qr/^\d+\|async_projection\|/, ':workers shows workers');

# again each second, until it is interrupted
my $watched = '';
my $watch = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ],
	'<', \"\\i $shortcuts\n:watch_projections\n", '>', \$watched, '2>&1', IPC::Run::timeout(60));
$watch->pump until $watched =~ /wallet_balance\|running.*wallet_balance\|running/s;
$watch->signal('TERM');
eval { $watch->finish };
pass(':watch_projections shows them again and again');

# Nothing but variables: what psql does by itself is as it was.
my $settings = "\\pset\n\\echo :AUTOCOMMIT :ECHO :ON_ERROR_STOP :PROMPT1 :VERBOSITY :FETCH_COUNT";
my ($before, $after) = ('', psql_says($settings));
IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \"$settings\n", '>', \$before, '2>&1');
is($after, $before, 'no setting of psql has changed');

# Tab completion, where psql has it
SKIP:
{
	skip 'no pseudo-terminals for Perl', 3 unless eval { require IO::Pty; IO::Pty->new };
	skip 'psql was built without readline', 3 unless check_pg_config('#define HAVE_LIBREADLINE 1');

	local %ENV = %ENV;
	$ENV{TERM} = 'xterm';
	$ENV{PSQL_HISTORY} = $node->basedir . '/history';
	$ENV{INPUTRC} = '/dev/null';
	delete $ENV{LS_COLORS};

	my ($to, $from) = ('', '');
	my $psql = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres') ],
		'<pty<', \$to, '>pty>', \$from, IPC::Run::timeout(60));
	my $completes = sub {
		my ($typed, $pattern, $name) = @_;

		$from = '';
		$to .= $typed;
		eval { $psql->pump until $from =~ $pattern; };
		like($from, $pattern, $name);
		$to .= "\n\\r\n";
		$psql->pump_nb for 1 .. 3;
	};

	$psql->pump until $from =~ /postgres=#/;
	$to .= "\\i $shortcuts\n";
	$completes->("SELECT * FROM projection_st\t", qr/projection_status/, 'views of the extension are completed');
	$completes->("SELECT * FROM wallet_bal\t", qr/wallet_balances/, 'tables are completed');
	$completes->("\\echo :watch_\t", qr/:watch_projections/, 'and shortcuts');
	$psql->kill_kill;
}

# Messages.  Names that only C knows: functions, types and constants of ours that
# are no SQL names; and those of the server's code that look like it.
my (%c_name, %sql_name);

foreach my $file (split /\n/, `find $root/src -name '*.[ch]'`)
{
	my $text = slurp_file($file);

	$c_name{$_} = 1 for $text =~ /^(\w+)\(/mg;
	$c_name{$_} = 1 for $text =~ /^(?:extern )?\w[\w *]*?\b(\w+)\([^;{]*\);/mg;
	$c_name{$_} = 1 for $text =~ /^typedef (?:struct|enum) (\w+)/mg;
	$c_name{$_} = 1 for $text =~ /^#define (\w+)/mg;
}
foreach my $file (glob "$root/sql/*.sql")
{
	my $text = slurp_file($file) =~ s/^ +AS '.*'.*$//mgr;

	$sql_name{lc $_} = 1 for $text =~ /\b([A-Za-z_]\w*)\b/g;
}
$sql_name{$_} = 1 for split /\n/, query('SELECT DISTINCT lower(word) FROM pg_get_keywords()');

# plain words are no names
my @secret = grep { !$sql_name{ lc $_ } && /_|[a-z][A-Z]/ } sort keys %c_name;
my $secret = join '|', map { quotemeta } @secret;

cmp_ok(@secret, '>', 500, 'there are names that only C knows');

# The texts of a source that can reach a user.
sub messages_of
{
	my ($text) = @_;
	my @messages;

	while ($text =~ /\b(?:errmsg(?:_internal|_plural)?|errdetail(?:_internal)?|errhint|errcontext|elog)\s*\(((?:[^()"]|"(?:\\.|[^"\\])*"|\((?:[^()"]|"(?:\\.|[^"\\])*")*\))*)/sg)
	{
		push @messages, join ' ', $1 =~ /"((?:\\.|[^"\\])*)"/sg;
	}
	return @messages;
}

my (@bad, $count);

foreach my $file (split /\n/, `find $root/src -name '*.c'`)
{
	foreach my $message (messages_of(slurp_file($file)))
	{
		$count++;
		push @bad, "$file: $message"
		  if $message =~ /\b(?:$secret)\b/ || grep { !$sql_name{$_} && $_ ne 'now' } $message =~ /\b(\w+)\(\)/g;
	}
}
cmp_ok($count, '>', 300, 'there are messages');
is(join("\n", @bad), '', 'no message has the name of something in C');

# The same of what the tests have seen, whoever has written it; names of functions
# that a test makes are its own.
my %made = map { $_ => 1 } map { slurp_file($_) =~ /\bFUNCTION (?:\w+\.)?(\w+)/g }
  glob("$root/test/sql/* $root/test/isolation/specs/*");

$secret = join '|', map { quotemeta } grep { !$made{$_} } @secret;
@bad = ();
foreach my $file (glob("$root/expected/*.out"), glob("$root/test/isolation/expected/*.out"))
{
	my $seen = join '', grep { !/^(?:SELECT|CREATE)/ } slurp_file($file) =~ /^(?:psql:\S+ )?((?:ERROR|DETAIL|HINT|WARNING|NOTICE|CONTEXT):.*\n)/mg;

	push @bad, "$file: $_" for $seen =~ /^(.*\b(?:$secret)\b.*)$/mg;
}
is(join("\n", @bad), '', 'nor has one that a test has seen');
$node->stop;
done_testing();
