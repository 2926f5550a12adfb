/*
 * merge_tested.c
 *		What the conditions of a definition test: the type of an event.
 *
 * Not needed to apply an event, but to tell people of it: which types no WHEN
 * holds for, and which event has failed.
 */
#include "postgres.h"

#include "compat.h"

#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "handler/merge_state.h"

/* Begin in the run's memory context. */
void
MergeBeginTested(MergeRun *run, const Merge *merge)
{
	Oid			output;
	bool		is_varlena;

	run->tested_stage.econtext->ecxt_outertuple = run->stored_slot;
	run->tested = MergePlan(merge->tested);
	if (run->tested == NULL)
		return;
	getTypeOutputInfo(exprType((Node *) run->tested), &output, &is_varlena);
	fmgr_info_cxt(output, &run->tested_output, run->context);
}

/* An error may have left it half-way, so it is compiled each time anew. */
static char *
evaluate(MergeRun *run)
{
	ExprContext *econtext = run->tested_stage.econtext;
	MemoryContext caller;
	Datum		value;
	bool		isnull;
	char	   *type;

	if (run->tested_value == NULL || run->tested_stage.busy)
	{
		MemoryContextReset(run->tested_stage.states);
		caller = MemoryContextSwitchTo(run->tested_stage.states);
		run->tested_value = ExecInitExpr(run->tested, NULL);
		MemoryContextSwitchTo(caller);
	}
	run->tested_stage.busy = true;
	caller = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	value = ExecEvalExpr(run->tested_value, econtext, &isnull);
	type = isnull ? NULL : OutputFunctionCall(&run->tested_output, value);
	MemoryContextSwitchTo(caller);
	run->tested_stage.busy = false;
	return type == NULL ? NULL : pstrdup(type);
}

/*
 * The value that the conditions test of a stored item, as text; NULL: it is
 * null, or they test nothing.
 */
char *
MergeItemType(MergeRun *run, const char *stored_item)
{
	MemoryContext old;

	if (run->tested == NULL)
		return NULL;
	ResetExprContext(run->tested_stage.econtext);
	old = MemoryContextSwitchTo(run->tested_stage.econtext->ecxt_per_tuple_memory);
	MergeItemLoad(run, stored_item, run->stored_slot);
	MemoryContextSwitchTo(old);
	return evaluate(run);
}

/* The same of an item that is being received. */
char *
MergeItemTypeNow(MergeRun *run, const MergeItem *item)
{
	TupleTableSlot *slot = run->stored_slot;
	char	   *type;

	if (run->tested == NULL)
		return NULL;
	ResetExprContext(run->tested_stage.econtext);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, item->values, run->width * sizeof(Datum));
	memcpy(slot->tts_isnull, item->nulls, run->width * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	type = evaluate(run);
	ExecClearTuple(slot);
	return type;
}

/* Does an expression look at the row? */
static bool
looks_at_row(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == MERGE_ROW;
	return expression_tree_walker(node, looks_at_row, context);
}

/* May this condition hold for the item in the slot, whatever the row is? */
static bool
may_hold(MergeRun *run, Expr *condition)
{
	ExprContext *econtext = run->tested_stage.econtext;
	ListCell   *cell;

	foreach(cell, make_ands_implicit(condition))
	{
		Expr	   *part = lfirst(cell);
		bool		isnull;
		Datum		holds;

		if (looks_at_row((Node *) part, NULL))
			continue;
		holds = ExecEvalExpr(ExecInitExpr(MergePlan(part), NULL), econtext, &isnull);
		if (isnull || !DatumGetBool(holds))
			return false;
	}
	return true;
}

/*
 * May a WHEN of the definition hold for the item, whatever its row is?  For
 * a look at a few events: each condition is compiled anew.
 */
bool
MergeMayApply(MergeRun *run, const Merge *merge, const MergeItem *item)
{
	TupleTableSlot *slot = run->stored_slot;
	ListCell   *cell;
	bool		may = false;

	if (!item->has_key)
		return false;
	ExecClearTuple(slot);
	memcpy(slot->tts_values, item->values, run->width * sizeof(Datum));
	memcpy(slot->tts_isnull, item->nulls, run->width * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	foreach(cell, merge->clauses)
		may = may || may_hold(run, ((MergeClause *) lfirst(cell))->condition);
	ExecClearTuple(slot);
	return may;
}

/* MergeItemReceiver: the type of the event's first item */
static void
take_type(void *arg, const MergeItem *item)
{
	MergeRun   *run = ((void **) arg)[0];
	char	  **type = ((void **) arg)[1];

	if (*type == NULL)
		*type = MergeItemTypeNow(run, item);
}

/* The same of an event, a row of the stream. */
char *
MergeEventType(MergeRun *run, TupleTableSlot *event)
{
	char	   *type = NULL;
	void	   *arg[2] = {run, &type};

	if (run->tested != NULL)
		MergeRunItems(run, event, take_type, arg);
	return type;
}

/*
 * The same of an event whose items cannot be computed: only where a column of
 * the stream is tested.  An error must not come from here; so what has to be
 * fetched or unpacked is not read.
 */
char *
MergeEventTypeNoItem(MergeRun *run, const Merge *merge, TupleTableSlot *event)
{
	Node	   *tested = (Node *) merge->tested;
	AttrNumber	column;
	Datum		value;
	bool		isnull;

	while (tested != NULL && IsA(tested, RelabelType))
		tested = (Node *) ((RelabelType *) tested)->arg;
	if (tested == NULL || !IsA(tested, Var) || merge->fan_out != NULL)
		return NULL;
	column = merge->item_columns[((Var *) tested)->varattno - 1];
	value = slot_getattr(event, column, &isnull);
	if (isnull ||
		(TupleDescAttr(event->tts_tupleDescriptor, column - 1)->attlen == -1 &&
		 (VARATT_IS_EXTERNAL(DatumGetPointer(value)) ||
		  VARATT_IS_COMPRESSED(DatumGetPointer(value)))))
		return NULL;
	return OutputFunctionCall(&run->tested_output, value);
}
