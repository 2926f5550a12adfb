/*
 * reading.c
 *		What a batch reads: the gaps, then all above the lowest head.
 *
 * Each event that the snapshot sees is seen, whatever its partition or type is,
 * so the numbers that are missing are known.  What is ours and not applied yet
 * is folded, or kept with its key.
 *
 * A declared projection's items are computed while the stream is read.  An
 * event for which that fails is refused by itself (nokey.c).
 *
 * A projection that is ordered by number stops before the first number that may
 * still be filled.  So it never has gaps, but those with which it has begun.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "batch/batch_state.h"
#include "batch/onekey.h"
#include "fault.h"
#include "keyhash.h"
#include "parking/skip.h"
#include "position/gapwatch.h"
#include "position/oldgaps.h"
#include "position/trouble.h"
#include "savepoint.h"
#include "settings.h"

/* events of any kind that a batch reads at most, for each that it may apply */
#define SEEN_PER_EVENT 20

/* how often memory and time are looked at, in events of any kind */
#define CHECK_INTERVAL 128

/* How many events a batch may apply; 0: any number. */
static int64
max_events(const Projection *projection, const BatchLimits *limits)
{
	if (!limits->sized)
		return limits->events;
	if (limits->events == 0)
		return projection->batch_size;
	return Min(limits->events, projection->batch_size);
}

/* Limits, and what depends on the projection alone. */
void
BatchBeginReading(Batch *batch)
{
	const Projection *projection = batch->projection;
	Reading    *reading = &batch->reading;

	/* nothing but one event may make a batch of one take long */
	reading->interval = batch->limits->events == 1 ? 1 : CHECK_INTERVAL;
	reading->until_check = reading->interval;
	if (batch->limits->milliseconds > 0)
		reading->deadline =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										batch->limits->milliseconds);
	reading->max_memory = (Size) BatchMemory * 1024;
	reading->max_events = max_events(projection, batch->limits);
	reading->in_order = projection->declared != NULL &&
		projection->declared->ordering == ORDERING_NUMBER;
	reading->type_length = strlen(projection->aggregate_type);
}

/* Has a limit been reached?  Then everything is folded. */
static bool
batch_full(Batch *batch)
{
	int64		taken = FoldEvents(batch->reading.fold) + batch->faults.failing;

	if (batch->reading.max_events > 0 &&
		taken + FoldWaiting(batch->reading.fold) >= batch->reading.max_events)
	{
		/* some may turn out to be ignored */
		FoldFlush(batch->reading.fold);
		return FoldEvents(batch->reading.fold) + batch->faults.failing >= batch->reading.max_events;
	}
	return false;
}

/*
 * Has the batch read for long enough, whatever it was, or used its memory?
 * All gaps are read: cut short, the next read would begin with them again.
 */
static bool
batch_exhausted(Batch *batch)
{
	if (likely(--batch->reading.until_check > 0))
		return false;
	batch->reading.until_check = batch->reading.interval;
	if (batch->reading.past_gaps && batch->reading.may_see > 0)
	{
		batch->reading.may_see -= batch->reading.interval;
		if (batch->reading.may_see <= 0)
		{
			FoldFlush(batch->reading.fold);
			return true;
		}
	}
	if (FoldMemory(batch->reading.fold) <= batch->reading.max_memory &&
		(batch->reading.deadline == 0 || !batch->reading.past_gaps ||
		 GetCurrentTimestamp() < batch->reading.deadline))
		return false;
	FoldFlush(batch->reading.fold);
	return true;
}

/* Has this batch to apply an event of this number to keys of this hash? */
static inline bool
batch_wants(const Batch *batch, int64 no, uint64 hash)
{
	const Position *position = BatchPositionOf(batch, hash);

	if (position == NULL ||
		(no <= position->head && PositionApplied(position, no)))
		return false;
	return batch->reading.skipped.count == 0 ||
		!NumberSetContains(&batch->reading.skipped, no);
}

/* Fold an event of the created shape, if it is ours. */
static inline void
take_event(Batch *batch, const Event *event)
{
	uint64		hash;

	if (!EventIsOfType(event, batch->projection->aggregate_type,
					   batch->reading.type_length))
		return;
	hash = KeyHash(event->key, event->key_length);
	if (batch_wants(batch, event->no, hash))
		FoldAdd(batch->reading.fold, event, hash);
}

