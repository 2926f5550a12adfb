/*
 * oldgaps.c
 *		Gaps that are seldom looked at, in blocks of their own.
 *
 * Under a writer who goes on for long, dead numbers stay gaps until he ends.  A
 * batch must neither read nor write them all.  So a set's row holds the latest
 * few; the others stand in blocks, which the row names by their ids.  A
 * block is never changed: sets that were one may name the same.
 *
 * A block's id has the lane in which it was made, so that two who make blocks
 * at once do not make the same.  Who drops a block's name from his sets deletes
 * the block, when no other set names it: nobody else can come to name it, as
 * sets get ids only from the sets that they were, or from blocks that they make.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "numberset.h"
#include "position/oldgaps.h"
#include "remember.h"

/* ranges in a block; and in a set's row, before the oldest become a block */
#define BLOCK_RANGES 16
#define ROW_RANGES (2 * BLOCK_RANGES)

/* so many ranges of ids a row names; rather than more, blocks are made anew */
#define ID_RANGES 16

/* an id is the lane, and within it a number that rises */
#define LANE_BITS 57
#define FIRST_ID(lane) ((int64) (lane) << LANE_BITS)
#define LAST_ID(lane) (FIRST_ID(lane) | ((INT64CONST(1) << LANE_BITS) - 1))

/* so many are read by who only looks whether all is well */
#define FEW_BLOCKS 100

/* where no block is left, ids go on above those of all versions before */
#define IDS_PER_VERSION 4096

void
OldGapsDrop(const Projection *projection)
{
	CatalogDelete(OLD_GAPS_CATALOG, projection->name);
}

/* Reading */

/* Scan the blocks of these ids. */
static SysScanDesc
scan_blocks(Relation catalog, const char *projection, int64 first, int64 last,
			Snapshot snapshot)
{
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], OLD_GAPS_CATALOG_PROJECTION, BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(projection));
	ScanKeyInit(&keys[1], OLD_GAPS_CATALOG_BLOCK,
				BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&keys[2], OLD_GAPS_CATALOG_BLOCK,
				BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	return systable_beginscan(catalog, CatalogPrimaryKey(catalog), true,
							  snapshot, 3, keys);
}

/* Blocks as they were read, in any order. */
typedef struct ReadBlocks
{
	int			count;
	int			size;
	OldBlock   *blocks;
	int			range_count;
	int			range_size;
	NumberRange *ranges;		/* theirs, one block after the other */
} ReadBlocks;

/* Add a block; false if it is damaged.  Memory context: reset afterwards. */
static bool
add_block(Relation catalog, HeapTuple tuple, int64 last, ReadBlocks *read)
{
	Datum		values[OLD_GAPS_CATALOG_NATTS];
	bool		nulls[OLD_GAPS_CATALOG_NATTS];
	NumberSet	gaps = {0};
	OldBlock   *block;

	if (CatalogDeformDamaged(catalog, tuple, values, nulls) != NULL ||
		!NumberSetFromDatum(values[OLD_GAPS_CATALOG_GAPS - 1], last, &gaps) ||
		gaps.count == 0)
		return false;
	if (read->count == read->size)
	{
		read->size *= 2;
		read->blocks = repalloc_huge(read->blocks,
									 read->size * sizeof(OldBlock));
	}
	while (read->range_count + gaps.count > read->range_size)
	{
		read->range_size *= 2;
		read->ranges = repalloc_huge(read->ranges,
									 read->range_size * sizeof(NumberRange));
	}
	block = &read->blocks[read->count++];
	block->id = DatumGetInt64(values[OLD_GAPS_CATALOG_BLOCK - 1]);
	block->first = read->range_count;
	block->count = gaps.count;
	memcpy(&read->ranges[read->range_count], gaps.ranges,
		   gaps.count * sizeof(NumberRange));
	read->range_count += gaps.count;
	return true;
}

