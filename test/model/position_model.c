/*
 * position_model.c
 *		A random model of writers, consumers and positions, on top of the
 *		real position.c.
 *
 *		position_model [--mutation NAME] [runs [seed]]
 *
 * Writers lock the stream, know the version they will write, draw a number,
 * insert, and commit, roll back to a savepoint or abort, in any interleaving;
 * writers of one aggregate exclude each other as the unique index does.
 * Consumers claim partitions, read the sequence, read the lockers, take a
 * snapshot, read a limited batch, apply it and save, or crash before saving
 * and forget what they knew.  At the end every committed event must have been
 * applied exactly once, each aggregate in version order, and no gap may be
 * left.
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
#include <string.h>

#include "support.h"

#define STEPS 400				/* in one run, so also of numbers, writers */
#define PARTITIONS 3
#define CONSUMERS 2
#define AGGREGATES 7
#define FOREIGN 6				/* an aggregate of a type nobody projects */
#define NOBODY 0				/* writers are counted from 1 */
#define ENOUGH 10				/* broken runs show that a mutation is seen */

enum Mutation
{
	NONE,
	SNAPSHOT_BEFORE_SETTLE,
	LOCKERS_BEFORE_NUMBER,
	NUMBER_BEFORE_LOCK,
	VERSION_AFTER_NUMBER,
	UNREAD_GAPS_DROPPED,
	SETTLED_BEYOND_LAST,
	CUT_CALLED_WHOLE,
	GAPS_LEFT_OUT_TOO_EARLY,
	LOCKS_SAY_WHO_HAS_ENDED,
	MUTATIONS
};

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
};

static enum Mutation mutation;

typedef struct Event
{
	int			aggregate;
	int			version;
	bool		committed;
} Event;

typedef struct Writer
{
	bool		running;
	bool		ending;			/* has ended for snapshots, holds its locks */
	bool		locked;			/* holds the write lock on the stream */
	int			drawn;			/* number drawn and not yet inserted, or 0 */
	int			events[STEPS];	/* numbers inserted */
	int			count;
	bool		in_savepoint;
	bool		locked_before;	/* locked before the savepoint */
	int			count_before;
} Writer;

/* The stream: what is in the table, and who is writing. */
static Event events[STEPS + 1]; /* by number */
static int	last_number;		/* of the sequence */
static int	version[AGGREGATES];	/* committed */
static int	holder[AGGREGATES]; /* the writer of an uncommitted version */
static Writer writers[STEPS + 1];
static int	last_writer;

/* The projection. */
typedef struct Partition
{
	Position	position;
	bool		claimed;
} Partition;

static Partition partitions[PARTITIONS];
static int	applied[AGGREGATES];	/* version reached */
static bool is_applied[STEPS + 1];
static const char *broken;		/* what went wrong first */

/* Members of W: a bool by writer. */
typedef bool Writers[STEPS + 1];

/*
 * What a consumer knows of one partition: its gaps up to this number belong
 * to members of W, and only to those that had not ended when `ended` of them
 * had.
 */
typedef struct Quiet
{
	int			ended;
	int			to;
} Quiet;

enum Phase
{
	CLAIM, FIRST_READ, SECOND_READ, LOOK, APPLY
};

typedef struct Consumer
{
	enum Phase	phase;
	/* known from batch to batch */
	int			settled;
	bool		pending;		/* is there a pair (B, W) to wait for? */
	int			pending_number;
	Writers		pending_writers;
	Quiet		quiet[PARTITIONS];
	/* of the batch at hand */
	bool		mine[PARTITIONS];
	int			number;			/* B */
	Writers		lockers;		/* W */
	int			ended;			/* of pending_writers, before the snapshot */
	int			ended_after;	/* and after it */
	bool		snapshot[STEPS + 1];	/* visible numbers */
} Consumer;

static Consumer consumers[CONSUMERS];

/*
 * Writers
 */

