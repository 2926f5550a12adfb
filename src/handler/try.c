/*
 * try.c
 *		projection_try(): the rows that events would make.
 *
 * The unit test of a definition.  Events come as JSON, rows go out as JSON,
 * no table is read or written.  Events are applied one after the other, so
 * the row of a key is put aside when an event of another key comes.
 */
#include "postgres.h"

#include "access/relation.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "handler/try.h"

SQL_FUNCTION(projection_try);

/* A key, and its row while another key's is worked on. */
typedef struct TryKey
{
	Datum		values[INDEX_MAX_KEYS];
	bool		exists;
	TupleTableSlot *row;
	struct TryKey *next;		/* of the same hash */
} TryKey;

typedef struct TryBucket
{
	uint32		hash;
	TryKey	   *keys;
} TryBucket;

/* A column of the key. */
typedef struct TryKeyColumn
{
	int16		length;
	bool		byval;
	Oid			collation;
	FmgrInfo	hash;			/* fn_oid 0: there is none */
	FmgrInfo	equal;
	FmgrInfo	to_json;
} TryKeyColumn;

typedef struct Try
{
	Merge	   *merge;
	Relation	stream;
	Relation	read_model;
	MergeRun   *run;
	TryEvents  *events;
	bool		trace;
	ReturnSetInfo *result;
	MemoryContext item_context; /* reset for each item */
	TryKeyColumn columns[INDEX_MAX_KEYS];
	FmgrInfo	row_to_json;
	HTAB	   *buckets;
	List	   *keys;			/* of TryKey, as they have appeared */
	TryKey	   *current;		/* whose row the run has */
	MergeRow   *row;
	int64		number;			/* of the event, counted */
} Try;

/* to_jsonb() for this type */
static void
prepare_json(FmgrInfo *function, Oid type)
{
	Node	   *argument = (Node *) makeNullConst(type, -1, InvalidOid);

	fmgr_info(F_TO_JSONB, function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(argument), InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   function);
}

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
		prepare_json(&column->to_json, type);
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

static void
return_json(Try *try, Datum json)
{
	bool		null = false;

	tuplestore_putvalues(try->result->setResult, try->result->setDesc, &json,
						 &null);
}

static Datum
row_as_json(Try *try, TupleTableSlot *row)
{
	return FunctionCall1(&try->row_to_json, ExecFetchSlotHeapTupleDatum(row));
}

static void
push_name(JsonbParseState **state, const char *name)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
}

