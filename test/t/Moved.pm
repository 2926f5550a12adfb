# Moved: a database that has some of everything, to be moved to another server,
# and what must be true of it there.
#
# Streams are created, attached and partitioned; keys are of many types, and
# computed; keys are parked and events skipped; a projection is stopped, another
# waits for a rebuild.  Only what every release from PostgreSQL 15 on has.
package Moved;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use Test::More;
use WalletTest;

our @EXPORT = qw(put_everything more_events what_is_there is_moved goes_on);

my @projections = qw(by_path lines lines_copied numbered orders_placed per_day per_kind per_month per_shop since visits);
my @started = ('wallet_balance', grep { $_ ne 'numbered' } @projections);

my $tables = <<'SQL';
CREATE TYPE kind AS ENUM ('small', 'big', 'huge', 'none');
CREATE DOMAIN shop_name AS text CHECK (VALUE <> '');
CREATE FUNCTION z_month(timestamptz) RETURNS date LANGUAGE sql IMMUTABLE AS $$ SELECT date_trunc('month', $1 AT TIME ZONE 'UTC')::date $$;
-- of a kind that writers might bring numbers to, until it is attached
CREATE TABLE sales (id serial PRIMARY KEY, kind kind NOT NULL, shop text, amount numeric, at timestamptz NOT NULL DEFAULT '2024-01-31 23:30+00', payload jsonb NOT NULL DEFAULT '{}');
CREATE VIEW z_sales AS SELECT s.id, s.kind, lower(s.shop)::shop_name AS shop, s.amount, s.at, extract(isodow FROM s.at AT TIME ZONE 'UTC') AS dow, coalesce(s.payload->'lines', '[]') AS lines,
    nullif(s.payload->>'code', '') AS code FROM sales s WHERE s.kind <> 'none' AND NOT s.kind = ANY ('{none}'::kind[]);
CREATE TABLE visits_seen (no bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, page text NOT NULL, PRIMARY KEY (no, at)) PARTITION BY RANGE (at);
CREATE TABLE visits_old PARTITION OF visits_seen FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE visits_new PARTITION OF visits_seen FOR VALUES FROM ('2024-02-01') TO ('2024-03-01') PARTITION BY HASH (at);
CREATE TABLE visits_new_0 PARTITION OF visits_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE visits_new_1 PARTITION OF visits_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE trusted (no bigserial PRIMARY KEY, n smallint);
CREATE TABLE by_path (code text PRIMARY KEY, n int NOT NULL, first_at timestamptz, last text DEFAULT 'nothing');
CREATE TABLE lines (shop text, line bigint, sku text, n int, PRIMARY KEY (shop, line, sku));
CREATE TABLE lines_copied (sale int, sku text);
CREATE TABLE numbered (n numeric PRIMARY KEY, count int NOT NULL);
CREATE TABLE orders_placed (id text PRIMARY KEY, version bigint, double_version bigint GENERATED ALWAYS AS (version * 2) STORED);
CREATE TABLE per_day (dow numeric, kind kind, total numeric NOT NULL, PRIMARY KEY (kind, dow));
CREATE TABLE per_kind (kind kind PRIMARY KEY, n int NOT NULL, total numeric(12,2) NOT NULL);
CREATE TABLE per_month (month date PRIMARY KEY, n int NOT NULL, sales int[] NOT NULL);
CREATE TABLE per_shop (shop shop_name PRIMARY KEY, n int NOT NULL, whole sales);
CREATE TABLE since (shop text PRIMARY KEY, n int);
CREATE TABLE visits (page varchar(20) PRIMARY KEY, n int NOT NULL, last date) WITH (fillfactor = 70);
SQL

my $definitions = <<'SQL';
SELECT stream_create('orders');
SELECT stream_attach('sales', 'sales', guard => 'identity');
SELECT stream_attach('pages', 'visits_seen', 'no', guard => 'trust');
SELECT stream_attach('trusted', 'trusted', guard => 'trust');
SELECT projection_create('by_path', $$MERGE INTO by_path r USING z_sales e ON r.code = e.code
    WHEN NOT MATCHED THEN INSERT (code, n, first_at) VALUES (e.code, 1, e.at)
    WHEN MATCHED THEN UPDATE SET n = r.n + 1, last = to_char(e.at, 'YYYY-MM-DD HH24:MI TZ')$$, strict => true);
SELECT projection_create('lines', $$MERGE INTO lines r
    USING (SELECT lower(s.shop) AS shop, l.line, l.value->>'sku' AS sku, (l.value->>'n')::int AS n FROM sales s, jsonb_array_elements(s.payload->'lines') WITH ORDINALITY l (value, line)) e
    ON r.shop = e.shop AND r.line = e.line AND r.sku = e.sku
    WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.line, e.sku, e.n) WHEN MATCHED AND e.n = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = r.n + e.n$$, partitions => 5);
