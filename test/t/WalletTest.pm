# WalletTest: what the tests in this directory share.
#
# They are run by
#     make installcheck TAP_TESTS=1 PROVE_TESTS='test/t/*.pl'
# after `make install`; the Makefiles of PostgreSQL that this goes through tell
# prove where the modules PostgreSQL::Test::* are.  IPC::Run must be there.
package WalletTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(new_node worker_node install install_released build_library consistent is_prefix exact caught_up
  put_wallets start_client stop_client start_load start_writers stop_writers sqlstate
  backend_pid crash kill_server start_again);
# of the server that was made last, its database postgres
our @EXPORT_OK = qw(query wait_until logged log_end);

my $newest;

# A row of the read model must at any time equal a prefix of its wallet's
# events; at the end no wallet may be behind.
my $oracle = <<'SQL';
CREATE FUNCTION oracle(OUT not_a_prefix bigint, OUT behind bigint) LANGUAGE sql AS $$
  WITH prefix AS (
    SELECT aggregate_id, lead(no) OVER w IS NULL AS whole,
           (sum(CASE event_name WHEN 'WalletWasDebited' THEN -amount ELSE amount END) OVER w,
            coalesce(sum(amount) FILTER (WHERE event_name = 'WalletWasDebited') OVER w, 0),
            coalesce(sum(amount) FILTER (WHERE event_name = 'WalletWasCredited') OVER w, 0),
            (count(*) OVER w - 1)::integer) AS state
      FROM public.wallet_stream,
           LATERAL (SELECT coalesce(payload->>'amount', payload->>'initialBalance')::numeric) a (amount)
    WINDOW w AS (PARTITION BY aggregate_id ORDER BY aggregate_version)),
  wallet AS (
    SELECT wallet_id, (current_balance, total_debits, total_credits, transaction_count) AS state
      FROM public.wallet_balances)
  SELECT (SELECT count(*) FROM wallet LEFT JOIN prefix ON aggregate_id = wallet_id AND prefix.state = wallet.state
           WHERE aggregate_id IS NULL),
         (SELECT count(*) FROM prefix LEFT JOIN wallet ON wallet_id = aggregate_id AND wallet.state = prefix.state
           WHERE whole AND wallet_id IS NULL)
$$;
SQL

# With parked keys: each row must equal the events of its wallet before the one
# on which the wallet is parked, without those that were deleted, and what is
# said to wait must be what does.  Lists the wallets of which this is not true;
# or, not whole, of which not even a prefix is there.
my $parked_oracle = <<'SQL';
CREATE FUNCTION inexact(whole boolean DEFAULT true) RETURNS text LANGUAGE sql AS $$
  WITH position AS MATERIALIZED (SELECT * FROM public.projection_partitions),
  event AS (
    SELECT s.*, p.no IS NULL OR s.no < p.no AS wanted,
           CASE WHEN a.amount ~ '^[0-9]+([.][0-9]+)?$' THEN a.amount::numeric END AS amount,
           s.no > p.no AND s.no <= q.head AND NOT s.no <@ q.gaps AS waits
      FROM public.wallet_stream s
      CROSS JOIN LATERAL (SELECT coalesce(s.payload->>'amount', s.payload->>'initialBalance')) a (amount)
      LEFT JOIN wallet_projection.parked p ON p.partition_key = s.aggregate_id
      LEFT JOIN position q ON q.partition = p.partition
     WHERE NOT EXISTS (SELECT FROM wallet_projection.skipped k WHERE k.no = s.no)),
  expected AS (
    SELECT aggregate_id AS wallet_id, lead(no) OVER w IS NULL AS last,
           (sum(CASE event_name WHEN 'WalletWasDebited' THEN -amount ELSE amount END) OVER w,
            coalesce(sum(amount) FILTER (WHERE event_name = 'WalletWasDebited') OVER w, 0),
            coalesce(sum(amount) FILTER (WHERE event_name = 'WalletWasCredited') OVER w, 0),
            count(*) FILTER (WHERE event_name <> 'WalletWasCreated') OVER w,
            count(*) FILTER (WHERE amount IS NULL) OVER w) AS state
      FROM event WHERE wanted WINDOW w AS (PARTITION BY aggregate_id ORDER BY aggregate_version)),
  actual AS (
    SELECT wallet_id, (current_balance, total_debits, total_credits, transaction_count::bigint, 0::bigint) AS state
      FROM public.wallet_balances),
  waits AS (
    SELECT aggregate_id AS wallet_id, count(*) AS waiting FROM event WHERE waits GROUP BY aggregate_id)
  SELECT string_agg(w, ' ' ORDER BY w)
    FROM (SELECT wallet_id FROM actual LEFT JOIN expected USING (wallet_id, state)
           GROUP BY wallet_id HAVING bool_and(expected.last IS NULL)
          UNION ALL
          SELECT wallet_id FROM expected
           WHERE whole AND expected.last AND NOT EXISTS (SELECT FROM actual a WHERE a.wallet_id = expected.wallet_id AND a.state = expected.state)
          UNION ALL
          SELECT 'waiting:' || p.partition_key FROM wallet_projection.parked p LEFT JOIN waits ON wallet_id = p.partition_key
           WHERE p.waiting <> coalesce(waits.waiting, 0)) x (w)
