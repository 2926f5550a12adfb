# Workers share fairly: a partition that is far behind does not keep those at
# the end of the stream waiting, and a worker with nothing to do helps one that
# cannot keep up.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

my $node = worker_node(
	'fair',
	"wallet_projection.poll_interval = '100ms'",
	'wallet_projection.autostart = off');
install($node, 'postgres', partitions => 4, batch_size => 20);
my $holder = $node->background_psql('postgres');
my $library = build_library($node, 'hold', "$FindBin::RealBin/hold.c",
	map { "$FindBin::RealBin/../../src/$_" } qw(keylock.c nap.c position/sets.c position.c));

query("CREATE FUNCTION hold_partition(text, integer, integer) RETURNS void LANGUAGE c AS '$library', 'hold_partition'");

# Hold these partitions, as another consumer would.
sub hold
{
	my $partitions = join ', ', @_;

	$holder->query_safe(
		"BEGIN; SELECT hold_partition('wallet_balance', p, 4) FROM unnest(ARRAY[$partitions]) p"
	);
	return;
}

sub head_is_last
{
	my $partitions = join ', ', @_;

	return
	  "SELECT bool_and(head = (SELECT max(no) FROM wallet_stream)) FROM projection_partitions WHERE partition IN ($partitions)";
}

# a wallet of each partition
query("SELECT count(wallet_create('w' || i, 1000000)) FROM generate_series(1, 40) i");
my @wallet;
foreach my $partition (0 .. 3)
{
	hold(grep { $_ != $partition } 0 .. 3);
	query("SELECT projection_run('wallet_balance')");
	$holder->query_safe('ROLLBACK');
	push @wallet,
	  query(
		"SELECT wallet_id FROM wallet_balances WHERE wallet_id <> ALL ('{@{[join ',', @wallet]}}') ORDER BY xmin::text::bigint DESC, wallet_id LIMIT 1"
	  );
}
query('SELECT projection_run(\'wallet_balance\')');

# One worker; partitions 0 and 2 get a backlog of many slow batches while
# somebody holds them.
sub make_backlog
{
	hold(0, 2);
	query(<<"SQL");
CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END \$\$;
CREATE OR REPLACE TRIGGER slow BEFORE UPDATE ON wallet_balances FOR EACH ROW
  WHEN (NEW.wallet_id IN ('$wallet[0]', '$wallet[2]')) EXECUTE FUNCTION slow();
SELECT count(wallet_credit(w, 1)) FROM generate_series(1, 2000) i, unnest(ARRAY['$wallet[0]', '$wallet[2]']) w;
SQL
	return;
}

sub transactions
{
	my ($partition) = @_;

	return query(
		"SELECT transaction_count FROM wallet_balances WHERE wallet_id = '$wallet[$partition]'");
}

query("SELECT channel_scale('async_projection', 1), projection_start('wallet_balance')");
make_backlog();
wait_until(head_is_last(1, 3));
$holder->query_safe('ROLLBACK');
wait_until("SELECT transaction_count > 0 FROM wallet_balances WHERE wallet_id = '$wallet[0]'");
query("SELECT wallet_credit('$wallet[1]', 1)");
wait_until("SELECT transaction_count = 1 FROM wallet_balances WHERE wallet_id = '$wallet[1]'");
cmp_ok(transactions(0), '<', 2000,
	'an event at the end of the stream does not wait for a backlog');
is_prefix($node, 'in the midst of the backlog');
query('DROP TRIGGER slow ON wallet_balances');
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'the backlog goes');
consistent($node, 'after the backlog');

# Both partitions are the first worker's; the second one has nothing to do.
query("SELECT channel_scale('async_projection', 2)");
wait_until('SELECT count(*) = 2 FROM projection_workers WHERE pid IS NOT NULL');
make_backlog();
wait_until(head_is_last(1, 3));
$holder->query_safe('ROLLBACK');
wait_until('SELECT min(events) > 500 FROM projection_workers');
pass('a worker with nothing to do helps one that cannot keep up');
query('DROP TRIGGER slow ON wallet_balances');
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'and together they catch up');
consistent($node, 'after the help');

$holder->quit;
$node->stop;
done_testing();
