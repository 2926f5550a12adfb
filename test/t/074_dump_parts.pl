# Dumps of a database that has some of everything, in each form: in parallel, as
# inserts, schema and data apart; and of some schemas only.  What is whole goes on
# exactly; what lacks a part says so, and what it says to do helps.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Moved;
use WalletTest;

my $node = worker_node('parts', 'max_worker_processes = 40', 'fsync = off', "wallet_projection.poll_interval = '100ms'");
my $dump = $node->basedir . '/dump';

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

sub dump_of
{
	my ($database, $file, @how) = @_;

	$node->command_ok([ 'pg_dump', '--no-sync', @how, '-f', "$dump$file", '-d', $node->connstr($database) ], "dump: $file");
	return;
}

sub restore
{
	my ($database, $file, @how) = @_;

	$node->command_ok(
		@how
		? [ 'pg_restore', '--exit-on-error', @how, '-d', $node->connstr($database), "$dump$file" ]
		: [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dump$file", '-d', $node->connstr($database) ],
		"restore of $file @how");
	return;
}

run_in('postgres', "CREATE DATABASE $_") foreach qw(wallet parallel inserts apart);
put_everything($node, 'wallet');
run_in('wallet', 'SELECT projection_stop(projection) FROM projection_status');
more_events($node, 'wallet');
my $was = what_is_there($node, 'wallet');

dump_of('wallet', 'parallel', '-Fd', '-j3');
restore('parallel', 'parallel', '-j4');
dump_of('wallet', 'inserts', '--rows-per-insert=3', '--quote-all-identifiers');
restore('inserts', 'inserts');
dump_of('wallet', 'apart', '-Fc');
restore('apart', 'apart', '--schema-only');
restore('apart', 'apart', '--data-only', '--disable-triggers', '-j2');

foreach my $database (qw(parallel inserts apart))
{
	is_moved($node, $database, $was, $database);
	run_in($database, q(SELECT projection_start(projection) FROM projection_status WHERE projection <> 'numbered'));
	goes_on($node, $database, $database);
	run_in('postgres', "DROP DATABASE $database");
}

# Streams in one schema, read models in another
run_in('postgres', "CREATE DATABASE $_") foreach qw(schemas models events twice migrated);
run_in('schemas', <<'SQL');
CREATE EXTENSION wallet_projection;
CREATE SCHEMA events;
CREATE SCHEMA models;
CREATE TABLE events.sale (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL);
CREATE TABLE models.shop (shop text PRIMARY KEY, n int NOT NULL);
INSERT INTO events.sale (shop) SELECT 's' || i % 3 FROM generate_series(1, 20) i;
SELECT projection_create('shop', 'MERGE INTO models.shop s USING events.sale e ON s.shop = e.shop
	WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1) WHEN MATCHED THEN UPDATE SET n = s.n + 1');
SELECT projection_wait('shop', '60 s');
SQL
my $definition = run_in('schemas', q(SELECT format('SELECT projection_create(%L, %L)', projection, definition) FROM wallet_projection.definition));
my $different = 'SELECT count(*) FROM (SELECT shop, count(*)::int AS n FROM events.sale GROUP BY 1) e FULL JOIN models.shop s USING (shop, n) WHERE e IS NULL OR s IS NULL';

sub goes_on_here
{
	my ($database) = @_;

	run_in($database, "INSERT INTO events.sale (shop) SELECT 's' || i % 4 FROM generate_series(1, 7) i");
	is(run_in($database, "SELECT projection_wait('shop', '60 s')"), 't', "$database: workers go on");
	is(run_in($database, $different), 0, "$database: exactly");
	return;
}

# without the read models: the table is made again, and so is the projection
dump_of('schemas', 'events', '-N', 'models');
restore('events', 'events');
like(run_in('events', q(SELECT state, last_error FROM projection_status WHERE projection = 'shop')), qr/^failed\|the read model was dropped HINT: /, 'events: the read model is missing');
like(error_in('events', "SELECT projection_$_('shop')"), qr/was dropped/, "events: $_") foreach qw(run reset wait);
run_in('events', "SELECT projection_drop('shop'); CREATE SCHEMA models; CREATE TABLE models.shop (shop text PRIMARY KEY, n int NOT NULL); $definition");
goes_on_here('events');

# without the stream: it is restored later, and then the rows and positions fit
dump_of('schemas', 'models', '-N', 'events');
restore('models', 'models');
like(run_in('models', q(SELECT state, last_error FROM projection_status WHERE projection = 'shop')), qr/^failed\|the stream was dropped HINT: /, 'models: the stream is missing');
dump_of('schemas', 'the_events', '-n', 'events');
restore('models', 'the_events');
is(run_in('models', q(SELECT state, lag_events, last_error FROM projection_status WHERE projection = 'shop')), 'ready|0|', 'models: it is there');
run_in('models', "SELECT projection_start('shop')");
goes_on_here('models');

# the schemas alone: of rows whose positions nobody knows nothing is made
dump_of('schemas', 'alone', '-n', 'models', '-n', 'events');
run_in('twice', 'CREATE EXTENSION wallet_projection');
restore('twice', 'alone');
like(error_in('twice', $definition), qr/is not empty.*TRUNCATE/s, 'alone: a projection wants an empty read model');
run_in('twice', "TRUNCATE models.shop; $definition");
goes_on_here('twice');

# data into a database that has the same projection already: refused as a whole
dump_of('schemas', 'data', '--data-only');
$node->command_fails([ 'psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-f', "${dump}data", '-d', $node->connstr('twice') ], 'twice: data of a projection that is there');
goes_on_here('twice');

# the same where somebody knows what has to be done: rows that are copied are not
# the work of the projection that is there
dump_of('schemas', 'rows', '--data-only', '-n', 'models', '-n', 'events');
run_in('migrated', <<"SQL");
CREATE EXTENSION wallet_projection;
CREATE SCHEMA events;
CREATE SCHEMA models;
CREATE TABLE events.sale (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL);
CREATE TABLE models.shop (shop text PRIMARY KEY, n int NOT NULL);
$definition;
SELECT projection_stop('shop');
SQL
restore('migrated', 'rows');
run_in('migrated', "SELECT projection_reset('shop'); SELECT projection_start('shop')");
goes_on_here('migrated');

$node->stop;
done_testing();
