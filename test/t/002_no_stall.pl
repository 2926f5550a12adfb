# What must not hold a projection up: a long transaction in another database, a
# VACUUM of the stream, a prepared transaction of another wallet.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest;

my $node = new_node('no_stall', 'max_prepared_transactions = 2');

sub run
{
	return $node->safe_psql('postgres',
		"SELECT projection_run('wallet_balance')");
}

sub gaps
{
	return $node->safe_psql('postgres',
		'SELECT DISTINCT gaps FROM projection_partitions');
}

# A number is drawn and lost, then another used; what a run leaves of the gap.
sub gaps_after_abort
{
	$node->safe_psql('postgres',
		"BEGIN; SELECT wallet_credit('w1', 1); ROLLBACK; SELECT wallet_credit('w2', 1)"
	);
	is(run(), 1, 'the event after it is applied');
	return gaps();
}

install($node);
put_wallets($node, 2000);
is(run(), 2000, 'all events applied');

# another database, a copy of this one: its stream has the same OID
$node->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE postgres');
my $foreign = $node->background_psql('other');
$foreign->query_safe("BEGIN; SELECT wallet_credit('w1', 1); SELECT pg_current_xact_id()");
is( $node->safe_psql(
		'postgres',
		"SELECT count(DISTINCT database) FROM pg_locks l JOIN pg_class c ON l.relation = c.oid AND relname = 'wallet_stream' AND mode = 'RowExclusiveLock'"
	),
	1,
	'a writer in another database has a lock on a table of the same OID');
is(gaps_after_abort(), '{}', 'and leaves no gap open');
$foreign->query_safe('COMMIT');
$foreign->quit;

# a VACUUM that is so slow that it lasts as long as we need it
my $vacuum = $node->background_psql('postgres');
my $vacuum_pid = backend_pid($vacuum);
$vacuum->query_safe('SET vacuum_cost_limit = 1; SET vacuum_cost_delay = 100');
$vacuum->query_until(qr/begun/, "\\echo begun\nVACUUM (FREEZE) wallet_stream;\n");
my $vacuuming = "SELECT count(*) FROM pg_locks WHERE pid = $vacuum_pid AND granted"
  . " AND mode = 'ShareUpdateExclusiveLock' AND relation = 'wallet_stream'::regclass";
$node->poll_query_until('postgres', $vacuuming, '1')
  or die 'VACUUM did not begin';
is(gaps_after_abort(), '{}', 'a VACUUM of the stream leaves no gap open');
is($node->safe_psql('postgres', $vacuuming), 1, 'and was still at work');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($vacuum_pid)");
$node->poll_query_until('postgres', $vacuuming, '0')
  or die 'VACUUM did not end';
eval { $vacuum->quit };

# a prepared transaction: it holds up its wallet, and nobody else, ever
$node->safe_psql('postgres',
	"BEGIN; SELECT wallet_credit('w1', 7); PREPARE TRANSACTION 'w1'");
$node->safe_psql('postgres', "SELECT wallet_credit('w2', 1)");
is(run(), 1, 'events of other wallets are applied');
my $gap = gaps();
like($gap, qr/^\{\[(\d+),\d+\)\}$/, 'the prepared one is remembered');
$node->safe_psql('postgres', "SELECT wallet_credit('w2', 1)");
is(run(), 1, 'they still are');
is(gaps(), $gap, 'and it still is');
$node->restart;
$node->safe_psql('postgres', "SELECT wallet_credit('w2', 1)");
is(run(), 1, 'also after a restart');
is(gaps(), $gap, 'and it still is');
is_prefix($node, 'while it is prepared');
$node->safe_psql('postgres', "COMMIT PREPARED 'w1'");
is(run(), 1, 'when it is committed, it is applied');
is(gaps(), '{}', 'and no gap is left');
consistent($node, 'after all');

$node->stop;
done_testing();
