/*
 * rebuild.c
 *		A read model made what its events say, while everything goes on.
 *
 * A rebuild goes through the keys by ranges of their hashes.  For each range it
 * folds the stream as a snapshot's positions say, without a claim, and compares
 * the rows with the table's (refold.h).  Only keys that differ are left, and
 * chunk.c writes them.  In the end parked keys are tried again.
 *
 * Nothing that a rebuild does is needed by whoever applies events meanwhile,
 * and positions stay as they are.  So it may end at any moment.
 *
 * Each function here works in the transaction that it is given; in between,
 * the caller commits (consumer/rebuild.c).
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "batch/replay.h"
#include "encoding.h"
#include "fault.h"
#include "keylock.h"
#include "parking/park.h"
#include "rebuild/beginning.h"
#include "rebuild/board.h"
#include "rebuild/rebuild_state.h"
#include "savepoint.h"
#include "tablesize.h"

#define COMMAND "projection_rebuild()"

/* so many texts say why rows could not be written */
#define TROUBLES_MAX 10

/* the fold's part of the work, as progress shows it */
#define FOLD_PART 0.8

/* until when keys are given to a session that comes later, part of the fold */
#define SHARE_UNTIL 0.4

/* how long a replay waits for a lock, in milliseconds */
#define REPLAY_LOCK_WAIT 200

/* how long one transaction tries parked keys, in milliseconds */
#define REPLAY_TIME 40

/*
 * A rebuild of a projection, or of one key of it, which lives in the current
 * memory context.
 */
Rebuild *
RebuildBegin(const char *projection, const char *key, bool force,
			 bool callers_transaction)
{
	Rebuild    *rebuild = palloc0_object(Rebuild);

	rebuild->context = CurrentMemoryContext;
	rebuild->name = pstrdup(projection);
	rebuild->key = key == NULL ? NULL : pstrdup(key);
	rebuild->force = force;
	rebuild->callers_transaction = callers_transaction;
	rebuild->last = PG_UINT64_MAX;
	return rebuild;
}

/* The range that is rebuilt next. */
void
RebuildRange(Rebuild *rebuild, uint64 first, uint64 last)
{
	rebuild->first = first;
	rebuild->last = last;
}

/*
 * Take a step with the projection open, as its owner; lock: no reset, no
 * alteration meanwhile.
 */
void
RebuildWith(Rebuild *rebuild, bool lock, RebuildStep step)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection rebuild",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	OpenProjection work;

	OpenedCheckTransaction(COMMAND);
	if (lock)
		(void) ProjectionLockShared(rebuild->name, false);
	PushActiveSnapshot(GetLatestSnapshot());
	OpenedOpen(&work, rebuild->name);
	OpenedBegin(&work);
	PG_TRY();
	{
		step(rebuild, &work);
	}
	PG_FINALLY();
	{
		OpenedEnd(&work);
	}
	PG_END_TRY();
	OpenedClose(&work);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Remember why a key's row could not be written, for the first ones. */
void
RebuildTrouble(Rebuild *rebuild, const char *key, const char *message)
{
	MemoryContext old;

	if (list_length(rebuild->troubles) + list_length(rebuild->all_troubles) >= TROUBLES_MAX)
		return;
	old = MemoryContextSwitchTo(rebuild->context);
	rebuild->troubles = lappend(rebuild->troubles,
								psprintf("\"%s\": %s", key, message));
	MemoryContextSwitchTo(old);
}

/* Folding */

/* Rows that many events make together cannot be made one by one. */
static void
refuse_statement(const Projection *projection)
{
	if (projection->declared == NULL ||
		projection->declared->kind != DECLARED_STATEMENT)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" cannot be rebuilt", projection->name),
			 errdetail("It is a statement, which may change any rows; no row of it can be made by itself."),
			 errhint("Create a second projection with the same statement into a second table with projection_create, compare the tables with projection_compare, and exchange them with projection_promote.")));
}

/*
 * The rows of a projection that has begun in the middle of the stream may hold
 * what came before: no event makes them again.
 */
