# ALTER EXTENSION UPDATE from version 0.1.0: the catalog is the one that a fresh
# installation has, and projections go on with their positions, gaps, options
# and parked keys.  Until it is run, functions and the log say that it is to be.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest;

my $node = worker_node('update');
my $update = 'ALTER EXTENSION wallet_projection UPDATE';

# All that the catalogs of the server say of the extension, without OIDs, and
# without marks that some servers put on each column (pg_attver)
my $facts = <<'SQL';
\pset recordsep_zero on
SET search_path = pg_catalog;
CREATE TEMP VIEW member AS
  SELECT classid, objid FROM pg_depend
   WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
     AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wallet_projection');
CREATE TEMP VIEW relation AS
  SELECT c.* FROM pg_class c WHERE c.oid IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
  UNION ALL SELECT c.* FROM pg_class c JOIN pg_index ON indexrelid = c.oid WHERE indrelid IN (SELECT objid FROM member)
  UNION ALL SELECT c.* FROM pg_class c WHERE c.oid IN (SELECT typrelid FROM pg_type WHERE oid IN (SELECT objid FROM member)) AND relkind = 'c';
SELECT 'version', extversion, extnamespace::regnamespace FROM pg_extension WHERE extname = 'wallet_projection';
SELECT fact FROM (
SELECT concat_ws(' ', 'member', pg_describe_object(classid, objid, 0)) FROM member
UNION ALL
SELECT concat_ws(' ', 'function', p.oid::regprocedure, pg_get_functiondef(p.oid), proacl::text, procost::text, prorows::text)
  FROM pg_proc p JOIN member ON objid = p.oid AND classid = 'pg_proc'::regclass WHERE prokind <> 'a'
UNION ALL
SELECT concat_ws(' ', 'relation', oid::regclass, relkind::text, relpersistence::text, relreplident::text, relrowsecurity::text, relnatts::text, reloptions::text, relacl::text) FROM relation
UNION ALL
SELECT concat_ws(' ', 'column', attrelid::regclass, attnum::text, attname, format_type(atttypid, atttypmod), attnotnull::text, attcollation::regcollation,
                 attstorage::text, attidentity::text, attgenerated::text, attacl::text, (SELECT array_agg(o)::text FROM unnest(attoptions) o WHERE o NOT LIKE 'pg_attver=%'), pg_get_expr(adbin, adrelid))
  FROM pg_attribute JOIN relation r ON attrelid = r.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0
UNION ALL
SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(c.oid), convalidated::text, conislocal::text) FROM pg_constraint c JOIN relation r ON conrelid = r.oid
UNION ALL
SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisprimary::text, indisvalid::text, indisreplident::text, indisclustered::text) FROM pg_index JOIN relation r ON indexrelid = r.oid
UNION ALL
SELECT concat_ws(' ', 'view', oid::regclass, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
UNION ALL
SELECT concat_ws(' ', 'trigger', tgrelid::regclass, pg_get_triggerdef(t.oid)) FROM pg_trigger t JOIN relation r ON tgrelid = r.oid
UNION ALL
SELECT concat_ws(' ', 'type', t.oid::regtype, typtype::text, typacl::text) FROM pg_type t JOIN member ON objid = t.oid AND classid = 'pg_type'::regclass
UNION ALL
SELECT concat_ws(' ', 'sequence', seqrelid::regclass, to_jsonb(s) - 'seqrelid') FROM pg_sequence s JOIN relation r ON seqrelid = r.oid
UNION ALL
SELECT concat_ws(' ', 'schema', nspname, nspacl::text) FROM pg_namespace n JOIN member ON objid = n.oid AND classid = 'pg_namespace'::regclass
UNION ALL
SELECT concat_ws(' ', 'comment', pg_describe_object(classoid, d.objoid, objsubid), description) FROM pg_description d
  WHERE (classoid, objoid) IN (SELECT classid, objid FROM member)
     OR classoid = 'pg_class'::regclass AND objoid IN (SELECT oid FROM relation)
     OR classoid = 'pg_constraint'::regclass AND objoid IN (SELECT c.oid FROM pg_constraint c JOIN relation r ON conrelid = r.oid)
UNION ALL
SELECT concat_ws(' ', 'first rights', pg_describe_object(classoid, objoid, objsubid), privtype::text, initprivs::text) FROM pg_init_privs
  WHERE (classoid, objoid) IN (SELECT classid, objid FROM member)
UNION ALL
SELECT concat_ws(' ', 'dumped', t::regclass, c) FROM pg_extension, unnest(extconfig, extcondition) x (t, c) WHERE extname = 'wallet_projection'
UNION ALL
SELECT concat_ws(' ', 'dependency', pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, refobjsubid), deptype::text)
  FROM (SELECT DISTINCT classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype FROM pg_depend) d
  WHERE (classid, objid) IN (SELECT classid, objid FROM member) OR (refclassid, refobjid) IN (SELECT classid, objid FROM member)
     OR classid = 'pg_class'::regclass AND objid IN (SELECT oid FROM relation)
