# An event that cannot be applied parks its wallet, and nothing else: wherever it
# stands, whatever refuses it.  It is tried again when it is due, and heals by
# itself; or becomes a dead letter, which a person replays or deletes.  What is
# no event's fault parks nobody.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query wait_until logged log_end);

my $node = worker_node('poison', "wallet_projection.poll_interval = '100ms'",
	'deadlock_timeout = 300ms');
my $round = 0;
my $wallets = 30;

sub set
{
	my (%options) = @_;

	query(join ';', map { "SELECT projection_set('wallet_balance', '$_', '$options{$_}')" } sort keys %options);
	return;
}

# Append these events, each [wallet, name, payload], in one transaction.
sub append
{
	query(
		'BEGIN;'
		  . join('',
			map { "SELECT append_event('$_->[0]', 'WalletWas$_->[1]', '$_->[2]');" }
			  @_)
		  . 'END');
	return;
}

sub credit
{
	my ($wallet, @amounts) = @_;

	return map { [ $wallet, 'Credited', qq({"amount": $_}) ] } @amounts;
}

sub created
{
	my ($wallet) = @_;

	return [ $wallet, 'Created', '{"initialBalance": 100}' ];
}

# Names of wallets of their own for each round.
sub wallets
{
	$round++;
	return map { sprintf 'r%02d-%02d', $round, $_ } 1 .. $wallets;
}

sub wait_applied
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	is(query("SELECT projection_wait('wallet_balance', '60 s')"),
		't', "$name: positions move on");
	return;
}

# These wallets get parked, and no others; also with more events behind.
sub parks
{
	my ($name, @bad) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_applied($name);
	exact($node, \@bad, $name);
	append(map { (credit($_, 3), credit($_, 4)) } @bad, q(other));
	wait_applied("$name, more");
	exact($node, \@bad, "$name, more");
	return;
}

sub heals
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok( $node->poll_query_until(
			'postgres', 'SELECT count(*) = 0 FROM wallet_projection.parked'),
		"$name: the next retry heals it");
	wait_applied($name);
	consistent($node, $name);
	is(query('SELECT state, parked, failures FROM projection_status'), 'ready|0|0', "$name: well");
	return;
}

sub id_of
{
	my ($wallet) = @_;

	return query("SELECT id FROM projection_dead_letters WHERE partition_key = '$wallet'");
}

sub delete_all
{
	query('SELECT dead_letter_delete(id) FROM projection_dead_letters');
	return;
}

install(
	$node, 'postgres',
	partitions => 4,
	retry_delay => '100ms',
	retry_max_delay => '300ms',
	retry_jitter => 0,
	max_attempts => 1000);
query(<<'SQL');
CREATE FUNCTION append_event(wallet text, name text, payload jsonb) RETURNS bigint LANGUAGE sql AS $$
  SELECT stream_append('wallet_stream', 'Wallet', wallet, jsonb_build_array(jsonb_build_object('event_name', name, 'payload', payload)))
$$;
CREATE FUNCTION deeper(amount numeric) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    PERFORM 1 / (CASE WHEN amount >= 1000 THEN 0 ELSE 1 END);
  EXCEPTION WHEN unique_violation THEN NULL;
  END;
END $$;
CREATE FUNCTION deep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM public.deeper(NEW.total_credits); RETURN NULL; END $$;
CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.total_credits >= 1000 THEN RAISE EXCEPTION 'too much for %', NEW.wallet_id; END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION suppressing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN CASE WHEN NEW.total_credits < 1000 THEN NEW END; END $$;
CREATE TABLE allowed (credits numeric(19,4) PRIMARY KEY);
INSERT INTO allowed SELECT generate_series(0, 999);
SQL
query("SELECT channel_scale('async_projection', 3)");

