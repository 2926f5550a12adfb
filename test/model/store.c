/*
 * store.c
 *		The model's stored positions: lanes, sets, blocks of old gaps.
 *
 * A batch reads a copy, and what it writes appears at once when it commits.
 * Each commit is checked: every group has one position, those of groups that
 * were not claimed are what they were, and all blocks that are named exist.
 */
#include "postgres.h"

#include "support.h"
#include "model.h"

Store		stored;

static uint64 last_place;
static uint32 last_writer;
static int64 highest_turn;

/* The id of a transaction, or subtransaction, that writes positions. */
uint32
store_new_writer(void)
{
	return ++last_writer;
}

/* Of a row that is written: behind all others. */
RowMark
store_new_mark(uint32 writer, int lane, int part, int64 version)
{
	return (RowMark)
	{
		.place = ++last_place,.writer = writer,.lane = lane,.part = part,
			.version = version
	};
}

static void
shuffle(uint64 *places, int count)
{
	for (int i = 1; i < count; i++)
	{
		int			other = random_below(i + 1);
		uint64		place = places[i];

		places[i] = places[other];
		places[other] = place;
	}
}

/*
 * VACUUM FULL: the same rows in other places.  Rows of a lane have one
 * another's; or all of them have the first places, where others have been.
 * Nobody has written rows that are not committed.
 */
void
store_rewrite(void)
{
	bool		first = random_chance(30);
	uint64		places[GROUPS * GROUPS];
	int			count = 0;

	for (int lane = 0; lane < GROUPS; lane++)
	{
		int			before = count;

		for (int i = 0; i < stored.lanes[lane].count; i++, count++)
			places[count] = first ? (uint64) count + 1 :
				stored.lanes[lane].sets[i].set.mark.place;
		if (!first)
			shuffle(&places[before], count - before);
	}
	if (first)
	{
		shuffle(places, count);
		last_place = count;
	}
	for (int lane = GROUPS - 1; lane >= 0; lane--)
		for (int i = stored.lanes[lane].count - 1; i >= 0; i--)
			stored.lanes[lane].sets[i].set.mark.place = places[--count];
}

PositionSets
store_resolve(const Store *store)
{
	PositionSet sets[GROUPS * GROUPS];
	int			count = 0;

	for (int lane = 0; lane < GROUPS; lane++)
		for (int i = 0; i < store->lanes[lane].count; i++)
			sets[count++] = store->lanes[lane].sets[i].set;
	return SetsResolve(sets, count);
}

/* The row that the set was read from. */
const StoredSet *
store_row(const Store *store, const PositionSet *set)
{
	const Lane *lane = &store->lanes[set->lane];

	for (int i = 0; i < lane->count; i++)
		if (SameRow(&lane->sets[i].set.mark, &set->mark))
			return &lane->sets[i];
	return NULL;
}

const Block *
store_block(const Store *store, int64 id)
{
	for (int i = 0; i < store->block_count; i++)
		if (store->blocks[i].id == id)
			return &store->blocks[i];
	return NULL;
}

NumberSet
store_old_gaps(const Store *store, const PositionSet *set)
{
	NumberSet	gaps = {0};

	for (int i = 0; i < set->old.blocks.count; i++)
		for (int64 id = set->old.blocks.ranges[i].first;
			 id <= set->old.blocks.ranges[i].last; id++)
		{
			const Block *block = store_block(store, id);

			if (block == NULL)
				broken = "a block that a set names is gone";
			else
				gaps = NumberSetUnion(&gaps, &block->gaps);
		}
	return gaps;
}

/* Begins anew: all groups at 0, in a version above those before. */
void
store_start(void)
{
	Lane	   *lane = &stored.lanes[0];

	memset(&stored, 0, sizeof(stored));
	lane->version = ++highest_turn;
	lane->count = 1;
	lane->sets[0].set.groups = AllGroups(GROUPS);
	lane->sets[0].set.turn = highest_turn;
	lane->sets[0].set.mark = store_new_mark(store_new_writer(), 0, 0,
											highest_turn);
}

