/*
 * merge_fan_out.c
 *		The items of an event, where its source makes several of one.
 *
 * The source is a query over the event's values.  It is planned once, as
 *
 *		SELECT source.* FROM event, LATERAL (source OFFSET 0) source
 *
 * where event is a relation that holds one row, the event at hand.  So all
 * that depends on the event is a parameter that the executor knows to have
 * changed, and functions, sub-selects and joins are computed anew.
 * OFFSET 0 keeps the source a query of its own: it stays inside of the loop
 * over events, and its rows in its own order.
 *
 * The executor's state is that of a batch.  After an error it is forgotten,
 * as a portal's is; it has no relation open and no snapshot.  But it may have
 * temporary files, which end with the subtransaction that it was begun in: whoever
 * computes items in one closes it there.
 */
#include "postgres.h"

#include "compat.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/planner.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "handler/merge_state.h"

#define EVENT_NAME	"event"
#define EVENT_RTE	1
#define SOURCE_RTE	2

struct FanOut
{
	MemoryContext context;		/* of the plan */
	PlannedStmt *plan;
	TupleDesc	event;			/* the stream's row */
	int			ncolumns;		/* those that the source uses */
	AttrNumber *columns;
	AttrNumber	last_column;
	TupleDesc	result;
	Datum	   *values;			/* of the event's row */
	bool	   *nulls;

	/* the batch */
	MemoryContext batch;		/* NULL: not begun */
	SubTransactionId began;
	QueryDesc  *query;
	Tuplestorestate *store;		/* the event */
	int64		spilt;			/* blocks of temporary files before it */
};

typedef struct ParamsToVars
{
	TupleDesc	event;
	int			depth;			/* sub-selects that we are in */
	Bitmapset  *columns;		/* found */
} ParamsToVars;

/* Turn parameters into references to the event, outside of the source. */
static Node *
params_to_vars(Node *node, ParamsToVars *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
	{
		int			column = ((Param *) node)->paramid;
		Form_pg_attribute attribute = TupleDescAttr(context->event, column - 1);

		context->columns = bms_add_member(context->columns, column);
		return (Node *) makeVar(EVENT_RTE, column, attribute->atttypid,
								attribute->atttypmod, attribute->attcollation,
								context->depth);
	}
	if (IsA(node, Query))
	{
		Node	   *result;

		context->depth++;
		result = (Node *) query_tree_mutator((Query *) node, params_to_vars,
											 context, 0);
		context->depth--;
		return result;
	}
	return expression_tree_mutator(node, params_to_vars, context);
}

/* The relation that holds the event. */
static RangeTblEntry *
event_entry(TupleDesc event)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->enrname = pstrdup(EVENT_NAME);
	rte->enrtuples = 1;
	rte->eref = makeAlias(EVENT_NAME, NIL);
	rte->inFromCl = true;
	for (int i = 0; i < event->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(event, i);
		bool		dropped = attribute->attisdropped;

		rte->eref->colnames = lappend(rte->eref->colnames,
									  makeString(pstrdup(NameStr(attribute->attname))));
		rte->coltypes = lappend_oid(rte->coltypes, dropped ? InvalidOid :
									attribute->atttypid);
		rte->coltypmods = lappend_int(rte->coltypmods, attribute->atttypmod);
		rte->colcollations = lappend_oid(rte->colcollations, dropped ?
										 InvalidOid : attribute->attcollation);
	}
	return rte;
}

static RangeTblEntry *
source_entry(Query *source)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	ListCell   *lc;

	if (source->limitOffset == NULL && source->limitCount == NULL)
		source->limitOffset = (Node *) makeConst(INT8OID, -1, InvalidOid,
												 sizeof(int64), Int64GetDatum(0),
												 false, FLOAT8PASSBYVAL);
	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = source;
	rte->lateral = true;
	rte->inFromCl = true;
	rte->eref = makeAlias("source", NIL);
	foreach(lc, source->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk)
			rte->eref->colnames = lappend(rte->eref->colnames,
										  makeString(pstrdup(entry->resname ? entry->resname : "?column?")));
	}
	return rte;
}

static RangeTblRef *
range_reference(int number)
{
	RangeTblRef *reference = makeNode(RangeTblRef);

	reference->rtindex = number;
	return reference;
}

/* The query over the event and the source. */
static Query *
event_query(TupleDesc event, Query *source)
{
	Query	   *query = makeNode(Query);
	ListCell   *lc;

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = list_make2(event_entry(event), source_entry(source));
	query->jointree = makeFromExpr(list_make2(range_reference(EVENT_RTE),
											  range_reference(SOURCE_RTE)),
								   NULL);
	foreach(lc, source->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Expr	   *expr;

		if (entry->resjunk)
			continue;
		expr = (Expr *) makeVar(SOURCE_RTE, entry->resno,
								exprType((Node *) entry->expr),
								exprTypmod((Node *) entry->expr),
								exprCollation((Node *) entry->expr), 0);
		query->targetList = lappend(query->targetList,
									makeTargetEntry(expr, entry->resno,
													entry->resname, false));
	}
	return query;
}