static void
check_start(const Rebuild *rebuild, const OpenProjection *work)
{
	const Declared *declared = work->projection->declared;

	if (rebuild->force || declared == NULL || declared->start.head == 0 ||
		!TableHasBlock(work->read_model, 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projection \"%s\" cannot be rebuilt with its rows",
					rebuild->name),
			 errdetail("It begins after event " INT64_FORMAT ", and what its read model held then would be lost.",
					   declared->start.head),
			 errhint("If the read model was empty then: force => true.")));
}

/* RebuildStep */
static void
check_step(Rebuild *rebuild, OpenProjection *work)
{
	refuse_statement(work->projection);
	PushActiveSnapshot(GetLatestSnapshot());
	check_start(rebuild, work);
	BeginningCheck(work, rebuild->force);
	PopActiveSnapshot();
}

/* May the projection be rebuilt?  An error says why not. */
void
RebuildCheck(const char *projection, bool force)
{
	RebuildWith(RebuildBegin(projection, NULL, force, false), false, check_step);
}

/* What the key may be parked as. */
static char *
parked_as(const Rebuild *rebuild, const OpenProjection *work)
{
	KeyType    *type = work->sink.key;
	int			length;
	char	   *image;
	char	   *found;

	if (type == NULL)
		return rebuild->key;
	image = KeyFromText(type, rebuild->key, &length);
	found = ParkedEqual(rebuild->name, type, image, length);
	return found == NULL ? NULL :
		MemoryContextStrdup(rebuild->context, found);
}

/*
 * RefoldWatcher: progress, and whether a session that waits is given the half of
 * the range.  It has to read the stream from its beginning, so late it would
 * rather hold us up.
 */
static bool
watch(void *arg, double part, uint64 half)
{
	BoardReport(REBUILD_FOLDS, part * FOLD_PART);
	return part < SHARE_UNTIL && BoardIsWanted() && BoardKeep(half);
}

/* RebuildStep */
static void
fold_step(Rebuild *rebuild, OpenProjection *work)
{
	MemoryContext old;

	refuse_statement(work->projection);
	/* the tables are locked: from now on they are what a snapshot shows */
	PushActiveSnapshot(GetLatestSnapshot());
	if (!rebuild->begun)
		check_start(rebuild, work);
	rebuild->begun = true;
	old = MemoryContextSwitchTo(rebuild->context);
	rebuild->refold = RefoldBegin(work, rebuild->first, rebuild->last);
	MemoryContextSwitchTo(old);
	if (rebuild->key != NULL)
	{
		RefoldOnly(rebuild->refold, rebuild->key);
		rebuild->parked_key = parked_as(rebuild, work);
	}
	else if (rebuild->callers_transaction)
		RefoldCheckRows(rebuild->refold);
	else
		RefoldWatch(rebuild->refold, watch, rebuild);
	BoardTotal(StreamLastNumber(work->stream->parts.sequence));
	RefoldAdvance(rebuild->refold, GetActiveSnapshot(), -1);
	BoardReport(REBUILD_COMPARES, FOLD_PART);
	rebuild->count.compared += RefoldCompare(rebuild->refold,
											 GetActiveSnapshot(), true, NULL, NULL);
	/* what is missing of the stream's beginning would look like tampering */
	if (!rebuild->checked && (RefoldCount(rebuild->refold) > 0 ||
							  RefoldUnkeyed(rebuild->refold) > 0))
	{
		BeginningCheck(work, rebuild->force);
		rebuild->checked = true;
	}
	PopActiveSnapshot();
}

/*
 * Fold the keys of the range and compare them with the table; the range may
 * end earlier than it was said to: RebuildReached().
 */
void
RebuildFold(Rebuild *rebuild)
{
	RebuildWith(rebuild, rebuild->callers_transaction, fold_step);
	RebuildRounds(rebuild);
}

/* The end of the range that was really folded. */
uint64
RebuildReached(const Rebuild *rebuild)
{
	return rebuild->key != NULL ? PG_UINT64_MAX : RefoldLast(rebuild->refold);
}

/* What was folded of the range is needed no more. */
void
RebuildForget(Rebuild *rebuild)
{
	if (rebuild->refold != NULL)
		RefoldEnd(rebuild->refold);
	rebuild->refold = NULL;
}

/* Parked keys */

typedef struct Replay
{
	Rebuild    *rebuild;
	const ParkedBrief *parked;
	ReplayResult result;
} Replay;

/*
 * Make a key's row of events one of which was free a moment ago; its partition
 * is claimed.
 */
