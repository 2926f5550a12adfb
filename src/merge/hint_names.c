/*
 * hint_names.c
 *		Hints for names that mean nothing, or two things.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "merge/hints.h"

/* What the definition calls the read model's row; it stands before USING. */
char *
HintTargetAlias(const Words *words)
{
	int			using = WordsFind(words, 0, "using");

	return using > 0 ? WordsText(words, using - 1, using - 1) : pstrdup("o");
}

/* What it calls the event; that stands before ON. */
char *
HintSourceAlias(const Words *words)
{
	int			on = WordsFind(words, 0, "on");

	if (on <= 0 || WordIs(words, on - 1, ")"))
		return pstrdup("e");
	return WordsText(words, on - 1, on - 1);
}

/* The column to which the value at this place is assigned by SET; or NULL. */
static char *
assigned_column(const Words *words, int at)
{
	int			i = at - 1;

	while (i > 0 && words->word[i].depth > 0)
		i--;
	while (i > 1 && !WordIs(words, i, "set") && !WordIs(words, i, ",") &&
		   !WordIs(words, i, "then"))
		i--;
	if (!WordIs(words, i + 2, "=") || WordIs(words, i, "then"))
		return NULL;
	return WordsText(words, i + 1, i + 1);
}

/* "aggregate functions are not allowed in UPDATE", at the function */
char *
HintForAggregate(const Words *words, int at)
{
	char	   *column = at > 0 ? assigned_column(words, at) : NULL;
	char	   *row = HintTargetAlias(words);
	int			close = at + 1;
	char	   *argument;

	if (column == NULL || !WordIs(words, close, "("))
		return pstrdup("Actions see one event at a time. Keep the sum in a column: SET total = o.total + e.amount");
	while (close + 1 < words->count && words->word[close + 1].depth >
		   words->word[at + 1].depth)
		close++;
	argument = WordsText(words, at + 2, close);
	if (WordIs(words, at, "count"))
		return psprintf("Actions see one event at a time: SET %s = %s.%s + 1",
						column, row, column);
	if (WordIs(words, at, "sum"))
		return psprintf("Actions see one event at a time: SET %s = %s.%s + %s",
						column, row, column, argument);
	if (WordIs(words, at, "max") || WordIs(words, at, "min"))
		return psprintf("Actions see one event at a time: SET %s = %s(%s.%s, %s)",
						column,
						WordIs(words, at, "max") ? "GREATEST" : "LEAST",
						row, column, argument);
	return psprintf("Actions see one event at a time: compute %s from %s.%s, what the events before have left, and the event.",
					column, row, column);
}

/* "column "o" of relation "t" does not exist", "column "PAID" ..." */
char *
HintForColumn(const Words *words, int at, const char *message)
{
	if (at < 1)
		return NULL;
	if (WordIs(words, at + 1, ".") &&
		strstr(message, "of relation") != NULL)
	{
		int			end = at + 2;

		if (WordIs(words, at + 3, "="))
			end = OperandEnd(words, at + 3);
		return psprintf("The column stands alone: %s%s",
						WordIs(words, at + 3, "=") ? "SET " : "",
						WordsText(words, at + 2, end));
	}
	if (words->word[at].kind == WORD_QUOTED_NAME &&
		!WordIs(words, at - 1, ".") && words->word[at].length > 2)
		return psprintf("Double quotes are for names. A constant is in single quotes: %s",
						quote_literal_cstr(pnstrdup(words->word[at].at + 1,
													words->word[at].length - 2)));
	return NULL;
}

/* "column reference "id" is ambiguous" */
char *
HintForAmbiguous(const Words *words, int at)
{
	char	   *column;

	if (at < 0)
		return NULL;
	column = WordsText(words, at, at);
	return psprintf("Write %s.%s for the column of the row, %s.%s for the column of the event.",
					HintTargetAlias(words), column,
					HintSourceAlias(words), column);
}

/* The schema of some table of this name that is not in the path; or NULL. */
static char *
schema_of_table(const char *name)
{
	CatCList   *list = SearchSysCacheList1(RELNAMENSP, CStringGetDatum(name));
	char	   *schema = NULL;

	for (int i = 0; i < list->n_members && schema == NULL; i++)
	{
		Form_pg_class row = (Form_pg_class)
			GETSTRUCT(&list->members[i]->tuple);

		if ((row->relkind == RELKIND_RELATION ||
			 row->relkind == RELKIND_PARTITIONED_TABLE ||
			 row->relkind == RELKIND_VIEW) &&
			!isAnyTempNamespace(row->relnamespace))
			schema = get_namespace_name(row->relnamespace);
	}
	ReleaseSysCacheList(list);
	return schema;
}

static char *
hint_for_missing_table(const Words *words, int at)
{
	char	   *name;
	char	   *schema;

	if (WordIs(words, at + 1, "."))
		return NULL;
	name = WordsText(words, at, at);
	if (words->word[at].kind == WORD_NAME)
		name = downcase_truncate_identifier(name, strlen(name), false);
	else
		name = pnstrdup(name + 1, strlen(name) - 2);
	schema = schema_of_table(name);
	if (schema == NULL)
		return NULL;
	if (!compat_may_use_schema(get_namespace_oid(schema, false)))
		return psprintf("Role \"%s\" may not use the table's schema: GRANT USAGE ON SCHEMA %s TO %s;",
						GetUserNameFromId(GetUserId(), false),
						quote_identifier(schema),
						quote_identifier(GetUserNameFromId(GetUserId(), false)));
	return psprintf("The table is in a schema that search_path does not name: write %s.",
					quote_qualified_identifier(schema, name));
}

/* "missing FROM-clause entry for table "x"", "invalid reference to ..." */
char *
HintForTable(const Words *words, int at, const char *message)
{
	char	   *row = HintTargetAlias(words);
	char	   *event = HintSourceAlias(words);
	char	   *column;

	if (at < 0)
		return NULL;
	/* what PostgreSQL quotes is not translated */
	if (strstr(message, "FROM") == NULL)
		return hint_for_missing_table(words, at);
	if (WordIs(words, at + 1, ".") && WordIs(words, at + 3, "."))
		return psprintf("A field of a JSON column is %s->>'%s'.",
						WordsText(words, at, at + 2),
						WordsText(words, at + 4, at + 4));
	if (!WordIs(words, 0, "merge"))
		return NULL;
	column = WordsText(words, at + 2, at + 2);
	if (WordIs(words, at, row))
		return psprintf("WHEN NOT MATCHED has no row to read: use columns of the event %s, or constants.",
						event);
	if (strstr(message, "invalid reference") != NULL)
		return NULL;			/* PostgreSQL names the alias */
	return psprintf("The event is called %s, the row of the read model %s: write %s.%s or %s.%s.",
					event, row, event, column, row, column);
}
