# Parked wallets under load: many events behind one that is bad are replayed in
# bounded memory; a crash in the middle of a replay loses nothing; and at random,
# with writers, workers, replays and deletes at once, the outcome is what the
# events say, without those that were deleted.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WalletTest qw(:DEFAULT query wait_until);

my $seed = $ENV{SEED} // time;
srand($seed);
diag "seed $seed";

my $node = worker_node(
	'poison_crash',
	'restart_after_crash = on',
	'jit = off',
	'shared_buffers = 64MB',
	'max_wal_size = 1GB',
	"wallet_projection.poll_interval = '50ms'");
my $many = 100_000;

# In kilobytes.
sub memory
{
	my ($pid, $what) = @_;

	slurp_file("/proc/$pid/status") =~ /^$what:\s*(\d+) kB/m or die;
	return $1;
}

install($node, 'postgres', retry_delay => '1h', retry_max_delay => '1h');
query("SELECT channel_scale('async_projection', 3)");

#
# Many events behind a bad one, some of them long
#
query('ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (transaction_count = 0)');
query(<<"SQL");
SELECT wallet_create('big', 1), wallet_credit('big', 5);
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'big', 2 + i,
       jsonb_build_object('amount', i) || CASE WHEN i % 10 = 0 THEN jsonb_build_object('note', repeat('some text ', 1000)) ELSE '{}' END
  FROM generate_series(1, $many) i;
SQL
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'they are passed over');
exact($node, ['big'], 'many wait');
is(query('SELECT waiting FROM projection_dead_letters'), $many, 'so many');

# Replayed by a session that has replayed before: how it grows, and how long it
# takes.
sub replay_big
{
	my ($name, $expected) = @_;
	my $session = $node->background_psql('postgres');
	my $pid = backend_pid($session);
	my $id = query("SELECT id FROM projection_dead_letters WHERE partition_key = 'big'");

	$session->query_safe(
		"SET client_min_messages = error; SELECT projection_run('wallet_balance'); SELECT count(*) FROM dead_letter_show($id)");
	my @before = map { memory($pid, $_) } qw(VmPeak RssAnon);
	my $begun = time;
	is($session->query_safe("SELECT dead_letter_replay($id)"), $expected, "$name: replayed");
	my $seconds = time - $begun;
	my @growth = map { memory($pid, $_) - shift @before } qw(VmPeak RssAnon);

	note sprintf '%s: %.1f s, address space grew by %d kB, memory by %d kB', $name, $seconds, @growth;
	cmp_ok($seconds, '<', 60, "$name: in time");
	# a sort by number may take work_mem, 4 MB
	cmp_ok($growth[0], '<', 6_500, "$name: memory is bounded");
	cmp_ok($growth[1], '<', 5_500, "$name: so is what is left");
	$session->quit;
	return;
}

SKIP:
{
	skip 'there is no /proc', 16 unless -r "/proc/$$/status";
	replay_big('still bad', 'f');
	exact($node, ['big'], 'still bad');
	# one in the middle
	query("ALTER TABLE wallet_balances DROP CONSTRAINT small; ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (transaction_count < $many / 2)");
	replay_big('bad in the middle', 'f');
	exact($node, ['big'], 'bad in the middle');
	is(query('SELECT waiting FROM projection_dead_letters'), $many / 2 + 1, 'half of them wait');
}
query('ALTER TABLE wallet_balances DROP CONSTRAINT small');
query("CREATE TABLE saved AS SELECT * FROM wallet_projection.parked");

#
# A crash in the middle of a replay
#
query(<<'SQL');
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
CREATE TRIGGER hold AFTER UPDATE ON wallet_balances FOR EACH ROW WHEN (NEW.wallet_id = 'big') EXECUTE FUNCTION hold();
SQL
foreach my $by_worker (0, 1)
{
	my $holder = $node->background_psql('postgres');
	my $victim;

	$holder->query_safe('SELECT pg_advisory_lock(1)');
	if ($by_worker)
	{
		# the row is due
		query("UPDATE wallet_projection.parked SET next_retry_at = now()");
		$victim = "SELECT max(pid) FROM pg_locks JOIN projection_workers USING (pid) WHERE locktype = 'advisory' AND objid = 1 AND NOT granted";
	}
	else
	{
		$victim = "SELECT max(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT dead_letter_replay%' AND wait_event = 'advisory'";
	}
	my $replay = $by_worker ? undef : start_client($node, 'psql', '-X', '-c',
		'SELECT dead_letter_replay(id) FROM projection_dead_letters', '-d');

	wait_until("SELECT ($victim) IS NOT NULL");
	crash($node, query($victim));
	eval { $holder->quit };
	stop_client($replay) if $replay;
	last if $by_worker;
	exact($node, ['big'], 'after a crash');
	is(query('SELECT p::text = s::text FROM wallet_projection.parked p, saved s'), 't', 'it is parked as before');
}
SKIP:
{
	skip 'there is no /proc', 4 unless -r "/proc/$$/status";
	# a worker was at it when it was killed: it may be faster
	query("SELECT projection_stop('wallet_balance')");
	if (query('SELECT count(*) FROM wallet_projection.parked'))
	{
		replay_big('after the crash', 't');
	}
	query("SELECT projection_start('wallet_balance')");
}
wait_until('SELECT count(*) = 0 FROM wallet_projection.parked');
caught_up($node, 'after a crash');
query('DROP FUNCTION hold CASCADE');

