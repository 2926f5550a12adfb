/*
 * merge_describe.c
 *		definition_describe(): what a definition is understood as.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "argument.h"
#include "merge/merge.h"
#include "merge/merge_check.h"

#define DEFINITION_LENGTH (1024 * 1024)

SQL_FUNCTION(definition_describe);

typedef JsonbInState Json;

static void
push(Json *json, JsonbIteratorToken token, const char *string)
{
	JsonbValue	value;

	if (string == NULL)
		value.type = jbvNull;
	else
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, string);
		value.val.string.len = strlen(string);
	}
	compat_pushJsonbValue(json, token, &value);
}

static void
open_or_close(Json *json, JsonbIteratorToken token)
{
	compat_pushJsonbValue(json, token, NULL);
}

static void
field(Json *json, const char *name, const char *value)
{
	push(json, WJB_KEY, name);
	push(json, WJB_VALUE, value);
}

static const char *
shown(const Merge *merge, const void *expression)
{
	return expression ? MergeShow(merge, expression) : NULL;
}

static char *
relation_name(Oid relid)
{
	return psprintf("%s.%s",
					quote_identifier(get_namespace_name(get_rel_namespace(relid))),
					quote_identifier(get_rel_name(relid)));
}

static void
describe_key(Json *json, const Merge *merge)
{
	const MergeKey *key = &merge->key;

	push(json, WJB_KEY, "key");
	open_or_close(json, WJB_BEGIN_ARRAY);
	for (int i = 0; i < key->ncolumns; i++)
	{
		open_or_close(json, WJB_BEGIN_OBJECT);
		field(json, "column", get_attname(merge->read_model, key->columns[i],
										  false));
		field(json, "value", MergeShow(merge, key->values[i]));
		field(json, "operator", format_operator(key->equality[i]));
		open_or_close(json, WJB_END_OBJECT);
	}
	open_or_close(json, WJB_END_ARRAY);
}

static void
describe_items(Json *json, const Merge *merge)
{
	push(json, WJB_KEY, "items");
	if (merge->fan_out != NULL)
	{
		push(json, WJB_VALUE, "multiplied");
		return;
	}
	open_or_close(json, WJB_BEGIN_ARRAY);
	for (int i = 0; i < merge->item_width; i++)
		push(json, WJB_ELEM, get_attname(merge->stream, merge->item_columns[i],
										 false));
	open_or_close(json, WJB_END_ARRAY);
}

static const char *
action_name(MergeActionKind action)
{
	switch (action)
	{
		case MERGE_DO_INSERT:
			return "INSERT";
		case MERGE_DO_UPDATE:
			return "UPDATE";
		case MERGE_DO_DELETE:
			return "DELETE";
		default:
			return "DO NOTHING";
	}
}

static void
describe_clause(Json *json, const Merge *merge, const MergeClause *clause)
{
	ListCell   *cell;

	open_or_close(json, WJB_BEGIN_OBJECT);
	field(json, "when", clause->matched ? "MATCHED" : "NOT MATCHED");
	field(json, "action", action_name(clause->action));
	field(json, "condition", shown(merge, clause->condition));
	push(json, WJB_KEY, "columns");
	open_or_close(json, WJB_BEGIN_OBJECT);
	foreach(cell, clause->columns)
	{
		TargetEntry *entry = lfirst(cell);

		field(json, get_attname(merge->read_model, entry->resno, false),
			  MergeShow(merge, entry->expr));
	}
	open_or_close(json, WJB_END_OBJECT);
	open_or_close(json, WJB_END_OBJECT);
}

static Jsonb *
describe(const Merge *merge)
{
	Json		json = {0};
	ListCell   *cell;

	open_or_close(&json, WJB_BEGIN_OBJECT);
	field(&json, "stream", relation_name(merge->stream));
	field(&json, "read_model", relation_name(merge->read_model));
	describe_key(&json, merge);
	describe_items(&json, merge);
	field(&json, "filter", shown(merge, merge->filter));
	push(&json, WJB_KEY, "clauses");
	open_or_close(&json, WJB_BEGIN_ARRAY);
	foreach(cell, merge->clauses)
		describe_clause(&json, merge, lfirst(cell));
	open_or_close(&json, WJB_END_ARRAY);
	field(&json, "tested", shown(merge, merge->tested));
	push(&json, WJB_KEY, "notices");
	open_or_close(&json, WJB_BEGIN_ARRAY);
	foreach(cell, merge->notices)
		push(&json, WJB_ELEM, lfirst(cell));
	open_or_close(&json, WJB_END_ARRAY);
	compat_pushJsonbValue(&json, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(json.result);
}

/*
 * definition_describe(definition text) returns jsonb
 *
 * Parses a definition as the current user, and says what it means.  Errors:
 * those of MergeParse() and MergeCheckRights(), 22004 for null.
 */
Datum
definition_describe(PG_FUNCTION_ARGS)
{
	Merge	   *merge = MergeParse(ArgumentText(fcinfo, 0, "definition",
												DEFINITION_LENGTH));

	MergeCheckExpressions(merge, false);
	MergeCheckRights(merge, GetUserId());
	PG_RETURN_JSONB_P(describe(merge));
}
