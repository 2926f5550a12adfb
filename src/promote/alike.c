/*
 * alike.c
 *		May two tables exchange their storage?
 *
 * They may where every byte of the one means the same under the other's name: the
 * columns are the same, dropped ones included; each index has a counterpart
 * that is built in the same way; and the rows of the one obey what is declared of
 * the other.  Identity columns and other defaults that draw from a sequence of
 * the table's own are not the same: the sequence would stay behind.
 */
#include "postgres.h"

#include "promote/alike.h"
#include "promote/sql.h"

/* what a column is, but for its name; null: it was dropped */
#define COLUMN \
	"CASE WHEN NOT attisdropped THEN" \
	" format_type(atttypid, atttypmod) || concat_ws(' ', ''," \
	" CASE WHEN attcollation NOT IN (0, 100) THEN 'COLLATE ' || attcollation::regcollation END," \
	" CASE WHEN attnotnull THEN 'NOT NULL' END, CASE WHEN attidentity <> '' THEN 'GENERATED AS IDENTITY' END," \
	" CASE attgenerated WHEN '' THEN 'DEFAULT' WHEN 's' THEN 'GENERATED AS' ELSE 'VIRTUAL AS' END || ' ' || pg_get_expr(adbin, adrelid)) END"

#define COLUMNS(table) \
	"SELECT attnum, attname, attisdropped, attlen, attalign, attbyval, atthasmissing, attidentity, " COLUMN " AS look" \
	" FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum" \
	" WHERE attrelid = " table " AND attnum > 0"

/* the first thing that differs, as a sentence, or as part of one */
static const char *const columns_differ =
"SELECT CASE"
" WHEN a.attname IS NULL OR a.attisdropped AND NOT b.attisdropped THEN format('Column \"%s\" is in table \"%s\" only.', b.attname, $2::regclass)"
" WHEN b.attname IS NULL OR b.attisdropped AND NOT a.attisdropped THEN format('Column \"%s\" is in table \"%s\" only.', a.attname, $1::regclass)"
" WHEN a.attisdropped THEN 'Columns that were dropped differ.'"
" WHEN a.attname <> b.attname THEN format('Column %s is \"%s\" in one table, \"%s\" in the other.', a.attnum, a.attname, b.attname)"
" WHEN a.look <> b.look THEN format('Column \"%s\" is \"%s\" in one table, \"%s\" in the other.', a.attname, a.look, b.look)"
" WHEN a.attidentity <> '' THEN format('Column \"%s\" is an identity column.', a.attname)"
" ELSE format('Column \"%s\" was added with a default, and older rows do not store it.', a.attname) END"
" FROM (" COLUMNS("$1") ") a FULL JOIN (" COLUMNS("$2") ") b USING (attnum)"
" WHERE a.attname IS NULL OR b.attname IS NULL OR a.attisdropped <> b.attisdropped"
" OR (a.attlen, a.attalign, a.attbyval) IS DISTINCT FROM (b.attlen, b.attalign, b.attbyval)"
" OR NOT a.attisdropped AND a.attname <> b.attname OR a.look IS DISTINCT FROM b.look"
" OR a.attidentity <> '' OR a.atthasmissing OR b.atthasmissing"
" ORDER BY attnum LIMIT 1";

/* since 18 also those NOT NULL that rows need not obey yet, as they are NOT VALID */
#define CONSTRAINTS(table) \
	"SELECT conname, pg_get_constraintdef(oid) AS look FROM pg_constraint WHERE conrelid = " table " AND contype IN ('c', 'f', 'n', 'x')"

static const char *const constraints_differ =
"SELECT format('Constraint \"%s\" is on table \"%s\" only: %s.', conname, relid::regclass, look) FROM ("
" SELECT $1 AS relid, * FROM (" CONSTRAINTS("$1") ") a WHERE look NOT IN (SELECT look FROM (" CONSTRAINTS("$2") ") o)"
" UNION ALL"
" SELECT $2, * FROM (" CONSTRAINTS("$2") ") b WHERE look NOT IN (SELECT look FROM (" CONSTRAINTS("$1") ") o)) d"
" ORDER BY relid <> $1, conname LIMIT 1";

/* an index, as what of it must be the same; n: which of several that are equal */
#define INDEXES(table) \
	"SELECT indexrelid, relname, look, row_number() OVER (PARTITION BY look ORDER BY indexrelid) AS n" \
	" FROM (SELECT indexrelid, c.relname, concat_ws('/', c.relam, c.reloptions, indnatts, indnkeyatts, indisunique, indisprimary, indimmediate," \
	" indnullsnotdistinct, indkey, indcollation, indclass, indoption, pg_get_expr(indexprs, indrelid), 'where', pg_get_expr(indpred, indrelid)," \
	" 'options', (SELECT string_agg(attnum || attoptions::text, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = indexrelid)," \
	" CASE WHEN indisexclusion OR NOT (indisvalid AND indisready AND indislive) THEN indexrelid END) AS look" \
	" FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = " table ") i"

static const char *const indexes_differ =
"SELECT format('Index \"%s\" has no counterpart at table \"%s\".', coalesce(a.relname, b.relname),"
" CASE WHEN a.relname IS NULL THEN $1 ELSE $2 END::regclass)"
" FROM (" INDEXES("$1") ") a FULL JOIN (" INDEXES("$2") ") b USING (look, n)"
" WHERE a.relname IS NULL OR b.relname IS NULL ORDER BY a.relname, b.relname LIMIT 1";

static const char *const tables_differ =
"SELECT CASE WHEN a.relam <> b.relam THEN 'Their access methods differ.'"
" WHEN a.relpersistence <> b.relpersistence THEN 'One of them is unlogged.' END"
" FROM pg_class a, pg_class b WHERE a.oid = $1 AND b.oid = $2";

/* Why they may not, as a sentence; NULL: they may. */
char *
TablesDiffer(Oid a, Oid b)
{
	const char *const questions[] = {
		tables_differ, columns_differ, constraints_differ, indexes_differ
	};

	for (int i = 0; i < lengthof(questions); i++)
	{
		List	   *answer = SqlTexts(questions[i], a, b);

		if (answer != NIL)
			return linitial(answer);
	}
	return NULL;
}

static List *
oids(List *texts)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, texts)
		result = lappend_oid(result, (Oid) strtoul(lfirst(cell), NULL, 10));
	return result;
}

#define PAIRS " FROM (" INDEXES("$1") ") a JOIN (" INDEXES("$2") ") b USING (look, n) ORDER BY a.indexrelid"

/* The indexes of two tables that do not differ, each beside its counterpart. */
void
IndexPairs(Oid a, Oid b, List **of_a, List **of_b)
{
	*of_a = oids(SqlTexts("SELECT a.indexrelid" PAIRS, a, b));
	*of_b = oids(SqlTexts("SELECT b.indexrelid" PAIRS, a, b));
}