$$;
SQL

# A server of our own, with these settings.
sub new_node
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf',
		join("\n", 'log_statement = none', 'autovacuum = off', @settings));
	$node->start;
	return $newest = $node;
}

# A server with background workers, which serve a projection once it is
# initialized, though `make installcheck` says otherwise.
sub worker_node
{
	my ($name, @settings) = @_;

	delete $ENV{PGOPTIONS};
	return new_node($name,
		"shared_preload_libraries = 'wallet_projection'", @settings);
}

# Version 0.1.0 with data, as if the server had been there all the time: with
# workers started, and the label that this version made.
sub install_released
{
	my ($node, $db) = @_;
	my $data = slurp_file("$FindBin::RealBin/../update/0.1.0.sql");

	$node->safe_psql('postgres', 'CREATE ROLE wallet_owner LOGIN');
	$node->safe_psql($db, "CREATE EXTENSION wallet_projection VERSION '0.1.0'");
	$node->safe_psql($db, $data, extra_params => ['-q']);
	$node->safe_psql($db, <<'SQL');
INSERT INTO wallet_projection.started SELECT 'wallet_balance', oid FROM pg_database WHERE datname = current_database();
SELECT concat_ws('/', system_identifier, d.oid, n.oid) AS here FROM pg_control_system(), pg_database d, pg_namespace n
 WHERE datname = current_database() AND nspname = 'wallet_projection' \gset
UPDATE wallet_projection.stream SET relation = 'wallet_stream'::regclass, installation = :'here';
UPDATE wallet_projection.projection_state SET relation = 'wallet_stream'::regclass, read_model = 'wallet_balances'::regclass,
   owner = 'wallet_owner'::regrole, installation = :'here';
SECURITY LABEL FOR wallet_projection ON DATABASE :DBNAME IS '"async_projection=3"';
SQL
	return;
}

# A library of these sources, and flags for the compiler, in the node's directory.
sub build_library
{
	my ($node, $name, @sources) = @_;
	my $library = $node->basedir . "/$name.so";
	my %config;

	foreach (qw(cc includedir-server))
	{
		chomp($config{$_} = `pg_config --$_`);
	}
	system_or_bail(split(' ', $config{cc}),
		qw(-shared -fPIC -fvisibility=hidden -D_GNU_SOURCE),
		"-I$FindBin::RealBin/../../src", "-I$config{'includedir-server'}",
		@sources, '-o', $library);
	return $library;
}

