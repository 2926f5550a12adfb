# One key's trouble is its own, with background workers: a row that somebody
# else has locked, a payload whose storage is damaged, a damaged page.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WalletTest qw(worker_node install consistent caught_up put_wallets query wait_until logged log_end);

my $node = worker_node('one_key', 'wallet_projection.poll_interval = 100ms');

install($node, undef, retry_delay => '50 ms', retry_max_delay => '100 ms');
query('CREATE EXTENSION pg_surgery');
put_wallets($node, 100);
caught_up($node, '100 wallets');

#
# A locked row
#
my $application = $node->background_psql('postgres');
my $log = log_end();

$application->query_safe("BEGIN; SELECT wallet_id FROM wallet_balances WHERE wallet_id = 'w7' FOR UPDATE");
my $begun = time;
query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 100) i");
wait_until("SELECT count(*) = 99 FROM wallet_balances WHERE total_credits = 1");
my $took = time - $begun;
cmp_ok($took, '<', 3, sprintf('99 wallets go on while one row is locked (%.2f s)', $took));
is(query('SELECT partition_key, state, attempts, sqlstate FROM projection_dead_letters'),
	'w7|waiting for lock|0|55P03', 'the wallet is seen to wait for a lock, with no attempt counted');
is(query('SELECT state FROM projection_status'), 'ready', 'the projection has not failed');
is(query("SELECT projection_wait('wallet_balance', '200 ms')"),
	'f', 'projection_wait does not take what waits for a lock for applied');

# so it goes on for as long as the lock is held
query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 100) i");
wait_until("SELECT count(*) = 99 FROM wallet_balances WHERE total_credits = 2");
is(query('SELECT waiting FROM projection_dead_letters'), '1', 'what comes behind it waits as well');
wait_until("SELECT retry_error LIKE '55P03%' FROM wallet_projection.parked");
is(query('SELECT attempts FROM projection_dead_letters'), '0', 'looking again is no attempt');
is(logged(qr/could not be tried again|dead letter|failed/, $log), 0, 'the log says nothing of it');
$application->query_safe('COMMIT');
caught_up($node, 'once the lock is gone');
is(query('SELECT count(*) FROM projection_dead_letters'), '0', 'nobody is parked any more');

#
# A payload whose storage is damaged
#
query('ALTER TABLE wallet_stream ALTER payload SET STORAGE EXTERNAL');
query("SELECT projection_stop('wallet_balance')");
query(<<'SQL');
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'w' || i,
       (SELECT max(aggregate_version) + 1 FROM wallet_stream WHERE aggregate_id = 'w' || i),
       jsonb_build_object('amount', 3, 'text', repeat('x', 5000))
  FROM generate_series(1, 20) i
SQL
my $bad = query("SELECT no FROM wallet_stream WHERE aggregate_id = 'w5' ORDER BY no DESC LIMIT 1");
my $toast = query("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'wallet_stream'::regclass");

# the chunks are in the order of their events
my $chunks = query("SELECT array_agg(ctid) FROM $toast WHERE chunk_id = (SELECT chunk_id FROM $toast GROUP BY 1 ORDER BY 1 OFFSET 4 LIMIT 1)");
query("SELECT heap_force_kill('$toast'::regclass, '$chunks')");
my ($status, $out, $err) = $node->psql('postgres', "SELECT payload->>'amount' FROM wallet_stream WHERE no = $bad");
like($err, qr/missing chunk/, 'the payload is damaged');
query("SELECT wallet_credit('w6', 4)");
query("SELECT projection_start('wallet_balance')");
wait_until("SELECT count(*) = 20 FROM wallet_balances WHERE total_credits = 5 OR total_credits = 9 OR wallet_id = 'w5'");
wait_until("SELECT state = 'dead' FROM projection_dead_letters");
is(query('SELECT partition_key, no, sqlstate FROM projection_dead_letters'),
	"w5|$bad|XX001", 'a damaged payload parks its own key, and the event is named');
is(query('SELECT state, lag_events, last_error FROM projection_status'), 'ready|0|', 'and nothing else');

# in a session's own transaction it is not different
query("SELECT projection_stop('wallet_balance'), projection_reset('wallet_balance')");
query("SELECT projection_run('wallet_balance')");
is(query('SELECT partition_key, no, sqlstate FROM projection_dead_letters'),
	"w5|$bad|XX001", 'projection_run parks it as well');
query('SELECT dead_letter_delete(id) FROM projection_dead_letters');
is(query('SELECT count(*) FROM projection_dead_letters'), '0', 'and it can be skipped');
query("SELECT projection_start('wallet_balance')");

#
# A damaged page of the stream: nobody's fault, but it is said where
#
query("SELECT projection_stop('wallet_balance')");
query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(6, 100) i");
my $page = query("SELECT max((ctid::text::point)[0])::integer FROM wallet_stream");
my $before = query("SELECT max(no) FROM wallet_stream WHERE (ctid::text::point)[0] < $page");
my $file = $node->data_dir . '/' . query("SELECT pg_relation_filepath('wallet_stream')");

$node->stop;
open my $handle, '+<', $file or die "$file: $!";
binmode $handle;
seek $handle, $page * 8192, 0;
print $handle "\xff" x 64;
close $handle;
$node->start;
query("SELECT projection_start('wallet_balance')");
wait_until("SELECT state = 'failed' FROM projection_status");
like(query('SELECT last_error FROM projection_status'),
	qr/^XX001: invalid page.*reading stream "wallet_stream" (after event $before|from event \d+ on)$/,
	'a damaged page is named, and the event before it');
is(query('SELECT count(*) FROM projection_dead_letters'), '0', 'and parks nobody');
$node->stop('immediate');
done_testing();
