# projection_promote under load: writers append, workers apply, readers ask through
# the public name, with statements prepared by the protocol, with EXECUTE, and in a
# function, while projections take each other's place again and again.  No reader
# sees an error, an empty table or a step back.  Then the same with crashes at
# random moments, then a dump and restore.  At the end each table is what plain
# SQL makes of the events.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use WalletTest qw(:DEFAULT query wait_until);

my $rounds = $ENV{PROMOTE_ROUNDS} // 3;
my $node = worker_node('promote', 'restart_after_crash = on', 'wal_level = logical', "wallet_projection.poll_interval = '20ms'");

query('CREATE EXTENSION wallet_projection');
query(<<'SQL');
CREATE TABLE sale (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k int NOT NULL, amount int NOT NULL);
CREATE TABLE sums (k int PRIMARY KEY, n bigint NOT NULL, total bigint NOT NULL, note text);
CREATE INDEX ON sums (total);
CREATE TABLE alike (LIKE sums INCLUDING ALL);
CREATE TABLE other (note text, total bigint NOT NULL, highest int, n bigint NOT NULL, k int UNIQUE NOT NULL);
CREATE VIEW public_sums AS SELECT count(*) AS rows, coalesce(sum(n), 0) AS n, coalesce(sum(total), 0) AS total FROM sums;
CREATE FUNCTION look(OUT rows bigint, OUT n bigint, OUT total bigint) LANGUAGE plpgsql AS $$
BEGIN
	SELECT count(*), sum(s.n), sum(s.total) INTO rows, n, total FROM sums s;
