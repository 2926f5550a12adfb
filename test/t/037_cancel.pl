# A batch that does not end, as a trigger goes on for ever: the owner, who is no
# superuser, can end it and stop the projection; it is ended when its time is
# over; and it keeps nobody from shutting down or from dropping the database.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT logged log_end);

my $node = worker_node('cancel', 'max_worker_processes = 12');
my $wait = "SELECT projection_wait('wallet_balance', '60 s')";
my $parked = 'SELECT count(*) FROM projection_dead_letters';

# As the owner.
sub query
{
	my ($query) = @_;

	return $node->safe_psql('mine', "SET client_min_messages = warning; $query", extra_params => [ '-U', 'app' ]);
}

sub wait_until
{
	my ($query) = @_;

	$node->poll_query_until('mine', $query) or die "timed out: $query";
	return;
}

# Make batches of wallet w1 endless, by this loop; and have some run.
sub endless
{
	my ($loop) = @_;

	query(<<"SQL");
CREATE OR REPLACE FUNCTION endless() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
  IF NEW.wallet_id = 'w1' THEN $loop END IF;
  RETURN NULL;
END \$\$;
CREATE TRIGGER endless AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION endless();
SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i;
SQL
	wait_until("SELECT running_since < clock_timestamp() - interval '0.5 s' FROM projection_status");
	return;
}

