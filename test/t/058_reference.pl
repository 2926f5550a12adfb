# doc/reference.md has every function, view, column, option, setting and error,
# and no other; everything in the catalog has a comment (test/reference).
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest;

my $root = "$FindBin::RealBin/../..";
my $node = worker_node('reference');

local %ENV = %ENV;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
# which pg_config the server was installed with
$ENV{PG_CONFIG} //= $node->config_data('--bindir') . '/pg_config';

my $said = `$root/test/reference 2>&1`;

is($said, '', 'doc/reference.md and comments are as the catalog and the source');
is($?, 0, 'and the comparison ends well');

# A picture has a source, and the other way round; a link leads somewhere.
is(`$root/test/pictures --check 2>&1`, '', 'pictures are drawn from their sources');
is(join("\n", broken_links()), '', 'links lead to files and headings that are there');
$node->stop;
done_testing();

sub broken_links
{
	my @broken;

	foreach my $file ("$root/README.md", glob("$root/doc/*.md"))
	{
		my $directory = $file =~ s,/[^/]*$,,r;
		my $text = slurp_file($file);

		foreach my $target ($text =~ /\]\(([^)#]+)(?:#[^)]*)?\)/g)
		{
			push @broken, "$file: $target"
			  unless $target =~ /^https?:/ || -e "$directory/$target";
		}
		# pages name each other as `page.md`, "Heading"
		while ($text =~ /`(\w[\w-]*\.md)`(?:, "([^"]+)")?/g)
		{
			my ($page, $heading) = ($1, $2);
			my $path = "$root/doc/$page";

			# there is one in each folder
			next if $page eq 'README.md';
			if (!-e $path)
			{
				push @broken, "$file: $page" unless $file =~ m,/(?:from-\w+|comparison)\.md$,;
			}
			elsif (defined $heading && slurp_file($path) !~ /^#+ \Q$heading\E$/m)
			{
				push @broken, "$file: $page has no heading \"$heading\"";
			}
		}
	}
	return @broken;
}
