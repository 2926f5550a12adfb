/*
 * chunk.c
 *		Rows that differ are written, some keys at a time.
 *
 * A chunk is some keys of one group of partitions, in one transaction: what
 * was applied since the fold is folded without a claim, then the group is
 * claimed, which waits for a running batch, the little that came meanwhile is
 * folded under a snapshot that is newer than the claim, and each row that
 * still differs from what it ought to be is written.  As long as the claim
 * lasts nobody applies an event to these keys, so the row is right for the
 * position that it is committed with.
 *
 * A batch waits for a chunk as for another consumer's batch.  So a chunk takes
 * as many keys as take CHUNK_TIME, groups take turns, and where events wait
 * for the group that was just written, the caller pauses (RebuildPause()).
 *
 * A row that cannot be written takes back the whole chunk.  Its keys are then
 * written one by one, each in a subtransaction.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "handler/apply_row.h"
#include "keylock.h"
#include "notice.h"
#include "position/claims.h"
#include "position/trouble.h"
#include "rebuild/rebuild_state.h"
#include "savepoint.h"

/* how long a chunk should take, and may take until it ends early, in ms */
#define CHUNK_TIME 40
#define CHUNK_TIME_MAX 100

#define CHUNK_KEYS_MAX 5000

/* how long a lock is waited for: of one row among many, in ms */
#define ROW_LOCK_WAIT 20

/* What has become of a key. */
typedef enum KeyState
{
	KEY_UNTOUCHED,				/* time was up */
	KEY_RIGHT,					/* it was, or is now */
	KEY_LOCKED,					/* others have locked or changed its row */
	KEY_FAILED
} KeyState;

typedef struct Chunk
{
	Rebuild    *rebuild;
	OpenProjection *work;
	Claims		claims;
	Snapshot	snapshot;
	instr_time	began;			/* when the claim was granted */
	int			count;
	RefoldKey **keys;
	KeyState   *state;

	/* the attempt at hand */
	MemoryContext memory;
	int			from;			/* which keys */
	int			to;
	int64		written;		/* rows */
	bool		inserted;
} Chunk;

static int
elapsed(const instr_time *since)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, *since);
	return (int) INSTR_TIME_GET_MILLISEC(now);
}

/* One attempt */

/* As in a batch: what triggers have deferred is checked with the chunk. */
static void
check_deferred(const Chunk *chunk)
{
	if (!chunk->rebuild->callers_transaction)
		AfterTriggerSetState(makeNode(ConstraintsSetStmt));
}

/* Make one row right, if it is not. */
static KeyState
write_key(Chunk *chunk, RowApply *apply, RefoldKey *key,
		  const FoldedKey *folded, bool *differs)
{
	Refold	   *refold = chunk->rebuild->refold;
	TupleTableSlot *actual;
	TupleTableSlot *wanted;

	if (key->fault != NULL)
		return KEY_FAILED;
	actual = RowApplyFind(apply, folded);
	if (!RefoldDiffers(refold, key, actual, differs))
		return KEY_RIGHT;
	wanted = RefoldRow(refold, key);
	if (RowApplyWrite(apply, folded, wanted, differs) != ROW_UPDATED)
		return KEY_LOCKED;
	chunk->written++;
	chunk->inserted = chunk->inserted || (actual == NULL && wanted != NULL);
	return KEY_RIGHT;
}

/* The keys of the attempt, as what finds their rows wants them. */
static FoldedKey *
folded_keys(const Chunk *chunk)
{
	int			count = chunk->to - chunk->from;
	FoldedKey  *folded = palloc0_array(FoldedKey, count);

	for (int i = 0; i < count; i++)
	{
		folded[i].entry = chunk->keys[chunk->from + i]->entry;
		folded[i].hash = chunk->keys[chunk->from + i]->hash;
	}
	return folded;
}

/* Keys by the addresses of their entries. */
typedef struct EntryPlace
{
	const FoldEntry *entry;
	int			at;
} EntryPlace;

static int
compare_places(const void *a, const void *b)
{
	const FoldEntry *left = ((const EntryPlace *) a)->entry;
	const FoldEntry *right = ((const EntryPlace *) b)->entry;

	return left < right ? -1 : left > right;
}

static EntryPlace *
places_of(const Chunk *chunk)
{
	int			count = chunk->to - chunk->from;
	EntryPlace *places = palloc_array(EntryPlace, count);

	for (int i = 0; i < count; i++)
	{
		places[i].entry = chunk->keys[chunk->from + i]->entry;
		places[i].at = chunk->from + i;
	}
	qsort(places, count, sizeof(EntryPlace), compare_places);
	return places;
}

