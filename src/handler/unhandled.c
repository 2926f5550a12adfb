/*
 * unhandled.c
 *		Events that nothing was done with, counted by their type.
 *
 * A misspelt event name, or a misspelt path of a key, makes a projection that
 * is ready, has no lag, and is empty.  So such events are counted.  The types
 * that are told apart are few: a value that is another one for each event is no
 * type, and all further ones are counted together.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "handler/unhandled.h"

/* Begin to count, in the current memory context. */
Unhandled *
UnhandledBegin(void)
{
	Unhandled  *unhandled = palloc0(sizeof(Unhandled));

	unhandled->context = CurrentMemoryContext;
	return unhandled;
}

static bool
same_type(const UnhandledCount *count, UnhandledWhy why, const char *type)
{
	if (count->why != why || (count->type == NULL) != (type == NULL))
		return false;
	return type == NULL || strcmp(count->type, type) == 0;
}

static UnhandledCount *
find_count(Unhandled *unhandled, UnhandledWhy why, const char *type)
{
	ListCell   *cell;
	UnhandledCount *count;
	MemoryContext old;

	foreach(cell, unhandled->counts)
	{
		if (same_type(lfirst(cell), why, type))
			return lfirst(cell);
	}
	if (type != NULL && list_length(unhandled->counts) >= UNHANDLED_TYPES_MAX)
		return find_count(unhandled, why, NULL);
	old = MemoryContextSwitchTo(unhandled->context);
	count = palloc0(sizeof(UnhandledCount));
	count->why = why;
	count->type = type == NULL ? NULL : pstrdup(type);
	unhandled->counts = lappend(unhandled->counts, count);
	MemoryContextSwitchTo(old);
	return count;
}

static void
add(Unhandled *unhandled, UnhandledWhy why, const char *type, int64 number,
	int64 first_no, int64 last_no)
{
	UnhandledCount *count = find_count(unhandled, why, type);

	if (count->count == 0 || first_no < count->first_no)
		count->first_no = first_no;
	count->last_no = Max(count->last_no, last_no);
	count->count += number;
}

/* Count an event. */
void
UnhandledAdd(Unhandled *unhandled, UnhandledWhy why, const char *type,
			 int64 no)
{
	char		cut[UNHANDLED_TYPE_LENGTH + 1];

	if (type != NULL && strlen(type) > UNHANDLED_TYPE_LENGTH)
	{
		strlcpy(cut, type, pg_mbcliplen(type, strlen(type), UNHANDLED_TYPE_LENGTH) + 1);
		type = cut;
	}
	add(unhandled, why, type, 1, no, no);
}

/* What was counted apart now counts here. */
void
UnhandledJoin(Unhandled *into, const Unhandled *from)
{
	ListCell   *cell;

	foreach(cell, from->counts)
	{
		const UnhandledCount *count = lfirst(cell);

		add(into, count->why, count->type, count->count, count->first_no,
			count->last_no);
	}
}