/* Read the blocks of these ids; false if some are damaged or missing. */
static bool
read_blocks(const Projection *projection, Snapshot snapshot,
			const OldGaps *old, ReadBlocks *read)
{
	Relation	catalog = CatalogOpen(OLD_GAPS_CATALOG, AccessShareLock);
	MemoryContext one = AllocSetContextCreate(CurrentMemoryContext,
											  "wallet_projection block",
											  ALLOCSET_SMALL_SIZES);
	bool		good = true;

	read->size = 16;
	read->blocks = palloc_array(OldBlock, read->size);
	read->range_size = 16 * BLOCK_RANGES;
	read->ranges = palloc_array(NumberRange, read->range_size);
	for (int i = 0; i < old->blocks.count && good; i++)
	{
		SysScanDesc scan = scan_blocks(catalog, projection->name,
									   old->blocks.ranges[i].first,
									   old->blocks.ranges[i].last, snapshot);
		HeapTuple	tuple;

		while (good && HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			MemoryContext context = MemoryContextSwitchTo(one);

			CHECK_FOR_INTERRUPTS();
			good = add_block(catalog, tuple, old->last, read);
			MemoryContextSwitchTo(context);
			MemoryContextReset(one);
		}
		systable_endscan(scan);
	}
	MemoryContextDelete(one);
	table_close(catalog, NoLock);
	return good && read->count == NumberSetSize(&old->blocks);
}

/* qsort_arg comparator, by their first numbers */
static int
compare_blocks(const void *a, const void *b, void *arg)
{
	const NumberRange *ranges = arg;
	int64		x = ranges[((const OldBlock *) a)->first].first;
	int64		y = ranges[((const OldBlock *) b)->first].first;

	return x < y ? -1 : x > y;
}

/* Put them together, in order of their numbers; false if they do not fit. */
static bool
put_together(const OldGaps *old, const ReadBlocks *read, LoadedGaps *loaded)
{
	NumberSet  *gaps = &loaded->gaps;

	qsort_arg(read->blocks, read->count, sizeof(OldBlock), compare_blocks,
			  read->ranges);
	loaded->count = read->count;
	loaded->blocks = palloc_extended(Max(read->count, 1) * sizeof(OldBlock),
									 MCXT_ALLOC_HUGE);
	gaps->capacity = Max(read->range_count, 1);
	gaps->ranges = palloc_extended(gaps->capacity * sizeof(NumberRange),
								   MCXT_ALLOC_HUGE);
	for (int i = 0; i < read->count; i++)
	{
		OldBlock   *block = &loaded->blocks[i];
		const NumberRange *ranges = &read->ranges[read->blocks[i].first];

		*block = read->blocks[i];
		block->first = gaps->count;
		if (gaps->count > 0 &&
			ranges[0].first <= gaps->ranges[gaps->count - 1].last + 1)
			return false;
		memcpy(&gaps->ranges[gaps->count], ranges,
			   block->count * sizeof(NumberRange));
		gaps->count += block->count;
	}
	return gaps->count > 0 && gaps->ranges[0].first == old->first &&
		gaps->ranges[gaps->count - 1].last == old->last &&
		NumberSetSize(gaps) == old->size;
}

/* Read the old gaps of a set, which has some. */
static bool
find_old(const Projection *projection, Snapshot snapshot, const OldGaps *old,
		 LoadedGaps *loaded)
{
	ReadBlocks	read = {0};
	bool		good = read_blocks(projection, snapshot, old, &read) &&
		put_together(old, &read, loaded);

	pfree(read.blocks);
	pfree(read.ranges);
	return good;
}

/* All gaps of a set; false if they are damaged. */
bool
OldGapsFind(const Projection *projection, Snapshot snapshot,
			const PositionSet *set, NumberSet *gaps)
{
	LoadedGaps	loaded = {0};

	*gaps = set->position.gaps;
	if (set->old.size == 0)
		return true;
	if (!find_old(projection, snapshot, &set->old, &loaded))
		return false;
	*gaps = NumberSetUnion(&loaded.gaps, &set->position.gaps);
	return true;
}

static CatalogDamage *
damage_of(const Projection *projection)
{
	CatalogDamage *damage = palloc(sizeof(CatalogDamage));

	damage->table = OLD_GAPS_CATALOG;
	damage->detail = psprintf("Blocks of projection \"%s\" are missing, or not what its positions say.",
							  projection->name);
	return damage;
}