SELECT projection_create('lines_copied', $$INSERT INTO lines_copied SELECT e.id, l.sku FROM events e, jsonb_to_recordset(e.payload->'lines') AS l(sku text)$$, stream => 'sales', key => 'id');
SELECT projection_create('numbered', $$MERGE INTO numbered r USING trusted e ON r.n = e.n::numeric / 10
    WHEN NOT MATCHED THEN INSERT VALUES (e.n::numeric / 10, 1) WHEN MATCHED THEN UPDATE SET count = r.count + 1$$, channel => 'night');
SELECT projection_create('orders_placed', $$INSERT INTO orders_placed AS r (id, version) SELECT aggregate_id, aggregate_version FROM orders WHERE event_name = 'OrderWasPlaced'
    ON CONFLICT (id) DO UPDATE SET version = greatest(r.version, EXCLUDED.version)$$, partitions => 64);
SELECT projection_create('per_day', $$MERGE INTO per_day r USING z_sales e ON r.dow = e.dow AND r.kind = e.kind
    WHEN NOT MATCHED THEN INSERT VALUES (e.dow, e.kind, e.amount) WHEN MATCHED THEN UPDATE SET total = r.total + e.amount$$, ordering => 'arrival');
SELECT projection_create('per_kind', $$MERGE INTO per_kind r USING z_sales e ON r.kind = e.kind
    WHEN NOT MATCHED THEN INSERT VALUES (e.kind, 1, e.amount) WHEN MATCHED THEN UPDATE SET n = r.n + 1, total = r.total + e.amount$$);
SELECT projection_create('per_month', $$MERGE INTO per_month r USING sales e ON r.month = z_month(e.at)
    WHEN NOT MATCHED THEN INSERT VALUES (z_month(e.at), 1, ARRAY[e.id]) WHEN MATCHED THEN UPDATE SET n = r.n + 1, sales = r.sales || e.id$$);
SELECT projection_create('per_shop', $$MERGE INTO per_shop r USING z_sales e ON r.shop = e.shop
    WHEN NOT MATCHED THEN INSERT (shop, n) VALUES (e.shop, 1) WHEN MATCHED AND e.amount < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = r.n + 1$$, partitions => 3);
SELECT projection_create('visits', $$MERGE INTO visits r USING visits_seen e ON r.page = e.page
    WHEN NOT MATCHED THEN INSERT VALUES (e.page, 1, e.at) WHEN MATCHED THEN UPDATE SET n = r.n + 1, last = e.at$$);
SELECT projection_set('per_kind', 'max_attempts', '1'), projection_set('per_shop', 'max_parked', '7'), projection_set('per_month', 'batch_size', '3');
SQL

# of projections that are to be started, but not of one that is not
my $wait = join ' AND ', map { "projection_wait('$_', '60 s')" } @started;

my $facts = <<'SQL';
SELECT projection, stream, channel, state, partitions, head, gaps, parked, dead_letters, kind, ordering, read_model FROM projection_status ORDER BY 1;
SELECT projection, option, value FROM projection_options ORDER BY 1, 2;
SELECT projection, partition, head, gaps FROM projection_partitions ORDER BY 1, 2;
SELECT id, projection, partition_key, no, state, attempts, waiting, message FROM projection_dead_letters ORDER BY 1;
SELECT projection, no FROM wallet_projection.skipped ORDER BY 1, 2;
SELECT projection, definition, settings, uses, fingerprint, ordering, start_head FROM wallet_projection.definition ORDER BY 1;
SELECT name, position FROM wallet_projection.stream ORDER BY 1;
SELECT * FROM wallet_projection.channel ORDER BY 1;
SELECT attrelid::regclass, attname, attidentity FROM pg_attribute WHERE attidentity <> '' AND attrelid IN ('sales'::regclass, 'visits_seen'::regclass, 'orders'::regclass, 'wallet_stream'::regclass) ORDER BY 1;
SQL