END $$;
CREATE FUNCTION definition(name text, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
SELECT format('MERGE INTO %s r USING sale e ON r.k = e.k
	WHEN NOT MATCHED THEN INSERT (k, n, total, note) VALUES (e.k, 1, e.amount, repeat(md5(e.k::text), 100))
	WHEN MATCHED THEN UPDATE SET n = r.n + 1, total = r.total + e.amount%s', name, more) $$;
CREATE FUNCTION differences(name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	found bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (SELECT k, count(*) AS n, sum(amount) AS total, repeat(md5(k::text), 100) AS note FROM sale GROUP BY k) e
		FULL JOIN %s r USING (k, n, total, note) WHERE e IS NULL OR r IS NULL', name) INTO found;
	RETURN found;
END $$;
SELECT projection_create('v1', definition('sums'));
SELECT projection_create('v2', definition('alike'), partitions => 3);
SELECT projection_create('v3', definition('other', ', highest = greatest(r.highest, e.amount)'), partitions => 1);
INSERT INTO sale (k, amount) SELECT i, i FROM generate_series(1, 20) i;
SELECT channel_scale('async_projection', 3);
SQL

my @tables = qw(sums alike other);

sub all_right
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(query("SELECT projection_wait('$_', '60 s')"), 't', "$name: $_ has applied all") foreach qw(v1 v2 v3);
	is(query("SELECT differences('$_')"), '0', "$name: $_ equals a recomputation") foreach @tables;
	is(query(q(SELECT string_agg(DISTINCT state, ' ') FROM projection_status WHERE projection LIKE 'v_')), 'ready', "$name: all are ready");
	is(query("SELECT count(*) FROM projection_compare('v1', '$_') WHERE problem <> 'column missing'"), '0', "$name: v1 and $_ have the same rows") foreach qw(v2 v3);
	return;
}

# what a reader asks; an error where it is less than the last time
my $look = <<'PGBENCH';
SELECT count(*) AS rows, coalesce(sum(n), 0) AS n, coalesce(sum(total), 0) AS total FROM %s \gset
\if :rows < :last_rows or :n < :last_n or :total < :last_total
SELECT 'a step back', 1 / 0, :last_n, :n, :last_total, :total;
\endif
\set last_rows :rows
\set last_n :n
\set last_total :total
PGBENCH

my %readers;

sub start_reader
{
	my ($name, $script, @options) = @_;
	my $file = $node->basedir . "/$name.sql";
	my ($out, $err) = ('', '');

	unlink $file;
	append_to_file($file, $script);
	$readers{$name} = { out => \$out, err => \$err };
	$readers{$name}{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', 1, '-T', 600, '-R', 200, '-D', 'last_rows=20', '-D', 'last_n=0', '-D', 'last_total=0', @options, '-f', $file, $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err);
	return;
}

sub start_readers
{
	start_reader('prepared', sprintf($look, 'sums'), '-M', 'prepared');
	start_reader('simple', sprintf($look, 'sums'));
	start_reader('view', $look =~ s/SELECT count.*FROM %s/SELECT rows, n, total FROM public_sums/r, '-M', 'prepared');
	start_reader('function', $look =~ s/SELECT count.*FROM %s/SELECT rows, n, total FROM look()/r);
	return;
}

sub stop_readers
{
	foreach my $name (sort keys %readers)
	{
		my $reader = $readers{$name};

		$reader->{run}->signal('TERM');
		eval { $reader->{run}->finish };
		is(${ $reader->{err} } =~ s/^pgbench .*\n//mr, '', "reader $name has seen nothing wrong");
	}
	%readers = ();
	return;
}

# EXECUTE takes its snapshot before it waits for the table
sub start_executes
{
	my $file = $node->basedir . '/execute.sql';
	my $seen = $node->basedir . '/execute.out';
	my ($out, $err) = ('', '');

	unlink $file, $seen;
	append_to_file($file, "PREPARE q AS SELECT count(*), coalesce(sum(n), 0), coalesce(sum(total), 0) FROM sums;\n" . "EXECUTE q;\n" x 300_000);
	$readers{execute} = { seen => $seen, err => \$err };
	$readers{execute}{run} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-o', $seen, '-f', $file, '-d', $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err);
	return;
}

sub stop_executes
{
	my $reader = delete $readers{execute};
	my @last = (20, 0, 0);
	my $back = '';
	my $looks = 0;

	$reader->{run}->signal('TERM');
	eval { $reader->{run}->finish };
	foreach my $line (split /\n/, slurp_file($reader->{seen}))
	{
		my @now = split /\|/, $line;

		next if @now < 3;
		$looks++;
		$back ||= "@last, then @now" if grep { $now[$_] < $last[$_] } 0 .. 1;
		@last = @now;
	}
	is($back, '', "EXECUTE has never seen a step back, in $looks looks");
	is(${ $reader->{err} } =~ s/^.*terminat.*\n//mgr, '', 'nor an error');
	return;
}

my $writers = sub {
	return start_load($node, 2,
		sale => "\\set k random(1, 20)\nINSERT INTO sale (k, amount) VALUES (:k, :k);\n\\sleep 2 ms\n",
		slow => "\\set k random(1, 20)\nBEGIN;\nINSERT INTO sale (k, amount) VALUES (:k, 1);\n\\sleep 30 ms\nEND;\n");
};

# The names in turn: whoever holds the public name gives it to the next one.
my $public = 'v1';

sub promote_to
{
	my ($next) = @_;
	my $how = query("SELECT projection_promote('$next', '$public', '60 s')");

	$public = $next;
	return $how;
}

all_right('before');
my $load = $writers->();
start_readers();
start_executes();
my %how = ('v1 v2' => 'storage', 'v2 v1' => 'storage');
foreach my $round (1 .. $rounds)
{
	foreach my $next (qw(v2 v3 v1))
	{
		my $change = "$public $next";
		my $how = promote_to($next);

		ok($how eq 'names' || $how eq 'storage', "round $round: $change: $how");
	}
	foreach my $next (qw(v2 v1))
	{
		is(promote_to($next), 'storage', "round $round: storage, now $next");
	}
}
stop_executes();
stop_readers();
stop_writers($node, $load);
all_right('under load');

# Crashes, while two take each other's place without a pause.
foreach my $round (1 .. 4)
{
	$load = $writers->();
	my $promoter = start_load($node, 1,
		forth => "SELECT projection_promote('v2', 'v1', '60 s');\nSELECT projection_promote('v1', 'v2', '60 s');\n");
	wait_until("SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%promote(%' AND pid <> pg_backend_pid()");
	usleep(rand(400_000));
	my $pid = query("SELECT pid FROM pg_stat_activity WHERE query LIKE '%promote(%' AND pid <> pg_backend_pid() LIMIT 1");
	crash($node, $pid);
	stop_client($_) foreach $promoter, $load;
	all_right("crash $round");
}

# a table of which a subscriber may have a copy
query("SELECT projection_promote('v2', 'v1', '60 s')") if query(q(SELECT definition ~ 'sums' FROM wallet_projection.definition WHERE projection = 'v1')) eq 't';
query('CREATE PUBLICATION changes FOR TABLE sums');
is(query("SELECT projection_promote('v1', 'v2', '60 s')"), 'storage', 'a publication alone has no copies');
query("SELECT pg_create_logical_replication_slot('subscriber', 'pgoutput')");
is(sqlstate($node, "SELECT projection_promote('v2', 'v1')"), '55000', 'subscribers may have copies');
is(query("SELECT projection_promote('v2', 'v1', force => true)"), 'storage', 'but for force');
query("SELECT projection_promote('v1', 'v2', force => true)");
query("SELECT pg_drop_replication_slot('subscriber')");
query('DROP PUBLICATION changes');

# dumped and restored, it goes on with the names that it has
query("SELECT projection_promote('v2', 'v1', '60 s')");
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'dump');
query('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restore');
$node->safe_psql('restored', "SELECT projection_stop(name) FROM wallet_projection.projection WHERE name LIKE 'v_'; INSERT INTO sale (k, amount) VALUES (1, 7); SELECT projection_run('v1'), projection_run('v2'), projection_run('v3')");
is($node->safe_psql('restored', "SELECT string_agg(differences(t)::text, ' ') FROM unnest(ARRAY['sums', 'alike', 'other']) t"), '0 0 0', 'restored: all goes on');
is($node->safe_psql('restored', "SELECT projection_promote('v1', 'v2')"), 'storage', 'restored: and back');
$node->safe_psql('restored', "INSERT INTO sale (k, amount) VALUES (1, 7); SELECT projection_run('v1'), projection_run('v2'), projection_run('v3')");
is($node->safe_psql('restored', "SELECT string_agg(differences(t)::text, ' ') FROM unnest(ARRAY['sums', 'alike', 'other']) t"), '0 0 0', 'restored: all goes on again');
is($node->safe_psql('restored', q(SELECT count(*) FROM projection_status WHERE projection LIKE 'v_' AND last_error IS NULL)), '3', 'restored: nothing is wrong');

$node->stop;
done_testing();
