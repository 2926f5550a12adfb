/*
 * merge_row.c
 *		The row of a key, as its items change it.
 *
 * An item is applied to the row as the items before it have left it: the
 * first clause that fits and whose condition holds.  The new row is computed
 * from the old one as a whole, then takes its place.
 */
#include "postgres.h"

#include "compat.h"

#include "executor/executor.h"
#include "port/pg_bitutils.h"
#include "utils/datum.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "handler/merge_state.h"

/* A place that has become larger is given back with the row. */
#define PLACE_KEPT	8192

/* No row yet; large values of the row before are freed. */
static void
free_large_places(MergeRun *run)
{
	for (int i = 0; i < run->natts; i++)
	{
		for (int k = 0; k < 2; k++)
		{
			RunPlace   *place = &run->places[i];

			if (place->size[k] <= PLACE_KEPT)
				continue;
			pfree(place->memory[k]);
			place->memory[k] = NULL;
			place->size[k] = 0;
		}
	}
}

/* Sums of the row before, or of one that is gone. */
static void
forget_sums(MergeRun *run)
{
	for (int i = 0; run->any_sum && i < run->natts; i++)
		run->sums[i].live = run->sums[i].added = false;
	run->any_sum = false;
}

/*
 * Begin with the row of another key: as the table has it, or NULL if it is
 * not there.  The slot may be of any kind; it stays the caller's, and must
 * stay as it is until the next MergeRowBegin(): values that do not change
 * remain in it.
 */
MergeRow *
MergeRowBegin(MergeRun *run, TupleTableSlot *row)
{
	MergeRow   *state = &run->row;

	ExecClearTuple(run->row_slot);
	free_large_places(run);
	forget_sums(run);
	run->given = row;
	state->slot = row != NULL ? row : run->row_slot;
	state->existed = row != NULL;
	state->exists = row != NULL;
	state->changed = false;
	state->replaced = false;
	return state;
}

