# A live batch costs what is new, and a command what one event costs, however
# long the stream, or the history of one wallet, is.  Counted, not timed: the
# entries of the stream's indexes that were read.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest;

my $events = 5000;
my $node = new_node('cost');
install($node, 'postgres');
put_wallets($node, 10);
$node->safe_psql('postgres', <<"SQL");
SELECT count(wallet_credit('w1', 1)) FROM generate_series(1, $events);
VACUUM ANALYZE wallet_stream;
SQL
my $session = $node->background_psql('postgres');
$session->query_safe("SELECT projection_run('wallet_balance')");

# How many entries of the stream's indexes a statement makes the session read.
sub entries
{
	my ($statement) = @_;
	my $sum =
	  "SELECT pg_stat_force_next_flush(); SELECT 'read ' || sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'wallet_stream'";

	$session->query_safe($sum) =~ /read (\d+)/ or die;
	my $before = $1;
	$session->query_safe($statement);
	$session->query_safe($sum) =~ /read (\d+)/ or die;
	return $1 - $before;
}

my $run = "SELECT projection_run('wallet_balance')";
my $append =
  q(SELECT stream_append('wallet_stream', 'Wallet', 'w1', '[{"event_name": "WalletWasCredited", "payload": {"amount": 1}}]'));

is(entries("SELECT wallet_debit('w1', 1)"),
	1, 'a command on a wallet with a long history');
is(entries($append), 1, 'an append to it');
is(entries($run), 2, 'a batch of two events after a long stream');
is(entries($run), 0, 'nothing to do costs nothing');

# an old gap: what lies behind it is not read again for its sake
my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; SELECT wallet_credit('w2', 1)");
$session->query_safe(
	"SELECT count(wallet_credit('w1', 1)) FROM generate_series(1, 1000)");
is(entries($run), 1001, 'a thousand events, and the one that is open');
is(entries($run), 0, 'a gap that nobody can have filled costs nothing');
$session->query_safe("SELECT wallet_credit('w1', 1)");
is(entries($run), 1, 'and one event after it costs one event');
$writer->query_safe('COMMIT');
is(entries($run), 1, 'the gap itself costs one look when it is filled');
consistent($node, 'after all');

$_->quit foreach ($session, $writer);
$node->stop;
done_testing();
