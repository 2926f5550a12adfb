# Databases in other encodings than UTF-8.  An id is on the same partition in
# each of them, also one that has no characters in UTF-8 is applied like any
# other, and what is said of it reaches every client.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WalletTest qw(:DEFAULT);

# the bytes, in UTF-8, of ids that have characters; ids that have none
my %convertible = (
	UTF8 => [ 'c3a9', '636166c3a9' ],
	LATIN1 => [ 'c3a9', '636166c3a9' ],
	WIN1252 => [ 'c3a9', '636166c3a9' ],
	SQL_ASCII => [ 'c3a9', '636166c3a9' ],
	EUC_JP => [],
	MULE_INTERNAL => []);
my %odd = (
	UTF8 => [],
	LATIN1 => [],
	WIN1252 => [ '\x81', 'caf\x81' ],
	SQL_ASCII => [ 'caf\xe9', '\xff\xfe' ],
	EUC_JP => [ '\xf9\xa1', 'caf\xf9\xa1' ],
	MULE_INTERNAL => [ '\x81\xe9', 'caf\x81\xe9' ]);
my $bad = q('[{"event_name": "WalletWasCredited", "payload": {"amount": "bad"}}]');
my $node = worker_node('encodings', "wallet_projection.poll_interval = '100ms'",
	'wallet_projection.workers = 1', 'max_worker_processes = 20');
my %partitions;

sub in_database
{
	my ($encoding, $query) = @_;

	return $node->safe_psql(lc $encoding, $query);
}

# As a client that wants UTF-8; what it is told.
sub as_client
{
	my ($encoding, $statement) = @_;
	my ($status, $out, $err) = $node->psql(lc $encoding,
		"SET client_encoding = 'UTF8'; $statement", on_error_stop => 1);

	return "$out $err";
}

sub try_encoding
{
	my ($encoding) = @_;
	my $ids = join ', ', "('plain')", "('0123456789abcdef')",
	  (map { "(convert_from('\\x$_', 'UTF8'))" } @{ $convertible{$encoding} }),
	  map { "(E'$_')" } @{ $odd{$encoding} };
	my $count = 2 + @{ $convertible{$encoding} } + @{ $odd{$encoding} };

	$node->safe_psql('postgres',
		"CREATE DATABASE \"\L$encoding\E\" ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	install($node, lc $encoding, partitions => 1024, max_attempts => 1);
	in_database($encoding,
		"CREATE TABLE id (n serial, id text); INSERT INTO id (id) VALUES $ids;"
		  . 'SELECT wallet_create(id, 5) FROM id; SELECT wallet_credit(id, 2) FROM id');
	caught_up($node, $encoding, lc $encoding);

	my $listener = $node->background_psql(lc $encoding);

	$listener->query_safe('LISTEN wallet_projection_dead_letter');
	$listener->query_safe("SET client_encoding = 'UTF8'") if $encoding ne 'MULE_INTERNAL';
	in_database($encoding,
		"SELECT stream_append('wallet_stream', 'Wallet', id, $bad) FROM id");
	$node->poll_query_until(lc $encoding,
		"SELECT sum(dead_letters) = $count FROM projection_status") or die;
	my $told = $listener->query('SELECT 1');
	is(() = $told =~ /"partition_key": "[ -~]+", "no"/g, $count, "$encoding: dead letters are announced, in ASCII")
	  or diag $told;
	$listener->quit;
	is(in_database($encoding, 'SELECT current_balance FROM wallet_balances GROUP BY 1'),
		'7.0000', "$encoding: the others' events are applied");
	$partitions{$encoding} = [ split /\n/, in_database($encoding,
			'SELECT p.partition FROM id i JOIN wallet_projection.parked p ON p.partition_key = i.id ORDER BY i.n') ];
	is(scalar @{ $partitions{$encoding} }, $count, "$encoding: each key is parked");

	# plain ids first, then those that have characters
	my $same = 2 + @{ $convertible{$encoding} };

	is_deeply(
		[ @{ $partitions{$encoding} }[ 0 .. $same - 1 ] ],
		[ @{ $partitions{UTF8} }[ 0 .. $same - 1 ] ],
		"$encoding: ids are on the partitions where they are in UTF-8");
	return;
}

# What a person does about the odd ids, as a client that has no such characters.
sub try_client
{
	my ($encoding) = @_;
	my $told = as_client($encoding,
		'SELECT bool_or(dead_letter_replay(id)) FROM projection_dead_letters');

	like($told, qr/^f .*WARNING:  an event of "(caf)?\?+" fails/m, "$encoding: a warning is no error");
	unlike($told, qr/ERROR/, "$encoding: nor does it become one");
	return;
}

# the last is no encoding of PostgreSQL 19's
try_encoding($_) foreach 'UTF8', 'LATIN1', 'WIN1252', 'EUC_JP', 'SQL_ASCII',
  $node->safe_psql('postgres', "SELECT pg_char_to_encoding('MULE_INTERNAL')") >= 0 ? 'MULE_INTERNAL' : ();
is_deeply($partitions{UTF8}, [ 841, 222, 284, 121 ], 'these partitions never change');
try_client($_) foreach 'WIN1252', 'EUC_JP', 'SQL_ASCII';

# an id in the error of a whole batch
my $wide = 'WIN1252';

in_database($wide, q(SELECT dead_letter_delete(id) FROM projection_dead_letters;
	SELECT projection_set('wallet_balance', 'max_parked', '0');)
	  . "SELECT stream_append('wallet_stream', 'Wallet', chr(129), $bad)");
$node->poll_query_until(lc $wide, "SELECT state = 'failed' FROM projection_status") or die;
like(in_database('UTF8', "SELECT last_error FROM projection_workers WHERE database = 'win1252'"),
	qr/to Wallet "\?"/, 'an error of another database can be shown');
like(as_client($wide, 'SELECT state, last_error FROM projection_status'),
	qr/^failed\|.*to Wallet "\?"/m, 'the status can be read by a client that has no such character');
in_database($wide, "SELECT projection_stop('wallet_balance')");
my $told = as_client($wide, "CALL projection_consume('async_projection', time_limit => '0.1 s')");
like($told, qr/WARNING: .*to Wallet "\?"/, 'projection_consume warns of it');
unlike($told, qr/ERROR/, 'and goes on');

$node->stop;
done_testing();
