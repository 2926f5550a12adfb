# Settings that ALTER DATABASE and ALTER ROLE make for sessions: all that can be
# set so, each to odd values, many at a time.  Workers are kept from nothing, and
# who applies events in a session does it right or gets an error of his own;
# never is the projection left failed.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest;

my $node = worker_node('settings', 'max_worker_processes = 12');
my $superuser = $node->safe_psql('postgres', 'SELECT user');

# of type string, or where an extreme says nothing
my %odd = (
	backtrace_functions => ['projection_run'],
	client_encoding => [ 'LATIN1', 'SQL_ASCII' ],
	DateStyle => [ 'SQL, DMY', 'German' ],
	deadlock_timeout => [ '1ms', '1d' ],
	default_tablespace => [ 'none', 'pg_global' ],
	# without $libdir 18 does not find its own conversions of encodings
	dynamic_library_path => ['/nowhere:$libdir'],
	idle_in_transaction_session_timeout => [ '0', '1d' ],
	session_preload_libraries => ['$libdir/plpgsql'],
	lock_timeout => [ '0', '1d' ],
	max_stack_depth => [ '100kB', '1MB' ],
	role => [ 'app', $superuser, 'stranger' ],
	search_path => [ 'none', '"$user", none, pg_temp', '' ],
	seed => [ '0.5', '-1' ],
	session_authorization => [ 'app', 'stranger' ],
	statement_timeout => [ '0', '1d' ],
	temp_file_limit => [ '0', '-1' ],
	temp_tablespaces => ['none'],
	TimeZone => [ 'Asia/Kathmandu', 'posixrules', '<+25>-25' ],
	timezone_abbreviations => ['India'],
	wal_consistency_checking => [ 'all', '' ]);

# how a call in a session may end: it is done; the role may not; the transaction
# is of another kind; it has waited, or lasted, for as long as it may
my $done = qr/^(00000|42501)$/;
my $may_end = qr/^(00000|42501|25001|25006|25P03|55P03|57014)$/;

# All that a database may set, with the values to try.
sub settings
{
	my %values;

	foreach my $row (
		split /\n/,
		$node->safe_psql('postgres', <<'SQL'))
SELECT name, vartype, min_val, max_val, array_to_string(enumvals, ',')
  FROM pg_settings WHERE context IN ('user', 'superuser') ORDER BY name
SQL
	{
		my ($name, $type, $min, $max, $enum) = split /\|/, $row, -1;

		$values{$name} =
		    $odd{$name}
		  ? $odd{$name}
		  : $type eq 'bool' ? [ 'on', 'off' ]
		  : $type eq 'enum' ? [ split /,/, $enum ]
		  : $type eq 'string' ? [ '', 'nonsense' ]
		  : [ $min, $max ];
	}
	# only of libraries in a directory of their own
	delete $values{local_preload_libraries};
	return (%values, map { $_ => $odd{$_} } qw(role session_authorization seed));
}

# Sessions that know nothing of them, in the database and in another.
my ($session, $other);

sub ask
{
	my ($query) = @_;

	return $session->query_safe($query);
}

# The settings of this round; a value that the server refuses is left out.
sub set
{
	my ($for, $round, %values) = @_;
	my @statements = map {
		my $value = $values{$_}[ $round % @{ $values{$_} } ];

		"ALTER $for SET $_ = '$value'"
	} sort keys %values;
	my $list = join ', ', map { "\$s\$$_\$s\$" } @statements;

	$other->query_safe(<<"SQL");
SET client_min_messages = error;
DO \$do\$ DECLARE s text;
BEGIN
  FOREACH s IN ARRAY ARRAY[$list] LOOP
    BEGIN EXECUTE s; EXCEPTION WHEN OTHERS THEN RAISE LOG 'refused: % (%)', s, SQLERRM; END;
  END LOOP;
END \$do\$
SQL
	cmp_ok(
		$other->query_safe('SELECT sum(cardinality(setconfig)) FROM pg_db_role_setting'),
		'>', @statements * 0.8, "$for, round $round: most can be set");
	return;
}

sub append
{
	ask("SELECT count(wallet_credit('w' || i, i)) FROM generate_series(1, 20) i");
	return;
}

