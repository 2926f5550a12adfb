/*
 * comparison.c
 *		Two tables compared by one query.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "promote/comparison.h"

static char *
text_of(const char *table, const char *column)
{
	return psprintf("CASE WHEN %s.%s IS DISTINCT FROM NULL THEN format('%%s', %s.%s) END",
					table, quote_identifier(column), table,
					quote_identifier(column));
}

/* The key as text, whichever of the two has it. */
static void
append_key(StringInfo query, const Comparison *comparison)
{
	ListCell   *cell;
	bool		several = list_length(comparison->key) > 1;

	appendStringInfoString(query, several ? "format('%s', ROW(" : "format('%s', ");
	foreach(cell, comparison->key)
		appendStringInfo(query, "%scoalesce(a.%s, b.%s::%s)",
						 cell == list_head(comparison->key) ? "" : ", ",
						 quote_identifier(lfirst(cell)),
						 quote_identifier(lfirst(cell)),
						 format_type_extended(get_atttype(comparison->a->read_model,
														  get_attnum(comparison->a->read_model, lfirst(cell))),
											  -1, FORMAT_TYPE_FORCE_QUALIFY));
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
		const char *name = quote_identifier(lfirst(column));

		appendStringInfo(query, "%sa.%s %s b.%s::%s", and, name,
						 (char *) lfirst(operator), name,
						 format_type_extended(get_atttype(comparison->a->read_model,
														  get_attnum(comparison->a->read_model, lfirst(column))),
											  -1, FORMAT_TYPE_FORCE_QUALIFY));
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
	appendStringInfoString(&query, ", LATERAL (VALUES (NULL, CASE WHEN b.ctid IS NULL THEN format('%s', a) END, CASE WHEN a.ctid IS NULL THEN format('%s', b) END)");
	foreach(cell, comparison->columns)
		appendStringInfo(&query, ", (%s, CASE WHEN b.ctid IS NOT NULL THEN %s END, CASE WHEN a.ctid IS NOT NULL THEN %s END)",
						 quote_literal_cstr(lfirst(cell)),
						 text_of("a", lfirst(cell)), text_of("b", lfirst(cell)));
	appendStringInfoString(&query, ") d (name, a, b) WHERE ");
	append_filter(&query, comparison);
	appendStringInfoString(&query, " AND d.a IS DISTINCT FROM d.b AND (d.name IS NULL OR a.ctid IS NOT NULL AND b.ctid IS NOT NULL) ORDER BY 1, 2, 3");
	return query.data;
}