#
# At random
#
query('TRUNCATE wallet_stream RESTART IDENTITY');
query("SELECT projection_reset('wallet_balance')");
my %random = (
	max_attempts => 3,
	retry_delay => '20ms',
	retry_max_delay => '50ms',
	retry_jitter => 1,
	batch_size => 50,
	max_parked => 100000);
query(join ';', map { "SELECT projection_set('wallet_balance', '$_', '$random{$_}')" } sort keys %random);
query(<<'SQL');
CREATE FUNCTION act(wallet text, amount integer, chance integer) RETURNS void LANGUAGE sql AS $$
  SELECT stream_append('wallet_stream', 'Wallet', wallet,
                       jsonb_build_array(jsonb_build_object('event_name', CASE chance % 7 WHEN 0 THEN 'WalletWasDebited' ELSE 'WalletWasCredited' END,
                                                            'payload', jsonb_build_object('amount', CASE WHEN chance < 5 THEN '"bad"' ELSE amount::text END::jsonb))))
$$;
CREATE FUNCTION whim(chance integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE letter bigint;
BEGIN
  SELECT id INTO letter FROM projection_dead_letters ORDER BY random() LIMIT 1;
  IF NOT FOUND THEN RETURN; END IF;
  CASE
    WHEN chance < 3 THEN PERFORM dead_letter_replay_all('wallet_balance');
    WHEN chance < 50 THEN PERFORM dead_letter_replay(letter);
    ELSE PERFORM dead_letter_delete(letter);
  END CASE;
EXCEPTION WHEN undefined_object THEN NULL;
END $$;
-- a row that is refused now and then, for no reason of its own
CREATE FUNCTION moody() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF random() < 0.01 THEN RAISE EXCEPTION 'not now'; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER moody AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION moody();
SELECT count(stream_append('wallet_stream', 'Wallet', 'w' || i, '[{"event_name": "WalletWasCreated", "payload": {"initialBalance": 1}}]'))
  FROM generate_series(1, 40) i;
SQL
my $any = "\\set w random(1, 40)\n\\set v random(1, 40)\n\\set a random(1, 10000)\n\\set b random(1, 10000)\n\\set c random(0, 999)\n\\set d random(0, 99)\n";
my $act = "SELECT act('w' || :w, :a, :c);\n";
my $act2 = "SELECT act('w' || :w, :b, :d);\n";
my @load = (
	start_load(
		$node, 3,
		short => $any . $act,
		long => "$any BEGIN;\n$act SELECT pg_sleep(0.02);\n${act2}END;\n",
		aborted => "$any BEGIN;\n${act}ROLLBACK;\n"),
	start_load($node, 1,
		whim => "\\set c random(0, 99)\nSET client_min_messages = error;\nSELECT whim(:c);\n\\sleep 5 ms\n"));

foreach my $look (1 .. 20)
{
	my $head = query('SELECT max(head) + 100 FROM projection_partitions');
	wait_until("SELECT max(head) > $head FROM projection_partitions");
	is(query('SELECT inexact(whole => false)'), '', "look $look: each row is exact, without what waits and what was deleted");
}
stop_client($_) foreach @load;
wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'");
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'all is applied');
is(query('SELECT inexact()'), '', 'and exact');
note query("SELECT 'events ' || count(*) FROM wallet_stream"), query("SELECT ', deleted ' || count(*) FROM wallet_projection.skipped"),
  query("SELECT ', parked ' || count(*) FROM wallet_projection.parked");
cmp_ok(query('SELECT count(*) FROM wallet_projection.skipped'), '>', 0, 'some were deleted');
query('DROP TRIGGER moody ON wallet_balances');
foreach (1 .. 10000)
{
	last unless query('SELECT count(*) FROM wallet_projection.parked');
	query("SET client_min_messages = error; SELECT dead_letter_replay_all('wallet_balance'); SELECT dead_letter_delete(id) FROM projection_dead_letters");
}
exact($node, [], 'without all bad events');
is( query(
		"SELECT count(*) FROM wallet_stream WHERE payload->>'amount' = 'bad' AND no NOT IN (SELECT no FROM wallet_projection.skipped)"),
	'0',
	'each bad event was deleted');
query("SELECT projection_reset('wallet_balance')");
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'from the beginning');
exact($node, [], 'from the beginning');

$node->stop;
done_testing();
