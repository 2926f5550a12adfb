# projection_health(): each finding appears when something is wrong, says what to
# do, and disappears when that was done: where it can be, by the statement that
# the finding gives.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

my $node = worker_node('health', 'max_worker_processes = 12', 'max_prepared_transactions = 4',
	"wallet_projection.poll_interval = '100ms'");
my $credit = "SELECT wallet_credit('w1', 1)";

my %seen;

# One of several columns of a finding; nothing where there is none.
sub finding
{
	my ($what, $column, $patience) = @_;

	return query(sprintf q(SELECT %s FROM projection_health('%s') WHERE what = '%s' LIMIT 1),
		$column // 'severity', $patience // '0', $what);
}

# It must come; what it says.
sub appears
{
	my ($what, $severity, $details, %more) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until("SELECT count(*) > 0 FROM projection_health('0') WHERE what = '$what'");
	is(finding($what), $severity, "$what: $severity");
	like(finding($what, 'details'), $details, 'details');
	is(finding($what, 'projection'), $more{projection} // 'wallet_balance', 'of which projection');
	# nobody knows since when, until a batch was tried
	wait_until('SELECT failures > 0 FROM projection_status') if ($more{since} // '') eq 'when a batch was tried';
	is(finding($what, "since <= clock_timestamp() AND since > clock_timestamp() - interval '1 hour'"),
		($more{since} // 't') =~ s/^when .*/t/r, 'since when');
	is(finding($what, "what_to_do <> '' AND statement <> ''"), 't', 'what to do');
	$seen{$what} = 1;
	return finding($what, 'statement');
}

sub goes
{
	my ($what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM projection_health('0') WHERE what = '$what'", '0'),
		"$what: gone");
	return;
}

# Run the statements of a finding, each by itself, as psql does.
sub run_advice
{
	my ($advice) = @_;
	my $errors = '';

	foreach my $statement (split /; /, $advice)
	{
		my ($result, $out, $err) = $node->psql('postgres', $statement);

		$errors .= $err if $result != 0;
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($errors, '', "runs: $advice");
	return;
}

sub healthy
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	query("SELECT projection_wait('wallet_balance', '60 s')");
	is(query('SELECT severity, what, details FROM projection_health()'), '', "$name: nothing to tell");
	return;
}

# Before there is a projection nothing can be wrong with it.
query('CREATE EXTENSION wallet_projection');
is(query("SELECT count(*) FROM projection_health('0')"), 0, 'nothing is there: nothing to tell');

# Autovacuum
install($node, undef, -extension => 0, retry_jitter => 0);
my $advice = appears('autovacuum is off', 'warning', qr/for the whole server/, projection => '', since => '');
run_advice($advice);
goes('autovacuum is off');
query("SELECT wallet_create('w1', 1000)");
healthy('all is as it should be');
query('ALTER TABLE wallet_balances SET (autovacuum_enabled = off)');
run_advice(appears('read model without autovacuum', 'warning', qr/for table wallet_balances/, since => ''));
goes('read model without autovacuum');

# Nobody at work
query("SELECT projection_stop('wallet_balance')");
healthy('stopped, and nothing is pending');
query($credit);
$advice = appears('stopped', 'warning', qr/that wait: 1$/);
query('ALTER DATABASE postgres SET wallet_projection.autostart = off');
like(finding('stopped', 'details'), qr/autostart is off/, 'or autostart is off');
query('ALTER DATABASE postgres RESET wallet_projection.autostart');
run_advice($advice);
goes('stopped');
query("SELECT channel_scale('async_projection', 0)");
wait_until("SELECT workers FROM projection_status", '0');
$advice = appears('waiting for processes', 'warning', qr/scaled to 0 workers/, since => '');
query($credit);
is(finding('waiting for processes'), 'critical', 'critical where events wait');
is(finding('waiting for processes', 'since IS NOT NULL'), 't', 'since the first of them');
run_advice($advice);
goes('waiting for processes');
query('ALTER SYSTEM SET wallet_projection.enabled = off');
query('SELECT pg_reload_conf()');
run_advice(appears('waiting for processes', 'warning', qr/enabled is off/, since => ''));
goes('waiting for processes');
query("SELECT channel_scale('async_projection', 40)");
$advice = appears('waiting for processes', 'warning', qr/raise max_worker_processes \(now 12\); workers: \d+ of 40;/, since => '');
is($advice, 'ALTER SYSTEM SET max_worker_processes = 20', 'with a restart');
query("SELECT channel_scale('async_projection', 2)");
goes('waiting for processes');

# Failed
query('ALTER TABLE wallet_balances RENAME total_debits TO debits');
query($credit);
wait_until('SELECT failures > 0 FROM projection_status');
$advice = appears('failed', 'critical', qr/has no column "total_debits"/);
my $since = finding('failed', 'since');
wait_until('SELECT failures > 1 FROM projection_status');
is(finding('failed', 'since'), $since, 'since the first failure');
query('CREATE ROLE stranger LOGIN');
is($node->safe_psql('postgres', "SELECT severity, what FROM projection_health() WHERE what = 'failed'", extra_params => [ '-U', 'stranger' ]),
	'critical|failed', 'a stranger is told as well');
query('ALTER TABLE wallet_balances RENAME debits TO total_debits');
is($advice, "SELECT projection_run('wallet_balance')", 'the statement does no more than it must');
run_advice($advice);
goes('failed');
query('ALTER TABLE wallet_balances SET UNLOGGED');
$advice = appears('failed', 'critical', qr/is unlogged/, since => 'when a batch was tried');
is($advice, 'ALTER TABLE public.wallet_balances SET LOGGED', 'the statement of the hint');
run_advice($advice);
query("SELECT projection_run('wallet_balance')");
goes('failed');

# The error of an event is not shown to strangers.
query(q(ALTER TABLE wallet_balances ADD CONSTRAINT secret CHECK (current_balance < 1e6)));
query("SELECT projection_set('wallet_balance', 'max_parked', '0')");
query("SELECT wallet_create('rich', 1e7)");
appears('failed', 'critical', qr/violates check constraint "secret"/);
is($node->safe_psql('postgres', "SELECT details FROM projection_health() WHERE what = 'failed'", extra_params => [ '-U', 'stranger' ]),
	'<insufficient privilege>', 'messages are for the owner');

# Parked keys
query("SELECT projection_set('wallet_balance', 'retry_delay', '5 min')");
query("SELECT projection_set('wallet_balance', 'max_parked', '1')");
query("SELECT projection_run('wallet_balance')");
goes('failed');
appears('keys are tried again', 'info', qr/tried again by itself: 1; the next at /);
query("SELECT projection_stop('wallet_balance')");
run_advice(appears('keys are tried again', 'info', qr/tried again once the projection is started, or by a session: 1$/));
run_advice(appears('many parked keys', 'warning', qr/1 of at most 1 keys/, since => ''));
goes('many parked keys');
query("SELECT projection_set('wallet_balance', 'max_attempts', '1')");
query("SELECT wallet_create('richer', 1e8)");
$advice = appears('dead letters', 'warning', qr/failed in all attempts: 1; events that wait behind them: 0/);
query('ALTER TABLE wallet_balances DROP CONSTRAINT secret');
run_advice($advice);
goes('dead letters');
goes('keys are tried again');
query("SELECT projection_set('wallet_balance', '$_->[0]', '$_->[1]')")
  for [ 'max_attempts', 5 ], [ 'retry_delay', '1 s' ], [ 'max_parked', 100000 ];
healthy('mended');

# The read model of a projection of somebody's own is gone
query(<<'SQL');
CREATE TABLE tally_events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int NOT NULL);
CREATE TABLE tally (k int PRIMARY KEY, n int NOT NULL);
SELECT projection_create('tally', 'MERGE INTO tally t USING tally_events e ON t.k = e.k WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1)');
DROP TABLE tally;
SQL
wait_until("SELECT count(*) = 1 FROM projection_health() WHERE what = 'failed'");
like(query(finding('failed', 'statement')), qr/^MERGE INTO tally t/, 'the definition is shown, to create the projection again');
query("SELECT projection_drop('tally'); DROP TABLE tally_events");
healthy('dropped');

# A locked row, a locked table
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe(q(SELECT FROM wallet_balances WHERE wallet_id = 'w1' FOR UPDATE));
query($credit);
run_advice(appears('keys wait for others', 'warning', qr/another row has: 1$/));
unlike(query('SELECT what FROM projection_health()'), qr/keys wait/, 'not told at once');
$session->query_safe('ROLLBACK');
goes('keys wait for others');
$session->query_safe('BEGIN');
$session->query_safe('LOCK TABLE wallet_balances');
run_advice(appears('locked', 'info', qr/has locked the stream or the read model/, since => ''));
$session->query_safe('ROLLBACK');
goes('locked');

# A snapshot that is held
is(query("SELECT count(*) FROM projection_health('0') WHERE what = 'old snapshot'"), 0, 'no snapshot is held');
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$session->query_safe('SELECT 1');
my $pid = backend_pid($session);
$advice = appears('old snapshot', 'warning', qr/^pid $pid \(.*, idle in transaction\) has had a transaction open/, projection => '');
is(finding('old snapshot', 'severity', '1 min'), '', 'told if it is old');
run_advice($advice);
eval { $session->quit };
goes('old snapshot');

# Writers: of wallets, of a projection that waits for numbers, prepared ones
query('CREATE TABLE sale (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text, type text, amount integer)');
query('CREATE TABLE shop (shop text PRIMARY KEY, total bigint NOT NULL DEFAULT 0)');
query(q(SELECT projection_create('shop', 'MERGE INTO shop s USING sale e ON s.shop = e.shop
  WHEN NOT MATCHED AND e.type = ''opened'' THEN INSERT (shop) VALUES (e.shop)
  WHEN MATCHED AND e.type = ''sold'' THEN UPDATE SET total = e.amount')));
is(query("SELECT ordering FROM projection_status WHERE projection = 'shop'"), 'number', 'a projection in order of numbers');
$session = $node->background_psql('postgres');
$pid = backend_pid($session);
$session->query_safe('BEGIN');
$session->query_safe("SELECT wallet_create('slow', 1)");
query($credit);
$advice = appears('long writer', 'info', qr/^pid $pid \(.*its own keys wait, all others go on; position \d+, and 16 of 16 partitions/);
is(finding('long writer', 'severity', '1 min'), '', 'told if it is old');
run_advice($advice);
eval { $session->quit };
goes('long writer');
$session = $node->background_psql('postgres');
$pid = backend_pid($session);
$session->query_safe('BEGIN');
$session->query_safe(q(INSERT INTO sale (shop, type) VALUES ('a', 'opened')));
query(q(INSERT INTO sale (shop, type) VALUES ('b', 'opened')));
appears('long writer', 'warning', qr/^pid $pid \(.*all keys wait behind event number 0, in 16 of 16 partitions/, projection => 'shop');
$session->query_safe("PREPARE TRANSACTION 'it''s'");
$session->quit;
wait_until(q(SELECT details LIKE 'prepared transaction ''it''''s'' writes%' FROM projection_health('0') WHERE what = 'long writer'));
like(finding('old snapshot', 'details'), qr/^prepared transaction/, 'it is an old transaction, too');
run_advice(finding('long writer', 'statement'));
goes('long writer');
query("SELECT projection_wait('shop', '60 s')");
is(query('SELECT string_agg(shop, NULL) FROM shop'), 'b', 'all that was committed is applied');

# A writer of a partitioned stream has locked the table and a partition
query('CREATE TABLE lot (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text) PARTITION BY RANGE (id)');
query('CREATE TABLE lot_1 PARTITION OF lot FOR VALUES FROM (1) TO (1000)');
query('CREATE TABLE lots (shop text PRIMARY KEY)');
query(q(SELECT projection_create('lots', 'MERGE INTO lots s USING lot e ON s.shop = e.shop
  WHEN NOT MATCHED THEN INSERT (shop) VALUES (e.shop) WHEN MATCHED THEN DO NOTHING')));
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe(q(INSERT INTO lot (shop) VALUES ('a')));
query(q(INSERT INTO lot (shop) VALUES ('b')));
wait_until(q(SELECT count(*) > 0 FROM projection_health('0') WHERE what = 'long writer' AND projection = 'lots'));
is(query(q(SELECT count(*) FROM projection_health('0') WHERE what = 'long writer' AND projection = 'lots')), '1', 'and is one writer');
$session->query_safe('ROLLBACK');
$session->quit;
goes('long writer');
query(q(SELECT projection_drop('lots')));
query('DROP TABLE lots, lot');

# Events without an effect
query(q(INSERT INTO sale (shop, type) VALUES ('b', 'closed'), ('b', 'closed'), ('b', 'sacked')));
query("SELECT projection_wait('shop', '60 s')");
like(query(appears('unhandled events', 'info', qr/nothing was done: 3; most of them: 'closed', no WHEN holds/, projection => 'shop', since => '')),
	qr/closed\|2/, 'which ones');

# What verification has found, and what a new definition leaves behind
query(q(UPDATE wallet_projection.projection_state SET drift = 'b' WHERE projection = 'shop'));
appears('drift', 'critical', qr/the row of key b is another one/, projection => 'shop', since => '');
query('UPDATE wallet_projection.projection_state SET drift = NULL, rebuild_advised = now()');
appears('rebuild advised', 'info', qr/the definition was altered/, projection => finding('rebuild advised', 'projection'));
query('UPDATE wallet_projection.projection_state SET rebuild_advised = NULL');
goes('drift');
goes('rebuild advised');

# Numbers run out
query('ALTER TABLE sale ALTER id RESTART WITH 2000000000');
query(q(INSERT INTO sale (shop, type) VALUES ('c', 'opened')));
$advice = appears('numbers run out', 'warning', qr/stream "sale" has drawn number 2000000000, and its highest is 2147483647/, projection => '', since => '');
query('ALTER TABLE sale ALTER id RESTART WITH 2100000000');
query(q(INSERT INTO sale (shop, type) VALUES ('d', 'opened')));
is(finding('numbers run out'), 'critical', 'critical at the very end');
run_advice($advice);
goes('numbers run out');
query(q(ALTER SEQUENCE sale_id_seq MAXVALUE 2100000010));
like(finding('numbers run out', 'details'), qr/its highest is 2100000010/, 'a sequence may end before its type');
run_advice($advice);
goes('numbers run out');
query(q(INSERT INTO sale (shop, type) VALUES ('e', 'opened')));
is(query("SELECT projection_wait('shop', '60 s')"), 't', 'and the projection goes on');
is(query('SELECT string_agg(shop, NULL ORDER BY shop) FROM shop'), 'bcde', 'with all events');
query("SELECT projection_drop('shop')");
goes('unhandled events');

# Lag; a slow read model
query('CREATE TABLE pause (seconds float NOT NULL)');
query('INSERT INTO pause VALUES (0.02)');
query(q(CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_sleep((SELECT seconds FROM public.pause)); RETURN new; END $$));
query('CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION slow()');
query("SELECT projection_stop('wallet_balance')");
query("SELECT count(wallet_create('many' || i, 1)) FROM generate_series(1, 2000) i");
query("SELECT projection_start('wallet_balance')");
like(query(appears('lag', 'info', qr/event numbers that wait: \d+; .* has drawn \d+ a second/)), qr/^\d+\|/, 'how it goes on');
wait_until(q(SELECT catch_up_time BETWEEN make_interval(secs => 0.2 * lag_events / events_per_second) AND make_interval(secs => 5 * lag_events / events_per_second)
  FROM projection_status WHERE events_per_second > 0));
pass('catch_up_time is what is left by the speed');
my $load = start_load($node, 2, create => "SELECT wallet_create(1);\n");
$advice = appears('growing lag', 'warning', qr/event numbers that wait: \d+/);
stop_writers($node, $load);
is($advice, "SELECT channel_scale('async_projection', 3)", 'more workers may help');
query('UPDATE pause SET seconds = 0');
goes('growing lag');
goes('lag');

# A batch that does not end
query('UPDATE pause SET seconds = 1000');
query($credit);
$advice = appears('long batch', 'warning', qr/has not ended its batch/);
is(finding('long batch', 'severity', '1 min'), '', 'told if it is long');
query('UPDATE pause SET seconds = 0');
run_advice($advice);
goes('long batch');
query('DROP TRIGGER slow ON wallet_balances');
healthy('at the end');

# The gravest first
query('ALTER TABLE wallet_balances SET (autovacuum_enabled = false)');
query('ALTER TABLE wallet_balances RENAME total_debits TO debits');
query($credit);
wait_until('SELECT failures > 0 FROM projection_status');
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe('LOCK TABLE wallet_stream');
is(query("SELECT string_agg(DISTINCT rank, ' ') FROM (SELECT row_number() OVER () || severity AS rank FROM projection_health('0')) r"),
	query("SELECT string_agg(rank, ' ') FROM (SELECT row_number() OVER () || severity AS rank FROM projection_health('0')
	        ORDER BY array_position('{critical,warning,info}', severity)) r"), 'the gravest first');
is(query('SELECT severity FROM projection_health() LIMIT 1'), 'critical', 'which is critical');
$session->quit;
query('ALTER TABLE wallet_balances RENAME debits TO total_debits');
query('ALTER TABLE wallet_balances RESET (autovacuum_enabled)');
query("SELECT projection_run('wallet_balance')");
healthy('mended again');

# Without background workers
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
healthy('not preloaded, and nothing is pending');
query($credit);
run_advice(appears('not preloaded', 'warning', qr/does not list wallet_projection.* that wait: 1$/));
goes('not preloaded');
$node->stop;

# The page for operators has a section for each, and the tests above see each.
my ($sections) = slurp_file("$FindBin::RealBin/../../doc/operations.md") =~ /^## Every finding\n(.*?)^## /ms;

is(join(', ', sort keys %seen), join(', ', sort $sections =~ /^### (.*)$/mg), 'doc/operations.md has all findings');
done_testing();
