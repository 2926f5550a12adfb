# A session that looks, in one snapshot at a time, whether the read model is
# what the positions say it is: each wallet's row is the sum of exactly those
# of its events that are applied (number not above the head of its partition
# and not in its gaps, nor, of a parked wallet, that of the event on which it
# stands or a later one), and these are a prefix of its events in order of
# version.

package Checker;

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Session;

# how much of what differs is shown
use constant { WALLETS_SHOWN => 3, EVENTS_SHOWN => 30 };

sub work
{
	my ($run, $number) = @_;
	my $session = Session->new('checker', $run, "work_mem = '64MB'");

	while (!$session->over)
	{
		my $begin = time;

		$session->attempt('check', sub { check($session) });
		# leave time to the others, more of it when they have to be fast
		sleep((time - $begin) * ($session->longest_hold > 0 ? 1 : 4));
	}
	$session->finish;
	return;
}

my $event = q(
	WITH position AS MATERIALIZED (
		SELECT * FROM projection_partitions WHERE projection = 'wallet_balance')
	SELECT e.aggregate_id AS wallet_id, e.aggregate_version AS version, e.no,
	       e.event_name AS name,
	       coalesce(e.payload->>'amount', e.payload->>'initialBalance')::numeric AS amount,
	       e.no <= p.head AND NOT p.gaps @> e.no AND (q.no IS NULL OR e.no < q.no) AS applied
	  FROM wallet_stream e
	  JOIN torture.wallet w ON w.id = e.aggregate_id
	  JOIN position p
	    ON p.partition = mod(w.hash, (SELECT count(*) FROM position))
	  LEFT JOIN wallet_projection.parked q
	    ON q.projection = 'wallet_balance' AND q.partition_key = e.aggregate_id
	 WHERE e.aggregate_type = 'Wallet');

my $differences = qq(
	WITH event AS ($event), sums AS (
		SELECT wallet_id,
		       coalesce(sum(amount) FILTER (WHERE name = 'WalletWasCreated'), 0) AS initial,
		       coalesce(sum(amount) FILTER (WHERE name = 'WalletWasDebited'), 0) AS debits,
		       coalesce(sum(amount) FILTER (WHERE name = 'WalletWasCredited'), 0) AS credits,
		       count(*) FILTER (WHERE name IN ('WalletWasDebited', 'WalletWasCredited')) AS transactions,
		       max(version) AS last_applied
		  FROM event WHERE applied GROUP BY wallet_id
	), waiting AS (
		SELECT wallet_id, min(version) AS first_waiting
		  FROM event WHERE NOT applied GROUP BY wallet_id
	), expected AS (
		SELECT wallet_id, initial + credits - debits AS current_balance,
		       debits AS total_debits, credits AS total_credits,
		       transactions AS transaction_count, last_applied, first_waiting
		  FROM sums LEFT JOIN waiting USING (wallet_id)
	)
	SELECT coalesce(x.wallet_id, b.wallet_id) AS wallet_id,
	       concat_ws(' ', x.current_balance, x.total_debits, x.total_credits,
	                 x.transaction_count) AS expected,
	       concat_ws(' ', b.current_balance, b.total_debits, b.total_credits,
	                 b.transaction_count) AS found,
	       x.last_applied > x.first_waiting AS disordered,
	       b.current_balance < 0 AND w.commands_only AS overdrawn
	  FROM expected x FULL JOIN wallet_balances b ON b.wallet_id = x.wallet_id
	  LEFT JOIN torture.wallet w ON w.id = b.wallet_id
	 WHERE (b.current_balance, b.total_debits, b.total_credits, b.transaction_count)
	       IS DISTINCT FROM
	       (x.current_balance, x.total_debits, x.total_credits, x.transaction_count)
	    OR x.last_applied > x.first_waiting
	    OR b.current_balance < 0 AND w.commands_only
	 ORDER BY 1);

sub check
{
	my ($session) = @_;
	my @differences;

	$session->execute('BEGIN ISOLATION LEVEL REPEATABLE READ');
	# before the snapshot: TRUNCATE, which a reset uses, is not of a snapshot
	$session->execute('LOCK TABLE wallet_balances IN ACCESS SHARE MODE');
	@differences = $session->rows($differences);
	$session->fail(describe($session, @differences)) if @differences;
	$session->execute('COMMIT');
	return;
}

# What differs, seen by the same snapshot.
sub describe
{
	my ($session, @differences) = @_;
	my $text = sprintf("%d wallets are not what their positions say\n",
		scalar(@differences));

	splice(@differences, WALLETS_SHOWN) if @differences > WALLETS_SHOWN;
	foreach my $difference (@differences)
	{
		my $wallet = $difference->{wallet_id};

		$text .= "wallet $wallet: expected ($difference->{expected}),"
		  . " found ($difference->{found})"
		  . ($difference->{disordered} ? ', not in order' : '')
		  . ($difference->{overdrawn} ? ', overdrawn' : '') . "\n"
		  . position($session, $wallet)
		  . events($session, $wallet);
	}
	return $text;
}

sub position
{
	my ($session, $wallet) = @_;
	my ($partition, $head, $gaps) = $session->query(
		q(SELECT p.partition, p.head, left(p.gaps::text, 300)
		    FROM projection_partitions p
		    JOIN torture.wallet w ON p.partition = mod(w.hash,
		         (SELECT count(*) FROM projection_partitions q WHERE q.projection = p.projection))
		   WHERE p.projection = 'wallet_balance' AND w.id = ?), $wallet);

	return "  partition $partition, head $head, gaps $gaps\n";
}

sub events
{
	my ($session, $wallet) = @_;
	my @events = reverse $session->rows(
		"SELECT * FROM ($event) e WHERE wallet_id = ?
		 ORDER BY version DESC LIMIT " . EVENTS_SHOWN, $wallet);

	return join('',
		map {
			sprintf("  no %d version %d %s %s%s\n",
				@{$_}{qw(no version name)}, $_->{amount} // '',
				$_->{applied} ? '' : ' (not applied)')
		} @events);
}

1;
