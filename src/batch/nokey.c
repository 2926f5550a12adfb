/*
 * nokey.c
 *		Events whose key cannot be computed.
 *
 * Such an event is parked by itself, under its number.  Which partition its
 * keys are of is not known, and it may be computed one day: where an enum gets
 * a label, or the event is mended.  Then one partition may have passed the event
 * over, and another one take it for its own.  So the first batch that sees it
 * parks it, whatever partitions that has; none applies an event that is
 * parked under its number; and whoever parks one is alone, and looks at it once
 * more: nobody else has just applied it, or does so before the row is there.
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "batch/batch_state.h"
#include "fault.h"
#include "keylock.h"
#include "parking/skip.h"
#include "position/oldgaps.h"

/* An event that is looked at once more. */
typedef struct Again
{
	MergeRun   *run;
	bool		found;
	ErrorData  *error;
} Again;

/* The numbers that no batch applies. */
void
BatchReadSkipped(Batch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	const char *name = batch->projection->name;

	batch->reading.skipped = batch->projection->declared != NULL ?
		SkippedOrParkedAlone(name) : SkippedEvents(name);
	MemoryContextSwitchTo(old);
}

/* EventReceiver */
static bool
look_again(void *state, const Event *event)
{
	Again	   *again = state;

	again->found = true;
	again->error = MergeRunItemsTry(again->run, event->slot);
	return false;
}

/* The batch is to be done again. */
static void
give_up(const Batch *batch, int64 no, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("projection \"%s\" cannot park event %lld now",
					batch->projection->name, (long long) no),
			 errdetail_internal("%s", why),
			 errhint("Run it again. Background workers do so by themselves.")));
}

/*
 * Have no other batch of the projection run until the transaction ends.  Of
 * several who want that, all but one make room.
 */
static void
be_alone(Batch *batch, int64 no)
{
	const char *name = batch->projection->name;

	if (batch->alone)
		return;
	if (batch->limits->callers_transaction)
		KeyLockPart(KEYLOCK_CLAIM, name, GROUPS_MAX);
	else if (!KeyLockPartIfFree(KEYLOCK_CLAIM, name, GROUPS_MAX))
		give_up(batch, no, "Another consumer parks an event.");
	KeyLock(KEYLOCK_PROJECTION, name, ExclusiveLock);
	batch->alone = true;
	BatchReadSkipped(batch);
}

/* Is the event one that a claimed partition has not passed yet? */
static bool
is_new(const Batch *batch, int64 no)
{
	if (NumberSetContains(&batch->reading.skipped, no))
		return false;
	for (int i = 0; i < batch->reach.claims.sets.count; i++)
	{
		if (!PositionApplied(&batch->reach.claims.sets.sets[i].position, no))
			return true;
	}
	return false;
}

/* Has some partition passed the event? */
static bool
is_passed(const Batch *batch, int64 no)
{
	Positions	all = PositionsRead(batch->projection);

	for (int i = 0; i < all.sets.count; i++)
	{
		PositionSet *set = &all.sets.sets[i];

		if (set->old.last >= no)
			OldGapsLoad(batch->projection, set);
		if (PositionApplied(&set->position, no))
			return true;
	}
	return false;
}

/* An error if the key can be computed now, or in a way that parks nobody. */
static void
check_again(const Batch *batch, int64 no)
{
	Again		again = {.run = batch->work.sink.run};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	(void) ReadRowsWhere(batch->stream, snapshot, NIL, no, no, look_again,
						 &again);
	UnregisterSnapshot(snapshot);
	if (again.error == NULL)
		give_up(batch, no, again.found ?
				"Its key could not be computed, and can be now." :
				"It was deleted meanwhile.");
	if (!ErrorIsOfEvent(again.error->sqlerrcode))
		ReThrowError(again.error);
	FreeErrorData(again.error);
}

/*
 * The key of this event cannot be computed, or (too_long) not in time: is the
 * event to be parked?  If so, no other batch of the projection runs until the
 * transaction ends.  One that took too long is not tried again; but if another
 * batch has passed it, its key was computed there, and it may have been applied.
 */
bool
BatchParksNoKey(Batch *batch, int64 no, bool too_long)
{
	if (!is_new(batch, no))
		return false;
	if (!batch->faults.may_park)
		return true;
	be_alone(batch, no);
	if (!is_new(batch, no))
		return false;
	if (too_long)
		return !is_passed(batch, no);
	check_again(batch, no);
	return true;
}
