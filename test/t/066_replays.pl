# Keys and events are parked, mended and tried again in any order, by one call
# or another: events whose key cannot be computed, and events that fail, of few
# keys.  Whatever was done, projection_verify finds nothing wrong; and once all
# is mended and tried again, each row has each of its events, once.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest;

my $rounds = $ENV{REPLAYS_ROUNDS} // 200;
my $seed = $ENV{REPLAYS_SEED} // time;
diag "REPLAYS_SEED=$seed";
my $node = new_node('replays');

$node->safe_psql('postgres', 'CREATE EXTENSION wallet_projection');

sub one_of
{
	return $_[ rand @_ ];
}

# A row with its events, in order; "?" before a key, and "bad" before a number are to be mended.
my $begin = <<'SQL';
SET client_min_messages = error;
CREATE TABLE events (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k text, k2 text, n text);
CREATE TABLE rows (k int PRIMARY KEY, n int, seen text);
SELECT projection_create('rows', $$MERGE INTO rows r
	USING (SELECT e.no, e.n, x::int AS k FROM events e, LATERAL unnest(ARRAY[e.k, e.k2]) AS x WHERE x IS NOT NULL) e ON r.k = e.k
	WHEN NOT MATCHED THEN INSERT VALUES (e.k, e.n::int, e.no::text)
	WHEN MATCHED THEN UPDATE SET n = r.n + e.n::int, seen = r.seen || ' ' || e.no$$, ordering => 'arrival', partitions => %d);
SELECT projection_set('rows', 'max_attempts', '1'), projection_set('rows', 'max_parked', '1000');
SQL
my $mend = <<'SQL';
UPDATE events SET k = ltrim(k, '?'), k2 = ltrim(k2, '?') WHERE k || coalesce(k2, '') LIKE '%%?%%' AND no %% %d = 0;
UPDATE events SET n = substr(n, 4) WHERE n LIKE 'bad%%' AND no %% %d = 0;
SQL
my $wrong = <<'SQL';
SELECT 'wrong: ' || concat_ws(', ', coalesce(r.k, o.k), r.seen, o.seen, r.n, o.n)
  FROM rows r FULL JOIN (SELECT x::int AS k, sum(n::int) AS n, string_agg(no::text, ' ' ORDER BY no) AS seen
                           FROM events, unnest(ARRAY[k, k2]) x WHERE x IS NOT NULL GROUP BY 1) o ON o.k = r.k
 WHERE r.k IS NULL OR o.k IS NULL OR r.seen <> o.seen OR r.n <> o.n;
SQL
my $verify = "SELECT 'wrong: ' || v FROM projection_verify('rows') v;\n";
my $end = <<'SQL';
SELECT projection_drop('rows');
SELECT stream_detach(name) FROM wallet_projection.stream WHERE name LIKE '%events';
DROP TABLE events, rows;
SQL

# Some events of keys up to so many.
sub insert
{
	my ($keys, $unknown, $bad) = @_;
	my $key = sub { (rand() < $unknown ? '?' : '') . (1 + int rand $keys) };

	return 'INSERT INTO events (k, k2, n) VALUES ' . join(', ', map {
		my $second = rand() < 0.2 ? "'" . $key->() . "'" : 'NULL';
		sprintf "('%s', %s, '%s%d')", $key->(), $second, rand() < $bad ? 'bad' : '', 1 + int rand 9
	} 0 .. rand 5) . ";\n";
}

my @steps = (
	sub { "SELECT projection_run('rows');\n" },
	sub { sprintf $mend, 1 + rand 3, 1 + rand 3 },
	sub { "SELECT dead_letter_replay(id) FROM projection_dead_letters ORDER BY md5(id || '" . rand() . "') LIMIT 1;\n" },
	sub { "SELECT dead_letter_replay_all('rows');\n" },
	sub { "CALL projection_rebuild('rows'" . one_of('', ', ' . quoted(1 + int rand 4)) . ");\n" },
	sub { $verify });

sub quoted
{
	return "'$_[0]'";
}

# One round's statements.
sub script
{
	my @like = (1 + int(rand 4), one_of(0.2, 0.4, 0.6), one_of(0.1, 0.3, 0.5));
	my $script = sprintf $begin, one_of(1, 2, 5);

	$script .= rand() < 0.4 ? insert(@like) : one_of(@steps)->() foreach 1 .. one_of(4, 8, 20, 60);
	$script .= "SELECT projection_run('rows');\n" . sprintf($mend, 1, 1) . "SELECT projection_run('rows');\n";
	$script .= "SELECT dead_letter_replay_all('rows');\n$verify";
	$script .= "CALL projection_rebuild('rows');\n";
	return "$script$wrong${verify}SELECT 'wrong: ' || d FROM projection_dead_letters d;\n$end";
}

foreach my $round (1 .. $rounds)
{
	srand($seed + $round);
	my $script = script();
	my ($out, $err) = ('', '');

	$node->psql('postgres', $script, stdout => \$out, stderr => \$err, on_error_stop => 0);
	next if $out !~ /wrong/ && $err !~ /ERROR/;
	fail("round $round");
	diag "REPLAYS_SEED=@{[$seed + $round - 1]} REPLAYS_ROUNDS=1\n" . join("\n", grep { /wrong|ERROR/ } split /\n/, "$out\n$err");
	last;
}
pass("$rounds rounds");
$node->stop;
done_testing();
