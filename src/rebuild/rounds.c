/*
 * rounds.c
 *		Keys that differ, in the order in which their chunks are written.
 *
 * In each round all keys that the refold has are tried once: gathered some
 * thousands at a time (the window), by groups, which take turns.  Those that
 * cannot be written, or whose row others have locked, stay in the refold and
 * are tried again when all others have been, as long as that helps.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "rebuild/board.h"
#include "rebuild/rebuild_state.h"

#define CHUNK_KEYS_FIRST 100

/* how long keys are tried again that others have locked, in ms */
#define LOCKED_PATIENCE 5000
#define LOCKED_PAUSE 100

/* The window */

/* Put the keys that were gathered into the order of their groups. */
static void
arrange_window(Window *window, RefoldKey **gathered, int count)
{
	int			at = 0;

	window->keys = palloc_array(RefoldKey *, Max(count, 1));
	window->count = count;
	for (int group = 0; group < GROUPS_MAX; group++)
	{
		window->from[group] = at;
		window->alone[group] = 0;
		for (int i = 0; i < count; i++)
		{
			if (gathered[i]->group == group)
				window->keys[at++] = gathered[i];
		}
		window->to[group] = at;
	}
}

/* Gather the next keys; false: there are none in this round. */
static bool
fill_window(Rebuild *rebuild)
{
	Window	   *window = &rebuild->window;
	MemoryContext old;
	RefoldKey **gathered;
	RefoldKey  *key;
	int			count = 0;

	if (window->context == NULL)
		window->context = AllocSetContextCreate(rebuild->context,
												"wallet_projection window",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(window->context);
	old = MemoryContextSwitchTo(window->context);
	gathered = palloc_array(RefoldKey *, WINDOW_KEYS);
	while (count < WINDOW_KEYS &&
		   (key = RefoldNext(rebuild->refold, -1, &rebuild->cursor)) != NULL)
		gathered[count++] = key;
	arrange_window(window, gathered, count);
	MemoryContextSwitchTo(old);
	return count > 0;
}

/* The group whose turn it is: the next one that has keys. */
static int
next_group(const Rebuild *rebuild)
{
	for (int i = 1; i <= GROUPS_MAX; i++)
	{
		int			group = (rebuild->group + i) % GROUPS_MAX;

		if (rebuild->window.from[group] < rebuild->window.to[group])
			return group;
	}
	elog(ERROR, "a rebuild has lost its keys");
}

/* Rounds */

/* The first round of what the refold has begins. */
void
RebuildRounds(Rebuild *rebuild)
{
	rebuild->differing = RefoldCount(rebuild->refold);
	rebuild->left_before = rebuild->differing;
	rebuild->unwritten = 0;
	rebuild->give_up = 0;
	rebuild->locked = 0;
	rebuild->window.count = 0;
	memset(&rebuild->cursor, 0, sizeof(rebuild->cursor));
}

/* All keys have been tried: once more, if that may help. */
static bool
next_round(Rebuild *rebuild)
{
	int64		left = RefoldCount(rebuild->refold);
	bool		helps = left < rebuild->left_before;

	if (rebuild->give_up == 0)
		rebuild->give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   LOCKED_PATIENCE);
	if (rebuild->locked > 0 && GetCurrentTimestamp() < rebuild->give_up)
		helps = true;
	if (left == 0 || !helps)
		return false;
	rebuild->left_before = left;
	rebuild->unwritten = 0;
	list_free_deep(rebuild->troubles);
	rebuild->troubles = NIL;
	memset(&rebuild->cursor, 0, sizeof(rebuild->cursor));
	return true;
}

/* The range is done. */
static void
end_range(Rebuild *rebuild)
{
	MemoryContext old = MemoryContextSwitchTo(rebuild->context);

	rebuild->count.unwritten += rebuild->unwritten;
	rebuild->all_troubles = list_concat(rebuild->all_troubles, rebuild->troubles);
	rebuild->troubles = NIL;
	MemoryContextSwitchTo(old);
}

/* Where we are, for others to see. */
static void
report(const Rebuild *rebuild)
{
	int64		left = RefoldCount(rebuild->refold);

	BoardReport(REBUILD_WRITES, 0.9 + 0.1 *
				(1 - (double) left / Max(rebuild->differing, 1)));
}

/*
 * Write some of the keys that differ, in the current transaction.  The keys'
 * range was folded (RebuildFold()).
 */
RebuildNext
RebuildChunk(Rebuild *rebuild)
{
	int			group;

	if (rebuild->window.count == 0 && !fill_window(rebuild))
	{
		bool		locked = rebuild->locked > 0;

		if (!next_round(rebuild))
		{
			end_range(rebuild);
			return REBUILD_ENDS;
		}
		rebuild->locked = 0;
		rebuild->milliseconds = LOCKED_PAUSE;
		return locked && !rebuild->callers_transaction ? REBUILD_PAUSES :
			REBUILD_GOES_ON;
	}
	group = next_group(rebuild);
	rebuild->contended = false;
	rebuild->group = group;
	if (rebuild->chunk_keys == 0)
		rebuild->chunk_keys = CHUNK_KEYS_FIRST;
	RebuildWith(rebuild, true, RebuildChunkStep);
	report(rebuild);
	if (rebuild->contended && rebuild->window.count > 0 &&
		next_group(rebuild) == group)
		return REBUILD_PAUSES;
	return REBUILD_GOES_ON;
}

/* How long to pause, in ms: as long as the others had to wait. */
int
RebuildPause(const Rebuild *rebuild)
{
	return Min(Max(rebuild->milliseconds, 5), LOCKED_PAUSE);
}
