# Background workers are in nobody's way: the extension is dropped, made anew and
# updated under them, the database is dropped, renamed and copied, idle or while
# they catch up.  They leave in time, and where they are wanted they come back.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WalletTest;

my $node = worker_node('database', 'max_worker_processes = 16',
	"wallet_projection.poll_interval = '200ms'");
my $workers = 2;

sub query
{
	my ($query, $database) = @_;

	return $node->safe_psql($database // 'postgres', $query);
}

# Always asked from another database, to be in nobody's way either.
sub wait_until
{
	my ($query, $database) = @_;

	$node->poll_query_until($database // 'template1', $query)
	  or die "timed out: $query";
	return;
}

my $processes =
  "FROM pg_stat_activity WHERE backend_type LIKE 'wallet_projection worker%' AND datname =";

sub workers_there
{
	my ($database) = @_;

	wait_until("SELECT count(*) = $workers $processes '$database'");
	return;
}

sub nobody_there
{
	my ($database, $name) = @_;

	ok( $node->poll_query_until('template1', "SELECT count(*) = 0 $processes '$database'"),
		"$name: the workers leave");
	return;
}

# A statement that must succeed soon.
sub soon
{
	my ($statement, $name) = @_;
	my $begun = time;

	is(sqlstate($node, $statement, 'template1'), '00000', "$name: $statement");
	cmp_ok(time - $begun, '<', 5, "$name: soon");
	return;
}

# Much to do for the workers, a little at a time; begun, and not yet done.
sub get_busy
{
	my ($database, $name) = @_;

	query("SELECT count(wallet_credit('w' || (i % 10 + 1), i)) FROM generate_series(1, 1000) i",
		$database);
	query("SELECT projection_reset('wallet_balance')", $database);
	wait_until('SELECT max(head) > 0 FROM projection_partitions', $database);
	is( query('SELECT max(lag_events) > 0 FROM projection_partitions', $database),
		't', "$name: the workers have much to do");
	return;
}

sub make_database
{
	my ($database) = @_;

	query("CREATE DATABASE $database");
	install($node, $database, batch_size => 1);
	query(<<'SQL', $database);
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN NULL; END $$;
CREATE TRIGGER slow AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION slow();
SQL
	query("SELECT count(wallet_create('w' || i, i)) FROM generate_series(1, 10) i",
		$database);
	workers_there($database);
	caught_up($node, "$database, new", $database);
	return;
}

# DROP EXTENSION under load, and again with it
install($node);
put_wallets($node, 50);
foreach my $round (1 .. 5)
{
	workers_there('postgres');

	my $writers = start_writers($node, 3, 50);
	my $head = query('SELECT max(head) + 100 FROM projection_partitions');
	wait_until("SELECT max(head) >= $head FROM projection_partitions", 'postgres');
	my $begun = time;
	is(sqlstate($node, 'DROP EXTENSION wallet_projection'),
		'00000', "DROP EXTENSION under load, round $round");
	cmp_ok(time - $begun, '<', 5, 'soon');
	stop_writers($node, $writers);
	nobody_there('postgres', 'DROP EXTENSION');
	is( query("SELECT count(*) FROM pg_shseclabel WHERE provider = 'wallet_projection'"),
		0, 'and nothing is wanted');
	is_prefix($node, 'after DROP EXTENSION');

	query('CREATE EXTENSION wallet_projection');
	is(sqlstate($node, "SELECT projection_init('wallet_balance')"),
		'42P07', 'the old read model is in the way');
	query("DROP TABLE wallet_balances; SELECT projection_init('wallet_balance')");
	caught_up($node, 'a new extension');
}

# ALTER EXTENSION UPDATE to another version, as many workers see it
$workers = 6;
query("SELECT channel_scale('async_projection', $workers)");
workers_there('postgres');
foreach my $idle (1, 0)
{
	my $name = $idle ? 'another version' : 'another version under load';
	my $writers = $idle ? undef : start_writers($node, 2, 50);
	my $offset = -s $node->logfile;
	my $begun = time;

	query("UPDATE pg_extension SET extversion = '9.9' WHERE extname = 'wallet_projection'");
	$node->wait_for_log(
		qr/worker of channel "async_projection" leaves: the extension wallet_projection in this database is not of version/,
		$offset);
	nobody_there('postgres', $name);
	cmp_ok(time - $begun, '<', 5, 'soon');
	stop_writers($node, $writers) if $writers;
	query("UPDATE pg_extension SET extversion = '0.2.0' WHERE extname = 'wallet_projection'");
	$begun = time;
	workers_there('postgres');
	cmp_ok(time - $begun, '<', 5, "$name: gone, the workers come back, soon");
	query("SELECT wallet_credit('w1', 1)");
	caught_up($node, $name);
	unlike(slurp_file($node->logfile, $offset),
		qr/"wallet_balance" failed|ERROR:/,
		"$name: is no failure of the projection");
}
$workers = 2;
query("SELECT channel_scale('async_projection', $workers)");
is(sqlstate($node, 'ALTER EXTENSION wallet_projection UPDATE'),
	'00000', 'an update that changes nothing');
query("SELECT wallet_credit('w1', 1)");
caught_up($node, 'after it');

# DROP DATABASE
foreach my $how ('', 'WITH (FORCE)')
{
	foreach my $idle (1, 0)
	{
		my $name = $idle ? 'idle' : 'busy';

		make_database('gone');
		get_busy('gone', $name) unless $idle;
		soon("DROP DATABASE gone $how", $name);
		ok( $node->poll_query_until('postgres',
				"SELECT count(*) = $workers AND bool_and(database = 'postgres') FROM projection_workers"),
			"$name: its slots are given back");
		is(query("SELECT count(*) FROM pg_shseclabel WHERE provider = 'wallet_projection'"),
			1, "$name: only the other database is wanted");
	}
}

# RENAME and TEMPLATE
make_database('first');
foreach my $idle (1, 0)
{
	my $name = $idle ? 'idle' : 'busy';
	my ($from, $to) = $idle ? ('first', 'second') : ('second', 'first');

	get_busy($from, $name) unless $idle;
	soon("ALTER DATABASE $from RENAME TO $to", $name);
	workers_there($to);
	query("SELECT wallet_credit('w1', 1)", $to);
	caught_up($node, "$name, renamed", $to);

	get_busy($to, $name) unless $idle;
	soon("CREATE DATABASE copy TEMPLATE $to", $name);
	is(query('SELECT max(lag_events) > 0 FROM projection_partitions', 'copy'),
		$idle ? 'f' : 't', "$name: the copy is as the original was");
	is(query('SELECT activity, workers_wanted FROM projection_status', 'copy'),
		'stopped|0', "$name: the copy is stopped");
	workers_there($to);
	query("SELECT wallet_credit('w1', 1)", $_) foreach ($to, 'copy');
	caught_up($node, "$name, copied", $to);
	is( query("SELECT projection_wait('wallet_balance', '0.5 s')", 'copy'),
		'f', "$name: nobody works in the copy");
	query("SELECT projection_start('wallet_balance')", 'copy');
	workers_there('copy');
	caught_up($node, "$name, the copy, started", 'copy');
	soon('DROP DATABASE copy', $name);
}
caught_up($node, 'the database that all this was not about');

$node->stop;
done_testing();
