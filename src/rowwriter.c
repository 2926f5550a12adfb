/*
 * rowwriter.c
 *		Writes rows into a user's table by the executor's own functions.
 *
 * Inserts are buffered and go to the table many at a time, unless a trigger
 * that runs before a row could look at the rows before it.  An update takes
 * no lock on the tuple beforehand: where somebody else has changed or locked
 * the row it says so, and the caller reads the row again, or leaves it alone.
 *
 * Statement triggers of inserts fire, with their transition tables; those of
 * updates do not, as with logical replication.
 *
 * Each row carries a tag of the caller's.  When an error is raised,
 * RowWriterTag() tells which row was being written, or NULL.
 *
 * The executor keeps things from row to row in whatever memory context is
 * current, so all of it runs in the executor state's own; a row's values may
 * be in shorter memory.
 */
#include "postgres.h"

#include "compat.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "rowwriter.h"

#define BUFFERED_ROWS 256

struct RowWriter
{
	Relation	relation;
	EState	   *estate;
	ResultRelInfo *target;
	Snapshot	snapshot;
	EPQState	epqstate;
	TransitionCaptureState *capture;
	BulkInsertState bulk;		/* once a buffer was full */
	ExprState **defaults;		/* of columns that the caller does not set */
	bool		has_defaults;
	bool		one_by_one;		/* inserts are not buffered */
	bool		locks_first;	/* updates run row triggers */
	bool		inserts;		/* has inserted, so statement triggers fire */
	bool		updates;		/* has updated, so the table may be updated */
	bool		deletes;		/* likewise */
	int			nslots;			/* slots made so far */
	int			nbuffered;		/* of these, holding a row not yet written */
	TupleTableSlot *slots[BUFFERED_ROWS];
	void	   *tags[BUFFERED_ROWS];
	void	   *tag;			/* of the row being written */
	RowPlaced	placed;			/* NULL: nobody wants to know */
	void	   *placed_arg;
};

/* What a column gets that the caller does not set; NULL: a plain null. */
static Expr *
default_of(Relation relation, int number)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation),
												number - 1);
	Node	   *expr = build_column_default(relation, number);
	int32		typmod = attribute->atttypmod;
	Oid			base;

	if (expr != NULL || get_typtype(attribute->atttypid) != TYPTYPE_DOMAIN)
		return (Expr *) expr;
	/* a domain may forbid null */
	base = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	expr = (Node *) makeNullConst(base, typmod, attribute->attcollation);
	return (Expr *) coerce_to_domain(expr, base, typmod, attribute->atttypid,
									 COERCION_IMPLICIT, COERCE_IMPLICIT_CAST,
									 -1, false);
}

/* Prepare the defaults of all columns that the caller will not set. */
static void
prepare_defaults(RowWriter *writer, const bool *owned)
{
	TupleDesc	desc = RelationGetDescr(writer->relation);

	writer->defaults = palloc0(desc->natts * sizeof(ExprState *));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		Expr	   *expr;

		if (owned[i] || attribute->attisdropped || attribute->attgenerated)
			continue;
		expr = default_of(writer->relation, i + 1);
		if (expr == NULL)
			continue;
		writer->defaults[i] = ExecPrepareExpr(expr, writer->estate);
		writer->has_defaults = true;
	}
}

/*
 * Begin to write into a relation that is open with RowExclusiveLock.  owned
 * says for each column whether the caller sets it; the others get their
 * defaults.  updated: the columns that updates may change, each less
 * FirstLowInvalidHeapAttributeNumber.  The writer lives in the current memory
 * context.  The snapshot is what the caller reads old rows with.
 */
RowWriter *
RowWriterBegin(Relation relation, const bool *owned, Bitmapset *updated,
			   Snapshot snapshot)
{
	RowWriter  *writer = palloc0(sizeof(RowWriter));
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);
	TriggerDesc *triggers;

	writer->relation = relation;
	writer->estate = estate;
	writer->target = target;
	writer->snapshot = snapshot;
	compat_init_range_table(estate, relation, updated);
	InitResultRelInfo(target, relation, 1, NULL, 0);
	estate->es_snapshot = snapshot;
	estate->es_output_cid = GetCurrentCommandId(true);
	ExecOpenIndices(target, false);
	compat_init_generated(target, estate);
	compat_EvalPlanQualInit(&writer->epqstate, estate);
	prepare_defaults(writer, owned);

	triggers = target->ri_TrigDesc;
	if (triggers != NULL)
	{
		writer->one_by_one = triggers->trig_insert_before_row;
		writer->locks_first = triggers->trig_update_before_row ||
			triggers->trig_update_after_row;
		AfterTriggerBeginQuery();
		writer->capture = MakeTransitionCaptureState(triggers,
													 RelationGetRelid(relation),
													 CMD_INSERT);
	}
	return writer;
}

