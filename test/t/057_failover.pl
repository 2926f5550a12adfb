# Streams are published to a subscriber of logical replication that may take the
# writer's place: its sequences stand still, so projections there refuse to run,
# and say what to do; and so does an append that would get a number below the
# aggregate's newest event.  Under load the writer is killed for good, and what
# the documentation says is done: all that has arrived is applied exactly, and
# new events follow.  A second database of the subscriber keeps read models all
# the time, from a table with numbers of its own.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use WalletTest;

my @common = ('fsync = off', 'shared_buffers = 16MB', 'wal_level = logical', 'max_wal_senders = 10',
	'max_replication_slots = 10', 'max_worker_processes = 20', 'wal_retrieve_retry_interval = 100ms');
my $writer = new_node('writer', @common);
my $heir = worker_node('heir', @common, "wallet_projection.poll_interval = '50ms'");
my $definition = <<'SQL';
SELECT projection_create('sold', $$MERGE INTO sold s USING sales e ON s.shop = e.shop
	WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1, e.no, e.version <> 1)
	WHEN MATCHED THEN UPDATE SET n = s.n + 1, newest = e.no, disorder = s.disorder OR e.version <> s.n + 1$$);
SQL
my $sales = 'CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL, version int NOT NULL, UNIQUE (shop, version))';

# The statements of a section of the documentation.
sub documented
{
	my ($heading) = @_;
	my $page = slurp_file("$FindBin::RealBin/../../doc/running.md");
	my ($section) = $page =~ /^#+ \Q$heading\E\n(.*?)(?=^#|\z)/ms or die "there is no section $heading";

	return join '', $section =~ /^```sql elsewhere\n(.*?)^```$/msg;
}

sub on_heir
{
	my ($sql, $database) = @_;

	return $heir->safe_psql($database // 'postgres', $sql);
}

sub error_of
{
	my ($sql) = @_;
	my ($status, $out, $err) = $heir->psql('postgres', $sql);

	return $status == 0 ? 'no error' : $err;
}

sub sold_is_exact
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(on_heir('SELECT count(*) FROM (SELECT shop, count(*)::int AS n, max(no) AS newest, false AS disorder FROM sales GROUP BY 1) e FULL JOIN sold s USING (shop, n, newest, disorder) WHERE e IS NULL OR s IS NULL'),
		0, "$name: the read model of the attached table equals the events");
	return;
}

