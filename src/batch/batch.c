/*
 * batch.c
 *		One batch: claim, settle, read, fold, apply, save.
 *
 * Its parts are here and in claim.c and failure.c; they share batch_state.h.
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
#include "keyhash.h"
#include "fault.h"
#include "keylock.h"
#include "notice.h"
#include "parking/parkedset.h"
#include "position/gapwatch.h"
#include "position/oldgaps.h"
#include "position/trouble.h"
#include "savepoint.h"
#include "settings.h"
#include "tablesize.h"

/* how long a batch waits for a lock that is not the tables', in milliseconds */
#define KEY_LOCK_WAIT 500

/* events of any kind that a batch reads at most, for each that it may apply */
#define SEEN_PER_EVENT 20

/* how often memory and time are looked at, in events of any kind */
#define CHECK_INTERVAL 128

/* how long a successor may take until its first batch, in milliseconds */
#define SUCCESSOR_TIME 5000

/* Tell whom it may concern where we are. */
static void
batch_tell(const Batch *batch, BatchStep step)
{
	if (batch->limits->step != NULL)
		batch->limits->step(step, &batch->claims);
}

/* Has a limit been reached?  Then everything is folded. */
static bool
batch_full(Batch *batch)
{
	int64		taken = FoldEvents(batch->fold) + batch->failing;

	if (batch->max_events > 0 &&
		taken + FoldWaiting(batch->fold) >= batch->max_events)
	{
		/* some may turn out to be ignored */
		FoldFlush(batch->fold);
		return FoldEvents(batch->fold) + batch->failing >= batch->max_events;
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
	if (likely(--batch->until_check > 0))
		return false;
	batch->until_check = CHECK_INTERVAL;
	if (batch->past_gaps && batch->may_see > 0)
	{
		batch->may_see -= CHECK_INTERVAL;
		if (batch->may_see <= 0)
		{
			FoldFlush(batch->fold);
			return true;
		}
	}
	if (FoldMemory(batch->fold) <= batch->max_memory &&
		(batch->deadline == 0 || !batch->past_gaps ||
		 GetCurrentTimestamp() < batch->deadline))
		return false;
	FoldFlush(batch->fold);
	return true;
}

/* The position of the keys of this hash before the batch; NULL: not ours. */
const Position *
BatchPositionOf(const Batch *batch, uint64 hash)
{
	int			partition = hash % batch->projection->partitions;

	return batch->position_of[GroupOf(partition, batch->groups)];
}

/* Has this batch to apply an event of this number to keys of this hash? */
static inline bool
batch_wants(const Batch *batch, int64 no, uint64 hash)
{
	const Position *position = BatchPositionOf(batch, hash);

	if (position == NULL ||
		(no <= position->head && PositionApplied(position, no)))
		return false;
	return batch->skipped.count == 0 ||
		!NumberSetContains(&batch->skipped, no);
}

/* Fold an event of the created shape, if it is ours. */
static inline void
take_event(Batch *batch, const Event *event)
{
	uint64		hash;

	if (!EventIsOfType(event, batch->projection->aggregate_type,
					   batch->type_length))
		return;
	hash = KeyHash(event->key, event->key_length);
	if (batch_wants(batch, event->no, hash))
		FoldAdd(batch->fold, event, hash);
}

/* MergeItemReceiver: an item of the event at hand */
static void
take_item(void *arg, const MergeItem *item)
{
	Batch	   *batch = arg;
	KeyHashes	hashes;

	if (!item->has_key)
	{
		if (batch_wants(batch, batch->event->no, (uint64) batch->event->no))
			UnhandledAdd(batch->unhandled, UNHANDLED_NO_KEY,
						 MergeItemTypeNow(batch->work.sink.run, item),
						 batch->event->no);
		return;
	}
	hashes = KeyHashesOf(batch->work.sink.key, item->key);
	if (batch_wants(batch, batch->event->no, hashes.partition))
		FoldAddItem(batch->fold, batch->event, item, hashes.place);
}

/* MergeItemReceiver: only whether the item can be computed */
static void
ignore_item(void *arg, const MergeItem *item)
{
}

/*
 * Can the event's items be computed?  An event whose key cannot be is refused
 * by itself (nokey.c).
 */
static bool
has_items(Batch *batch, const Event *event)
{
	ErrorData  *error = MergeRunItemsApart(batch->work.sink.run, event->slot,
										   ignore_item, NULL);

	if (error == NULL)
		return true;
	if (!ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
	if (BatchParksNoKey(batch, event->no))
		BatchRefuseNoKey(batch, event, error);
	FreeErrorData(error);
	return false;
}

/* Keep the items of an event that are ours. */
static void
take_items(Batch *batch, const Event *event)
{
	batch->event = event;
	if (unlikely(FoldIsGuarded(batch->fold)) && !has_items(batch, event))
		return;
	FoldReads(true);
	MergeRunItems(batch->work.sink.run, event->slot, take_item, batch);
	FoldReads(false);
}

/*
 * Of a projection that is ordered by number: is no number between the last one
 * and this one that may still be filled?  Otherwise the read ends here, and
 * nothing becomes a gap.  There are gaps where it began while somebody wrote.
 */
static bool
is_next(Batch *batch, int64 no)
{
	int64		last = Max(Max(batch->report.last, batch->low),
						   batch->settlement.settled);

	if (no > batch->first_open)
	{
		batch->report.last = Max(batch->report.last, batch->first_open - 1);
		batch->held_up = batch->first_open;
		return false;
	}
	if (no == batch->first_open)
		batch->first_open = NumberSetNext(&batch->open, no);
	if (no <= last + 1)
		return true;
	batch->report.last = last;
	batch->held_up = last + 1;
	return false;
}

/* The gaps of all claimed sets that are not settled, where that matters. */
static void
find_open_gaps(Batch *batch)
{
	batch->first_open = PG_INT64_MAX;
	if (!batch->in_order)
		return;
	for (int i = 0; i < batch->claims.sets.count; i++)
	{
		PositionSet *set = &batch->claims.sets.sets[i];
		NumberSet	gaps;

		if (set->old.last > batch->settlement.settled)
			OldGapsLoad(batch->projection, set);
		gaps = NumberSetBetween(&set->position.gaps,
								batch->settlement.settled + 1, PG_INT64_MAX);
		batch->open = NumberSetUnion(&batch->open, &gaps);
	}
	if (batch->open.count > 0)
		batch->first_open = batch->open.ranges[0].first;
}

/* EventReceiver: any event of the stream, in order of number */
static bool
batch_receive(void *state, const Event *event)
{
	Batch	   *batch = state;

	if (unlikely(batch->in_order) && !is_next(batch, event->no))
		return false;
	batch->report.last = event->no;
	if (event->no > batch->settlement.settled)
		NumberSetAppend(&batch->seen, event->no, event->no);
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

	for (int i = 0; i < batch->claims.sets.count; i++)
	{
		PositionSet *set = &batch->claims.sets.sets[i];
		NumberSet	some;

		if (set->old.last >= from)
			OldGapsLoad(batch->projection, set);
		some = NumberSetBetween(&set->position.gaps, from, batch->low);
		gaps = gaps.count == 0 ? some : NumberSetUnion(&gaps, &some);
	}
	return GapsRead(batch->stream, batch->snapshot, &gaps, batch_receive, batch);
}

/* An error if an event has a number that its sequence has not given yet. */
static void
check_numbered(Batch *batch)
{
	Oid			sequence = batch->stream->parts.sequence;

	if (batch->report.last > StreamLastNumber(sequence))
		TroubleRaise(TroubleOfNumber(batch->stream->name, sequence,
									 batch->report.last));
}

/* SavepointStep: the gaps, then all above the lowest head, from the beginning */
static void
read_all(void *arg)
{
	Batch	   *batch = arg;
	bool		more = true;

	if (batch->gaps_read != GAPS_NONE)
		more = read_gaps(batch, batch->gaps_read);
	batch->past_gaps = true;
	if (more)
		more = ReadEvents(batch->stream, batch->snapshot, batch->low + 1,
						  PG_INT64_MAX, batch_receive, batch);
	batch->report.whole = more;
	FoldFlush(batch->fold);
	if (batch->work.sink.run != NULL)
		MergeRunItemsEnd(batch->work.sink.run);
}

/* Get ready to read, perhaps once more. */
static void
begin_read(Batch *batch, FoldGuard guard)
{
	MemoryContext old;

	if (batch->fold_context != NULL)
		MemoryContextDelete(batch->fold_context);
	batch->fold_context = AllocSetContextCreate(batch->context,
												"wallet_projection fold",
												ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(batch->fold_context);
	batch->fold = FoldBegin(&batch->work.sink, BatchRefuse, batch);
	MemoryContextSwitchTo(old);
	FoldGuardWith(batch->fold, guard);
	BatchPassOverParked(batch);
	if (batch->projection->declared)
		batch->unhandled = UnhandledBegin();
	memset(&batch->report, 0, sizeof(batch->report));
	batch->report.seen = &batch->seen;
	batch->report.settled = batch->settlement.settled;
	batch->report.from = Min(batch->gaps_read, batch->low + 1);
	batch->seen.count = 0;
	batch->parked_asked = 0;
	batch->past_gaps = false;
	batch->held_up = 0;
	if (batch->open.count > 0)
		batch->first_open = batch->open.ranges[0].first;
	batch->may_see = batch->limits->sized ?
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
static void
batch_read(Batch *batch)
{
	FoldGuard	guard = !batch->limits->isolate ? FOLD_GUARD_NONE :
		batch->limits->callers_transaction ? FOLD_GUARD_STORED_APART :
		FOLD_GUARD_ALL;

	batch->snapshot = RegisterSnapshot(GetLatestSnapshot());
	/* the first range is allocated here, where the batch lives */
	batch->seen.capacity = 64;
	batch->seen.ranges = palloc_array(NumberRange, batch->seen.capacity);
	find_open_gaps(batch);
	batch->gaps_read = GapsFrom(batch->projection->name, batch->stream,
								&batch->claims.sets);
	if (!read_together(batch))
	{
		begin_read(batch, guard);
		read_all(batch);
	}
	check_numbered(batch);
}

/* apply: what was folded, a row per key */
static void
batch_apply(Batch *batch)
{
	ApplyScope	scope = {.projection = batch->projection,
		.sink = &batch->work.sink,.stream = batch->stream,
		.read_model = batch->work.read_model,
		.unhandled = batch->unhandled,.snapshot = batch->snapshot,
		.own = !batch->limits->callers_transaction,
	.skip_locked = !batch->limits->stop_on_failure && !batch->limits->callers_transaction};
	int64		count;
	FoldedKey  *keys;

	batch->events = FoldEvents(batch->fold);
	if (batch->events == 0)
		return;
	batch_tell(batch, BATCH_APPLIES);
	keys = FoldKeys(batch->fold, &count);
	if (batch->limits->isolate)
		BatchIsolate(batch, &scope, keys, count);
	else
		BatchLeaveLocked(batch, &scope, WriteKeys(&scope, keys, count));
}

/* save: the new positions */
static void
batch_save(Batch *batch)
{
	const char *name = batch->projection->name;
	const PositionSets *before = &batch->claims.sets;
	PositionSets after = SetsClaimed(before, ~UINT64CONST(0));
	Owners		owners = OwnersOf(&batch->settlement);
	int64		numbers = 0;
	bool		looked = true;
	bool		moved = false;

	BatchPark(batch);
	if (batch->unhandled != NULL)
		UnhandledSave(name, LowestGroup(batch->claims.groups), batch->unhandled);
	for (int i = 0; i < after.count; i++)
	{
		PositionSet *set = &after.sets[i];

		set->position = PositionAdvance(&set->position, &batch->report);
		numbers += set->position.head - before->sets[i].position.head;
		moved = moved || !SameSet(set, &before->sets[i]) ||
			(set->loaded != NULL && !SameOwners(&set->owners, &owners));
		looked = looked && PositionLooked(&before->sets[i].position,
										  &batch->report);
	}
	if (moved)
	{
		after = SetsJoin(before, &after, &batch->report);
		OldGapsStore(batch->projection, &batch->claims, &after,
					 batch->settlement.oldest, looked ? &owners : NULL);
		ClaimsSave(batch->projection, &batch->claims, &after,
				   batch->events > 0 && OpenedKeepsRows(&batch->work));
		OldGapsDeleteUnused(batch->projection, &batch->claims, &after);
	}
	if (moved)
		NoticeProgress(name, batch->events, numbers);
	if (moved && batch->parked_known)
		ParkedSetSaved(name, &after);
	if (looked)
		GapsLooked(name, before, &after, batch->settlement.look);
}

/* Give back all but the locks, which last as long as the transaction. */
static void
batch_close(Batch *batch)
{
	if (batch->snapshot != NULL)
		UnregisterSnapshot(batch->snapshot);
	if (batch->claims.catalog != NULL)
		ClaimsRelease(&batch->claims);
	OpenedClose(&batch->work);
}

static BatchOutcome
batch_steps(Batch *batch)
{
	if (!BatchLook(batch))
		return BATCH_IDLE;
	if (!BatchClaim(batch))
		return BATCH_BUSY;
	batch_tell(batch, BATCH_READS);
	batch->settlement = Settle(batch->stream);
	BatchCheckForwards(batch, &batch->claims.all,
					   batch->settlement.last_number);
	batch_read(batch);
	batch_apply(batch);
	batch_save(batch);
	/* who is held up by a writer has come to the end, for now */
	return batch->report.whole || batch->held_up > 0 ? BATCH_WHOLE : BATCH_CUT;
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
	if (batch->nothing_left || batch->claims.groups == AllGroups(batch->groups))
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
	batch->until_check = CHECK_INTERVAL;
	if (limits->milliseconds > 0)
		batch->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													  limits->milliseconds);
	batch->max_memory = (Size) BatchMemory * 1024;
	PushActiveSnapshot(GetLatestSnapshot());
	batch->context = context;
	OpenedOpen(&batch->work, projection);
	/* a lock of one key: the others must not wait for it without end */
	if (!limits->callers_transaction)
		LocksWithin(KEY_LOCK_WAIT);
	batch->projection = batch->work.projection;
	batch->stream = batch->work.stream;
	batch->groups = GroupsOf(batch->projection->partitions);
	batch->in_order = batch->projection->declared != NULL &&
		batch->projection->declared->ordering == ORDERING_NUMBER;
	batch->type_length = strlen(batch->projection->aggregate_type);
	batch->may_park = batch->projection->max_parked > 0 &&
		!limits->stop_on_failure;
	batch->max_events = max_events(batch->projection, limits);
	result.outcome = batch_work(batch);
	result.events = batch->events;
	result.next_retry = batch->next_retry;
	result.partial = batch->claims.groups != AllGroups(batch->groups);
	result.help_wanted = batch->help_wanted;
	result.rest = result.outcome != BATCH_IDLE &&
		(SetsGroups(&batch->candidates) & ~batch->claims.groups) != 0;
	batch_close(batch);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}