static const PositionSet *
set_of(const PositionSets *sets, int group)
{
	for (int i = 0; i < sets->count; i++)
		if ((sets->sets[i].groups & GroupBit(group)) != 0)
			return &sets->sets[i];
	return NULL;
}

/* Is this group's position the only one of its turn? */
static bool
is_only_one(int group, int64 turn)
{
	int			count = 0;

	for (int lane = 0; lane < GROUPS; lane++)
		for (int i = 0; i < stored.lanes[lane].count; i++)
		{
			const PositionSet *set = &stored.lanes[lane].sets[i].set;

			count += (set->groups & GroupBit(group)) != 0 && set->turn == turn;
		}
	return count == 1;
}

static bool
is_sound(const PositionSet *set)
{
	const NumberSet *gaps = &set->position.gaps;
	NumberSet	old = store_old_gaps(&stored, set);

	if (!set_is_sound(gaps) || !set_is_sound(&set->old.blocks) ||
		NumberSetSize(&old) != set->old.size)
		return false;
	if (gaps->count > 0 && (gaps->ranges[0].first <= set->old.last ||
							gaps->ranges[gaps->count - 1].last > set->position.head))
		return false;
	return old.count == 0 ? set->old.first == 0 :
		old.ranges[0].first == set->old.first &&
		old.ranges[old.count - 1].last == set->old.last &&
		set->old.last <= set->position.head;
}

static bool
is_same(const PositionSet *a, const Store *store_a,
		const PositionSet *b, const Store *store_b)
{
	NumberSet	old_a = store_old_gaps(store_a, a);
	NumberSet	old_b = store_old_gaps(store_b, b);

	return a->position.head == b->position.head && a->turn == b->turn &&
		NumberSetEquals(&a->position.gaps, &b->position.gaps) &&
		NumberSetEquals(&old_a, &old_b);
}

static void
check_commit(const Store *before, uint64 claimed)
{
	PositionSets then = store_resolve(before);
	PositionSets now = store_resolve(&stored);

	for (int group = 0; group < GROUPS; group++)
	{
		const PositionSet *old = set_of(&then, group);
		const PositionSet *new = set_of(&now, group);

		if (old == NULL || new == NULL || !is_only_one(group, new->turn))
			broken = "a group has no position, or two";
		else if (!is_sound(new))
			broken = "a position is not sound";
		else if (new->turn < old->turn ||
				 new->position.head < old->position.head)
			broken = "a position went backwards";
		else if ((claimed & GroupBit(group)) == 0 &&
				 !is_same(old, before, new, &stored))
			broken = "a position has changed that was not claimed";
	}
}

static void
delete_block(Store *store, int64 id)
{
	for (int i = 0; i < store->block_count; i++)
		if (store->blocks[i].id == id)
		{
			store->blocks[i] = store->blocks[--store->block_count];
			return;
		}
	broken = "a block was deleted twice";
}

static void
add_block(Store *store, const Block *block)
{
	Assert(store->block_count < BLOCKS);
	if (store_block(store, block->id) != NULL)
		broken = "two blocks have the same id";
	store->blocks[store->block_count++] = *block;
}

/* What the store is after this change. */
void
store_apply(Store *store, const Change *change)
{
	for (int lane = 0; lane < GROUPS; lane++)
		if ((change->deleted_lanes & GroupBit(lane)) != 0)
			memset(&store->lanes[lane], 0, sizeof(Lane));
	for (int i = 0; i < change->deleted_count; i++)
		delete_block(store, change->deleted_blocks[i]);
	for (int i = 0; i < change->new_count; i++)
		add_block(store, &change->new_blocks[i]);
	store->parked = (store->parked & ~change->freed) | change->parked;
	if (change->lane < 0)
		return;
	if (change->version.version <= store->lanes[change->lane].version)
		broken = "the version of a lane went backwards";
	store->lanes[change->lane] = change->version;
}

void
store_commit(const Change *change)
{
	Store		before = stored;

	store_apply(&stored, change);
	highest_turn = Max(highest_turn, change->version.version);
	check_commit(&before, change->claimed);
}
