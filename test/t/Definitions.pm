# Definitions: random definitions of projections, random events, and an oracle.
#
# Everything is SQL for psql.  A stream has some definitions, each with a read
# model of its own and, of the same columns, an oracle's table.  The oracle is a
# PL/pgSQL function that runs the definition's own statement for one event at a
# time, the source cut down to that event (or to one of its items):
#
#	an event whose key cannot be computed is parked by itself
#	an item whose key is null does not concern the projection
#	an event that fails parks its key: later events of the key only wait
#	a row that is inserted must have the event's key, else the event fails
#
# What chance decides depends on the seed alone.
package Definitions;

use strict;
use warnings FATAL => 'all';

use List::Util qw(shuffle);

# What all definitions use.  Needs the extension.
my $schema = <<'SQL';
CREATE SCHEMA fuzz;
SET search_path = fuzz, public;
CREATE DOMAIN pos AS int CHECK (VALUE >= 0);
CREATE TYPE en AS ENUM ('x', 'y', 'z');
@nocase@
CREATE FUNCTION inl(numeric, text) RETURNS numeric LANGUAGE sql IMMUTABLE
    AS $$ SELECT coalesce($1, 0) + length(coalesce($2, '')) $$;
CREATE FUNCTION first_of(text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE
    AS $$ BEGIN RETURN $1[array_lower($1, 1)]; END $$;
CREATE TABLE parent (e en PRIMARY KEY);
INSERT INTO parent VALUES ('x'), ('y'), ('z');
CREATE FUNCTION before_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.c := NEW.c + 1;
    -- the SQLSTATE of a row with another key: the engine sees that before triggers run, the oracle after them
    IF NEW.b = 'k1 k2' THEN
        RAISE EXCEPTION 'not wanted' USING ERRCODE = 'WP005';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION after_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE result (name text, what text);

CREATE FUNCTION make(name text, definition text, partitions int, strict boolean, ordering text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM projection_create(name, definition, channel => left(name, strpos(name, '_') - 1), partitions => partitions,
                              strict => strict, ordering => ordering);
EXCEPTION WHEN OTHERS THEN
    INSERT INTO result VALUES (name, 'REFUSED ' || SQLSTATE || ' ' || SQLERRM || E'\n' || definition);
END $$;

-- Apply what is left, whoever else applies events or has locked rows.
CREATE PROCEDURE finish(names text[]) LANGUAGE plpgsql AS $$
DECLARE
    name text;
    is_done boolean;
BEGIN
    FOREACH name IN ARRAY names LOOP
        is_done := false;
        FOR i IN 1 .. 3000 LOOP
            BEGIN
                PERFORM projection_run(name);
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            END;
            COMMIT;
            SELECT projection_wait(name, '0 s')
                   AND NOT EXISTS (SELECT FROM wallet_projection.parked p WHERE p.projection = name AND p.attempts = 0)
              INTO is_done;
            EXIT WHEN is_done;
            COMMIT;
            PERFORM pg_sleep(0.01);
        END LOOP;
        IF NOT is_done THEN
            INSERT INTO result SELECT name, 'DIFF not done ' || state || ' ' || coalesce(last_error, '') FROM projection_status WHERE projection = name;
        END IF;
        COMMIT;
    END LOOP;
END $$;

CREATE PROCEDURE replay(names text[]) LANGUAGE plpgsql AS $$
DECLARE
    name text;
    is_done boolean;
BEGIN
    FOREACH name IN ARRAY names LOOP
        is_done := false;
        WHILE NOT is_done LOOP
            BEGIN
                PERFORM dead_letter_replay_all(name);
                is_done := true;
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            END;
            COMMIT;
        END LOOP;
    END LOOP;
END $$;

-- What another session may do meanwhile: any projection; rows that it locks.
CREATE FUNCTION any_projection() RETURNS text LANGUAGE sql VOLATILE
    RETURN coalesce((SELECT p.name FROM wallet_projection.projection p WHERE p.name <> 'wallet_balance' ORDER BY random() LIMIT 1), 's0_0');
CREATE FUNCTION lock_rows(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- new versions of rows, unless a trigger would make them others
    IF random() < 0.5 AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('r_' || name) AND NOT tgisinternal) THEN
        EXECUTE format('UPDATE r_%1$s SET c = c WHERE ctid = ANY (ARRAY(SELECT ctid FROM r_%1$s LIMIT 3 FOR UPDATE SKIP LOCKED))', name);
    ELSE
        EXECUTE format('SELECT FROM r_%s LIMIT 3 FOR UPDATE SKIP LOCKED', name);
    END IF;
EXCEPTION WHEN undefined_table THEN
END $$;

-- Rows and parked events beside the oracle's.
CREATE FUNCTION compare(name text, phase text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rows constant text := $q$SELECT string_agg(r, E'\n' ORDER BY r) FROM (SELECT (to_jsonb(whole) - '{ident,made}'::text[])::text COLLATE "C" FROM %I whole) x (r)$q$;
    parked constant text := $q$SELECT string_agg(r, ', ' ORDER BY r) FROM (SELECT format('no %%s %%s waiting %%s%%s', no, sqlstate, waiting, CASE WHEN by_number THEN ' by number' END) COLLATE "C" FROM %s) x (r)$q$;
    actual text;
    expected text;
    actually_parked text;
    expected_parked text;
BEGIN
    EXECUTE format('SELECT o_%s()', name);
    EXECUTE format(rows, 'r_' || name) INTO actual;
    EXECUTE format(rows, 'm_' || name) INTO expected;
    EXECUTE format(parked, format('wallet_projection.parked WHERE projection = %L', name)) INTO actually_parked;
    EXECUTE format(parked, 'p_' || name) INTO expected_parked;
    IF (actual, actually_parked) IS DISTINCT FROM (expected, expected_parked) THEN
        INSERT INTO result SELECT name, format(E'DIFF (%s)\nexpected:\n%s\nparked: %s\nfound:\n%s\nparked: %s\n%s', phase, expected, expected_parked, actual,
            actually_parked, definition) FROM wallet_projection.definition d WHERE d.projection = name;
    ELSE
        INSERT INTO result VALUES (name, CASE WHEN expected_parked IS NOT NULL THEN 'same, parked' WHEN expected IS NULL THEN 'same, empty' ELSE 'same' END);
    END IF;
END $$;
SQL

sub schema
{
	my ($has_icu) = @_;
	my $nocase = $has_icu ? "provider = icu, locale = 'und-u-ks-level2', deterministic = false" : "locale = 'C'";

	return $schema =~ s/\@nocase\@/CREATE COLLATION nocase ($nocase);/r;
}

# What another session does until it is stopped.
sub disturbance
{
	my ($times) = @_;
	my $sql = '';

	srand(1);
	$sql .= "SELECT pg_sleep(0.002);\nSELECT fuzz.any_projection() AS name \\gset\n" . one(
		"CALL projection_consume(split_part(:'name', '_', 1), time_limit => '0.02 s', finish_when_no_messages => true);\n",
		"BEGIN;\nSELECT projection_run(:'name', 5);\nROLLBACK;\n",
		"BEGIN;\nSAVEPOINT s;\nSELECT projection_run(:'name', 5);\nROLLBACK TO s;\nSELECT projection_run(:'name', 2);\nCOMMIT;\n",
		"SELECT projection_run(:'name', 3);\n",
		"BEGIN;\nSELECT fuzz.lock_rows(:'name');\nSELECT pg_sleep(0.01);\nCOMMIT;\n") foreach 1 .. $times;
	return $sql;
}

my @columns = qw(k kind e amt i p at u bomb);

sub one { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub between { return $_[0] + int(rand($_[1] - $_[0] + 1)); }

# Expressions; m: there is a row

sub number
{
	my ($m) = @_;
	return one(
		'e.amt', (q[(e.p->>'n')::numeric]) x 2, q[(e.p->>'i')::int], q[(e.p->>'i')::bigint], 'e.i', 'inl(e.amt, e.kind)',
		q[(e.p->'o'->>'n')::numeric], '1', '2.5', q[CASE WHEN e.kind = 'k1' THEN (e.p->>'n')::numeric ELSE 7 END],
		q[round((e.p->>'n')::numeric + (e.p->>'n')::numeric, 1)], q[coalesce((e.p->>'n')::numeric, e.amt)], 'e.bomb::int',
		'10 / e.i', ($m ? ('o.a', 'o.c', 'o.dbl', 'length(o.b)', 'o.g', 'cardinality(o.f)', 'o.a', 'o.c') : ()));
}

sub string
{
	my ($m) = @_;
	return one(
		'e.kind', q[e.p->>'s'], 'e.e::text', q['lit'], q[upper(e.p->>'s')], q[e.p->>'n'], 'to_jsonb(e.amt)::text', q[first_of(string_to_array(e.p->>'s', ' '))],
		($m ? ('o.b', 'o.b || e.kind', q[o.d->>'s'], q[coalesce(o.b, '') || 'x'], 'o.h::text', q[to_jsonb(o)->>'c']) : ()));
}

sub condition
{
	my ($m) = @_;
	return one(
		(q[e.kind = 'k] . between(1, 3) . q[']) x 3, q[e.e = '] . one(qw(x y z)) . q['], 'e.i = ' . between(0, 2),
		number($m) . ' > ' . number($m), string($m) . ' = ' . string($m), q[e.kind IN ('k1', 'k2')], 'e.amt IS NULL',
		q['k2' = e.kind AND ] . number($m) . ' < 5', q[e.kind = 'k1' OR e.i = 1], q[NOT e.kind = 'k1'], q[e.p ? 'n']);
}

# A column and its new value.
sub assignment
{
	my ($m) = @_;
	my %of = (
		a => sub { one(number($m), number($m) . ' + ' . number($m), number($m) . ' - ' . number($m)) },
		b => sub { string($m) },
		c => sub { one(number($m), between(0, 50)) },
		d => sub { one('e.p', q[e.p->'o'], 'jsonb_build_object(\'v\', ' . number($m) . ')', ($m ? ('o.d || e.p', q[jsonb_set(o.d, '{z}', e.p)], 'o.d') : ())) },
		f => sub { one('ARRAY[e.kind]', q[string_to_array(e.p->>'s', ' ')], ($m ? ('o.f || e.kind', 'array_append(o.f, o.b)', 'o.f[2:]') : ())) },
		g => sub { number($m) },
		h => sub { one('e.e', q[(e.p->>'e')::en], ($m ? 'o.h' : ())) },
		t => sub { one('e.at', q[(e.p->>'t')::timestamptz], ($m ? q[o.t + interval '1 day'] : ())) },
		v => sub { string($m) });
	my $column = one(sort keys %of);

	return ($column, $of{$column}->());
}

sub assignments
{
	my ($m, $least, $most) = @_;
	my %set = map { assignment($m) } 1 .. between($least, $most);

	return map { [ $_, $set{$_} ] } sort keys %set;
}

# Keys: the column's type, that of the expressions, and these

my %key = (
	uuid => [ 'uuid', 'uuid', 'e.u', q[(e.p->>'u')::uuid] ],
	bigint => [ 'bigint', 'bigint', 'e.i', 'e.i::bigint', q[(e.p->>'i')::bigint] ],
	int => [ 'int', 'int', 'e.i', q[(e.p->>'i')::int] ],
	c => [ 'text COLLATE "C"', 'text COLLATE "C"', 'e.k', q[e.p->>'s'], 'e.kind || e.k' ],
	text => [ 'text', 'text', 'e.k', q[e.p->>'s'], 'lower(e.k)' ],
	nocase => [ 'text COLLATE nocase', 'text COLLATE nocase', 'e.k' ],
	varchar => [ 'varchar(5)', 'text', 'e.k', q[e.p->>'s'] ],
	date => [ 'date', 'date', 'e.at::date', q[(e.p->>'t')::date] ],
	enum => [ 'en', 'en', 'e.e', q[(e.p->>'e')::en] ],
	numeric => [ 'numeric(10,2)', 'numeric', 'e.amt', q[(e.p->>'n')::numeric] ],
	timestamptz => [ 'timestamptz(0)', 'timestamptz', 'e.at', q[date_trunc('second', e.at)] ]);

# Columns of a key: name, type, parked type, expression.
sub make_key
{
	my $count = one(1, 1, 1, 1, 2, 2, 3);
	my @kinds = (shuffle(sort keys %key))[ 0 .. $count - 1 ];
	my $number = 0;

	return map { my ($type, $parked, @values) = @{ $key{$_} }; [ 'k' . ++$number, $type, $parked, one(@values) ] } @kinds;
}

# Sources: a text with %s for the stream.  Fan-out has ord for an item's number.
sub make_source
{
	my ($stream) = @_;
	my $filter = chance(0.3) ? ' WHERE ' . one(q[s.i IS DISTINCT FROM 2], q[s.kind <> 'k3'], q[s.p ? 's'], q[s.p->>'i' > '1']) : '';
	my $some = join ', ', map { "s.$_" } @columns;

	return one(
		('%s') x 5,
		'%s_view',
		"(SELECT id, k, upper(kind) AS kind, e, amt + 1 AS amt, i, p, at, u, bomb FROM %s s$filter)",
		"(SELECT $some FROM %s s$filter)",
		"(SELECT l.ord, l.item->>'k' AS k, s.kind, s.e, CASE jsonb_typeof(l.item->'n') WHEN 'number' THEN (l.item->>'n')::numeric END AS amt, s.i,"
		  . " l.item AS p, s.at, s.u, s.bomb FROM %s s, jsonb_array_elements(s.p->'l') WITH ORDINALITY AS l (item, ord)$filter)",
		"(SELECT l.ord, l.k, s.kind, s.e, l.n AS amt, l.i, to_jsonb(l) AS p, s.at, s.u, s.bomb FROM %s s"
		  . " CROSS JOIN LATERAL ROWS FROM (jsonb_to_recordset(CASE jsonb_typeof(s.p->'l') WHEN 'array' THEN s.p->'l' END) AS (k text, n numeric, i int, s text)) WITH ORDINALITY AS l (k, n, i, s, ord)$filter)");
}

sub clause
{
	my ($strict, @key) = @_;
	my $m = chance(0.7);
	my $test = chance(0.85) ? ' AND ' . condition($m) : '';
	my @set;

	if (!$m)
	{
		return "WHEN NOT MATCHED$test THEN DO NOTHING" if !$strict && chance(0.1);
		@set = assignments(0, 0, 5);
		return "WHEN NOT MATCHED$test THEN INSERT (" . join(', ', map { $_->[0] } @key, @set)
		  . ') VALUES (' . join(', ', (map { $_->[3] } @key), map { $_->[1] } @set) . ')';
	}
	return "WHEN MATCHED$test THEN DELETE" if chance(0.15);
	return "WHEN MATCHED$test THEN DO NOTHING" if !$strict && chance(0.07);
	return "WHEN MATCHED$test THEN UPDATE SET " . join(', ', map { "$_->[0] = $_->[1]" } assignments(1, 1, 4));
}

# MERGE with %t for the target and %s for the source.
sub make_merge
{
	my ($strict, @key) = @_;
	my $into = join ', ', map { $_->[0] } @key;
	my $values = join ', ', map { $_->[3] } @key;
	my $on = join ' AND ', map { chance(0.8) ? "o.$_->[0] = $_->[3]" : "$_->[3] = o.$_->[0]" } @key;
	my @clauses = map { clause($strict, @key) } 1 .. between(1, 6);
	my %closed;

	push @clauses, chance(0.5) ? "WHEN NOT MATCHED THEN INSERT ($into) VALUES ($values)"
	  : "WHEN NOT MATCHED AND e.kind = 'k1' THEN INSERT ($into, a) VALUES ($values, e.amt)";
	# what comes behind an unconditional one is never reached
	@clauses = grep {
		my ($which) = /^(WHEN (?:NOT )?MATCHED)/;
		my $open = !$closed{$which};

		$closed{$which} = 1 if /^WHEN (?:NOT )?MATCHED THEN/;
		$open;
	} @clauses;
	return "MERGE INTO %t o USING %s e ON $on\n  " . join "\n  ", @clauses;
}

sub make_upsert
{
	my (@key) = @_;
	my %of = (
		a => [ 'e.amt', 'e.i', '1' ], b => [ 'e.kind', q[e.p->>'s'], q['lit'] ], c => [ 'coalesce(e.i, 1)', '7' ], d => [ 'e.p', 'to_jsonb(e.amt)' ],
		f => [ 'ARRAY[e.kind]' ], g => [ 'e.i', 'abs(e.amt)' ], h => ['e.e'], t => ['e.at']);
	my @set = map { [ $_, one(@{ $of{$_} }) ] } sort((shuffle(sort keys %of))[ 0 .. between(0, 4) ]);
	# the server may evaluate either side of an AND first: neither must fail
	my $filter = chance(0.5) ? ' WHERE ' . condition(0) =~ s/e\.bomb/e.i/r =~ s/e\.bomb/e.i/r =~ s{10 / e\.i}{e.i}gr : '';
	my $do = 'NOTHING';

	if (chance(0.8))
	{
		$do = 'UPDATE SET ' . join ', ', map { "$_->[0] = $_->[1]" } upsert_set();
		$do .= ' WHERE ' . one('o.c < 20', 'excluded.a IS NOT NULL', 'o.b IS DISTINCT FROM excluded.b', 'o.a + excluded.a > 1', 'o.h = excluded.h') if chance(0.3);
	}
	return 'INSERT INTO %t AS o (' . join(', ', map { $_->[0] } @key, @set) . ")\n  SELECT "
	  . join(', ', (map { $_->[3] } @key), map { $_->[1] } @set) . " FROM %s e$filter\n  ON CONFLICT ("
	  . join(', ', map { $_->[0] } @key) . ") DO $do";
}

sub upsert_set
{
	my %of = (
		a => [ 'excluded.a', 'o.a + excluded.a', 'o.a + 1', 'coalesce(excluded.a, o.a)', 'greatest(o.a, excluded.a)' ],
		b => [ 'excluded.b', 'o.b || excluded.b', 'coalesce(o.b, excluded.b)' ],
		c => [ 'o.c + 1', 'excluded.c', 'o.c + excluded.c' ],
		d => [ 'excluded.d', 'o.d || excluded.d', 'to_jsonb(excluded.f)' ],
		f => [ 'o.f || excluded.f', 'o.f || excluded.b' ],
		g => [ 'excluded.g - 1', 'o.c', 'excluded.a' ],
		h => [ 'excluded.h' ],
		t => [ 'greatest(o.t, excluded.t)', 'excluded.t' ]);
	my @columns = (shuffle(sort keys %of))[ 0 .. between(0, 3) ];

	return map { [ $_, one(@{ $of{$_} }) ] } @columns;
}

# One definition: what makes it, and its names.
sub definition
{
	my ($stream, $number) = @_;
	my $name = "${stream}_$number";
	my @key = make_key();
	my $upsert = chance(0.25);
	my $source = make_source($stream);
	my $strict = !$upsert && chance(0.1);

	# the row that INSERT would make has the key: what does not fit is no key
	@key = map { [ @$_[ 0 .. 2 ], $_->[1] =~ /varchar/ ? "left($_->[3], 5)" : $_->[3] ] } @key if $upsert;
	my $text = $upsert ? make_upsert(@key) : make_merge($strict, @key);
	my @compared = map { [ @$_[ 0 .. 2 ], $upsert ? "($_->[3])::" . $_->[1] =~ s/ COLLATE.*//r : $_->[3] ] } @key;
	my %self = (name => $name, key => \@compared, source => $source, strict => $strict);
	my $definition = fill($text, "r_$name", sprintf($source, $stream));

	$self{sql} = "BEGIN;\n" . tables(\%self, $upsert) . oracle(\%self, $text, $stream)
	  . sprintf("SELECT make('%s', \$definition\$%s\$definition\$, %d, %s, %s);\n", $name, $definition,
		one(1, 2, 16, 16, 64, 200), $strict ? 'true' : 'false', one('NULL', "'number'", "'arrival'"))
	  . "SELECT projection_set('$name', 'batch_size', '" . one(1, 3, 10, 1000) . "'), projection_set('$name', 'retry_delay', '1 day'), projection_set('$name', 'retry_max_delay', '1 day');\nCOMMIT;\n";
	return \%self;
}

sub fill
{
	my ($text, $target, $source) = @_;
	return $text =~ s/%t/$target/r =~ s/%s/$source/r;
}

# The read model, the oracle's table, and where the oracle parks.
sub tables
{
	my ($self, $upsert) = @_;
	my $name = $self->{name};
	my $keys = join ', ', map { $_->[0] } @{ $self->{key} };
	my @columns = (
		(map { "$_->[0] $_->[1]" } @{ $self->{key} }),
		'dead int', 'a numeric(8,2)', q[b text DEFAULT 'dflt'], 'c int NOT NULL DEFAULT 3', 'd jsonb', q[f text[] DEFAULT '{q}'],
		'g pos', 'h en', 't timestamptz(0)', 'v varchar(6)', 'dbl numeric GENERATED ALWAYS AS (coalesce(a, 0) * 2) STORED',
		(chance(0.3) ? 'ident bigint GENERATED ALWAYS AS IDENTITY' : ()), (chance(0.3) ? 'made timestamptz DEFAULT clock_timestamp()' : ()),
		(!$upsert && chance(0.5) ? 'CHECK (c < 40 OR a IS NULL)' : ()), (!$upsert && chance(0.2) ? 'CHECK (dbl > -100 AND cardinality(f) < 5)' : ()));
	my $make = 'CREATE TABLE r_' . $name . ' (' . join(', ', shuffle(@columns)) . ', '
	  . one('PRIMARY KEY', 'UNIQUE') . " ($keys)" . ($upsert ? '' : ', CHECK (length(b) < 20)') . ");\n"
	  . "ALTER TABLE r_$name DROP COLUMN dead;\n"
	  . (chance(0.2) ? "CREATE INDEX ON r_$name (c);\n" : '')
	  . "CREATE TABLE m_$name (LIKE r_$name INCLUDING ALL);\n";
	my @triggers = ((chance(0.12) ? 'BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION before_row()' : ()),
		(chance(0.08) ? 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION after_row()' : ()));

	# INSERT has triggers see the row that it would make, whatever comes of it
	@triggers = () if $self->{strict} || $upsert;
	foreach my $table ("r_$name", "m_$name")
	{
		my $number = 0;

		$make .= 'CREATE TRIGGER t' . ++$number . ' ' . sprintf($_, $table) . ";\n" foreach @triggers;
	}
	$make .= "ALTER TABLE r_$name ADD FOREIGN KEY (h) REFERENCES parent;\n" if chance(0.15);
	return $make . "CREATE TABLE p_$name (no bigint, sqlstate text, waiting bigint DEFAULT 0, by_number boolean, "
	  . join(', ', map { "$_->[0] $_->[2]" } @{ $self->{key} }) . ");\n";
}

sub oracle
{
	my ($self, $text, $stream) = @_;
	my $name = $self->{name};
	my @key = @{ $self->{key} };
	my $one_event = sprintf($self->{source} =~ s/%s_view/(SELECT * FROM %s_view WHERE id = v_no)/r =~ s/^%s$/(SELECT * FROM %s WHERE id = v_no)/r
		  =~ s/FROM %s s/FROM (SELECT * FROM %s WHERE id = v_no) s/r, $stream);
	my $fans_out = $self->{source} =~ /ORDINALITY/;
	my $ordinal = $fans_out ? 'e.ord' : '1';
	my $filter = $text =~ /FROM %s e( WHERE [^\n]*)/ ? $1 : '';
	my $one_item = $fans_out ? "(SELECT * FROM $one_event x WHERE ord = v_ord)" : $one_event;
	my $values = join ', ', map { "($_->[3])" . ($_->[2] =~ /( COLLATE.*)/ ? $1 : '') . " AS $_->[0]" } @key;
	my $names = join ', ', map { $_->[0] } @key;
	my $found = 'EXISTS (SELECT FROM m_' . $name . ' o WHERE ' . join(' AND ', map { "o.$_->[0] = v_item.$_->[0]" } @key) . ')';
	my $run = fill($text, "m_$name", $one_item);
	my $not_null = join ' AND ', map { "x.$_->[0] IS NOT NULL" } @key;
	my $same = join ' AND ', map { "p.$_->[0] = v_item.$_->[0]" } @key;
	my $parked = join ', ', map { "v_item.$_->[0]" } @key;
	my $strict = $self->{strict} ? "IF v_rows = 0 THEN RAISE EXCEPTION 'no WHEN' USING ERRCODE = 'WP005'; END IF;" : '';
	my $counted = join ', ', map { "($_->[3])" } @key;

	return <<"SQL";
CREATE FUNCTION o_$name() RETURNS void LANGUAGE plpgsql AS \$oracle\$
#variable_conflict use_column
DECLARE
    v_no bigint;
    v_item record;
    v_ord bigint;
    v_found boolean;
    v_rows bigint;
BEGIN
    DELETE FROM m_$name;
    DELETE FROM p_$name;
    FOR v_no IN SELECT id FROM $stream ORDER BY id LOOP
        BEGIN
            PERFORM count(ROW($counted)) FROM $one_event e$filter;
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO p_$name (no, sqlstate, by_number) VALUES (v_no, SQLSTATE, true);
            CONTINUE;
        END;
        FOR v_item IN SELECT $names, array_agg(ord ORDER BY ord) AS ords FROM (SELECT $values, $ordinal AS ord FROM $one_event e$filter OFFSET 0) x
                       WHERE $not_null GROUP BY $names LOOP
            UPDATE p_$name p SET waiting = p.waiting + 1 WHERE NOT by_number AND $same;
            CONTINUE WHEN FOUND;
            BEGIN
                FOREACH v_ord IN ARRAY v_item.ords LOOP
                    v_found := $found;
                    $run;
                    GET DIAGNOSTICS v_rows = ROW_COUNT;
                    $strict
                    IF NOT v_found AND v_rows > 0 AND NOT $found THEN
                        RAISE EXCEPTION 'not the key' USING ERRCODE = 'WP005';
                    END IF;
                END LOOP;
            EXCEPTION WHEN OTHERS THEN
                INSERT INTO p_$name (no, sqlstate, by_number, $names) VALUES (v_no, SQLSTATE, false, $parked);
            END;
        END LOOP;
    END LOOP;
END \$oracle\$;
SQL
}

# Events, as a statement that inserts so many of them

sub quoted
{
	my ($text) = @_;
	return defined $text ? "'" . $text =~ s/'/''/gr . "'" : 'NULL';
}

sub json
{
	my ($value) = @_;

	return 'null' unless defined $value;
	return '[' . join(', ', map { json($_) } @$value) . ']' if ref $value eq 'ARRAY';
	return '{' . join(', ', map { "\"$_\": " . json($value->{$_}) } sort keys %$value) . '}' if ref $value;
	return $value =~ /^-?\d+(\.\d+)?$/ ? $value : '"' . $value =~ s/^#//r . '"';
}

sub uuid { return sprintf '00000000-0000-0000-0000-%012d', between(1, 4); }

sub payload
{
	my %of = (
		n => sub { one(1, 2, '2.50', '0.125', 7, 7, '#3', '#3.5', '1.005', undef, (chance(0.1) ? 'x' : ())) },
		i => sub { one(1, 2, 3, 40, '#5', undef, (chance(0.05) ? '99999999999' : ())) },
		s => sub { one('lit', 'k1 k2', '', undef, 'äö', 'Lit') },
		o => sub { one({ n => 4 }, { n => '#1.10' }, [], undef) },
		e => sub { one(qw(x y z), (chance(0.05) ? 'w' : ())) },
		t => sub { '2026-02-0' . between(1, 3) },
		u => sub { one(uuid(), uuid(), (chance(0.05) ? 'bad' : ())) },
		big => sub { chance(0.03) ? join('', map { chr(97 + rand 26) } 1 .. 6000) : 1 },
		l => sub { [ map { { k => one(qw(a b c A)), n => one(1, 2, 3, '1.005', '2.50', undef), i => between(0, 3), s => one('s', undef) } } 1 .. between(0, 4) ] });

	return one([1], undef) if chance(0.05);
	return { map { chance(0.8) ? ($_ => $of{$_}->()) : () } sort keys %of };
}

sub event
{
	my @keys = (qw(a a b b c A B), 'long one', '');
	return '(' . join(', ',
		quoted(chance(0.95) ? one(@keys) : undef), quoted(chance(0.9) ? 'k' . between(1, 3) : undef),
		quoted(chance(0.8) ? one(qw(x y z)) : undef), (chance(0.8) ? one(0, 1, '1.0', '2.5', '3.14159', -1, 100) : 'NULL'),
		(chance(0.85) ? between(0, 3) : 'NULL'), (chance(0.95) ? quoted(json(payload())) : 'NULL'),
		quoted(chance(0.9) ? sprintf('2026-01-0%d 12:00:00%s+00', between(1, 3), one('', '', '.7')) : undef),
		quoted(chance(0.9) ? uuid() : undef), quoted(one('1', '2', undef, (chance(0.1) ? 'x' : ())))) . ')';
}

sub events
{
	my ($stream, $count) = @_;
	return "INSERT INTO $stream (" . join(', ', @columns) . ') VALUES ' . join(",\n ", map { event() } 1 .. $count) . ";\n";
}

sub stream_table
{
	my ($stream) = @_;
	my $id = one('id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY', 'id int GENERATED ALWAYS AS IDENTITY UNIQUE');
	my @columns = (
		$id, 'gone text', 'k text', 'kind text', 'e en', 'amt numeric', 'i int', 'p jsonb', 'at timestamptz', 'u uuid', 'bomb text');

	my $parts = chance(0.15);

	return "CREATE TABLE $stream (" . join(', ', chance(0.5) ? @columns : shuffle(@columns)) . ')'
	  . ($parts ? ' PARTITION BY RANGE (id)' : '') . ";\n"
	  . ($parts ? "CREATE TABLE ${stream}_old PARTITION OF $stream FOR VALUES FROM (MINVALUE) TO (10);\n" : '')
	  . ($parts ? "CREATE TABLE ${stream}_new PARTITION OF $stream FOR VALUES FROM (10) TO (MAXVALUE);\n" : '')
	  . "ALTER TABLE $stream DROP COLUMN gone;\n"
	  . (chance(0.3) ? "CREATE INDEX ON $stream (k);\n" : '')
	  . (chance(0.3) ? "CREATE INDEX ON $stream ((p->>'s'));\n" : '')
	  . "CREATE VIEW ${stream}_view AS SELECT id, k, lower(kind) AS kind, e, amt * 2 AS amt, coalesce(i, 1) AS i, p, at, u, bomb"
	  . " FROM $stream WHERE kind IS DISTINCT FROM 'k3';\n";
}

# The stream of this number, with so many definitions, from its table to the
# comparison.
sub script
{
	my ($seed, $number, $count) = @_;
	my $stream = "s$number";

	srand($seed * 10_000 + $number);
	my @definitions = map { definition($stream, $_) } 1 .. $count;
	my @names = map { $_->{name} } @definitions;
	my $all = 'ARRAY[' . join(', ', map { "'$_'" } @names) . ']';
	my $finish = "CALL finish($all);\n";
	my $sql = stream_table($stream);
	my $limit = sub { chance(0.5) ? '' : ', ' . between(1, 8) };

	$sql .= events($stream, between(1, 10)) if chance(0.3);
	$sql .= $_->{sql} foreach @definitions;
	$sql .= "SET wallet_projection.batch_memory = '" . one('1MB', '1MB', '64MB') . "';\n";
	foreach (1 .. between(2, 4))
	{
		$sql .= "BEGIN;\n" . events($stream, between(1, 3)) . "ROLLBACK;\n" if chance(0.3);
		$sql .= events($stream, between(1, 15));
		$sql .= "CALL projection_consume('$stream', finish_when_no_messages => true" . (chance(0.5) ? ', message_limit => ' . between(1, 30) : '') . ");\n"
		  if chance(0.3);
		$sql .= "BEGIN;\nSELECT projection_run('" . one(@names) . "');\nROLLBACK;\n" if chance(0.3);
		$sql .= "SELECT projection_run('$_'" . $limit->() . ");\n" foreach grep { chance(0.4) } @names;
	}
	$sql .= $finish . join '', map { "SELECT compare('$_', 'first');\n" } @names;
	# again, from the first event
	my @again = grep { chance(0.2) } @names;
	$sql .= "SELECT projection_reset('$_');\nSELECT projection_run('$_', " . between(1, 20) . ");\n" foreach @again;
	# some events are mended
	$sql .= "UPDATE $stream SET bomb = '1' WHERE bomb = 'x';\n";
	$sql .= "CALL replay($all);\n";
	$sql .= events($stream, between(1, 5)) . $finish . join '', map { "SELECT compare('$_', 'mended');\n" } @names;
	$sql .= "SELECT projection_drop('$_');\n" foreach @names;
	return $sql;
}

1;