# The extension (-extension => 0: it is there), the projection, initialized, and
# the oracle in a database, as -role; the other pairs are for projection_set.
sub install
{
	my ($node, $database, %options) = @_;
	my $role = delete $options{-role} // $node->safe_psql('postgres', 'SELECT user');
	my $extension = delete $options{-extension} // 1;
	my $set = join '',
	  map { "SELECT projection_set('wallet_balance', '$_', '$options{$_}');\n" }
	  sort keys %options;

	# only a superuser may create it
	$node->safe_psql($database // 'postgres', 'CREATE EXTENSION wallet_projection')
	  if $extension;
	$node->safe_psql($database // 'postgres', <<"SQL", extra_params => [ '-U', $role ]);
${set}SELECT projection_init('wallet_balance');
$oracle
$parked_oracle
SQL
	return;
}

# Wallets w1, w2, ... with so much in them that no writer runs out of it.
sub put_wallets
{
	my ($node, $count) = @_;

	$node->safe_psql('postgres',
		"SELECT count(wallet_create('w' || i, 1000000000)) FROM generate_series(1, $count) i"
	);
	return;
}

# Do all rows equal a recomputation from all events?
sub consistent
{
	my ($node, $name, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql($database // 'postgres', 'SELECT * FROM oracle()'),
		'0|0', "$name: all rows equal a recomputation");
	return;
}

# Does each row equal a prefix of its wallet's events?
sub is_prefix
{
	my ($node, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql('postgres', 'SELECT not_a_prefix FROM oracle()'),
		'0', "$name: each row equals a prefix of its events");
	return;
}

# Are these wallets parked, and no others, and is everything else applied?
sub exact
{
	my ($node, $parked, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql(
			'postgres', <<'SQL'), join(' ', sort @$parked) . '|', "$name: only the bad wallets are parked, all else is exact");
SELECT (SELECT coalesce(string_agg(partition_key, ' ' ORDER BY partition_key), '') FROM wallet_projection.parked), inexact()
SQL
	return;
}

# Do background workers apply all that is there, by themselves?
sub caught_up
{
	my ($node, $name, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql(
			$database // 'postgres',
			"SELECT projection_wait('wallet_balance', '60 s')"),
		't',
		"$name: all is applied");
	consistent($node, $name, $database);
	return;
}

# Start a client program on the database, to be ended by stop_client.
sub start_client
{
	my ($node, $program, @arguments) = @_;

	# which is the test's name otherwise
	local $ENV{PGAPPNAME} = $program;
	return IPC::Run::start(
		[ $node->installed_command($program), @arguments, $node->connstr('postgres') ],
		'<', \undef, '>', \my $out, '2>', \my $err);
}

sub stop_client
{
	my ($client) = @_;

	$client->signal('TERM');
	eval { $client->finish };
	return;
}

# Sessions that run these scripts, at random, until they are stopped.
sub start_load
{
	my ($node, $clients, %scripts) = @_;
	my @files;

	foreach my $name (sort keys %scripts)
	{
		my $file = $node->basedir . "/$name.sql";

		unlink $file;
		append_to_file($file, $scripts{$name});
		push @files, '-f', $file;
	}
	return start_client($node, 'pgbench', '-n', '-c', $clients, '-T', 600, @files);
}

# Writers to the wallets w1 to w$wallets: short and long transactions, aborted
# ones, savepoints.  The amounts differ, so that no other events add up to the
# same.
sub start_writers
{
	my ($node, $clients, $wallets) = @_;
	my $any =
	    "\\set w random(1, $wallets)\n"
	  . "\\set a random(1, 10000)\n\\set b random(1, 10000)\n";
	my $credit = "SELECT wallet_credit('w' || :w, :a);\n";
	my $debit = "SELECT wallet_debit('w' || :w, :b);\n";

	return start_load(
		$node, $clients,
		short => $any . $credit,
		long => "$any BEGIN;\n$debit SELECT pg_sleep(0.02);\n$credit END;\n",
		aborted => "$any BEGIN;\n$credit $debit ROLLBACK;\n",
		savepoint =>
		  "$any BEGIN;\n$credit SAVEPOINT s;\n$debit ROLLBACK TO s;\n$debit END;\n");
}

# Stop them, all that there are, and wait until the server has done what they
# had begun.
sub stop_writers
{
	my ($node, @writers) = @_;

	stop_client($_) foreach @writers;
	$node->poll_query_until('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'",
		'0')
	  or die 'the writers do not end';
	return;
}

# The SQLSTATE with which a statement fails; '00000' where it does not.
sub sqlstate
{
	my ($node, $statement, $database) = @_;
	my ($status, $out, $err) = $node->psql($database // 'postgres', $statement,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ], on_error_stop => 1);

	return '00000' if $status == 0;
	return $err =~ /ERROR:  (\w{5})/ ? $1 : $err;
}

sub query
{
	my ($query) = @_;

	return $newest->safe_psql('postgres', $query);
}

# Wait until the query tells what is expected: that it is true, if not said.
sub wait_until
{
	my ($query, $expected) = @_;

	$newest->poll_query_until('postgres', $query, $expected // 't')
	  or die "timed out: $query";
	return;
}

# How often the log says so, from this offset on.
sub logged
{
	my ($pattern, $offset) = @_;
	my @found = slurp_file($newest->logfile, $offset) =~ /$pattern/g;

	return scalar @found;
}

sub log_end
{
	return -s $newest->logfile;
}

sub backend_pid
{
	my ($session) = @_;

	return $session->query_safe('SELECT pg_backend_pid()');
}

# Kill a process of the server, and wait until all of the server has begun again.
# Not poll_query_until: where psql is refused before it was told the query,
# IPC::Run dies of the broken pipe.
sub crash
{
	my ($node, $pid) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	kill('KILL', $pid) == 1 or die "process $pid has gone";
	while (time < $deadline)
	{
		my $there = eval {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid");
		};

		return if defined $there && $there eq '0';
		usleep(50_000);
	}
	die 'the server did not come back';
}

# Kill the postmaster; what it leaves behind ends by itself.
sub kill_server
{
	my ($node) = @_;
	my $pid = $node->{_pid};

	$node->kill9;
	foreach (1 .. 1000)
	{
		return unless kill(0, $pid);
		usleep(10_000);
	}
	die 'the postmaster does not end';
}

# Wait until the server that has lost its postmaster lets us start another.
sub start_again
{
	my ($node) = @_;

	foreach (1 .. 300)
	{
		return if $node->start(fail_ok => 1);
		usleep(100_000);
	}
	die 'the server does not start';
}

1;
