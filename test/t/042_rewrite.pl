# The catalog's tables are rewritten, rolled back and shared while positions and
# parked keys are remembered by processes: a row is known by more than its place.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query);

my $node = new_node('rewrite', 'autovacuum = off');
my $run = "SELECT projection_run('wallet_balance')";

sub session
{
	return $node->background_psql('postgres');
}

# A row of one part of a lane in the place where another one was.
sub swapped
{
	my ($rewrite) = @_;
	my ($open, $writer, $process) = map { session() } 1 .. 3;

	query('DROP TABLE IF EXISTS wallet_balances; TRUNCATE wallet_stream RESTART IDENTITY') if query("SELECT to_regclass('wallet_stream')") ne '';
	query("SELECT projection_set('wallet_balance', 'partitions', '2')") if query("SELECT count(*) FROM wallet_projection.position") eq '0';
	query("SELECT projection_init('wallet_balance')");
	query("SELECT count(wallet_create('a' || i, 10)) FROM generate_series(1, 10) i");
	query("SELECT projection_backfill('wallet_balance', 1)");
	my $first = query('SELECT min(wallet_id) FROM wallet_balances');
	my $second = query('SELECT min(aggregate_id) FROM wallet_stream WHERE aggregate_id NOT IN (SELECT wallet_id FROM wallet_balances)');
	query($run);
	query("SELECT projection_reset('wallet_balance')");

	# who may own any number
	$open->query_safe('BEGIN; LOCK TABLE wallet_stream IN ROW EXCLUSIVE MODE');
	$writer->query_safe("BEGIN; SELECT wallet_credit('$second', 1)");
	query("SELECT wallet_credit('$first', 2)");
	query($run);
	$writer->query_safe('COMMIT');
	query($rewrite);
	# one that looks at the gap of the one partition only
	$process->query_safe("SELECT projection_backfill('wallet_balance', 1)");
	query($rewrite);
	query("SELECT wallet_debit('$second', 7)");
	$process->query_safe($run);
	is(query("SELECT current_balance, total_debits, total_credits FROM wallet_balances WHERE wallet_id = '$second'"),
		'4.0000|7.0000|1.0000', "$rewrite: no gap is left out");
	$open->query_safe('COMMIT');
	$process->query_safe($run);
	consistent($node, 'and in the end');
	$_->quit foreach ($open, $writer, $process);
	return;
}

install($node, 'postgres', partitions => 2);
swapped('VACUUM FULL wallet_projection.position');
swapped('CLUSTER wallet_projection.position USING position_pkey');

# The parked keys' table is rewritten while one of them is tried again.
query(<<'SQL');
SELECT projection_set('wallet_balance', 'max_attempts', '1');
SELECT wallet_create(x, 100) FROM unnest('{ka,kb,kc}'::text[]) x;
SELECT projection_run('wallet_balance');
ALTER TABLE wallet_balances ADD CONSTRAINT most CHECK (current_balance <= 100);
SQL
foreach my $key (qw(ka kb kc))
{
	query("SELECT wallet_credit('$key', 5); CALL projection_consume('async_projection', finish_when_no_messages => true)");
}
query(<<'SQL');
ALTER TABLE wallet_balances DROP CONSTRAINT most;
SELECT dead_letter_replay(id) FROM projection_dead_letters WHERE partition_key = 'ka';
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(1), pg_advisory_unlock(1); RETURN NEW; END $$;
CREATE TRIGGER hold BEFORE UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION hold();
SQL
my $id = query("SELECT id FROM projection_dead_letters WHERE partition_key = 'kb'");
my ($holder, $replay) = (session(), session());
$holder->query_safe('SELECT pg_advisory_lock(1)');
$replay->query_until(qr/begun/, "\\echo begun\nSELECT dead_letter_replay($id);\n\\echo ended\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") or die;
is(sqlstate($node, "SET lock_timeout = '200ms'; VACUUM FULL wallet_projection.parked"), '55P03',
	'the table is not rewritten while a row of it is about to be written');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
$replay->quit;
query("DROP TRIGGER hold ON wallet_balances; SELECT dead_letter_replay_all('wallet_balance')");
is(query("SELECT string_agg(current_balance::text, ' ') FROM wallet_balances WHERE wallet_id ~ '^k'"), '105.0000 105.0000 105.0000',
	'each is applied once');

# Keys that are parked are read in a transaction that has freed one, and is rolled back.
query(<<'SQL');
SELECT count(wallet_create('m' || i, 0)) FROM generate_series(1, 1000) i;
SELECT stream_append('wallet_stream', 'Wallet', 'bad' || i, '[{"event_name": "WalletWasCredited", "payload": {"amount": "x"}}]') FROM generate_series(1, 100) i;
SELECT projection_run('wallet_balance');
SELECT stream_append('wallet_stream', 'Wallet', 'm7', '[{"event_name": "WalletWasCredited", "payload": {"amount": "x"}}]');
SELECT projection_run('wallet_balance');
UPDATE wallet_stream SET payload = '{"amount": 10}' WHERE aggregate_id = 'm7' AND payload->>'amount' = 'x';
SELECT count(wallet_credit('m' || i, 1)) FROM generate_series(8, 1000) i;
SQL
my $process = session();
$id = query("SELECT id FROM projection_dead_letters WHERE partition_key = 'm7'");
# the batch fails before it saves
query(q(SELECT stream_append('wallet_stream', 'Wallet', 'bad999', '[{"event_name": "WalletWasCredited", "payload": {"amount": "x"}}]'); SELECT projection_set('wallet_balance', 'max_parked', '0')));
$process->query_safe("BEGIN; DO \$\$ BEGIN PERFORM dead_letter_replay($id); BEGIN PERFORM projection_run('wallet_balance'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN RAISE; WHEN OTHERS THEN NULL; END; END \$\$; ROLLBACK");
query("SELECT projection_set('wallet_balance', 'max_parked', '1000')");
query(q(SELECT stream_append('wallet_stream', 'Wallet', 'm7', '[{"event_name": "WalletWasCredited", "payload": {"amount": 100}}]')));
$process->query_safe($run);
is(query("SELECT current_balance FROM wallet_balances WHERE wallet_id = 'm7'"), '0.0000', 'a key that was freed and parked again is passed over');
$process->query_safe("SELECT dead_letter_replay($id)");
is(query("SELECT current_balance FROM wallet_balances WHERE wallet_id = 'm7'"), '110.0000', 'and applied once');

# Two who share blocks of old gaps drop them at once.
my ($writer, $one, $two) = map { session() } 1 .. 3;
$writer->query_safe("BEGIN; SELECT wallet_credit('m1', 1)");
query(<<'SQL');
SELECT count(nextval('wallet_stream_no_seq')), count(wallet_credit('m' || i, 1)) FROM generate_series(8, 1000) i;
SELECT projection_run('wallet_balance');
SQL
cmp_ok(query('SELECT count(*) FROM wallet_projection.old_gaps'), '>', 50, 'there are blocks of old gaps');
$writer->query_safe('COMMIT');
$_->query_safe("BEGIN; SELECT projection_backfill('wallet_balance', 1)") foreach ($one, $two);
$_->query_safe('COMMIT') foreach ($one, $two);
query("SELECT wallet_credit('m1', 1)");
$one->query_safe($run);
is(query('SELECT count(*) FROM wallet_projection.old_gaps'), '0', 'nothing is left of them');
is(query('SELECT inexact()'), '', 'all rows equal their events');

$_->quit foreach ($holder, $process, $writer, $one, $two);
$node->stop;
done_testing();
