# Rebuilds beside live work: exactly the rows that differed are written, in one pass
# and while a writer is open; two projections of a declaratively partitioned stream, a
# key that is parked, a read model that was emptied; events are applied in the meantime
# within a second; a reset of what runs shows nobody an empty table.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT query);

my $node = worker_node('rebuild_more', 'fsync = off',
	'max_worker_processes = 16', "wallet_projection.poll_interval = '100ms'");

query('CREATE EXTENSION wallet_projection');
query(<<'SQL');
CREATE TABLE sale (id bigserial, k int, amount text NOT NULL, day int NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM (0) TO (10);
CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM (10) TO (20);
CREATE TABLE summed (k int PRIMARY KEY, n int NOT NULL, total bigint NOT NULL);
CREATE TABLE counted (k int PRIMARY KEY, n int NOT NULL);
SELECT stream_attach('sale', 'sale', guard => 'trust');
SELECT projection_create('summed', $$MERGE INTO summed c USING sale e ON c.k = e.k
	WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1, e.amount::int)
	WHEN MATCHED THEN UPDATE SET n = c.n + 1, total = c.total + e.amount::int$$, partitions => 4, ordering => 'arrival');
SELECT projection_create('counted', $$MERGE INTO counted c USING sale e ON c.k = e.k
	WHEN NOT MATCHED THEN INSERT VALUES (e.k, 1)
	WHEN MATCHED THEN UPDATE SET n = c.n + 1$$, ordering => 'arrival');
SELECT projection_set('summed', 'max_parked', '100'), projection_set('summed', 'retry_delay', '1 hour'), projection_set('summed', 'retry_max_delay', '1 hour');
INSERT INTO sale (k, amount, day) SELECT i % 2000, i, i % 20 FROM generate_series(1, 20000) i;
SELECT projection_start('summed'), projection_start('counted');
CREATE FUNCTION written(OUT n bigint) LANGUAGE sql AS $$
	SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'summed' $$;
SQL
query("SELECT projection_wait('$_', '60 s')") foreach qw(summed counted);

# Statistics come when the session that has written is idle or gone.
sub written
{
	my $before = -1;
	my $now;

	while (($now = query('SELECT written()')) != $before)
	{
		$before = $now;
		query('SELECT pg_sleep(1.2)');
	}
	return $now;
}

sub right
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(query("SELECT projection_wait('$_', '60 s')") eq 't', "$name: $_ has applied all")
	  foreach qw(summed counted);
	is(query("SELECT count(*) FROM projection_verify('$_')"), '0', "$name: $_ is right")
	  foreach qw(summed counted);
	return;
}

# exactly those that differ
query('UPDATE summed SET total = -1 WHERE k < 70; DELETE FROM summed WHERE k BETWEEN 70 AND 79; INSERT INTO summed VALUES (-1, 1, 1), (-2, 1, 1)');
my $before = written();
query("CALL projection_rebuild('summed')");
is(written() - $before, 82, 'as many rows were written as differed');
$before = written();
query("CALL projection_rebuild('summed')");
is(written() - $before, 0, 'and none where none does');
right('tampered rows');

# a writer that is open: its number is a gap
my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; INSERT INTO sale (k, amount, day) VALUES (1, '1000', 1)");
query("INSERT INTO sale (k, amount, day) VALUES (1, '5', 12)");
$node->poll_query_until('postgres', 'SELECT (SELECT n FROM summed WHERE k = 1) = (SELECT count(*) FROM sale WHERE k = 1)');
query('UPDATE summed SET total = -1 WHERE k < 3');
query("CALL projection_rebuild('summed')");
is(query("SELECT count(*) FROM projection_verify('summed')"), '0', 'right beside a gap');
$writer->query_safe('COMMIT');
$writer->quit;
right('the gap was filled');

# a key that is parked, which can be applied by now
query("INSERT INTO sale (k, amount, day) VALUES (5, 'much', 1), (5, '1', 1), (6, 'more', 1)");
$node->poll_query_until('postgres', 'SELECT count(*) = 2 FROM wallet_projection.parked');
query("UPDATE sale SET amount = '3' WHERE amount = 'much'; UPDATE summed SET total = -1 WHERE k IN (5, 6, 7)");
query("CALL projection_rebuild('summed')");
is(query('SELECT partition_key FROM wallet_projection.parked'), '6', 'one key is free again');
right('parked keys');
query('UPDATE summed SET total = -1 WHERE k IN (5, 6, 7)');
query("SELECT projection_reset('summed')");
is(query('SELECT partition_key FROM wallet_projection.parked'), '6', 'a reset parks the other one anew');
right('a reset with a parked key');
query("UPDATE sale SET amount = '3' WHERE amount = 'more'");
query("CALL projection_rebuild('summed')");
is(query('SELECT count(*) FROM wallet_projection.parked'), '0', 'none is parked any more');

