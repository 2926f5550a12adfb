/*
 * generations_test.c
 *		Who may fill which numbers, held against a naive oracle.
 *
 *		generations_test [rounds [seed]]
 *
 * The oracle knows of each number by itself who may fill it, and the look
 * before which that may have happened last.
 */
#include "postgres.h"

#include <inttypes.h>
#include <setjmp.h>

#include "support.h"
#include "stream/generations.h"

#define NUMBERS 600				/* in one round */
#define WRITERS 12				/* at a time; a set of them is an unsigned */

/* One that has ended is followed by another one, with another id. */
static int	ids[WRITERS];
static int	last_id;
static bool ended[NUMBERS * WRITERS];

static Generations known;

/* What the oracle knows of each number. */
static unsigned owners[NUMBERS + 2];	/* by place in ids */
static uint64 filled[NUMBERS + 2];	/* look */
static int64 settled;
static int64 youngest;			/* number that it knows of */

static bool
has_ended(const VirtualTransactionId *writer)
{
	return ended[writer->transaction];
}

static Writers
writers_of(unsigned set)
{
	Size		size = WRITERS * sizeof(VirtualTransactionId);
	Writers		writers = {.ids = palloc(size)};

	for (int i = 0; i < WRITERS; i++)
		if ((set & (1u << i)) != 0)
			writers.ids[writers.count++] = (VirtualTransactionId)
		{
			.process = i,.transaction = ids[i]
		};
	return writers;
}

static void
fill_from(int64 number)
{
	for (int64 n = number; n <= youngest; n++)
		filled[n] = known.look;
}

static void
new_writer(int i)
{
	ended[++last_id] = false;
	ids[i] = last_id;
}

static void
shrink(unsigned gone)
{
	int64		first = 0;

	for (int i = 0; i < WRITERS; i++)
		if ((gone & (1u << i)) != 0)
			ended[ids[i]] = true;
	GenerationsShrink(&known, has_ended);
	for (int64 n = youngest; n > settled; n--)
	{
		if ((owners[n] & gone) != 0)
			first = n;
		owners[n] &= ~gone;
	}
	if (first > 0)
		fill_from(first);
	while (settled < youngest && owners[settled + 1] == 0)
		settled++;
	for (int i = 0; i < WRITERS; i++)
		if ((gone & (1u << i)) != 0)
			new_writer(i);
}

static void
add(int64 last, unsigned set)
{
	Writers		writers = writers_of(set);
	int64		before = youngest;

	GenerationsAdd(&known, last, &writers);
	if (set == 0)
	{
		settled = youngest = Max(youngest, last);
		return;
	}
	if (last <= before)
		return;
	youngest = last;
	for (int64 n = before + 1; n <= last; n++)
		owners[n] = set;
	fill_from(before + 1);
}

/* The first number that may have been filled since. */
static int64
since(uint64 look)
{
	int64		n = settled + 1;

	while (n <= youngest && filled[n] <= look)
		n++;
	return n;
}

static int
runs_of_owners(void)
{
	int			count = 0;

	for (int64 n = settled + 1; n <= youngest; n++)
		count += n == settled + 1 || owners[n] != owners[n - 1];
	return count;
}

static bool
is_sound(void)
{
	if (known.count > GENERATIONS_MAX || known.step_count > STEPS_MAX)
		return false;
	for (int i = 0; i < known.count; i++)
		if (known.generations[i].last <= (i == 0 ? known.settled :
										  known.generations[i - 1].last))
			return false;
	for (int i = 1; i < known.step_count; i++)
		if (known.steps[i].last <= known.steps[i - 1].last ||
			known.steps[i].look < known.steps[i - 1].look)
			return false;
	return true;
}

static void
forget(void)
{
	GenerationsForget(&known);
	settled = youngest = 0;
	memset(owners, 0, sizeof(owners));
	memset(filled, 0, sizeof(filled));
}

static void
start_round(void)
{
	arena_reset();
	memset(&known, 0, sizeof(known));
	last_id = 0;
	for (int i = 0; i < WRITERS; i++)
		new_writer(i);
	forget();
}

/*
 * One random round.  Where there were never too many generations and steps it
 * says what the oracle says; else it may say that more was filled, and that
 * less is settled, but never the opposite.
 */
