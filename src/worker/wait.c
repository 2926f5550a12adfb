/*
 * wait.c
 *		projection_wait: until all that is committed now is applied.
 *
 * What is committed now is what a snapshot taken now sees, our own
 * transaction's changes left out: nobody can apply those yet.  It is applied
 *	- once no head is below the highest number that the snapshot sees;
 *	- and no gap is the number of an event that the snapshot sees.  Such gaps
 *	  are looked for each time, as a batch that was running when the snapshot
 *	  was taken may have an older one, and leave new ones behind.
 *	- and the stream's numbers have not begun again below the heads.
 * Events of parked keys count as applied, unless they only wait for a lock.
 * It is an error if what is applied is not there: see position/trouble.h.
 * Numbers of transactions that are still open are nobody's to wait for.
 *
 * Positions are looked at again when a transaction that has moved some has
 * committed, and in any case after a while: in another server, or where the
 * library is not preloaded, nobody tells us.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "argument.h"
#include "batch/opened.h"
#include "catalog.h"
#include "keyhash.h"
#include "parking/park.h"
#include "position/gapwatch.h"
#include "position/members.h"
#include "position/oldgaps.h"
#include "position/trouble.h"
#include "stream/reader.h"
#include "stream/rows.h"
#include "stream/settle.h"
#include "tablelook.h"
#include "worker/slots.h"
#include "worker/status.h"

/* how long to sleep without being told, in milliseconds */
#define NAP_MIN		1
#define NAP_MAX		50
#define NAP_TOLD	200			/* where somebody tells us */

SQL_FUNCTION(projection_wait);

typedef struct Goal
{
	const char *projection;
	Snapshot	snapshot;		/* of what is committed now */
	int64		highest;		/* number that it sees */
	bool		backwards;		/* the stream's numbers have begun again */
} Goal;

/* Positions, and whether one of them lacks an event. */
typedef struct Look
{
	Projection *projection;
	Snapshot	snapshot;		/* of the positions */
	Positions	positions;
	bool		lacks;
} Look;

static bool
is_gap_of_any(const Positions *positions, int64 no)
{
	for (int i = 0; i < positions->sets.count; i++)
	{
		if (!PositionApplied(&positions->sets.sets[i].position, no))
			return true;
	}
	return false;
}

/* EventReceiver: an event whose number is a gap of some partition */
static bool
receive_pending(void *state, const Event *event)
{
	Look	   *look = state;
	const char *type = look->projection->aggregate_type;
	const PositionSet *set;

	/* only its definition knows the partitions of an event's items */
	if (look->projection->declared != NULL)
	{
		look->lacks = is_gap_of_any(&look->positions, event->no);
		return !look->lacks;
	}
	if (!EventIsOfType(event, type, strlen(type)))
		return true;
	set = PositionOfPartition(&look->positions,
							  KeyHash(event->key, event->key_length) %
							  look->projection->partitions);
	if (set != NULL && !PositionApplied(&set->position, event->no))
		look->lacks = true;
	return !look->lacks;
}

/*
 * The stream, as the projection's owner.  What that role must be allowed to read
 * of it for a declared projection, batches ask: some columns, or only a view.
 */
static Stream *
open_stream(const Projection *projection, OwnerScope *owner)
{
	Stream	   *stream;

	*owner = OwnerEnter(projection);
	stream = StreamOpen(projection->stream, AccessShareLock, false);
	if (projection->declared == NULL)
		StreamCheckRights(stream, GetUserId(), ACL_SELECT);
	return stream;
}

static void
close_stream(Stream *stream, const OwnerScope *owner)
{
	StreamRelease(stream);
	OwnerLeave(owner);
}

/* Does the snapshot see an event although its number is a gap? */
static bool
lacks_event(Look *look, const Goal *goal)
{
	NumberSet	gaps = {0};
	Stream	   *stream;
	OwnerScope	owner;

	for (int i = 0; i < look->positions.sets.count; i++)
	{
		PositionSet *set = &look->positions.sets.sets[i];

		/* who may fill them goes on: the goal's snapshot sees none of them */
		if (set->old.size > 0 && set->old.first <= goal->highest &&
			!OwnersUnfinished(&set->owners))
			set->position.gaps = OldGapsRead(look->projection, look->snapshot,
											 set);
		gaps = NumberSetUnion(&gaps, &set->position.gaps);
	}
	gaps = NumberSetBetween(&gaps, PG_INT64_MIN, goal->highest);
	if (gaps.count == 0)
		return false;
	stream = open_stream(look->projection, &owner);
	(void) GapsRead(stream, goal->snapshot, &gaps, receive_pending, look);
	close_stream(stream, &owner);
	return look->lacks;
}

