# Random definitions of projections against an oracle that runs the same
# statement for one event at a time (Definitions.pm).
#
#     DEFINITIONS=10000        how many (1000)
#     DEFINITIONS_SEED=7       what the last run has printed (from the clock)
#     DEFINITIONS_STREAM=12    only the definitions of this stream
#
# Two sessions have streams of their own, each in a database of its own; in one of
# them another session applies events of the same projections, takes back what
# it has applied, and locks rows.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Definitions;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

# definitions of a stream; sessions
use constant { EACH => 10, SESSIONS => 2 };

my $count = $ENV{DEFINITIONS} // 1000;
my $seed = $ENV{DEFINITIONS_SEED} // time % 100_000;
my @streams = defined $ENV{DEFINITIONS_STREAM} ? $ENV{DEFINITIONS_STREAM} : 1 .. ($count + EACH - 1) / EACH;
my $node = new_node('definitions', 'fsync = off', 'log_min_messages = fatal', 'deadlock_timeout = 100ms');
my $has_icu = $node->safe_psql('postgres', 'SELECT count(*) > 0 FROM pg_collation WHERE collprovider = \'i\'') eq 't';

diag("definitions: seed $seed");

sub start_psql
{
	my ($database, $name, $sql) = @_;
	my $file = $node->basedir . "/$name.sql";

	unlink $file;
	append_to_file($file, "\\set VERBOSITY sqlstate\nSET client_min_messages = error;\nSET search_path = fuzz, public;\nSET deadlock_timeout = '100ms';\n$sql");
	return IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr($database), '-f', $file ],
		'<', \undef, '>', '/dev/null', '2>', $node->basedir . "/$name.err");
}

my @sessions;
foreach my $i (1 .. SESSIONS)
{
	my @own = grep { $_ % SESSIONS == $i % SESSIONS } @streams;

	$node->safe_psql('postgres', "CREATE DATABASE d$i TEMPLATE template0");
	$node->safe_psql("d$i", 'CREATE EXTENSION wallet_projection; ' . Definitions::schema($has_icu));
	push @sessions, start_psql("d$i", "d$i", join('', map { Definitions::script($seed, $_, EACH) } @own) . "INSERT INTO result VALUES ('', 'end');\n");
}
my $other = start_psql('d1', 'other', Definitions::disturbance(20_000));
$_->finish foreach @sessions;
$other->signal('TERM');
eval { $other->finish };

foreach my $i (1 .. SESSIONS)
{
	my $told = slurp_file($node->basedir . "/d$i.err");
	my @errors = grep { !/ERROR:  (?:40P01|55P03)/ } split /\n/, $told;

	is($node->safe_psql("d$i", q(SELECT count(*) FROM fuzz.result WHERE what = 'end')), '1', "session $i: came to its end");
	is(join("\n", @errors[ 0 .. ($#errors < 9 ? $#errors : 9) ]), '', "session $i: no errors");
	is($node->safe_psql("d$i", q(SELECT name || ' ' || what FROM fuzz.result WHERE what !~ '^(same|end)' ORDER BY name LIMIT 5)),
		'', "session $i: read models and parked events are the oracle's (seed $seed)");
	note($node->safe_psql("d$i", 'SELECT what, count(*) FROM fuzz.result GROUP BY 1 ORDER BY 1'));
}
my @others = grep { /ERROR/ && !/ERROR:  (?:40P01|55P03|42704|42P01|25P02|3B001)/ } split /\n/, slurp_file($node->basedir . '/other.err');
is(join("\n", @others[ 0 .. ($#others < 9 ? $#others : 9) ]), '', 'the other session: no errors but of those that are gone');
cmp_ok($node->safe_psql('d1', q(SELECT count(*) FROM fuzz.result WHERE what = 'same, parked')), '>', @streams / 2, 'some events fail')
  unless defined $ENV{DEFINITIONS_STREAM};

$node->stop;
done_testing();