/*
 * Have somebody told of the places of rows: where each row was inserted, and
 * where an update has put one that the index had to be told of.  So its place
 * is known even while an old snapshot keeps all its earlier versions.
 */
void
RowWriterOnPlace(RowWriter *writer, RowPlaced placed, void *arg)
{
	writer->placed = placed;
	writer->placed_arg = arg;
}

/*
 * An empty slot for a row; one to be inserted has its defaults in place.  It
 * is the caller's until RowWriterInsert() or RowWriterUpdate().
 */
TupleTableSlot *
RowWriterSlot(RowWriter *writer, void *tag, bool for_insert)
{
	TupleDesc	desc = RelationGetDescr(writer->relation);
	TupleTableSlot *slot;

	if (writer->nbuffered == BUFFERED_ROWS)
		RowWriterFlush(writer);
	writer->tag = tag;
	if (writer->nbuffered == writer->nslots)
	{
		MemoryContext old = MemoryContextSwitchTo(writer->estate->es_query_cxt);

		writer->slots[writer->nslots++] = table_slot_create(writer->relation,
															NULL);
		MemoryContextSwitchTo(old);
	}
	slot = writer->slots[writer->nbuffered];
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, desc->natts * sizeof(bool));
	if (for_insert && writer->has_defaults)
	{
		for (int i = 0; i < desc->natts; i++)
		{
			if (writer->defaults[i] != NULL)
				slot->tts_values[i] =
					ExecEvalExpr(writer->defaults[i],
								 GetPerTupleExprContext(writer->estate),
								 &slot->tts_isnull[i]);
		}
	}
	return slot;
}

/* Generated columns and constraints of a row about to be written. */
static void
check_row(RowWriter *writer, TupleTableSlot *slot, CmdType command)
{
	TupleConstr *constraints = RelationGetDescr(writer->relation)->constr;

	if (constraints != NULL)
	{
		if (constraints->has_generated_stored)
			ExecComputeStoredGenerated(writer->target, writer->estate, slot,
									   command);
		ExecConstraints(writer->target, slot, writer->estate);
	}
	if (writer->relation->rd_rel->relispartition)
		ExecPartitionCheck(writer->target, slot, writer->estate, true);
}

/* The row has a place of its own: say so. */
static void
tell_place(RowWriter *writer, void *tag, TupleTableSlot *slot)
{
	if (writer->placed != NULL)
		writer->placed(writer->placed_arg, tag, &slot->tts_tid);
}

/* The index entries of a row that is in the table, and its triggers. */
static void
finish_insert(RowWriter *writer, TupleTableSlot *slot)
{
	List	   *recheck = NIL;

	if (writer->target->ri_NumIndices > 0)
		recheck = compat_ExecInsertIndexTuples(writer->target, slot,
											   writer->estate, false, false);
	if (writer->target->ri_TrigDesc != NULL)
		ExecARInsertTriggers(writer->estate, writer->target, slot, recheck,
							 writer->capture);
	list_free(recheck);
	tell_place(writer, writer->tag, slot);
}

/* A row trigger returned null: nothing is lost silently. */
static void
refuse_suppressed(RowWriter *writer, const char *command)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("a trigger suppressed a row of table \"%s\"",
					RelationGetRelationName(writer->relation)),
			 errhint("A BEFORE %s trigger on this table must return the row.",
					 command)));
}

