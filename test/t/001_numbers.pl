# Numbers out of order (G2, G3): on a stream of our own they cannot come about,
# or are noticed.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest;

my $node = new_node('numbers');
my $event =
  "gen_random_uuid(), 'WalletWasCreated', 'Wallet', %s, 1, '{\"initialBalance\": 5}'";
my $columns =
  'event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload';

sub run_error
{
	my ($status, $out, $err) =
	  $node->psql('postgres', "SELECT projection_run('wallet_balance')");
	return $err;
}

install($node);
put_wallets($node, 3);
is( $node->safe_psql('postgres', "SELECT projection_run('wallet_balance')"),
	3, 'three events applied');

# G2: a number that the INSERT does not draw itself
is( sqlstate(
		$node, "INSERT INTO wallet_stream (no, $columns) VALUES (1000, "
		  . sprintf($event, "'x'") . ')'),
	'428C9',
	'an INSERT that brings its own number is refused');
is( sqlstate($node, 'UPDATE wallet_stream SET no = 1000 WHERE no = 1'),
	'428C9', 'so is an UPDATE of the number');

# a number that is drawn, but whose row is not there yet
foreach my $case (
	[ 'RETURNING', 'r', "INSERT INTO wallet_stream ($columns) VALUES ("
		  . sprintf($event, "'r'") . ") RETURNING projection_run('wallet_balance')" ],
	[ 'WITH', 'w', "WITH i AS (INSERT INTO wallet_stream ($columns) VALUES ("
		  . sprintf($event, "'w'")
		  . ") RETURNING no) SELECT projection_run('wallet_balance') FROM i" ],
	[ 'VALUES', 'v', "INSERT INTO wallet_stream ($columns) SELECT "
		  . sprintf($event, "'v' || projection_run('wallet_balance')") ],
	[ 'a trigger', 't', "SELECT wallet_create('t', 5)" ])
{
	my ($where, $wallet, $statement) = @$case;

	$node->safe_psql('postgres', <<'SQL') if $wallet eq 't';
CREATE FUNCTION run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM projection_run('wallet_balance');
  RETURN new;
END $$;
CREATE TRIGGER run BEFORE INSERT ON wallet_stream FOR EACH ROW EXECUTE FUNCTION run();
SQL
	$node->safe_psql('postgres', $statement);
	$node->safe_psql('postgres', 'DROP TRIGGER run ON wallet_stream')
	  if $wallet eq 't';
	$node->safe_psql('postgres', "SELECT projection_run('wallet_balance')");
	consistent($node, "a projection run from $where of the INSERT");
}

# G3: a sequence with a cache gives numbers in another order than versions
my $cached = $node->background_psql('postgres');
$node->safe_psql('postgres', 'ALTER SEQUENCE wallet_stream_no_seq CACHE 10');
$cached->query_safe("SELECT wallet_credit('w1', 1)");
is(sqlstate($node, "SELECT projection_run('wallet_balance')"),
	'55000', 'a sequence with a cache is noticed');
like(run_error(), qr/HINT:  Run: ALTER SEQUENCE public\.wallet_stream_no_seq CACHE 1 /,
	'and the hint says what to do');
$node->safe_psql('postgres', 'ALTER SEQUENCE wallet_stream_no_seq CACHE 1');
is( $node->safe_psql('postgres', "SELECT projection_run('wallet_balance')"),
	1, 'without a cache it goes on');
$node->safe_psql('postgres', "SELECT wallet_credit('w1', 1)");
$node->safe_psql('postgres', "SELECT projection_run('wallet_balance')");
$cached->query_safe("SELECT wallet_credit('w1', 1)");
$node->safe_psql('postgres', "SELECT projection_run('wallet_balance')");
consistent($node, 'numbers that a session had in its cache');

foreach my $option ('INCREMENT 2', 'CYCLE')
{
	$node->safe_psql('postgres', "ALTER SEQUENCE wallet_stream_no_seq $option");
	is(sqlstate($node, "SELECT projection_run('wallet_balance')"),
		'55000', "a sequence with $option is noticed");
	$node->safe_psql('postgres',
		'ALTER SEQUENCE wallet_stream_no_seq INCREMENT 1 NO CYCLE');
}

# a sequence that goes backwards
foreach my $restart (
	'ALTER SEQUENCE wallet_stream_no_seq RESTART',
	"SELECT setval('wallet_stream_no_seq', 2)")
{
	my $last = $node->safe_psql('postgres',
		'SELECT last_position FROM projection_status');

	$node->safe_psql('postgres', $restart);
	is(sqlstate($node, "SELECT projection_run('wallet_balance')"),
		'55000', "$restart is noticed");
	like(run_error(), qr/the numbers of stream "wallet_stream" went backwards/,
		'and said');
	$node->safe_psql('postgres', "SELECT setval('wallet_stream_no_seq', $last)");
	is( $node->safe_psql('postgres', "SELECT projection_run('wallet_balance')"),
		0, 'set forward, it goes on');
}

# numbers that begin again, in a new file or in the old one, under a session
# that knows the old ones; soon there are more of them than it knew
my $reader = $node->background_psql('postgres');
my $writer = $node->background_psql('postgres');
foreach my $case (
	[ 'TRUNCATE wallet_stream RESTART IDENTITY', 100 ],
	[ "TRUNCATE wallet_stream; SELECT setval('wallet_stream_no_seq', 1, false)", 2 ])
{
	my ($restart, $wallets) = @$case;

	$reader->query_safe("SELECT wallet_create(1)");
	$reader->query_safe("SELECT projection_run('wallet_balance')");
	$node->safe_psql('postgres', $restart);
	is(sqlstate($node, "SELECT projection_run('wallet_balance')"),
		'55000', "$restart is noticed");
	$node->safe_psql('postgres', "SELECT projection_reset('wallet_balance')");
	$writer->query_safe("BEGIN; SELECT wallet_create(1)");
	put_wallets($node, $wallets);
	is($reader->query_safe("SELECT projection_run('wallet_balance')"),
		$wallets, 'after a reset it goes on');
	$writer->query_safe('COMMIT');
	is($reader->query_safe("SELECT projection_run('wallet_balance')"),
		1, 'and what it knew of the old numbers does not count');
	consistent($node, 'numbers that began again');
}

$_->quit foreach ($cached, $reader, $writer);
$node->stop;
done_testing();
