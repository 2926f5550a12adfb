/*
 * sets_test.c
 *		The arithmetic of sets of groups, held against a naive oracle.
 *
 *		sets_test [rounds [seed]]
 *
 * The oracle knows each group by itself.
 */
#include "postgres.h"

#include <inttypes.h>

#include "support.h"
#include "position/sets.h"

#define STORED 12				/* sets, in a random round */

static PositionSet stored[STORED];
static int	stored_count;

static void
random_sets(void)
{
	int			order[STORED];

	/* turns in any order, none of them twice */
	for (int i = 0; i < STORED; i++)
		order[i] = i + 1;
	for (int i = STORED - 1; i > 0; i--)
	{
		int			j = random_below(i + 1);
		int			turn = order[i];

		order[i] = order[j];
		order[j] = turn;
	}
	stored_count = random_below(STORED + 1);
	memset(stored, 0, sizeof(stored));
	for (int i = 0; i < stored_count; i++)
	{
		stored[i].groups = random_bits() & random_bits();
		stored[i].lane = random_below(4);
		stored[i].turn = order[i];
		stored[i].position.head = i;	/* tells which one it is */
	}
}

/* The stored set that counts for the group, or -1. */
static int
counts_for(int group)
{
	int			best = -1;

	for (int i = 0; i < stored_count; i++)
		if ((stored[i].groups >> group & 1) != 0 &&
			(best < 0 || stored[i].turn > stored[best].turn))
			best = i;
	return best;
}

/* Has each group that is chosen the set that counts, and no other one any? */
static bool
is_what_counts(const PositionSets *sets, uint64 chosen, int lane)
{
	for (int i = 0; i < sets->count; i++)
		if (sets->sets[i].groups == 0)
			return false;
	for (int group = 0; group < GROUPS_MAX; group++)
	{
		int			expected = counts_for(group);
		int			found = -1;

		if ((chosen >> group & 1) == 0 ||
			(expected >= 0 && lane >= 0 && stored[expected].lane != lane))
			expected = -1;
		for (int i = 0; i < sets->count; i++)
		{
			if ((sets->sets[i].groups >> group & 1) == 0)
				continue;
			if (found >= 0)
				return false;
			found = (int) sets->sets[i].position.head;
		}
		if (found != expected)
			return false;
	}
	return true;
}

static bool
random_round(void)
{
	uint64		chosen = random_bits() & random_bits();
	int			lane = random_below(4);
	int64		turn = 0;
	uint64		all = 0;
	PositionSets sets;
	PositionSets claimed;
	PositionSets carried;

	random_sets();
	for (int group = 0; group < GROUPS_MAX; group++)
	{
		int			counts = counts_for(group);

		if (counts < 0)
			continue;
		all |= GroupBit(group);
		if ((chosen & GroupBit(group)) != 0)
			turn = Max(turn, stored[counts].turn);
	}
	sets = SetsResolve(stored, stored_count);
	claimed = SetsClaimed(&sets, chosen);
	carried = SetsCarried(&sets, lane, chosen);
	return SetsGroups(&sets) == all &&
		is_what_counts(&sets, ~UINT64CONST(0), -1) &&
		is_what_counts(&claimed, chosen, -1) &&
		is_what_counts(&carried, ~chosen, lane) &&
		SetsTurn(&sets, chosen) == turn + 1;
}

static void
test_random(int rounds, uint64_t seed)
{
	int			good = 0;

	for (int i = 0; i < rounds; i++)
	{
		arena_reset();
		random_start(seed + i);
		random_step(1);
		if (random_round())
			good++;
		else
			note_step();
	}
	ok(good == rounds, "random sets: %d of %d are as the oracle says", good,
	   rounds);
}

static void
test_groups(void)
{
	bool		good = true;

	ok(GroupsOf(1) == 1 && GroupsOf(64) == 64 && GroupsOf(65) == 64 &&
	   GroupsOf(1024) == 64, "as many groups as partitions, up to 64");
	ok(PartitionsOf(AllGroups(64), 1024) == 1024 &&
	   PartitionsOf(AllGroups(64), 100) == 100 &&
	   PartitionsOf(1, 100) == 2 && PartitionsOf(GroupBit(63), 100) == 1 &&
	   PartitionsOf(5, 16) == 2, "how many partitions are of some groups");
	ok(AllGroups(1) == 1 && AllGroups(5) == 31 &&
	   AllGroups(63) == ~UINT64CONST(0) >> 1 &&
	   AllGroups(64) == ~UINT64CONST(0),
	   "all of them");
	for (int group = 0; group < GROUPS_MAX; group++)
		good = good && LowestGroup(GroupBit(group)) == group &&
			LowestGroup(~UINT64CONST(0) << group) == group;
	ok(good, "the lowest of them");
	ok(GroupOf(0, 5) == 0 && GroupOf(4, 5) == 4 && GroupOf(5, 5) == 0,
	   "which one a partition is of");
}