#
# What the read model refuses
#
my @refusals = (
	# narrowed again it must have room for those before
	[
		'a narrowed column', {
			break => 'ALTER TABLE wallet_balances ALTER total_credits TYPE numeric(%d,4)',
			heal => 'ALTER TABLE wallet_balances ALTER total_credits TYPE numeric(19,4)',
			state => '22003',
			digits => 7
		}
	],
	[
		'CHECK', {
			break => 'ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (total_credits < 1000) NOT VALID',
			heal => 'ALTER TABLE wallet_balances DROP CONSTRAINT small',
			state => '23514'
		}
	],
	[
		'a BEFORE trigger', {
			break => 'CREATE TRIGGER t BEFORE INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION raising()',
			heal => 'DROP TRIGGER t ON wallet_balances',
			state => 'P0001'
		}
	],
	[
		'an AFTER trigger', {
			break => 'CREATE TRIGGER t AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION raising()',
			heal => 'DROP TRIGGER t ON wallet_balances',
			state => 'P0001'
		}
	],
	[
		'deep in a function', {
			break => 'CREATE TRIGGER t AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION deep()',
			heal => 'DROP TRIGGER t ON wallet_balances',
			state => '22012'
		}
	],
	[
		'a trigger that suppresses the row', {
			break => 'CREATE TRIGGER t BEFORE INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION suppressing()',
			heal => 'DROP TRIGGER t ON wallet_balances',
			state => '09000'
		}
	],
	[
		'an index on another column', {
			break => "CREATE UNIQUE INDEX one ON wallet_balances (total_credits) WHERE total_credits >= 1000 AND wallet_id >= '%w'",
			heal => 'DROP INDEX one',
			state => '23505',
			once => 1
		}
	],
	[
		'a foreign key', {
			break => 'ALTER TABLE wallet_balances ADD CONSTRAINT fk FOREIGN KEY (total_credits) REFERENCES allowed NOT VALID',
			heal => 'ALTER TABLE wallet_balances DROP CONSTRAINT fk',
			state => '23503'
		}
	],
	[
		'a deferred foreign key', {
			break =>
			  'ALTER TABLE wallet_balances ADD CONSTRAINT fk FOREIGN KEY (total_credits) REFERENCES allowed DEFERRABLE INITIALLY DEFERRED NOT VALID',
			heal => 'ALTER TABLE wallet_balances DROP CONSTRAINT fk',
			state => '23503'
		}
	],
	[
		'a deferred trigger', {
			break => 'CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON wallet_balances DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raising()',
			heal => 'DROP TRIGGER t ON wallet_balances',
			state => 'P0001'
		}
	]);

# With the wallets at these places, whose second credit is refused, or (once)
# their third; all rows are
# there already, or all are made by the same batch.
sub refuse
{
	my ($refusal, $made_before, @places) = @_;
	my $kind = $refusal->[0];
	my %how = %{ $refusal->[1] };
	my @wallets = wallets();
	my @bad = @wallets[@places];
	my $name = "$kind, " . ($made_before ? 'update' : 'insert') . ", wallets @places";
	my $much = 5000 + 100 * $round;

	# total credits that are taken already
	if ($how{once})
	{
		query("SELECT wallet_create('rich$round', 1); SELECT wallet_credit('rich$round', $much + 3)");
		@bad = $bad[0];
	}
	if ($made_before)
	{
		append(map { created($_) } @wallets);
		wait_applied($name);
	}
	wait_applied($name);
	$much = 5 * 10**($refusal->[1]{digits}++ - 4) if $how{digits};
	query($how{break} =~ s/%d/$how{digits}/r =~ s/%w/$wallets[0]/r);

	my @events = $made_before ? () : map { created($_) } @wallets;
	foreach my $wallet (@wallets)
	{
		push @events, credit($wallet, (grep { $_ eq $wallet } @bad) ? (1, $much, 2) : $round);
	}
	append(@events);
	# more would lift it over what is taken
	if ($how{once})
	{
		wait_applied($name);
		exact($node, \@bad, $name);
	}
	else
	{
		parks($name, @bad);
	}
	is( query(
			"SELECT DISTINCT p.sqlstate, s.payload->>'amount', p.waiting FROM projection_dead_letters p JOIN wallet_stream s USING (no)"),
		"$how{state}|" . ($how{once} ? '2|0' : "$much|3"),
		"$name: it is this credit");
	query($how{heal});
	heals($name);
	return;
}

append(created('other'));
foreach my $refusal (@refusals)
{
	refuse($refusal, $_, 0, 14, 15, 29) foreach (0, 1);
	next unless $refusal->[0] =~ /CHECK|BEFORE|deferred foreign/;
	query("SELECT channel_scale('async_projection', 1)");
	foreach my $place (0, 14, 29)
	{
		refuse($refusal, $_, $place) foreach (0, 1);
	}
	query("SELECT channel_scale('async_projection', 3)");
}

