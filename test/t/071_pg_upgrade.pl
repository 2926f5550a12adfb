# pg_upgrade, and a restore of pg_dumpall: everything comes along, started
# projections go on by themselves, and nothing depends on whether the new server
# has the library's line in postgresql.conf: labels by which the launcher knows
# databases are never dumped; where there is none, the launcher asks the
# database.
#
# The old server is of the installation that WALLET_PROJECTION_OLD names (its
# directory has bin/), as test/upgrade has it; without that of the same release
# as the new one.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Moved;
use WalletTest;

my $old_path = $ENV{WALLET_PROJECTION_OLD};
my $labels = "SELECT count(*) FROM pg_shseclabel WHERE provider = 'wallet_projection'";
my $preload = "shared_preload_libraries = 'wallet_projection'";
# releases differ in what they do by default
my @initdb = qw(--encoding=UTF8 --locale=C --data-checksums);

delete $ENV{PGOPTIONS};

sub make_server
{
	my ($name, $path, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, $path ? (install_path => $path) : ());

	$node->init(extra => \@initdb);
	$node->append_conf('postgresql.conf',
		join("\n", 'autovacuum = off', 'max_worker_processes = 12', @settings));
	return $node;
}

# Some minor releases put a mark on each column of each table (pg_attver), which
# other servers refuse when it is restored, whatever the database is for.
sub remove_marks
{
	my ($node) = @_;

	$node->safe_psql('wallet', <<'SQL');
SET allow_system_table_mods = on;
UPDATE pg_attribute SET attoptions = NULL WHERE array_to_string(attoptions, ',') LIKE 'pg_attver=%';
SQL
	return;
}

# A server with the old one's databases, and what pg_upgrade has to say.
sub upgrade
{
	my ($old, $name, $mode, @settings) = @_;
	my $new = make_server($name, undef, @settings);
	my ($out, $err);

	chdir $new->basedir or die;
	my $done = IPC::Run::run(
		[
			$new->installed_command('pg_upgrade'), '--no-sync', @$mode,
			'-d' => $old->data_dir, '-D' => $new->data_dir,
			'-b' => $old->config_data('--bindir'), '-B' => $new->config_data('--bindir'),
			'-s' => $new->host, '-p' => $old->port, '-P' => $new->port
		],
		'<', \undef, '>', \$out, '2>', \$err);
	return ($new, $done, $out . $err);
}

my $old = make_server('old', $old_path, $preload);
$old->start;
note 'from ' . $old->safe_psql('postgres', 'SHOW server_version') . ' to ' . `pg_config --version`;
$old->safe_psql('postgres', 'CREATE DATABASE wallet');
$old->safe_psql('postgres', 'CREATE DATABASE without');
put_everything($old, 'wallet');
is($old->safe_psql('wallet', $labels), 1, 'one database has a label');
is($old->safe_psql('wallet', 'SELECT count(*) FROM pg_seclabels'), 0, 'which no dump sees');

# events that nobody has applied yet come along
$old->append_conf('postgresql.conf', 'wallet_projection.enabled = off');
$old->reload;
ok($old->poll_query_until('wallet', 'SELECT count(*) = 0 FROM projection_workers'), 'workers rest');
more_events($old, 'wallet');
my $was = what_is_there($old, 'wallet');
remove_marks($old);

# a dump, by the new server's programs, into a server without the library's line
my $bare = make_server('bare');
$bare->start;
my $dump = $bare->basedir . '/dump.sql';
$bare->command_ok([ 'pg_dumpall', '--no-sync', '-f', $dump, '-d', $old->connstr('postgres') ], 'pg_dumpall');
unlike(slurp_file($dump), qr/SECURITY LABEL/, 'no label is dumped');
my ($out, $err) = ('', '');
$bare->psql('postgres', slurp_file($dump), stdout => \$out, stderr => \$err, on_error_stop => 0);
is(join("\n", grep { !/role ".*" already exists/ } grep { /ERROR/ } split /\n/, $err), '', 'it is restored where nothing is preloaded');
is_moved($bare, 'wallet', $was, 'restored');
$bare->append_conf('postgresql.conf', $preload);
$bare->restart;
is($bare->safe_psql('wallet', $labels), 0, 'a restored projection is stopped');
$bare->safe_psql('wallet', q(SELECT projection_start(projection) FROM projection_status WHERE projection <> 'numbered'));
goes_on($bare, 'wallet', 'restored');
$bare->stop;

$old->stop;
foreach (['not_preloaded'], [ 'preloaded', '--link' ])
{
	my ($name, @mode) = @$_;
	my $with = $name eq 'preloaded';
	my ($new, $done, $said) = upgrade($old, $name, \@mode, $with ? $preload : ());

	ok($done, "$name: pg_upgrade @mode") or diag $said;
	$new->append_conf('postgresql.conf', $preload) unless $with;
	$new->append_conf('postgresql.conf', 'wallet_projection.enabled = off');
	$new->start;
	is_moved($new, 'wallet', $was, $name);
	$new->append_conf('postgresql.conf', 'wallet_projection.enabled = on');
	$new->reload;
	goes_on($new, 'wallet', $name);
	$new->stop;
}

# A server that still has version 0.1.0, with the label that this version made.
my $older = make_server('older', $old_path, $preload);
$older->start;
$older->safe_psql('postgres', 'CREATE DATABASE wallet');
install_released($older, 'wallet');
remove_marks($older);
$older->stop;

my ($refused, $done, $said) = upgrade($older, 'older_not_preloaded', []);
ok(!$done, 'version 0.1.0: its label needs the line in the new server');
my ($new) = ($refused);
($new, $done, $said) = upgrade($older, 'older_preloaded', [], $preload);
ok($done, 'version 0.1.0: pg_upgrade') or diag $said;
like($said, qr/update_extensions\.sql/, 'which says that there is an extension to be updated');
$new->start;
my $status = 'SELECT state, activity, parked FROM projection_status';
($status, $out, $err) = $new->psql('wallet', $status);
like($err, qr/HINT:  Run in this database: ALTER EXTENSION wallet_projection UPDATE;/, 'so does the extension');
$new->command_ok([ 'psql', '-X', '-q', '-d', $new->connstr('postgres'), '-f', $new->basedir . '/update_extensions.sql' ], 'it is updated');
ok($new->poll_query_until('wallet', 'SELECT count(*) = 3 FROM projection_workers'), 'workers start, as many as before');
$new->safe_psql('wallet', "SELECT count(wallet_credit('w' || i, i)) FROM generate_series(1, 6) i");
is($new->safe_psql('wallet', "SELECT projection_wait('wallet_balance', '60 s')"), 't', 'workers go on');
is($new->safe_psql('wallet', "SELECT projection_verify('wallet_balance')"), '', 'exactly');
is($new->safe_psql('wallet', "SELECT count(*) FROM pg_seclabels WHERE provider = 'wallet_projection'"), 0, 'the old label is gone');
$new->stop;

done_testing();
