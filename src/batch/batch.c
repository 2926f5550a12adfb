/*
 * batch.c
 *		One batch: claim, settle, read, fold, apply, save.
 *
 * Its parts are here, in claim.c, reading.c and failure.c; batch_state.h says
 * what each of them writes.
 *
 * A batch runs in whatever transaction it is given; projection_run calls it
 * straight, the consume procedure wraps it in transactions of its own.  Its
 * steps, in an order that exactness rests on:
 *
 *	open	the projection's lock (shared), the stream, the read model
 *	claim	lock partitions that nobody else holds; read their positions
 *	settle	the last number drawn, then who is writing (stream/settle.c)
 *	read	under a snapshot taken now: the gaps, then all above the lowest
 *			head, in order of number
 *	fold	events of claimed partitions that are not applied yet, in memory
 *	apply	a row per key
 *	save	the new positions
 *
 * An event is seen whatever its partition or type is, so the numbers that are
 * missing are known.  Those that are settled need not be remembered.
 *
 * A key whose event cannot be applied is parked (park.h): what comes before
 * that event is applied, it and the key's later ones are passed over, all else
 * goes on.  An event that the fold refuses costs nothing.  An error while rows
 * are written ends the batch, unless the caller wants them isolated
 * (isolate.h): he calls again and wants it.
 *
 * Gaps are looked up again only when a transaction that may fill one has
 * ended (gapwatch.c).
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "batch/batch_state.h"
#include "batch/unhandled_counts.h"
#include "keylock.h"
#include "notice.h"
#include "parking/parkedset.h"
#include "position/gapwatch.h"
#include "position/members.h"
#include "position/oldgaps.h"
#include "position/trouble.h"

/* how long a batch waits for a lock that is not the tables', in milliseconds */
#define KEY_LOCK_WAIT 500

/* how long a successor may take until its first batch, in milliseconds */
#define SUCCESSOR_TIME 5000

/* Stays when an error ends the batch. */
static BatchEvent at_hand;

/*
 * The one event that the last batch was busy with when it was interrupted: its
 * keys were being computed, or it was the only one whose rows were written.
 */
BatchEvent
BatchAtHand(void)
{
	return at_hand;
}

/* The event's keys are being computed; 0: all are. */
void
BatchReadsEvent(int64 no)
{
	at_hand.no = no;
	at_hand.written = false;
}

/* Rows are being written: of which event, if there is but one? */
static void
note_written(int64 events, const FoldedKey *keys)
{
	at_hand.no = events == 1 ? keys[0].entry->first_no : 0;
	at_hand.written = true;
}

/* Tell whom it may concern where we are. */
static void
batch_tell(const Batch *batch, BatchStep step)
{
	if (batch->limits->step != NULL)
		batch->limits->step(step, &batch->reach.claims);
}

/*
 * An error if rows are there before the first event is applied.  The read model
 * was empty when the projection was created; but a definition that inserts none
 * needs somebody else's rows.
 */
static void
check_first(const Batch *batch)
{
	const Declared *declared = batch->projection->declared;

	if (PositionsHighest(&batch->reach.claims.all) > 0 ||
		(declared != NULL && declared->start.head > 0) ||
		(batch->work.sink.handler == NULL &&
		 !MergeHas(batch->work.sink.merge, MERGE_DO_INSERT)))
		return;
	TroubleRaise(TroubleOfForeignRows(batch->projection, batch->work.read_model));
}

/* apply: what was folded, a row per key */
static void
batch_apply(Batch *batch)
{
	ApplyScope	scope = {.projection = batch->projection,
		.sink = &batch->work.sink,.stream = batch->stream,
		.read_model = batch->work.read_model,
		.unhandled = batch->reading.unhandled,.snapshot = batch->reading.snapshot,
		.own = !batch->limits->callers_transaction,
	.skip_locked = !batch->limits->stop_on_failure && !batch->limits->callers_transaction};
	int64		count;
	FoldedKey  *keys;

	batch->events = FoldEvents(batch->reading.fold);
	if (batch->events == 0)
		return;
	batch_tell(batch, BATCH_APPLIES);
	check_first(batch);
	keys = FoldKeys(batch->reading.fold, &count);
	note_written(batch->events, keys);
	if (at_hand.no != 0 && at_hand.no == batch->limits->given_up.no &&
		batch->limits->given_up.written)
		BatchGiveUp(batch, &scope, keys, count);
	else if (batch->limits->isolate)
		BatchIsolate(batch, &scope, keys, count);
	else
		BatchLeaveLocked(batch, &scope, WriteKeys(&scope, keys, count));
	/* an event of several keys is taken back with each that fails */
	batch->events = Max(batch->events + batch->faults.applied, 0);
	at_hand.no = 0;
}