#
# A broken definition is nobody's fault
#
sub breaks
{
	my ($name, $break, $heal, $error, @more) = @_;

	my @wallets = wallets();

	append(map { created($_) } @wallets);
	wait_applied($name);
	query($break);
	append((map { credit($_, 1) } @wallets), @more);
	wait_until("SELECT state = 'failed' FROM projection_status");
	like( query('SELECT parked, failures > 0, next_try IS NOT NULL, last_error FROM projection_status'),
		$error, "$name: no wallet is parked, the status says so");
	wait_until('SELECT failures > 1 FROM projection_status');
	is(query('SELECT parked FROM projection_status'), '0', "$name: nor the next time");
	query($heal);
	wait_until("SELECT state = 'ready' FROM projection_status");
	return;
}

breaks(
	'a column is dropped',
	'ALTER TABLE wallet_balances RENAME total_credits TO gone',
	'ALTER TABLE wallet_balances RENAME gone TO total_credits',
	qr/^0\|t\|t\|42703: /);
heals('a column is dropped');
my $missing = <<'SQL';
CREATE FUNCTION missing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.no_such_table VALUES (1); RETURN NULL; END $$;
CREATE TRIGGER t AFTER INSERT OR UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION missing();
SQL
my $there = 'CREATE TABLE no_such_table (a integer)';
my $tidy = 'DROP FUNCTION missing CASCADE; DROP TABLE no_such_table';
breaks('a trigger without its table', $missing, $there, qr/^0\|t\|t\|42P01: /);
heals('a trigger without its table');
query($tidy);

# it is one key's fault if the others do not fail
my @wallets = wallets();
append(map { created($_) } @wallets);
wait_applied('a trigger without its table');
query(<<'SQL');
CREATE FUNCTION missing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.total_credits >= 1000 THEN INSERT INTO public.no_such_table VALUES (1); END IF; RETURN NULL; END $$;
CREATE TRIGGER t AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION missing();
SQL
append((map { credit($_, 2) } @wallets), credit($wallets[7], 9999));
parks('a trigger without its table, for one wallet', $wallets[7]);
query($there);
heals('a trigger without its table, for one wallet');
query($tidy);

#
# Nor are these an event's fault
#
sub nobodys_fault
{
	my ($name, $state, $break, $heal) = @_;
	my @wallets = wallets();

	append(map { created($_) } @wallets);
	wait_applied($name);
	$break->();
	append(map { credit($_, 1) } @wallets);
	wait_until("SELECT state = 'failed' FROM projection_status");
	like( query('SELECT parked, failures > 0, next_try > last_try.at, last_error FROM projection_status, (SELECT now() - interval \'1 min\') last_try (at)'),
		qr/^0\|t\|t\|$state: /, "$name: no wallet is parked, the status says so");
	$heal->();
	wait_until("SELECT state = 'ready' FROM projection_status");
	heals($name);
	return;
}

foreach my $state (qw(53100 53200 57014 58030 40001 08006 XX000 25006))
{
	nobodys_fault(
		"$state in a trigger",
		$state,
		sub {
			query(<<"SQL");
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '$state'; END \$\$;
CREATE TRIGGER t AFTER UPDATE ON wallet_balances FOR EACH ROW WHEN (NEW.total_credits > 0) EXECUTE FUNCTION fail();
SQL
		},
		sub { query('DROP FUNCTION fail CASCADE') });
}

my $locker = $node->background_psql('postgres');
nobodys_fault(
	'a lock that cannot be had',
	'55P03',
	sub {
		query(<<'SQL');
CREATE TABLE held (a integer);
CREATE FUNCTION lock() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '10ms' AS $$ BEGIN LOCK TABLE public.held; RETURN NULL; END $$;
CREATE TRIGGER t AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION lock();
SQL
		$locker->query_safe('BEGIN; LOCK TABLE held');
	},
	sub { $locker->query_safe('ROLLBACK') });
query('DROP FUNCTION lock CASCADE');

