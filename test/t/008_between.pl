# Between the steps of a batch lie microseconds.  Here they last as long as we
# please: whatever others do meanwhile, the outcome is exact, and in order.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest;

my $node = new_node('between');
my $run = "SELECT projection_run('wallet_balance')";

# The extension once more, with the places of pause.c in it; the new library.
sub build
{
	my $source = "$FindBin::RealBin/../../src";

	return build_library($node, 'paused', glob("$source/*.c $source/*/*.c"),
		"$FindBin::RealBin/pause.c",
		(map { "-Wl,--wrap=$_" }
			qw(Settle ReadBuffer GetLockConflicts GapsFrom NoticeAppend GroupsClaim)),
		'-luuid');
}

install($node);
my $library = build();
$node->safe_psql('postgres',
	"UPDATE pg_proc SET probin = '$library' WHERE probin = '\$libdir/wallet_projection'");
my ($one, $two, $resident, $reader, $locker, $other) =
  map { $node->background_psql('postgres') } 1 .. 6;
my $oracle = 'SELECT not_a_prefix FROM oracle()';
my $amount = 0;

# The amounts grow, so that no other events add up to the same.
sub credit
{
	my ($session, $wallet) = @_;

	$amount++;
	$session->query_safe("SELECT wallet_credit('$wallet', $amount)");
	return;
}

# One scenario: what happens before, perhaps with a writer about who is there
# all the time; a run that stops at a place; what happens there, and after it.
sub stopped_at
{
	my ($place, $with_resident, $scenario) = @_;
	my ($name, $before, $meanwhile, $after) = @$scenario;
	my @results;

	$other->query_safe('TRUNCATE wallet_stream RESTART IDENTITY');
	$other->query_safe("SELECT projection_reset('wallet_balance')");
	$other->query_safe("SELECT wallet_create('w1', 1), wallet_create('w2', 1)");
	$other->query_safe($run);

	# a gap, which is the reader's own finding, or somebody else's
	$resident->query_safe("BEGIN; SELECT wallet_create('resident', 1)")
	  if $with_resident;
	$one->query_safe('BEGIN');
	credit($one, 'w1');
	credit($two, 'w2');
	($with_resident ? $reader : $other)->query_safe($run);
	credit($two, 'w2');
	$before->();

	$locker->query_safe('SELECT pg_advisory_lock(1)');
	$reader->query_safe("SET pause.at = '$place'");
	$reader->query_until(qr/begun/, "\\echo begun\n$run;\n\\echo ended\n");
	$node->poll_query_until('postgres',
		"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1')
	  or die "it does not stop $place";
	$meanwhile->();
	$locker->query_safe('SELECT pg_advisory_unlock(1)');
	$reader->query_until(qr/ended/, '');
	push @results, $other->query_safe($oracle);

	$after->();
	$reader->query_safe('RESET pause.at');
	$reader->query_safe($run);
	push @results, $other->query_safe($oracle);

	$resident->query_safe('COMMIT') if $with_resident;
	$reader->query_safe($run);
	push @results,
	  $other->query_safe('SELECT * FROM oracle()'),
	  $other->query_safe('SELECT DISTINCT gaps FROM projection_partitions');
	# ANALYZE forgets that there was a child
	$other->query_safe('SET client_min_messages = error; DROP TABLE IF EXISTS child');
	$other->query_safe('ANALYZE wallet_stream');
	is("@results", '0 0 0|0 {}',
		"$place: $name" . ($with_resident ? ', with a resident writer' : ''));
	return;
}

my @places = (
	'before locking partitions',
	'before settling',
	'before reading the last number',
	'before listing the writers',
	'after listing the writers',
	'after settling',
	'before looking at the gaps',
	'after looking at the gaps');

my @scenarios = (
	[
		'a gap is filled, and its wallet goes on',
		sub { },
		sub {
			$one->query_safe('COMMIT');
			credit($two, 'w1');
		},
		sub { credit($two, 'w1') }
	],
	[
		'a writer ends and begins again',
		sub { },
		sub {
			$one->query_safe('COMMIT');
			$one->query_safe('BEGIN');
			credit($one, 'w1');
			credit($two, 'w2');
		},
		sub {
			credit($two, 'w2');
			$reader->query_safe($run);
			$one->query_safe('COMMIT');
			credit($two, 'w1');
		}
	],
	[
		'a writer begins',
		sub { $one->query_safe('COMMIT') },
		sub {
			$one->query_safe('BEGIN');
			credit($one, 'w1');
			credit($two, 'w2');
		},
		sub {
			$one->query_safe('COMMIT');
			credit($two, 'w1');
		}
	],
	[
		'a child of the table is made, and written to',
		sub { $one->query_safe('COMMIT') },
		sub {
			$two->query_safe('CREATE TABLE child (UNIQUE (aggregate_type, aggregate_id, aggregate_version)) INHERITS (wallet_stream)');
			$one->query_safe(<<'SQL');
BEGIN;
INSERT INTO child (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
VALUES (nextval('wallet_stream_no_seq'), gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'k', 1, '{"initialBalance": 1}');
SQL
		},
		sub {
			credit($two, 'w2');
			$reader->query_safe($run);
			$one->query_safe('COMMIT');
		}
	],
	[
		'somebody else runs',
		sub { },
		sub {
			credit($two, 'w2');
			$two->query_safe($run);
		},
		sub { $one->query_safe('COMMIT') }
	]);

foreach my $with_resident (0, 1)
{
	foreach my $place (@places)
	{
		stopped_at($place, $with_resident, $_) foreach @scenarios;
	}
}

# a writer whose events are seen, and who still holds its locks
$other->query_safe('TRUNCATE wallet_stream RESTART IDENTITY');
$other->query_safe("SELECT projection_reset('wallet_balance')");
$other->query_safe("SELECT wallet_create('w1', 1), wallet_create('w2', 1)");
$one->query_safe('BEGIN');
credit($one, 'w1');
credit($two, 'w2');
$reader->query_safe($run);
credit($one, 'w1');
$locker->query_safe('SELECT pg_advisory_lock(1)');
$one->query_safe("SET pause.at = 'before giving back the locks'");
$one->query_until(qr/begun/, "\\echo begun\nCOMMIT;\n\\echo ended\n");
$node->poll_query_until('postgres',
	"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1')
  or die 'it does not stop';
is($reader->query_safe($run), 2, 'events are applied before their writer has given back its locks');
is($other->query_safe($oracle), '0', 'in order');
$locker->query_safe('SELECT pg_advisory_unlock(1)');
$one->query_until(qr/ended/, '');

$_->quit foreach ($one, $two, $resident, $reader, $locker, $other);
$node->stop;
done_testing();