# What plain SQL makes of the events; each counts rows that differ.
my %differences = (
	wallet_balance => 'SELECT (not_a_prefix + behind) - (SELECT count(*) FROM wallet_projection.parked WHERE projection = \'wallet_balance\') FROM oracle()',
	by_path => q(SELECT count(*) FROM (SELECT payload->>'code' AS code, count(*)::int AS n, min(id) FROM sales WHERE kind <> 'none' AND payload->>'code' <> '' GROUP BY 1) e FULL JOIN by_path r USING (code, n) WHERE e IS NULL OR r IS NULL),
	lines => q(SELECT count(*) FROM (SELECT lower(shop) AS shop, line, l->>'sku' AS sku, sum((l->>'n')::int)::int AS n FROM sales, jsonb_array_elements(payload->'lines') WITH ORDINALITY x (l, line) WHERE shop IS NOT NULL GROUP BY 1, 2, 3) e FULL JOIN lines r USING (shop, line, sku, n) WHERE e IS NULL OR r IS NULL),
	lines_copied => q(SELECT count(*) FROM (SELECT id AS sale, l->>'sku' AS sku FROM sales, jsonb_array_elements(payload->'lines') l) e FULL JOIN lines_copied r USING (sale, sku) WHERE e IS NULL OR r IS NULL),
	numbered => 'SELECT count(*) FROM (SELECT n::numeric / 10 AS n, count(*)::int AS count FROM trusted WHERE n IS NOT NULL GROUP BY 1) e FULL JOIN numbered r USING (n, count) WHERE e IS NULL OR r IS NULL',
	orders_placed => q(SELECT count(*) FROM (SELECT aggregate_id AS id, max(aggregate_version) AS version FROM orders WHERE event_name = 'OrderWasPlaced' GROUP BY 1) e FULL JOIN orders_placed r USING (id, version) WHERE e IS NULL OR r IS NULL OR double_version <> 2 * version),
	per_day => q(SELECT count(*) FROM (SELECT extract(isodow FROM at AT TIME ZONE 'UTC') AS dow, kind, sum(amount) AS total FROM sales WHERE kind <> 'none' GROUP BY 1, 2) e FULL JOIN per_day r USING (dow, kind) WHERE e.total IS DISTINCT FROM r.total),
	per_kind => q(SELECT count(*) FROM (SELECT kind, count(*)::int AS n, sum(amount) AS total FROM sales s WHERE kind <> 'none' AND NOT EXISTS (SELECT FROM wallet_projection.parked p WHERE projection = 'per_kind' AND partition_key = kind::text AND s.id >= no) GROUP BY 1) e FULL JOIN per_kind r USING (kind, n, total) WHERE e IS NULL OR r IS NULL),
	per_month => q(SELECT count(*) FROM (SELECT z_month(at) AS month, count(*)::int AS n, array_agg(id ORDER BY id) AS sales FROM sales GROUP BY 1) e FULL JOIN per_month r USING (month, n, sales) WHERE e IS NULL OR r IS NULL),
	per_shop => q(SELECT count(*) FROM (SELECT lower(shop)::shop_name AS shop, count(*)::int AS n FROM sales WHERE kind <> 'none' AND shop IS NOT NULL GROUP BY 1) e FULL JOIN per_shop r USING (shop, n) WHERE e IS NULL OR r IS NULL),
	since => q(SELECT count(*) FROM (SELECT shop, count(*)::int AS n FROM sales, wallet_projection.definition d WHERE projection = 'since' AND id > start_head AND shop IS NOT NULL GROUP BY 1) e FULL JOIN since r USING (shop, n) WHERE e IS NULL OR r IS NULL),
	visits => 'SELECT count(*) FROM (SELECT page::varchar(20) AS page, count(*)::int AS n FROM visits_seen GROUP BY 1) e FULL JOIN visits r USING (page, n) WHERE e IS NULL OR r IS NULL');

# Events of all streams, some of which are taken back, so that numbers are missing.
sub more_events
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<'SQL');
INSERT INTO sales (kind, shop, amount, at, payload)
SELECT (ARRAY['small', 'big', 'none'])[i % 3 + 1]::kind, (ARRAY['A', 'b', 'C', NULL])[i % 4 + 1], i, '2024-01-25'::timestamptz + i * interval '1 day',
       jsonb_build_object('code', i % 5, 'lines', jsonb_build_array(jsonb_build_object('sku', i % 3, 'n', i), jsonb_build_object('sku', 'x', 'n', 1)))
  FROM generate_series(1, 12) i;
INSERT INTO visits_seen (at, page) SELECT '2024-01-20'::date + i, (ARRAY['a', 'b', 'c'])[i % 3 + 1] FROM generate_series(0, 30) i;
INSERT INTO trusted (n) SELECT i % 4 FROM generate_series(1, 10) i;
SELECT count(stream_append('orders', 'Order', 'o' || i, '[{"event_name": "OrderWasPlaced", "payload": {}}]')) FROM generate_series(1, 8) i;
SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 6) i;
BEGIN;
SELECT wallet_credit('w1', 5);
INSERT INTO sales (kind) VALUES ('huge');
INSERT INTO visits_seen (at, page) VALUES ('2024-01-01', 'gone');
ROLLBACK;
INSERT INTO sales (kind, shop, amount) VALUES ('big', 'b', 5);
SQL
	return;
}