# A session locks rows in the other order than a batch.  It does not look for
# deadlocks itself, so the worker does.
@wallets = map { "d$_" } 1 .. 4;
query("SELECT channel_scale('async_projection', 1)");
wait_until("SELECT count(pid) = 1 AND count(*) = 1 FROM projection_workers");
append(map { created($_) } @wallets);
wait_applied('deadlock');
my $offset = log_end();
my $lock_row = "SELECT count(*) FROM (SELECT FROM customer WHERE id = '%s' FOR UPDATE) x";
query(<<'SQL');
CREATE TABLE customer AS SELECT 'd' || i AS id FROM generate_series(1, 4) i;
CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM public.customer WHERE id = NEW.wallet_id FOR UPDATE; RETURN NULL; END $$;
CREATE TRIGGER ask AFTER UPDATE ON wallet_balances FOR EACH ROW EXECUTE FUNCTION ask();
SQL
$locker->query_safe("SET deadlock_timeout = '1min'");
$locker->query_safe('BEGIN; ' . sprintf($lock_row, 'd4'));
# at once when the worker waits: it looks for a deadlock but once
$locker->query_until(qr/begun/, "\\echo begun\n" . <<'SQL' . sprintf($lock_row, 'd1') . ";\n\\echo ended\n");
DO $$ BEGIN
  WHILE NOT EXISTS (SELECT FROM pg_locks JOIN projection_workers USING (pid) WHERE NOT granted) LOOP
    PERFORM pg_sleep(0.005);
  END LOOP;
END $$;
SQL
append(map { credit($_, 1) } @wallets);
$locker->query_until(qr/ended/, '');
wait_until("SELECT state = 'failed' FROM projection_status");
like( query('SELECT parked, failures, last_error FROM projection_status'),
	qr/^0\|[1-9]\|40P01: deadlock detected/, 'a deadlock: no wallet is parked');
$locker->query_safe('ROLLBACK');
wait_until("SELECT state = 'ready' FROM projection_status");
heals('a deadlock');
is(logged('projection "wallet_balance" failed: deadlock detected', $offset), 1, 'once in the log');
query('DROP FUNCTION ask CASCADE');
query("SELECT channel_scale('async_projection', 3)");

#
# Delays
#
sub delays
{
	return query("SELECT attempts, state, next_retry_at - last_failed_at FROM projection_dead_letters");
}

@wallets = wallets();
my $bad = $wallets[3];
append(map { created($_) } @wallets);
set(retry_delay => '1h', retry_max_delay => '3h', max_attempts => 6);
query('ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (total_credits < 1000) NOT VALID');
append((map { credit($_, 5) } @wallets), credit($bad, 7000, 1));
wait_applied('delays');
is(delays(), '1|retrying|01:00:00', 'after the first failure');
my $row = 'SELECT * FROM wallet_projection.parked';
my $before = query($row);
$node->restart;
append(map { credit($_, 6) } grep { $_ ne $bad } @wallets);
wait_applied('after a restart');
is(query($row), $before, 'a delay survives a restart, and is kept');
my $id = id_of($bad);
foreach my $expected ('2|retrying|02:00:00', '3|retrying|03:00:00', '4|retrying|03:00:00')
{
	is(query("SELECT dead_letter_replay($id)"), 'f', 'it still fails');
	is(delays(), $expected, "so long until the next retry");
}
set(retry_jitter => 0.5);
query("SELECT dead_letter_replay($id)");
my ($low, $off) = (query("SELECT next_retry_at - last_failed_at BETWEEN '1.5 h' AND '4.5 h', next_retry_at - last_failed_at <> '3 h' FROM projection_dead_letters"));
is($low, 't|t', 'jitter');

#
# A dead letter
#
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN wallet_projection_dead_letter');
$offset = log_end();
query("SELECT dead_letter_replay($id)");
is(delays(), '6|dead|', 'a dead letter after so many attempts');
my $no = query('SELECT no FROM projection_dead_letters');
my $heard = $listener->query('SELECT 1');
my @heard = $heard =~ /"wallet_projection_dead_letter" with payload "(.*)" received/g;
is_deeply(
	\@heard,
	[qq({"id": $id, "projection": "wallet_balance", "partition_key": "$bad", "no": $no})],
	'NOTIFY, once');
is(logged("has a dead letter: event $no of \"$bad\" failed 6 times", $offset), 1, 'one line in the log');
is(query('SELECT parked, dead_letters, state FROM projection_status'), '1|1|ready', 'the status counts it');
query('ALTER TABLE wallet_balances DROP CONSTRAINT small');
$node->restart;
append(map { credit($_, 6) } @wallets);
wait_applied('with a dead letter');
exact($node, [$bad], 'it waits for a person');
is(delays(), '6|dead|', 'and is not tried again');
is(query("SELECT dead_letter_replay($id)"), 't', 'replayed');
heals('a dead letter');