/*
 * What is wrong with the old gaps of these positions; NULL: nothing, or they
 * are too many to be read for that.
 */
CatalogDamage *
OldGapsDamage(const Projection *projection, Snapshot snapshot,
			  const Positions *positions)
{
	for (int i = 0; i < positions->sets.count; i++)
	{
		const PositionSet *set = &positions->sets.sets[i];
		NumberSet	gaps;

		if (NumberSetSize(&set->old.blocks) <= FEW_BLOCKS &&
			!OldGapsFind(projection, snapshot, set, &gaps))
			return damage_of(projection);
	}
	return NULL;
}

/* All gaps of a set that was read under this snapshot. */
NumberSet
OldGapsRead(const Projection *projection, Snapshot snapshot,
			const PositionSet *set)
{
	NumberSet	gaps;

	if (!OldGapsFind(projection, snapshot, set, &gaps))
		CatalogRaise(damage_of(projection));
	return gaps;
}

/* Read the old gaps of a claimed set: from now on they are its position's. */
void
OldGapsLoad(const Projection *projection, PositionSet *set)
{
	LoadedGaps *loaded;
	Snapshot	snapshot;

	if (set->old.size == 0)
		return;
	loaded = palloc0(sizeof(LoadedGaps));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find_old(projection, snapshot, &set->old, loaded))
		CatalogRaise(damage_of(projection));
	UnregisterSnapshot(snapshot);
	set->loaded = loaded;
	set->position.gaps = NumberSetUnion(&loaded->gaps, &set->position.gaps);
	memset(&set->old, 0, sizeof(OldGaps));
}

/* Writing */

typedef struct BlockWriter
{
	const Projection *projection;
	Relation	catalog;
	CatalogIndexState indexes;
	MemoryContext one;			/* of one block */
	int64		next_id;
} BlockWriter;

static void
name_block(OldGaps *old, int64 id, const NumberRange *ranges, int count)
{
	NumberSet	one = {0};

	NumberSetAppend(&one, id, id);
	if (old->blocks.count > 0 &&
		old->blocks.ranges[old->blocks.count - 1].last < id)
		NumberSetAppend(&old->blocks, id, id);
	else
		old->blocks = NumberSetUnion(&old->blocks, &one);
	if (old->size == 0 || ranges[0].first < old->first)
		old->first = ranges[0].first;
	old->last = Max(old->last, ranges[count - 1].last);
	for (int i = 0; i < count; i++)
		old->size += ranges[i].last - ranges[i].first + 1;
}

/* Make a block of these ranges. */
static void
write_block(BlockWriter *writer, OldGaps *old, NumberRange *ranges, int count)
{
	NumberSet	gaps = {.count = count,.capacity = count,.ranges = ranges};
	Datum		values[OLD_GAPS_CATALOG_NATTS];
	bool		nulls[OLD_GAPS_CATALOG_NATTS] = {0};
	int64		id = writer->next_id++;
	MemoryContext context = MemoryContextSwitchTo(writer->one);
	HeapTuple	tuple;

	values[OLD_GAPS_CATALOG_PROJECTION - 1] = CStringGetTextDatum(writer->projection->name);
	values[OLD_GAPS_CATALOG_BLOCK - 1] = Int64GetDatum(id);
	values[OLD_GAPS_CATALOG_GAPS - 1] = NumberSetToDatum(&gaps);
	tuple = heap_form_tuple(RelationGetDescr(writer->catalog), values, nulls);
	CatalogTupleInsertWithInfo(writer->catalog, tuple, writer->indexes);
	MemoryContextSwitchTo(context);
	MemoryContextReset(writer->one);
	name_block(old, id, ranges, count);
}

/*
 * The blocks that were read and still say what is true are kept, as long as
 * their ids are not too scattered; what is left of the others is written anew.  Returns how many of the gaps that were
 * read are left.
 */
