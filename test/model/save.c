/*
 * save.c
 *		What a batch of the model writes: sets, blocks of old gaps, and what
 *		it deletes.
 */
#include "postgres.h"

#include "support.h"
#include "consumer.h"

#define BLOCK_RANGES 2			/* in a block of old gaps */

/* The blocks that hold these gaps already, out of those that sets name. */
static void
keep_blocks(const Batch *batch, NumberSet *gaps, int64 last, OldGaps *old)
{
	for (int i = 0; i < batch->count; i++)
	{
		const NumberSet *ids = &batch->trips[i].before.old.blocks;

		for (int j = 0; j < ids->count; j++)
			for (int64 id = ids->ranges[j].first; id <= ids->ranges[j].last; id++)
			{
				const Block *block = store_block(&batch->consumer->view, id);
				int64		top = block == NULL ? PG_INT64_MAX :
					block->gaps.ranges[block->gaps.count - 1].last;
				NumberSet	one = {0};
				NumberSet	between;

				if (top > last)
					continue;
				between = NumberSetBetween(gaps, block->gaps.ranges[0].first, top);
				if (!NumberSetEquals(&between, &block->gaps))
					continue;
				NumberSetAppend(&one, id, id);
				old->blocks = NumberSetUnion(&old->blocks, &one);
				*gaps = NumberSetMinus(gaps, &block->gaps);
			}
	}
}

/* One more than the lane has, and than this batch has made. */
static int64
next_block(const Batch *batch, int lane)
{
	int64		id = IdOfBlock(lane, 0);

	for (int i = 0; i < batch->consumer->view.block_count; i++)
		if (LaneOfBlock(batch->consumer->view.blocks[i].id) == lane)
			id = Max(id, batch->consumer->view.blocks[i].id);
	for (int i = 0; i < batch->change.new_count; i++)
		id = Max(id, batch->change.new_blocks[i].id);
	return id + 1;
}

static void
make_blocks(Batch *batch, int lane, const NumberSet *gaps, OldGaps *old)
{
	for (int i = 0; i < gaps->count; i += BLOCK_RANGES)
	{
		Block	   *block = &batch->change.new_blocks[batch->change.new_count];
		NumberSet	one = {0};

		block->id = next_block(batch, lane);
		memset(&block->gaps, 0, sizeof(block->gaps));
		for (int j = i; j < Min(i + BLOCK_RANGES, gaps->count); j++)
			NumberSetAppend(&block->gaps, gaps->ranges[j].first,
							gaps->ranges[j].last);
		batch->change.new_count++;
		NumberSetAppend(&one, block->id, block->id);
		old->blocks = NumberSetUnion(&old->blocks, &one);
	}
}

/* Up to which number gaps are moved into blocks: any would do. */
static int64
old_until(const Batch *batch, const PositionSet *set)
{
	int			dice = random_below(100);
	int64		until = dice < 70 ? batch->consumer->oldest.last :
		dice < 85 ? random_below((int) set->position.head + 1) : 0;

	return Max(until, set->old.last);
}

/* Moves gaps of the set into blocks.  Has that made other old gaps of them? */
static bool
move_gaps(Batch *batch, int lane, PositionSet *set)
{
	int64		until = old_until(batch, set);
	NumberSet	gaps = NumberSetBetween(&set->position.gaps, 1, until);
	OldGaps    *old = &set->old;

	if (gaps.count == 0 ||
		batch->consumer->view.block_count + batch->change.new_count +
		gaps.count > BLOCKS / 4)
		return false;
	set->position.gaps = NumberSetBetween(&set->position.gaps, until + 1,
										  STEPS);
	if (old->size == 0)
		old->first = gaps.ranges[0].first;
	old->last = gaps.ranges[gaps.count - 1].last;
	old->size += NumberSetSize(&gaps);
	keep_blocks(batch, &gaps, until, old);
	make_blocks(batch, lane, &gaps, old);
	return true;
}

/*
 * Who may fill these old gaps, where all of them were looked at: those of the
 * oldest generation before the snapshot.
 */
static Writers
find_owners(const Batch *batch, const PositionSet *set, bool looked)
{
	const Consumer *consumer = batch->consumer;
	const Generations *known = &consumer->known;
	Writers		nobody = {0};

	if ((!looked && mutation != OWNERS_AFTER_CUT) || random_chance(15))
		return nobody;
	if (mutation == OWNERS_OF_SECOND_LOOK)
		return known->count > 0 &&
			known->generations[0].last >= set->old.last ?
			stream_unfinished(&known->generations[0].writers) : nobody;
	if (set->old.last > consumer->oldest.last && mutation != OWNERS_OF_YOUNGER)
		return nobody;
	return mutation == OWNERS_BEFORE_NUMBER ?
		consumer->early_owners : consumer->oldest.writers;
}

/* The set that this one has its old gaps of, as they were stored. */
static const Trip *
origin_of(const Batch *batch, const PositionSet *set)
{
	for (int i = 0; i < batch->count; i++)
	{
		const Trip *trip = &batch->trips[i];

		if ((trip->before.groups & set->groups) != 0 &&
			SameRow(&trip->now.mark, &set->mark))
			return trip;
	}
	return NULL;
}

static StoredSet *
new_row(Lane *version)
{
	return &version->sets[version->count++];
}

static RowMark
mark_of(const Batch *batch, const StoredSet *row)
{
	const Lane *version = &batch->change.version;

	return store_new_mark(batch->consumer->writer, batch->change.lane,
						  (int) (row - version->sets), version->version);
}

