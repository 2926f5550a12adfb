# Dumps of a part, and restores in parts: what cannot be trusted is told, what
# can be is, options survive, no other table is emptied or dropped, and
# projection_init or projection_reset begins anew without an error.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $node = new_node('restore');
my $dump_file = $node->basedir . '/dump';
my $options =
  'SELECT s.channel, s.partitions, o.batch_size FROM projection_status s JOIN wallet_projection.projection_state o USING (projection)';

sub run_in
{
	my ($database, $sql) = @_;

	return $node->safe_psql($database, $sql);
}

sub error_in
{
	my ($database, $sql) = @_;
	my ($status, $out, $err) = $node->psql($database, $sql);

	return $status == 0 ? 'no error' : $err;
}

# A new database with what such a dump of the original holds.
sub restore
{
	my ($database, @how) = @_;

	run_in('postgres', "CREATE DATABASE $database");
	dump_into($database, 'wallet', @how);
	return;
}

sub dump_into
{
	my ($database, $from, @how) = @_;

	$node->command_ok([ 'pg_dump', @how, '-f', $dump_file, '-d', $node->connstr($from) ],
		"dump for $database: @how");
	$node->command_ok(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump_file, '-d', $node->connstr($database) ],
		"restore into $database");
	return;
}

# After what brings it back: all is as the events say, and goes on.
sub is_whole
{
	my ($database, $name) = @_;

	run_in($database, "SELECT projection_run('wallet_balance')");
	run_in($database, "SELECT wallet_debit('w1', 1), wallet_create('new$name', 5)");
	run_in($database, "SELECT projection_run('wallet_balance')");
	consistent($node, "$database, $name", $database);
	is( run_in($database, "SELECT state, lag_events, projection_wait('wallet_balance') FROM projection_status"),
		'ready|0|t',
		"$database, $name: it is ready");
	is(run_in($database, $options), 'night|5|7', "$database, $name: its options");
	return;
}

run_in('postgres', 'CREATE DATABASE wallet');
install($node, 'wallet', partitions => 5, batch_size => 7, channel => 'night');
run_in('wallet', "SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 20) i; SELECT projection_run('wallet_balance')");
run_in('wallet', "SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i");

# without the read model
restore('no_table', '-T', 'wallet_balances');
like(run_in('no_table', 'SELECT state, last_error, read_model FROM projection_status'),
	qr/^failed\|the read model was dropped HINT: .*;.*\|$/, 'no_table: it is missing');
like(error_in('no_table', "SELECT projection_wait('wallet_balance')"), qr/was dropped/, 'no_table: nobody waits for it');
is(error_in('no_table', "SELECT projection_init('wallet_balance')"), 'no error', 'no_table: it begins anew');
is_whole('no_table', 'init');

# without its rows
restore('no_rows', '--exclude-table-data=wallet_balances');
like( run_in('no_rows', 'SELECT state, lag_events, last_error FROM projection_status'),
	qr/^failed\|10\|55000: read model "wallet_balances" is empty.*projection_reset/,
	'no_rows: it is empty');
like(error_in('no_rows', "SELECT $_"), qr/is empty, although/, "no_rows: $_")
  foreach ("projection_run('wallet_balance')", "projection_wait('wallet_balance')");
run_in('no_rows', "SELECT projection_reset('wallet_balance')");
is_whole('no_rows', 'reset');

# without the stream, or what the extension knows of it
restore('no_stream', '-T', 'wallet_stream');
like(run_in('no_stream', 'SELECT state, last_error FROM projection_status'),
	qr/^failed\|the stream was dropped HINT: .*;/, 'no_stream: it is missing');

# first the schema, then the data
restore('in_two', '--schema-only');
is(run_in('in_two', 'SELECT state FROM projection_status'), 'defined', 'in_two: there are no positions yet');
dump_into('in_two', 'wallet', '--data-only');
is_whole('in_two', 'both');
is(run_in('in_two', "SELECT read_model = 'wallet_balances'::regclass, relation = 'wallet_stream'::regclass FROM wallet_projection.projection_state"),
	't|t', 'in_two: the tables are known by their OIDs again');

# one schema, into a database that has the extension
run_in('postgres', 'CREATE DATABASE one_schema');
run_in('one_schema', "DROP SCHEMA public; CREATE SCHEMA other; CREATE EXTENSION wallet_projection SCHEMA other");
run_in('one_schema', "SELECT other.projection_set('wallet_balance', 'channel', 'night')");
dump_into('one_schema', 'wallet', '-n', 'public');
is(run_in('one_schema', 'SELECT state FROM other.projection_status'), 'defined', 'one_schema: nobody knows the tables');
run_in('postgres', 'CREATE DATABASE same_schema');
run_in('postgres', 'CREATE DATABASE template_of_it TEMPLATE wallet');
run_in('same_schema', 'CREATE EXTENSION wallet_projection');
$node->command_ok([ 'pg_dump', '-n', 'public', '-t', 'wallet_*', '-f', $dump_file, '-d', $node->connstr('wallet') ], 'dump of the tables');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump_file, '-d', $node->connstr('same_schema') ], 'restore of the tables');
like(error_in('same_schema', "SELECT projection_init('wallet_balance')"), qr/exists already, and is not the read model/,
	'same_schema: a read model of unknown positions is refused');
