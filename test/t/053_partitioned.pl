# A declaratively partitioned stream under load: writers into the parent and
# straight into partitions, rows that move between partitions, transactions
# that are slow, aborted or prepared, while partitions are attached and detached
# and workers run.  At the end both read models, one in order of number and one
# in order of arrival, equal a recomputation.  Then what must not be done to
# partitions: the status says so, and how to heal it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

my $rounds = $ENV{PARTITIONED_ROUNDS} // 6;
my $node = worker_node('partitioned', 'fsync = off', 'max_prepared_transactions = 10',
	"wallet_projection.poll_interval = '50ms'");
my @projections = qw(chained summed);

query('CREATE EXTENSION wallet_projection');
query(<<'SQL');
CREATE TABLE sale (id bigserial, k int NOT NULL, amount int NOT NULL, created_at date NOT NULL, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
-- columns in another order, and one that was dropped
CREATE TABLE sale_2 (created_at date NOT NULL, gone text, amount int NOT NULL, k int NOT NULL, id bigint NOT NULL DEFAULT nextval('sale_id_seq'));
ALTER TABLE sale_2 DROP gone;
ALTER TABLE sale ATTACH PARTITION sale_2 FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
-- two levels
CREATE TABLE sale_3 PARTITION OF sale FOR VALUES FROM ('2024-03-01') TO ('2024-04-01') PARTITION BY RANGE (created_at);
CREATE TABLE sale_3a PARTITION OF sale_3 FOR VALUES FROM ('2024-03-01') TO ('2024-03-15');
CREATE TABLE sale_3b PARTITION OF sale_3 FOR VALUES FROM ('2024-03-15') TO ('2024-04-01');
-- the events of partitions that were detached
CREATE TABLE archive (LIKE sale);
CREATE TABLE chained (k int PRIMARY KEY, n int NOT NULL, chain text NOT NULL);
CREATE TABLE summed (k int PRIMARY KEY, n int NOT NULL, total bigint NOT NULL);
SELECT stream_attach('sale', 'sale', guard => 'trust');
SELECT projection_create('chained', $$MERGE INTO chained c USING sale e ON c.k = e.k
	WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1, md5(e.id::text))
	WHEN MATCHED THEN UPDATE SET n = c.n + 1, chain = md5(c.chain || e.id)$$);
SELECT projection_create('summed', $$MERGE INTO summed c USING sale e ON c.k = e.k
	WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1, e.amount)
	WHEN MATCHED THEN UPDATE SET n = c.n + 1, total = c.total + e.amount$$, ordering => 'arrival');
-- somebody else may have moved the row, or holds it
CREATE FUNCTION move(back int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE sale SET created_at = '2024-01-01'::date + (random() * 89)::int
	 WHERE id = (SELECT max(id) - back FROM sale) AND created_at < '2024-04-01';
EXCEPTION WHEN object_not_in_prerequisite_state OR deadlock_detected OR serialization_failure THEN
END $$;
CREATE FUNCTION chain_next(text, bigint) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$ SELECT CASE WHEN $1 IS NULL THEN md5($2::text) ELSE md5($1 || $2) END $$;
CREATE AGGREGATE chain(bigint) (SFUNC = chain_next, STYPE = text);
CREATE VIEW event AS TABLE sale UNION ALL TABLE archive;
CREATE FUNCTION differences() RETURNS bigint LANGUAGE sql AS $$
SELECT (SELECT count(*) FROM (SELECT k, count(*) AS n, chain(id ORDER BY id) AS chain FROM event GROUP BY k) e
	FULL JOIN chained c USING (k, n, chain) WHERE e IS NULL OR c IS NULL)
     + (SELECT count(*) FROM (SELECT k, count(*) AS n, sum(amount) AS total FROM event GROUP BY k) e
	FULL JOIN summed c USING (k, n, total) WHERE e IS NULL OR c IS NULL) $$;
SQL
query("SELECT stream_notify('sale', true)");
is(query(q(SELECT string_agg(tgrelid::regclass::text, ' ' ORDER BY tgrelid::regclass::text) FROM pg_trigger WHERE tgname = 'wallet_projection_notify')),
	'sale sale_1 sale_2 sale_3 sale_3a sale_3b', 'writers into each partition wake the workers');
query("SELECT channel_scale('async_projection', 3)");
query("SELECT projection_start('$_')") foreach @projections;

# Is all applied, and right?
sub all_applied
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(query("SELECT projection_wait('$_', '60 s')"), 't', "$name: $_ has applied all") foreach @projections;
	is(query('SELECT differences()'), '0', "$name: the read models equal a recomputation");
	is(query(q(SELECT string_agg(DISTINCT state, ' ') FROM projection_status WHERE projection IN ('chained', 'summed'))), 'ready', "$name: and are ready");
	return;
}

