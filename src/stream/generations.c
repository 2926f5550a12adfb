/*
 * generations.c
 *		Who may still fill which gaps of a stream.
 *
 * Owns the rule by which gaps are left out of a look.  A writer who may fill
 * a gap of some generation is in all younger ones as well, as long as he
 * goes on: he held his lock when they were made.  So what a writer who ends
 * may have filled lies above the oldest generation that he was in.
 *
 * Must not ask who has ended, nor touch catalogs or locks: test/model
 * compiles this file by itself.
 */
#include "postgres.h"

#include "stream/generations.h"

static void
free_writers(Generation *generation)
{
	if (generation->writers.ids != NULL)
		pfree(generation->writers.ids);
	generation->writers.ids = NULL;
	generation->writers.count = 0;
}

/* Nothing is known of the stream any more; looks go on being counted. */
void
GenerationsForget(Generations *known)
{
	for (int i = 0; i < known->count; i++)
		free_writers(&known->generations[i]);
	known->count = 0;
	known->settled = 0;
	known->step_count = 0;
}

static void
remove_oldest(Generations *known, int count)
{
	for (int i = 0; i < count; i++)
		free_writers(&known->generations[i]);
	known->count -= count;
	memmove(&known->generations[0], &known->generations[count],
			known->count * sizeof(Generation));
}

static bool
has_writer(const Writers *writers, const VirtualTransactionId *id)
{
	for (int i = 0; i < writers->count; i++)
	{
		if (VirtualTransactionIdEquals(writers->ids[i], *id))
			return true;
	}
	return false;
}

/* Has one all the writers of the other? */
static bool
has_writers(const Writers *writers, const Writers *of)
{
	for (int i = 0; i < of->count; i++)
	{
		if (!has_writer(writers, &of->ids[i]))
			return false;
	}
	return true;
}

/*
 * Make this generation and the next one, whose writers were found later, one:
 * numbers of either are of those.
 */
static void
join_next(Generations *known, int i)
{
	free_writers(&known->generations[i]);
	memmove(&known->generations[i], &known->generations[i + 1],
			(known->count - i - 1) * sizeof(Generation));
	known->count--;
}

/* Neighbours with the same writers are one. */
static void
join_same(Generations *known)
{
	for (int i = known->count - 2; i >= 0; i--)
	{
		const Writers *these = &known->generations[i].writers;
		const Writers *next = &known->generations[i + 1].writers;

		if (these->count == next->count && has_writers(next, these))
			join_next(known, i);
	}
}

/* Numbers from this one on, up to the last of all, may be filled now. */
static void
mark_filled(Generations *known, int64 from, int64 last)
{
	int			count = known->step_count;

	while (count > 0 && known->steps[count - 1].last >= from)
		count--;
	/* what is left of the step that has it */
	if (count < known->step_count &&
		(count == 0 ? known->settled : known->steps[count - 1].last) < from - 1)
		known->steps[count++].last = from - 1;
	known->steps[count].last = last;
	known->steps[count++].look = known->look;
	if (count > STEPS_MAX)
	{
		/* whoever has not looked for long looks at a little more */
		count--;
		memmove(&known->steps[0], &known->steps[1], count * sizeof(Step));
	}
	known->step_count = count;
}

static int64
youngest(const Generations *known)
{
	return known->count == 0 ? known->settled :
		known->generations[known->count - 1].last;
}

/* Leave out those of a generation who have ended. */
static void
shrink(Generations *known, int i, WriterHasEnded has_ended)
{
	Writers    *writers = &known->generations[i].writers;
	int64		from = i == 0 ? known->settled + 1 :
		known->generations[i - 1].last + 1;
	bool		shrunk = false;

	for (int j = writers->count - 1; j >= 0; j--)
	{
		if (!has_ended(&writers->ids[j]))
			continue;
		/* before the writer is left out: there may be an error in between */
		if (!shrunk)
			mark_filled(known, from, youngest(known));
		shrunk = true;
		writers->ids[j] = writers->ids[--writers->count];
	}
}

/*
 * A new look: those who have ended since are no generation's any more.  What
 * lies in a generation without writers is settled.
 *
 * From the youngest on: a writer who is asked for again, and ends in between,
 * goes on in a younger one.  The other way round, he would be forgotten if that
 * takes in the older one (join_next), which nobody has marked.
 */
void
GenerationsShrink(Generations *known, WriterHasEnded has_ended)
{
	int			settled = 0;

	known->look++;
	for (int i = known->count - 1; i >= 0; i--)
		shrink(known, i, has_ended);
	while (settled < known->count &&
		   known->generations[settled].writers.count == 0)
		settled++;
	if (settled > 0)
		known->settled = Max(known->settled,
							 known->generations[settled - 1].last);
	remove_oldest(known, settled);
	join_same(known);
}

Writers
WritersCopy(const Writers *writers)
{
	Size		size = writers->count * sizeof(VirtualTransactionId);
	Writers		copy = {.count = writers->count,.ids = palloc(size)};

	memcpy(copy.ids, writers->ids, size);
	return copy;
}

/* The youngest ones have the writers that end soon. */
static void
join(Generations *known)
{
	join_same(known);
	if (known->count > GENERATIONS_MAX)
		join_next(known, known->count - 3);
}

/*
 * All who wrote were found after the last number drawn was read: numbers up
 * to that are theirs.  The ids are copied.
 */
void
GenerationsAdd(Generations *known, int64 last, const Writers *writers)
{
	Generation *generation;
	Writers		copy;
	int64		before = youngest(known);

	if (writers->count == 0)
	{
		/* whatever was open has ended meanwhile */
		remove_oldest(known, known->count);
		known->settled = Max(known->settled, last);
		return;
	}
	if (before >= last)
		return;
	copy = WritersCopy(writers);
	/* some may have been filled before the writers were found */
	mark_filled(known, before + 1, last);
	generation = &known->generations[known->count++];
	generation->last = last;
	generation->writers = copy;
	join(known);
}

/*
 * Somebody else has found, by B and the writers after it, that numbers up to
 * this one are of these writers, all of whom are still unfinished.  Those
 * that this process has found itself may be more.
 */
void
GenerationsLearn(Generations *known, int64 last, const Writers *writers)
{
	Writers		copy;

	if (writers->count == 0 || last <= known->settled ||
		(known->count > 0 && last >= known->generations[0].last))
		return;
	copy = WritersCopy(writers);
	memmove(&known->generations[1], &known->generations[0],
			known->count * sizeof(Generation));
	known->count++;
	known->generations[0].last = last;
	known->generations[0].writers = copy;
	join(known);
}

/*
 * The first number that may have been filled since this look.  Those that are
 * settled are not told: a gap that is settled has to be looked at in any
 * case.
 */
int64
GenerationsSince(const Generations *known, uint64 look)
{
	int64		last = known->settled;

	for (int i = 0; i < known->step_count && known->steps[i].look <= look; i++)
		last = Max(last, known->steps[i].last);
	return last + 1;
}