UNION ALL
SELECT concat_ws(' ', 'built in', to_jsonb(p)) FROM wallet_projection.projection p
) f (fact) ORDER BY fact COLLATE "C";
SQL

# Functions in C, with their arguments: the library must not read what the call
# of an older catalog does not bring.
my $calls = <<'SQL';
SELECT proname, prosrc, proargtypes::regtype[], prorettype::regtype FROM pg_proc p JOIN pg_language l ON l.oid = prolang AND lanname = 'c'
 WHERE probin LIKE '%wallet_projection' ORDER BY 1, 2, 3::text
SQL

# Facts that one of two databases has and the other has not, before its name.
sub differences
{
	my @databases = @_;
	my %seen;

	foreach my $database (@databases)
	{
		push @{ $seen{$_} }, $database foreach split /\0/, $node->safe_psql($database, $facts) =~ s/pg_toast_\d+/pg_toast_N/gr;
	}
	return join '', map { "$seen{$_}[0]: $_\n" } sort grep { @{ $seen{$_} } != 2 } keys %seen;
}

sub in_wallet
{
	my ($sql) = @_;

	return $node->safe_psql('wallet', $sql);
}

# The catalog
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(fresh updated other_schema fresh_other wallet);
$node->safe_psql('fresh', 'CREATE EXTENSION wallet_projection');
$node->safe_psql('updated', "CREATE EXTENSION wallet_projection VERSION '0.1.0'");
my %called = map { $_ => 1 } split /\n/, $node->safe_psql('fresh', $calls);
is(join("\n", grep { !$called{$_} } split /\n/, $node->safe_psql('updated', $calls)),
	'', 'functions of 0.1.0 have the same arguments still');
$node->safe_psql('updated', $update);
is(differences('fresh', 'updated'), '', 'an update leads to the catalog of a fresh installation');

$node->safe_psql('fresh_other', 'CREATE SCHEMA es; CREATE EXTENSION wallet_projection SCHEMA es');
$node->safe_psql('other_schema', "CREATE SCHEMA es; CREATE EXTENSION wallet_projection SCHEMA es VERSION '0.1.0'; $update");
is(differences('fresh_other', 'other_schema'), '', 'the same in another schema');

# The data: as if the server had been there all the time
install_released($node, 'wallet');
my $options = 'SELECT channel, partitions, batch_size, max_attempts, max_parked FROM wallet_projection.projection_state';
my $letters = 'SELECT id, partition_key, partition, no, waiting, sqlstate, message FROM wallet_projection.parked';
my ($had_options, $had_letters) = (in_wallet($options), in_wallet($letters));

