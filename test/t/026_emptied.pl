# What workers say, by themselves, of a read model that a crash has emptied, of
# positions that are gone, and of events above the last number of the sequence;
# and that they go on when it is mended.  And of an event whose payload is
# damaged on the disk, all else can be shown.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WalletTest qw(:DEFAULT query wait_until);

my $node = worker_node('emptied', "wallet_projection.poll_interval = '500ms'");

# Do workers tell of it?
sub told
{
	my ($pattern, $name) = @_;

	wait_until("SELECT state = 'failed' AND s.last_error LIKE '$pattern' AND failures > 0 FROM projection_status s");
	pass("$name: the worker tells");
	return;
}

install($node, 'postgres');
put_wallets($node, 20);
caught_up($node, 'at first');

# events above the sequence, which nobody tells of
my $begun = time();
query(q{INSERT INTO wallet_stream (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload) OVERRIDING SYSTEM VALUE
	VALUES (1000, gen_random_uuid(), 'WalletWasCreated', 'Wallet', 'replicated', 1, '{"initialBalance": 5}')});
is(query("SELECT state, lag_events FROM projection_status"), 'failed|0', 'an event above the sequence: the status tells at once');
told('55000: event 1000 of stream%', 'an event above the sequence');
cmp_ok(time() - $begun, '<', 10, 'soon');
is(sqlstate($node, "SELECT projection_wait('wallet_balance')"), '55000', 'nobody waits for it');
query("SELECT setval('wallet_stream_no_seq', 1000)");
caught_up($node, 'after setval');
wait_until("SELECT state = 'ready' FROM projection_status");

# a crash empties it
query('ALTER TABLE wallet_balances SET UNLOGGED');
told('0A000: read model "wallet_balances" is unlogged%SET LOGGED%', 'an unlogged read model');
$node->stop('immediate');
$node->start;
is(query('SELECT count(*) FROM wallet_balances'), '0', 'a crash has emptied it');
told('0A000: read model%', 'after the crash');
query('ALTER TABLE wallet_balances SET LOGGED');
wait_until(q{SELECT s.last_error LIKE '55000: read model "wallet_balances" is empty%' FROM projection_status s});
is(sqlstate($node, "SELECT projection_wait('wallet_balance')"), '55000', 'an empty read model is not waited for');
query("SELECT projection_reset('wallet_balance')");
caught_up($node, 'after projection_reset');

# positions are gone
query('UPDATE wallet_projection.position SET groups = groups & ~8');
told('55000: positions of projection%15 of its 16%', 'missing positions');
query("SELECT projection_reset('wallet_balance')");
caught_up($node, 'after another projection_reset');

# a payload that cannot be read
query(q{SELECT projection_set('wallet_balance', 'max_attempts', '1')});
query(q{INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
	SELECT gen_random_uuid(), 'WalletWasDebited', 'Wallet', 'damaged', 1, jsonb_build_object('amount', string_agg(md5(i::text), '')), '{"m": 2}'
	  FROM generate_series(1, 1000) i});
wait_until("SELECT count(*) = 1 FROM projection_dead_letters");
query('CHECKPOINT');
my $toast = $node->data_dir . '/' . query("SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'wallet_stream'::regclass");
$node->stop;
truncate($toast, 0) or die "$toast: $!";
$node->start;
is( query('SELECT s.partition_key, s.payload IS NULL, s.metadata, s.event_id IS NOT NULL, s.created_at IS NOT NULL FROM projection_dead_letters l, dead_letter_show(l.id) s'),
	'damaged|t|{"m": 2}|t|t',
	'all but the damaged payload is shown');
is(query('SELECT dead_letters, lag_events FROM projection_status'), '1|0', 'and the status');

# and a page of the stream, or of its index, that cannot be read is what the status tells
query("SELECT projection_stop('wallet_balance')");
query("SELECT count(wallet_create('late' || i, 1)) FROM generate_series(1, 500) i");
query('CHECKPOINT');
my $data = $node->data_dir;
my @files = map { "$data/" . query("SELECT pg_relation_filepath('$_'::regclass)") } qw(wallet_stream_pkey wallet_stream);
foreach my $file (@files)
{
	$node->stop;
	my $size = -s $file;
	open my $handle, '+<', $file or die "$file: $!";
	print $handle "\x5a" x $size or die "$file: $!";
	close $handle or die "$file: $!";
	$node->start;
	like(query('SELECT state, last_error FROM projection_status'), qr/^failed\|XX001: invalid page in block/, 'a damaged page is a finding');
}

$node->stop;
done_testing();
