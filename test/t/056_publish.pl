# Read models that are published to a subscriber of logical replication, which
# has plain tables and no extension: keys and replica identities of each kind.
# Publisher, subscriber and workers are killed under load, rows are spoiled and
# rebuilt, projections are reset where they stand and from an emptied table.
# After each, the subscriber's copies equal the read models.  A promotion of
# published tables is refused; what its hint says leads to equal copies.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use WalletTest;

my $seed = $ENV{SEED} // time;
srand($seed);
diag "seed $seed";

my $rounds = $ENV{PUBLISH_ROUNDS} // 7;
my @common = ('fsync = off', 'shared_buffers = 16MB', 'wal_level = logical', 'max_wal_senders = 20',
	'max_replication_slots = 20', 'max_worker_processes = 20', 'max_logical_replication_workers = 12', 'max_sync_workers_per_subscription = 4',
	'restart_after_crash = on', 'wal_retrieve_retry_interval = 100ms');
my $publisher = worker_node('publisher', @common, "wallet_projection.poll_interval = '50ms'");
my $subscriber = new_node('subscriber', @common);
my @tables = qw(wallet_balances busy chained debits);
my @projections = ('wallet_balance', qw(busy busy_v2 busy_v3 chained debits));

sub on_publisher
{
	return $publisher->safe_psql('postgres', shift);
}

sub on_subscriber
{
	return $subscriber->safe_psql('postgres', shift);
}

install($publisher, 'postgres', batch_size => 20);
on_publisher(<<'SQL');
CREATE TABLE busy (wallet_id text PRIMARY KEY, n int NOT NULL, newest bigint NOT NULL);
CREATE TABLE busy_v2 (LIKE busy INCLUDING ALL);
CREATE TABLE busy_v3 (n int NOT NULL, newest bigint NOT NULL, wallet_id text PRIMARY KEY, oldest bigint NOT NULL);
-- no primary key: an index, or the whole row, tells the subscriber which row is meant
CREATE TABLE chained (wallet_id text NOT NULL UNIQUE, chain text NOT NULL);
ALTER TABLE chained REPLICA IDENTITY USING INDEX chained_wallet_id_key;
CREATE TABLE debits (wallet_id text, sum numeric);
CREATE UNIQUE INDEX ON debits (wallet_id);
CREATE FUNCTION definition(name text, columns text DEFAULT '', value text DEFAULT '') RETURNS text LANGUAGE sql AS $$
SELECT format('MERGE INTO %s r USING wallet_stream e ON r.wallet_id = e.aggregate_id
	WHEN NOT MATCHED THEN INSERT (wallet_id, n, newest%s) VALUES (e.aggregate_id, 1, e.no%s)
	WHEN MATCHED THEN UPDATE SET n = r.n + 1, newest = e.no', name, columns, value) $$;
SELECT projection_create('busy', definition('busy'));
SELECT projection_create('busy_v2', definition('busy_v2'), partitions => 3);
SELECT projection_create('busy_v3', definition('busy_v3', ', oldest', ', e.no'));
SELECT projection_create('chained', $$MERGE INTO chained r USING wallet_stream e ON r.wallet_id = e.aggregate_id
	WHEN NOT MATCHED THEN INSERT VALUES (e.aggregate_id, md5(e.event_id::text))
	WHEN MATCHED THEN UPDATE SET chain = md5(r.chain || e.event_id)$$);
-- rows that come and go
SELECT projection_create('debits', $$MERGE INTO debits r USING wallet_stream e ON r.wallet_id = e.aggregate_id
	WHEN NOT MATCHED AND e.event_name = 'WalletWasDebited' THEN INSERT VALUES (e.aggregate_id, (e.payload->>'amount')::numeric)
	WHEN MATCHED AND e.event_name = 'WalletWasCredited' THEN DELETE
	WHEN MATCHED AND e.event_name = 'WalletWasDebited' THEN UPDATE SET sum = r.sum + (e.payload->>'amount')::numeric$$);
CREATE PUBLICATION read_models FOR TABLE wallet_balances, busy, chained, debits;
SQL

# the tables alone go to the subscriber
my $schema = $publisher->basedir . '/schema.sql';
$publisher->command_ok([ 'pg_dump', '--schema-only', '--no-publications', (map { "--table=$_" } @tables), '-f', $schema, '-d', $publisher->connstr('postgres') ],
	'the tables');
$subscriber->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $subscriber->connstr('postgres'), '-f', $schema ], 'are made at the subscriber');
is(on_subscriber("SELECT count(*) FROM pg_extension WHERE extname = 'wallet_projection'"), 0, 'which has no extension');

put_wallets($publisher, 30);

# without a replica identity nothing is parked; the hint heals it
on_publisher("SELECT count(wallet_debit('w' || i, 1)) FROM generate_series(1, 5) i");
on_publisher("SELECT count(wallet_debit('w' || i, 1)) FROM generate_series(1, 5) i");
ok($publisher->poll_query_until('postgres', "SELECT state = 'failed' FROM projection_status WHERE projection = 'debits'"),
	'a published read model without replica identity');
like(on_publisher("SELECT last_error FROM projection_status WHERE projection = 'debits'"),
	qr/replica identity.*ALTER TABLE/s, 'the status says what is missing, and the statement');
is(on_publisher('SELECT count(*) FROM projection_dead_letters'), 0, 'no key is parked');
on_publisher('ALTER TABLE debits REPLICA IDENTITY FULL');