static void
insert_row(RowWriter *writer, TupleTableSlot *slot, void *tag)
{
	writer->tag = tag;
	if (!writer->inserts)
	{
		ExecBSInsertTriggers(writer->estate, writer->target);
		writer->inserts = true;
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(writer->relation);
	if (writer->one_by_one &&
		!ExecBRInsertTriggers(writer->estate, writer->target, slot))
		refuse_suppressed(writer, "INSERT");
	check_row(writer, slot, CMD_INSERT);
	if (writer->one_by_one)
	{
		table_tuple_insert(writer->relation, slot,
						   writer->estate->es_output_cid, 0, NULL);
		finish_insert(writer, slot);
		ResetPerTupleExprContext(writer->estate);
		return;
	}
	/* the row's values may live in shorter memory than the buffer */
	ExecMaterializeSlot(slot);
	writer->tags[writer->nbuffered++] = tag;
	ResetPerTupleExprContext(writer->estate);
}

/*
 * Insert the row in the slot, which RowWriterSlot() gave.  Where the table's
 * triggers suppress the row, that is an error: nothing is lost silently.
 */
void
RowWriterInsert(RowWriter *writer, TupleTableSlot *slot, void *tag)
{
	MemoryContext old = MemoryContextSwitchTo(writer->estate->es_query_cxt);

	Assert(slot == writer->slots[writer->nbuffered]);
	insert_row(writer, slot, tag);
	MemoryContextSwitchTo(old);
}

static void
flush_rows(RowWriter *writer)
{
	CommandId	cid = writer->estate->es_output_cid;

	if (writer->nbuffered == 1)
	{
		writer->tag = writer->tags[0];
		table_tuple_insert(writer->relation, writer->slots[0], cid, 0, NULL);
	}
	else if (writer->nbuffered > 1)
	{
		if (writer->nbuffered == BUFFERED_ROWS && writer->bulk == NULL)
			writer->bulk = GetBulkInsertState();
		writer->tag = NULL;
		/* it leaks a little at each call */
		MemoryContextSwitchTo(GetPerTupleMemoryContext(writer->estate));
		table_multi_insert(writer->relation, writer->slots, writer->nbuffered,
						   cid, 0, writer->bulk);
		MemoryContextSwitchTo(writer->estate->es_query_cxt);
	}
	for (int i = 0; i < writer->nbuffered; i++)
	{
		writer->tag = writer->tags[i];
		finish_insert(writer, writer->slots[i]);
		ExecClearTuple(writer->slots[i]);
	}
	writer->nbuffered = 0;
	ResetPerTupleExprContext(writer->estate);
}

/* Write all buffered inserts. */
void
RowWriterFlush(RowWriter *writer)
{
	MemoryContext old = MemoryContextSwitchTo(writer->estate->es_query_cxt);

	flush_rows(writer);
	MemoryContextSwitchTo(old);
}

/* A trigger has changed the row, in the same command. */
void
RowWriterRefuseOwn(Relation relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a trigger changed a row of table \"%s\" that is being changed",
					RelationGetRelationName(relation)),
			 errhint("A trigger on this table must not change other rows of it.")));
}

/*
 * Why a row could not be locked or updated; an error where we have changed it
 * ourselves.
 */
static RowUpdate
what_became(RowWriter *writer, TM_Result result)
{
	if (result == TM_Updated || result == TM_Deleted)
		return ROW_CHANGED;
	if (result == TM_WouldBlock)
		return ROW_LOCKED;
	if (result == TM_SelfModified)
		RowWriterRefuseOwn(writer->relation);
	elog(ERROR, "unexpected result %d of updating a row of \"%s\"",
		 (int) result, RelationGetRelationName(writer->relation));
}

/* Lock the row in old, as read with the writer's snapshot. */
static TM_Result
lock_old(RowWriter *writer, TupleTableSlot *old, LockTupleMode mode,
		 LockWaitPolicy policy)
{
	TM_FailureData failure;
	ItemPointerData tid = old->tts_tid;

	return table_tuple_lock(writer->relation, &tid, writer->snapshot, old,
							writer->estate->es_output_cid, mode, policy, 0,
							&failure);
}

/* Update under row triggers: the tuple is locked first, as they expect. */
static RowUpdate
update_with_triggers(RowWriter *writer, TupleTableSlot *old,
					 TupleTableSlot *slot, LockWaitPolicy policy, void *tag)
{
	ItemPointerData place = old->tts_tid;
	TM_Result	result = lock_old(writer, old, LockTupleNoKeyExclusive, policy);

	if (result != TM_Ok)
		return what_became(writer, result);
	ItemPointerSetInvalid(&slot->tts_tid);
	ExecSimpleRelationUpdate(writer->target, writer->estate,
							 &writer->epqstate, old, slot);
	if (!ItemPointerIsValid(&slot->tts_tid))
		refuse_suppressed(writer, "UPDATE");

	/*
	 * where the server has put it is not said; off its page it is no HOT
	 * update
	 */
	if (ItemPointerGetBlockNumber(&slot->tts_tid) !=
		ItemPointerGetBlockNumber(&place))
		tell_place(writer, tag, slot);
	ResetPerTupleExprContext(writer->estate);
	return ROW_UPDATED;
}

/*
 * May another transaction have locked the row?  A look without a lock on the
 * page: who comes later is waited for, as long as lock_timeout allows.
 */
static bool
may_be_locked(TupleTableSlot *old)
{
	HeapTuple	tuple;

	if (!TTS_IS_BUFFERTUPLE(old))
		return true;
	tuple = ((BufferHeapTupleTableSlot *) old)->base.tuple;
	return (tuple->t_data->t_infomask & HEAP_XMAX_INVALID) == 0;
}

