/*
 * statement_run.c
 *		A statement projection's statement, planned.
 *
 * The plan is SPI's: PostgreSQL sees to it that it is made anew when something
 * that it uses has changed, that the tables are locked, and that the rights of
 * the current role are looked at each time.  The statement may be run any number of
 * times between Open and Close, each time over the items that were added since
 * StatementRunEvents().
 */
#include "postgres.h"

#include "compat.h"

#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "handler/merge_state.h"
#include "handler/statement_run.h"
#include "merge/statement.h"

/* events that the planner is told of: so few that indexes are used */
#define FEW_EVENTS 10

struct StatementRun
{
	SPIPlanPtr	plan;
	EphemeralNamedRelation events;
	MergeRun   *items;			/* which has made them */
	TupleTableSlot *item;
	int			width;
	const AttrNumber *columns;	/* of the stream, that an item consists of */
	TupleDesc	desc;			/* the stream's */
	Datum	   *values;
	bool	   *nulls;
	Tuplestorestate *store;
	MemoryContext item_context; /* reset after each item */
	MemoryContextCallback end;
};

/* The plan is not in the run's memory. */
static void
free_plan(void *run)
{
	if (((StatementRun *) run)->plan != NULL)
		(void) SPI_freeplan(((StatementRun *) run)->plan);
}

static SPIPlanPtr
prepare(StatementRun *run, const char *definition)
{
	SPIPlanPtr	plan;

	SPI_connect();
	SPI_register_relation(run->events);
	plan = SPI_prepare(definition, 0, NULL);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare a definition: %s",
			 SPI_result_code_string(SPI_result));
	SPI_finish();
	return plan;
}

/*
 * Plan the statement.  The run lives in the current memory context, as long as
 * merge and items.
 */
StatementRun *
StatementRunBegin(const Merge *merge, MergeRun *items, Relation stream,
				  bool for_each_batch)
{
	StatementRun *run = palloc0_object(StatementRun);
	int			natts = RelationGetDescr(stream)->natts;

	run->events = StatementEvents(merge->stream, for_each_batch ? FEW_EVENTS : 1);
	run->items = items;
	run->item = MakeSingleTupleTableSlot(items->item_slot->tts_tupleDescriptor,
										 &TTSOpsVirtual);
	run->width = merge->item_width;
	run->columns = merge->item_columns;
	run->desc = CreateTupleDescCopy(RelationGetDescr(stream));
	run->values = palloc0_array(Datum, natts);
	run->nulls = palloc_array(bool, natts);
	memset(run->nulls, true, natts);
	run->item_context = AllocSetContextCreate(CurrentMemoryContext,
											  "wallet_projection item",
											  ALLOCSET_DEFAULT_SIZES);
	run->end.func = free_plan;
	run->end.arg = run;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &run->end);
	run->plan = prepare(run, merge->text);
	return run;
}

/* From here to StatementRunClose() we are connected to SPI. */
void
StatementRunOpen(StatementRun *run)
{
	run->store = NULL;
	run->events->reldata = NULL;
	SPI_connect();
	SPI_register_relation(run->events);
}

/* Begin with no events. */
void
StatementRunEvents(StatementRun *run)
{
	run->store = tuplestore_begin_heap(false, false, work_mem);
	run->events->reldata = run->store;
}

/* Add the event that an item is of.  Columns that nobody uses are null. */
void
StatementRunAdd(StatementRun *run, const char *stored_item)
{
	MemoryContext old = MemoryContextSwitchTo(run->item_context);

	MergeItemLoad(run->items, stored_item, run->item);
	for (int i = 0; i < run->width; i++)
	{
		run->values[run->columns[i] - 1] = run->item->tts_values[i];
		run->nulls[run->columns[i] - 1] = run->item->tts_isnull[i];
	}
	tuplestore_putvalues(run->store, run->desc, run->values, run->nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(run->item_context);
}

/* Run the statement over them. */
void
StatementRunExecute(StatementRun *run)
{
	int			result = SPI_execute_snapshot(run->plan, NULL, NULL,
											  InvalidSnapshot, InvalidSnapshot,
											  false, true, 0);

	if (result < 0)
		elog(ERROR, "could not run a definition: %s",
			 SPI_result_code_string(result));
	SPI_freetuptable(SPI_tuptable);
	tuplestore_end(run->store);
	run->store = NULL;
	run->events->reldata = NULL;
}

void
StatementRunClose(StatementRun *run)
{
	SPI_finish();
}
