/*
 * gapwatch.c
 *		Which gaps have to be looked up again.
 *
 * A gap can be filled only by a transaction that was writing when the gap was
 * found.  After a batch this process remembers, of each row of positions that
 * it has saved or found as it was, when it looked.  As long as that row is there,
 * only gaps have to be looked at that may have been filled since
 * (stream/generations.h).
 *
 * Three conditions make that exact; test/model shows what goes wrong without:
 *
 *	- It is asked after the snapshot is taken.  Asked before, a writer could
 *	  commit in between, and an event that follows its own be seen without it.
 *	  What is remembered is the look before the snapshot.
 *	- It is known of each row by itself, and the row is known by its key, its
 *	  place and who wrote it.  Positions of the same value may come from a reset.
 *	- A writer has ended when a snapshot sees it so, which is before it gives
 *	  back its locks.
 *
 * If our own transaction is rolled back, the rows that it wrote are gone.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "position/gapwatch.h"
#include "remember.h"
#include "stream/settle.h"

/* gaps so near each other are read at once, in numbers */
#define NEAR 16

typedef struct Looked
{
	RowMark		row;
	uint64		look;
} Looked;

/* What a process remembers of a projection, the latest looks first. */
typedef struct GapWatch
{
	char		projection[NAMEDATALEN];	/* hash key */
	int			count;
	Looked		looked[GROUPS_MAX];
} GapWatch;

static HTAB *gap_watches = NULL;

static GapWatch *
find_watch(const char *projection)
{
	return RememberedOf(&gap_watches, "wallet_projection gaps", projection,
						sizeof(GapWatch));
}

/* When this process looked at the gaps of this row; 0: never. */
static uint64
looked_at(const GapWatch *watch, const RowMark *row)
{
	for (int i = 0; i < watch->count; i++)
	{
		if (SameRow(&watch->looked[i].row, row))
			return watch->looked[i].look;
	}
	return 0;
}

static int64
lowest_gap(const PositionSet *set)
{
	if (set->old.size > 0)
		return set->old.first;
	return set->position.gaps.count > 0 ? set->position.gaps.ranges[0].first :
		GAPS_NONE;
}

/*
 * The first number to be looked at where this process has not looked yet: what
 * another one has written down may spare it the old gaps.
 */
static int64
first_by_owners(const Stream *stream, const PositionSet *set, int64 lowest)
{
	if (set->old.size == 0 || !OwnersUnfinished(&set->owners))
		return lowest;
	StreamLearnOwners(stream, set->old.last, &set->owners);
	return set->old.last + 1;
}

/*
 * The first number of which a gap of these sets may have been filled since
 * this process looked, or is settled; GAPS_NONE: there is no such gap.  Ask
 * after the snapshot is taken under which the others are left out.
 */
int64
GapsFrom(const char *projection, const Stream *stream,
		 const PositionSets *sets)
{
	const GapWatch *watch = find_watch(projection);
	int64		settled;
	int64		from = GAPS_NONE;

	StreamLook(stream, &settled);
	for (int i = 0; i < sets->count; i++)
	{
		const PositionSet *set = &sets->sets[i];
		int64		lowest = lowest_gap(set);
		uint64		look;
		int64		since;

		if (lowest == GAPS_NONE)
			continue;
		look = looked_at(watch, &set->mark);
		if (lowest <= settled)
			since = lowest;
		else if (look != 0)
			since = StreamFilledSince(stream, look);
		else
			since = first_by_owners(stream, set, lowest);
		if (SetHasGapsFrom(set, since))
			from = Min(from, since);
	}
	return from;
}

/*
 * Give the receiver the events in these gaps, in order.  Gaps that lie near
 * each other are read with what is between them, which is applied.  False
 * where the receiver ended the read.
 */
bool
GapsRead(const Stream *stream, Snapshot snapshot, const NumberSet *gaps,
		 EventReceiver receive, void *state)
{
	bool		more = true;

	for (int i = 0; i < gaps->count && more; i++)
	{
		int64		first = gaps->ranges[i].first;

		while (i + 1 < gaps->count &&
			   gaps->ranges[i + 1].first - gaps->ranges[i].last <= NEAR)
			i++;
		CHECK_FOR_INTERRUPTS();
		more = ReadEvents(stream, snapshot, first, gaps->ranges[i].last,
						  receive, state);
	}
	return more;
}

/*
 * The positions begin anew: one transaction may write rows twice that look the
 * same.
 */
void
GapsForget(const char *projection)
{
	find_watch(projection)->count = 0;
}

/*
 * Remember that the gaps of these sets were looked at, with a snapshot taken
 * after this look.  The sets before, of the same groups, are not asked for
 * again.
 */
void
GapsLooked(const char *projection, const PositionSets *before,
		   const PositionSets *after, uint64 look)
{
	GapWatch   *watch = find_watch(projection);
	GapWatch	old = *watch;

	watch->count = 0;
	for (int i = 0; i < after->count; i++)
	{
		watch->looked[watch->count].row = after->sets[i].mark;
		watch->looked[watch->count++].look = look;
	}
	for (int i = 0; i < old.count && watch->count < GROUPS_MAX; i++)
	{
		bool		is_past = false;

		for (int j = 0; j < before->count; j++)
			is_past = is_past || SameRow(&old.looked[i].row,
										 &before->sets[j].mark);
		for (int j = 0; j < after->count; j++)
			is_past = is_past || SameRow(&old.looked[i].row,
										 &after->sets[j].mark);
		if (!is_past)
			watch->looked[watch->count++] = old.looked[i];
	}
}
