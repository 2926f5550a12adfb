/*
 * gapwatch.c
 *		Whether gaps have to be looked up again.
 *
 * A gap can be filled only by a transaction that was writing when the gap was
 * found.  After a batch this process remembers the positions that it saved
 * and the writers that it saw.  As long as the positions are still the same
 * and none of the writers has ended, every gap is still a gap.
 *
 * Four conditions make that exact; test/model shows what goes wrong without:
 *
 *	- It is asked after the snapshot is taken.  Asked before, a writer could
 *	  commit in between, and an event that follows its own be seen without it.
 *	- The gaps were drawn before the writers were listed.  Whoever drew a
 *	  later number need not be among them.
 *	- It is known of each partition by itself: another consumer may have
 *	  moved some of them.
 *	- A writer has ended when a snapshot sees it so, which is before it gives
 *	  back its locks.
 *
 * What is remembered are facts about the stream: they stay true if our own
 * transaction is rolled back, as then the positions differ, or nothing does.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "projection/gapwatch.h"

/* What a process remembers of a projection's gaps after a batch. */
typedef struct GapWatch
{
	char		projection[NAMEDATALEN];	/* hash key */
	MemoryContext context;		/* of what follows */
	int64		last_number;	/* of the settlement before the look */
	Writers		writers;
	int			count;
	Claim	   *claims;			/* positions as they were saved */
} GapWatch;

static HTAB *gap_watches = NULL;

static GapWatch *
find_watch(const char *projection, bool create)
{
	GapWatch   *watch;
	bool		found;

	if (gap_watches == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = NAMEDATALEN;
		control.entrysize = sizeof(GapWatch);
		control.hcxt = CacheMemoryContext;
		gap_watches = hash_create("wallet_projection gaps", 16, &control,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	watch = hash_search(gap_watches, projection,
						create ? HASH_ENTER : HASH_FIND, &found);
	if (create && !found)
	{
		watch->context = NULL;
		watch->count = 0;
	}
	return watch;
}

static void
forget_watch(GapWatch *watch)
{
	if (watch->context != NULL)
		MemoryContextDelete(watch->context);
	watch->context = NULL;
	watch->count = 0;
}

/* The position of this partition as this process saved it, or NULL. */
static const Position *
watched_position(const GapWatch *watch, int partition)
{
	for (int i = 0; i < watch->count; i++)
	{
		if (watch->claims[i].partition == partition)
			return &watch->claims[i].position;
	}
	return NULL;
}

/*
 * Is it certain that no gap of these positions has been filled since this
 * process looked at them?  To leave the gaps out of a read, ask after its
 * snapshot is taken.
 */
bool
GapsUnchanged(const char *projection, const Claim *claims, int count)
{
	GapWatch   *watch = find_watch(projection, false);

	if (watch == NULL || watch->context == NULL)
		return false;
	/* nobody is left to fill them: one look, and they are gone */
	if (watch->writers.count == 0)
		return false;
	for (int i = 0; i < count; i++)
	{
		const Position *now = &claims[i].position;
		const Position *then;

		if (now->gaps.count == 0)
			continue;
		then = watched_position(watch, claims[i].partition);
		if (then == NULL || then->head != now->head ||
			!NumberSetEquals(&then->gaps, &now->gaps))
			return false;
		/* whoever drew a later number may not be among the writers */
		if (now->gaps.ranges[now->gaps.count - 1].last > watch->last_number)
			return false;
	}
	return WritersUnfinished(&watch->writers);
}

static NumberSet
copy_set(const NumberSet *set)
{
	NumberSet	nothing = {0};

	return NumberSetUnion(set, &nothing);
}

/*
 * Remember the positions that a batch has saved, and who may still fill their
 * gaps; whole: the batch came to the end of the stream.
 */
void
GapsWatch(const char *projection, const Claims *claims,
		  const Settlement *settlement, bool whole)
{
	GapWatch   *watch = find_watch(projection, true);
	const Writers *writers = &settlement->writers;
	MemoryContext old;

	forget_watch(watch);
	if (!whole)
		return;
	watch->context = AllocSetContextCreate(CacheMemoryContext,
										   "wallet_projection gaps",
										   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(watch->context);
	watch->last_number = settlement->last_number;
	watch->writers.count = writers->count;
	watch->writers.ids = palloc_array(VirtualTransactionId, writers->count + 1);
	if (writers->count > 0)
		memcpy(watch->writers.ids, writers->ids,
			   writers->count * sizeof(VirtualTransactionId));
	watch->count = claims->count;
	watch->claims = palloc_array(Claim, watch->count);
	for (int i = 0; i < watch->count; i++)
	{
		watch->claims[i] = claims->claims[i];
		watch->claims[i].position.gaps = copy_set(&claims->claims[i].position.gaps);
	}
	MemoryContextSwitchTo(old);
}
