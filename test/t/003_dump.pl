# Dump and restore: definitions, options, positions and gaps come along, and a
# catch-up then applies exactly the rest.  The dump is taken while a
# transaction with a number is open; it is restored by a superuser, as only one
# may make the extension, for an owner who is none, and into another encoding.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $node = new_node('dump');
my $positions =
  'SELECT partition, head, gaps FROM projection_partitions ORDER BY partition';
my $options =
  'SELECT stream, channel, state, partitions FROM projection_status';
my $batch_size =
  'SELECT batch_size FROM wallet_projection.projection_state';
my @by_owner = (extra_params => [ '-U', 'owner' ]);

# Is what was restored the same, and does it go on from there?
sub check_restored
{
	my ($database, $as) = @_;
	my $encoding =
	  $node->safe_psql($database, 'SHOW server_encoding');

	foreach ($positions, $options, $batch_size)
	{
		is( $node->safe_psql($database, $_),
			$as->{$_}, "$database ($encoding): $_");
	}
	is($node->safe_psql($database, 'SELECT * FROM oracle()'),
		$as->{oracle}, "$database: each row equals a prefix, as it was");

	my $rest = $node->safe_psql($database,
		'SELECT (SELECT count(*) FROM wallet_stream) - sum(transaction_count + 1) FROM wallet_balances'
	);
	cmp_ok($rest, '>', 0, "$database: there are events left");
	is( $node->safe_psql(
			$database, "SELECT projection_run('wallet_balance')", @by_owner),
		$rest,
		"$database: these are applied");
	consistent($node, $database, $database);

	$node->safe_psql($database,
		"SELECT wallet_credit(wallet_id, 1) FROM wallet_balances; SELECT projection_run('wallet_balance')",
		@by_owner);
	consistent($node, "$database, with new events", $database);
	is( $node->safe_psql($database, 'SELECT DISTINCT gaps FROM projection_partitions'),
		'{}',
		"$database: no gap is left");
	return;
}

$node->safe_psql('postgres',
	"CREATE ROLE owner LOGIN; CREATE DATABASE wallet OWNER owner");
$node->safe_psql('wallet', 'CREATE EXTENSION wallet_projection');
isnt(sqlstate($node, 'SET ROLE owner; SELECT * FROM wallet_projection.position', 'wallet'),
	'00000', 'whoever owns a database has no rights on the catalog');
install($node, 'wallet',
	-role => 'owner', -extension => 0, partitions => 5, batch_size => 7, channel => 'night');
$node->safe_psql('wallet', <<'SQL', @by_owner);
SET client_encoding = 'UTF8';
SELECT count(wallet_create(w, 10)) FROM unnest(ARRAY['Zürich', 'Ærø', 'Ñandú', 'naïve', 'größer', 'façade', 'ÿ']) w;
SELECT count(wallet_create('w' || i, 10)) FROM generate_series(1, 20) i;
SELECT projection_backfill('wallet_balance', 2);
SQL

# the number that it draws is a gap for some partitions and lies ahead of others
my $open = $node->background_psql('wallet', @by_owner);
$open->query_safe("BEGIN; SELECT wallet_create('open', 10)");
$node->safe_psql('wallet', <<'SQL', @by_owner);
SELECT count(wallet_debit('w' || i, 1)) FROM generate_series(1, 20) i;
SELECT projection_backfill('wallet_balance', 2);
SQL
my %was = map { $_ => $node->safe_psql('wallet', $_) }
  ($positions, $options, $batch_size);
$was{oracle} = $node->safe_psql('wallet', 'SELECT * FROM oracle()');
like($was{oracle}, qr/^0\|[1-9]/, 'some wallets are behind');
is( $node->safe_psql('wallet',
		'SELECT count(DISTINCT head) > 2, count(DISTINCT gaps) FROM projection_partitions'
	),
	't|2',
	'positions differ, and some have a gap');

my $plain = $node->basedir . '/wallet.sql';
my $custom = $node->basedir . '/wallet.dump';
my $where = $node->connstr('wallet');
$node->command_ok([ 'pg_dump', '-f', $plain, '-d', $where ], 'dump as text');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $custom, '-d', $where ],
	'dump for pg_restore');
$open->query_safe('COMMIT');
$open->quit;

$node->safe_psql('postgres', <<'SQL');
CREATE DATABASE text_restored OWNER owner;
CREATE DATABASE owner_restored OWNER owner;
CREATE DATABASE latin1_restored OWNER owner ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
SQL
$node->command_ok(
	[
		'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $plain, '-d',
		$node->connstr('text_restored')
	],
	'restore of the text');
foreach ('owner_restored', 'latin1_restored')
{
	$node->command_ok(
		[
			'pg_restore', '--exit-on-error', '-d', $node->connstr($_), $custom
		],
		"restore into $_");
}
check_restored($_, \%was)
  foreach ('text_restored', 'owner_restored', 'latin1_restored');

# the original, where the open transaction has committed
$node->safe_psql('wallet', "SELECT projection_run('wallet_balance')");
consistent($node, 'wallet', 'wallet');

$node->stop;
done_testing();