# by the workers alone
set(retry_delay => '50ms', retry_max_delay => '100ms', retry_jitter => 0, max_attempts => 3);
query('ALTER TABLE wallet_balances ADD CONSTRAINT small CHECK (total_credits < 1000) NOT VALID');
$listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN wallet_projection_dead_letter');
@wallets = wallets();
$bad = $wallets[5];
$offset = log_end();
append((map { created($_) } @wallets), credit($bad, 8000));
wait_until("SELECT count(*) = 1 FROM projection_dead_letters WHERE state = 'dead' AND attempts = 3");
@heard = $listener->query('SELECT 1') =~ /"partition_key": "(.*?)"/g;
is_deeply(\@heard, [$bad], 'workers: NOTIFY, once');
is(logged('has a dead letter', $offset), 1, 'workers: one line in the log');
is( query("SELECT last_failed_at - first_failed_at >= '150 ms' FROM projection_dead_letters"),
	't', 'workers: not before its time');

#
# Replay: while workers run, by two at once, and after the stream has moved on
#
append((map { credit($bad, $_) } 1 .. 50));
# before there are others whom it would refuse
query('ALTER TABLE wallet_balances DROP CONSTRAINT small');
my $writers = start_writers($node, 2, 0 + query("SELECT count(wallet_create('w' || i, 1000000000)) FROM generate_series(1, 20) i"));
query(<<'SQL');
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
SQL
query("CREATE TRIGGER hold AFTER UPDATE ON wallet_balances FOR EACH ROW WHEN (NEW.wallet_id = '$bad') EXECUTE FUNCTION hold()");
$id = id_of($bad);
$locker->quit;
$locker = $node->background_psql('postgres');
my @replays = map { $node->background_psql('postgres') } 1 .. 2;
$locker->query_safe('SELECT pg_advisory_lock(1)');
$_->query_until(qr/begun/, "\\echo begun\nSELECT dead_letter_replay($id) AS result;\n\\echo ended\n") foreach @replays;
wait_until("SELECT count(*) = 2 FROM pg_stat_activity WHERE query LIKE 'SELECT dead_letter_replay%' AND wait_event_type = 'Lock'");
append(credit($bad, 51));
$locker->query_safe('SELECT pg_advisory_unlock(1)');
foreach (@replays)
{
	like($_->query_until(qr/ended/, ''), qr/^t$/m, 'two replays at once');
	$_->quit;
}
stop_writers($node, $writers);
query('DROP FUNCTION hold CASCADE');
heals('two replays at once');
is(sqlstate($node, "SELECT dead_letter_replay($id)"), '42704', 'there is no such letter any more');

#
# What the fold refuses: at the first, middle, last place, several, everywhere
#
set(retry_delay => '1h', retry_max_delay => '1h');
my %poison = (
	'no number' => [ 'Credited', '{"amount": "bad"}' ],
	'no amount' => [ 'Debited', '{}' ],
	'null' => [ 'Credited', '{"amount": null}' ],
	'second creation' => [ 'Created', '{"initialBalance": 1}' ]);
foreach my $kind (sort keys %poison)
{
	foreach my $places ([0], [14], [29], [ 0, 14, 15, 29 ], [ 0 .. 29 ])
	{
		my $name = "$kind, wallets @$places";

		@wallets = wallets();
		my @bad = @wallets[@$places];
		append(map { created($_) } @wallets) if $places->[0];
		wait_applied($name) if $places->[0] == 14;

		my @events = $places->[0] ? () : map { created($_) } @wallets;
		foreach my $wallet (@wallets)
		{
			push @events, credit($wallet, 1);
			push @events, [ $wallet, @{ $poison{$kind} } ], credit($wallet, 2)
			  if grep { $_ eq $wallet } @bad;
		}
		append(@events);
		parks($name, @bad);
		delete_all();
		exact($node, [], "$name, deleted");
	}
}
@wallets = map { "never$_" } 1 .. 10;
append((map { [ $_, 'Debited', '{"amount": 1}' ] } @wallets), credit('other', 1));
parks('debit of a wallet never created', @wallets);
query('SELECT dead_letter_delete(id) FROM projection_dead_letters');
exact($node, \@wallets, 'the credits behind it are not applied either');
query('SELECT dead_letter_delete(id) FROM projection_dead_letters');
query('SELECT dead_letter_delete(id) FROM projection_dead_letters');
exact($node, [], 'until all are deleted');

# delete skips one event, and goes on to the next that fails
append(created('two'), credit('two', 1), [ 'two', 'Credited', '{"amount": "bad"}' ], credit('two', 2),
	[ 'two', 'Debited', '{"amount": "bad"}' ], credit('two', 4));