/* The version that the writer would write next. */
static int
next_version(const Writer *writer, int aggregate)
{
	for (int i = writer->count - 1; i >= 0; i--)
		if (events[writer->events[i]].aggregate == aggregate)
			return events[writer->events[i]].version + 1;
	return version[aggregate] + 1;
}

static int
random_writer(void)
{
	int			running[STEPS];
	int			count = 0;

	for (int i = 1; i <= last_writer; i++)
		if (writers[i].running)
			running[count++] = i;
	return count == 0 ? NOBODY : running[random_below(count)];
}

static void
writer_begin(void)
{
	writers[++last_writer].running = true;
}

/* Lock, know the version, draw the number: the first half of an INSERT. */
static void
writer_draw(int id)
{
	Writer	   *writer = &writers[id];
	int			aggregate = random_below(AGGREGATES);

	if (holder[aggregate] != NOBODY && holder[aggregate] != id)
		return;					/* would wait on the unique index */
	if (mutation != NUMBER_BEFORE_LOCK)
		writer->locked = true;
	writer->drawn = ++last_number;
	events[last_number].aggregate = aggregate;
	events[last_number].version = next_version(writer, aggregate);
}

/* The second half; a number that cannot be inserted is burnt. */
static void
writer_insert(int id)
{
	Writer	   *writer = &writers[id];
	int			number = writer->drawn;
	Event	   *event = &events[number];

	writer->drawn = 0;
	writer->locked = true;
	if (holder[event->aggregate] != NOBODY && holder[event->aggregate] != id)
		return;					/* lost the race */
	if (mutation == VERSION_AFTER_NUMBER)
		event->version = next_version(writer, event->aggregate);
	else if (version[event->aggregate] >= event->version)
		return;					/* unique violation */
	holder[event->aggregate] = id;
	writer->events[writer->count++] = number;
}

/* Gives back what the writer holds without an event of its own for it. */
static void
release_aggregates(int id)
{
	for (int a = 0; a < AGGREGATES; a++)
	{
		bool		held = false;

		for (int i = 0; i < writers[id].count; i++)
			held = held || events[writers[id].events[i]].aggregate == a;
		if (holder[a] == id && !held)
			holder[a] = NOBODY;
	}
}

/* Sets a savepoint, or goes back to it: locks taken since are given back. */
static void
writer_savepoint(int id)
{
	Writer	   *writer = &writers[id];

	if (!writer->in_savepoint)
	{
		if (writer->drawn != 0)
			return;				/* in the middle of a statement */
		writer->locked_before = writer->locked;
		writer->count_before = writer->count;
	}
	else
	{
		writer->locked = writer->locked_before;
		writer->count = writer->count_before;
		writer->drawn = 0;
		release_aggregates(id);
	}
	writer->in_savepoint = !writer->in_savepoint;
}

/* Commits, or aborts: snapshots see that before the locks are given back. */
static void
writer_end(int id)
{
	Writer	   *writer = &writers[id];

	if (random_chance(75))
		for (int i = 0; i < writer->count; i++)
		{
			Event	   *event = &events[writer->events[i]];

			event->committed = true;
			version[event->aggregate] = event->version;
		}
	writer->count = 0;
	writer->running = false;
	writer->ending = true;
	release_aggregates(id);
}

static void
writer_unlock(int id)
{
	writers[id].ending = false;
	writers[id].locked = false;
}

static void
unlock_some(void)
{
	for (int i = 1; i <= last_writer; i++)
		if (writers[i].ending && random_chance(50))
			writer_unlock(i);
}

/*
 * Consumers
 */

static bool
any_running(const Writers set)
{
	for (int i = 1; i <= last_writer; i++)
		if (set[i] && (writers[i].running || writers[i].ending))
			return true;
	return false;
}

static int
count_ended(const Writers set)
{
	int			count = 0;

	for (int i = 1; i <= last_writer; i++)
		count += set[i] && !writers[i].running &&
			!(writers[i].ending && mutation == LOCKS_SAY_WHO_HAS_ENDED);
	return count;
}

