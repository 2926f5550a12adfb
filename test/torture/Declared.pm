# The declared projections of the test, beside the native one over the same
# stream, and what their read models must be in the end.
#
# by_wallet     a row per wallet, ordered by what the stream's unique index proves
# in_order      a row per event name and size, by number: writers of a key overlap,
#               so the chain of its numbers shows any that came too early
# as_they_come  the same by arrival, without the chain: sums commute

package Declared;

use strict;
use warnings;

use Exporter qw(import);
our @EXPORT_OK = qw(declared);

sub declared
{
	return qw(by_wallet in_order as_they_come);
}

my $amount = q(coalesce(e.payload->>'amount', e.payload->>'initialBalance')::numeric);
my $is_wallet = q(e.aggregate_type = 'Wallet');
my $key = qq(c.name = e.event_name AND c.size = CASE WHEN $amount < 10 THEN 10 ELSE 100 END);
my $values = qq(e.event_name, CASE WHEN $amount < 10 THEN 10 ELSE 100 END);

my @tables = (
	q(CREATE FUNCTION torture.link(text, bigint) RETURNS text LANGUAGE sql IMMUTABLE STRICT
	  RETURN md5($1 || $2)),
	q(CREATE AGGREGATE torture.chain(bigint) (sfunc = torture.link, stype = text, initcond = '')),
	q(CREATE TABLE torture.by_wallet (wallet_id text COLLATE "C" PRIMARY KEY, balance numeric NOT NULL,
	  transactions integer NOT NULL, chain text NOT NULL)),
	q(CREATE TABLE torture.in_order (name text, size integer, events bigint NOT NULL, total numeric, chain text NOT NULL,
	  PRIMARY KEY (name, size))),
	q(CREATE TABLE torture.as_they_come (name text, size integer, events bigint NOT NULL, total numeric,
	  PRIMARY KEY (name, size))));

my %definitions = (
	by_wallet => qq(
		MERGE INTO torture.by_wallet b USING wallet_stream e ON b.wallet_id = e.aggregate_id
		WHEN NOT MATCHED AND e.event_name = 'WalletWasCreated' AND $is_wallet THEN
			INSERT VALUES (e.aggregate_id, $amount, 0, torture.link('', e.no))
		WHEN MATCHED AND $is_wallet AND e.event_name = 'WalletWasDebited' THEN
			UPDATE SET balance = b.balance - $amount, transactions = b.transactions + 1, chain = torture.link(b.chain, e.no)
		WHEN MATCHED AND $is_wallet AND e.event_name = 'WalletWasCredited' THEN
			UPDATE SET balance = b.balance + $amount, transactions = b.transactions + 1, chain = torture.link(b.chain, e.no)),
	in_order => qq(
		MERGE INTO torture.in_order c USING wallet_stream e ON $key
		WHEN MATCHED THEN UPDATE SET events = c.events + 1, total = c.total + $amount, chain = torture.link(c.chain, e.no)
		WHEN NOT MATCHED THEN INSERT VALUES ($values, 1, $amount, torture.link('', e.no))),
	as_they_come => qq(
		INSERT INTO torture.as_they_come AS c SELECT $values, 1, $amount FROM wallet_stream e
		ON CONFLICT (name, size) DO UPDATE SET events = c.events + 1, total = c.total + excluded.total));

my %ordering = (by_wallet => 'NULL', in_order => "'number'", as_they_come => "'arrival'");

sub set_up
{
	my ($session) = @_;

	$session->execute($_) foreach (@tables);
	foreach my $name (declared())
	{
		$session->query("SELECT projection_create(?, ?, ordering => $ordering{$name})",
			$name, $definitions{$name});
		$session->query(q(SELECT projection_set(?, 'batch_size', '200')), $name);
	}
	return;
}

# What must find nothing in the end: a name and a query each.
sub checks
{
	my $sums = qq(SELECT $values, count(*), sum($amount) FROM wallet_stream e GROUP BY 1, 2);
	my $chained = $sums =~ s/ FROM /, torture.chain(no ORDER BY no) FROM /r;

	return (
		'by wallet: rows are those of the events, in their order', q(
			SELECT * FROM (
				SELECT aggregate_id AS wallet_id, sum(CASE event_name WHEN 'WalletWasDebited' THEN -a ELSE a END) AS balance,
				       count(*) - 1 AS transactions, torture.chain(no ORDER BY no) AS chain
				  FROM wallet_stream, LATERAL (SELECT coalesce(payload->>'amount', payload->>'initialBalance')::numeric) x (a)
				 WHERE aggregate_type = 'Wallet' AND event_name ~ 'Created|Debited|Credited' GROUP BY 1) e
			  FULL JOIN torture.by_wallet b USING (wallet_id)
			 WHERE (e.balance, e.transactions, e.chain) IS DISTINCT FROM (b.balance, b.transactions, b.chain)),
		'by number: rows are those of the events, in their order',
		"(($chained) EXCEPT TABLE torture.in_order) UNION ALL (TABLE torture.in_order EXCEPT ($chained))",
		'by arrival: rows are those of the events',
		"(($sums) EXCEPT TABLE torture.as_they_come) UNION ALL (TABLE torture.as_they_come EXCEPT ($sums))");
}

1;