# under load: how long does an event take to be seen in the other projection's and in
# this one's row, and is the table ever empty?
query(<<'SQL');
CREATE TABLE seen (rows bigint, lag double precision);
CREATE PROCEDURE watch(seconds int) LANGUAGE plpgsql AS $$
DECLARE
    ends timestamptz := clock_timestamp() + make_interval(secs => seconds);
    began timestamptz;
    wanted int := 0;
BEGIN
    WHILE clock_timestamp() < ends LOOP
        wanted := wanted + 1;
        INSERT INTO sale (k, amount, day) VALUES (-7, '1', wanted % 20);
        COMMIT;
        began := clock_timestamp();
        LOOP
            EXIT WHEN (SELECT n FROM summed WHERE k = -7) >= wanted OR clock_timestamp() > began + interval '20 s';
            PERFORM pg_sleep(0.002);
            COMMIT;
        END LOOP;
        INSERT INTO seen SELECT count(*), extract(epoch FROM clock_timestamp() - began) FROM summed;
        COMMIT;
    END LOOP;
END $$;
SQL
my $load = start_load($node, 2, sell => "\\set k random(0, 1999)\nINSERT INTO sale (k, amount, day) VALUES (:k, '1', :k % 20);\n");
my $reader = start_client($node, 'psql', '-X', '-c', 'CALL watch(6)', '-d');
for (1 .. 5)
{
	query('UPDATE summed SET total = -1 WHERE k >= 0 AND random() < 0.5; UPDATE counted SET n = -1 WHERE random() < 0.1');
	query("CALL projection_rebuild('$_')") foreach qw(summed counted);
}
$reader->finish;
is(query('SELECT count(*) FROM seen WHERE rows < 2000'), '0', 'the table is never empty');
my $lag = query('SELECT max(lag) FROM seen');
note("lag at most $lag s, of " . query('SELECT count(*) FROM seen') . ' events');
cmp_ok($lag, '<', $ENV{WALLET_SLOW} ? 10 : 1, 'each event is applied within a second');

# resets of what runs
query('DELETE FROM seen');
$reader = start_client($node, 'psql', '-X', '-c', 'CALL watch(3)', '-d');
query("SELECT projection_reset('summed')") foreach 1 .. 3;
$reader->finish;
is(query('SELECT count(*) FROM seen WHERE rows < 2000'), '0', 'nor is it while the projection is reset');

# an emptied read model: one rebuild is enough, whatever batches have done meanwhile
query('TRUNCATE summed, counted');
query("CALL projection_rebuild('$_')") foreach qw(summed counted);
stop_writers($node, $load);
is(query('SELECT count(*) FROM wallet_projection.parked'), '0', 'no key stays parked');
right('an emptied read model');

# an event after which the row breaks a constraint fails again, though the event after it would mend the row
query("ALTER TABLE summed ADD CHECK (total < 1000000000)");
query("INSERT INTO sale (k, amount, day) SELECT -8, unnest('{1,2000000000,-1999999999}'::text[]), 1");
my $parked = q(SELECT partition_key, sqlstate, waiting FROM wallet_projection.parked);
$node->poll_query_until('postgres', "$parked WHERE waiting = 1", '-8|23514|1') or die 'the event does not fail';
query("SELECT projection_reset('summed')");
is(query($parked), '-8|23514|1', 'a reset leaves a key at the event that breaks a constraint');
is(query('SELECT n, total FROM summed WHERE k = -8'), '1|1', 'with the row as it was before');
right('a reset with an event that breaks a constraint');

# a BEFORE trigger sees each event of a row: it has to see all of them again
query(<<'SQL');
ALTER TABLE counted ADD seen int NOT NULL DEFAULT 0;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := NEW.seen + 1; RETURN NEW; END $$;
CREATE TRIGGER see BEFORE INSERT OR UPDATE ON counted FOR EACH ROW EXECUTE FUNCTION see();
SQL
query("SELECT projection_reset('counted')");
is(query("SELECT projection_wait('counted', '60 s')"), 't', 'a reset of what has a trigger');
is(query('SELECT count(*) FROM counted c FULL JOIN (SELECT k, count(*) AS n FROM sale GROUP BY k) s USING (k) WHERE (c.n, c.seen) IS DISTINCT FROM (s.n::int, s.n::int)'),
	'0', 'which has seen each event');

done_testing();