/* save: the new positions; true: one has moved */
static bool
batch_save(Batch *batch)
{
	const char *name = batch->projection->name;
	const PositionSets *before = &batch->reach.claims.sets;
	PositionSets after = SetsClaimed(before, ~UINT64CONST(0));
	Owners		owners = OwnersOf(&batch->reading.settlement);
	int64		numbers = 0;
	bool		looked = true;
	bool		moved = false;

	BatchPark(batch);
	if (batch->reading.unhandled != NULL)
		UnhandledSave(name, LowestGroup(batch->reach.claims.groups), batch->reading.unhandled);
	for (int i = 0; i < after.count; i++)
	{
		PositionSet *set = &after.sets[i];

		set->position = PositionAdvance(&set->position, &batch->reading.report);
		numbers += (set->position.head - before->sets[i].position.head) *
			PartitionsOf(set->groups, batch->projection->partitions);
		moved = moved || !SameSet(set, &before->sets[i]) ||
			(set->loaded != NULL && !SameOwners(&set->owners, &owners));
		looked = looked && PositionLooked(&before->sets[i].position,
										  &batch->reading.report);
	}
	if (moved)
	{
		MembersKeep(batch->projection, batch->stream);
		after = SetsJoin(before, &after, &batch->reading.report);
		OldGapsStore(batch->projection, &batch->reach.claims, &after,
					 batch->reading.settlement.oldest, looked ? &owners : NULL);
		ClaimsSave(batch->projection, &batch->reach.claims, &after,
				   batch->events > 0 && OpenedKeepsRows(&batch->work));
		OldGapsDeleteUnused(batch->projection, &batch->reach.claims, &after);
	}
	if (moved)
		NoticeProgress(name, batch->events, numbers,
					   batch->reading.settlement.last_number);
	if (moved && batch->faults.parked_known)
		ParkedSetSaved(name, &after);
	if (looked)
		GapsLooked(name, before, &after, batch->reading.settlement.look);
	return moved;
}

/* Give back all but the locks, which last as long as the transaction. */
static void
batch_close(Batch *batch)
{
	if (batch->reading.snapshot != NULL)
		UnregisterSnapshot(batch->reading.snapshot);
	if (batch->reach.claims.catalog != NULL)
		ClaimsRelease(&batch->reach.claims);
	OpenedClose(&batch->work);
}

static BatchOutcome
batch_steps(Batch *batch)
{
	bool		moved;

	if (!BatchLook(batch))
		return BATCH_IDLE;
	if (!BatchClaim(batch))
		return BATCH_BUSY;
	batch_tell(batch, BATCH_READS);
	batch->reading.settlement = Settle(batch->stream);
	BatchCheckForwards(batch, &batch->reach.claims.all,
					   batch->reading.settlement.last_number);
	BatchRead(batch);
	batch_apply(batch);
	moved = batch_save(batch);

	/*
	 * Who is held up by a writer has come to the end, for now; so has a read
	 * that was cut and has got nowhere, since the next would end there, too.
	 */
	if (batch->reading.report.whole || batch->reading.held_up > 0 ||
		(!moved && batch->events == 0))
		return BATCH_WHOLE;
	return BATCH_CUT;
}

/*
 * This batch went well; is the projection's failure over?  It is when nothing
 * is left to do in any partition, or the batch had all partitions: what failed
 * was in it.  Otherwise whoever has failed says so, after his next good batch
 * (AssignmentClearError).  If he is gone, and nobody who has his partitions now
 * has failed either in the time that it takes to come and try, it is over.
 */
static bool
is_failure_over(const Batch *batch)
{
	const Projection *projection = batch->projection;

	if (projection->last_error == NULL)
		return false;
	if (batch->reach.nothing_left || batch->reach.claims.groups == AllGroups(batch->groups))
		return true;
	return batch->events > 0 &&
		TimestampDifferenceExceeds(projection->next_try, GetCurrentTimestamp(),
								   SUCCESSOR_TIME) &&
		!KeyLockHeldByOthers(KEYLOCK_FAILURE, projection->name);
}

/* The steps between open and close. */
static BatchOutcome
batch_work(Batch *batch)
{
	volatile BatchOutcome outcome = BATCH_IDLE;

	OpenedBegin(&batch->work);
	PG_TRY();
	{
		outcome = batch_steps(batch);
	}
	PG_FINALLY();
	{
		OpenedEnd(&batch->work);
	}
	PG_END_TRY();
	if (is_failure_over(batch))
		ProjectionSaveError(batch->projection->name, NULL, 0, 0);
	return outcome;
}

/*
 * Run one batch of a projection in the current transaction.  A key whose event
 * cannot be applied is parked, as the limits and the projection allow.  All
 * else that goes wrong is an error: the transaction then takes everything back.
 */
BatchResult
BatchRun(const char *projection, const BatchLimits *limits)
{
	MemoryContext context;
	MemoryContext old;
	Batch	   *batch;
	BatchResult result = {0};
	SharedLock	lock;

	at_hand.no = 0;
	OpenedCheckTransaction(limits->command);
	lock = ProjectionLockShared(projection, limits->as_worker);
	if (lock != SHARED_LOCKED)
	{
		result.rest = true;
		result.outcome = lock == SHARED_BUSY ? BATCH_BUSY : BATCH_STOPPED;
		return result;
	}
	context = AllocSetContextCreate(CurrentMemoryContext,
									"wallet_projection batch",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	batch = palloc0(sizeof(Batch));
	batch->limits = limits;
	PushActiveSnapshot(GetLatestSnapshot());
	batch->context = context;
	OpenedOpen(&batch->work, projection);
	/* a lock of one key: the others must not wait for it without end */
	if (!limits->callers_transaction)
		LocksWithin(KEY_LOCK_WAIT);
	batch->projection = batch->work.projection;
	batch->stream = batch->work.stream;
	batch->groups = GroupsOf(batch->projection->partitions);
	BatchBeginReading(batch);
	BatchBeginFaults(batch);
	result.outcome = batch_work(batch);
	result.events = batch->events;
	result.next_retry = batch->faults.next_retry;
	result.partial = batch->reach.claims.groups != AllGroups(batch->groups);
	result.steal_wanted = batch->reach.steal_wanted;
	result.gave_up = batch->gave_up;
	result.rest = result.outcome != BATCH_IDLE &&
		(SetsGroups(&batch->reach.candidates) & ~batch->reach.claims.groups) != 0;
	batch_close(batch);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}
