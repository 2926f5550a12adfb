/*
 * try.c
 *		projection_try(): the rows that events would make.
 *
 * The unit test of a definition.  Events come as JSON, rows go out as JSON,
 * no table is read or written.  Events are applied one after the other, so
 * the row of a key is put aside when an event of another key comes.
 */
#include "postgres.h"

#include "compat.h"

#include "access/relation.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "handler/try.h"
#include "merge/merge_check.h"

SQL_FUNCTION(projection_try);

/* Keys of one hash. */
typedef struct TryBucket
{
	uint32		hash;
	TryKey	   *keys;
} TryBucket;

static void
prepare_keys(Try *try)
{
	MergeKey   *key = &try->merge->key;
	HASHCTL		control = {0};

	for (int i = 0; i < key->ncolumns; i++)
	{
		TryKeyColumn *column = &try->columns[i];
		Oid			type = exprType((Node *) key->values[i]);
		RegProcedure hash;
		RegProcedure other;

		get_typlenbyval(type, &column->length, &column->byval);
		column->collation = key->collation[i];
		if (get_op_hash_functions(key->equality[i], &hash, &other))
			fmgr_info(hash, &column->hash);
		fmgr_info(get_opcode(key->equality[i]), &column->equal);
		TryPrepareJson(&column->to_json, type);
	}
	control.keysize = sizeof(uint32);
	control.entrysize = sizeof(TryBucket);
	control.hcxt = CurrentMemoryContext;
	try->buckets = hash_create("keys of a trial", 256, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static uint32
hash_key(Try *try, const Datum *key)
{
	uint32		hash = 0;

	for (int i = 0; i < try->merge->key.ncolumns; i++)
	{
		TryKeyColumn *column = &try->columns[i];

		if (OidIsValid(column->hash.fn_oid))
			hash = hash * 31 +
				DatumGetUInt32(FunctionCall1Coll(&column->hash,
												 column->collation, key[i]));
	}
	return hash;
}

static bool
same_key(Try *try, const TryKey *key, const Datum *values)
{
	for (int i = 0; i < try->merge->key.ncolumns; i++)
	{
		TryKeyColumn *column = &try->columns[i];

		if (!DatumGetBool(FunctionCall2Coll(&column->equal, column->collation,
											key->values[i], values[i])))
			return false;
	}
	return true;
}

static TryKey *
new_key(Try *try, const Datum *values)
{
	TryKey	   *key = palloc0_object(TryKey);

	for (int i = 0; i < try->merge->key.ncolumns; i++)
		key->values[i] = datumCopy(values[i], try->columns[i].byval,
								   try->columns[i].length);
	key->row = MakeSingleTupleTableSlot(try->row->slot->tts_tupleDescriptor,
										&TTSOpsMinimalTuple);
	try->keys = lappend(try->keys, key);
	return key;
}

/* The key of these values, a new one if it has not appeared before. */
static TryKey *
find_key(Try *try, const Datum *values)
{
	uint32		hash = hash_key(try, values);
	bool		found;
	TryBucket  *bucket = hash_search(try->buckets, &hash, HASH_ENTER, &found);
	TryKey	   *key;

	if (!found)
		bucket->keys = NULL;
	for (key = bucket->keys; key != NULL; key = key->next)
	{
		if (same_key(try, key, values))
			return key;
	}
	key = new_key(try, values);
	key->next = bucket->keys;
	bucket->keys = key;
	return key;
}

/* Put the current key's row aside. */
static void
put_aside(Try *try)
{
	if (try->current == NULL)
		return;
	try->current->exists = try->row->exists;
	if (try->row->exists)
		ExecCopySlot(try->current->row, try->row->slot);
	try->current = NULL;
}

/* Make the row of an item's key the one that is worked on. */
static void
turn_to_key(Try *try, const MergeItem *item, MemoryContext lasting)
{
	MemoryContext old;
	TryKey	   *key;

	if (try->current != NULL && same_key(try, try->current, item->key))
		return;
	old = MemoryContextSwitchTo(lasting);
	put_aside(try);
	key = find_key(try, item->key);
	MemoryContextSwitchTo(old);
	try->row = MergeRowBegin(try->run, key->exists ? key->row : NULL);
	try->current = key;
}

/* Apply an item. */
static void
receive_item(void *arg, const MergeItem *item)
{
	Try		   *try = arg;
	MemoryContext old = MemoryContextSwitchTo(try->item_context);
	char	   *stored;
	bool		matched;
	MergeEffect effect;

	MemoryContextReset(try->item_context);
	if (!item->has_key)
	{
		if (try->trace)
			TryTraceItem(try, item, false, NULL);
		MemoryContextSwitchTo(old);
		return;
	}
	turn_to_key(try, item, MemoryContextGetParent(try->item_context));
	stored = palloc(MergeItemSize(try->run, item));
	MergeItemStore(try->run, item, stored);
	matched = try->row->exists;
	effect = MergeRowApply(try->run, stored);
	if (try->trace)
		TryTraceItem(try, item, matched, &effect);
	MemoryContextSwitchTo(old);
}

/* Context of an error: which event it is about. */
static void
event_context(void *arg)
{
	Try		   *try = arg;

	errcontext("event " INT64_FORMAT " of the array", try->number);
}

static void
apply_event(Try *try, JsonbValue *element)
{
	if (element->type != jbvBinary ||
		!JsonContainerIsObject(element->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an event must be a JSON object"),
				 errhint("Its keys are the columns of the stream \"%s\".",
						 RelationGetRelationName(try->stream))));
	MergeRunItems(try->run,
				  TryEventRow(try->events, JsonbValueToJsonb(element),
							  try->number),
				  try->receive, try);
}

/* Give the items of all events to the trial's receiver. */
void
TryApplyEvents(Try *try, Jsonb *events)
{
	MemoryContext element_context = AllocSetContextCreate(CurrentMemoryContext,
														  "event of a trial",
														  ALLOCSET_DEFAULT_SIZES);
	JsonbIterator *iterator = JsonbIteratorInit(&events->root);
	ErrorContextCallback callback;
	JsonbValue	element;
	JsonbIteratorToken token;

	callback.callback = event_context;
	callback.arg = try;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	while ((token = JsonbIteratorNext(&iterator, &element,
									  true)) != WJB_DONE)
	{
		MemoryContext old;

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		try->number++;
		old = MemoryContextSwitchTo(element_context);
		apply_event(try, &element);
		MemoryContextSwitchTo(old);
		MemoryContextReset(element_context);
	}
	error_context_stack = callback.previous;
}

static void
return_rows(Try *try)
{
	ListCell   *lc;

	put_aside(try);
	foreach(lc, try->keys)
	{
		TryKey	   *key = lfirst(lc);

		if (!key->exists)
			continue;
		MemoryContextReset(try->item_context);
		MemoryContextSwitchTo(try->item_context);
		TryReturnJson(try, TryRowAsJson(try, key->row));
		MemoryContextSwitchTo(MemoryContextGetParent(try->item_context));
	}
}

static void
begin_try(Try *try, text *definition, bool allow_stable)
{
	ParamListInfo params;

	try->merge = MergeParse(text_to_cstring(definition));
	MergeCheckRights(try->merge, GetUserId());
	MergeCheckExpressions(try->merge, allow_stable);
	params = TrySequences(try->merge);
	try->stream = relation_open(try->merge->stream, AccessShareLock);
	try->read_model = relation_open(try->merge->read_model, AccessShareLock);
	try->receive = receive_item;
	try->run = MergeRunBegin(try->merge, try->stream, try->read_model);
	MergeRunParams(try->run, params);
	MergeRunOpen(try->run, try->read_model);
	try->events = TryEventsBegin(try->stream);
	try->row = MergeRowBegin(try->run, NULL);
	try->item_context = AllocSetContextCreate(CurrentMemoryContext,
											  "item of a trial",
											  ALLOCSET_DEFAULT_SIZES);
	prepare_keys(try);
	TryPrepareJson(&try->row_to_json,
				   RelationGetDescr(try->read_model)->tdtypeid);
}

/* Try a MERGE. */
static void
try_merge(Try *try, text *definition, Jsonb *events, bool allow_stable)
{
	begin_try(try, definition, allow_stable);
	TryApplyEvents(try, events);
	if (!try->trace)
		return_rows(try);
	MergeRunEnd(try->run);
	relation_close(try->read_model, NoLock);
	relation_close(try->stream, NoLock);
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	Jsonb	   *events;

	for (int i = 0; i < TRY_ARGUMENTS; i++)
	{
		if (PG_ARGISNULL(i) && i != TRY_STREAM && i != TRY_KEY)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("no argument of projection_try() may be null, but for \"stream\" and \"key\"")));
	}
	events = PG_GETARG_JSONB_P(TRY_EVENTS);
	if (!JB_ROOT_IS_ARRAY(events) || JB_ROOT_IS_SCALAR(events))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("events must be a JSON array"),
				 errhint("Write an array of objects, one per event, such as [{\"column\": \"value\"}].")));
}

/*
 * projection_try(definition text, events jsonb, trace boolean, stream text,
 * key text, for_each text, allow_stable boolean) returns setof jsonb
 */
Datum
projection_try(PG_FUNCTION_ARGS)
{
	Try			try = {0};

	check_arguments(fcinfo);
	compat_InitScalarSRF(fcinfo);
	try.result = (ReturnSetInfo *) fcinfo->resultinfo;
	try.trace = PG_GETARG_BOOL(TRY_TRACE);
	if (PG_ARGISNULL(TRY_STREAM))
		try_merge(&try, PG_GETARG_TEXT_PP(TRY_DEFINITION),
				  PG_GETARG_JSONB_P(TRY_EVENTS),
				  PG_GETARG_BOOL(TRY_ALLOW_STABLE));
	else
		TryStatement(&try, fcinfo);
	return (Datum) 0;
}
