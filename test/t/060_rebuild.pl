# A rebuild under load: writers and workers go on, somebody spoils rows, a reader
# polls, processes are killed at random moments, and two sessions share the work.
# The reader never sees a row of a state that the events do not have, once a row is
# right; lag stays short; in the end everything is right.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Time::HiRes qw(time usleep);
use WalletTest qw(:DEFAULT query);

my $wallets = 2000;
my $node = worker_node('rebuild', 'wallet_projection.workers = 2',
	'max_worker_processes = 16', 'wallet_projection.poll_interval = 200ms');

install($node, 'postgres', partitions => 4, max_parked => 1000);
query("SELECT count(wallet_create('w' || i, 1000000)) FROM generate_series(1, $wallets) i");
query("SELECT count(wallet_credit('w' || (1 + i % $wallets), 1)) FROM generate_series(1, 20000) i");
ok(query("SELECT projection_wait('wallet_balance', '60 s')") eq 't', 'all is applied');

# Whatever somebody has done to rows.
sub spoil
{
	query(<<'SQL');
UPDATE wallet_balances SET current_balance = -5 WHERE random() < 0.3;
UPDATE wallet_balances SET transaction_count = -1 WHERE random() < 0.1;
DELETE FROM wallet_balances WHERE random() < 0.05;
INSERT INTO wallet_balances (wallet_id) SELECT 'foreign' || i FROM generate_series(1, 20) i ON CONFLICT DO NOTHING;
SQL
	return;
}

sub rebuild
{
	my ($session) = @_;
	return start_client($node, 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-c',
		"CALL projection_rebuild('wallet_balance')", '-d');
}

sub right
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(query('SELECT count(*) FROM wallet_projection.parked'), '0', "$name: no key is parked");
	is(query("SELECT count(*) FROM projection_verify('wallet_balance')"), '0', "$name: each row is right");
	caught_up($node, $name);
	return;
}

# a reader that polls, and how long an event takes until its row shows it
query("SELECT wallet_create('lag', 1000000)");
query(<<'SQL');
CREATE TABLE seen (at timestamptz DEFAULT clock_timestamp(), rows bigint, lag interval);
CREATE PROCEDURE watch(seconds int) LANGUAGE plpgsql AS $$
DECLARE
    ends timestamptz := clock_timestamp() + make_interval(secs => seconds);
    began timestamptz;
    version bigint;
BEGIN
    WHILE clock_timestamp() < ends LOOP
        version := wallet_credit('lag', 1);
        COMMIT;
        began := clock_timestamp();
        LOOP
            EXIT WHEN (SELECT transaction_count FROM wallet_balances WHERE wallet_id = 'lag') >= version - 1;
            EXIT WHEN clock_timestamp() > began + interval '20 s';
            PERFORM pg_sleep(0.005);
            COMMIT;
        END LOOP;
        INSERT INTO seen (rows, lag) SELECT count(*), clock_timestamp() - began FROM wallet_balances;
        COMMIT;
    END LOOP;
END $$;
SQL

my $writers = start_writers($node, 3, $wallets);

spoil();
query("DELETE FROM wallet_balances WHERE wallet_id = 'lag'; CALL projection_rebuild('wallet_balance')");
my $reader = start_client($node, 'psql', '-X', '-c', 'CALL watch(8)', '-d');
my $end = time + 7;
while (time < $end)
{
	query("UPDATE wallet_balances SET current_balance = -5 WHERE random() < 0.5 AND wallet_id <> 'lag'");
	query("CALL projection_rebuild('wallet_balance')");
}
$reader->finish;
cmp_ok(query('SELECT count(*) FROM seen'), '>', 5, 'the reader has seen something');
is(query("SELECT count(*) FROM seen WHERE rows < $wallets"), '0', 'never an empty or half a table');
my $lag = query("SELECT max(extract(epoch FROM lag)) FROM seen");
note("lag at most $lag s");
cmp_ok($lag, '<', $ENV{WALLET_SLOW} ? 10 : 1, 'events are applied meanwhile, within a second');

# killed at random moments
for my $round (1 .. 4)
{
	spoil();
	my $client = rebuild();
	usleep(int(rand(600_000)));
	my $pid = query("SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL projection_rebuild%' AND state = 'active' LIMIT 1");
	if ($pid ne '' && $round % 2)
	{
		query("SELECT pg_terminate_backend($pid)");
	}
	elsif ($pid ne '')
	{
		stop_client($writers);
		crash($node, $pid);
		$writers = start_writers($node, 3, $wallets);
	}
	eval { $client->finish };
	is(query('SELECT count(*) FROM projection_progress'), '0', "round $round: nothing is left of it")
	  if $pid ne '' && $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM projection_progress');
}
query("CALL projection_rebuild('wallet_balance')");
stop_writers($node, $writers);
query("CALL projection_rebuild('wallet_balance')");
right('after crashes');

# an emptied table, two sessions, and one that is cancelled
$writers = start_writers($node, 2, $wallets);
query('TRUNCATE wallet_balances');
my @clients = (rebuild(), rebuild(), rebuild());
usleep(300_000);
query(<<'SQL');
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
 WHERE query LIKE 'CALL projection_rebuild%' AND state = 'active' ORDER BY pid LIMIT 1
SQL
$_->finish foreach @clients;
query("CALL projection_rebuild('wallet_balance')");
stop_writers($node, $writers);
ok($node->poll_query_until('postgres', "SELECT projection_wait('wallet_balance', '60 s')"), 'live work goes on');
query("CALL projection_rebuild('wallet_balance')");
right('after an emptied table');

done_testing();
