# Whatever stands in other schemas, the extension's views, constraints,
# defaults and SQL functions use what is in pg_catalog, and nothing else.
#
# Names are looked up when the script runs, and a better fit elsewhere is taken
# without a word.  So in the script everything is qualified, and nothing needs a
# cast that is not written; what the server has made of it is looked at here
# call by call.  Then the owner of a database prepares the ground.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WalletTest qw(:DEFAULT query);

my $node = new_node('exact');
query('CREATE EXTENSION wallet_projection');

# Expressions as the server keeps them

# what the type of a node's value is called in it
my %type_field = (
	VAR => 'vartype', CONST => 'consttype', PARAM => 'paramtype', AGGREF => 'aggtype',
	WINDOWFUNC => 'wintype', FUNCEXPR => 'funcresulttype', OPEXPR => 'opresulttype',
	DISTINCTEXPR => 'opresulttype', NULLIFEXPR => 'opresulttype', RELABELTYPE => 'resulttype',
	COERCEVIAIO => 'resulttype', ARRAYCOERCEEXPR => 'resulttype', COERCETODOMAIN => 'resulttype',
	CASEEXPR => 'casetype', CASE => 'casetype', CASETESTEXPR => 'typeId', ARRAYEXPR => 'array_typeid',
	ARRAY => 'array_typeid', ROWEXPR => 'row_typeid', ROW => 'row_typeid',
	COALESCEEXPR => 'coalescetype', COALESCE => 'coalescetype', MINMAXEXPR => 'minmaxtype',
	MINMAX => 'minmaxtype', SQLVALUEFUNCTION => 'type', FIELDSELECT => 'resulttype');
my %is_boolean = map { $_ => 1 } qw(BOOLEXPR NULLTEST BOOLEANTEST SCALARARRAYOPEXPR);
my $boolean = 16;

# The text of a pg_node_tree as nested hashes (nodes) and arrays (lists).
sub parse_tree
{
	my ($text) = @_;
	my @tokens = $text =~ /([{}()]|(?:\\.|[^\s{}()\\])+)/gs;
	my $parse;

	$parse = sub {
		my $token = shift @tokens;

		if ($token eq '{')
		{
			my %node = (_kind => shift @tokens);
			my $field;

			while ($tokens[0] ne '}')
			{
				if ($tokens[0] =~ /^:(\w+)$/)
				{
					$field = $1;
					shift @tokens;
					next;
				}
				my $value = $parse->();
				# what has several words (the bytes of a constant) is not asked for
				$node{$field} //= $value;
			}
			shift @tokens;
			return \%node;
		}
		if ($token eq '(')
		{
			my @list;

			push @list, $parse->() while $tokens[0] ne ')';
			shift @tokens;
			return \@list;
		}
		return $token;
	};
	return $parse->();
}

sub type_of
{
	my ($node) = @_;
	my $kind = $node->{_kind};

	return $boolean if $is_boolean{$kind};
	return type_of($node->{expr}) if $kind eq 'TARGETENTRY';
	return type_of($node->{arg}) if $kind eq 'NAMEDARGEXPR';
	if ($kind eq 'SUBLINK')
	{
		return $boolean if $node->{subLinkType} != 4;
		return type_of($node->{subselect}{targetList}[0]);
	}
	die "unknown expression $kind" if !defined $type_field{$kind};
	return $node->{ $type_field{$kind} };
}

# All nodes of a tree.
sub nodes
{
	my ($tree) = @_;

	return map { nodes($_) } @$tree if ref $tree eq 'ARRAY';
	return () if ref $tree ne 'HASH';
	return ($tree, map { nodes($_) } values %$tree);
}

# A query of ours must not fall into the traps.
sub ask
{
	my ($database, $query) = @_;

	return $node->safe_psql($database, "SET search_path = pg_catalog; $query");
}

sub rows
{
	my ($database, $query) = @_;

	return map { [ split /\|/, $_, -1 ] } split /\n/, ask($database, $query);
}