/* A value of jsonb into an object or array. */
static void
push_json(JsonbParseState **state, JsonbIteratorToken token, Datum json)
{
	JsonbValue	value;

	if (!JsonbExtractScalar(&DatumGetJsonbP(json)->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.data = &DatumGetJsonbP(json)->root;
		value.val.binary.len = VARSIZE(DatumGetPointer(json)) - VARHDRSZ;
	}
	pushJsonbValue(state, token, &value);
}

static void
push_number(JsonbParseState **state, int64 number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_null(JsonbParseState **state)
{
	JsonbValue	value = {.type = jbvNull};

	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_bool(JsonbParseState **state, bool boolean)
{
	JsonbValue	value = {.type = jbvBool};

	value.val.boolean = boolean;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_string(JsonbParseState **state, const char *string)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* The key: its value, an array of several; null if any of them is. */
static void
push_key(Try *try, JsonbParseState **state, const MergeItem *item)
{
	int			ncolumns = try->merge->key.ncolumns;

	if (!item->has_key)
	{
		push_null(state);
		return;
	}
	if (ncolumns > 1)
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < ncolumns; i++)
		push_json(state, ncolumns > 1 ? WJB_ELEM : WJB_VALUE,
				  FunctionCall1(&try->columns[i].to_json, item->key[i]));
	if (ncolumns > 1)
		pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static const char *
action_name(MergeActionKind action)
{
	switch (action)
	{
		case MERGE_DO_NOTHING:
			break;
		case MERGE_DO_INSERT:
			return "insert";
		case MERGE_DO_UPDATE:
			return "update";
		case MERGE_DO_DELETE:
			return "delete";
	}
	return "nothing";
}

/* What an item has done; effect is NULL if its key is null. */
static void
trace_item(Try *try, const MergeItem *item, bool matched,
		   const MergeEffect *effect)
{
	JsonbParseState *state = NULL;
	bool		applied = effect != NULL && effect->clause >= 0;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_name(&state, "no");
	push_number(&state, TryEventNumber(try->events, try->number));
	push_name(&state, "key");
	push_key(try, &state, item);
	push_name(&state, "matched");
	if (effect != NULL)
		push_bool(&state, matched);
	else
		push_null(&state);
	push_name(&state, "clause");
	if (applied)
		push_number(&state, effect->clause + 1);
	else
		push_null(&state);
	push_name(&state, "action");
	if (applied)
		push_string(&state, action_name(effect->action));
	else
		push_null(&state);
	push_name(&state, "row");
	if (effect != NULL && try->row->exists)
		push_json(&state, WJB_VALUE, row_as_json(try, try->row->slot));
	else
		push_null(&state);
	return_json(try, JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state,
																	 WJB_END_OBJECT,
																	 NULL))));
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
			trace_item(try, item, false, NULL);
		MemoryContextSwitchTo(old);
		return;
	}
	turn_to_key(try, item, MemoryContextGetParent(try->item_context));
	stored = palloc(MergeItemSize(try->run, item));
	MergeItemStore(try->run, item, stored);
	matched = try->row->exists;
	effect = MergeRowApply(try->run, stored);
	if (try->trace)
		trace_item(try, item, matched, &effect);
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
				  receive_item, try);
}

static void
apply_events(Try *try, Jsonb *events)
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
		return_json(try, row_as_json(try, key->row));
		MemoryContextSwitchTo(MemoryContextGetParent(try->item_context));
	}
}

static void
begin_try(Try *try, text *definition)
{
	ParamListInfo params;

	try->merge = MergeParse(text_to_cstring(definition));
	MergeCheckRights(try->merge, GetUserId());
	params = TrySequences(try->merge);
	try->stream = relation_open(try->merge->stream, AccessShareLock);
	try->read_model = relation_open(try->merge->read_model, AccessShareLock);
	try->run = MergeRunBegin(try->merge, try->stream, try->read_model);
	MergeRunParams(try->run, params);
	MergeRunOpen(try->run, try->read_model);
	try->events = TryEventsBegin(try->stream);
	try->row = MergeRowBegin(try->run, NULL);
	try->item_context = AllocSetContextCreate(CurrentMemoryContext,
											  "item of a trial",
											  ALLOCSET_DEFAULT_SIZES);
	prepare_keys(try);
	prepare_json(&try->row_to_json,
				 RelationGetDescr(try->read_model)->tdtypeid);
}

/*
 * projection_try(definition text, events jsonb, trace boolean) returns setof
 * jsonb
 */
Datum
projection_try(PG_FUNCTION_ARGS)
{
	Try			try = {0};
	Jsonb	   *events;

	for (int i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("no argument of projection_try() may be null")));
	}
	events = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_ARRAY(events) || JB_ROOT_IS_SCALAR(events))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("events must be a JSON array"),
				 errhint("Write an array of objects, one per event, such as [{\"column\": \"value\"}].")));
	compat_InitScalarSRF(fcinfo);
	try.result = (ReturnSetInfo *) fcinfo->resultinfo;
	try.trace = PG_GETARG_BOOL(2);
	begin_try(&try, PG_GETARG_TEXT_PP(0));
	apply_events(&try, events);
	if (!try.trace)
		return_rows(&try);
	MergeRunEnd(try.run);
	relation_close(try.read_model, NoLock);
	relation_close(try.stream, NoLock);
	return (Datum) 0;
}
