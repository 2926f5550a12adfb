/*
 * rotation.c
 *		Who gets a worker where there are fewer processes than channels.
 *
 * Channels take turns: who has had no worker for the longest time gets the
 * next one, and whose turn is over makes room.  The launcher asks for this
 * only while the server has no process left, so nobody is moved without need.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/rotation.h"

/* how long a turn is, in milliseconds */
#define TURN_IDLE	1000		/* where there is nothing to do */
#define TURN_BUSY	3000

/* When a channel had a worker for the last time. */
typedef struct Turn
{
	Oid			database;
	char		channel[NAMEDATALEN];
	TimestampTz served;
} Turn;

static List *turns = NIL;		/* of Turn, of all that are wanted */

Wanted *
WantedFind(List *wanted, Oid database, const char *channel)
{
	ListCell   *cell;

	foreach(cell, wanted)
	{
		Wanted	   *candidate = lfirst(cell);

		if (candidate->database == database &&
			strcmp(candidate->channel, channel) == 0)
			return candidate;
	}
	return NULL;
}

static TimestampTz
last_served(const Wanted *channel)
{
	ListCell   *cell;

	if (channel->running > 0)
		return GetCurrentTimestamp();
	foreach(cell, turns)
	{
		Turn	   *turn = lfirst(cell);

		if (turn->database == channel->database &&
			strcmp(turn->channel, channel->channel) == 0)
			return turn->served;
	}
	return 0;
}

static int
compare_turns(const ListCell *a, const ListCell *b)
{
	const Wanted *one = lfirst(a);
	const Wanted *other = lfirst(b);

	return one->served < other->served ? -1 : one->served > other->served;
}

/*
 * Put those first who have had no worker for the longest time.  What is known
 * of them lives as long as the process, and as they are wanted.
 */
void
RotationOrder(List *wanted)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	List	   *now = NIL;
	ListCell   *cell;

	foreach(cell, wanted)
	{
		Wanted	   *channel = lfirst(cell);
		Turn	   *turn = palloc0(sizeof(Turn));

		channel->served = last_served(channel);
		turn->database = channel->database;
		strlcpy(turn->channel, channel->channel, NAMEDATALEN);
		turn->served = channel->served;
		now = lappend(now, turn);
	}
	list_free_deep(turns);
	turns = now;
	MemoryContextSwitchTo(old);
	list_sort(wanted, compare_turns);
}

/* Has the only worker of a channel had its turn? */
static bool
had_turn(const WorkerSlot *slot, bool idle)
{
	bool		is_idle = slot->state == WORKER_IDLE ||
		slot->state == WORKER_RETRYING;
	TimestampTz now = GetCurrentTimestamp();

	/* who has not settled in waits for something: that is no less of a turn */
	if (!slot->has_begun)
		is_idle = false;
	return is_idle == idle &&
		(slot->attached > now ||	/* the clock was set back */
		 TimestampDifferenceExceeds(slot->attached, now,
									idle ? TURN_IDLE : TURN_BUSY));
}

/*
 * Who is to make room: one of the channel with the most workers; where none
 * has several, one whose turn is over, idle ones first, and of those who has
 * been there for the longest time.  -1: nobody.
 */
int
RotationSpare(List *wanted, const WorkerSlot *slots, int count)
{
	int			chosen = -1;
	int			most = 0;		/* workers; 1: busy, 2: idle, then several */

	for (int i = 0; i < count; i++)
	{
		Wanted	   *channel;
		int			rank;

		if (slots[i].process == NULL || slots[i].leave)
			continue;
		channel = WantedFind(wanted, slots[i].database, slots[i].channel);
		if (channel == NULL)
			continue;
		rank = channel->running > 1 ? 1 + channel->running :
			had_turn(&slots[i], true) ? 2 : had_turn(&slots[i], false) ? 1 : 0;
		if (rank > most || (rank > 0 && rank == most &&
							slots[i].attached < slots[chosen].attached))
		{
			chosen = i;
			most = rank;
		}
	}
	return chosen;
}
