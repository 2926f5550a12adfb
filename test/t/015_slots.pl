# Worker slots never leak: a thousand workers of two databases begin and end in
# quick turns, at any moment of their lives, launchers too, in a server that has
# not one process more than it needs.  Then there is exactly who is wanted.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest qw(:DEFAULT query);

my $ends = 1000;
my $workers = 4;    # of each database
# The others are the launchers of wallet_projection and of logical replication.
my $node = worker_node(
	'slots',
	'max_worker_processes = ' . (2 * $workers + 2),
	"wallet_projection.workers = $workers",
	"wallet_projection.poll_interval = '50ms'");
my @databases = ('postgres', 'other');

# Exactly the wanted workers, each of them alive, each slot another's.
sub all_there
{
	my ($name) = @_;
	my $wanted = 2 * $workers;

	ok( $node->poll_query_until('postgres', <<"SQL"), "$name: exactly those who are wanted");
SELECT count(*) = $wanted AND count(DISTINCT w.pid) = $wanted AND count(a.pid) = $wanted
       AND count(*) FILTER (WHERE w.database = 'other') = $workers
       AND (SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'wallet_projection worker%') = $wanted
       AND (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wallet_projection launcher') = 1
  FROM projection_workers w
  LEFT JOIN pg_stat_activity a ON a.pid = w.pid AND a.datname = w.database
       AND a.backend_type = 'wallet_projection worker: ' || w.channel
SQL
	return;
}

# Terminate so many processes, as they come, by the same session.
query(<<'SQL');
CREATE TABLE terminated (pid integer PRIMARY KEY);
CREATE PROCEDURE terminate(victims text, ends integer) LANGUAGE plpgsql AS $$
DECLARE
  before integer := (SELECT count(*) FROM terminated);
  late timestamptz := clock_timestamp() + interval '60 s';
BEGIN
  WHILE (SELECT count(*) FROM terminated) < before + ends LOOP
    EXECUTE 'WITH victim AS MATERIALIZED (SELECT pid FROM ' || victims || ')
             INSERT INTO terminated SELECT pid FROM victim WHERE pg_terminate_backend(pid) ON CONFLICT DO NOTHING';
    COMMIT;
    ASSERT clock_timestamp() < late, 'no workers come any more';
    PERFORM pg_sleep(0.001);
  END LOOP;
END $$;
SQL
query('CREATE DATABASE other');
install($node, $_) foreach @databases;
all_there('at first');

# those who are at rest, so that nobody thinks that they cannot begin
my $resting =
  "pg_stat_activity WHERE backend_type LIKE 'wallet_projection worker%' AND state = 'idle'";
foreach my $round (1 .. 5)
{
	query(sprintf 'CALL terminate($$%s$$, %d)', $resting, $ends / 5 - 4);
	query(
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'wallet_projection launcher'"
	);
	query(sprintf 'CALL terminate($$%s$$, 4)', "$resting AND random() < 0.5");
	all_there("round $round");
}

# and those who have just begun: looked up in the slots, where they are before
# they have connected
foreach my $round (1 .. 3)
{
	query(q{CALL terminate('projection_workers WHERE pid IS NOT NULL', 40)});
	all_there("as they begin, round $round");
}
my @ends = slurp_file($node->logfile) =~ /terminating background worker "wallet_projection worker/g;
cmp_ok(scalar @ends, '>=', $ends, "$ends workers have ended");

foreach my $database (@databases)
{
	$node->safe_psql($database,
		"SELECT count(wallet_create('w' || i, i)) FROM generate_series(1, 100) i");
	caught_up($node, $database, $database);
}

# nobody is wanted: nobody is there
foreach my $database (@databases)
{
	$node->safe_psql($database, "SELECT projection_stop('wallet_balance')");
}
ok( $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM projection_workers'),
	'stopped: no slot is taken');

$node->stop;
done_testing();
