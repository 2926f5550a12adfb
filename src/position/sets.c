/*
 * sets.c
 *		The arithmetic of sets of groups.
 *
 * Owns the rule by which a group's position is found (the highest turn), what
 * must be carried over when a lane is written, and when two sets become one.
 *
 * Must not touch catalogs, clocks or locks: test/model compiles this file by
 * itself.
 */
#include "postgres.h"

#include "position/sets.h"

/* Into how many groups so many partitions fall. */
int
GroupsOf(int partitions)
{
	return Min(partitions, GROUPS_MAX);
}

/* The set of all of so many groups. */
uint64
AllGroups(int groups)
{
	return groups == GROUPS_MAX ? ~UINT64CONST(0) : GroupBit(groups) - 1;
}

/* The lowest group of a set that is not empty. */
int
LowestGroup(uint64 groups)
{
	int			group = 0;

	Assert(groups != 0);
	while ((groups & GroupBit(group)) == 0)
		group++;
	return group;
}

int
CountGroups(uint64 groups)
{
	int			count = 0;

	for (; groups != 0; groups &= groups - 1)
		count++;
	return count;
}

/* How many of a projection's partitions are of these groups? */
int
PartitionsOf(uint64 groups, int partitions)
{
	int			of = GroupsOf(partitions);
	int			count = 0;

	for (int i = 0; i < of; i++)
	{
		if (groups & GroupBit(i))
			count += partitions / of + (i < partitions % of ? 1 : 0);
	}
	return count;
}

/* So many groups are of at most so many partitions, but at least one. */
int
GroupsAtMost(int partitions, int at_most)
{
	int			groups = GroupsOf(partitions);

	return Max((int64) Min(at_most, partitions) * groups / partitions, 1);
}

bool
SameRow(const RowMark *a, const RowMark *b)
{
	return a->place == b->place && a->writer == b->writer &&
		a->lane == b->lane && a->part == b->part && a->version == b->version;
}

/* Do two sets of the same groups say the same? */
bool
SameSet(const PositionSet *a, const PositionSet *b)
{
	return a->position.head == b->position.head &&
		NumberSetEquals(&a->position.gaps, &b->position.gaps) &&
		NumberSetEquals(&a->old.blocks, &b->old.blocks);
}

bool
SameOwners(const Owners *a, const Owners *b)
{
	if (a->count != b->count)
		return false;
	for (int i = 0; i < a->count; i++)
	{
		if (a->ids[i] != b->ids[i])
			return false;
	}
	return true;
}

/*
 * Has the read looked at all gaps that this position had, or knows that they
 * are not filled?
 */
bool
PositionLooked(const Position *before, const ReadReport *report)
{
	return report->whole || report->last >= before->head;
}

/* Is a gap of the set this number or above? */
bool
SetHasGapsFrom(const PositionSet *set, int64 number)
{
	const NumberSet *gaps = &set->position.gaps;

	return gaps->count > 0 ? gaps->ranges[gaps->count - 1].last >= number :
		set->old.size > 0 && set->old.last >= number;
}

/*
 * From what is stored to what counts: each set keeps the groups of which no
 * other set with a higher turn has a position.  Sets without any are left out.
 */
PositionSets
SetsResolve(const PositionSet *stored, int count)
{
	const PositionSet *newest[GROUPS_MAX] = {0};
	PositionSets result = {0};

	for (int i = 0; i < count; i++)
	{
		for (int group = 0; group < GROUPS_MAX; group++)
		{
			if ((stored[i].groups & GroupBit(group)) != 0 &&
				(newest[group] == NULL || newest[group]->turn < stored[i].turn))
				newest[group] = &stored[i];
		}
	}
	result.sets = palloc(Max(count, 1) * sizeof(PositionSet));
	for (int i = 0; i < count; i++)
	{
		PositionSet set = stored[i];

		set.groups = 0;
		for (int group = 0; group < GROUPS_MAX; group++)
		{
			if (newest[group] == &stored[i])
				set.groups |= GroupBit(group);
		}
		if (set.groups != 0)
			result.sets[result.count++] = set;
	}
	return result;
}

/* All groups that have a position. */
uint64
SetsGroups(const PositionSets *sets)
{
	uint64		groups = 0;

	for (int i = 0; i < sets->count; i++)
		groups |= sets->sets[i].groups;
	return groups;
}

/* The sets, each with the claimed of its groups only. */
PositionSets
SetsClaimed(const PositionSets *sets, uint64 claimed)
{
	PositionSets result = {0};

	result.sets = palloc(Max(sets->count, 1) * sizeof(PositionSet));
	for (int i = 0; i < sets->count; i++)
	{
		PositionSet set = sets->sets[i];

		set.groups &= claimed;
		if (set.groups != 0)
			result.sets[result.count++] = set;
	}
	return result;
}

/*
 * What the next version of this lane must hold beside the groups that are
 * saved in it: its sets, as far as their groups are not.
 */
PositionSets
SetsCarried(const PositionSets *sets, int lane, uint64 saved)
{
	PositionSets result = SetsClaimed(sets, ~saved);
	int			kept = 0;

	for (int i = 0; i < result.count; i++)
	{
		if (result.sets[i].lane == lane)
			result.sets[kept++] = result.sets[i];
	}
	result.count = kept;
	return result;
}

/* A turn above those that these groups have. */
int64
SetsTurn(const PositionSets *sets, uint64 saved)
{
	int64		turn = 0;

	for (int i = 0; i < sets->count; i++)
	{
		if ((sets->sets[i].groups & saved) != 0)
			turn = Max(turn, sets->sets[i].turn);
	}
	return turn + 1;
}

/* The fewest gaps to be written, and to be looked at again. */
static bool
is_better(const PositionSet *a, const PositionSet *b)
{
	return a->old.size + NumberSetSize(&a->position.gaps) <
		b->old.size + NumberSetSize(&b->position.gaps);
}

/*
 * Join sets that a read has taken to the same position; before and after
 * speak of the same sets, in the same order.  Sets whose heads are the same
 * then differ in dead numbers only, if all gaps were looked at, so either
 * position is exact for both.
 */
PositionSets
SetsJoin(const PositionSets *before, const PositionSets *after,
		 const ReadReport *report)
{
	PositionSets result = {0};
	bool		looked[GROUPS_MAX] = {0};

	Assert(after->count <= GROUPS_MAX);
	result.sets = palloc(Max(after->count, 1) * sizeof(PositionSet));
	for (int i = 0; i < after->count; i++)
	{
		const PositionSet *set = &after->sets[i];
		PositionSet joined = *set;
		int			j = 0;

		looked[result.count] = PositionLooked(&before->sets[i].position, report);
		while (j < result.count &&
			   !(looked[j] && looked[result.count] &&
				 result.sets[j].position.head == set->position.head))
			j++;
		if (j < result.count)
		{
			if (is_better(&result.sets[j], set))
				joined = result.sets[j];
			joined.groups = result.sets[j].groups | set->groups;
		}
		else
			result.count++;
		result.sets[j] = joined;
	}
	return result;
}
