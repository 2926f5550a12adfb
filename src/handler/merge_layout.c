/*
 * merge_layout.c
 *		What is kept of an item: as much as its actions will read.
 *
 * Which clauses an item may be for is known when it is made, as far as their
 * conditions compare its columns with constants.  So only the columns that
 * these clauses read are kept; a column that such a comparison has told need
 * not be, it is the constant.  A number under a key of a jsonb value is kept
 * in place of that value, where nothing else is read of it.
 *
 * Nothing is evaluated that could raise an error: where a number is none, the
 * jsonb value is kept, and the action's expression has to say what it makes of
 * it.  What is compressed or out of line is not looked into, and all columns
 * are kept.
 *
 * A statement reads all columns that its items have.  There are few layouts, as there are few types of events.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "port/pg_bitutils.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "handler/merge_state.h"

/* clauses that have a bit each */
#define CLAUSES_MAX 64

/* items of further kinds are kept as a whole */
#define LAYOUTS_MAX 64

/* The columns of an item that expressions read. */
typedef struct ColumnSearch
{
	MergeRun   *run;
	Bitmapset  *columns;
} ColumnSearch;

static bool
find_columns(Node *node, void *context)
{
	ColumnSearch *search = context;
	const Var  *var = (const Var *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, Var))
		return expression_tree_walker(node, find_columns, context);
	if (var->varno == MERGE_ITEM && var->varattno <= search->run->width)
		search->columns = bms_add_member(search->columns, var->varattno - 1);
	return false;
}

/* What an action reads of the item; numbers: those under keys are there. */
static void
find_clause_columns(ColumnSearch *search, const RunClause *clause,
					bool numbers)
{
	MergeRun   *run = search->run;

	find_columns((Node *) clause->condition, search);
	for (int i = 0; i < clause->ncolumns; i++)
		find_columns((Node *) clause->columns[i].expr, search);
	for (int i = 0; i < clause->nparts; i++)
	{
		if (clause->parts[i].json < 0 || !numbers)
			find_columns((Node *) clause->parts[i].expr, search);
	}
	if (clause->action != MERGE_DO_INSERT || clause->key_fits)
		return;
	for (int i = 0; i < run->nkeys; i++)
		find_columns((Node *) run->key_exprs[i], search);
}

static void
add_constants(RunLayout *layout, const MergeRun *run, Bitmapset **columns)
{
	layout->constants = palloc_array(const RunTest *, Max(run->nclauses, 1));
	for (int i = 0; i < run->nclauses; i++)
	{
		const RunTest *test = &run->clauses[i].test;

		if ((layout->fits & (UINT64CONST(1) << i)) == 0 || test->at < 0 ||
			!bms_is_member(test->at, *columns))
			continue;
		*columns = bms_del_member(*columns, test->at);
		layout->constants[layout->nconstants++] = test;
	}
}

static void
add_numbers(RunLayout *layout, MergeRun *run)
{
	for (int i = 0; i < run->nclauses; i++)
	{
		const RunClause *clause = &run->clauses[i];

		if ((layout->fits & (UINT64CONST(1) << i)) == 0)
			continue;
		for (int k = 0; k < clause->nparts; k++)
		{
			if (clause->parts[k].json >= 0)
				layout->columns[layout->ncolumns++] = clause->parts[k].at;
		}
	}
}

static RunLayout *
make_layout(MergeRun *run, uint64 fits, bool numbers)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);
	RunLayout  *layout = palloc0_object(RunLayout);
	ColumnSearch search = {.run = run};
	int			at = -1;

	layout->tested = true;
	layout->fits = fits;
	layout->numbers = numbers;
	for (int i = 0; i < run->nclauses; i++)
	{
		if (fits & (UINT64CONST(1) << i))
			find_clause_columns(&search, &run->clauses[i], numbers);
	}
	find_columns((Node *) run->tested, &search);
	add_constants(layout, run, &search.columns);
	layout->columns = palloc_array(int, run->stored_width + 1);
	while ((at = bms_next_member(search.columns, at)) >= 0)
		layout->columns[layout->ncolumns++] = at;
	layout->nitem = layout->ncolumns;
	if (numbers)
		add_numbers(layout, run);
	MemoryContextSwitchTo(old);
	return layout;
}

/* All columns, and no clause tested. */
static RunLayout *
make_whole(MergeRun *run)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);
	RunLayout  *layout = palloc0_object(RunLayout);

	layout->columns = palloc_array(int, run->width + 1);
	for (int i = 0; i < run->width; i++)
		layout->columns[layout->ncolumns++] = i;
	layout->nitem = layout->ncolumns;
	MemoryContextSwitchTo(old);
	return layout;
}

