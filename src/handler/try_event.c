/*
 * try_event.c
 *		Rows of a stream's table out of JSON objects.
 *
 * As jsonb_populate_record() makes them, over a row of the columns' defaults:
 * those that are constant.  The position counts the events unless it is given,
 * and stored generated columns are computed.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "handler/merge_state.h"
#include "handler/try.h"

struct TryEvents
{
	ExprContext *econtext;
	TupleTableSlot *given;		/* the JSON object, and the event's number */
	TupleTableSlot *row;
	AttrNumber	position;		/* column of the stream, or 0 */
	ExprState  *populate;
	int			ngenerated;
	RunColumn  *generated;
};

static bool
draws_number(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, NextValueExpr))
		return true;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_NEXTVAL)
		return true;
	return expression_tree_walker(node, draws_number, context);
}

/* The column that is numbered by the table, or 0. */
static AttrNumber
find_position(Relation stream)
{
	TupleDesc	desc = RelationGetDescr(stream);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || attribute->attgenerated)
			continue;
		if (attribute->attidentity ||
			draws_number(build_column_default(stream, i + 1), NULL))
			return i + 1;
	}
	return 0;
}

/* What a column is if the object does not say. */
static Node *
column_default(Relation stream, AttrNumber column, AttrNumber position)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(stream),
												column - 1);
	Node	   *expr = NULL;

	if (attribute->attisdropped)
		return (Node *) makeNullConst(INT4OID, -1, InvalidOid);
	if (column == position)
		return coerce_to_target_type(NULL,
									 (Node *) makeVar(MERGE_ITEM, 2, INT8OID,
													  -1, InvalidOid, 0),
									 INT8OID, attribute->atttypid,
									 attribute->atttypmod,
									 COERCION_ASSIGNMENT,
									 COERCE_IMPLICIT_CAST, -1);
	if (!attribute->attgenerated)
		expr = build_column_default(stream, column);
	if (expr == NULL || contain_mutable_functions(expr))
		return (Node *) makeNullConst(attribute->atttypid,
									  attribute->atttypmod,
									  attribute->attcollation);
	return expr;
}

/* jsonb_populate_record(the defaults, the object) */
static Expr *
populate_expression(Relation stream, AttrNumber position)
{
	TupleDesc	desc = RelationGetDescr(stream);
	RowExpr    *row = makeNode(RowExpr);
	Node	   *object = (Node *) makeVar(MERGE_ITEM, 1, JSONBOID, -1,
										  InvalidOid, 0);

	row->row_typeid = desc->tdtypeid;
	row->row_format = COERCE_IMPLICIT_CAST;
	row->location = -1;
	for (int i = 0; i < desc->natts; i++)
		row->args = lappend(row->args,
							column_default(stream, i + 1, position));
	return (Expr *) makeFuncExpr(F_JSONB_POPULATE_RECORD, desc->tdtypeid,
								 list_make2(row, object), InvalidOid,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

static void
begin_generated(TryEvents *events, Relation stream)
{
	TupleDesc	desc = RelationGetDescr(stream);

	events->generated = palloc0_array(RunColumn, Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		RunColumn  *column = &events->generated[events->ngenerated];
		Node	   *expr;

		if (TupleDescAttr(desc, i)->attgenerated != ATTRIBUTE_GENERATED_STORED)
			continue;
		expr = build_column_default(stream, i + 1);
		ChangeVarNodes(expr, 1, MERGE_ROW, 0);
		column->at = i;
		column->value = ExecInitExpr(MergePlan((Expr *) expr), NULL);
		events->ngenerated++;
	}
}

/* Begin to make rows of this table, in the current memory context. */
TryEvents *
TryEventsBegin(Relation stream)
{
	TryEvents  *events = palloc0_object(TryEvents);
	TupleDesc	given = CreateTemplateTupleDesc(2);

	TupleDescInitEntry(given, 1, "event", JSONBOID, -1, 0);
	TupleDescInitEntry(given, 2, "number", INT8OID, -1, 0);
	events->given = MakeSingleTupleTableSlot(given, &TTSOpsVirtual);
	events->row = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(stream)),
										   &TTSOpsHeapTuple);
	events->econtext = CreateStandaloneExprContext();
	events->econtext->ecxt_outertuple = events->given;
	events->econtext->ecxt_innertuple = events->row;
	events->position = find_position(stream);
	events->populate = ExecInitExpr(MergePlan(populate_expression(stream,
																  events->position)),
									NULL);
	begin_generated(events, stream);
	return events;
}

/* Fill the row with what the object says. */
static void
populate(TryEvents *events)
{
	HeapTupleData tuple;
	bool		null;
	Datum		record = ExecEvalExpr(events->populate, events->econtext,
									  &null);

	tuple.t_data = DatumGetHeapTupleHeader(record);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	ExecForceStoreHeapTuple(heap_copytuple(&tuple), events->row, false);
}

/* The generated columns; the row is made once more if there are any. */
static void
generate(TryEvents *events)
{
	TupleTableSlot *row = events->row;
	HeapTuple	tuple;

	if (events->ngenerated == 0)
		return;
	slot_getallattrs(row);
	for (int i = 0; i < events->ngenerated; i++)
	{
		int			at = events->generated[i].at;

		row->tts_values[at] = ExecEvalExpr(events->generated[i].value,
										   events->econtext,
										   &row->tts_isnull[at]);
	}
	tuple = heap_form_tuple(row->tts_tupleDescriptor, row->tts_values,
							row->tts_isnull);
	ExecForceStoreHeapTuple(tuple, row, false);
}

static bool
is_column(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return true;
	return false;
}

/*
 * An error if a key of the object is no column.  To leave it out would make of
 * a misspelt key an event that nothing happens to.
 */
static void
check_keys(TupleDesc desc, Jsonb *event)
{
	JsonbIterator *iterator = JsonbIteratorInit(&event->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(value.val.string.val, value.val.string.len);
		if (!is_column(desc, key))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("an event has a key \"%s\", and the stream has no such column",
							key),
					 errhint("The keys of an event are columns of the stream. What is inside a document stands in its column, as in {\"payload\": {\"price\": 1}}.")));
	}
}

/* The row that the object makes, good until the next call. */
TupleTableSlot *
TryEventRow(TryEvents *events, Jsonb *event, int64 number)
{
	TupleTableSlot *given = events->given;
	MemoryContext old;

	ExecClearTuple(events->row);
	ResetExprContext(events->econtext);
	ExecClearTuple(given);
	given->tts_values[0] = JsonbPGetDatum(event);
	given->tts_values[1] = Int64GetDatum(number);
	given->tts_isnull[0] = given->tts_isnull[1] = false;
	ExecStoreVirtualTuple(given);
	old = MemoryContextSwitchTo(events->econtext->ecxt_per_tuple_memory);
	check_keys(events->row->tts_tupleDescriptor, event);
	populate(events);
	generate(events);
	MemoryContextSwitchTo(old);
	return events->row;
}

/* The position of the row made last; number, if the table has none. */
int64
TryEventNumber(TryEvents *events, int64 number)
{
	TupleTableSlot *row = events->row;
	Datum		value;
	bool		null;

	if (events->position == 0)
		return number;
	value = slot_getattr(row, events->position, &null);
	if (null)
		return number;
	switch (TupleDescAttr(row->tts_tupleDescriptor,
						  events->position - 1)->atttypid)
	{
		case INT8OID:
			return DatumGetInt64(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT2OID:
			return DatumGetInt16(value);
		default:
			return number;
	}
}
