/*
 * merge_check.c
 *		What a row must be, after each item.
 *
 * NOT NULL and CHECK constraints are the executor's to check and to complain
 * about.  A table that has only NOT NULL is looked at here first: then the
 * executor is needed for the complaint alone.
 */
#include "postgres.h"

#include "compat.h"

#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "errors.h"
#include "handler/merge_state.h"

/* Drop the executor's state of a batch, also where that has failed. */
void
MergeCheckForget(MergeRun *run)
{
	if (run->estate != NULL)
		MemoryContextDelete(run->estate->es_query_cxt);
	run->estate = NULL;
	run->target = NULL;
}

/* The read model of the batch, and what its rows are checked for. */
void
MergeCheckPrepare(MergeRun *run, Relation read_model)
{
	TupleDesc	desc = RelationGetDescr(read_model);
	TupleConstr *constraints = desc->constr;
	bool		lacks_unknown = false;

	run->read_model = read_model;
	MergeCheckForget(run);
	if (run->not_null == NULL)
		run->not_null = MemoryContextAllocZero(run->context, run->natts *
											   sizeof(AttrNumber));
	run->nnot_null = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attnotnull)
			continue;
		if (bms_is_member(i + 1, run->unknown))
			lacks_unknown = true;
		else
			run->not_null[run->nnot_null++] = i;
	}
	/* the executor would complain of a null that is none */
	run->always_check = !run->unchecked && !lacks_unknown &&
		(read_model->rd_rel->relispartition ||
		 (constraints != NULL &&
		  (constraints->num_check > 0 || compat_has_virtual(constraints))));
	if (run->unchecked)
		run->nnot_null = 0;
}

/* The executor's state for checks. */
static void
begin_check(MergeRun *run)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);
	EState	   *estate = CreateExecutorState();

	MemoryContextSwitchTo(estate->es_query_cxt);
	compat_init_range_table(estate, run->read_model, NULL);
	run->target = makeNode(ResultRelInfo);
	InitResultRelInfo(run->target, run->read_model, 1, NULL, 0);
	run->estate = estate;
	MemoryContextSwitchTo(old);
}

static bool
lacks_value(MergeRun *run)
{
	const bool *nulls = run->row_slot->tts_isnull;

	for (int i = 0; i < run->nnot_null; i++)
	{
		if (nulls[run->not_null[i]])
			return true;
	}
	return false;
}

/* Check the row as the executor does before it writes one. */
void
MergeCheckRow(MergeRun *run)
{
	if (!run->always_check && !lacks_value(run))
		return;
	if (run->estate == NULL)
		begin_check(run);
	if (RelationGetDescr(run->read_model)->constr != NULL)
		ExecConstraints(run->target, run->row_slot, run->estate);
	if (run->read_model->rd_rel->relispartition)
		ExecPartitionCheck(run->target, run->row_slot, run->estate, true);
	ResetPerTupleExprContext(run->estate);
}

static char *
value_text(Oid type, Datum value)
{
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

static void
refuse_key(MergeRun *run, int i, Datum given, bool null)
{
	int			at = run->key_columns[i] - 1;
	TupleDesc	desc = run->row_slot->tts_tupleDescriptor;
	Form_pg_attribute attribute = TupleDescAttr(desc, at);
	const char *stored = run->row_slot->tts_isnull[at] ? "null" :
		value_text(attribute->atttypid, run->row_slot->tts_values[at]);

	ereport(ERROR,
			(errcode(ERRCODE_BAD_EVENT),
			 errmsg("the new row's key is not the event's"),
			 errdetail("The event's value for key column \"%s\" is %s, the row would hold %s.",
					   NameStr(attribute->attname),
					   null ? "null" : value_text(attribute->atttypid, given),
					   stored)));
}

/* An inserted row must be found again under the key of its item. */
void
MergeCheckKey(MergeRun *run)
{
	TupleTableSlot *slot = run->row_slot;

	for (int i = 0; i < run->nkeys; i++)
	{
		int			at = run->key_columns[i] - 1;
		bool		null;
		Datum		given = ExecEvalExpr(run->row_key[i],
										 run->row_stage.econtext, &null);

		if (null || slot->tts_isnull[at] ||
			!DatumGetBool(FunctionCall2Coll(&run->key_equal[i],
											run->key_collation[i],
											slot->tts_values[at], given)))
			refuse_key(run, i, given, null);
	}
}