/* Begin in the run's memory context, when all is compiled. */
void
MergeBeginLayouts(MergeRun *run)
{
	run->stored_width = run->stored_slot->tts_tupleDescriptor->natts;
	run->taken_values = palloc_array(Datum, run->stored_width + 1);
	run->layouts = palloc_array(RunLayout *, LAYOUTS_MAX);
	run->whole = make_whole(run);
}

static const RunLayout *
find_layout(MergeRun *run, uint64 fits, bool numbers)
{
	for (int i = 0; i < run->nlayouts; i++)
	{
		RunLayout  *layout = run->layouts[i];

		if (layout->fits == fits && layout->numbers == numbers)
			return layout;
	}
	if (run->nlayouts == LAYOUTS_MAX)
		return run->whole;
	return run->layouts[run->nlayouts++] = make_layout(run, fits, numbers);
}

static inline bool
is_plain(Datum value)
{
	const char *data = DatumGetPointer(value);

	return !VARATT_IS_EXTERNAL(data) && !VARATT_IS_COMPRESSED(data);
}

/* Which clauses the item may be for; false: it cannot be told here. */
static bool
find_fitting(MergeRun *run, const MergeItem *item, uint64 *fits)
{
	*fits = 0;
	if (run->keeps_whole || run->nclauses > CLAUSES_MAX)
		return false;
	for (int i = 0; i < run->nclauses; i++)
	{
		const RunTest *test = &run->clauses[i].test;

		if (test->at >= 0 && test->text !=NULL && !item->nulls[test->at] &&
			!is_plain(item->values[test->at]))
			return false;
		if (test->at < 0 || MergeTestHolds(test, item->values, item->nulls))
			*fits |= UINT64CONST(1) << i;
	}
	return true;
}

/* A jsonb value aligned as its functions want it; NULL: it is not plain. */
static Jsonb *
aligned_json(MergeRun *run, Datum value)
{
	struct varlena *data = (struct varlena *) DatumGetPointer(value);
	Size		size;

	if (!is_plain(value))
		return NULL;
	if (!VARATT_IS_SHORT(data))
		return (Jsonb *) data;
	size = VARSIZE_SHORT(data) - VARHDRSZ_SHORT;
	SET_VARSIZE(run->short_json, size + VARHDRSZ);
	memcpy(VARDATA(run->short_json), VARDATA_SHORT(data), size);
	return (Jsonb *) run->short_json;
}

/* Take the numbers of a clause; *count of all there are. */
static bool
take_numbers(MergeRun *run, const RunClause *clause, const MergeItem *item,
			 int *count)
{
	for (int i = 0; i < clause->nparts; i++)
	{
		const RunPart *part = &clause->parts[i];
		Jsonb	   *json;
		Datum	   *to = &run->taken_values[*count];

		if (part->json < 0)
			continue;
		if (item->nulls[part->json])
			return false;
		json = aligned_json(run, item->values[part->json]);
		if (json == NULL || !MergeTakeNumber(part, json, to))
			return false;
		if (part->type == NUMERICOID && (char *) json == run->short_json)
		{
			/* the next value may take its place */
			Size		size = VARSIZE(DatumGetPointer(*to));

			if (run->numbers_used + MAXALIGN(size) > sizeof(run->numbers_kept))
				return false;
			memcpy(run->numbers_kept + run->numbers_used,
				   DatumGetPointer(*to), size);
			*to = PointerGetDatum(run->numbers_kept + run->numbers_used);
			run->numbers_used += MAXALIGN(size);
		}
		(*count)++;
	}
	return true;
}

/*
 * What is to be kept of an item; its values, in the layout's order, are in
 * run->taken_values until the next call.
 */
const RunLayout *
MergeLayOut(MergeRun *run, const MergeItem *item)
{
	const RunLayout *layout = run->whole;
	uint64		fits;
	bool		numbers = true;
	int			count = 0;

	run->numbers_used = 0;
	if (find_fitting(run, item, &fits))
	{
		for (uint64 rest = fits; rest != 0 && numbers; rest &= rest - 1)
			numbers = take_numbers(run, &run->clauses[pg_rightmost_one_pos64(rest)],
								   item, &count);
		layout = find_layout(run, fits, numbers);
	}
	if (layout->numbers)
		memmove(&run->taken_values[layout->nitem], run->taken_values,
				count * sizeof(Datum));
	for (int i = 0; i < layout->nitem; i++)
		run->taken_values[i] = item->values[layout->columns[i]];
	return layout;
}