sub is_well
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(ask("SELECT projection_wait('wallet_balance', '20 s')"), 't', "$name: all is applied");
	is(ask('SELECT * FROM oracle()'), '0|0', "$name: all rows are right");
	is(ask('SELECT state, last_error FROM projection_status'), 'ready|', "$name: ready");
	return;
}

# From now on there are only workers that have begun since.
sub new_workers
{
	ask('SELECT count(pg_terminate_backend(pid, 10000)) FROM projection_workers');
	return;
}

# How a statement ends in a session that has begun since.
sub end_of
{
	my ($statement) = @_;
	my ($status, $out, $err) = $node->psql('odd', $statement,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);

	return $status == 0 ? '00000' : $err =~ /(?:ERROR|FATAL):  (\w{5})/ ? $1 : $err;
}

# Such a session applies events, or gets an error.
sub sessions_run
{
	my ($name, $expected) = @_;

	ask("SELECT projection_stop('wallet_balance')");
	foreach my $run (
		"SELECT public.projection_run('wallet_balance')",
		"CALL public.projection_consume('async_projection', finish_when_no_messages => true)")
	{
		append();

		my $end = end_of($run);

		like($end, $expected, "$name: $run");
		is(ask('SELECT coalesce(inexact(' . ($end eq '00000' ? '' : 'false') . '), state) FROM projection_status'),
			'ready', "$name: nothing is wrong");
	}
	ask("SELECT projection_start('wallet_balance')");
	return;
}

$node->safe_psql('postgres',
	'CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN; CREATE DATABASE odd OWNER app');
install($node, 'odd', -role => 'app', retry_delay => '1h', retry_max_delay => '1h');
$session = $node->background_psql('odd');
$other = $node->background_psql('postgres');
ask("SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 20) i");
is_well('to begin with');

my %settings = settings();

foreach my $round (0 .. 7)
{
	my $for = $round & 2 ? "ROLE $superuser" : 'DATABASE odd';

	# these make a session's call an error in any case
	local $ENV{PGOPTIONS} =
	  '-c default_transaction_read_only=off -c default_transaction_isolation=read\ committed';

	set($for, $round, %settings);
	new_workers();
	append();
	is_well("$for, round $round: workers");
	sessions_run("$for, round $round", $done);
	is_well("$for, round $round: workers again");
	$other->query_safe("ALTER $for RESET ALL");
}

# what would end a worker's batch, or make each error fatal; a session's call may
# end by it
my $count = 0;

foreach my $setting (
	"statement_timeout = '1ms'", "lock_timeout = '1ms'",
	"idle_in_transaction_session_timeout = '1ms'", 'default_transaction_read_only = on',
	'default_transaction_isolation = serializable', 'exit_on_error = on',
	'role = stranger', 'session_authorization = stranger', 'row_security = off',
	'session_replication_role = replica')
{
	my $wallet = 'bad' . ++$count;

	$other->query_safe("ALTER DATABASE odd SET $setting; ALTER ROLE $superuser SET $setting");
	new_workers();
	append();
	ask(<<"SQL");
SELECT stream_append('wallet_stream', 'Wallet', '$wallet', '[{"event_name": "WalletWasCreated", "payload": {"initialBalance": 1}}]'),
       stream_append('wallet_stream', 'Wallet', '$wallet', '[{"event_name": "WalletWasCredited", "payload": {"amount": 1e30}}]')
SQL
	is(ask("SELECT projection_wait('wallet_balance', '20 s')"), 't', "$setting: all is applied");
	is(ask('SELECT string_agg(partition_key, $$ $$), inexact() FROM projection_dead_letters'),
		"$wallet|", "$setting: the bad wallet is parked, all else is right");
	sessions_run($setting, $may_end);
	ask('SELECT dead_letter_delete(id) FROM projection_dead_letters');
	is(ask("SELECT projection_wait('wallet_balance', '20 s')"), 't', "$setting: all is applied again");
	is(ask('SELECT coalesce(inexact(), state) FROM projection_status'), 'ready', "$setting: ready, all rows are right");
	$other->query_safe("ALTER DATABASE odd RESET ALL; ALTER ROLE $superuser RESET ALL");
}

$_->quit foreach ($session, $other);
$node->stop;
done_testing();
