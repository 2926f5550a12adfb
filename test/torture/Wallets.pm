# The wallets of the test, and to which partition each belongs.
#
# c-N    touched by the wallet's commands alone
# m-N    touched by everybody
# s-N    touched by one writer, in short transactions
# d-N    made by all writers at once, by the same call
# and those with a UUID for a name, made by wallet_create(initial_balance).

package Wallets;

use strict;
use warnings;
use utf8;
no warnings qw(portable);

use Encode qw(encode_utf8);

use Exporter qw(import);
our @EXPORT_OK = qw(hot_wallet cold_wallet duel_wallet sprint_wallet
  all_wallets partition_hash HOT_WALLETS DUELS_PER_SECOND);

use constant HOT_WALLETS => 3;
use constant DUELS_PER_SECOND => 2;

sub hot_wallet
{
	my ($kind, $number) = @_;
	return "$kind-hot-$number";
}

# Some have names that need quoting, that are long, or that look empty.
sub cold_wallet
{
	my ($kind, $number) = @_;
	my %odd = (7 => q( "it's" \\ %s), 8 => 'ключ' x 60,
		9 => ' ' x 200, 10 => "\x{1F600}\x{0301}\x{200B} ", 11 => '$1 %s {} NULL""');

	return "$kind-$number" . ($odd{ $number % 40 } // '');
}

sub sprint_wallet
{
	my ($writer) = @_;
	return "s-$writer";
}

sub duel_wallet
{
	my ($number) = @_;
	return "d-$number";
}

# All whose names are known beforehand.
sub all_wallets
{
	my ($cold, $duels, $writers) = @_;

	return (
		(map { hot_wallet('c', $_), hot_wallet('m', $_) }
			  0 .. HOT_WALLETS - 1),
		(map { cold_wallet('c', $_), cold_wallet('m', $_) } 0 .. $cold - 1),
		(map { duel_wallet($_) } 0 .. $duels - 1),
		(map { sprint_wallet($_) } 0 .. $writers - 1));
}

sub mix
{
	my ($hash) = @_;

	$hash ^= $hash >> 32;
	{
		use integer;
		$hash *= 0xD6E8FEB86659FD93;
	}
	$hash = unpack('Q', pack('q', $hash));
	return $hash ^ ($hash >> 32);
}

# The hash of a partition key, which must never change.  Its remainder by the
# number of partitions is the partition.
sub partition_hash
{
	my $key = encode_utf8(shift);
	my $hash = 0x8F5D3B2A17C4E961 ^ length($key);

	# the last word is filled up with zeros, and there always is one
	$key .= "\0" x (8 - length($key) % 8);
	$hash = mix($hash ^ $_) foreach (unpack('Q<*', $key));
	return mix($hash);
}

1;