static int
store_loaded(BlockWriter *writer, PositionSet *set)
{
	const LoadedGaps *loaded = set->loaded;
	NumberRange *ranges = set->position.gaps.ranges;
	int			count = set->position.gaps.count;
	int			at = 0;

	for (int i = 0; i < loaded->count; i++)
	{
		const OldBlock *block = &loaded->blocks[i];
		const NumberRange *was = &loaded->gaps.ranges[block->first];
		int			begin = at;

		CHECK_FOR_INTERRUPTS();
		while (at < count && ranges[at].last <= was[block->count - 1].last)
			at++;
		if (set->old.blocks.count < ID_RANGES && at - begin == block->count &&
			memcmp(&ranges[begin], was, block->count * sizeof(NumberRange)) == 0)
			name_block(&set->old, block->id, was, block->count);
		else if (at > begin)
			write_block(writer, &set->old, &ranges[begin], at - begin);
	}
	return at;
}

/* Few are left: they may stand in the row again. */
static bool
fits_row(const PositionSet *set)
{
	return set->position.gaps.count <= ROW_RANGES;
}

/*
 * Put the oldest gaps of a set, as long as they are not above this number, into
 * blocks, and say who may fill those.
 */
static void
store_set(BlockWriter *writer, PositionSet *set, int64 oldest,
		  const Owners *owners)
{
	static const Owners nobody = {0};
	NumberSet  *gaps = &set->position.gaps;
	bool		changed = set->loaded != NULL;
	int			done = 0;

	if (fits_row(set))
	{
		set->loaded = NULL;
		return;
	}
	/* sets that were split share theirs */
	set->old.blocks = NumberSetCopy(&set->old.blocks);
	if (set->loaded != NULL)
		done = store_loaded(writer, set);
	while (gaps->count - done > ROW_RANGES &&
		   gaps->ranges[done + BLOCK_RANGES - 1].last <= oldest)
	{
		write_block(writer, &set->old, &gaps->ranges[done], BLOCK_RANGES);
		done += BLOCK_RANGES;
		changed = true;
	}
	gaps->ranges += done;
	gaps->count -= done;
	gaps->capacity = gaps->count;
	set->loaded = NULL;
	if (changed)
		set->owners = owners != NULL && set->old.last <= oldest ? *owners : nobody;
}

/*
 * The first id in the lane that no block has, and of which no dead ones are
 * above.
 */
static int64
free_id(const Projection *projection, Relation catalog, const Claims *claims,
		int lane)
{
	const PositionSets *sets = &claims->all.sets;
	int64		next = 0;
	SysScanDesc scan;
	HeapTuple	tuple;

	for (int i = 0; i < sets->count; i++)
	{
		NumberSet	own = NumberSetBetween(&sets->sets[i].old.blocks,
										   FIRST_ID(lane), LAST_ID(lane));

		if (own.count > 0)
			next = Max(next, own.ranges[own.count - 1].last + 1);
	}
	if (next == 0)
		next = FIRST_ID(lane) +
			SetsTurn(sets, claims->groups) * IDS_PER_VERSION;
	scan = scan_blocks(catalog, projection->name, next, LAST_ID(lane), NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		next = Max(next,
				   DatumGetInt64(heap_getattr(tuple, OLD_GAPS_CATALOG_BLOCK,
											  RelationGetDescr(catalog),
											  &isnull)) + 1);
	}
	systable_endscan(scan);
	return next;
}

/* Is there anything to be put into blocks, or that was in some? */
static bool
is_needed(const PositionSets *sets)
{
	for (int i = 0; i < sets->count; i++)
	{
		if (!fits_row(&sets->sets[i]))
			return true;
	}
	return false;
}

/*
 * Before these sets are saved: their oldest gaps go into blocks, as long as
 * they are not above this number, up to which gaps are those of the owners
 * alone.  These are NULL where the read has not looked at all gaps: it may have
 * left out one that is filled.
 */
