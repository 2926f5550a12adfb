/*
 * refold_read.c
 *		The events that a refold folds.
 *
 * What is applied now and was not when the refold was last advanced: above the
 * heads of then, in gaps that were filled since, and events of keys that were
 * parked.  They are read in order of number, but for gaps below all heads, which
 * come first.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "batch/keyevents.h"
#include "fault.h"
#include "keyhash.h"
#include "position/gapwatch.h"
#include "rebuild/refold_state.h"

/* how often memory is looked at, in events of any kind */
#define CHECK_INTERVAL 128

static inline bool
in_range(const Refold *refold, uint32 hash)
{
	return hash >= refold->first && hash <= refold->last;
}

/* Is the key one of those that the refold has, where it has all that it will? */
bool
RefoldWantsKey(Refold *refold, const char *image, int length, uint32 hash)
{
	return !refold->compared ||
		ShadowFind(refold->shadow, image, length, hash) != NULL;
}

/*
 * Is the event applied to keys of this partition hash, as far as positions go,
 * and was not before?  *ask: the key may have a say.
 */
static inline bool
group_wants(Refold *refold, int64 no, uint64 partition, bool *ask)
{
	const Applied *now = refold->now;
	const Applied *before;
	int			group = GroupOf((int) (partition % refold->projection->partitions),
								now->groups);

	if ((refold->group >= 0 && group != refold->group) ||
		!AppliedGroupHas(now, group, no))
		return false;
	before = refold->reached[group];
	*ask = now->nbuckets != 0 || before->nbuckets != 0;
	if (likely(!AppliedGroupHas(before, group, no)))
		return true;
	/* applied before, unless its key was parked */
	return before->nbuckets != 0;
}

/* The same of the key itself. */
static bool
key_wants(Refold *refold, int64 no, uint64 partition, const char *image,
		  int length, uint32 hash)
{
	int			group = GroupOf((int) (partition % refold->projection->partitions),
								refold->now->groups);
	const Applied *before = refold->reached[group];

	return AppliedKeyHas(refold->now, image, length, hash, no) &&
		!(AppliedGroupHas(before, group, no) &&
		  AppliedKeyHas(before, image, length, hash, no));
}

/* Fold an event of the created shape, if it is wanted. */
static inline void
take_event(Refold *refold, const Event *event)
{
	uint64		hash;
	bool		ask = false;

	if (!EventIsOfType(event, refold->projection->aggregate_type,
					   refold->type_length))
		return;
	hash = KeyHash(event->key, event->key_length);
	if (!in_range(refold, hash >> 32) ||
		!group_wants(refold, event->no, hash, &ask))
		return;
	if (unlikely(ask) && !key_wants(refold, event->no, hash, event->key,
									event->key_length, hash >> 32))
		return;
	if (RefoldWantsKey(refold, event->key, event->key_length, hash >> 32))
		FoldAdd(refold->fold, event, hash);
}

/* The item's key as an image, in the fold's event context. */
static bool
image_wanted(Refold *refold, const MergeItem *item, const KeyHashes *hashes,
			 bool ask)
{
	KeyType    *type = refold->sink.key;
	int			length = (int) KeyImageSize(type, item->key);
	char		buffer[256];
	char	   *image = length <= sizeof(buffer) ? buffer : palloc(length);
	uint32		hash = hashes->place >> 32;
	bool		wanted;

	KeyImageStore(type, item->key, image);
	wanted = (!ask || key_wants(refold, refold->event->no, hashes->partition,
								image, length, hash)) &&
		RefoldWantsKey(refold, image, length, hash);
	if (image != buffer)
		pfree(image);
	return wanted;
}

/* MergeItemReceiver: an item of the event at hand */
static void
take_item(void *arg, const MergeItem *item)
{
	Refold	   *refold = arg;
	KeyHashes	hashes;
	bool		ask = false;

	if (!item->has_key)
		return;
	hashes = KeyHashesOf(refold->sink.key, item->key);
	if (!in_range(refold, hashes.place >> 32) ||
		!group_wants(refold, refold->event->no, hashes.partition, &ask))
		return;
	if ((ask || refold->compared) && !image_wanted(refold, item, &hashes, ask))
		return;
	FoldAddItem(refold->fold, refold->event, item, hashes.place);
}

