/*
 * attempt.c
 *		The rows of a chunk's keys are written.
 *
 * A row that cannot be written takes back the whole chunk.  Its keys are then
 * written one by one, each in a subtransaction.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "fault.h"
#include "handler/apply_row.h"
#include "rebuild/chunk.h"
#include "savepoint.h"

/* how long a chunk may take until it ends early, in ms */
#define CHUNK_TIME_MAX 100

/* Since the claim was granted, in ms. */
int
ChunkElapsed(const Chunk *chunk)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, chunk->began);
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
			ChunkElapsed(chunk) > CHUNK_TIME_MAX)
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
			ChunkElapsed(chunk) > CHUNK_TIME_MAX)
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
void
ChunkWrite(Chunk *chunk)
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