# What the extension has made: name and tree.
sub trees
{
	my ($database) = @_;
	my $members = <<'SQL';
WITH member AS (SELECT classid, objid FROM pg_depend
                 WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wallet_projection')),
     relation AS (SELECT objid AS oid FROM member WHERE classid = 'pg_class'::regclass),
     routine AS (SELECT objid AS oid FROM member WHERE classid = 'pg_proc'::regclass)
SQL

	return map { [ $_->[0], join '|', @{$_}[ 1 .. $#$_ ] ] } rows($database, <<"SQL");
$members
SELECT 'view ' || ev_class::regclass, ev_action::text FROM pg_rewrite JOIN relation ON relation.oid = ev_class
UNION ALL
SELECT 'constraint ' || conname, conbin::text FROM pg_constraint JOIN relation ON relation.oid = conrelid WHERE conbin IS NOT NULL
UNION ALL
SELECT 'default of ' || adrelid::regclass, adbin::text FROM pg_attrdef JOIN relation ON relation.oid = adrelid
UNION ALL
SELECT 'index ' || indexrelid::regclass, concat('(', indexprs, indpred, ')') FROM pg_index JOIN relation ON relation.oid = indrelid
 WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
UNION ALL
SELECT 'trigger ' || tgname, tgqual::text FROM pg_trigger JOIN relation ON relation.oid = tgrelid WHERE tgqual IS NOT NULL
UNION ALL
SELECT 'policy ' || polname, concat('(', polqual, polwithcheck, ')') FROM pg_policy JOIN relation ON relation.oid = polrelid
UNION ALL
SELECT 'function ' || r.oid::regprocedure, concat('(', prosqlbody, proargdefaults, ')') FROM pg_proc p JOIN routine r USING (oid)
 WHERE prosqlbody IS NOT NULL OR proargdefaults IS NOT NULL
SQL
}

# The script, without comments, strings and qualified operators
my $script = slurp_file("$FindBin::RealBin/../../sql/wallet_projection--0.2.0.sql");
$script =~ s{^\\.*}{}m;
$script =~ s{/\*.*?\*/|--[^\n]*}{}gs;
$script =~ s{'(?:[^']|'')*'}{''}g;
$script =~ s{"[^"]*"}{name}g;
$script =~ s{OPERATOR\(pg_catalog\.[^)]+\)}{,}g;

sub written_unqualified
{
	my ($function) = @_;

	return $script =~ /(?<![\w.])\Q$function\E\s*\(/;
}

my %name_of_type = map { @$_ } rows('postgres', 'SELECT oid, format_type(oid, NULL) FROM pg_type');
my %function = map { $_->[0] => $_ }
  rows('postgres', "SELECT oid, proname, array_to_string(proargtypes::oid[], ' '), pronamespace::regnamespace FROM pg_proc");
my %operator = map { $_->[0] => $_ }
  rows('postgres', "SELECT oid, oprname, oprleft, oprright FROM pg_operator");
# those that it makes in a user's schema cannot be there before
my %own = map { $_->[1] => 1 } grep { $_->[3] eq 'public' } values %function;
my %calls;						# what is called with what, for the owner's preparations

# What is wrong with the calls in a tree: those that need a cast which is not
# written, or take several types, unless they are written qualified.
sub findings
{
	my ($where, $tree) = @_;
	my @findings;

	foreach my $call (nodes(parse_tree($tree)))
	{
		my $kind = $call->{_kind};
		my $format = $call->{relabelformat} // $call->{coerceformat} // $call->{funcformat} // 0;
		my $oid = $call->{opno} // $call->{funcid} // $call->{aggfnoid} // $call->{winfnoid};

		push @findings, "$where: a cast to $name_of_type{type_of($call)} that is not written"
		  if $format eq '2';
		next if !defined $oid || $kind =~ /CASE/;
		my @arguments = ref $call->{args} eq 'ARRAY' ? map { type_of($_) } @{ $call->{args} } : ();
		my $is = join ' ', @arguments;
		my $types = join ', ', map { $name_of_type{$_} // $_ } @arguments;

		if (defined $call->{opno})
		{
			my (undef, $name, $left, $right) = @{ $operator{$oid} };

			$calls{"operator $name"}{$is} = 1;
			push @findings, "$where: operator $name is not made for ($types)"
			  if $is ne join ' ', grep { $_ } $left, $right;
		}
		elsif ($format eq '0' || $format eq '3')
		{
			my (undef, $name, $declared, $schema) = @{ $function{$oid} };

			$calls{"function $name"}{$is} = 1;
			push @findings, "$where: $name is not made for ($types)"
			  if $is ne $declared && ($schema ne 'pg_catalog' || written_unqualified($name));
		}
	}
	return @findings;
}

# Does anything depend on what is neither the server's nor the extension's?
my $foreign = <<'SQL';
WITH RECURSIVE own AS (
    SELECT classid, objid FROM pg_depend
     WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wallet_projection')
    UNION SELECT 'pg_extension'::regclass, oid FROM pg_extension WHERE extname = 'wallet_projection'
    UNION SELECT d.classid, d.objid FROM own JOIN pg_depend d ON d.refclassid = own.classid AND d.refobjid = own.objid AND d.deptype IN ('i', 'a'))
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
  FROM pg_depend d JOIN own USING (classid, objid)
 WHERE (d.refclassid, d.refobjid) NOT IN (SELECT classid, objid FROM own)
   AND NOT (d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'public'::regnamespace)
   AND NOT (d.refclassid = 'pg_language'::regclass) AND d.refobjid >= 16384
SQL

my @trees = trees('postgres');
cmp_ok(@trees, '>', 20, 'there is something to look at');
is(join("\n", sort map { findings(@$_) } @trees), '',
	'what is called is made for what it is called with');
is(ask('postgres', $foreign), '', 'and nothing depends on others');

# As it is written

# of an alias too
my $keyword = qr/extract|check|key|unique|table|coalesce|greatest|least|values|filter|with|as|from|join|on|lateral|operator|numeric|and|or|not|then|when|return|all|exists|over|where/i;
my %bad;
$bad{$1} = 1 while $script =~ /(?<![\w.@])(?<!AS )(?!(?:$keyword)\b)([a-z_]\w*)\s*\(/gi;
delete $bad{name};
# of the extension's own functions the signatures; not of tables: columns
delete @bad{ grep { $script =~ /(?:FUNCTION|PROCEDURE|TYPE|TABLE|INTO) (?:\@extschema\@|wallet_projection)\.\Q$_\E\s*\(/ } keys %bad };
is(join(' ', sort keys %bad), '', 'functions are written with their schema');
my @operators = grep { !/^(?:=>|\*|::)$/ } $script =~ s{WITH \(\w+ = \w+\)|\@extschema\@}{}gr =~ /([-+*\/<>=~!@#%^&|`?:]+)/g;
is(join(" ", @operators), '', 'and so are operators');
my @syntax = $script =~ /\b(BETWEEN|IN \(|I?LIKE|SIMILAR|IS (?:NOT )?DISTINCT|NULLIF|USING|NATURAL|CASE (?!WHEN)\S+)/gi;
is(join(' ', @syntax), '', 'nor is one hidden in a keyword');
my @casts = grep { !/^(?:pg_catalog\.|bigint|integer|numeric|interval|double|boolean)/ } $script =~ /::\s*([\w.]+)/g;
is(join(' ', @casts), '', 'and casts name a type of pg_catalog');

# The owner of a database prepares the ground: whatever would fit better

my @types = qw(int2 int4 int8 float8 numeric text name bpchar varchar oid regclass bool timestamptz interval int8range int8multirange public.mine);
my (@statements, %made);

sub make
{
	my ($name, @arguments) = @_;

	push @statements, sprintf('SELECT pg_temp.make(%s);', join ', ', map { "'$_'" } $name, join ', ', @arguments);
	return;
}
foreach my $call (sort keys %calls, map { "function $_" } qw(num_nulls sum min max avg count floor round format repeat))
{
	my ($kind, $name) = split / /, $call;

	foreach (sort keys %{ $calls{$call} // {} })
	{
		my @exact = map { $name_of_type{$_} } split / /;

		push @statements, "SELECT pg_temp.make_$kind('$name', '{" . join(',', map { "\"$_\"" } @exact) . "}');"
		  if @exact && !$own{$name} && !$made{"$call @exact"}++;
	}
	push @statements, "SELECT pg_temp.make_$kind('$name', ARRAY[a]) FROM unnest('{@{[join ',', @types]}}'::text[]) a;"
	  if $kind eq 'function';
	push @statements, "SELECT pg_temp.make_$kind('$name', ARRAY[a, b]) FROM unnest('{@{[join ',', @types]}}'::text[]) a, unnest('{@{[join ',', @types]}}'::text[]) b;"
	  if $kind eq 'operator' || @{[ $name =~ /has_role|lpad|repeat|format/ ]};
}
my $types = join ' ', map { "CREATE DOMAIN public.$_ AS pg_catalog.int4;" }
  qw(text oid regclass uuid jsonb int4 int8 numeric interval timestamptz varchar int8multirange float8 bool);
$node->safe_psql('postgres', "CREATE ROLE hostile LOGIN; CREATE DATABASE ground OWNER hostile");
$node->safe_psql('ground', <<"SQL", extra_params => [ '-U', 'hostile' ]);
SET search_path = pg_catalog;
CREATE TYPE public.mine AS ENUM ('a');
CREATE FUNCTION public.to_mine(pg_catalog.int4) RETURNS public.mine LANGUAGE sql AS \$\$ SELECT 'a'::public.mine \$\$;
CREATE FUNCTION public.to_mine(pg_catalog.text) RETURNS public.mine LANGUAGE sql AS \$\$ SELECT 'a'::public.mine \$\$;
CREATE FUNCTION public.to_mine(pg_catalog.int8) RETURNS public.mine LANGUAGE sql AS \$\$ SELECT 'a'::public.mine \$\$;
CREATE CAST (pg_catalog.int4 AS public.mine) WITH FUNCTION public.to_mine(pg_catalog.int4) AS IMPLICIT;
CREATE CAST (pg_catalog.text AS public.mine) WITH FUNCTION public.to_mine(pg_catalog.text) AS IMPLICIT;
CREATE CAST (pg_catalog.int8 AS public.mine) WITH FUNCTION public.to_mine(pg_catalog.int8) AS IMPLICIT;
CREATE TABLE public.stream (); CREATE TABLE public.projection (); CREATE TABLE public.pg_class (oid oid, relowner oid);
-- what fits exactly and is in pg_catalog already would not be taken; the rest is
CREATE FUNCTION pg_temp.make_function(name text, types text[]) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
    result text := CASE name WHEN 'format' THEN 'text' WHEN 'repeat' THEN 'text' WHEN 'lpad' THEN 'text' ELSE 'int4' END;
BEGIN
    EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS pg_catalog.%I IMMUTABLE LANGUAGE plpgsql AS %L',
                   name, array_to_string(types, ', '), result, 'BEGIN RAISE ''caught''; END');
EXCEPTION WHEN duplicate_function OR undefined_object OR invalid_function_definition THEN NULL;
END \$\$;
CREATE FUNCTION pg_temp.make_operator(name text, types text[]) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
    result text := CASE WHEN name ~ '[<>=]' THEN 'bool' ELSE types[1] END;
    function text := format('public.op_%s(%s, %s)', CASE WHEN name ~ '[<>=]' THEN 'is' ELSE 'of' END, types[1], types[2]);
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION %s RETURNS %s IMMUTABLE LANGUAGE plpgsql AS %L', function, result, 'BEGIN RAISE ''caught''; END');
    EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %s)', name, types[1], types[2], split_part(function, '(', 1));
EXCEPTION WHEN undefined_object OR feature_not_supported OR duplicate_function OR invalid_function_definition THEN NULL;
END \$\$;
BEGIN;
@statements
COMMIT;
$types
SQL
cmp_ok(ask('ground', "SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace"),
	'>', 1000, 'the ground is prepared with operators');
cmp_ok(ask('ground', "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname = 'num_nulls'"),
	'>', 10, 'and functions');
$node->safe_psql('ground', 'CREATE EXTENSION wallet_projection SCHEMA public');
is(ask('ground', $foreign), '', 'nothing of the extension depends on it');
is( join("\n", map { s/(?<=oid|typ|col)(?:| )\d{5,}//gr } sort map { $_->[0] } trees('ground')),
	join("\n", sort map { $_->[0] } @trees),
	'the same is there');

# a superuser works in it, and runs nothing of the owner's
$node->safe_psql('ground', <<'SQL');
SET search_path = pg_catalog;
SELECT public.projection_init('wallet_balance');
SELECT public.projection_set('wallet_balance', 'retry_jitter', '0.5');
SELECT public.wallet_create('w1', 100), public.wallet_debit('w1', 1);
SELECT public.projection_run('wallet_balance');
SELECT public.wallet_get_balance('w1'), public.wallet_get_statistics('w1');
UPDATE wallet_projection.projection_state SET retry_jitter = 0.1, retry_multiplier = 3;
UPDATE wallet_projection.projection SET batch_size = 5;
UPDATE wallet_projection.position SET head = head;
SELECT * FROM public.projection_status;
SELECT * FROM public.projection_partitions;
SELECT * FROM public.dead_letter_list();
SELECT * FROM public.dead_letter_show(1);
SELECT * FROM public.stream_read('wallet_stream', 'Wallet', 'w1');
SET search_path = public;
SELECT public.wallet_debit('w1', 1), public.projection_run('wallet_balance');
SELECT public.wallet_get_balance('w1'), public.wallet_get_statistics('w1');
SELECT public.projection_wait('wallet_balance');
SELECT * FROM public.projection_status;
SELECT * FROM public.stream_read('wallet_stream', 'Wallet', 'w1');
SELECT public.projection_reset('wallet_balance');
SELECT public.projection_run('wallet_balance');
SELECT public.projection_delete('wallet_balance');
SQL
pass('a superuser runs nothing of the owner of the database');

$node->stop;
done_testing();
