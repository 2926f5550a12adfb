# wallet_projection.batch_memory bounds what a backfill takes, however many
# wallets there are.  Measured as the growth of the process's address space.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest qw(:DEFAULT query);

plan skip_all => 'there is no /proc' unless -r "/proc/$$/status";

my $wallets = 200_000;
my $node = new_node('memory', 'jit = off', 'shared_buffers = 64MB',
	'max_wal_size = 1GB');

# The most that the process has had, in kilobytes.
sub peak
{
	my ($pid) = @_;

	slurp_file("/proc/$pid/status") =~ /^VmPeak:\s*(\d+) kB/m or die;
	return $1;
}

# By how much a backfill within these limits makes a session grow.
sub growth
{
	my ($batch_memory) = @_;
	my $session = $node->background_psql('postgres');
	my $pid = backend_pid($session);

	# what any session takes at its first batch
	$session->query_safe("SET wallet_projection.batch_memory = '$batch_memory'");
	$session->query_safe("SELECT projection_reset('wallet_balance')");
	$session->query_safe("SELECT projection_run('wallet_balance', 1000)");

	my $before = peak($pid);
	is($session->query_safe("SELECT projection_backfill('wallet_balance')"),
		$wallets - 1000, "backfill in $batch_memory");
	my $growth = peak($pid) - $before;

	$session->quit;
	note "grew by $growth kB";
	is( $node->safe_psql(
			'postgres', 'SELECT count(*), sum(current_balance) FROM wallet_balances'),
		"$wallets|$wallets.0000",
		'all wallets are there');
	return $growth;
}

install($node);
$node->safe_psql('postgres', <<"SQL");
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'wallet number ' || i, 1, '{"initialBalance": 1}'
  FROM generate_series(1, $wallets) i;
SQL

my $unbounded = growth('256MB');
my $bounded = growth('2MB');

# By how much it grows when so many wallets of a batch fail.
sub growth_with_failures
{
	my ($failing) = @_;
	my $session = $node->background_psql('postgres');
	my $pid = backend_pid($session);

	$session->query_safe("SELECT projection_reset('wallet_balance')");
	$session->query_safe("SELECT projection_run('wallet_balance', 1000)");
	$session->query_safe(
		"ALTER TABLE wallet_balances ADD CHECK (right(wallet_id, 2) <> '77') NOT VALID")
	  if $failing;

	my $before = peak($pid);
	$session->query_safe("SELECT projection_run('wallet_balance')");
	my $growth = peak($pid) - $before;

	is($session->query_safe('SELECT count(*) FROM projection_dead_letters'),
		$failing, "$failing keys fail");
	$session->quit;
	note "grew by $growth kB";
	return $growth;
}

cmp_ok($unbounded, '>', 30_000, 'so many wallets would take much');
cmp_ok($bounded, '<', 16_000, 'but take no more than they may, but for a cache');

query("SELECT projection_set('wallet_balance', 'max_parked', '2000')");

my $clean = growth_with_failures(0);
my $failing = growth_with_failures(1990);

# the server keeps 8 kB for some subtransactions, of which each key takes two or three
cmp_ok($failing, '<', $clean + 50_000, 'keys that fail leave little in memory');

# By how much it grows when as many rows are updated, with this trigger.
sub growth_of_updates
{
	my ($version, $trigger) = @_;
	my $session = $node->background_psql('postgres');
	my $pid = backend_pid($session);

	query(<<"SQL");
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'wallet number ' || i, $version, '{"amount": 1}'
  FROM generate_series(1, $wallets) i;
$trigger
SQL
	$session->query_safe("SELECT projection_run('wallet_balance', 1000)");

	my $before = peak($pid);
	is($session->query_safe("SELECT projection_backfill('wallet_balance')"), $wallets - 1000, "version $version");
	my $growth = peak($pid) - $before;

	$session->quit;
	note "grew by $growth kB";
	return $growth;
}

query("ALTER TABLE wallet_balances DROP CONSTRAINT wallet_balances_wallet_id_check; SELECT projection_reset('wallet_balance')");
query("SELECT projection_backfill('wallet_balance')");
my $plain = growth_of_updates(2, '');
my $triggered = growth_of_updates(3, <<'SQL');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.total_credits := NEW.total_credits + 0; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION touch();
SQL
cmp_ok($triggered, '<', $plain + 16_000, 'a trigger for each row leaves nothing in memory');

$node->stop;
done_testing();
