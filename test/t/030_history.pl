# Dump and restore of what protects a stream: the trigger that keeps an event's
# number and aggregate, the sequence's last number, ids of commands, children.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $node = new_node('history');
my @by_owner = (extra_params => [ '-U', 'owner' ]);
my $id = '00000000-0000-0000-0000-000000000001';
my $trigger = q(SELECT tgname, tgenabled, tgfoid::regproc, count(d.objid) FROM pg_trigger t
	LEFT JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'x'
	WHERE tgrelid = 'wallet_stream'::regclass AND NOT tgisinternal GROUP BY 1, 2, 3);

sub protected
{
	my ($database) = @_;
	my $psql = sub { $node->safe_psql($database, $_[0], @by_owner) };

	is($psql->($trigger),
		'wallet_projection_history|A|wallet_projection.keep_history|1',
		"$database: the trigger is there");
	foreach (
		'UPDATE wallet_stream SET no = DEFAULT WHERE no = 1',
		"UPDATE wallet_stream SET aggregate_id = 'b' WHERE no = 1",
		'SET session_replication_role = replica; UPDATE wallet_stream SET no = DEFAULT WHERE no = 1')
	{
		my ($status, $out, $err) = $node->psql($database, "\\set VERBOSITY sqlstate\n$_");
		like($err, qr/428C9/, "$database: $_");
	}
	is( $psql->('SELECT seqmax FROM pg_sequence WHERE seqrelid = \'wallet_stream_no_seq\'::regclass'),
		'9223372036854775806', "$database: the last number");
	is( $psql->("SELECT wallet_debit('a', 10, NULL, '$id'), wallet_create('w', 1, '00000000-0000-0000-0000-000000000002')"),
		'2|w', "$database: commands that were carried out are known, also in a child");
	is($psql->("SELECT wallet_get_balance('a')"), '90.0000', "$database: and changed nothing");
	return;
}

$node->safe_psql('postgres',
	'CREATE ROLE owner LOGIN; CREATE DATABASE wallet OWNER owner; CREATE DATABASE restored OWNER owner');
$node->safe_psql('wallet', 'CREATE EXTENSION wallet_projection');
install($node, 'wallet', -role => 'owner', -extension => 0);
$node->safe_psql('wallet', <<SQL, @by_owner);
SELECT wallet_create('a', 100), wallet_create('w', 1, '00000000-0000-0000-0000-000000000002'), wallet_debit('a', 10, NULL, '$id');
SELECT projection_run('wallet_balance');
CREATE TABLE archive (UNIQUE (aggregate_type, aggregate_id, aggregate_version), UNIQUE (event_id)) INHERITS (wallet_stream);
WITH moved AS (DELETE FROM wallet_stream WHERE no = 2 RETURNING *) INSERT INTO archive SELECT * FROM moved;
SQL
protected('wallet');

my $dump = $node->basedir . '/wallet.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('wallet') ], 'dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'restore');
protected('restored');

$node->safe_psql('restored', 'DROP EXTENSION wallet_projection');
is($node->safe_psql('restored', $trigger), '', 'DROP EXTENSION takes the trigger along');

$node->stop;
done_testing();
