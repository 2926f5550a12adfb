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
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "keylock.h"
#include "notice.h"
#include "position/trouble.h"
#include "rebuild/chunk.h"

/* how long a chunk should take, in ms */
#define CHUNK_TIME 40

#define CHUNK_KEYS_MAX 5000

/* how long a lock is waited for: of one row among many, in ms */
#define ROW_LOCK_WAIT 20

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
	int			milliseconds = ChunkElapsed(chunk);

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
	ChunkWrite(&chunk);
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
