/*
 * reach.c
 *		How far two projections of one stream are, compared with each other.
 *
 * The two may have other numbers of partitions, other keys and another order,
 * so their positions are compared as sets of numbers.  Of a projection, a number
 * is *open* where some group of partitions has not applied it, and *untouched*
 * where no group has.  An event whose number is open, but not untouched, may be
 * applied: only the definition knows its partition.  It is taken for not
 * applied by the projection that ought to have it, and for applied by the
 * other one.  That is never wrong in the dangerous direction, and consumers
 * soon take all groups past it.
 *
 * Only numbers of events that the snapshot sees count: others are dead, or not
 * committed.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "position/gapwatch.h"
#include "position/lanes.h"
#include "position/oldgaps.h"
#include "promote/reach.h"
#include "stream/reader.h"

/* A projection's numbers from 1 on. */
typedef struct Reach
{
	int64		highest;		/* head */
	NumberSet	open;			/* up to the bound that was asked for */
	NumberSet	untouched;
} Reach;

static NumberSet
intersection(const NumberSet *a, const NumberSet *b)
{
	NumberSet	only_a = NumberSetMinus(a, b);

	return NumberSetMinus(a, &only_a);
}

/* What a set has not applied of 1..bound. */
static NumberSet
not_applied(const Projection *projection, Snapshot snapshot,
			const PositionSet *set, int64 bound)
{
	NumberSet	above = {0};
	NumberSet	gaps;

	if (!OldGapsFind(projection, snapshot, set, &gaps))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("positions of projection \"%s\" are damaged",
						projection->name)));
	gaps = NumberSetBetween(&gaps, 1, bound);
	if (set->position.head < bound)
		NumberSetAppend(&above, Max(set->position.head, 0) + 1, bound);
	return NumberSetUnion(&gaps, &above);
}

static Positions
positions_of(const Projection *projection, Snapshot snapshot)
{
	Positions	positions;

	CatalogRaise(PositionsFind(projection, snapshot, &positions));
	return positions;
}

/* bound: 0: the projection's own highest head */
static Reach
reach_of(const Projection *projection, Snapshot snapshot, int64 bound)
{
	Positions	positions = positions_of(projection, snapshot);
	Reach		reach = {.highest = PositionsHighest(&positions)};

	if (bound == 0)
		bound = reach.highest;
	for (int i = 0; i < positions.sets.count && bound > 0; i++)
	{
		NumberSet	missing = not_applied(projection, snapshot,
										  &positions.sets.sets[i], bound);

		reach.open = NumberSetUnion(&reach.open, &missing);
		reach.untouched = i == 0 ? missing :
			intersection(&reach.untouched, &missing);
	}
	return reach;
}

typedef struct Count
{
	const NumberSet *numbers;
	int64		events;
} Count;

/* EventReceiver: neighbours of what is looked for come along */
static bool
count_event(void *state, const Event *event)
{
	Count	   *count = state;

	if (NumberSetContains(count->numbers, event->no))
		count->events++;
	return count->events < BEHIND_MAX;
}

/* How many events with these numbers the snapshot sees, BEHIND_MAX at most. */
static int64
events_among(const Projection *projection, Snapshot snapshot,
			 const NumberSet *numbers)
{
	Count		count = {numbers, 0};
	OwnerScope	owner;
	Stream	   *stream;

	if (numbers->count == 0)
		return 0;
	owner = OwnerEnter(projection);
	stream = StreamOpen(projection->stream, AccessShareLock, false);
	(void) GapsRead(stream, snapshot, numbers, count_event, &count);
	StreamRelease(stream);
	OwnerLeave(&owner);
	return count.events;
}

static int64
events_behind(const Projection *projection, const Projection *other,
			  Snapshot snapshot)
{
	Reach		theirs = reach_of(other, snapshot, 0);
	Reach		ours;
	NumberSet	missing;

	if (theirs.highest == 0)
		return 0;
	ours = reach_of(projection, snapshot, theirs.highest);
	missing = NumberSetMinus(&ours.open, &theirs.untouched);
	return events_among(projection, snapshot, &missing);
}

/* How many events one of them only has applied. */
static int64
events_unequal(const Projection *a, const Projection *b, Snapshot snapshot)
{
	int64		bound = Max(reach_of(a, snapshot, 0).highest,
							reach_of(b, snapshot, 0).highest);
	Reach		of_a;
	Reach		of_b;
	NumberSet	open;
	NumberSet	untouched;
	NumberSet	unequal;

	if (bound == 0)
		return 0;
	of_a = reach_of(a, snapshot, bound);
	of_b = reach_of(b, snapshot, bound);
	open = NumberSetUnion(&of_a.open, &of_b.open);
	untouched = intersection(&of_a.untouched, &of_b.untouched);
	unequal = NumberSetMinus(&open, &untouched);
	return events_among(a, snapshot, &unequal);
}

/* Who waits looks again and again: nothing of a look is left in memory. */
static int64
look(int64 (*count) (const Projection *, const Projection *, Snapshot),
	 const Projection *projection, const Projection *other, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection reach",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int64		events = count(projection, other, snapshot);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return events;
}

/*
 * How many events the other projection has applied that this one has not;
 * BEHIND_MAX: as many or more.
 */
int64
EventsBehind(const Projection *projection, const Projection *other,
			 Snapshot snapshot)
{
	return look(events_behind, projection, other, snapshot);
}

/* Has each event been applied by both of them as a whole, or by neither? */
bool
AtEqualPositions(const Projection *a, const Projection *b, Snapshot snapshot)
{
	return look(events_unequal, a, b, snapshot) == 0;
}

/* How far one is behind the other, as a sentence. */
char *
BehindText(const Projection *projection, const Projection *other,
		   int64 events)
{
	if (events >= BEHIND_MAX)
		return psprintf("Projection \"%s\" has not applied %d or more events that projection \"%s\" has applied.",
						projection->name, BEHIND_MAX, other->name);
	return psprintf("Projection \"%s\" has not applied " INT64_FORMAT " events that projection \"%s\" has applied.",
					projection->name, events, other->name);
}