static int
place_of(const EntryPlace *places, int count, const FoldEntry *entry)
{
	EntryPlace	wanted = {.entry = entry};

	return ((EntryPlace *) bsearch(&wanted, places, count, sizeof(EntryPlace),
								   compare_places))->at;
}

/* Write them in the order in which their rows lie, until time is up. */
static void
write_keys(Chunk *chunk)
{
	int			count = chunk->to - chunk->from;
	FoldedKey  *folded = folded_keys(chunk);
	EntryPlace *places = places_of(chunk);
	bool	   *differs = palloc_array(bool, RelationGetNumberOfAttributes(chunk->work->read_model) + 1);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "wallet_projection row",
													  ALLOCSET_SMALL_SIZES);
	RowApply   *apply = RowApplyBegin(&chunk->work->sink,
									  chunk->work->read_model, chunk->snapshot,
									  RefoldColumns(chunk->rebuild->refold),
									  chunk->rebuild->callers_transaction ?
									  LockWaitBlock : LockWaitSkip);
	MemoryContext old;

	RowApplyArrange(apply, folded, count);
	old = MemoryContextSwitchTo(row_context);
	for (int i = 0; i < count; i++)
	{
		int			at = place_of(places, count, folded[i].entry);

		CHECK_FOR_INTERRUPTS();
		if (i > 0 && i % 8 == 0 && !chunk->rebuild->callers_transaction &&
			elapsed(&chunk->began) > CHUNK_TIME_MAX)
			break;
		chunk->state[at] = write_key(chunk, apply, chunk->keys[at], &folded[i],
									 differs);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	RowApplyEnd(apply);
}

/* SavepointStep */
static void
attempt(void *arg)
{
	Chunk	   *chunk = arg;
	MemoryContext old = MemoryContextSwitchTo(chunk->memory);

	if (InSecurityRestrictedOperation())
		check_deferred(chunk);
	write_keys(chunk);
	check_deferred(chunk);
	MemoryContextSwitchTo(old);
}

