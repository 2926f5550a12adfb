# Workers that have nothing else to do compare rows with their events
# (verify_rate): what somebody has changed, deleted or added is found, logged
# once, and forgotten when it is right again.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $node = worker_node('self_check', "wallet_projection.poll_interval = '100ms'");
my $drift = "SELECT drift FROM projection_status WHERE projection = 'totals'";

sub drift_becomes
{
	my ($expected, $name) = @_;

	ok($node->poll_query_until('postgres', "SELECT ($drift) IS NOT DISTINCT FROM $expected"), $name);
	return;
}

$node->safe_psql('postgres', q(
	CREATE EXTENSION wallet_projection;
	CREATE TABLE sales (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text, amount int);
	CREATE INDEX ON sales (shop);
	CREATE TABLE totals (shop text PRIMARY KEY, total int);
	SELECT projection_create('totals', 'MERGE INTO totals t USING sales e ON t.shop = e.shop
		WHEN NOT MATCHED THEN INSERT VALUES (e.shop, e.amount)
		WHEN MATCHED THEN UPDATE SET total = t.total + e.amount');
	INSERT INTO sales (shop, amount) SELECT 'shop ' || i % 20, i FROM generate_series(1, 200) i;
	SELECT projection_wait('totals', '60 s')));
is($node->safe_psql('postgres', "SELECT value FROM projection_options WHERE projection = 'totals' AND option = 'verify_rate'"),
	'0', 'nothing is compared unless somebody wants it');
$node->safe_psql('postgres', "SELECT projection_set('totals', 'verify_rate', '2000')");

# changed, then mended
$node->safe_psql('postgres', "UPDATE totals SET total = total + 1 WHERE shop = 'shop 3'");
drift_becomes("'shop 3'", 'a changed row is found');
$node->safe_psql('postgres', 'SELECT pg_sleep(1)');
is(() = slurp_file($node->logfile) =~ /is not what its events say/g, 1, 'and logged once');
$node->safe_psql('postgres', "UPDATE totals SET total = total - 1 WHERE shop = 'shop 3'");
drift_becomes('NULL', 'and forgotten when it is right again');

# deleted, and added
$node->safe_psql('postgres', "DELETE FROM totals WHERE shop = 'shop 4'");
drift_becomes("'shop 4'", 'a missing row is found');
$node->safe_psql('postgres', "CALL projection_rebuild('totals')");
drift_becomes('NULL', 'a rebuild mends it');
$node->safe_psql('postgres', "INSERT INTO totals VALUES ('nobody', 1)");
drift_becomes("'nobody'", 'a surplus row is found');
$node->safe_psql('postgres', "DELETE FROM totals WHERE shop = 'nobody'");
drift_becomes('NULL', 'and forgotten when it is gone');

# while events come in, nothing that is right is found different
$node->safe_psql('postgres', q(
	DO $$ BEGIN
		FOR i IN 1 .. 300 LOOP
			INSERT INTO sales (shop, amount) VALUES ('shop ' || i % 20, i);
			COMMIT;
			PERFORM pg_sleep(0.005);
		END LOOP;
	END $$));
is($node->safe_psql('postgres', "SELECT projection_wait('totals', '60 s'), ($drift) IS NULL"), 't|t',
	'nothing is wrong while events come in');

# without an index nothing is compared, and the log says so
$node->safe_psql('postgres', 'DROP INDEX sales_shop_idx');
$node->wait_for_log(qr/Option verify_rate needs an index of the stream on the key/);
$node->safe_psql('postgres', "UPDATE totals SET total = 0 WHERE shop = 'shop 3'; SELECT pg_sleep(1)");
drift_becomes('NULL', 'nothing is compared without an index');
$node->safe_psql('postgres', 'CREATE INDEX ON sales (shop)');
drift_becomes("'shop 3'", 'and goes on with one');
$node->stop;
done_testing();
