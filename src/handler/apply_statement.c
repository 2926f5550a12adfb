/*
 * apply_statement.c
 *		The items of keys, applied by a statement.
 *
 * The statement sees the events of all keys in order of their numbers: one
 * after the other, or, where the definition allows that, all together.  One
 * after the other it is known whose event has failed.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "handler/apply_state.h"
#include "handler/statement_run.h"

/* An event that is due. */
typedef struct Due
{
	const FoldEntry *entry;
	const FoldItem *item;
} Due;

#define ST_SORT sort_due
#define ST_ELEMENT_TYPE Due
#define ST_COMPARE(a, b) \
	((a)->item->no < (b)->item->no ? -1 : (a)->item->no > (b)->item->no)
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* The events of all keys, in order. */
static Due *
arrange(const FoldedKey *keys, int64 count, int64 *due_count)
{
	int64		size = 0;
	Due		   *due;

	for (int64 i = 0; i < count; i++)
	{
		for (const FoldItem *item = FoldEntryItems(keys[i].entry)->first;
			 item != NULL; item = item->next)
			size++;
	}
	due = MemoryContextAllocHuge(CurrentMemoryContext,
								 Max(size, 1) * sizeof(Due));
	*due_count = 0;
	for (int64 i = 0; i < count; i++)
	{
		for (const FoldItem *item = FoldEntryItems(keys[i].entry)->first;
			 item != NULL; item = item->next)
			due[(*due_count)++] = (Due)
		{
			keys[i].entry, item
		};
	}
	sort_due(due, size);
	return due;
}

static void
apply_batch(Apply *apply, const Due *due, int64 count)
{
	StatementRun *run = apply->sink->statement;

	StatementRunEvents(run);
	for (int64 i = 0; i < count; i++)
		StatementRunAdd(run, due[i].item->bytes);
	StatementRunExecute(run);
}

static void
apply_events(Apply *apply, const Due *due, int64 count)
{
	for (int64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		apply->current = due[i].entry;
		apply_batch(apply, &due[i], 1);
	}
}

/* Apply what is kept of these keys; an error is raised as it is. */
void
ApplyStatement(Apply *apply, const FoldedKey *keys, int64 count)
{
	int64		size;
	Due		   *due = arrange(keys, count, &size);

	StatementRunOpen(apply->sink->statement);
	apply->current = count == 1 ? keys[0].entry : NULL;
	if (size > 0 && apply->sink->for_each_batch)
		apply_batch(apply, due, size);
	else
		apply_events(apply, due, size);
	StatementRunClose(apply->sink->statement);
	apply->current = NULL;
	pfree(due);
}