/* Write these keys; the error, if it is one of theirs, or NULL. */
static ErrorData *
try_keys(Chunk *chunk, int from, int to)
{
	int64		written = chunk->written;
	bool		inserted = chunk->inserted;
	ErrorData  *error;

	chunk->from = from;
	chunk->to = to;
	chunk->memory = AllocSetContextCreate(CurrentMemoryContext,
										  "wallet_projection attempt",
										  ALLOCSET_DEFAULT_SIZES);
	error = InSavepoint(attempt, chunk);
	MemoryContextDelete(chunk->memory);
	if (error == NULL)
		return NULL;
	chunk->written = written;
	chunk->inserted = inserted;
	for (int i = from; i < to; i++)
		chunk->state[i] = KEY_UNTOUCHED;
	if (!ErrorIsOfKey(error->sqlerrcode) &&
		error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return error;
}

/* The chunk */

/* One by one, until time is up. */
static void
write_alone(Chunk *chunk, int count)
{
	for (int i = 0; i < count; i++)
	{
		ErrorData  *error;

		if (i > 0 && !chunk->rebuild->callers_transaction &&
			elapsed(&chunk->began) > CHUNK_TIME_MAX)
			return;
		error = try_keys(chunk, i, i + 1);
		if (error == NULL)
			continue;
		chunk->state[i] = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ?
			KEY_LOCKED : KEY_FAILED;
		RebuildTrouble(chunk->rebuild,
					   RefoldKeyText(chunk->rebuild->refold, chunk->keys[i]),
					   error->message);
		FreeErrorData(error);
	}
}

/* Make the rows of the chunk's keys right. */
static void
write_chunk(Chunk *chunk)
{
	Window	   *window = &chunk->rebuild->window;
	int		   *alone = &window->alone[chunk->rebuild->group];
	ErrorData  *error = NULL;

	if (*alone == 0)
		error = try_keys(chunk, 0, chunk->count);
	if (error != NULL)
	{
		*alone = chunk->count;
		FreeErrorData(error);
	}
	if (*alone > 0)
		write_alone(chunk, Min(*alone, chunk->count));
}

/* Keys that are right are dropped; the others are the next round's. */
static void
settle_keys(Chunk *chunk)
{
	Rebuild    *rebuild = chunk->rebuild;
	Window	   *window = &rebuild->window;
	int			group = rebuild->group;
	int			kept = 0;

	for (int i = 0; i < chunk->count; i++)
	{
		RefoldKey  *key = chunk->keys[i];

		if (chunk->state[i] == KEY_UNTOUCHED)
		{
			window->keys[window->from[group] + kept++] = key;
			continue;
		}
		if (chunk->state[i] == KEY_RIGHT)
			RefoldDrop(rebuild->refold, key);
		else
			rebuild->unwritten++;
		if (chunk->state[i] == KEY_LOCKED)
			rebuild->locked++;
		if (key->fault != NULL && chunk->state[i] == KEY_FAILED)
			RebuildTrouble(rebuild, RefoldKeyText(rebuild->refold, key), key->fault);
	}
	/* those that are left stand where the chunk ended */
	for (int i = kept - 1; i >= 0; i--)
		window->keys[window->from[group] + chunk->count - kept + i] =
			window->keys[window->from[group] + i];
	window->from[group] += chunk->count - kept;
	window->alone[group] = Max(window->alone[group] - (chunk->count - kept), 0);
	window->count -= chunk->count - kept;
	rebuild->count.written += chunk->written;
}

/* The next chunk takes as many keys as would have taken CHUNK_TIME. */
static void
size_next(Rebuild *rebuild, const Chunk *chunk)
{
	int			milliseconds = elapsed(&chunk->began);

	rebuild->milliseconds = milliseconds;
	if (milliseconds > CHUNK_TIME)
		rebuild->chunk_keys = Max(rebuild->chunk_keys * CHUNK_TIME / milliseconds, 1);
	else if (chunk->count == rebuild->chunk_keys)
		rebuild->chunk_keys = Min(rebuild->chunk_keys * 2, CHUNK_KEYS_MAX);
}

/* Fold on to what is applied now, of the keys of a group (-1: of all). */
static void
advance(Rebuild *rebuild, int group)
{
	PushActiveSnapshot(GetLatestSnapshot());
	RefoldAdvance(rebuild->refold, GetActiveSnapshot(), group);
	PopActiveSnapshot();
}

/* An error where the claimed group has no position. */
static void
check_claimed(const Chunk *chunk)
{
	if (chunk->claims.sets.count == 0)
		TroubleRaise(TroubleOfPositions(chunk->work->projection,
										&chunk->claims.all,
										chunk->work->read_model));
}

/* Which keys, as the last fold has left them. */
static void
take_keys(Chunk *chunk)
{
	Rebuild    *rebuild = chunk->rebuild;
	Window	   *window = &rebuild->window;
	int			from = window->from[rebuild->group];

	chunk->count = rebuild->callers_transaction ?
		window->to[rebuild->group] - from :
		Min(rebuild->chunk_keys, window->to[rebuild->group] - from);
	chunk->keys = palloc_array(RefoldKey *, chunk->count);
	chunk->state = palloc0_array(KeyState, chunk->count);
	for (int i = 0; i < chunk->count; i++)
	{
		chunk->keys[i] = window->keys[from + i];
		RefoldRenew(rebuild->refold, chunk->keys[i]);
	}
}

/* Are there events that a batch would apply to the claimed group? */
static bool
is_contended(const Chunk *chunk)
{
	return chunk->claims.sets.count > 0 &&
		StreamLastNumber(chunk->work->stream->parts.sequence) >
		chunk->claims.sets.sets[0].position.head;
}

/* RebuildStep: some keys of the group whose turn it is */
void
RebuildChunkStep(Rebuild *rebuild, OpenProjection *work)
{
	Chunk		chunk = {.rebuild = rebuild,.work = work};

	RefoldUse(rebuild->refold, work);
	if (!rebuild->callers_transaction)
		advance(rebuild, -1);
	chunk.claims = GroupClaim(work->projection, rebuild->group, true);
	INSTR_TIME_SET_CURRENT(chunk.began);
	check_claimed(&chunk);
	/* newer than the claim */
	PushActiveSnapshot(GetLatestSnapshot());
	chunk.snapshot = GetActiveSnapshot();
	RefoldAdvance(rebuild->refold, chunk.snapshot, rebuild->group);
	take_keys(&chunk);
	if (!rebuild->callers_transaction)
		LocksWithin(ROW_LOCK_WAIT);
	write_chunk(&chunk);
	PopActiveSnapshot();
	if (chunk.inserted && OpenedKeepsRows(work))
		ClaimsWritten(work->projection, &chunk.claims);
	settle_keys(&chunk);
	size_next(rebuild, &chunk);
	rebuild->contended = is_contended(&chunk);
	/* who found the group claimed looks again */
	if (rebuild->contended)
		NoticeAppendAny(RelationGetRelid(work->stream->relation));
	ClaimsRelease(&chunk.claims);
}