my $any = "\\set k random(1, 20)\n\\set a random(1, 1000)\n\\set d random(0, 89)\n";
my $parent = "INSERT INTO sale (k, amount, created_at) VALUES (:k, :a, '2024-01-01'::date + :d);\n";
my $child = "INSERT INTO sale_2 (k, amount, created_at) VALUES (:k, :a, '2024-02-02');\n";
my $deep = "INSERT INTO sale_3b (id, k, amount, created_at) VALUES (nextval('sale_id_seq'), :k, :a, '2024-03-20');\n";
my $load = start_load(
	$node, 4,
	parent => $any . $parent,
	child => $any . $child,
	deep => $any . $deep,
	slow => "$any BEGIN;\n$parent $deep SELECT pg_sleep(0.02);\n$child END;\n",
	aborted => "$any BEGIN;\n$child $parent ROLLBACK;\n",
	savepoint => "$any BEGIN;\n$parent SAVEPOINT s;\n$child ROLLBACK TO s;\n$deep END;\n",
	prepared => "$any BEGIN;\n$child $parent PREPARE TRANSACTION 'p:client_id';\nSELECT pg_sleep(0.01);\nCOMMIT PREPARED 'p:client_id';\n",
	move => "\\set b random(0, 50)\nSELECT move(:b);\n");

# A month of its own for each round.
sub month
{
	my ($round) = @_;

	return sprintf "FOR VALUES FROM ('%d-01-01') TO ('%d-02-01')", 2030 + $round, 2030 + $round;
}

foreach my $round (1 .. $rounds)
{
	my $day = sprintf "'%d-01-05'", 2030 + $round;
	my $rows = "INSERT INTO late_$round (id, k, amount, created_at) SELECT nextval('sale_id_seq'), i, i, $day FROM generate_series(1, 20) i";

	query("CREATE TABLE late_$round (LIKE sale INCLUDING ALL)");
	# empty; made and filled by one transaction; filled first, with numbers that
	# are above those of all others, as its transaction has locked the stream
	my $attach = "ALTER TABLE sale ATTACH PARTITION late_$round " . month($round);
	query($round % 3 == 1 ? $attach : $round % 3 == 2 ? "BEGIN; $attach; SELECT pg_sleep(0.05); $rows; COMMIT" :
		"BEGIN; LOCK TABLE sale IN ROW EXCLUSIVE MODE; $rows; SELECT pg_sleep(0.05); $attach; COMMIT");
	query($rows);
	next if $round % 2;
	query("SELECT projection_wait('$_', '60 s')") foreach @projections;
	query("ALTER TABLE sale DETACH PARTITION late_$round" . ($round % 4 ? '' : ' CONCURRENTLY'));
	query("INSERT INTO archive SELECT * FROM late_$round");
	query("DROP TABLE late_$round") if $round % 4;
}
stop_writers($node, $load);
query($_) foreach split /\n/, query(q(SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts));
cmp_ok(query('SELECT count(*) FROM event'), '>', 500, 'there was some load');
all_applied('after the load');
is(query(q(SELECT bool_and(gaps = '{}') FROM projection_partitions WHERE projection = 'chained')), 't', 'no gap is left');

# What the status says of the projections, without names of them.
sub finding
{
	return query(q(SELECT string_agg(DISTINCT regexp_replace(last_error, 'projection "\w+"|\(''\w+''\)', '_', 'g'), ';') FROM projection_status WHERE state = 'failed'));
}