static void
rebuild_late(Rebuild *rebuild, const char *key)
{
	Rebuild    *one = RebuildBegin(rebuild->name, key, true, true);

	RebuildFold(one);
	while (RebuildChunk(one) != REBUILD_ENDS)
		;
	RebuildForget(one);
	/* the event is parked again as before */
	if (one->count.unwritten > 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the row of a parked event cannot be written")));
	rebuild->count.written += one->count.written;
}

/* SavepointStep */
static void
replay(void *arg)
{
	Replay	   *one = arg;
	ListCell   *cell;
	int			level = NewGUCNestLevel();

	if (!one->rebuild->callers_transaction)
		LocksWithin(REPLAY_LOCK_WAIT);
	one->result = ReplayKey(one->rebuild->name, one->parked->key,
							one->parked->by_number, one->parked->id,
							REPLAY_LEAVES_LATE, COMMAND);
	foreach(cell, one->result.late)
		rebuild_late(one->rebuild, lfirst(cell));
	AtEOXact_GUC(true, level);
}

/* Try a parked key again; one whose lock others have waits as before. */
static void
replay_key(Rebuild *rebuild, const ParkedBrief *parked)
{
	Replay		one = {.rebuild = rebuild,.parked = parked};
	ErrorData  *error = InSavepoint(replay, &one);

	if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	if (error == NULL && one.result.outcome == REPLAY_HEALED)
		rebuild->count.freed++;
	else
		rebuild->count.parked++;
}

/* Of one key: is it this one, or an event that may be the key's? */
static bool
is_wanted(const Rebuild *rebuild, const ParkedBrief *parked)
{
	return rebuild->key == NULL || parked->by_number ||
		(rebuild->parked_key != NULL &&
		 strcmp(parked->key, rebuild->parked_key) == 0);
}

/* What of the next stage is parked now? */
static void
next_stage(Rebuild *rebuild)
{
	MemoryContext old = MemoryContextSwitchTo(rebuild->context);

	rebuild->stage++;
	rebuild->parked = ParkedAll(rebuild->name, rebuild->stage == REPLAY_EVENTS);
	rebuild->replayed = 0;
	MemoryContextSwitchTo(old);
}

/* Is all of this stage tried? */
static bool
is_stage_over(const Rebuild *rebuild)
{
	return rebuild->replayed == list_length(rebuild->parked);
}

/*
 * Try some of the parked keys again, in the current transaction; false: none
 * is left of those that were parked when this began.
 */
bool
RebuildReplay(Rebuild *rebuild)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  REPLAY_TIME);

	OpenedCheckTransaction(COMMAND);
	BoardReport(REBUILD_REPLAYS, 1.0);
	while (GetCurrentTimestamp() < end)
	{
		const ParkedBrief *parked;

		while (is_stage_over(rebuild) && rebuild->stage != REPLAY_KEYS)
			next_stage(rebuild);
		if (is_stage_over(rebuild))
			return false;
		CHECK_FOR_INTERRUPTS();
		parked = list_nth(rebuild->parked, rebuild->replayed++);
		if (is_wanted(rebuild, parked))
			replay_key(rebuild, parked);
	}
	return true;
}

/* The end */

RebuildCount
RebuildCounted(const Rebuild *rebuild)
{
	return rebuild->count;
}

/* Tell the caller what was done. */
void
RebuildTell(const Rebuild *rebuild)
{
	const RebuildCount *count = &rebuild->count;
	ListCell   *cell;

	foreach(cell, rebuild->all_troubles)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("a row of projection \"%s\" could not be rebuilt",
						rebuild->name),
				 errdetail_internal("%s", TextForClient(lfirst(cell)))));
	ereport(NOTICE,
			(errmsg("projection \"%s\": keys compared: " INT64_FORMAT ", rows written: " INT64_FORMAT,
					rebuild->name, count->compared, count->written),
			 count->unwritten > 0 ?
			 errdetail("The rows of " INT64_FORMAT " keys could not be written, and are as before.",
					   count->unwritten) :
			 count->freed + count->parked > 0 ?
			 errdetail(INT64_FORMAT " of " INT64_FORMAT " parked keys are free again.",
					   count->freed, count->freed + count->parked) : 0));
}