/* Read the row as it was given. */
static void
take_given(MergeRun *run)
{
	TupleTableSlot *slot = run->row_slot;

	slot_getallattrs(run->given);
	memcpy(slot->tts_values, run->given->tts_values,
		   run->natts * sizeof(Datum));
	memcpy(slot->tts_isnull, run->given->tts_isnull,
		   run->natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	run->row.slot = slot;
	run->given = NULL;
}

/* Memory for a new value of a column, beside the one that it has. */
static char *
spare_place(MergeRun *run, RunPlace *place, Size size)
{
	int			spare = 1 - place->current;

	if (place->size[spare] < size)
	{
		Size		room = Max(64, size + size / 2);

		if (place->memory[spare] != NULL)
			pfree(place->memory[spare]);
		place->memory[spare] = NULL;
		place->size[spare] = 0;
		place->memory[spare] = MemoryContextAllocHuge(run->context, room);
		place->size[spare] = room;
	}
	return place->memory[spare];
}

/* Copy a new value to where it outlives the item. */
static Datum
keep_value(MergeRun *run, int at, Datum value)
{
	RunType    *type = &run->types[at];
	Size		size;
	char	   *memory;

	if (type->byval)
		return value;
	if (type->length == -1 &&
		VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
	{
		size = EOH_get_flat_size(DatumGetEOHP(value));
		memory = spare_place(run, &run->places[at], size);
		EOH_flatten_into(DatumGetEOHP(value), memory, size);
		return PointerGetDatum(memory);
	}
	size = datumGetSize(value, false, type->length);
	memory = spare_place(run, &run->places[at], size);
	memcpy(memory, DatumGetPointer(value), size);
	return PointerGetDatum(memory);
}

/* Put a column that is kept as a sum into the row. */
static void
settle_sum(MergeRun *run, int at)
{
	RunSum	   *sum = &run->sums[at];

	if (!sum->live)
		return;
	run->row_slot->tts_values[at] = keep_value(run, at, MergeSumValue(sum));
	run->places[at].current = 1 - run->places[at].current;
	sum->live = false;
}

/*
 * From now on, until MergeRunOpen(), sums may be kept out of the row:
 * MergeRowSettle() is called before it is looked at.
 */
void
MergeRowKeepSums(MergeRun *run)
{
	run->keeps_sums = run->ngenerated == 0 && !run->always_check;
}

/* Have all columns in the row. */
void
MergeRowSettle(MergeRun *run)
{
	if (!run->any_sum)
		return;
	for (int i = 0; i < run->natts; i++)
		settle_sum(run, i);
	run->any_sum = false;
}

/* Compute columns, all over the row as it is, and keep their values. */
static void
compute_columns(MergeRun *run, const RunColumn *columns, int ncolumns)
{
	ExprContext *econtext = run->row_stage.econtext;

	for (int i = 0; i < ncolumns; i++)
	{
		const RunColumn *column = &columns[i];
		Datum		value;
		bool		null;

		if (column->sign != 0 && run->keeps_sums)
		{
			if (MergeAddSum(run, column))
			{
				run->sums[column->at].added = true;
				continue;
			}
			settle_sum(run, column->at);
		}
		if (column->item >= 0)
		{
			value = run->stored_slot->tts_values[column->item];
			null = run->stored_slot->tts_isnull[column->item];
		}
		else
			value = ExecEvalExpr(column->value, econtext, &null);
		run->fresh_nulls[column->at] = null;
		run->fresh[column->at] = null ? (Datum) 0 :
			keep_value(run, column->at, value);
	}
}

/* Put the values that were computed into the row. */
static void
set_columns(MergeRun *run, const RunColumn *columns, int ncolumns)
{
	TupleTableSlot *slot = run->row_slot;

	for (int i = 0; i < ncolumns; i++)
	{
		int			at = columns[i].at;

		if (run->sums[at].added)
		{
			run->sums[at].added = false;
			continue;
		}
		run->sums[at].live = false;
		slot->tts_values[at] = run->fresh[at];
		slot->tts_isnull[at] = run->fresh_nulls[at];
		if (!run->types[at].byval && !run->fresh_nulls[at])
			run->places[at].current = 1 - run->places[at].current;
	}
}

/* Insert or update; what the executor checks of a row is checked. */
static void
change_row(MergeRun *run, RunClause *clause)
{
	TupleTableSlot *slot = run->row_slot;

	if (clause->reads_sum)
		MergeRowSettle(run);
	MergeComputeParts(run, clause);
	compute_columns(run, clause->columns, clause->ncolumns);
	if (clause->action == MERGE_DO_INSERT)
	{
		ExecClearTuple(slot);
		memset(slot->tts_values, 0, run->natts * sizeof(Datum));
		memset(slot->tts_isnull, true, run->natts * sizeof(bool));
		ExecStoreVirtualTuple(slot);
	}
	set_columns(run, clause->columns, clause->ncolumns);
	if (run->ngenerated > 0)
	{
		compute_columns(run, run->generated, run->ngenerated);
		set_columns(run, run->generated, run->ngenerated);
	}
	MergeCheckRow(run);
	if (clause->action == MERGE_DO_INSERT && !clause->key_fits)
		MergeCheckKey(run);
}

static void
do_clause(MergeRun *run, RunClause *clause)
{
	MergeRow   *row = &run->row;

	switch (clause->action)
	{
		case MERGE_DO_NOTHING:
			break;
		case MERGE_DO_INSERT:
			change_row(run, clause);
			row->exists = true;
			row->replaced = row->existed;
			row->changed = true;
			break;
		case MERGE_DO_UPDATE:
			change_row(run, clause);
			row->changed = true;
			break;
		case MERGE_DO_DELETE:
			ExecClearTuple(run->row_slot);
			forget_sums(run);
			row->exists = false;
			row->replaced = false;
			row->changed = row->existed;
			break;
	}
}

/* Is the item for the clause, which its type fits? */
static bool
clause_holds(MergeRun *run, const RunClause *clause)
{
	bool		null;

	if (clause->matched != run->row.exists)
		return false;
	if (clause->holds == NULL)
		return true;
	if (clause->tests_sum)
		MergeRowSettle(run);
	return DatumGetBool(ExecEvalExpr(clause->holds, run->row_stage.econtext,
									 &null)) && !null;
}

/* The first clause that is the item's, or -1, where none is tested yet. */
static int
choose_of_all(MergeRun *run)
{
	const TupleTableSlot *item = run->stored_slot;

	for (int i = 0; i < run->nclauses; i++)
	{
		const RunClause *clause = &run->clauses[i];

		if (clause->matched == run->row.exists &&
			(clause->test.at < 0 ||
			 MergeTestHolds(&clause->test, item->tts_values, item->tts_isnull)) &&
			clause_holds(run, clause))
			return i;
	}
	return -1;
}

/* The first clause that is the item's, or -1. */
static int
choose_clause(MergeRun *run)
{
	if (!run->loaded->tested)
		return choose_of_all(run);
	for (uint64 rest = run->loaded->fits; rest != 0; rest &= rest - 1)
	{
		int			i = pg_rightmost_one_pos64(rest);

		if (clause_holds(run, &run->clauses[i]))
			return i;
	}
	return -1;
}

/*
 * Apply an item to the row.  If it raises an error, the row is lost: begin
 * anew, and apply what came before again.
 */
MergeEffect
MergeRowApply(MergeRun *run, const char *stored_item)
{
	MergeEffect effect = {-1, MERGE_DO_NOTHING};
	ExprContext *econtext = run->row_stage.econtext;
	MemoryContext old;

	RUN_STAGE_ENTER(run, &run->row_stage, MergeCompileRow);
	ResetExprContext(econtext);
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	MergeItemLoad(run, stored_item, run->stored_slot);
	if (run->given != NULL)
		take_given(run);
	effect.clause = choose_clause(run);
	if (effect.clause >= 0)
	{
		effect.action = run->clauses[effect.clause].action;
		do_clause(run, &run->clauses[effect.clause]);
	}
	MemoryContextSwitchTo(old);
	run->row_stage.busy = false;
	return effect;
}
