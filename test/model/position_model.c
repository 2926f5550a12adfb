/*
 * position_model.c
 *		A random model of writers, consumers and positions, on top of the
 *		real position.c, sets.c and generations.c.
 *
 *		position_model [--promises] [--mutation NAME] [runs [seed]]
 *
 * Writers (stream.c) append in any interleaving.  Consumers (consumer.c,
 * save.c) claim groups, read the stored positions (store.c), read the
 * sequence, read the lockers, take a snapshot, read a limited batch, apply it
 * and save; or they roll back and keep what they know, or crash and forget
 * it.  Now and then all positions begin anew, and sometimes the stream, too; or
 * their table is rewritten, so that rows have other places.
 * At the end every committed event must have been applied exactly once, each
 * aggregate in version order, and no gap may be left.
 *
 * No gap may be left out of a read, either, that is visible in its snapshot.
 * With --promises that is not asked: an event that is applied late does harm
 * only where one that follows it was applied before.
 *
 * A mutation is the algorithm with one thing wrong.  The test asks that the
 * algorithm never breaks, and that every mutation does: a model that cannot
 * see a mistake proves nothing.  With --mutation one of them is run alone;
 * run N of seed S is run 1 of seed S + N - 1.
 */
#include "postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"
#include "consumer.h"

#define CONSUMERS 3
#define ENOUGH 3				/* broken runs show that a mutation is seen */

static const char *const mutation_names[MUTATIONS] = {
	"none",
	"snapshot before settle",
	"lockers before number",
	"number before lock",
	"version after number",
	"unread gaps dropped",
	"settled instead of min(settled, last)",
	"cut read called whole",
	"gaps left out by an older look at the lockers",
	"who has ended is told by locks",
	"carried sets dropped",
	"a turn not above those of the claimed groups",
	"positions read before the claim",
	"positions watched by value",
	"positions watched by lane",
	"positions watched by place",
	"positions watched by place, writer and version",
	"the second look remembered",
	"a look remembered after a cut read",
	"a new generation not marked as filled",
	"the oldest generation asked first",
	"sets joined after a cut read",
	"gaps left out although a writer has ended",
	"gaps left out although a stored owner has ended",
	"settled gaps left out",
	"stored owners taken before the number",
	"stored owners of the second look",
	"owners stored after a cut read",
	"owners stored for gaps of younger generations",
	"a block deleted that another set names",
	"a lane deleted that still counts",
	"generations remembered across a restart",
	"the consumer's own transaction overlooked",
	"the consumer's own transaction taken for an owner that goes on",
	"parked keys remembered although others have saved",
	"parked keys known before the batch has saved",
};

enum Mutation mutation;
const char *broken;

static Consumer consumers[CONSUMERS];
static int	paused;				/* so many steps are still the stream's */

/* chosen for each run */
static bool resets;				/* do positions begin anew? */
static int	working;			/* so many consumers work */
static int	share;				/* percent of what happens, for the stream */
static int	pause;				/* percent: the stream goes on for a while */
static int	patience;			/* percent: a consumer goes on at once */

/* Who is in a batch rolls back, and goes on with what it knows. */
static void
roll_back_all(void)
{
	for (int i = 0; i < CONSUMERS; i++)
		consumer_roll_back(&consumers[i]);
}

/* The positions begin anew; it waits for batches that run. */
static void
reset(void)
{
	roll_back_all();
	store_start();
	consumer_start();
	if (random_chance(50))
		stream_empty();
}

/* The table of positions is rewritten; it waits for batches that run. */
static void
rewrite(void)
{
	for (int i = 0; i < CONSUMERS; i++)
		consumer_finish(&consumers[i]);
	store_rewrite();
}

/* Under one long writer, consumers know much, and seldom look. */
static void
choose_run(bool one_is_long)
{
	working = 1 + random_below(one_is_long ? 2 : CONSUMERS);
	greed_percent = one_is_long ? 90 : 20 + 40 * random_below(3);
	share = 50 + 15 * random_below(3);
	pause = one_is_long ? 40 : 20 * random_below(3);
	left_out_percent = one_is_long ? 0 : 20 * random_below(3);
	writes_percent = 10 * random_below(3);
	frailty_percent = one_is_long ? 3 : 10 * random_below(2);
	resets = !one_is_long && random_chance(50);
	patience = 20 + 20 * random_below(one_is_long ? 2 : 4);
}

static void
start_run(uint64_t seed)
{
	bool		one_is_long;

	arena_reset();
	random_start(seed);
	one_is_long = random_chance(40);
	broken = NULL;
	paused = 0;
	consumer_start();
	memset(consumers, 0, sizeof(consumers));
	choose_run(one_is_long);
	stream_start(one_is_long);
	store_start();
}