sub mend
{
	my ($name) = @_;

	query('DROP TRIGGER endless ON wallet_balances');
	query("SELECT projection_start('wallet_balance')");
	is(query($wait), 't', "$name: mended, all is applied");
	is(query($parked), '0', "$name: no event is to blame");
	consistent($node, $name, 'mine');
	is(query("SELECT state, failures FROM projection_status"), 'ready|0', "$name: ready");
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE DATABASE mine OWNER app');
install($node, 'mine', -role => 'app');
query("SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 10) i");
is(query($wait), 't', 'all is applied');
wait_until('SELECT running_since IS NULL FROM projection_status');
like(sqlstate($node, "SELECT projection_stop('wallet_balance', NULL)", 'mine'), qr/22004/, 'cancel must be said');

my $sleep = 'LOOP PERFORM pg_sleep(0.01); END LOOP;';
my $tight = 'LOOP NULL; END LOOP;';
my $stubborn =
  'LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;';
my $raising =
  "BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN RAISE EXCEPTION 'the event is bad'; END;";

foreach my $loop ($sleep, $tight, $stubborn, $raising)
{
	endless($loop);
	my $stop = "SELECT projection_stop('wallet_balance', cancel => true)";
	my ($status, $out, $err) = $node->psql('mine', $stop, extra_params => [ '-U', 'other' ]);
	like($err, qr/must be owner/, "$loop: not by somebody else");
	isnt(query('SELECT running_since FROM projection_status'), '', "$loop: it is still there");

	# no batch begins while the stop is not committed
	is( query("BEGIN; $stop; SELECT running_since IS NULL FROM projection_status; SELECT pg_sleep(0.2); SELECT running_since IS NULL FROM projection_status; COMMIT"),
		"\nt\n\nt", "$loop: the owner ends it");
	is(query('SELECT activity, state FROM projection_status'), 'stopped|ready', "$loop: it is stopped, not failed");
	mend($loop);
}

# who waits for it is told what to do, also who stops it without cancel
endless($sleep);
wait_until("SELECT running_since < clock_timestamp() - interval '1.1 s' FROM projection_status");
my ($waited, $reached, $why) = $node->psql('mine', "SELECT projection_wait('wallet_balance', '100 ms')", extra_params => [ '-U', 'app' ]);
like($why, qr/in time: a batch has been running since \d.*\nHINT:  To end it: SELECT projection_stop\('wallet_balance', cancel => true\);/,
	'projection_wait tells of the batch');
my ($stopped, $nothing, $notice) = $node->psql('mine', "SET statement_timeout = '2 s'; SELECT projection_stop('wallet_balance')", extra_params => [ '-U', 'app' ]);
like($notice, qr/NOTICE:  waiting for a batch that has been running since \d.*\nHINT:  .*projection_stop\('wallet_balance', cancel => true\);/,
	'so does projection_stop');
query("SELECT projection_stop('wallet_balance', cancel => true)");
mend('told');

# by scaling the channel to 0
endless($tight);
query("SELECT channel_scale('async_projection', 0)");
wait_until('SELECT count(*) = 0 FROM projection_workers');
is(query('SELECT state, running_since IS NULL FROM projection_status'), 'ready|t', 'scaled to 0, it has ended');
query('DROP TRIGGER endless ON wallet_balances');
query("SELECT channel_scale('async_projection', 2)");
is(query($wait), 't', 'scaled up again, all is applied');
consistent($node, 'scaled', 'mine');

# when its time is over; none may be parked
query("SELECT projection_set('wallet_balance', 'max_parked', '0')");
foreach my $loop ($tight, $raising)
{
	my $from = log_end();

	$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = '700ms'");
	endless($loop);
	$node->reload;
	query("SELECT projection_stop('wallet_balance', true); SELECT projection_start('wallet_balance')");
	wait_until("SELECT failures > 0 FROM projection_status");
	like( query('SELECT state, last_error FROM projection_status'),
		qr/^failed\|57014: a batch took longer than wallet_projection.batch_timeout, 700 ms.*endless\(\)/s,
		"$loop: the status says so");
	cmp_ok(logged(qr/took longer than/, $from), '>', 0, "$loop: the log too");
	is(query(query("SELECT statement FROM projection_health() WHERE what = 'failed'")), 'endless|endless()', "$loop: a finding shows the trigger");
	wait_until("SELECT last_error LIKE '57014: projection \"wallet_balance\" cannot apply event % to Wallet \"w1\": applying it took longer than %' FROM projection_status");
	pass("$loop: and in the end which event it is");

	# whoever does it
	my ($status, $out, $err) = $node->psql('mine',
		"SELECT projection_stop('wallet_balance', true); CALL projection_consume('async_projection', finish_when_no_messages => true)",
		extra_params => [ '-U', 'app' ]);
	like($err, qr/ERROR:  .* Wallet "w1": applying it took longer than wallet_projection.batch_timeout, 700 ms/, "$loop: a session too");
	$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = 0");
	$node->reload;
	mend("$loop, batch_timeout");
}

# an event that takes too long by itself is parked, and so are its retries; nobody else waits
query("SELECT projection_set('wallet_balance', 'max_parked', '10'), projection_set('wallet_balance', 'retry_delay', '100 ms'), projection_set('wallet_balance', 'retry_multiplier', '1')");
foreach my $loop ($tight, $raising, $stubborn)
{
	$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = '700ms'");
	$node->reload;
	endless($loop);
	query("SELECT projection_set('wallet_balance', 'max_attempts', '2')") if $loop eq $stubborn; # 16 s each
	query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i, generate_series(1, 20)");
	wait_until("SELECT count(*) = 1 FROM projection_dead_letters WHERE state = 'dead'");
	is( query('SELECT partition_key, sqlstate, attempts = (SELECT value::int FROM projection_options o WHERE o.projection = d.projection AND option = \'max_attempts\'), waiting FROM projection_dead_letters d'),
		'w1|57014|t|20', "$loop: its key is parked, and each retry has counted");
	like(query('SELECT message FROM projection_dead_letters'), qr/^applying it took longer than wallet_projection.batch_timeout, 700 ms/,
		"$loop: for that reason");
	wait_until("SELECT state = 'ready' AND lag_events = 0 FROM projection_status");
	is(query("SELECT count(*) FROM oracle()"), 1, "$loop: all others are applied");
	query('DROP TRIGGER endless ON wallet_balances');
	is(query("SELECT dead_letter_replay_all('wallet_balance')"), '1', "$loop: mended, it is replayed");
	consistent($node, "$loop, parked", 'mine');
}

# two workers that look for retries, each of which takes longer than a failed one waits: no attempt is forgotten
$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = '1500ms'");
$node->reload;
query("SELECT projection_set('wallet_balance', 'max_attempts', '4')");
endless($tight);
wait_until("SELECT count(*) = 1 FROM projection_dead_letters WHERE state = 'dead'");
is(query('SELECT partition_key, attempts FROM projection_dead_letters'), 'w1|4', 'each retry has counted, whoever has made it');

# sessions that end when nothing is left, one after the other, as cron calls them
query("DROP TRIGGER endless ON wallet_balances; SELECT dead_letter_replay_all('wallet_balance'), projection_stop('wallet_balance'), projection_set('wallet_balance', 'max_attempts', '2')");
$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = '500ms'");
$node->reload;
query('CREATE TRIGGER endless AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION endless()');
query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i");
my $consume = "CALL projection_consume('async_projection', finish_when_no_messages => true)";
query($consume);
is(query('SELECT partition_key, attempts, sqlstate FROM projection_dead_letters'), 'w1|1|57014', 'a session parks the key of such an event');
is(query('SELECT count(*) FROM oracle()'), 1, 'and applies all others');
query('SELECT pg_sleep(0.2)');
query($consume);
is(query('SELECT state, attempts FROM projection_dead_letters'), 'dead|2', 'the next session counts the retry that it has made');
query('DROP TRIGGER endless ON wallet_balances');
is(query("SELECT dead_letter_replay_all('wallet_balance')"), '1', 'mended, it is replayed');
query("SELECT projection_start('wallet_balance')");
consistent($node, 'sessions', 'mine');

# an event of several keys; a filter that does not end, of one event
query(<<'SQL');
CREATE FUNCTION slow(n int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN LOOP EXIT WHEN n <> 7; END LOOP; RETURN true; END $$;
CREATE TABLE pairs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b int, n int);
CREATE TABLE sums (k int PRIMARY KEY, n int NOT NULL);
SELECT projection_create('sums', $$MERGE INTO sums s USING (SELECT e.id, k, n FROM pairs e, LATERAL unnest(ARRAY[e.a, e.b]) AS k WHERE slow(n)) e ON s.k = e.k
  WHEN NOT MATCHED THEN INSERT VALUES (e.k, e.n) WHEN MATCHED THEN UPDATE SET n = s.n + e.n$$, partitions => 8);
SELECT projection_set('sums', 'max_attempts', '2'), projection_set('sums', 'retry_delay', '100 ms');
CREATE FUNCTION endless_sum() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN LOOP EXIT WHEN NEW.k <> 3; END LOOP; RETURN NULL; END $$;
CREATE TRIGGER endless AFTER INSERT OR UPDATE ON sums FOR EACH ROW EXECUTE FUNCTION endless_sum();
SQL
my $sums = 'SELECT count(*) FROM sums s FULL JOIN (SELECT k, sum(n)::int AS n FROM pairs, unnest(ARRAY[a, b]) k GROUP BY k) o USING (k, n) WHERE s IS NULL OR o IS NULL';
query('INSERT INTO pairs (a, b, n) SELECT i, i + 100, 1 FROM generate_series(1, 50) i');
wait_until("SELECT count(*) = 1 FROM projection_dead_letters WHERE projection = 'sums' AND state = 'dead' AND partition_key = '3'");
wait_until("SELECT lag_events = 0 AND dead_letters = 1 FROM projection_status WHERE projection = 'sums'");
is(query($sums), 1, 'the keys of the event that can be written are retried, and are well');
query('DROP TRIGGER endless ON sums');
query('INSERT INTO pairs (a, b, n) SELECT i, i + 100, i FROM generate_series(1, 50) i');
wait_until("SELECT count(*) = 1 FROM projection_dead_letters WHERE projection = 'sums' AND sqlstate = '57014' AND partition_key = '57' AND state = 'dead'");
wait_until("SELECT lag_events = 0 FROM projection_status WHERE projection = 'sums'");
query('UPDATE pairs SET n = 8 WHERE id = 57');
query("SELECT dead_letter_replay_all('sums')");
is(query($sums), 0, 'an event whose filter does not end is parked by itself, and replayed');
$node->append_conf('postgresql.conf', "wallet_projection.batch_timeout = 0");
$node->reload;
query("SELECT projection_drop('sums'); DROP TABLE sums, pairs; DROP FUNCTION slow, endless_sum");

# a shutdown, and DROP DATABASE
endless($tight);
$node->stop('fast');
pass('the server shuts down');
$node->start;
wait_until("SELECT running_since < clock_timestamp() FROM projection_status");
$node->safe_psql('postgres', 'DROP DATABASE mine WITH (FORCE)');
pass('the database is dropped');
$node->stop;
done_testing();