/* The event's key cannot be computed, though the event is applied. */
static void
refuse_no_key(Refold *refold, const Event *event, const ErrorData *error)
{
	bool		ask;
	MemoryContext old;
	RefoldNoKey *no_key;

	if (!ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(unconstify(ErrorData *, error));
	if (!group_wants(refold, event->no, (uint64) event->no, &ask))
		return;
	old = MemoryContextSwitchTo(refold->context);
	no_key = palloc_object(RefoldNoKey);
	no_key->no = event->no;
	no_key->fault = psprintf("%s: event " INT64_FORMAT ": %s",
							 unpack_sql_state(error->sqlerrcode), event->no,
							 error->message);
	refold->no_keys = lappend(refold->no_keys, no_key);
	MemoryContextSwitchTo(old);
}

static void
take_items(Refold *refold, const Event *event)
{
	refold->event = event;
	if (unlikely(refold->guarded))
	{
		ErrorData  *error = MergeRunItemsTry(refold->sink.run, event->slot);

		if (error != NULL)
		{
			refuse_no_key(refold, event, error);
			return;
		}
	}
	MergeRunItems(refold->sink.run, event->slot, take_item, refold);
}

/* Apply what is folded when it has used its share of the memory. */
static inline void
check_memory(Refold *refold, int64 no)
{
	if (likely(--refold->until_check > 0))
		return;
	refold->until_check = CHECK_INTERVAL;
	CHECK_FOR_INTERRUPTS();
	if (refold->watch != NULL)
		RefoldReport(refold, no);
	if (FoldMemory(refold->fold) >= RefoldShare())
	{
		RefoldApply(refold);
		RefoldBeginFold(refold);
	}
}

/* EventReceiver: any event of the stream that may be wanted */
static bool
receive_event(void *state, const Event *event)
{
	Refold	   *refold = state;

	if ((refold->now->skipped.count != 0 &&
		 NumberSetContains(&refold->now->skipped, event->no)) ||
		(refold->leave_out != NULL &&
		 NumberSetContains(refold->leave_out, event->no)))
		return true;
	if (refold->sink.run != NULL)
		take_items(refold, event);
	else
		take_event(refold, event);
	check_memory(refold, event->no);
	return true;
}

/* What has to be read. */
typedef struct ReadPlan
{
	NumberSet	gaps;			/* that were filled, at or below low */
	int64		low;			/* all above it */
	int64		high;
} ReadPlan;

static bool
is_wanted(const Refold *refold, int group)
{
	return refold->group < 0 || refold->group == group;
}

static ReadPlan
plan_read(Refold *refold)
{
	const Applied *now = refold->now;
	const Applied *looked = NULL;
	ReadPlan	plan = {.low = PG_INT64_MAX,.high = now->highest};
	NumberSet	filled = {0};

	for (int i = 0; i < now->groups; i++)
	{
		const Applied *before = refold->reached[i];
		NumberSet	some;

		if (!is_wanted(refold, i))
			continue;
		plan.low = Min(plan.low, before->position[i].head);
		some = NumberSetMinus(&before->position[i].gaps, &now->position[i].gaps);
		if (some.count > 0)
			filled = NumberSetUnion(&filled, &some);
		if (before != looked)
			plan.low = Min(plan.low, AppliedLowestNew(before, now) - 1);
		looked = before;
	}
	plan.gaps = NumberSetBetween(&filled, 1, plan.low);
	return plan;
}

/* The events of one key alone, if there is an index by which they are found. */
static bool
read_key(Refold *refold, const ReadPlan *plan)
{
	ApplyScope	scope = {.projection = refold->projection,
		.sink = &refold->sink,.stream = refold->work->stream,
	.read_model = refold->work->read_model,.snapshot = refold->snapshot};
	KeyTask		task = {.key = refold->only_key};
	int64		first = plan->gaps.count > 0 ? plan->gaps.ranges[0].first :
		plan->low + 1;

	if (refold->only_key == NULL || !KeyEventsIndexed(&scope))
		return false;
	(void) KeyEventsRead(&scope, &task, first, plan->high, receive_event,
						 refold);
	return true;
}

/* Read and fold; what is left in the fold at the end is the caller's to apply. */
void
RefoldRead(Refold *refold)
{
	const Stream *stream = refold->work->stream;
	ReadPlan	plan = plan_read(refold);

	refold->until_check = CHECK_INTERVAL;
	refold->read_from = plan.low;
	refold->read_to = plan.high;
	if (!read_key(refold, &plan))
	{
		(void) GapsRead(stream, refold->snapshot, &plan.gaps, receive_event,
						refold);
		if (plan.low < plan.high)
			(void) ReadEvents(stream, refold->snapshot, plan.low + 1, plan.high,
							  receive_event, refold);
	}
	FoldFlush(refold->fold);
	if (refold->sink.run != NULL)
		MergeRunItemsEnd(refold->sink.run);
}