/* Set the goal: what is committed now. */
static Goal *
set_goal(const char *name)
{
	Goal	   *goal = palloc0(sizeof(Goal));
	Projection *projection = ProjectionFetch(name);
	Stream	   *stream;
	OwnerScope	owner;
	Positions	positions;

	ProjectionCheckInitialized(projection);
	TroubleRaise(TroubleOfReadModel(projection));
	goal->projection = name;
	stream = open_stream(projection, &owner);
	goal->snapshot = RegisterSnapshot(GetLatestSnapshot());
	/* this copy of it sees nothing of our own transaction */
	goal->snapshot->curcid = FirstCommandId;
	goal->highest = StreamHighestNumber(stream, goal->snapshot);
	OpenedCheckStream(projection, stream);
	positions = PositionsRead(projection);
	goal->backwards = PositionsHighest(&positions) >
		StreamLastNumber(stream->parts.sequence);
	/* where the sequence was set back, an event above it is not to blame */
	if (!goal->backwards)
		TroubleRaise(TroubleOfNumbers(stream->name, stream->relation,
									  &stream->parts));
	TroubleRaise(TroubleOfMembers(projection, stream->relation,
								  &stream->parts, &positions));
	close_stream(stream, &owner);
	return goal;
}

/*
 * An error if positions are missing, or the rows that they speak of.  False if
 * somebody has locked the read model: then nobody knows.
 */
static bool
rows_are_there(const Look *look)
{
	TableLook  *table = TableLookBegin(look->projection->read_model);

	if (table == NULL)
		return false;
	TroubleRaise(TroubleOfTable(look->projection, table->relation));
	TroubleRaise(TroubleOfPositions(look->projection, &look->positions,
									table->relation));
	TableLookEnd(table);
	return true;
}

static bool
is_all_applied(Look *look, const Goal *goal)
{
	CatalogRaise(PositionsFind(look->projection, look->snapshot,
							   &look->positions));
	if (!rows_are_there(look) ||
		look->positions.sets.sets[0].position.head < goal->highest)
		return false;
	/* what waits for a lock is going to be applied; what has failed is not */
	return !lacks_event(look, goal) && !ParkedLocked(goal->projection);
}

static bool
is_reached(const Goal *goal)
{
	Look		look = {0};
	bool		reached;

	if (goal->backwards)
		return false;
	look.projection = ProjectionFetch(goal->projection);
	ProjectionCheckInitialized(look.projection);
	look.snapshot = RegisterSnapshot(GetLatestSnapshot());
	reached = is_all_applied(&look, goal);
	UnregisterSnapshot(look.snapshot);
	return reached;
}

/* Sleep until positions may have moved. */
static void
sleep_until_told(int nap, TimestampTz deadline)
{
	long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
													   deadline);

	if (SlotsReady())
		(void) ConditionVariableTimedSleep(ProgressMade(),
										   Max(Min(left, NAP_TOLD), 1),
										   PG_WAIT_EXTENSION);
	else
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(Min(left, nap), 1), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	CHECK_FOR_INTERRUPTS();
}

static bool
wait_for(const Goal *goal, TimestampTz deadline)
{
	MemoryContext round = AllocSetContextCreate(CurrentMemoryContext,
												"projection_wait round",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(round);
	int			nap = NAP_MIN;
	bool		reached;

	if (SlotsReady())
		ConditionVariablePrepareToSleep(ProgressMade());
	while (!(reached = is_reached(goal)) &&
		   GetCurrentTimestamp() < deadline)
	{
		/* also those partitions that have no events of their own */
		if (SlotsReady() && nap == NAP_MIN)
			SlotsWake(MyDatabaseId);
		sleep_until_told(nap, deadline);
		nap = Min(nap * 2, NAP_MAX);
		MemoryContextReset(round);
	}
	if (SlotsReady())
		ConditionVariableCancelSleep();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(round);
	return reached;
}

/* projection_wait(name, timeout) */
Datum
projection_wait(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");
	TimestampTz deadline = ArgumentDeadline(fcinfo, 1, "timeout", true);
	Goal	   *goal = set_goal(name);
	bool		reached = wait_for(goal, deadline);

	UnregisterSnapshot(goal->snapshot);
	if (!reached)
		TellWhyBehind(goal->projection);
	PG_RETURN_BOOL(reached);
}
