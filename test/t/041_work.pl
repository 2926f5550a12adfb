# What a batch costs follows its events: not the number of partitions, nor that
# of gaps, nor the age of the oldest snapshot.  Counted, not timed: bytes of
# WAL, rows written, pages and index entries read.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query);

my $node = new_node('work', 'full_page_writes = off', 'autovacuum = off');
my $run = "SELECT projection_run('wallet_balance')";
my $flush = 'SELECT pg_stat_force_next_flush()';

# What a statement costs in a session: WAL in bytes, rows written to the
# positions, their pages read, index entries of the stream read.
my $costs = q(SELECT 'cost ' || concat_ws(' ', pg_current_wal_insert_lsn() - '0/0',
	(SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_all_tables WHERE relid = 'wallet_projection.position'::regclass),
	(SELECT sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read) FROM pg_statio_all_tables WHERE schemaname = 'wallet_projection'),
	(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'wallet_stream')));

sub costs
{
	my ($session) = @_;

	$session->query_safe("$flush; $costs") =~ /cost (\d+) (\d+) (\d+) (\d+)/ or die;
	return ($1, $2, $3, $4);
}

sub cost_of
{
	my ($session, $statement) = @_;
	my @before = costs($session);

	$session->query_safe($statement);

	my @after = costs($session);
	my %cost;

	@cost{qw(wal rows pages entries)} = map { $after[$_] - $before[$_] } 0 .. 3;
	return \%cost;
}

# The middle one of some, as a page may be split in any of them.
sub batch_cost
{
	my ($session, $wallet) = @_;
	my @costs;

	foreach (1 .. 5)
	{
		$session->query_safe("SELECT wallet_credit('$wallet', 1)");
		push @costs, cost_of($session, $run);
	}
	@costs = sort { $a->{wal} <=> $b->{wal} } @costs;
	return $costs[2];
}

# many partitions
install($node);
my %wal;
foreach my $partitions (16, 256, 1024)
{
	query(
		"SELECT projection_delete('wallet_balance'), projection_set('wallet_balance', 'partitions', '$partitions'); SELECT projection_init('wallet_balance')"
	);
	query('SELECT count(wallet_create(\'p' . $partitions . "w' || i, 100)) FROM generate_series(1, 100) i; $run");
	my $session = $node->background_psql('postgres');
	my $cost = batch_cost($session, "p${partitions}w1");

	$wal{$partitions} = $cost->{wal};
	is($cost->{rows}, 1, "$partitions partitions: one row of positions");
	$session->quit;
}
cmp_ok($wal{16}, '<', 1000, "WAL of a batch of one event, 16 partitions ($wal{16} bytes)");
cmp_ok($wal{1024}, '<', 1300, "and with 1,024 ($wal{1024} bytes)");

# a claim writes nothing, whoever holds what
my $holder = $node->background_psql('postgres');
my $other = $node->background_psql('postgres');
query("SELECT count(wallet_credit('p16w' || i, 1)) FROM generate_series(1, 100) i");
$holder->query_safe("BEGIN; SELECT projection_backfill('wallet_balance', 512)");
my $idle = cost_of($other, "BEGIN; SELECT projection_backfill('wallet_balance', 1024); ROLLBACK");
$holder->query_safe('COMMIT');
$other->query_safe($run);
$idle = cost_of($other, $run);
is("@$idle{qw(wal rows)}", '0 0', 'nothing to do writes nothing');
consistent($node, 'after two consumers');
is(query('SELECT count(DISTINCT head) FROM projection_partitions'), '1', 'all partitions are at the end');

# dead numbers behind a writer who stays, and live traffic beside
query("SELECT projection_delete('wallet_balance'), projection_set('wallet_balance', 'partitions', '16'); SELECT projection_init('wallet_balance'); $run");
my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; SELECT wallet_create('late', 1)");
my $none = batch_cost($holder, 'p16w1');

# applied events, a dead number between two of them
sub make_gaps
{
	my ($count) = @_;

	query(<<"SQL");
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload)
SELECT gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'p16w2',
       i + (SELECT max(aggregate_version) FROM wallet_stream WHERE aggregate_id = 'p16w2'), '{"amount": 1}'
  FROM generate_series(1, $count) i WHERE nextval('wallet_stream_no_seq') > 0
SQL
	foreach (1 .. 100)
	{
		last if $holder->query_safe($run) == 0;
	}
	return;
}

foreach my $gaps (2000, 20000)
{
	make_gaps($gaps);
	cmp_ok(query('SELECT gaps FROM projection_status'), '>=', $gaps, "$gaps gaps");
	cmp_ok(query('SELECT max(pg_column_size(p)) FROM wallet_projection.position p'), '<', 2000, 'the row of positions is small');
	my $some = batch_cost($holder, 'p16w1');

	cmp_ok($some->{wal}, '<', 2 * $none->{wal}, "$gaps gaps: WAL ($some->{wal} bytes, $none->{wal} without)");
	is($some->{entries}, 1, "$gaps gaps: one event is read");
	cmp_ok($some->{pages}, '<', $none->{pages} + 10, "$gaps gaps: pages of the catalog ($some->{pages}, $none->{pages} without)");
	is(cost_of($holder, $run)->{entries}, 0, "$gaps gaps: nothing to do reads nothing");

	# who has not been there before, is told who may fill them
	my $fresh = $node->background_psql('postgres');
	$fresh->query_safe("SELECT wallet_credit('p16w1', 1)");
	cmp_ok(cost_of($fresh, $run)->{entries}, '<', 200, "$gaps gaps: a new session reads few entries");
	$fresh->quit;
}
# but not where that was written in another database, which was dumped and restored
query("UPDATE wallet_projection.position SET old_owners[1] = '1' WHERE old_owners IS NOT NULL");
my $restored = $node->background_psql('postgres');
$restored->query_safe("SELECT wallet_credit('p16w1', 1)");
cmp_ok(cost_of($restored, $run)->{entries}, '>', 10000, 'it looks itself at what comes from elsewhere');
$restored->quit;
$writer->query_safe('COMMIT');
is($holder->query_safe($run), '1', 'the writer has ended: his event');
is(query('SELECT gaps, lag_events, (SELECT count(*) FROM wallet_projection.old_gaps) FROM projection_status'),
	'0|0|0', 'and all gaps are gone, in one pass');
consistent($node, 'after the gaps');

# an old snapshot keeps all versions of what is updated
my $snapshot = $node->background_psql('postgres');
my $batches = "DO \$\$ BEGIN FOR i IN 1 .. 500 LOOP PERFORM wallet_credit('p16w1', 1); PERFORM projection_run('wallet_balance'); COMMIT; END LOOP; END \$\$";
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM wallet_balances');
$holder->query_safe($batches);
my $early = batch_cost($holder, 'p16w1');
$holder->query_safe($batches) foreach 1 .. 4;
my $later = batch_cost($holder, 'p16w1');
cmp_ok($later->{pages}, '<=', $early->{pages} + 2, "an old snapshot: pages after 500 batches ($early->{pages}) and after 2,500 ($later->{pages})");
cmp_ok($later->{wal}, '<', 1000, "and WAL ($later->{wal} bytes)");
my $status = cost_of($holder, 'SELECT * FROM projection_status; SELECT * FROM projection_partitions');
cmp_ok($status->{pages}, '<', 400, "and pages of the views ($status->{pages})");
is($holder->query_safe("SELECT projection_wait('wallet_balance', '1 s')"), 't', 'projection_wait');
$snapshot->quit;
consistent($node, 'after the old snapshot');

$_->quit foreach ($holder, $other, $writer);
$node->stop;
done_testing();
