/*
 * choice.c
 *		Which partitions a batch tries to claim.
 *
 * Two rules see to it that nothing starves.
 *
 *	- Workers share groups of partitions out among them: group g is of the
 *	  worker whose rank is g modulo their number.  A worker that has nothing to do
 *	  helps with partitions that are far behind, of which nobody claims more
 *	  than his share at a time.
 *	- A batch reads from the lowest head of its partitions on.  One that is a
 *	  million events behind would keep those at the end of the stream waiting.
 *	  So only such as are near each other go together, and those that are
 *	  apart take turns.
 */
#include "postgres.h"

#include "position/choice.h"

/* The groups that are of this worker. */
static uint64
own_groups(const ChoiceRule *rule)
{
	uint64		groups = 0;

	if (rule->of == 0)
		return ~UINT64CONST(0);
	for (int group = rule->rank; group < GROUPS_MAX; group += rule->of)
		groups |= GroupBit(group);
	return groups;
}

/* Is it so far behind that any worker should help? */
static bool
is_far_behind(const ChoiceRule *rule, int64 last_number,
			  const PositionSet *set)
{
	return last_number - set->position.head > rule->window;
}

/* Has it something to look at? */
static bool
is_behind(int64 last_number, int64 gaps_from, const PositionSet *set)
{
	return set->position.head < last_number || SetHasGapsFrom(set, gaps_from);
}

/*
 * How many groups are so far behind that all workers should share them?
 * others: some of them are another worker's.
 */
int
GroupsFarBehind(const ChoiceRule *rule, int64 last_number,
				const PositionSets *sets, bool *others)
{
	uint64		far = 0;

	*others = false;
	for (int i = 0; i < sets->count && rule->of > 1; i++)
	{
		if (is_far_behind(rule, last_number, &sets->sets[i]))
			far |= sets->sets[i].groups;
	}
	if (far == 0)
		return 0;
	*others = (far & ~own_groups(rule)) != 0;
	return CountGroups(far);
}

/* The groups that the rule wants. */
PositionSets
GroupsFilter(const ChoiceRule *rule, int64 last_number,
			 const PositionSets *sets)
{
	PositionSets result;
	int			kept = 0;

	if (!rule->steal)
		return SetsClaimed(sets, own_groups(rule));
	result = SetsClaimed(sets, ~UINT64CONST(0));
	for (int i = 0; i < result.count; i++)
	{
		if (is_far_behind(rule, last_number, &result.sets[i]))
			result.sets[kept++] = result.sets[i];
	}
	result.count = kept;
	return result;
}

/*
 * Choose among those that GroupsFilter() has kept; nothing if there is nothing
 * to look at.  gaps_from: gaps from this number on have to be looked at again.
 */
PositionSets
GroupsChoose(const ChoiceRule *rule, int64 last_number, int64 gaps_from,
			 const PositionSets *sets)
{
	PositionSets result = {0};
	int			behind = 0;
	int			turn;
	int64		head = 0;

	for (int i = 0; i < sets->count; i++)
	{
		if (is_behind(last_number, gaps_from, &sets->sets[i]))
			behind++;
	}
	if (behind == 0)
		return result;

	turn = rule->start % behind;
	for (int i = 0; i < sets->count; i++)
	{
		if (!is_behind(last_number, gaps_from, &sets->sets[i]))
			continue;
		head = sets->sets[i].position.head;
		if (turn-- == 0)
			break;
	}
	result = SetsClaimed(sets, ~UINT64CONST(0));
	result.count = 0;
	for (int i = 0; i < sets->count; i++)
	{
		int64		apart = sets->sets[i].position.head - head;

		if (rule->window == 0 ||
			(apart <= rule->window && apart >= -rule->window))
			result.sets[result.count++] = sets->sets[i];
	}
	return result;
}