static void
add_set(Batch *batch, const PositionSet *joined)
{
	Lane	   *version = &batch->change.version;
	StoredSet  *row = new_row(version);
	const Trip *origin = origin_of(batch, joined);
	const Look *look = consumer_look(batch->consumer, &origin->before);
	uint64		now = mutation == SECOND_LOOK_REMEMBERED ?
		batch->consumer->known.look : batch->consumer->look;

	row->set = *joined;
	row->set.lane = batch->change.lane;
	row->set.turn = version->version;
	row->set.mark = mark_of(batch, row);
	memset(&row->owners, 0, sizeof(row->owners));
	if (move_gaps(batch, batch->change.lane, &row->set))
		row->owners = find_owners(batch, &row->set, origin->looked);
	else if (row->set.old.size > 0)
		row->owners = store_row(&batch->consumer->view,
								&origin->before)->owners;

	if (origin->looked || mutation == CUT_LOOK_REMEMBERED)
		consumer_remember(batch->consumer, &row->set, now);
	else if (look != NULL)
		consumer_remember(batch->consumer, &row->set, look->look);
}

static void
carry_set(Batch *batch, const PositionSet *carried)
{
	Lane	   *version = &batch->change.version;
	const StoredSet *from = store_row(&batch->consumer->view, carried);
	StoredSet  *row = new_row(version);
	const Look *look = consumer_look(batch->consumer, carried);

	*row = *from;
	row->set.groups = carried->groups;
	row->set.mark = mark_of(batch, row);
	if (look != NULL)
		consumer_remember(batch->consumer, &row->set, look->look);
}

/* Where nothing has changed nothing need be saved, but much was looked at. */
static bool
may_stay(const Batch *batch, const Trip *trip)
{
	NumberSet	old = store_old_gaps(&batch->consumer->view, &trip->now);
	NumberSet	gaps = NumberSetUnion(&old, &trip->now.position.gaps);

	return trip->now.position.head == trip->full.head &&
		NumberSetEquals(&gaps, &trip->full.gaps);
}

/* The sets that still count after this batch, those that it saves left out. */
static PositionSets
sets_left(const Batch *batch, uint64 saved)
{
	return SetsClaimed(&batch->consumer->all, ~saved);
}

static void
delete_lanes(Batch *batch, uint64 saved)
{
	PositionSets left = sets_left(batch, saved);

	for (int lane = 0; lane < GROUPS; lane++)
	{
		bool		counts = false;

		for (int i = 0; i < left.count; i++)
			counts = counts || left.sets[i].lane == lane;
		if ((batch->consumer->claimed & GroupBit(lane)) != 0 &&
			lane != batch->change.lane && random_chance(50) &&
			(!counts || mutation == COUNTING_LANE_DELETED))
			batch->change.deleted_lanes |= GroupBit(lane);
	}
}

static bool
is_named(const Batch *batch, int64 id, uint64 saved)
{
	const Lane *version = &batch->change.version;
	PositionSets left = sets_left(batch, saved);

	for (int i = 0; i < version->count; i++)
		if (NumberSetContains(&version->sets[i].set.old.blocks, id))
			return true;
	for (int i = 0; i < left.count; i++)
		if (NumberSetContains(&left.sets[i].old.blocks, id) &&
			mutation != NAMED_BLOCK_DELETED)
			return true;
	return false;
}

static void
delete_blocks(Batch *batch, uint64 saved)
{
	const Store *view = &batch->consumer->view;

	for (int i = 0; i < view->block_count; i++)
	{
		int64		id = view->blocks[i].id;

		if ((batch->consumer->claimed & GroupBit(LaneOfBlock(id))) != 0 &&
			random_chance(70) && !is_named(batch, id, saved))
			batch->change.deleted_blocks[batch->change.deleted_count++] = id;
	}
}

/* The sets that are saved, joined where they have come to the same. */
static PositionSets
sets_to_save(Batch *batch)
{
	PositionSets before = {.sets = palloc(GROUPS * sizeof(PositionSet))};
	PositionSets after = {.sets = palloc(GROUPS * sizeof(PositionSet))};
	ReadReport	told = batch->report;

	for (int i = 0; i < batch->count; i++)
	{
		Trip	   *trip = &batch->trips[i];

		if (!batch->final && may_stay(batch, trip) && random_chance(50))
		{
			if (trip->looked)
				consumer_remember(batch->consumer, &trip->before,
								  batch->consumer->look);
			continue;
		}
		before.sets[before.count++] = trip->before;
		after.sets[after.count++] = trip->now;
	}
	if (mutation == JOINED_AFTER_CUT)
		told.whole = true;
	return batch->left_out ? after : SetsJoin(&before, &after, &told);
}

void
batch_save(Batch *batch)
{
	Consumer   *consumer = batch->consumer;
	Change	   *change = &batch->change;
	PositionSets sets = sets_to_save(batch);
	uint64		saved = SetsGroups(&sets);
	int64		last;
	PositionSets carried;

	change->claimed = consumer->claimed;
	change->lane = -1;
	if (sets.count > 0)
	{
		change->lane = LowestGroup(consumer->claimed);
		last = consumer->view.lanes[change->lane].version;
		change->version.version = mutation == TURN_TOO_LOW ? last + 1 :
			Max(last + 1, SetsTurn(&consumer->all, saved));
		for (int i = 0; i < sets.count; i++)
			add_set(batch, &sets.sets[i]);
		carried = SetsCarried(&consumer->all, change->lane, saved);
		for (int i = 0; i < carried.count && mutation != CARRIED_DROPPED; i++)
			carry_set(batch, &carried.sets[i]);
	}
	if (batch->final && sets.count != 1)
		broken = "all is read, and sets have not become one";
	delete_lanes(batch, saved);
	delete_blocks(batch, saved);
	parked_save(batch, saved);
}
