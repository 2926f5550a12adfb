/*
 * refold_tell.c
 *		Differences as they are told, in texts.
 *
 * All texts are made under the settings that keys are written with, whatever the
 * session's are.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "merge/pinned.h"
#include "rebuild/refold_state.h"

/* A column's value as text. */
char *
RefoldValueText(Refold *refold, TupleTableSlot *row, int column)
{
	FmgrInfo   *output = &refold->output[column - 1];
	bool		isnull;
	Datum		value = slot_getattr(row, column, &isnull);
	char	   *string;
	int			level;

	if (isnull)
		return NULL;
	if (!OidIsValid(output->fn_oid))
	{
		Oid			function;
		bool		is_varlena;

		getTypeOutputInfo(TupleDescAttr(refold->desc, column - 1)->atttypid,
						  &function, &is_varlena);
		fmgr_info_cxt(function, output, refold->sink_context);
	}
	level = KeyTextEnter();
	string = OutputFunctionCall(output, value);
	PinnedLeave(level);
	return string;
}

/* A row as text. */
static char *
row_text(TupleTableSlot *row)
{
	int			level = KeyTextEnter();
	char	   *string = OidOutputFunctionCall(F_RECORD_OUT,
											   ExecFetchSlotHeapTupleDatum(row));

	PinnedLeave(level);
	return string;
}

/* Tell of a difference of the row as a whole. */
void
RefoldTellRow(const RefoldCompared *comparison, RefoldKey *key, RefoldProblem problem,
			  TupleTableSlot *expected, TupleTableSlot *actual)
{
	RefoldDifference difference = {.key = key,.problem = problem,.row = actual};

	if (comparison->receive == NULL)
		return;
	if (key != NULL)
		difference.key_text = RefoldKeyText(comparison->refold, key);
	difference.expected = key != NULL && key->fault != NULL ? key->fault :
		expected != NULL ? row_text(expected) : NULL;
	difference.actual = actual != NULL ? row_text(actual) : NULL;
	comparison->receive(comparison->arg, &difference);
}

/* Tell of each column that differs. */
static void
tell_columns(const RefoldCompared *comparison, RefoldKey *key,
			 TupleTableSlot *expected, TupleTableSlot *actual)
{
	Refold	   *refold = comparison->refold;
	bool		columns[MaxHeapAttributeNumber];
	RefoldDifference difference = {.key = key,.row = actual,
	.problem = REFOLD_DIFFERENT};

	if (comparison->receive == NULL)
		return;
	difference.key_text = RefoldKeyText(refold, key);
	(void) RefoldRowsDiffer(refold, expected, actual, columns);
	for (int i = 0; i < refold->desc->natts; i++)
	{
		if (!columns[i])
			continue;
		difference.column = NameStr(TupleDescAttr(refold->desc, i)->attname);
		difference.expected = RefoldValueText(refold, expected, i + 1);
		difference.actual = RefoldValueText(refold, actual, i + 1);
		comparison->receive(comparison->arg, &difference);
	}
}

/* The key's row is not what it ought to be. */
void
RefoldTell(const RefoldCompared *comparison, ShadowEntry *entry, TupleTableSlot *actual)
{
	Refold	   *refold = comparison->refold;
	RefoldKey  *key = RefoldKeyOf(refold, entry);
	TupleTableSlot *expected = RefoldRowOf(refold, entry);

	if (expected != NULL && actual != NULL)
		tell_columns(comparison, key, expected, actual);
	else if (entry->state == SHADOW_FAULT)
		RefoldTellRow(comparison, key, REFOLD_DIFFERENT, NULL, actual);
	else if (actual != NULL)
		RefoldTellRow(comparison, key, REFOLD_SURPLUS, NULL, actual);
	else
		RefoldTellRow(comparison, key, REFOLD_MISSING, expected, NULL);
}

/* Events whose keys cannot be computed: of the range that begins at 0. */
void
RefoldTellNoKeys(const RefoldCompared *comparison)
{
	ListCell   *cell;

	foreach(cell, comparison->refold->no_keys)
	{
		const RefoldNoKey *no_key = lfirst(cell);
		RefoldDifference difference = {.problem = REFOLD_DIFFERENT};

		difference.expected = no_key->fault;
		if (comparison->receive != NULL && comparison->refold->first == 0)
			comparison->receive(comparison->arg, &difference);
	}
}