wait_applied('two in one wallet');
my $skipped = query('SELECT count(*) FROM wallet_projection.skipped');
$id = id_of('two');
is(query("SELECT dead_letter_delete($id)"), 'f', 'the next one fails');
exact($node, ['two'], 'one is deleted');
is(query('SELECT event_name, attempts FROM projection_dead_letters'), 'WalletWasDebited|1', 'attempts begin anew');
is(query("SELECT dead_letter_delete(id) FROM projection_dead_letters"), 't', 'the rest goes well');
exact($node, [], 'both are deleted');
is(query('SELECT count(*) FROM wallet_projection.skipped') - $skipped, 2, 'two events are skipped');
query("SELECT projection_reset('wallet_balance')");
wait_applied('reset');
exact($node, [], 'deleted events stay so after projection_reset');

# a broken trigger is nobody's fault also where an event of the batch is bad
query("SELECT channel_scale('async_projection', 1)");
breaks('a trigger without its table, and a bad event', $missing, $there, qr/^0\|t\|t\|42P01: /,
	[ 'other', 'Credited', '{"amount": "bad"}' ]);
wait_applied('a trigger without its table, and a bad event');
exact($node, ['other'], 'a trigger without its table, and a bad event, healed');
query($tidy);
delete_all();
query("SELECT channel_scale('async_projection', 3)");

#
# max_parked
#
set(max_parked => 2);
append(map { ([ $_, 'Debited', '{"amount": 1}' ]) } qw(none1 none2));
wait_applied('as many as may be');
exact($node, [qw(none1 none2)], 'as many as may be');
append([ 'none3', 'Debited', '{"amount": 1}' ], map { credit($_, 1) } map { "w$_" } 1 .. 20);
wait_until("SELECT state = 'failed' FROM projection_status");
like( query('SELECT parked, last_error FROM projection_status'),
	qr/^2\|WP006: projection "wallet_balance" cannot apply event \d+ of stream "wallet_stream" to Wallet "none3": there is no row of it/,
	'one more stops the projection, which says so');
$node->wait_for_log(qr/3 keys are parked already or would be now; the option "max_parked" is 2/);
set(max_parked => 3);
wait_until("SELECT state = 'ready' FROM projection_status");
wait_applied('with a higher limit');
exact($node, [qw(none1 none2 none3)], 'with a higher limit');
set(max_parked => 0);
append([ 'none4', 'Debited', '{"amount": 1}' ]);
wait_until("SELECT state = 'failed' FROM projection_status");
is(query('SELECT parked FROM projection_status'), '3', 'max_parked 0: the projection stops');
set(max_parked => 1000);
wait_until("SELECT state = 'ready' FROM projection_status");
wait_applied('with the usual limit');
exact($node, [qw(none1 none2 none3 none4)], 'with the usual limit');
delete_all();

#
# stop_on_failure
#
query("SELECT projection_stop('wallet_balance')");
append(credit('w1', 1), [ 'none5', 'Debited', '{"amount": 1}' ], credit('w2', 1));
my $call = "CALL projection_consume('async_projection', finish_when_no_messages => true";
is(sqlstate($node, "$call, stop_on_failure => true)"), 'WP005', 'stop_on_failure: the error ends the call');
is(query('SELECT parked, state FROM projection_status'), '0|failed', 'stop_on_failure: no wallet is parked');
is(sqlstate($node, "$call)"), '00000', 'without it the call goes on');
exact($node, ['none5'], 'without it');
is(query('SELECT state, lag_events FROM projection_status'), 'ready|0', 'without it all is well');
delete_all();

# the read model is dropped
query("SELECT projection_start('wallet_balance')");
query('CREATE TABLE kept AS TABLE wallet_balances; DROP TABLE wallet_balances');
append(credit('w1', 1));
wait_until("SELECT state = 'failed' FROM projection_status");
like(query('SELECT parked, last_error FROM projection_status'),
	qr/^0\|the read model was dropped HINT: .*projection_init\('wallet_balance'\);$/, 'the read model is dropped: nobody is parked');
query("SELECT projection_delete('wallet_balance'); SELECT projection_init('wallet_balance')");
wait_applied('made anew');
is(query("SELECT parked > 0 FROM projection_status"), 't', 'made anew, without what was deleted: it is parked again');
delete_all() foreach 1 .. 4;
exact($node, [], 'made anew, and deleted');

$node->stop;
done_testing();
