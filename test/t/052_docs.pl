# The README and the pages of doc/ show what is true: their statements run, in
# order, with background workers, and print what is shown (test/docs).
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $root = "$FindBin::RealBin/../..";
my $node = worker_node('docs', 'max_worker_processes = 16',
	"wallet_projection.poll_interval = '200ms'", 'autovacuum = on', 'max_prepared_transactions = 4');

local %ENV = %ENV;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
# installcheck has switched this off for the other tests
delete $ENV{PGOPTIONS};
# as somebody has it who follows the page
$ENV{PGCLIENTENCODING} = 'UTF8';

foreach my $file ("$root/README.md", sort glob("$root/doc/*.md"))
{
	my $said = `$root/test/docs $file 2>&1`;

	is($said, '', ($file =~ s,.*/,,r) . ' shows what psql prints');
	is($?, 0, 'and ends well');
	is(join(' ', grep { !-e "$root/$_" } files_named(slurp_file($file))), '', 'the tests that it names are there');
}
$node->stop;
done_testing();

# The tests that a text names, by their paths from the root directory.
sub files_named
{
	my ($text) = @_;

	return $text =~ m,\b(test/(?:t|sql|isolation/specs)/\w+\.(?:pl|sql|spec)),g;
}
