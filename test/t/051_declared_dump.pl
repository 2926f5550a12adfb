# Dump and restore of declared projections: definitions, positions, where each
# begins, parked keys and attached streams come along, in whatever form the dump
# is; new events are then applied exactly once, to the same partitions, also
# where the key is an enum, whose labels have other OIDs there.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $node = new_node('declared_dump');
my $dump = $node->basedir . '/dump';
my @projections = qw(per_kind per_shop since);
my $run = join ' + ', map { "projection_run('$_')" } @projections;

# each read model, and what plain SQL makes of the events
my $differences = <<'SQL';
SELECT count(*) FROM (SELECT kind, count(*) AS n, sum(amount::int) AS total FROM sales WHERE amount <> 'bad' GROUP BY kind) e
  FULL JOIN per_kind r ON r.kind = e.kind AND r.n = e.n AND r.total = e.total WHERE r.kind IS NULL OR e.kind IS NULL;
SELECT count(*) FROM (SELECT shop, day, count(*) AS n FROM sales GROUP BY shop, day) e
  FULL JOIN per_shop r ON r.shop = e.shop AND r.day = e.day AND r.n = e.n WHERE r.shop IS NULL OR e.shop IS NULL;
SELECT count(*) FROM (SELECT shop, count(*) AS n FROM sales WHERE no > 30 GROUP BY shop) e
  FULL JOIN since r ON r.shop = e.shop AND r.n = e.n WHERE r.shop IS NULL OR e.shop IS NULL;
SQL
my $state = <<'SQL';
SELECT projection, stream, partitions, channel FROM projection_status WHERE projection <> 'wallet_balance' ORDER BY projection;
SELECT projection, partition, head, gaps FROM projection_partitions WHERE projection <> 'wallet_balance' ORDER BY 1, 2;
SELECT projection, partition_key, no, attempts, waiting, message FROM projection_dead_letters ORDER BY projection, no;
SELECT projection, definition, settings, uses, fingerprint, ordering, start_head FROM wallet_projection.definition ORDER BY projection;
SQL

sub new_events
{
	my ($database, $count) = @_;

	$node->safe_psql($database,
		"INSERT INTO sales (kind, shop, amount) SELECT (ARRAY['small', 'big', 'huge', 'none'])[i % 4 + 1]::kind, (ARRAY['a', 'b'])[i % 2 + 1], i FROM generate_series(1, $count) i");
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE DATABASE shop OWNER owner');
$node->safe_psql('shop', 'CREATE EXTENSION wallet_projection; GRANT ALL ON SCHEMA public TO owner');
$node->safe_psql('shop', <<'SQL', extra_params => [ '-U', 'owner' ]);
-- names that come after what uses them
CREATE TYPE kind AS ENUM ('small', 'big', 'huge', 'none');
CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind kind NOT NULL, shop text NOT NULL, day date DEFAULT '2024-01-01', amount text);
CREATE FUNCTION z_amount(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1::int';
CREATE VIEW z_sales AS SELECT no, kind, shop, day, z_amount(amount) AS amount FROM sales;
CREATE TABLE per_kind (kind kind PRIMARY KEY, n int NOT NULL, total int NOT NULL);
CREATE TABLE per_shop (day date, shop text, n int, UNIQUE (shop, day));
CREATE TABLE since (shop text PRIMARY KEY, n int);
SELECT projection_create('per_kind', 'MERGE INTO per_kind r USING z_sales e ON r.kind = e.kind
    WHEN NOT MATCHED THEN INSERT VALUES (e.kind, 1, e.amount) WHEN MATCHED THEN UPDATE SET n = r.n + 1, total = r.total + e.amount');
SELECT projection_create('per_shop', 'MERGE INTO per_shop r USING sales e ON r.day = e.day AND r.shop = e.shop
    WHEN NOT MATCHED THEN INSERT VALUES (e.day, e.shop, 1) WHEN MATCHED THEN UPDATE SET n = r.n + 1', partitions => 4, channel => 'night');
SQL
new_events('shop', 30);
$node->safe_psql('shop', <<'SQL', extra_params => [ '-U', 'owner' ]);
SELECT projection_create('since', 'MERGE INTO since r USING sales e ON r.shop = e.shop
    WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1) WHEN MATCHED THEN UPDATE SET n = r.n + 1', start_at => 'now');
SQL
$node->safe_psql('shop', "SELECT $run");
# a key that is parked, another one that waits behind it
$node->safe_psql('shop', "INSERT INTO sales (kind, shop, amount) VALUES ('huge', 'a', 'bad'), ('small', 'b', '5'), ('huge', 'b', '7')");
$node->safe_psql('shop', "SELECT $run");
new_events('shop', 5);

my $before = $node->safe_psql('shop', $state);
like($before, qr/^per_kind\|huge\|31\|1\|1\|/m, 'the key of an enum is parked');
like($before, qr/\|number\|30$/m, 'it begins at now');

sub check_restored
{
	my ($database) = @_;

	is($node->safe_psql($database, $state), $before, "$database: all of it is there");
	new_events($database, 10);
	is($node->safe_psql($database, "SELECT $run"), 15 * 3 - 3 - 1, "$database: what was left is applied")
	  or diag($node->safe_psql($database, $state));
	$node->safe_psql($database, "UPDATE sales SET amount = '1' WHERE amount = 'bad'; SELECT dead_letter_replay_all('per_kind')");
	is($node->safe_psql($database, 'SELECT count(*) FROM projection_dead_letters'), '0', "$database: the parked key is found again");
	is($node->safe_psql($database, $differences), "0\n0\n0", "$database: each read model equals the events");
	$node->safe_psql($database, "TRUNCATE since; SELECT projection_reset(p) FROM unnest(ARRAY['per_kind', 'per_shop', 'since']) p; SELECT $run");
	is($node->safe_psql($database, $differences), "0\n0\n0", "$database: also from the beginning, wherever that is");
	return;
}

foreach my $how ([], ['-Fc'], ['-Fd'])
{
	my $database = lc('restored' . join '', map { s/\W//r } @$how);

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	# other types of this database take the OIDs that the labels had
	$node->safe_psql($database, "CREATE TYPE other AS ENUM ('x', 'y', 'z'); DROP TYPE other");
	$node->command_ok([ 'pg_dump', @$how, '-f', "$dump$database", '-d', $node->connstr('shop') ], "dump for $database");
	$node->command_ok(
		@$how
		? [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($database), "$dump$database" ]
		: [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dump$database", '-d', $node->connstr($database) ],
		"restore of $database");
	check_restored($database);
}

# section by section
$node->safe_psql('postgres', 'CREATE DATABASE sections');
foreach my $section (qw(pre-data data post-data))
{
	$node->command_ok([ 'pg_restore', '--exit-on-error', "--section=$section", '-d', $node->connstr('sections'), "${dump}restoredfc" ], "restore: $section");
}
check_restored('sections');

$node->stop;
done_testing();
