# Two projections over one stream: a channel serves them in turn, so that a
# backlog or an error of the one does not keep the other waiting, and each has
# parked keys of its own.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

my $node = worker_node(
	'two',
	"wallet_projection.poll_interval = '100ms'",
	'wallet_projection.autostart = off');

# The second one is declared in the catalog, as an extension of its own might;
# its read model must have another name than the first one's.
query(<<'SQL');
CREATE EXTENSION wallet_projection;
INSERT INTO wallet_projection.projection
SELECT 'copy', stream, aggregate_type, handler, channel, partitions, batch_size, false
  FROM wallet_projection.projection WHERE name = 'wallet_balance';
SELECT projection_init('copy');
ALTER TABLE wallet_balances RENAME TO wallet_copy;
UPDATE wallet_projection.projection_state SET table_name = 'wallet_copy' WHERE projection = 'copy';
SQL
install($node, 'postgres', -extension => 0);
query("SELECT projection_set(projection, 'batch_size', '20'), projection_set(projection, 'max_attempts', '1') FROM projection_status");

sub credits
{
	my ($table, $wallet) = @_;

	return "(SELECT total_credits FROM $table WHERE wallet_id = '$wallet')";
}

# Are both at the end of the stream, and do their rows equal the events?
sub both_exact
{
	my ($name) = @_;

	foreach my $projection ('wallet_balance', 'copy')
	{
		is(query("SELECT projection_wait('$projection', '60 s')"), 't', "$name: $projection has all");
	}
	consistent($node, $name);
	is( query('SELECT count(*) FROM (TABLE wallet_balances EXCEPT TABLE wallet_copy) x'),
		'0', "$name: both are the same");
	return;
}

# The copy has a backlog of slow batches; the other one has none.
sub make_backlog
{
	query(<<'SQL');
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON wallet_copy FOR EACH ROW EXECUTE FUNCTION slow();
SELECT count(wallet_credit('w' || i % 40, 1)) FROM generate_series(1, 4000) i;
SQL
	return;
}

my $ends = 0;

# While whoever it is works on the backlog, an event is applied by the other.
sub does_not_wait
{
	my ($name) = @_;
	my $heads = "(SELECT sum(head) FROM projection_partitions WHERE projection = 'copy')";
	my $before = query("SELECT $heads");

	wait_until("SELECT $heads > $before");
	query("SELECT wallet_credit('end', 1)");
	$ends++;
	wait_until('SELECT ' . credits('wallet_balances', 'end') . " = $ends");
	is(query('SELECT ' . credits('wallet_copy', 'end') . " = $ends"), 'f',
		"$name: an event of one projection does not wait for the backlog of another");
	query('DROP FUNCTION slow CASCADE');
	return;
}

query("SELECT count(wallet_create('w' || i, 100)) FROM generate_series(0, 39) i; SELECT wallet_create('end', 0)");

#
# One worker for both
#
query("SELECT channel_scale('async_projection', 1)");
query('SELECT projection_start(projection) FROM projection_status');
both_exact('one worker');
query("SELECT projection_stop('copy')");
make_backlog();
query("SELECT projection_start('copy')");
does_not_wait('one worker');
both_exact('one worker, after the backlog');

# one stops, the other does not
query("SELECT projection_stop('copy'), wallet_credit('w1', 7)");
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'one goes on');
is(query("SELECT projection_wait('copy', '0.3 s')"), 'f', 'one is stopped');
is(query('SELECT projection, activity FROM projection_status ORDER BY 1'),
	"copy|stopped\nwallet_balance|running", 'the status says so');
query("SELECT projection_start('copy')");
both_exact('both started');

# one is stopped while the worker, which was about to come to it, is held up by
# the other one; as it may have come to it already, it is tried again
my $left = 't';
foreach (1 .. 10)
{
	my $holder = $node->background_psql('postgres');

	$holder->query_safe('BEGIN; LOCK TABLE wallet_copy IN SHARE MODE');
	query("SELECT wallet_credit('w2', 1)");
	wait_until("SELECT count(*) = 1 FROM pg_locks WHERE relation = 'wallet_copy'::regclass AND NOT granted");
	query("SELECT projection_stop('wallet_balance')");
	$left = query("SELECT projection_wait('wallet_balance', '0')");
	$holder->query_safe('COMMIT');
	$holder->quit;
	last if $left eq 'f';
	query("SELECT projection_start('wallet_balance')");
}
is($left, 'f', 'it is stopped before the worker comes to it');
is(query("SELECT projection_wait('copy', '60 s')"), 't', 'the worker goes on');
is(query("SELECT projection_wait('wallet_balance', '0.3 s')"), 'f', 'and leaves it alone');
query("SELECT projection_start('wallet_balance')");
both_exact('it is started again');

# somebody locks a read model: the other projection does not wait, nor does who
# then asks for something that the worker holds
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE wallet_copy IN ACCESS EXCLUSIVE MODE');
query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(0, 39) i");
is(query("SELECT projection_wait('wallet_balance', '5 s')"), 't', 'a locked read model does not keep the other projection waiting');
wait_until("SELECT count(*) = 1 FROM pg_locks WHERE relation = 'wallet_copy'::regclass AND NOT granted");
$locker->query_safe("SELECT projection_set('copy', 'batch_size', '10000')");
$locker->query_safe('COMMIT');
$locker->quit;
both_exact('no longer locked');