my $offset = -s $node->logfile;
$node->restart;
$node->wait_for_log(
	qr/no worker of wallet_projection can start in database "wallet": the extension .* is not of version .*\n.*0\.1\.0.*\n.*HINT:.*ALTER EXTENSION wallet_projection UPDATE;/,
	$offset);
foreach ("wallet_credit('w1', 1)", "projection_run('wallet_balance')", "projection_init('wallet_balance')",
	'count(*) FROM projection_status', 'dead_letter_show(1)', "stream_create('s')", "stream_read('wallet_stream', 'Wallet', 'w1')")
{
	my ($status, $out, $err) = $node->psql('wallet', "SELECT $_");

	like($err, qr/ERROR:  .*is not of version.*HINT:  Run in this database: ALTER EXTENSION wallet_projection UPDATE;/s, "before the update: $_");
}

in_wallet($update);
ok($node->poll_query_until('wallet', 'SELECT count(*) = 3 FROM projection_workers'), 'workers start, as many as before');
is(in_wallet($options), $had_options, 'options');
is(in_wallet($letters), $had_letters, 'the parked key');
is(in_wallet('SELECT state, activity, parked FROM projection_status'), 'ready|running|1', 'the status');
is(in_wallet('SELECT projection, state FROM monitoring'), 'wallet_balance|ready', 'a view over the status is still there');

in_wallet("SELECT count(wallet_credit('w' || i, i)) FROM generate_series(1, 6) i");
is(in_wallet("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'workers go on');
is(in_wallet('SELECT DISTINCT head, gaps FROM projection_partitions'), '48|{}', 'positions');
is(in_wallet("SELECT string_agg(wallet_id || ' ' || current_balance, ', ' ORDER BY wallet_id) FROM wallet_balances WHERE wallet_id IN ('w7', 'w8')"),
	'w7 107.0000, w8 108.2500', 'what is parked or skipped is not applied');
my $exact = <<'SQL';
SELECT wallet_id, current_balance, e.balance, transaction_count, e.count
  FROM wallet_balances FULL JOIN
    (SELECT aggregate_id AS wallet_id, count(*) - 1 AS count,
            sum(CASE event_name WHEN 'WalletWasDebited' THEN -1 ELSE 1 END * coalesce(payload->>'amount', payload->>'initialBalance')::numeric) AS balance
       FROM wallet_stream WHERE no <> 28 GROUP BY 1) e USING (wallet_id)
 WHERE (current_balance = e.balance AND transaction_count = e.count) IS NOT TRUE
SQL
like(in_wallet($exact), qr/^w7\|.*$/, 'all but the parked key equals the events');

in_wallet(q(UPDATE wallet_stream SET payload = '{"amount": 3}' WHERE no = 25));
is(in_wallet('SELECT dead_letter_replay(1)'), 't', 'the parked key is replayed');
is(in_wallet($exact), '', 'everything equals the events');
is(in_wallet(q(SELECT current_balance FROM wallet_balances WHERE wallet_id = 'w7')), '114.0000', 'in its place');

# what is new
in_wallet(<<'SQL');
CREATE TABLE busy (wallet_id text PRIMARY KEY, events integer NOT NULL);
SELECT projection_create('busy', $$
  MERGE INTO busy b USING wallet_stream e ON b.wallet_id = e.aggregate_id
  WHEN NOT MATCHED THEN INSERT VALUES (e.aggregate_id, 1)
  WHEN MATCHED THEN UPDATE SET events = b.events + 1 $$)
SQL
is(in_wallet(q(SELECT projection_wait('busy', '60 s'))), 't', 'a declared projection over the old stream');
is(in_wallet('SELECT sum(events) = (SELECT count(*) FROM wallet_stream) FROM busy'), 't', 'is exact');

# nothing is left of the update
is(in_wallet(q(SELECT count(*) FROM pg_proc WHERE proname = 'publish')), 0, 'no function is left');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_shseclabel WHERE provider = 'wallet_projection')), 1, 'one label, the old one is gone');

done_testing();