sub copies
{
	my ($node, $table) = @_;

	return $node->safe_psql('postgres', "SELECT md5(string_agg(t::text, ',' ORDER BY t::text COLLATE \"C\")) FROM $table t");
}

# Nobody writes: is all applied, and does it all arrive?
sub all_equal
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(on_publisher('SELECT ' . join(' AND ', map { "projection_wait('$_', '60 s')" } @projections)), 't', "$name: all is applied");
	consistent($publisher, $name);
	is(on_publisher(join ' UNION ALL ', map { "SELECT v::text FROM projection_verify('$_') v" } @projections), '', "$name: the read models are exact");
	$subscriber->poll_query_until('postgres', "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
	  or die 'the tables are not copied';
	# workers commit asynchronously: what is not written yet counts, too
	$publisher->wait_for_catchup('read_models', 'replay', $publisher->lsn('insert'));
	is(join(' ', grep { copies($publisher, $_) ne copies($subscriber, $_) } @tables), '', "$name: the subscriber's copies are equal");
	return;
}

sub spoil_and_rebuild
{
	on_publisher(<<'SQL');
UPDATE busy SET n = n + 1 WHERE wallet_id LIKE '%3';
DELETE FROM busy WHERE wallet_id LIKE '%4';
INSERT INTO busy VALUES ('none', 1, 1);
UPDATE chained SET chain = 'wrong' WHERE wallet_id = 'w5';
UPDATE wallet_balances SET current_balance = 0 WHERE wallet_id = 'w6';
CALL projection_rebuild('busy');
CALL projection_rebuild('chained');
CALL projection_rebuild('wallet_balance');
SQL
	return;
}

my @strikes = (
	[ 'the publisher was killed', sub { kill_server($publisher); start_again($publisher) } ],
	[ 'the subscriber was killed', sub { kill_server($subscriber); start_again($subscriber) } ],
	[ 'a worker was killed', sub { crash($publisher, on_publisher('SELECT pid FROM projection_workers WHERE pid IS NOT NULL LIMIT 1')) } ],
	[ 'a process that applies changes was killed',
		sub { crash($subscriber, on_subscriber("SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL LIMIT 1")) } ],
	[ 'a rebuild', \&spoil_and_rebuild ],
	[ 'a reset where they stand', sub { on_publisher("SELECT projection_reset(p) FROM unnest(ARRAY['busy', 'chained', 'debits', 'wallet_balance']) p") } ],
	[ 'a reset that empties', sub {
		on_publisher("SELECT projection_stop('busy'), projection_stop('debits')");
		on_publisher("SELECT projection_reset('busy'), projection_reset('debits')");
		on_publisher("SELECT projection_start('busy'), projection_start('debits')") } ]);

foreach my $round (1 .. $rounds)
{
	my ($name, $strike) = @{ $strikes[ ($round - 1) % @strikes ] };
	my $writers = start_writers($publisher, 2, 30);
	my $head = on_publisher(q(SELECT max(head) + 100 FROM projection_partitions WHERE projection = 'busy'));

	on_subscriber("CREATE SUBSCRIPTION read_models CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION read_models") if $round == 1;
	$publisher->poll_query_until('postgres', "SELECT max(head) > $head FROM projection_partitions WHERE projection = 'busy'")
	  or die 'the workers do nothing';
	usleep(rand(50_000));
	$strike->();
	stop_writers($publisher, $writers);
	all_equal("round $round, $name");
}

# A promotion: by exchange of storage, back again by force, and of names.  The
# table is copied anew; it need not be out of the publication before, but until
# then the subscriber has rows of both, or stops at a row that it has already.
foreach ([ 'busy_v2', 'busy', 'storage', '' ], [ 'busy', 'busy_v2', 'storage', ', force => true' ], [ 'busy_v3', 'busy', 'names', '' ])
{
	my ($new, $old, $kind, $force) = @$_;
	my $promote = "SELECT projection_promote('$new', '$old'$force)";
	my $writers = start_writers($publisher, 2, 30);

	if ($force)
	{
		is(on_publisher($promote), $kind, "$new: a promotion by force");
	}
	else
	{
		my ($status, $out, $err) = $publisher->psql('postgres', $promote);

		like($err, qr/ERROR:  other servers may have copies of the rows of "busy"\nDETAIL:  table public.busy, of which subscribers of publication "read_models" may have a copy\nHINT:.*Take the tables out of the publications/,
			"$new: a promotion of a published table is refused");
	}
	on_publisher('ALTER PUBLICATION read_models DROP TABLE busy');
	on_subscriber('ALTER SUBSCRIPTION read_models REFRESH PUBLICATION');
	is(on_publisher($promote), $kind, "$new: it is not once the table is out of the publication") unless $force;
	on_publisher('ALTER PUBLICATION read_models ADD TABLE busy');
	on_subscriber('TRUNCATE busy');
	# for the comparison columns are to be in the publisher's order
	on_subscriber('DROP TABLE busy; CREATE TABLE busy (n int NOT NULL, newest bigint NOT NULL, wallet_id text PRIMARY KEY, oldest bigint NOT NULL)') if $kind eq 'names';
	on_subscriber('ALTER SUBSCRIPTION read_models REFRESH PUBLICATION');
	usleep(200_000);
	stop_writers($publisher, $writers);
	all_equal("$new, promoted");
}

$subscriber->stop;
$publisher->stop;
done_testing();