/* MergeItemReceiver: an item of the event at hand */
static void
take_item(void *arg, const MergeItem *item)
{
	Batch	   *batch = arg;
	KeyHashes	hashes;

	if (!item->has_key)
	{
		if (batch_wants(batch, batch->reading.event->no, (uint64) batch->reading.event->no))
			UnhandledAdd(batch->reading.unhandled, UNHANDLED_NO_KEY,
						 MergeItemTypeNow(batch->work.sink.run, item),
						 batch->reading.event->no);
		return;
	}
	hashes = KeyHashesOf(batch->work.sink.key, item->key);
	if (batch_wants(batch, batch->reading.event->no, hashes.partition))
		FoldAddItem(batch->reading.fold, batch->reading.event, item, hashes.place);
}

/*
 * Can the event's items be computed?  An event whose key cannot be is refused
 * by itself (nokey.c).
 */
static bool
has_items(Batch *batch, const Event *event)
{
	ErrorData  *error = MergeRunItemsTry(batch->work.sink.run, event->slot);

	if (error == NULL)
		return true;
	if (!ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
	if (BatchParksNoKey(batch, event->no, false))
	{
		KeyFailure	failure = FailureOfError(error);

		BatchRefuseNoKey(batch, event, &failure);
	}
	FreeErrorData(error);
	return false;
}

/*
 * Computing the event's keys has taken too long: is it parked instead, or was
 * it before?
 */
static bool
leave_unread(Batch *batch, const Event *event)
{
	const BatchEvent *given_up = &batch->limits->given_up;
	KeyFailure	failure;

	if (batch->reading.skipped.count > 0 &&
		NumberSetContains(&batch->reading.skipped, event->no))
		return true;
	if (event->no != given_up->no || given_up->written ||
		!BatchParksNoKey(batch, event->no, true))
		return false;
	failure = FailureOfTime(batch->limits->given_up_detail);
	BatchRefuseNoKey(batch, event, &failure);
	batch->gave_up = true;
	return true;
}

/* Keep the items of an event that are ours. */
static void
take_items(Batch *batch, const Event *event)
{
	if (unlikely(leave_unread(batch, event)))
		return;
	BatchReadsEvent(event->no);
	batch->reading.event = event;
	if (unlikely(FoldIsGuarded(batch->reading.fold)) && !has_items(batch, event))
		return;
	FoldReads(true);
	MergeRunItems(batch->work.sink.run, event->slot, take_item, batch);
	FoldReads(false);
	BatchReadsEvent(0);
}

/*
 * Of a projection that is ordered by number: is no number between the last one
 * and this one that may still be filled?  Otherwise the read ends here, and
 * nothing becomes a gap.  There are gaps where it began while somebody wrote.
 */
static bool
is_next(Batch *batch, int64 no)
{
	Reading    *reading = &batch->reading;
	int64		last = Max(Max(reading->report.last, batch->reach.low),
						   reading->settlement.settled);

	if (no > reading->first_open)
	{
		reading->report.last = Max(reading->report.last,
								   reading->first_open - 1);
		reading->held_up = reading->first_open;
		return false;
	}
	if (no == reading->first_open)
		reading->first_open = NumberSetNext(&reading->open, no);
	if (no <= last + 1)
		return true;
	reading->report.last = last;
	reading->held_up = last + 1;
	return false;
}

/* The gaps of all claimed sets that are not settled, where that matters. */
static void
find_open_gaps(Batch *batch)
{
	Reading    *reading = &batch->reading;
	int64		settled = reading->settlement.settled;

	reading->first_open = PG_INT64_MAX;
	if (!reading->in_order)
		return;
	for (int i = 0; i < batch->reach.claims.sets.count; i++)
	{
		PositionSet *set = &batch->reach.claims.sets.sets[i];
		NumberSet	gaps;

		if (set->old.last > settled)
			OldGapsLoad(batch->projection, set);
		gaps = NumberSetBetween(&set->position.gaps, settled + 1, PG_INT64_MAX);
		reading->open = NumberSetUnion(&reading->open, &gaps);
	}
	if (reading->open.count > 0)
		reading->first_open = reading->open.ranges[0].first;
}

/* EventReceiver: any event of the stream, in order of number */
static bool
batch_receive(void *state, const Event *event)
{
	Batch	   *batch = state;

	if (unlikely(batch->reading.in_order) && !is_next(batch, event->no))
		return false;
	batch->reading.report.last = event->no;
	if (event->no > batch->reading.settlement.settled)
		NumberSetAppend(&batch->reading.seen, event->no, event->no);
	if (batch->work.sink.run != NULL)
		take_items(batch, event);
	else
		take_event(batch, event);
	return !batch_full(batch) && !batch_exhausted(batch);
}

/*
 * Read the gaps of all claimed sets from this number on that lie at or below
 * the lowest head.
 */
static bool
read_gaps(Batch *batch, int64 from)
{
	NumberSet	gaps = {0};

	for (int i = 0; i < batch->reach.claims.sets.count; i++)
	{
		PositionSet *set = &batch->reach.claims.sets.sets[i];
		NumberSet	some;

		if (set->old.last >= from)
			OldGapsLoad(batch->projection, set);
		some = NumberSetBetween(&set->position.gaps, from, batch->reach.low);
		gaps = gaps.count == 0 ? some : NumberSetUnion(&gaps, &some);
	}
	return GapsRead(batch->stream, batch->reading.snapshot, &gaps, batch_receive, batch);
}

/* An error if an event has a number that its sequence has not given yet. */
static void
check_numbered(Batch *batch)
{
	Oid			sequence = batch->stream->parts.sequence;

	if (batch->reading.report.last > StreamLastNumber(sequence))
		TroubleRaise(TroubleOfNumber(batch->stream->name, sequence,
									 batch->reading.report.last));
}

/* SavepointStep: the gaps, then all above the lowest head, from the beginning */
static void
read_all(void *arg)
{
	Batch	   *batch = arg;
	bool		more = true;

	if (batch->reading.gaps_read != GAPS_NONE)
		more = read_gaps(batch, batch->reading.gaps_read);
	batch->reading.past_gaps = true;
	if (more)
		more = ReadEvents(batch->stream, batch->reading.snapshot, batch->reach.low + 1,
						  PG_INT64_MAX, batch_receive, batch);
	batch->reading.report.whole = more;
	FoldFlush(batch->reading.fold);
	if (batch->work.sink.run != NULL)
		MergeRunItemsEnd(batch->work.sink.run);
}

/* Get ready to read, perhaps once more. */
static void
begin_read(Batch *batch, FoldGuard guard)
{
	MemoryContext old;

	if (batch->reading.fold_context != NULL)
		MemoryContextDelete(batch->reading.fold_context);
	batch->reading.fold_context = AllocSetContextCreate(batch->context,
														"wallet_projection fold",
														ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(batch->reading.fold_context);
	batch->reading.fold = FoldBegin(&batch->work.sink, BatchRefuse, batch);
	MemoryContextSwitchTo(old);
	FoldGuardWith(batch->reading.fold, guard);
	BatchReadSkipped(batch);
	BatchPassOverParked(batch);
	if (batch->projection->declared)
		batch->reading.unhandled = UnhandledBegin();
	memset(&batch->reading.report, 0, sizeof(batch->reading.report));
	batch->reading.report.seen = &batch->reading.seen;
	batch->reading.report.settled = batch->reading.settlement.settled;
	batch->reading.report.from = Min(batch->reading.gaps_read, batch->reach.low + 1);
	batch->reading.seen.count = 0;
	batch->faults.parked_asked = 0;
	batch->reading.past_gaps = false;
	batch->reading.held_up = 0;
	if (batch->reading.open.count > 0)
		batch->reading.first_open = batch->reading.open.ranges[0].first;
	batch->reading.may_see = batch->limits->sized ?
		Max(SEEN_PER_EVENT * (int64) batch->projection->batch_size,
			CHECK_INTERVAL) : 0;
}

/*
 * Items are computed by the definition's expressions, which may fail.  In the
 * caller's transaction they are all computed in one subtransaction; only where
 * that has failed, each in its own.  Returns whether it went well.
 */
static bool
read_together(Batch *batch)
{
	ErrorData  *error;

	if (batch->work.sink.run == NULL || !batch->limits->isolate ||
		!batch->limits->callers_transaction)
		return false;
	begin_read(batch, FOLD_GUARD_NONE);
	error = InSavepoint(read_all, batch);
	if (error == NULL)
		return true;
	if (!ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/* read: under a snapshot that is newer than the settlement */
void
BatchRead(Batch *batch)
{
	FoldGuard	guard = !batch->limits->isolate ? FOLD_GUARD_NONE :
		batch->limits->callers_transaction ? FOLD_GUARD_STORED_APART :
		FOLD_GUARD_ALL;

	batch->reading.snapshot = RegisterSnapshot(GetLatestSnapshot());
	/* the first range is allocated here, where the batch lives */
	batch->reading.seen.capacity = 64;
	batch->reading.seen.ranges = palloc_array(NumberRange, batch->reading.seen.capacity);
	find_open_gaps(batch);
	batch->reading.gaps_read = GapsFrom(batch->projection->name, batch->stream,
										&batch->reach.claims.sets);
	if (!read_together(batch))
	{
		begin_read(batch, guard);
		read_all(batch);
	}
	BatchReadsEvent(0);
	check_numbered(batch);
}
