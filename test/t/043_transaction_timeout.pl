# transaction_timeout (PostgreSQL 17 and later) ends no batch of a worker's.  It
# ends a session's, and then nothing of that is done: no event is lost or applied
# twice, no key is parked, and the projection has not failed.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until logged log_end);

# what the test itself asks may take its time
$ENV{PGOPTIONS} = '';
my $node = worker_node('transaction_timeout', "wallet_projection.poll_interval = '50ms'", 'wallet_projection.autostart = off');

plan skip_all => 'this release has no transaction_timeout'
  if query("SELECT count(*) FROM pg_settings WHERE name = 'transaction_timeout'") eq '0';

# Says what a session with this setting ends with.
sub timed
{
	my ($timeout, $statement) = @_;

	local $ENV{PGOPTIONS} = "-c transaction_timeout=$timeout";
	my ($status, $out, $err) = $node->psql('postgres', $statement);
	return $status == 0 ? 'done' : $err =~ /terminating connection due to transaction timeout/ ? 'ended' : $err;
}

sub status
{
	return query('SELECT state, parked, dead_letters, failures FROM projection_status');
}

install($node);
put_wallets($node, 20);
is(query("SELECT projection_run('wallet_balance')"), '20', 'the first events are applied');

# each row takes 20 ms
query(<<'SQL');
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
CREATE TRIGGER slow BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION slow();
SQL
my $credit = "SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 20) i";

query($credit);
is(timed('200ms', "SELECT projection_run('wallet_balance')"), 'ended', 'a session that runs the projection is ended');
is(query("SELECT sum(transaction_count) FROM wallet_balances"), '0', 'nothing of its batch is there');
like(status(), qr/^ready\|0\|0\|0?$/, 'the projection has not failed');
is(timed('200ms', "CALL projection_consume('async_projection', finish_when_no_messages => true)"),
	'ended', 'a session that consumes is ended');
like(status(), qr/^ready\|0\|0\|0?$/, 'the projection has not failed for that');
is(timed('0', "SELECT projection_run('wallet_balance')"), 'done', 'without it the events are applied');
consistent($node, 'after both');

# short batches are transactions of their own
query("SELECT projection_set('wallet_balance', 'batch_size', '1')");
query($credit) foreach 1 .. 4;
my $start = query('SELECT clock_timestamp()');
is(timed('1500ms', "CALL projection_consume('async_projection', finish_when_no_messages => true)"),
	'done', 'many short batches may last longer');
cmp_ok(query("SELECT extract(epoch FROM clock_timestamp() - '$start') * 1000"), '>', 1500, 'these have');
consistent($node, 'after short batches');
query("SELECT projection_set('wallet_balance', 'batch_size', '1000')");

# workers: of this setting, wherever it comes from, nothing ends
my $log = log_end();
$node->append_conf('postgresql.conf', "transaction_timeout = '200ms'");
$ENV{PGOPTIONS} = '-c transaction_timeout=0';
$node->reload;
query("ALTER DATABASE postgres SET transaction_timeout = '100ms'");
query("SELECT projection_start('wallet_balance')");
wait_until("SELECT bool_and(activity = 'running') FROM projection_status");
my $pids = "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM projection_workers";
my $before = query($pids);
foreach my $round (1 .. 3)
{
	query($credit);
	caught_up($node, "workers, round $round");
}
is(query($pids), $before, 'no worker was ended');
ok(!logged(qr/(?:wallet_projection worker|was cancelled).*transaction timeout/, $log), 'and no batch');
like(status(), qr/^ready\|0\|0\|0?$/, 'workers: the projection has not failed');
$node->stop;

done_testing();