# Everything, in a database that has the extension, on a server whose workers
# run or not; all is applied, but what is parked.
sub put_everything
{
	my ($node, $database) = @_;

	install($node, $database, partitions => 4, max_attempts => 1);
	$node->safe_psql($database, "SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 20) i");
	$node->safe_psql($database, $tables);
	$node->safe_psql($database, $definitions);
	more_events($node, $database);
	# a value that does not fit, and one that waits behind it; of the wallet too
	$node->safe_psql($database, <<'SQL');
INSERT INTO sales (kind, amount) VALUES ('huge', 1), ('huge', 1e15), ('huge', 2);
INSERT INTO wallet_stream (event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata)
VALUES (gen_random_uuid(), 'WalletWasCredited', 'Wallet', 'w7', 2, '{"amount": "99999999999999999999"}', '{}');
SELECT projection_create('since', $$MERGE INTO since r USING sales e ON r.shop = e.shop
    WHEN NOT MATCHED THEN INSERT VALUES (e.shop, 1) WHEN MATCHED THEN UPDATE SET n = r.n + 1$$, start_at => 'now');
SELECT channel_scale('async_projection', 3), channel_scale('night', 1);
SELECT projection_wait('numbered', '60 s');
SELECT projection_stop('numbered');
SQL
	is($node->safe_psql($database, "SELECT $wait"), 't', "$database: all is applied");
	$node->safe_psql($database, <<'SQL');
SELECT projection_alter('visits', replace(definition, 'last = e.at', 'last = greatest(r.last, e.at)')) FROM wallet_projection.definition WHERE projection = 'visits';
INSERT INTO trusted (n) VALUES (NULL), (7);
SQL
	is($node->safe_psql($database, 'SELECT string_agg(projection || partition_key, \' \' ORDER BY projection) FROM projection_dead_letters'),
		'per_kindhuge wallet_balancew7', "$database: two keys are parked");
	return;
}

# What the extension knows, to be compared with what it knows elsewhere.
sub what_is_there
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, $facts);
}

sub is_moved
{
	my ($node, $database, $was, $name) = @_;

	my %was = map { $_ => 1 } split /\n/, $was;
	my @is = split /\n/, what_is_there($node, $database);
	my %is = map { $_ => 1 } @is;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( join("\n", (map { "was $_" } grep { !$is{$_} } sort keys %was), (map { "is $_" } grep { !$was{$_} } @is)),
		'', "$name: definitions, options, positions and parked keys are the same");
	return;
}

# New events are applied by workers that come by themselves, a partition is
# added, a rebuild and a replay work; and all is exact.
sub goes_on
{
	my ($node, $database, $name) = @_;

	ok($node->poll_query_until($database, "SELECT count(*) = 3 FROM projection_workers WHERE channel = 'async_projection'"), "$name: workers start, as many as before");
	is($node->safe_psql($database, q(SELECT string_agg(projection, ' ') FROM projection_status WHERE activity = 'stopped')), 'numbered', "$name: what was stopped is stopped");
	more_events($node, $database);
	all_exact($node, $database, $name);
	$node->safe_psql($database, <<'SQL');
CREATE TABLE visits_more PARTITION OF visits_seen FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
INSERT INTO visits_seen (at, page) VALUES ('2024-03-05', 'a');
ALTER TABLE per_kind ALTER total TYPE numeric;
SELECT projection_alter(projection, definition) FROM wallet_projection.definition WHERE projection = 'per_kind';
UPDATE wallet_stream SET payload = '{"amount": 1}' WHERE payload->>'amount' = '99999999999999999999';
SELECT dead_letter_replay(id) FROM projection_dead_letters ORDER BY id;
SELECT projection_start('numbered');
CALL projection_rebuild('visits');
CALL projection_rebuild('per_kind');
SELECT projection_wait('numbered', '60 s');
SQL
	all_exact($node, $database, "$name, mended");
	is($node->safe_psql($database, q(SELECT string_agg(format('%s %s %s', projection, state, last_error), ', ') FROM projection_status WHERE state <> 'ready' OR parked > 0)),
		'', "$name: everything is ready");
	is($node->safe_psql($database, q(SELECT string_agg(format('%s %s', what, details), ', ') FROM projection_health() WHERE what NOT IN ('autovacuum is off', 'unhandled events'))),
		'', "$name: and healthy");
	return;
}

sub all_exact
{
	my ($node, $database, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($database, "SELECT $wait"), 't', "$name: workers catch up");
	my $stopped = $node->safe_psql($database, q(SELECT string_agg(projection, ' ') FROM projection_status WHERE activity = 'stopped'));
	my @wrong = grep { $_ ne $stopped && $node->safe_psql($database, $differences{$_}) ne '0' } sort keys %differences;

	is(join(' ', @wrong), '', "$name: each read model equals the events");
	is($node->safe_psql($database, join ' UNION ALL ', map { "SELECT '$_', v::text FROM projection_verify('$_') v" } grep { !/lines_copied/ } @started),
		'', "$name: as projection_verify says, too");
	return;
}

1;