void
OldGapsStore(const Projection *projection, const Claims *claims,
			 PositionSets *sets, int64 oldest, const Owners *owners)
{
	BlockWriter writer = {.projection = projection};

	if (is_needed(sets))
	{
		writer.catalog = CatalogOpen(OLD_GAPS_CATALOG, RowExclusiveLock);
		writer.indexes = CatalogOpenIndexes(writer.catalog);
		writer.one = AllocSetContextCreate(CurrentMemoryContext,
										   "wallet_projection block",
										   ALLOCSET_SMALL_SIZES);
		writer.next_id = free_id(projection, writer.catalog, claims,
								 LowestGroup(claims->groups));
	}
	for (int i = 0; i < sets->count; i++)
		store_set(&writer, &sets->sets[i], oldest, owners);
	if (writer.catalog != NULL)
	{
		CatalogCloseIndexes(writer.indexes);
		MemoryContextDelete(writer.one);
		table_close(writer.catalog, NoLock);
		CommandCounterIncrement();
	}
}

/* The blocks that sets of these groups name. */
static NumberSet
blocks_of(const PositionSets *sets, uint64 groups)
{
	NumberSet	result = {0};

	for (int i = 0; i < sets->count; i++)
	{
		if ((sets->sets[i].groups & groups) != 0)
			result = NumberSetUnion(&result, &sets->sets[i].old.blocks);
	}
	return result;
}

/*
 * Delete a block that nobody names, unless somebody else is about to: two may
 * find it at once.
 */
static void
delete_block(Relation catalog, HeapTuple tuple)
{
	TM_FailureData failure;

	(void) compat_table_tuple_delete(catalog, &tuple->t_self,
									 GetCurrentCommandId(true),
									 GetActiveSnapshot(), false, &failure);
}

/* Delete the blocks with these ids that nobody names. */
static void
delete_blocks(const Projection *projection, Relation catalog, int64 first,
			  int64 last, const NumberSet *used)
{
	SysScanDesc scan = scan_blocks(catalog, projection->name, first, last, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		id = heap_getattr(tuple, OLD_GAPS_CATALOG_BLOCK,
									  RelationGetDescr(catalog), &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!NumberSetContains(used, DatumGetInt64(id)))
			delete_block(catalog, tuple);
	}
	systable_endscan(scan);
}

/* Whether this process knows that there are no blocks that nobody names. */
typedef struct LeftOver
{
	char		projection[NAMEDATALEN];	/* hash key */
	bool		none;
} LeftOver;

static HTAB *left_overs = NULL;

static LeftOver *
find_left_over(const char *projection)
{
	return RememberedOf(&left_overs, "wallet_projection old gaps", projection,
						sizeof(LeftOver));
}

/*
 * All groups are claimed, and none named a block before: if these sets do not
 * either, whatever blocks there are have been left by two who dropped them at
 * once.
 */
static void
delete_left_over(const Projection *projection, const PositionSets *saved)
{
	NumberSet	nothing = {0};
	LeftOver   *left_over = find_left_over(projection->name);
	Relation	catalog;

	if (left_over->none || blocks_of(saved, ~UINT64CONST(0)).count > 0)
		return;
	catalog = CatalogOpen(OLD_GAPS_CATALOG, RowExclusiveLock);
	delete_blocks(projection, catalog, 1, PG_INT64_MAX, &nothing);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
	left_over->none = true;
}

/*
 * After these sets, of all claimed groups, were saved: delete the blocks that
 * they have named and no set names any more.  Where two who named the same
 * have dropped them at once, each has seen the other's: see above.
 */
void
OldGapsDeleteUnused(const Projection *projection, const Claims *claims,
					const PositionSets *saved)
{
	NumberSet	had = blocks_of(&claims->all.sets, claims->groups);
	NumberSet	used;
	NumberSet	others;
	Relation	catalog;

	if (had.count == 0)
	{
		if (claims->groups == AllGroups(claims->all.groups))
			delete_left_over(projection, saved);
		return;
	}
	find_left_over(projection->name)->none = false;
	used = blocks_of(saved, claims->groups);
	had = NumberSetMinus(&had, &used);
	if (had.count == 0)
		return;
	others = blocks_of(&claims->all.sets, ~claims->groups);
	used = NumberSetUnion(&used, &others);
	catalog = CatalogOpen(OLD_GAPS_CATALOG, RowExclusiveLock);
	for (int i = 0; i < had.count; i++)
		delete_blocks(projection, catalog, had.ranges[i].first,
					  had.ranges[i].last, &used);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}