/* A set of one group. */
static PositionSet
one_set(int group, int64 head, int gaps, int64 old)
{
	PositionSet set = {.groups = GroupBit(group),.lane = group,.turn = 1};

	set.position.head = head;
	for (int i = 0; i < gaps; i++)
		NumberSetAppend(&set.position.gaps, 2 * i + 1, 2 * i + 1);
	set.old.size = old;
	return set;
}

/*
 * What becomes of two sets with these heads, after a read up to this number:
 * the first one, the second one, or both.
 */
static int
join_two(PositionSet a, PositionSet b, int64 last, bool whole, int64 settled)
{
	PositionSet before[2] = {a, b};
	PositionSet after[2] = {a, b};
	ReadReport	report = {
		.from = 1,.last = last,.whole = whole,.settled = settled
	};
	PositionSets then = {.count = 2,.sets = before};
	PositionSets now = {.count = 2,.sets = after};
	PositionSets joined;

	for (int i = 0; i < 2; i++)
	{
		after[i].position.head = Max(before[i].position.head, last);
		if (whole)
			after[i].position.head = Max(after[i].position.head, settled);
	}
	joined = SetsJoin(&then, &now, &report);
	if (joined.count == 2)
		return joined.sets[0].groups == a.groups &&
			joined.sets[1].groups == b.groups ? 0 : -1;
	if (joined.sets[0].groups != (a.groups | b.groups))
		return -1;
	return joined.sets[0].lane == a.lane ? 1 : 2;
}

static void
test_join(void)
{
	enum
	{
		BOTH, FIRST, SECOND
	};
	PositionSet a = one_set(0, 10, 1, 0);
	PositionSet b = one_set(1, 20, 2, 0);
	PositionSet same = one_set(1, 10, 2, 0);

	ok(join_two(a, b, 30, true, 0) == FIRST, "all is read: the fewest gaps");
	ok(join_two(b, a, 30, true, 0) == SECOND, "in any order");
	ok(join_two(a, b, 30, false, 0) == FIRST, "read above both heads");
	ok(join_two(a, b, 20, false, 0) == FIRST, "up to the higher head");
	ok(join_two(a, b, 19, false, 0) == BOTH, "not up to it");
	ok(join_two(a, same, 9, false, 0) == BOTH, "the same head, but not all "
	   "gaps were looked at");
	ok(join_two(a, b, 0, true, 0) == BOTH, "nothing there, nothing settled: "
	   "the heads stay");
	ok(join_two(a, b, 0, true, 20) == FIRST, "all is settled");
	a.old.size = 5;
	ok(join_two(a, b, 30, true, 0) == SECOND, "old gaps count first");
	b.old.size = 5;
	ok(join_two(a, b, 30, true, 0) == FIRST, "if they are as many, the others");
}

/* Sets that were looked at become one, and the one that was not stays. */
static void
test_join_three(void)
{
	PositionSet before[3];
	PositionSet after[3];
	ReadReport	report = {.from = 1,.last = 20};
	PositionSets then = {.count = 3,.sets = before};
	PositionSets now = {.count = 3,.sets = after};
	PositionSets joined;

	before[0] = after[0] = one_set(0, 30, 1, 0);
	before[1] = after[1] = one_set(1, 20, 2, 0);
	before[2] = after[2] = one_set(2, 10, 3, 0);
	after[2].position.head = 20;
	joined = SetsJoin(&then, &now, &report);
	ok(joined.count == 2 && joined.sets[0].groups == 1 &&
	   joined.sets[1].groups == 6 && joined.sets[1].position.gaps.count == 2,
	   "three sets: one was not looked at, two are one");
	now.count = then.count = 0;
	ok(SetsJoin(&then, &now, &report).count == 0, "no sets");
}

int
main(int argc, char **argv)
{
	int			rounds = 2000;
	uint64_t	seed = default_seed();

	if (argc > 1)
		rounds = (int) positive_argument(argv[1], "rounds");
	if (argc > 2)
		seed = (uint64_t) positive_argument(argv[2], "seed");
	start();
	note("%d rounds, seed %" PRIu64, rounds, seed);
	test_groups();
	test_join();
	test_join_three();
	test_random(rounds, seed);
	return finish();
}