static bool
random_round(int writers, bool *exact)
{
	bool		give_back = random_chance(50);
	unsigned	set = 0;

	start_round();
	*exact = true;
	while (youngest < NUMBERS - 20 && last_id < NUMBERS * WRITERS - WRITERS)
	{
		unsigned	gone = random_chance(60) ? 0 :
			set & random_bits() & random_bits();

		shrink(gone);
		/* others begin; some give back their locks and go on */
		set &= ~gone;
		set |= random_bits() & random_bits() & ((1u << writers) - 1);
		if (give_back && random_chance(5))
			set &= random_bits();
		if (random_chance(80))
			add(youngest + random_below(8), set);
		*exact = *exact && runs_of_owners() <= GENERATIONS_MAX &&
			known.step_count < STEPS_MAX;

		/* the oracle does not know that they fill nothing any more */
		if (give_back && !*exact)
			return true;
		if (!is_sound() || known.settled > settled ||
			(*exact && known.settled != settled))
			return false;
		for (uint64 look = known.look > 30 ? known.look - 30 : 0;
			 look <= known.look; look++)
		{
			int64		told = Max(GenerationsSince(&known, look), settled + 1);

			if (told > since(look) || (*exact && told != since(look)))
				return false;
		}
	}
	return true;
}

static void
test_random(int rounds, uint64_t seed)
{
	int			good = 0;
	int			exact = 0;

	for (int i = 0; i < rounds; i++)
	{
		bool		was_exact;

		random_start(seed + i);
		random_step(1);
		if (random_round(1 + i % WRITERS, &was_exact))
			good++;
		else
			note_step();
		exact += was_exact;
	}
	ok(good == rounds, "random rounds: %d of %d are as the oracle says", good,
	   rounds);
	ok(exact > 0 && exact < rounds, "in some there were never too many "
	   "generations: %d", exact);
}

static void
test_one_long_writer(void)
{
	start_round();
	for (int i = 1; i <= 50; i++)
	{
		add(i * 10, 1 | 2);
		shrink(2);
	}
	ok(known.count == 1, "under one long writer there is one generation");
	ok(known.settled == 0, "nothing is settled");
	shrink(1);
	ok(known.count == 0 && known.settled == 500, "until it has ended");
}

static void
test_looks(void)
{
	uint64		look;

	start_round();
	shrink(0);
	add(10, 1);
	shrink(0);
	add(20, 1 | 2);
	look = known.look;
	ok(GenerationsSince(&known, look) == 21, "nobody has ended");
	ok(GenerationsSince(&known, look - 1) == 11, "a new generation may have "
	   "been filled");
	ok(GenerationsSince(&known, 0) == 1, "without a look, all of them");
	shrink(2);
	ok(GenerationsSince(&known, look) == 11, "who has ended has filled none "
	   "of an older generation");
	ok(GenerationsSince(&known, known.look) == 21, "that is looked at once");
	shrink(1);
	ok(GenerationsSince(&known, look) == 21, "what is settled is not told");
	forget();
	ok(GenerationsSince(&known, known.look) == 1, "a stream that begins anew: "
	   "all of it");
}

/* Whoever has not looked for long looks at more than he must. */
static void
test_many_looks(void)
{
	uint64		first;

	start_round();
	for (int i = 1; i <= 2 * STEPS_MAX; i++)
	{
		shrink(0);
		add(i, 1);
	}
	first = known.look - 2 * STEPS_MAX + 1;
	ok(known.step_count == STEPS_MAX, "never are there too many steps");
	ok(GenerationsSince(&known, known.look) == 2 * STEPS_MAX + 1 &&
	   GenerationsSince(&known, known.look - 10) == 2 * STEPS_MAX - 9,
	   "who has looked lately looks at what is new");
	ok(GenerationsSince(&known, first) == 1, "and who has not, at all");
}

static void
test_no_writers(void)
{
	Writers		nobody = {0};

	start_round();
	shrink(0);
	add(10, 1);
	GenerationsAdd(&known, 15, &nobody);
	ok(known.settled == 15 && known.count == 0, "nobody writes: all is settled");
	GenerationsAdd(&known, 12, &nobody);
	ok(known.settled == 15, "what is settled stays so");
}

