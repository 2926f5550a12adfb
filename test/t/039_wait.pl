# When its time is over projection_wait says why: a notice, for whoever calls it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until);

delete $ENV{PGOPTIONS};
my $node = new_node('wait');

# It returns false, and this is the reason.
sub says
{
	my ($name, $reason, $hint, @role) = @_;

	query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i");
	my ($status, $out, $err) = $node->psql('postgres',
		"SELECT projection_wait('wallet_balance', '200 ms')", extra_params => \@role);

	is($out, 'f', "$name: the time is over");
	like($err, qr/^psql:.*NOTICE:  projection "wallet_balance" has not applied all events in time: $reason/m, "$name: says why");
	like($err, qr/HINT:  $hint/, "$name: and what to do");
	return;
}

install($node);
query("SELECT count(wallet_create('w' || i, 100)) FROM generate_series(1, 10) i");
says('not preloaded', 'no background workers are loaded',
	qr/.*CALL projection_consume\('async_projection', finish_when_no_messages => true\); or SELECT projection_run\('wallet_balance'\);/);
is(query('SELECT workers_problem FROM projection_status'),
	'shared_preload_libraries does not list wallet_projection', 'and so does the status');
query("CALL projection_consume('async_projection', finish_when_no_messages => true)");
is(query("SELECT projection_wait('wallet_balance', '200 ms')"), 't', 'as it is told');
query("SELECT projection_delete('wallet_balance')");
is(query('SELECT workers_problem FROM projection_status'), '', 'what is not initialized needs no workers');
query("SELECT projection_init('wallet_balance')");

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'wallet_projection'");
$node->restart;
says('stopped', 'it is stopped', qr/.*projection_start\('wallet_balance'\)/);
query("SELECT channel_scale('async_projection', 0); SELECT projection_start('wallet_balance')");
says('scaled to 0', 'the channel is scaled to 0 workers', qr/Run: SELECT channel_scale\('async_projection', 2\);/);
query("SELECT channel_scale('async_projection', 2)");
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'served');

foreach my $setting ('wallet_projection.enabled = off', 'default_transaction_read_only = on')
{
	my ($name) = $setting =~ /(\S+)/;
	my ($status, $out, $err);

	query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i; SELECT projection_wait('wallet_balance', '60 s')");
	$node->append_conf('postgresql.conf', $setting);
	$node->reload;
	wait_until("SELECT count(*) = 0 FROM projection_workers");
	wait_until("SELECT workers_problem LIKE '$name is o%' FROM projection_status");
	query("BEGIN READ WRITE; SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i; COMMIT");
	($status, $out, $err) = $node->psql('postgres', "SELECT projection_wait('wallet_balance', '200 ms')");
	like($err, qr/in time: $name is o.*\nHINT:  (Set \Q$name\E = on, and reload|Turn it off, and reload)/, "$name: says what to do");
	$node->adjust_conf('postgresql.conf', $name, undef);
	$node->reload;
	is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', "$name: as it is told");
}

# keys that wait for locks; the hint in their dead letters finds who holds these
my $application = $node->background_psql('postgres');
query('CREATE ROLE other LOGIN');
$application->query_safe("BEGIN; SELECT wallet_id FROM wallet_balances WHERE wallet_id = 'w1' FOR UPDATE");
says('a lock', '"w1" waits for a lock on its row', qr/See projection_dead_letters/);
says('a lock, to others', 'a key waits for a lock on its row', qr/See projection_dead_letters/, '-U', 'other');
my $hint = query('SELECT hint FROM projection_dead_letters l, dead_letter_show(l.id)');
my ($who) = $hint =~ /^It is applied by itself once the lock is gone\. Who may hold it: (SELECT [^;]*);$/;
ok($who, 'a lock: the hint has a statement') or diag($hint);
my $pid = $application->query_safe('SELECT pg_backend_pid()');
is(query("SELECT pid = $pid FROM ($who) l WHERE mode = 'RowShareLock'"), 't', 'a lock: it finds who holds it');
$application->query_safe("SELECT wallet_id FROM wallet_balances WHERE wallet_id IN ('w2', 'w3') FOR UPDATE");
says('three locks', '"w\d" and 2 more wait for locks on their rows', qr/See projection_dead_letters/);
$application->query_safe('COMMIT');
$application->quit;
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'the locks are gone');

query('ALTER TABLE wallet_balances ALTER total_credits DROP DEFAULT, ALTER total_credits TYPE text');
query("SELECT count(wallet_credit('w' || i, 1)) FROM generate_series(1, 10) i");
wait_until("SELECT state = 'failed' FROM projection_status");
says('failed', 'its last batch failed: 42804: ', qr/Mend the cause/);
says('failed, to others', 'its last batch failed, as projection_status tells its owner', qr/Mend the cause/, '-U', 'other');
query('ALTER TABLE wallet_balances ALTER total_credits TYPE numeric(19,4) USING total_credits::numeric, ALTER total_credits SET DEFAULT 0');
query("SELECT projection_run('wallet_balance')");
is(query("SELECT projection_wait('wallet_balance', '60 s')"), 't', 'mended');

query("SELECT projection_stop('wallet_balance'); TRUNCATE wallet_stream RESTART IDENTITY; SELECT wallet_create('new', 1)");
my ($status, $out, $err) = $node->psql('postgres', "SELECT projection_wait('wallet_balance', '200 ms')");
like($err, qr/in time: the numbers of the stream went backwards\n.*HINT: .*projection_reset/s, 'backwards: says so');

$node->stop;
done_testing();
