/*
 * try_trace.c
 *		What a trial returns: rows, or what each item has done, as jsonb.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "handler/try.h"

/* Make it to_jsonb() for a type. */
void
TryPrepareJson(FmgrInfo *function, Oid type)
{
	Node	   *argument = (Node *) makeNullConst(type, -1, InvalidOid);

	fmgr_info(F_TO_JSONB, function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(argument), InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   function);
}

/* A row of the result. */
void
TryReturnJson(Try *try, Datum json)
{
	bool		null = false;

	tuplestore_putvalues(try->result->setResult, try->result->setDesc, &json,
						 &null);
}

/* A row as jsonb, without what is computed when it is read. */
Datum
TryWithoutVirtual(Datum json, TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (compat_is_virtual(TupleDescAttr(desc, i)))
			json = DirectFunctionCall2(jsonb_delete, json,
									   CStringGetTextDatum(NameStr(TupleDescAttr(desc, i)->attname)));
	}
	return json;
}

/* A row of the read model as jsonb. */
Datum
TryRowAsJson(Try *try, TupleTableSlot *row)
{
	TupleDesc	desc = try->read_model == NULL ? row->tts_tupleDescriptor :
		RelationGetDescr(try->read_model);

	return TryWithoutVirtual(FunctionCall1(&try->row_to_json,
										   ExecFetchSlotHeapTupleDatum(row)),
							 desc);
}

/* A value of jsonb into an object or array. */
static void
push_json(JsonbInState *state, JsonbIteratorToken token, Datum json)
{
	JsonbValue	value;

	if (!JsonbExtractScalar(&DatumGetJsonbP(json)->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.data = &DatumGetJsonbP(json)->root;
		value.val.binary.len = VARSIZE(DatumGetPointer(json)) - VARHDRSZ;
	}
	compat_pushJsonbValue(state, token, &value);
}

static void
push_number(JsonbInState *state, int64 number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	compat_pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_null(JsonbInState *state)
{
	JsonbValue	value = {.type = jbvNull};

	compat_pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_bool(JsonbInState *state, bool boolean)
{
	JsonbValue	value = {.type = jbvBool};

	value.val.boolean = boolean;
	compat_pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_string(JsonbInState *state, JsonbIteratorToken token,
			const char *string)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	compat_pushJsonbValue(state, token, &value);
}

/* The key: its value, an array of several; null if any of them is. */
static void
push_key(Try *try, JsonbInState *state, const MergeItem *item)
{
	int			ncolumns = try->merge->key.ncolumns;

	if (!item->has_key)
	{
		push_null(state);
		return;
	}
	if (ncolumns > 1)
		compat_pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < ncolumns; i++)
		push_json(state, ncolumns > 1 ? WJB_ELEM : WJB_VALUE,
				  FunctionCall1(&try->columns[i].to_json, item->key[i]));
	if (ncolumns > 1)
		compat_pushJsonbValue(state, WJB_END_ARRAY, NULL);
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
void
TryTraceItem(Try *try, const MergeItem *item, bool matched,
			 const MergeEffect *effect)
{
	JsonbInState state = {0};
	bool		applied = effect != NULL && effect->clause >= 0;

	compat_pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "no");
	push_number(&state, TryEventNumber(try->events, try->number));
	push_string(&state, WJB_KEY, "key");
	push_key(try, &state, item);
	push_string(&state, WJB_KEY, "matched");
	if (effect != NULL)
		push_bool(&state, matched);
	else
		push_null(&state);
	push_string(&state, WJB_KEY, "clause");
	if (applied)
		push_number(&state, effect->clause + 1);
	else
		push_null(&state);
	push_string(&state, WJB_KEY, "action");
	if (applied)
		push_string(&state, WJB_VALUE, action_name(effect->action));
	else
		push_null(&state);
	push_string(&state, WJB_KEY, "row");
	if (effect != NULL && try->row->exists)
		push_json(&state, WJB_VALUE, TryRowAsJson(try, try->row->slot));
	else
		push_null(&state);
	compat_pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	TryReturnJson(try, JsonbPGetDatum(JsonbValueToJsonb(state.result)));
}