static void
read_lockers(Consumer *consumer)
{
	for (int i = 1; i <= STEPS; i++)
		consumer->lockers[i] = writers[i].locked;
}

static void
take_snapshot(Consumer *consumer)
{
	for (int i = 1; i <= STEPS; i++)
		consumer->snapshot[i] = events[i].committed;
}

static void
forget_quiet(Consumer *consumer)
{
	for (int p = 0; p < PARTITIONS; p++)
		consumer->quiet[p] = (Quiet) {.ended = -1};
}

static void
forget_all(Consumer *consumer)
{
	consumer->settled = 0;
	consumer->pending = false;
	forget_quiet(consumer);
}

static void
claim(Consumer *consumer)
{
	bool		any = false;

	for (int p = 0; p < PARTITIONS; p++)
	{
		consumer->mine[p] = !partitions[p].claimed && random_chance(60);
		partitions[p].claimed |= consumer->mine[p];
		any = any || consumer->mine[p];
	}
	if (!any)
		return;
	if (mutation == SNAPSHOT_BEFORE_SETTLE)
		take_snapshot(consumer);
	consumer->phase = FIRST_READ;
}

static void
first_read(Consumer *consumer)
{
	if (mutation == LOCKERS_BEFORE_NUMBER)
		read_lockers(consumer);
	else
		consumer->number = last_number;
	consumer->phase = SECOND_READ;
}

static void
second_read(Consumer *consumer)
{
	if (mutation == LOCKERS_BEFORE_NUMBER)
		consumer->number = last_number;
	else
		read_lockers(consumer);

	if (consumer->pending && !any_running(consumer->pending_writers))
	{
		consumer->settled = Max(consumer->settled, consumer->pending_number);
		consumer->pending = false;
		forget_quiet(consumer);
	}
	if (!any_running(consumer->lockers))
		consumer->settled = Max(consumer->settled, consumer->number);
	else if (!consumer->pending)
	{
		consumer->pending = true;
		consumer->pending_number = consumer->number;
		memcpy(consumer->pending_writers, consumer->lockers, sizeof(Writers));
	}
	consumer->ended = count_ended(consumer->pending_writers);
	consumer->phase = LOOK;
}

/*
 * Who has ended is asked again after the snapshot: who was still running then
 * is not visible in it.
 */
static void
look(Consumer *consumer)
{
	if (mutation != SNAPSHOT_BEFORE_SETTLE)
		take_snapshot(consumer);
	consumer->phase = APPLY;
}

static void
look_again(Consumer *consumer)
{
	consumer->ended_after = mutation == GAPS_LEFT_OUT_TOO_EARLY ?
		consumer->ended : count_ended(consumer->pending_writers);
}

/* The partition that applies the event, or -1. */
static int
partition_of(int number)
{
	int			aggregate = events[number].aggregate;

	return aggregate == FOREIGN ? -1 : aggregate % PARTITIONS;
}

/* Would this consumer apply the event, if it read it? */
static bool
wanted(const Consumer *consumer, int number)
{
	int			p = partition_of(number);

	return p >= 0 && consumer->mine[p] && consumer->snapshot[number] &&
		!PositionApplied(&partitions[p].position, number);
}

static int
lowest_head(const Consumer *consumer)
{
	int64		low = STEPS;

	for (int p = 0; p < PARTITIONS; p++)
		if (consumer->mine[p])
			low = Min(low, partitions[p].position.head);
	return (int) low;
}

/*
 * Up to where gaps need not be looked up, because no member of W has ended
 * since they were: none of them can be visible.
 */
static int
quiet_to(const Consumer *consumer)
{
	int			to = STEPS;

	if (!consumer->pending)
		return 0;
	for (int p = 0; p < PARTITIONS; p++)
	{
		const Quiet *quiet = &consumer->quiet[p];

		if (consumer->mine[p])
			to = Min(to, quiet->ended == consumer->ended_after ?
					 quiet->to : 0);
	}
	return to;
}