# The writer runs no projections at all.
$writer->safe_psql('postgres', 'CREATE EXTENSION wallet_projection');
$writer->safe_psql('postgres', $sales);
$writer->safe_psql('postgres', <<'SQL');
SELECT stream_create('wallet_stream');
-- numbers that nobody has
BEGIN;
SELECT wallet_create('nobody', 1), wallet_create('nobody else', 1);
INSERT INTO sales (shop, version) VALUES ('nobody', 1);
ROLLBACK;
CREATE FUNCTION sell(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(hashtext(name));
	INSERT INTO sales (shop, version) SELECT name, coalesce(max(version), 0) + 1 FROM sales WHERE shop = name;
END $$;
CREATE PUBLICATION streams FOR TABLE wallet_stream, sales;
SQL
put_wallets($writer, 20);
$writer->safe_psql('postgres', q(SELECT sell('s' || i % 3) FROM generate_series(1, 10) i));

# The subscriber: wallet_balance is there before the failover, another projection is not.
install($heir, 'postgres');
on_heir("$sales; CREATE TABLE sold (shop text PRIMARY KEY, n int NOT NULL, newest bigint NOT NULL, disorder boolean NOT NULL)");
on_heir('CREATE DATABASE live');
on_heir('CREATE EXTENSION wallet_projection', 'live');
on_heir(<<'SQL', 'live');
CREATE TABLE wallet_stream (no bigint, event_id uuid PRIMARY KEY, event_name text, aggregate_type text, aggregate_id text, aggregate_version bigint, payload jsonb, metadata jsonb, created_at timestamptz,
	arrival bigint GENERATED ALWAYS AS IDENTITY UNIQUE, UNIQUE (aggregate_type, aggregate_id, aggregate_version));
CREATE TABLE balances (wallet_id text PRIMARY KEY, balance numeric NOT NULL, version bigint NOT NULL, disorder boolean NOT NULL);
SELECT stream_attach('wallets', 'wallet_stream', 'arrival');
SELECT projection_create('balances', $$MERGE INTO balances b USING wallet_stream e ON b.wallet_id = e.aggregate_id
	WHEN NOT MATCHED THEN INSERT VALUES (e.aggregate_id, (e.payload->>'initialBalance')::numeric, e.aggregate_version, e.aggregate_version <> 1)
	WHEN MATCHED THEN UPDATE SET balance = b.balance + CASE e.event_name WHEN 'WalletWasDebited' THEN -1 ELSE 1 END * (e.payload->>'amount')::numeric,
		version = e.aggregate_version, disorder = b.disorder OR e.aggregate_version <> b.version + 1$$);
SQL
my $from = "CONNECTION '" . $writer->connstr . " dbname=postgres' PUBLICATION streams";
on_heir("CREATE SUBSCRIPTION streams $from");
$writer->safe_psql('postgres', 'CREATE PUBLICATION wallets FOR TABLE wallet_stream');
on_heir('CREATE SUBSCRIPTION live ' . $from =~ s/streams$/wallets/r, 'live');
$heir->poll_query_until('postgres', 'SELECT count(*) = 20 FROM wallet_stream') or die 'nothing arrives';
$heir->poll_query_until('postgres', 'SELECT count(*) = 10 FROM sales') or die 'nothing arrives';

like(on_heir('SELECT state || last_error FROM projection_status'),
	qr/^failed.*event 22 of stream "wallet_stream" was not numbered by the stream's sequence.*setval\('public\.wallet_stream_no_seq', 22\); Then run projection_reset/,
	'the projection says what is the matter');
like(error_of("SELECT $_"), qr/was not numbered by the stream's sequence.*HINT:.*setval/s, $_)
  foreach ("projection_run('wallet_balance')", "projection_wait('wallet_balance')");
like(error_of($definition), qr/"sales" cannot be a stream\nDETAIL:  It has a row with number 11, and the last number drawn from its sequence is 0\.\nHINT:.*setval\('public\.sales_no_seq', 11\)/,
	'nor can a projection be created');

# the sequence would give numbers that nobody has, below those of older events
like(error_of($_), qr/ERROR:  event 22 of stream "wallet_stream" was not numbered by the stream's sequence\nDETAIL:.*\nHINT:.*setval\('public\.wallet_stream_no_seq', 22\)/, "refused: $_")
  foreach ("SELECT wallet_credit('w1', 5)", q(SELECT stream_append('wallet_stream', 'Wallet', 'w2', '[{"event_name": "x", "payload": {}}]')));
is(on_heir('SELECT count(*) FROM wallet_stream'), 20, 'nothing was appended');

# Under load
my $any = "\\set w random(1, 20)\n\\set s random(1, 5)\n";
my $load = start_load($writer, 3,
	short => "$any SELECT wallet_credit('w' || :w, :s), sell('s' || :s);\n",
	long => "$any BEGIN;\nSELECT wallet_debit('w' || :w, 1);\nSELECT pg_sleep(0.02);\nSELECT sell('s' || :s);\nEND;\n",
	aborted => "$any BEGIN;\nSELECT wallet_credit('w' || :w, 1), sell('s' || :s);\nROLLBACK;\n");
$heir->poll_query_until('postgres', 'SELECT count(*) > 500 FROM wallet_stream') or die 'nothing arrives';
kill_server($writer);
stop_client($load);
usleep(500_000);

on_heir(documented('A failover to a subscriber'));
caught_up($heir, 'after the failover');
on_heir($definition);
is(on_heir("SELECT projection_wait('sold', '60 s')"), 't', 'a projection is created');
sold_is_exact('after the failover');
is(on_heir('SELECT count(*) FROM pg_subscription WHERE subname = \'streams\''), 0, 'the subscription is gone');

# the application goes on here
$load = start_writers($heir, 2, 20);
my $head = on_heir('SELECT max(head) + 200 FROM projection_partitions');
$heir->poll_query_until('postgres', "SELECT max(head) > $head FROM projection_partitions") or die 'the workers do nothing';
on_heir(q(INSERT INTO sales (shop, version) SELECT shop, max(version) + 1 FROM sales GROUP BY shop));
stop_writers($heir, $load);
caught_up($heir, 'with new events');
is(on_heir("SELECT projection_wait('sold', '60 s')"), 't', 'with new events: of the attached table, too');
sold_is_exact('with new events');
is(on_heir('SELECT count(*) FROM (SELECT no < lag(no) OVER (PARTITION BY aggregate_id ORDER BY aggregate_version) AS less FROM wallet_stream) x WHERE less'),
	0, 'numbers of a wallet grow with its versions');
is(on_heir("SELECT string_agg(DISTINCT state, ' ') FROM projection_status"), 'ready', 'everything is ready');

# the database that had read models all the time
is(on_heir("SELECT projection_wait('balances', '60 s')", 'live'), 't', 'live: all that has arrived is applied');
is(on_heir(<<'SQL', 'live'), 0, 'live: the read model equals the events');
SELECT count(*) FROM (SELECT aggregate_id AS wallet_id, max(aggregate_version) AS version, false AS disorder,
	sum(CASE event_name WHEN 'WalletWasDebited' THEN -1 ELSE 1 END * coalesce(payload->>'amount', payload->>'initialBalance')::numeric) AS balance FROM wallet_stream GROUP BY 1) e
  FULL JOIN balances b USING (wallet_id, version, disorder, balance) WHERE e IS NULL OR b IS NULL
SQL

$heir->stop;
done_testing();