/* Between the look at the lockers and the snapshot much may happen. */
static void
consumer_event(void)
{
	Consumer   *consumer = &consumers[random_below(working)];
	bool		delicate;

	do
	{
		consumer_step(consumer);
		delicate = consumer->phase == SNAPSHOT;
	} while (broken == NULL && consumer->phase != WAIT &&
			 random_chance(delicate ? patience / 2 : patience));
	if (random_chance(delicate ? 2 * pause : pause))
		paused = random_below(15);
}

static void
random_event(void)
{
	if (resets && random_below(1000) < 5)
		reset();
	else if (random_below(1000) < 40)
		rewrite();
	else if (random_chance(8))
		stream_unlock_some();
	else if (paused > 0 || random_chance(share))
	{
		paused -= paused > 0;
		stream_event();
	}
	else
		consumer_event();
}

/*
 * All writers end, batches that run are rolled back, and one consumer, who
 * knows what it knew, or nothing, reads the rest in one batch.
 */
static void
drain(void)
{
	Consumer   *consumer = &consumers[0];

	roll_back_all();
	stream_end_all();
	writes_percent = 0;
	if (random_chance(50))
		consumer_forget(consumer);
	consumer_read_all(consumer);
}

static void
check_end(void)
{
	PositionSets sets = store_resolve(&stored);

	for (int i = 0; i < sets.count; i++)
		if (sets.sets[i].position.head != last_number ||
			sets.sets[i].position.gaps.count > 0 || sets.sets[i].old.size > 0)
			broken = "nobody writes, and a group is not at the end";
	for (int n = 1; n <= STEPS; n++)
	{
		bool		expected = events[n].committed && group_of(n) >= 0;

		if (expected && !consumer_applied(n))
			broken = "an event was lost";
		if (!expected && consumer_applied(n))
			broken = "an event was applied that nobody committed";
	}
}

/* What went wrong, or NULL. */
static const char *
run(uint64_t seed)
{
	start_run(seed);
	for (int i = 1; i <= STEPS && broken == NULL; i++)
	{
		random_step(i);
		random_event();
	}
	if (broken == NULL)
		drain();
	if (broken == NULL)
		check_end();
	return broken;
}

/*
 * The number of broken runs, with a remark on the first of them.  Stops when
 * there are enough; *runs is then what it took.
 */
static long
count_broken(enum Mutation chosen, long enough, long *runs, uint64_t seed)
{
	long		limit = *runs;
	long		count = 0;

	mutation = chosen;
	for (*runs = 0; *runs < limit && count < enough; ++*runs)
	{
		const char *problem = run(seed + (uint64_t) *runs);

		if (problem != NULL && count++ == 0)
		{
			note("%s: %s", mutation_names[mutation], problem);
			note_step();
		}
	}
	return count;
}

static enum Mutation
mutation_by_name(const char *name)
{
	for (int i = 0; i < MUTATIONS; i++)
		if (strcmp(name, mutation_names[i]) == 0)
			return i;
	fprintf(stderr, "unknown mutation \"%s\"; there are:\n", name);
	for (int i = 0; i < MUTATIONS; i++)
		fprintf(stderr, "  %s\n", mutation_names[i]);
	exit(2);
}

int
main(int argc, char **argv)
{
	enum Mutation only = MUTATIONS;
	long		runs = 5000;
	uint64_t	seed = default_seed();
	int			next = 1;

	if (next < argc && strcmp(argv[next], "--promises") == 0)
	{
		promises_only = true;
		next++;
	}
	if (next + 1 < argc && strcmp(argv[next], "--mutation") == 0)
	{
		only = mutation_by_name(argv[next + 1]);
		next += 2;
	}
	if (next < argc)
		runs = positive_argument(argv[next++], "runs");
	if (next < argc)
		seed = (uint64_t) positive_argument(argv[next++], "seed");

	start();
	note("%ld runs of %d steps, seed %" PRIu64, runs, STEPS, seed);
	for (int i = 0; i < MUTATIONS; i++)
	{
		bool		alone = only == (enum Mutation) i;

		/* some of them do harm once in a thousand runs */
		long		needed = i == NONE ? runs : 10 * runs;
		long		count;

		if (only != MUTATIONS && !alone)
			continue;
		count = count_broken(i, alone || i == NONE ? needed : ENOUGH, &needed,
							 seed);
		if (i == NONE)
			ok(count == 0, "the algorithm: %ld of %ld runs broken", count,
			   needed);
		else
			ok(count > 0, "the mutation \"%s\" is seen: %ld of %ld runs "
			   "broken", mutation_names[i], count, needed);
	}
	return finish();
}