run_in('same_schema', "DROP TABLE wallet_balances; SELECT projection_init('wallet_balance'), projection_run('wallet_balance')");
is( run_in('same_schema', 'SELECT sum(current_balance) FROM wallet_balances'),
	'2010.0000', 'same_schema: the stream is taken over');

# a copy of the database has the same OIDs, and is another one
is(run_in('template_of_it', 'SELECT state, lag_events FROM projection_status'), 'ready|10', 'a copy is as the original is');
is_whole('template_of_it', 'copy');

# the tables of the live database are dropped and restored; its positions stay
dump_into('template_of_it', 'wallet', '-t', 'wallet_balances', '--clean', '--if-exists');
like( run_in('template_of_it', 'SELECT state, last_error FROM projection_status'),
	qr/^failed\|the read model was dropped HINT: .*;/,
	'an older read model does not take the place of the one that was dropped');
like(error_in('template_of_it', "SELECT projection_init('wallet_balance')"), qr/exists already/, 'nor does projection_init take it');
is(error_in('template_of_it', "SELECT projection_delete('wallet_balance')"), 'no error', 'projection_delete leaves it alone');
is(run_in('template_of_it', 'SELECT count(*) FROM wallet_balances'), '20', 'and it is there');

# a table that has the OID, or the name, of one that was dropped by hand
run_in('no_table', 'DROP TABLE wallet_balances');
like(error_in('no_table', "CALL projection_consume('night', finish_when_no_messages => true)"), qr/was dropped/, 'it is missed');
run_in('postgres', 'CREATE DATABASE dropped');
dump_into('dropped', 'no_table');
run_in('dropped', <<'SQL');
CREATE TABLE precious (id int);
INSERT INTO precious VALUES (1);
CREATE TABLE wallet_balances (wallet_id varchar(255) PRIMARY KEY, current_balance numeric(19,4), total_debits numeric(19,4), total_credits numeric(19,4), transaction_count int);
INSERT INTO wallet_balances VALUES ('mine', 1, 1, 1, 1);
UPDATE wallet_projection.projection_state SET read_model = 'precious'::regclass;
SQL
like(run_in('dropped', 'SELECT state, last_error, read_model FROM projection_status'), qr/^failed\|the read model was dropped HINT: .*;.*\|$/,
	'dropped: neither of them is the read model');
like(error_in('dropped', "SELECT projection_reset('wallet_balance')"), qr/was dropped/, 'dropped: reset');
is(error_in('dropped', "SELECT projection_delete('wallet_balance')"), 'no error', 'dropped: delete');
is(run_in('dropped', 'SELECT (SELECT count(*) FROM precious), (SELECT count(*) FROM wallet_balances)'), '1|1',
	'dropped: neither is emptied or dropped');

# a renamed read model is found again
run_in('wallet', "ALTER TABLE wallet_balances RENAME TO balances; CREATE VIEW wallet_balances AS SELECT * FROM balances; SELECT projection_run('wallet_balance')");
restore('renamed');
is(run_in('renamed', 'SELECT read_model, state FROM projection_status'), 'public.balances|ready', 'renamed: it is found');
is_whole('renamed', 'view');
run_in('wallet', 'DROP VIEW wallet_balances; ALTER TABLE balances RENAME TO wallet_balances');

# the whole is restored into the live database, under a session that has used all
my $custom = $node->basedir . '/custom';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $custom, '-d', $node->connstr('wallet') ], 'dump');
my $session = $node->background_psql('wallet');
# it is not to be told why a wait has been in vain
$session->query_safe('SET client_min_messages = warning');
$session->query_safe("SELECT wallet_credit('w1', 7)");
$session->query_safe("SELECT projection_run('wallet_balance'), wallet_get_balance('w1')");
$session->query_safe("SELECT projection_wait('wallet_balance', '0 s')");
$session->query_safe("SELECT wallet_create('gone', 1)");
$node->command_ok([ 'pg_restore', '--clean', '--if-exists', '--exit-on-error', '-d', $node->connstr('wallet'), $custom ],
	'restore into the live database');
is($session->query_safe("SELECT projection_wait('wallet_balance', '0 s')"), 't', 'the session waits for what was restored');
$session->query_safe("SELECT wallet_credit('w1', 3), wallet_create('gone', 2)");
is($session->query_safe("SELECT projection_wait('wallet_balance', '0 s')"), 'f', 'and for what it appends');
is($session->query_safe("SELECT projection_run('wallet_balance')"), '2', 'it runs');
is($session->query_safe("SELECT projection_wait('wallet_balance', '0 s'), wallet_get_balance('w1'), wallet_get_balance('gone')"),
	't|104.0000|2.0000', 'and it reads');
$session->quit;
is_whole('wallet', 'live');

$node->stop;
done_testing();