# Is that found by the status, and by workers; and over, once it is healed?
sub found
{
	my ($name, $pattern, $bad, $good) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	query($bad);
	like(finding(), $pattern, "$name: the status says so");
	isnt(sqlstate($node, "SELECT projection_run('summed')"), '00000', "$name: nothing is applied");
	query($good);
	wait_until("SELECT count(*) = 0 FROM projection_status WHERE state = 'failed'");
	all_applied("$name, healed");
	return;
}

my $april = "FOR VALUES FROM ('2024-04-01') TO ('2024-05-01')";
query('CREATE TABLE april (LIKE sale INCLUDING ALL)');
query("INSERT INTO april VALUES (3, 1, 1, '2024-04-02')");
found('attached with a number below the positions', qr/table "public.april" has become a partition or child .* Its lowest number is 3.*Detach it/,
	"ALTER TABLE sale ATTACH PARTITION april $april", 'ALTER TABLE sale DETACH PARTITION april');

# what was split or moved is the stream's still: somebody has to say so
query('ALTER TABLE sale DETACH PARTITION sale_1');
is(query("SELECT projection_wait('$_', '60 s')"), 't', "$_ goes on without a partition that it has applied") foreach @projections;
wait_until(q(SELECT bool_and(NOT 'sale_1'::regclass::oid = ANY (stream_tables)) FROM wallet_projection.projection_state WHERE stream_tables IS NOT NULL));
query("ALTER TABLE sale ATTACH PARTITION sale_1 FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')");
like(finding(), qr/public.sale_1.*SELECT projection_init\(_\);/, 'attached again: the status asks');
query("SELECT projection_init('$_')") foreach @projections;
wait_until("SELECT count(*) = 0 FROM projection_status WHERE state = 'failed'");
all_applied('attached again, accepted');

foreach my $how ('', ' CONCURRENTLY')
{
	query("SELECT projection_stop('$_')") foreach @projections;
	query("INSERT INTO sale_1 (k, amount, created_at) VALUES (1, 5, '2024-01-05')");
	query("ALTER TABLE sale DETACH PARTITION sale_1$how");
	like(finding(), qr/table "public.sale_1" is no partition or child .* has events that _ has not applied .*Attach it again/, "detached$how before it was applied: the status says so");
	is(sqlstate($node, "SELECT projection_run('$_')"), '55000', "detached$how before it was applied: $_ stops") foreach @projections;
	query("ALTER TABLE sale ATTACH PARTITION sale_1 FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')");
	query("SELECT projection_start('$_')") foreach @projections;
	all_applied("attached again after it was detached$how");
}

found('unlogged', qr/table "public.sale_3a" of stream "sale" is unlogged.*ALTER TABLE public.sale_3a SET LOGGED/,
	'ALTER TABLE sale_3a SET UNLOGGED', 'ALTER TABLE sale_3a SET LOGGED');

# OIDs of partitions mean nothing in a restored database
query("SELECT projection_stop('$_')") foreach @projections;
query("INSERT INTO sale (k, amount, created_at) VALUES (1, 9, '2024-01-09')");
query('CREATE DATABASE copy');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'dumped');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('copy') ], 'restored');
is($node->safe_psql('copy', "SELECT projection_run('$_')"), '1', "$_ goes on in the copy") foreach @projections;
is($node->safe_psql('copy', 'SELECT differences()'), '0', 'the read models of the copy equal a recomputation');
is($node->safe_psql('copy', q(SELECT bool_and('sale_3b'::regclass::oid = ANY (stream_tables)) FROM wallet_projection.projection_state WHERE projection IN ('chained', 'summed'))),
	't', 'which knows its own partitions');
$node->safe_psql('copy', 'DROP EXTENSION wallet_projection');

query("SELECT projection_drop('$_')") foreach @projections;
query("SELECT stream_detach('sale')");
is(query(q(SELECT count(*) FROM pg_trigger WHERE tgname = 'wallet_projection_notify')), '0', 'stream_detach drops the triggers');

$node->stop;
done_testing();