/* Has no visible gap up to `to` a later event of its aggregate above it? */
static bool
may_leave_out(const Consumer *consumer, int to)
{
	for (int n = 1; n <= to; n++)
	{
		if (!wanted(consumer, n))
			continue;
		for (int later = to + 1; later <= last_number; later++)
			if (events[later].aggregate == events[n].aggregate &&
				wanted(consumer, later))
				return false;
	}
	return true;
}

/* The numbers to look at: above every head, and all that are gaps. */
static NumberSet
numbers_to_read(const Consumer *consumer, int from)
{
	NumberSet	numbers = {0};

	NumberSetAppend(&numbers, lowest_head(consumer) + 1, STEPS + 1);
	for (int p = 0; p < PARTITIONS; p++)
		if (consumer->mine[p])
			numbers = NumberSetUnion(&numbers, &partitions[p].position.gaps);
	return NumberSetBetween(&numbers, from, STEPS);
}

/*
 * Reads the snapshot from report->from on, up to the limit.  Of the settled
 * numbers only those that somebody projects are read, as a filter would have
 * it, and only some of them are told.
 */
static void
read_batch(const Consumer *consumer, int limit, bool *batch,
		   ReadReport *report, NumberSet *seen)
{
	NumberSet	numbers = numbers_to_read(consumer, (int) report->from);

	report->last = 0;
	report->whole = true;
	for (int n = 1; n <= STEPS && report->whole; n++)
	{
		bool		settled = n <= report->settled;

		batch[n] = false;
		if (!consumer->snapshot[n] || !NumberSetContains(&numbers, n) ||
			(settled && partition_of(n) < 0))
			continue;
		if (limit-- == 0)
		{
			report->whole = false;
			break;
		}
		batch[n] = true;
		report->last = n;
		if (!settled || random_chance(50))
			NumberSetAppend(seen, n, n);
	}
	report->seen = seen;
}

static void
apply_event(int number)
{
	const Event *event = &events[number];

	if (is_applied[number])
		broken = "an event was applied twice";
	else if (event->version != applied[event->aggregate] + 1)
		broken = "an event was applied out of order";
	is_applied[number] = true;
	applied[event->aggregate] = event->version;
}

static void
save_position(Partition *partition, const ReadReport *report)
{
	Position	old = partition->position;
	NumberSet  *gaps = &partition->position.gaps;
	ReadReport	told = *report;

	if (mutation == UNREAD_GAPS_DROPPED)
		told.from = 1;
	if (mutation == CUT_CALLED_WHOLE)
		told.whole = true;
	partition->position = PositionAdvance(&old, &told);
	if (mutation == SETTLED_BEYOND_LAST && report->from == 1)
		*gaps = NumberSetBetween(gaps, report->settled + 1, STEPS);
	if (partition->position.head < old.head)
		broken = "a head went backwards";
	if (!set_is_sound(gaps) ||
		(gaps->count > 0 &&
		 gaps->ranges[gaps->count - 1].last > partition->position.head))
		broken = "gaps are no set of numbers up to the head";
}

/* Remembers up to where the gaps have been looked up under this W. */
static void
note_quiet(Consumer *consumer, const ReadReport *report)
{
	int			reach = consumer->pending_number;

	if (!consumer->pending)
		return;
	if (!report->whole)
		reach = Min(reach, (int) report->last);
	for (int p = 0; p < PARTITIONS; p++)
	{
		Quiet	   *quiet = &consumer->quiet[p];

		if (!consumer->mine[p])
			continue;
		if (quiet->ended != consumer->ended)
			*quiet = (Quiet) {.ended = consumer->ended};
		quiet->to = Max(quiet->to, reach);
	}
}

