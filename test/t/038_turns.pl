# More databases than worker processes: each is served within seconds, the log
# says it once, and nobody is moved where there are enough.  And a server that is
# to be read-only: workers rest, say so, and come back.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT logged log_end);

# two of these are for workers
my $node = worker_node('turns', 'max_worker_processes = 4',
	'wallet_projection.workers = 1');
my @databases = map { "d$_" } 1 .. 6;
my $credit = "SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i";
my $short = qr/could not start all workers/;

sub query
{
	my ($database, $query) = @_;

	return $node->safe_psql($database, $query);
}

# Each database is served, however the others are.
sub all_follow
{
	my ($name, @all) = @_;

	query($_, $credit) foreach @all;
	is(query($_, "SELECT projection_wait('wallet_balance', '30 s')"), 't', "$name: $_ is served") foreach @all;
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE d1');
install($node, 'd1');
query('d1', "SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 10) i");
query('d1', "SELECT projection_wait('wallet_balance', '60 s')");
$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE d1") foreach @databases[ 1 .. 5 ];
query($_, "SELECT projection_start('wallet_balance')") foreach @databases[ 1 .. 5 ];

all_follow("round $_", @databases) foreach 1 .. 2;

# also where some have work all the time
query('d1', <<'SQL');
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END';
CREATE TRIGGER slow AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION slow();
SELECT count(wallet_create('b' || i, 1)) FROM generate_series(1, 120) i;
SQL
all_follow('one is busy', @databases[ 1 .. 5 ]);
cmp_ok(query('d1', "SELECT count(*) FROM wallet_balances WHERE wallet_id LIKE 'b%'"), '<', 120, 'and so it is still');
is(query('d1', "SELECT projection_wait('wallet_balance', '60 s')"), 't', 'but it gets on');
is(logged($short), 1, 'the log says it once');
query('d1', 'DROP TRIGGER slow ON wallet_balances');
consistent($node, $_, $_) foreach @databases;

# enough of them
query($_, "SELECT projection_stop('wallet_balance')") foreach @databases[ 2 .. 5 ];
my $workers =
  "SELECT string_agg(database || ' ' || pid, ', ' ORDER BY database) FROM projection_workers";
$node->poll_query_until('d1',
	"SELECT coalesce(string_agg(database, ' ' ORDER BY database), '') = 'd1 d2' FROM projection_workers WHERE pid IS NOT NULL")
  or die 'the others do not leave';
my $before = query('d1', $workers);
all_follow("enough, round $_", 'd1', 'd2') foreach 1 .. 5;
is(query('d1', $workers), $before, 'where there are enough nobody is moved');

# read-only
my $from = log_end();
$node->safe_psql('postgres', 'ALTER SYSTEM SET default_transaction_read_only = on');
$node->reload;
$node->poll_query_until('d1', 'SELECT count(*) = 0 FROM projection_workers')
  or die 'workers do not rest';
is( query('d1', 'SELECT activity, workers_problem FROM projection_status'),
	'waiting|default_transaction_read_only is on for the whole server: workers rest until it is off',
	'read-only: the status says so');
{
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off';

	query('d1', $credit);
}
my ($status, $out, $err) = $node->psql('d1', "SELECT projection_wait('wallet_balance', '0.3 s')");
is($out, 'f', 'read-only: nobody writes');
like($err, qr/NOTICE: .*default_transaction_read_only is on/, 'and projection_wait says why');
is(sqlstate($node, "CALL projection_consume('async_projection')", 'd1'), '25006', 'nor does projection_consume');
$node->reload;
$node->safe_psql('postgres', 'SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only');
$node->reload;
is(query('d1', "SELECT projection_wait('wallet_balance', '30 s')"), 't', 'no longer read-only: workers come back');
is(logged(qr/LOG:  workers of wallet_projection rest/, $from), 1, 'the log has it once');
consistent($node, 'read-only', 'd1');

$node->stop;
done_testing();