static void
test_learn(void)
{
	Writers		nobody = {0};
	Writers		one;
	uint64		look;

	start_round();
	one = writers_of(1);
	shrink(0);
	add(20, 1 | 2);
	look = known.look;
	GenerationsLearn(&known, 20, &one);
	GenerationsLearn(&known, 30, &one);
	GenerationsLearn(&known, 10, &nobody);
	ok(known.count == 1, "what this process has found itself stays");
	GenerationsLearn(&known, 10, &one);
	ok(known.count == 2 && known.generations[0].last == 10, "an older "
	   "generation is learned");
	ok(GenerationsSince(&known, look) == 21, "it says nothing of what was filled");
	ok(GenerationsSince(&known, look - 1) == 1, "nor that nothing was");
	ended[ids[1]] = true;
	GenerationsShrink(&known, has_ended);
	ok(GenerationsSince(&known, look) == 11, "who is none of its writers fills "
	   "none of its gaps");
	ok(known.count == 1, "with the same writers it is one with the next");
	ended[ids[0]] = true;
	GenerationsShrink(&known, has_ended);
	ok(known.settled == 20, "and settled, when they have ended");
	GenerationsLearn(&known, 15, &one);
	ok(known.count == 0, "nothing is learned of what is settled");
	GenerationsLearn(&known, 25, &one);
	ok(known.count == 1 && GenerationsSince(&known, known.look) == 21,
	   "what is learned before anything is known was never looked at");
	for (int i = 0; i < GENERATIONS_MAX + 2; i++)
	{
		Writers		another = writers_of(2u << i);

		GenerationsAdd(&known, 100 + i, &another);
	}
	one = writers_of(1 | 1u << (WRITERS - 1));
	GenerationsLearn(&known, 22, &one);
	ok(known.count == GENERATIONS_MAX && is_sound(), "never are there too many");
}

static jmp_buf on_error;
static int	until_error;		/* so many questions are answered */

static bool
has_ended_or_error(const VirtualTransactionId *writer)
{
	if (until_error-- == 0)
		longjmp(on_error, 1);
	return has_ended(writer);
}

/* Three generations, of which the writers 1 and 2 end, and an error. */
static void
shrink_with_error(int answers)
{
	start_round();
	shrink(0);
	add(10, 1 | 2);
	shrink(0);
	add(20, 1 | 2 | 4);
	shrink(0);
	add(30, 1 | 2 | 4 | 8);
	ended[ids[1]] = ended[ids[2]] = true;
	until_error = answers;
	if (setjmp(on_error) == 0)
		GenerationsShrink(&known, has_ended_or_error);
}

/*
 * An error in the middle of a look: what was left out is marked, and the next
 * look finds the rest.
 */
static void
test_error(void)
{
	bool		sound = true;
	bool		marked = true;
	bool		found = true;

	for (int answers = 0; answers <= 9; answers++)
	{
		uint64		look;

		shrink_with_error(answers);
		/* of the look before the error */
		look = known.look - 1;
		sound = sound && is_sound() && known.settled == 0;
		for (int i = 0; i < known.count; i++)
			if (known.generations[i].writers.count < 2 + i)
				marked = marked && GenerationsSince(&known, look) <=
					(i == 0 ? 1 : known.generations[i - 1].last + 1);
		GenerationsShrink(&known, has_ended);
		found = found && is_sound() && GenerationsSince(&known, look) == 1 &&
			known.count == 2 && known.generations[0].last == 20 &&
			known.generations[0].writers.count == 1 &&
			known.generations[1].writers.count == 2;
		ended[ids[0]] = ended[ids[3]] = true;
		GenerationsShrink(&known, has_ended);
		found = found && known.count == 0 && known.settled == 30;
	}
	ok(sound, "an error in a look leaves what is known sound");
	ok(marked, "who was left out before it has marked his numbers");
	ok(found, "the next look finds the rest");
}

int
main(int argc, char **argv)
{
	int			rounds = 300;
	uint64_t	seed = default_seed();

	if (argc > 1)
		rounds = (int) positive_argument(argv[1], "rounds");
	if (argc > 2)
		seed = (uint64_t) positive_argument(argv[2], "seed");
	start();
	note("%d rounds, seed %" PRIu64, rounds, seed);
	test_looks();
	test_one_long_writer();
	test_many_looks();
	test_no_writers();
	test_learn();
	test_error();
	test_random(rounds, seed);
	return finish();
}