/* Reads, applies and saves, or crashes; the final batch reads it all. */
static void
apply(Consumer *consumer, bool final)
{
	static const int limits[] = {1, 2, 3, STEPS};
	int			limit = final ? STEPS : limits[random_below(4)];
	ReadReport	report = {.settled = consumer->settled};
	NumberSet	seen = {0};
	bool		batch[STEPS + 1] = {false};
	int			low = lowest_head(consumer);
	bool		left_out = !final && random_chance(50) &&
		may_leave_out(consumer, low);

	report.from = 1 + (left_out ? low : Min(low, quiet_to(consumer)));
	read_batch(consumer, limit, batch, &report, &seen);
	if (!final && random_chance(15))
		forget_all(consumer);
	else
	{
		for (int n = 1; n <= STEPS; n++)
			if (batch[n] && wanted(consumer, n))
				apply_event(n);
		for (int p = 0; p < PARTITIONS; p++)
			if (consumer->mine[p])
				save_position(&partitions[p], &report);
		for (int n = 1; n <= STEPS; n++)
			if (batch[n] && wanted(consumer, n))
				broken = "an event that was applied is still a gap";
		if (!left_out)
			note_quiet(consumer, &report);
	}
	for (int p = 0; p < PARTITIONS; p++)
		if (consumer->mine[p])
			partitions[p].claimed = false;
	consumer->phase = CLAIM;
}

static void
consumer_step(Consumer *consumer)
{
	switch (consumer->phase)
	{
		case CLAIM:
			claim(consumer);
			break;
		case FIRST_READ:
			first_read(consumer);
			break;
		case SECOND_READ:
			second_read(consumer);
			break;
		case LOOK:
			look(consumer);
			break;
		case APPLY:
			look_again(consumer);
			apply(consumer, false);
			break;
	}
}

/*
 * Runs
 */

static void
start_run(uint64_t seed)
{
	arena_reset();
	random_start(seed);
	broken = NULL;
	last_number = 0;
	last_writer = 0;
	memset(events, 0, sizeof(events));
	memset(version, 0, sizeof(version));
	memset(holder, 0, sizeof(holder));
	memset(writers, 0, sizeof(writers));
	memset(partitions, 0, sizeof(partitions));
	memset(applied, 0, sizeof(applied));
	memset(is_applied, 0, sizeof(is_applied));
	memset(consumers, 0, sizeof(consumers));
	for (int i = 0; i < CONSUMERS; i++)
		forget_all(&consumers[i]);
}

static void
random_event(void)
{
	int			dice = random_below(100);
	int			writer = random_writer();

	if (random_chance(8))
		unlock_some();
	else if (dice < 15)
		writer_begin();
	else if (dice < 62 && writer != NOBODY)
	{
		if (dice >= 50)
			writer_end(writer);
		else if (dice >= 47)
			writer_savepoint(writer);
		else if (writers[writer].drawn == 0)
			writer_draw(writer);
		else
			writer_insert(writer);
	}
	else
		consumer_step(&consumers[random_below(CONSUMERS)]);
}

/*
 * All writers end, batches in flight crash, and a new consumer reads the rest
 * in one batch.
 */
static void
drain(void)
{
	Consumer   *consumer = &consumers[0];

	for (int i = 1; i <= last_writer; i++)
	{
		if (writers[i].running)
			writer_end(i);
		writer_unlock(i);
	}
	memset(consumer, 0, sizeof(*consumer));
	forget_all(consumer);
	for (int p = 0; p < PARTITIONS; p++)
		consumer->mine[p] = true;
	first_read(consumer);
	second_read(consumer);
	take_snapshot(consumer);
	look_again(consumer);
	apply(consumer, true);
}

static void
check_end(void)
{
	for (int p = 0; p < PARTITIONS; p++)
		if (partitions[p].position.head != last_number ||
			partitions[p].position.gaps.count > 0)
			broken = "nobody writes, and a partition is not at the end";
	for (int n = 1; n <= STEPS; n++)
	{
		bool		expected = events[n].committed && partition_of(n) >= 0;

		if (expected && !is_applied[n])
			broken = "an event was lost";
		if (!expected && is_applied[n])
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
		long		needed = runs;
		long		count;

		if (only != MUTATIONS && !alone)
			continue;
		count = count_broken(i, alone || i == NONE ? runs : ENOUGH, &needed,
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
