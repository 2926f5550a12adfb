/*
 * comparison.c
 *		Two tables compared by one query.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "lib/stringinfo.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "promote/comparison.h"

static char *
text_of(const char *table, const char *column)
{
	return psprintf("CASE WHEN %s.%s IS DISTINCT FROM NULL THEN format('%%s', %s.%s) END",
					table, quote_identifier(column), table,
					quote_identifier(column));
}

/*
 * Can a value be cast so, with no code of a user's?  The query runs with the
 * caller's rights, and whoever owns a type may make casts of it.
 */
static bool
is_safe_cast(Oid from, Oid to)
{
	Oid			function = InvalidOid;

	switch (find_coercion_pathway(to, from, COERCION_EXPLICIT, &function))
	{
		case COERCION_PATH_RELABELTYPE:
		case COERCION_PATH_COERCEVIAIO:
			return true;
		case COERCION_PATH_FUNC:
			return function < FirstNormalObjectId;
		default:
			return false;
	}
}

static void
refuse_types(const Comparison *comparison, const char *column, Oid a, Oid b)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("keys of projections \"%s\" and \"%s\" cannot be compared",
					comparison->a->name, comparison->b->name),
			 errdetail("Column \"%s\" is of type %s in the one, and of type %s in the other.",
					   column, format_type_be(a), format_type_be(b))));
}

/* A column of a table, and of which type and collation it is. */
typedef struct KeyColumn
{
	Oid			type;			/* no domain */
	Oid			declared;
	Oid			collation;
} KeyColumn;

static KeyColumn
key_column(Oid table, const char *name)
{
	KeyColumn	column;
	int32		typmod;

	get_atttypetypmodcoll(table, get_attnum(table, name), &column.declared,
						  &typmod, &column.collation);
	column.type = getBaseType(column.declared);
	return column;
}

static char *
collation_text(Oid collation)
{
	HeapTuple	row = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;
	char	   *result;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(row);
	result = quote_qualified_identifier(get_namespace_name(form->collnamespace),
										NameStr(form->collname));
	ReleaseSysCache(row);
	return result;
}

/* A column of the key, of either table, as a value of the first one's type. */
static char *
key_text(const Comparison *comparison, const char *table, const char *name)
{
	KeyColumn	a = key_column(comparison->a->read_model, name);
	KeyColumn	b = key_column(comparison->b->read_model, name);
	KeyColumn	own = *table == 'a' ? a : b;
	char	   *result = psprintf("%s.%s", table, quote_identifier(name));

	if (a.type != b.type && !is_safe_cast(b.type, a.type))
		refuse_types(comparison, name, a.declared, b.declared);
	if (own.declared != a.type)
		result = psprintf("%s::%s", result,
						  format_type_extended(a.type, -1,
											   FORMAT_TYPE_TYPEMOD_GIVEN |
											   FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(a.collation) && a.collation != b.collation)
		result = psprintf("(%s COLLATE %s)", result,
						  collation_text(a.collation));
	return result;
}

/* The key as text, whichever of the two has it. */
static void
append_key(StringInfo query, const Comparison *comparison)
{
	ListCell   *cell;
	bool		several = list_length(comparison->key) > 1;

	appendStringInfoString(query, several ? "format('%s', ROW(" : "format('%s', ");
	foreach(cell, comparison->key)
		appendStringInfo(query, "%scoalesce(%s, %s)",
						 cell == list_head(comparison->key) ? "" : ", ",
						 key_text(comparison, "a", lfirst(cell)),
						 key_text(comparison, "b", lfirst(cell)));
	appendStringInfoString(query, several ? "))" : ")");
}

static void
append_join(StringInfo query, const Comparison *comparison)
{
	ListCell   *column;
	ListCell   *operator;
	const char *and = "";

	appendStringInfo(query, " FROM ONLY %s a FULL JOIN ONLY %s b ON ",
					 TableNameOf(comparison->a->read_model),
					 TableNameOf(comparison->b->read_model));
	forboth(column, comparison->key, operator, comparison->operators)
	{
		appendStringInfo(query, "%s%s %s %s", and,
						 key_text(comparison, "a", lfirst(column)),
						 (char *) lfirst(operator),
						 key_text(comparison, "b", lfirst(column)));
		and = " AND ";
	}
}

static bool
has_same_type(const Comparison *comparison, const char *column)
{
	Oid			a = comparison->a->read_model;
	Oid			b = comparison->b->read_model;

	return get_atttype(a, get_attnum(a, column)) ==
		get_atttype(b, get_attnum(b, column));
}

/* The columns of one table that are of the same type in both, as a row. */
static void
append_row(StringInfo query, const Comparison *comparison, const char *table)
{
	ListCell   *cell;
	const char *comma = "";

	appendStringInfoString(query, "ROW(");
	foreach(cell, comparison->columns)
	{
		if (!has_same_type(comparison, lfirst(cell)))
			continue;
		appendStringInfo(query, "%s%s.%s", comma, table,
						 quote_identifier(lfirst(cell)));
		comma = ", ";
	}
	appendStringInfoString(query, ")::record");
}

/*
 * Rows that may differ.  Most do not: their images are the same, which is found
 * out without making texts of them.
 */
static void
append_filter(StringInfo query, const Comparison *comparison)
{
	ListCell   *cell;

	appendStringInfoString(query, "(a.ctid IS NULL OR b.ctid IS NULL OR NOT (");
	append_row(query, comparison, "a");
	appendStringInfoString(query, " OPERATOR(pg_catalog.*=) ");
	append_row(query, comparison, "b");
	appendStringInfoChar(query, ')');
	foreach(cell, comparison->columns)
	{
		if (!has_same_type(comparison, lfirst(cell)))
			appendStringInfo(query, " OR %s IS DISTINCT FROM %s",
							 text_of("a", lfirst(cell)),
							 text_of("b", lfirst(cell)));
	}
	appendStringInfoChar(query, ')');
}

/*
 * The differences: key, problem, column, and the value of each; a row that only
 * one of them has is one line.
 */
char *
ComparisonQuery(const Comparison *comparison)
{
	StringInfoData query;
	ListCell   *cell;

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	append_key(&query, comparison);
	appendStringInfoString(&query, ", CASE WHEN b.ctid IS NULL THEN 'only in a' WHEN a.ctid IS NULL THEN 'only in b' ELSE 'different' END, d.name, d.a, d.b");
	append_join(&query, comparison);
	appendStringInfoString(&query, ", LATERAL (VALUES (NULL, CASE WHEN b.ctid IS NULL THEN format('%s', a.*) END, CASE WHEN a.ctid IS NULL THEN format('%s', b.*) END)");
	foreach(cell, comparison->columns)
		appendStringInfo(&query, ", (%s, CASE WHEN b.ctid IS NOT NULL THEN %s END, CASE WHEN a.ctid IS NOT NULL THEN %s END)",
						 quote_literal_cstr(lfirst(cell)),
						 text_of("a", lfirst(cell)), text_of("b", lfirst(cell)));
	appendStringInfoString(&query, ") d (name, a, b) WHERE ");
	append_filter(&query, comparison);
	appendStringInfoString(&query, " AND d.a IS DISTINCT FROM d.b AND (d.name IS NULL OR a.ctid IS NOT NULL AND b.ctid IS NOT NULL) ORDER BY 1, 2, 3");
	return query.data;
}