# a slow trigger, in a batch that could be large
query("SELECT projection_set('wallet_balance', 'batch_size', '10000')");
query(<<'SQL');
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON wallet_copy FOR EACH ROW EXECUTE FUNCTION slow();
SELECT count(wallet_create('slow' || i, 1)) FROM generate_series(1, 1500) i;
SELECT wallet_credit('end', 1);
SQL
$ends++;
is(query("SELECT projection_wait('wallet_balance', '8 s')"), 't', 'a slow projection does not keep the other one waiting for long');
is(query("SELECT max(lag_events) > 0 FROM projection_partitions WHERE projection = 'copy'"), 't', 'though it is not done itself');
query('DROP FUNCTION slow CASCADE');
both_exact('no longer slow');
query("SELECT projection_set(projection, 'batch_size', '20') FROM projection_status");

# one is broken, the other is not
query('ALTER TABLE wallet_copy RENAME total_credits TO gone');
query("SELECT wallet_credit('w1', 8)");
wait_until("SELECT state = 'failed' FROM projection_status WHERE projection = 'copy'");
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'one is well');
is(query('SELECT projection, state FROM projection_status ORDER BY 1'),
	"copy|failed\nwallet_balance|ready", 'the status says so');
query('ALTER TABLE wallet_copy RENAME gone TO total_credits');
both_exact('healed');

#
# An event that fails in both
#
query(<<'SQL');
ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (total_credits < 10000);
ALTER TABLE wallet_copy ADD CONSTRAINT small CHECK (total_credits < 10000);
SELECT wallet_credit('w3', 20000), wallet_credit('w4', 1);
SELECT wallet_credit('w3', 5);
SQL
is(query("SELECT projection_wait(projection, '60 s') FROM projection_status"), "t\nt", 'an event fails in both');
is( query('SELECT projection, partition_key, waiting, state, count(*) OVER (PARTITION BY no) FROM projection_dead_letters ORDER BY 1'),
	"copy|w3|1|dead|2\nwallet_balance|w3|1|dead|2",
	'two entries, of one event');
query('ALTER TABLE wallet_balances DROP CONSTRAINT small');
is(query("SELECT dead_letter_replay_all('wallet_balance')"), '1', 'the one is replayed');
is(query('SELECT projection FROM projection_dead_letters'), 'copy', 'the other is not');
consistent($node, 'the one is replayed');
is(query('SELECT ' . credits('wallet_copy', 'w3') . ' < 20000'), 't', 'its row stands where it was');
is(query('SELECT dead_letter_delete(id) FROM projection_dead_letters'), 't', 'the other is deleted');
is( query('SELECT ' . credits('wallet_balances', 'w3') . ' - ' . credits('wallet_copy', 'w3')),
	'20000.0000',
	'it skips that event, and only that');
query("ALTER TABLE wallet_copy DROP CONSTRAINT small; SELECT projection_reset('copy')");
is(query("SELECT projection_wait('copy', '60 s')"), 't', 'the other begins again');
is( query('SELECT ' . credits('wallet_balances', 'w3') . ' - ' . credits('wallet_copy', 'w3')),
	'20000.0000',
	'a skipped event stays skipped');
query("DELETE FROM wallet_projection.skipped; SELECT projection_reset('copy')");
both_exact('not skipped any more');

#
# A consumer from outside
#
query("SELECT projection_stop(projection) FROM projection_status");
make_backlog();
query("SELECT projection_run('wallet_balance')");
my $consumer = start_client($node, 'psql', '-X', '-c', "CALL projection_consume('async_projection')", '-d');
does_not_wait('a consumer');
both_exact('a consumer');
stop_client($consumer);
query("SELECT wallet_credit('w1', 9)");
query("CALL projection_consume('async_projection', finish_when_no_messages => true)");
both_exact('until there are no messages');

#
# A channel for each
#
query("SELECT projection_set('copy', 'channel', 'other')");
query("SELECT channel_scale('async_projection', 1), channel_scale('other', 2)");
query('SELECT projection_start(projection) FROM projection_status');
wait_until(
	"SELECT string_agg(channel, ' ' ORDER BY channel) = 'async_projection other other' FROM projection_workers WHERE pid IS NOT NULL");
my $writers = start_writers($node, 3, 30);
wait_until("SELECT max(head) > 6000 FROM projection_partitions WHERE projection = '$_'")
  foreach ('wallet_balance', 'copy');
stop_writers($node, $writers);
both_exact('a channel for each');
is( query(
		"SELECT DISTINCT channel, coalesce(projection, '-') FROM projection_workers WHERE coalesce(projection, '-') <> CASE channel WHEN 'other' THEN 'copy' ELSE 'wallet_balance' END AND projection IS NOT NULL"),
	'', 'each serves its own');
query("SELECT projection_delete('copy')");
wait_until("SELECT count(*) = 0 FROM projection_workers WHERE channel = 'other'");
query("SELECT wallet_credit('w1', 10)");
caught_up($node, 'one is deleted, the other goes on');

$node->stop;
done_testing();
