/*
 * blame.c
 *		Is it the keys that are broken, or the definition?
 *
 * Errors that say that something is missing or not allowed may come from a
 * broken read model, of which no key must suffer; or from one key alone (a
 * trigger that looks for that customer's table), and then nobody else must.
 * If other keys of the batch went well, in the same way, inserted or updated,
 * it is the keys.  If none did, the table is asked: a row of another key is
 * updated to what it is, in a subtransaction that is rolled back.  Where there
 * is none to ask, or it were to be inserted, one key is parked, and several
 * that fail in the same way are the definition's.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "batch/batch_state.h"
#include "batch/deferred.h"
#include "catalog.h"
#include "fault.h"
#include "merge/pinned.h"
#include "savepoint.h"

typedef enum TableAnswer
{
	TABLE_SILENT,				/* there is no row to ask, or it has an error
								 * of its own */
	TABLE_ACCEPTS,
	TABLE_REFUSES
} TableAnswer;

/* The keys that have failed, as text[]. */
static Datum
failed_keys(const Batch *batch)
{
	Datum	   *keys = palloc_array(Datum, list_length(batch->faults.failures));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, batch->faults.failures)
	{
		const FoldEntry *entry = ((BatchFailure *) lfirst(cell))->entry;

		if (entry->banned != FOLD_NO_KEY)
			keys[count++] = CStringGetTextDatum(KeyText(batch->work.sink.key,
														FoldEntryKey(entry),
														entry->key_length));
	}
	return PointerGetDatum(construct_array(keys, count, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

static const char *
column_name(const ApplyScope *scope, AttrNumber number)
{
	return quote_identifier(get_attname(RelationGetRelid(scope->read_model),
										number, false));
}

/* The key as its text is written: a column, or a row of them. */
static const char *
key_as_row(const ApplyScope *scope)
{
	const MergeKey *key;
	StringInfoData row;

	if (scope->sink->handler != NULL)
		return quote_identifier(scope->sink->handler->columns[0].name);
	key = &scope->sink->merge->key;
	if (key->ncolumns == 1)
		return column_name(scope, key->columns[0]);
	initStringInfo(&row);
	for (int i = 0; i < key->ncolumns; i++)
		appendStringInfo(&row, "%s%s", i == 0 ? "ROW(" : ", ",
						 column_name(scope, key->columns[i]));
	appendStringInfoChar(&row, ')');
	return row.data;
}

/* "column = column" for the columns that the projection changes. */
static void
append_columns(StringInfo query, const ApplyScope *scope)
{
	const RowHandler *handler = scope->sink->handler;
	const char *separator = "";

	for (int i = 1; handler != NULL && i < handler->ncolumns; i++)
	{
		const char *column = quote_identifier(handler->columns[i].name);

		appendStringInfo(query, "%s%s = %s", separator, column, column);
		separator = ", ";
	}
	if (handler == NULL)
	{
		const char *column = column_name(scope, scope->sink->merge->key.columns[0]);

		appendStringInfo(query, "%s = %s", column, column);
	}
}

/* Update a row of another key, that nobody has locked, to what it is. */
static uint64
update_other_row(const ApplyScope *scope, Datum keys)
{
	const char *table = QualifiedName(scope->read_model);
	StringInfoData query;
	Oid			type = TEXTARRAYOID;
	uint64		rows;

	initStringInfo(&query);
	appendStringInfo(&query, "UPDATE %s SET ", table);
	append_columns(&query, scope);
	appendStringInfo(&query, " WHERE ctid OPERATOR(pg_catalog.=) (SELECT ctid FROM %s"
					 " WHERE %s::pg_catalog.text OPERATOR(pg_catalog.<>) ALL ($1)"
					 " LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)",
					 table, key_as_row(scope));
	SPI_connect();
	if (SPI_execute_with_args(query.data, 1, &type, &keys, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "unexpected result of: %s", query.data);
	rows = SPI_processed;
	SPI_finish();
	return rows;
}

/* A question to the table. */
typedef struct Question
{
	const ApplyScope *scope;
	Datum		keys;			/* those that have failed */
	uint64		rows;			/* that it has accepted */
} Question;

/* SavepointStep */
static void
ask(void *arg)
{
	Question   *question = arg;
	int			level;

	if (InSecurityRestrictedOperation())
		(void) ConstraintsCheckAtOnce();
	level = KeyTextEnter();
	question->rows = update_other_row(question->scope, question->keys);
	PinnedLeave(level);
}

/* Does the table accept a row of a key that has not failed? */
static TableAnswer
ask_table(const Batch *batch, const ApplyScope *scope)
{
	Question	question = {.scope = scope,.keys = failed_keys(batch)};
	ErrorData  *error = InSavepointUndone(ask, &question);

	if (error == NULL)
		return question.rows > 0 ? TABLE_ACCEPTS : TABLE_SILENT;
	if (!ErrorIsOfKey(error->sqlerrcode))
		ReThrowError(error);
	return ErrorIsOfDefinition(error->sqlerrcode) ? TABLE_REFUSES : TABLE_SILENT;
}

/* How many keys of the batch there are of this kind. */
static int64
count_keys(const FoldedKey *keys, int64 count, bool creates)
{
	int64		result = 0;

	for (int64 i = 0; i < count; i++)
	{
		if (keys[i].entry->creates == creates)
			result++;
	}
	return result;
}

/*
 * The first failure of those that the batch inserts, or updates, if all of
 * them have failed for want of something, with nothing applied; or NULL.
 * Where so many updates have failed that the rest was not tried, these count
 * for all.
 */
static const BatchFailure *
all_failed(const Batch *batch, const FoldedKey *keys, int64 count,
		   bool creates, int *failed)
{
	const BatchFailure *first = NULL;
	int			locked = 0;		/* these say nothing */
	ListCell   *cell;

	*failed = 0;
	foreach(cell, batch->faults.failures)
	{
		const BatchFailure *each = lfirst(cell);

		/* what the fold has refused says nothing of the table */
		if (!each->counted || each->entry->creates != creates)
			continue;
		if (each->failure.locked)
		{
			locked++;
			continue;
		}
		if (each->applied > 0 || !ErrorIsOfDefinition(each->failure.sqlerrcode))
			return NULL;
		if (first == NULL)
			first = each;
		(*failed)++;
	}
	if (*failed + locked < count_keys(keys, count, creates) &&
		(creates || batch->faults.failing <= batch->projection->max_parked))
		return NULL;
	return first;
}

static void
raise_definition(const Batch *batch, const KeyFailure *failure)
{
	ereport(ERROR,
			(errcode(failure->sqlerrcode),
			 errmsg("projection \"%s\" cannot apply any event: %s",
					batch->projection->name, failure->message),
			 failure->detail ? errdetail_internal("%s", failure->detail) : 0,
			 errhint("%s", failure->hint ? failure->hint :
					 "Look at the read model's triggers and constraints. It is tried again by itself."),
			 failure->context ? errcontext("%s", failure->context) : 0));
}

/* If the keys' failures are not theirs, but the definition's, raise it. */
void
BatchCheckDefinition(const Batch *batch, const ApplyScope *scope,
					 const FoldedKey *keys, int64 count)
{
	for (int creates = 0; creates <= 1; creates++)
	{
		TableAnswer answer = TABLE_SILENT;
		int			failed;
		const BatchFailure *first = all_failed(batch, keys, count, creates,
											   &failed);

		if (first == NULL)
			continue;
		if (!creates && scope->sink->statement == NULL)
			answer = ask_table(batch, scope);
		if (answer == TABLE_REFUSES || (answer == TABLE_SILENT && failed > 1))
			raise_definition(batch, &first->failure);
	}
}