static RowUpdate
update_row(RowWriter *writer, TupleTableSlot *old, TupleTableSlot *slot,
		   LockWaitPolicy policy, void *tag)
{
	TM_FailureData failure;
	TM_Result	result = TM_Ok;
	LockTupleMode mode;
	CompatUpdateIndexes update_indexes;

	writer->tag = tag;
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(writer->relation);
	if (!writer->updates)
	{
		CheckCmdReplicaIdentity(writer->relation, CMD_UPDATE);
		writer->updates = true;
	}
	if (writer->locks_first)
		return update_with_triggers(writer, old, slot, policy, tag);

	check_row(writer, slot, CMD_UPDATE);
	if (policy != LockWaitBlock && may_be_locked(old))
		result = lock_old(writer, old, LockTupleNoKeyExclusive, policy);
	if (result == TM_Ok)
		result = compat_table_tuple_update(writer->relation, &old->tts_tid, slot,
										   writer->estate->es_output_cid,
										   writer->snapshot,
										   &failure, &mode, &update_indexes);
	if (result != TM_Ok)
		return what_became(writer, result);
	if (writer->target->ri_NumIndices > 0 &&
		compat_wants_index_update(update_indexes))
	{
		list_free(compat_ExecInsertIndexTuples(writer->target, slot,
											   writer->estate, true,
											   compat_only_summarizing(update_indexes)));
		if (!compat_only_summarizing(update_indexes))
			tell_place(writer, tag, slot);
	}
	ResetPerTupleExprContext(writer->estate);
	return ROW_UPDATED;
}

/*
 * Replace the row in old, as read with the writer's snapshot, by the one in
 * slot.  Where somebody else has changed, deleted or locked the row, nothing
 * is done, and the result says so; only with LockWaitBlock a lock is waited
 * for.
 */
RowUpdate
RowWriterUpdate(RowWriter *writer, TupleTableSlot *old, TupleTableSlot *slot,
				LockWaitPolicy policy, void *tag)
{
	MemoryContext context = MemoryContextSwitchTo(writer->estate->es_query_cxt);
	RowUpdate	result = update_row(writer, old, slot, policy, tag);

	MemoryContextSwitchTo(context);
	return result;
}

static RowUpdate
delete_row(RowWriter *writer, TupleTableSlot *old, LockWaitPolicy policy,
		   void *tag)
{
	TM_FailureData failure;
	TM_Result	result;

	writer->tag = tag;
	if (!writer->deletes)
	{
		CheckCmdReplicaIdentity(writer->relation, CMD_DELETE);
		writer->deletes = true;
	}
	result = lock_old(writer, old, LockTupleExclusive, policy);
	if (result != TM_Ok)
		return what_became(writer, result);
	if (writer->target->ri_TrigDesc != NULL &&
		writer->target->ri_TrigDesc->trig_delete_before_row &&
		!compat_ExecBRDeleteTriggers(writer->estate, &writer->epqstate,
									 writer->target, &old->tts_tid))
		refuse_suppressed(writer, "DELETE");
	/* a trigger may have changed the row that we have locked */
	result = compat_table_tuple_delete(writer->relation, &old->tts_tid,
									   writer->estate->es_output_cid,
									   writer->estate->es_snapshot, true, &failure);
	if (result != TM_Ok)
		return what_became(writer, result);
	ExecARDeleteTriggers(writer->estate, writer->target, &old->tts_tid, NULL,
						 NULL, false);
	ResetPerTupleExprContext(writer->estate);
	return ROW_UPDATED;
}

/* Delete the row in old; otherwise as RowWriterUpdate(). */
RowUpdate
RowWriterDelete(RowWriter *writer, TupleTableSlot *old, LockWaitPolicy policy,
				void *tag)
{
	MemoryContext context = MemoryContextSwitchTo(writer->estate->es_query_cxt);
	RowUpdate	result = delete_row(writer, old, policy, tag);

	MemoryContextSwitchTo(context);
	return result;
}

/* Write what is buffered, fire what is due, and make it visible. */
void
RowWriterEnd(RowWriter *writer)
{
	RowWriterFlush(writer);
	writer->tag = NULL;
	if (writer->bulk != NULL)
	{
		table_finish_bulk_insert(writer->relation, 0);
		FreeBulkInsertState(writer->bulk);
	}
	if (writer->target->ri_TrigDesc != NULL)
	{
		if (writer->inserts)
			ExecASInsertTriggers(writer->estate, writer->target,
								 writer->capture);
		AfterTriggerEndQuery(writer->estate);
	}
	EvalPlanQualEnd(&writer->epqstate);
	ExecCloseIndices(writer->target);
	for (int i = 0; i < writer->nslots; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	ExecCloseResultRelations(writer->estate);
	ExecResetTupleTable(writer->estate->es_tupleTable, false);
	FreeExecutorState(writer->estate);
	CommandCounterIncrement();
}

/* The tag of the row that was being written when an error was raised. */
void *
RowWriterTag(RowWriter *writer)
{
	return writer->tag;
}