/* Plan the source of a definition, in the current memory context. */
FanOut *
FanOutBegin(const Merge *merge, Relation stream)
{
	FanOut	   *fan_out = palloc0_object(FanOut);
	ParamsToVars context = {0};
	Query	   *source = copyObject(merge->fan_out);
	int			column = -1;

	fan_out->context = CurrentMemoryContext;
	fan_out->event = CreateTupleDescCopy(RelationGetDescr(stream));
	context.event = fan_out->event;
	source = (Query *) params_to_vars((Node *) source, &context);
	fan_out->plan = compat_standard_planner(event_query(fan_out->event, source),
											NULL, 0);
	fan_out->result = ExecCleanTypeFromTL(fan_out->plan->planTree->targetlist);
	fan_out->columns = palloc_array(AttrNumber,
									Max(fan_out->event->natts, 1));
	while ((column = bms_next_member(context.columns, column)) >= 0)
	{
		fan_out->columns[fan_out->ncolumns++] = column;
		fan_out->last_column = column;
	}
	fan_out->values = palloc0_array(Datum, Max(fan_out->event->natts, 1));
	fan_out->nulls = palloc_array(bool, Max(fan_out->event->natts, 1));
	memset(fan_out->nulls, true, fan_out->event->natts * sizeof(bool));
	return fan_out;
}

/* The descriptor of its items. */
TupleDesc
FanOutDescriptor(FanOut *fan_out)
{
	return fan_out->result;
}

/* Begin to execute: the executor's state, and an event to be filled in. */
static void
begin_batch(FanOut *fan_out)
{
	MemoryContext old;
	QueryEnvironment *environment;
	EphemeralNamedRelation relation;

	fan_out->began = GetCurrentSubTransactionId();
	fan_out->batch = AllocSetContextCreate(fan_out->context, "items of events",
										   ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(fan_out->batch);
	fan_out->store = tuplestore_begin_heap(true, false, work_mem);
	relation = palloc0(sizeof(EphemeralNamedRelationData));
	relation->md.name = EVENT_NAME;
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = fan_out->event;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = 1;
	relation->reldata = fan_out->store;
	environment = create_queryEnv();
	register_ENR(environment, relation);
	fan_out->query = CreateQueryDesc(fan_out->plan, "", InvalidSnapshot,
									 InvalidSnapshot, None_Receiver, NULL,
									 environment, 0);
	standard_ExecutorStart(fan_out->query, 0);
	MemoryContextSwitchTo(old);
}

/* Take the next event; FanOutNext() then gives its items. */
void
FanOutEvent(FanOut *fan_out, TupleTableSlot *event)
{
	if (fan_out->batch != NULL && !SubTransactionIsActive(fan_out->began))
		FanOutForget(fan_out);
	if (fan_out->batch == NULL)
		begin_batch(fan_out);
	fan_out->spilt = pgBufferUsage.temp_blks_written;
	slot_getsomeattrs(event, fan_out->last_column);
	for (int i = 0; i < fan_out->ncolumns; i++)
	{
		int			at = fan_out->columns[i] - 1;

		fan_out->values[at] = event->tts_values[at];
		fan_out->nulls[at] = event->tts_isnull[at];
	}
	tuplestore_clear(fan_out->store);
	tuplestore_putvalues(fan_out->store, fan_out->event, fan_out->values,
						 fan_out->nulls);
	ExecReScan(fan_out->query->planstate);
}

/*
 * The next item, good until the next call, or NULL.  Files belong to the
 * subtransaction that made them, which may end with the event; so an
 * execution that has made some does too.
 */
TupleTableSlot *
FanOutNext(FanOut *fan_out)
{
	EState	   *estate = fan_out->query->estate;
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	TupleTableSlot *slot;

	ResetPerTupleExprContext(estate);
	slot = ExecProcNode(fan_out->query->planstate);
	if (TupIsNull(slot))
		slot = NULL;
	else if (estate->es_junkFilter != NULL)
		slot = ExecFilterJunk(estate->es_junkFilter, slot);
	MemoryContextSwitchTo(old);
	if (slot == NULL && fan_out->spilt != pgBufferUsage.temp_blks_written)
		FanOutClose(fan_out);
	return slot;
}

/* End a batch that has not failed. */
void
FanOutClose(FanOut *fan_out)
{
	if (fan_out->batch == NULL)
		return;
	if (!SubTransactionIsActive(fan_out->began))
	{
		FanOutForget(fan_out);
		return;
	}
	standard_ExecutorFinish(fan_out->query);
	standard_ExecutorEnd(fan_out->query);
	FreeQueryDesc(fan_out->query);
	tuplestore_end(fan_out->store);
	FanOutForget(fan_out);
}

/* Drop what an error has left. */
void
FanOutForget(FanOut *fan_out)
{
	if (fan_out->batch != NULL)
		MemoryContextDelete(fan_out->batch);
	fan_out->batch = NULL;
	fan_out->query = NULL;
	fan_out->store = NULL;
}
