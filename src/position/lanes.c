/*
 * lanes.c
 *		Positions as they are stored.
 *
 * Owns wallet_projection.position.  A lane is written by who has claimed its
 * group, and by nobody else, so no row is ever waited for.  Its newest version
 * is found from above: as many dead ones as there may be below it, under an old
 * snapshot, the first row that a scan meets is the one that counts.
 */
#include "postgres.h"

#include "compat.h"

#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "numberset.h"
#include "position/lanes.h"
#include "remember.h"

/* Reading */

static RowMark
mark_of(ItemPointer tid, TransactionId writer, int lane, int part,
		int64 version)
{
	RowMark		mark = {.writer = writer,.lane = lane,.part = part,
	.version = version};

	mark.place = ((uint64) ItemPointerGetBlockNumber(tid) << 16) |
		ItemPointerGetOffsetNumber(tid);
	return mark;
}

/* The old gaps that a row names; what is wrong with them, or NULL. */
static const char *
read_old_gaps(const Datum *values, const bool *nulls, PositionSet *set)
{
	OldGaps    *old = &set->old;
	const NumberSet *gaps = &set->position.gaps;

	if (nulls[POSITION_CATALOG_OLD_BLOCKS - 1])
		return NULL;
	if (nulls[POSITION_CATALOG_OLD_FIRST - 1] ||
		nulls[POSITION_CATALOG_OLD_LAST - 1] ||
		nulls[POSITION_CATALOG_OLD_SIZE - 1])
		return "some columns of old gaps are null and others are not";
	if (!NumberSetFromDatum(values[POSITION_CATALOG_OLD_BLOCKS - 1],
							PG_INT64_MAX - 1, &old->blocks))
		return "column \"old_blocks\" has numbers below 1";
	old->first = DatumGetInt64(values[POSITION_CATALOG_OLD_FIRST - 1]);
	old->last = DatumGetInt64(values[POSITION_CATALOG_OLD_LAST - 1]);
	old->size = DatumGetInt64(values[POSITION_CATALOG_OLD_SIZE - 1]);
	if (old->first > old->last || old->last > set->position.head ||
		old->size < 1 || old->size > old->last - old->first + 1 ||
		(gaps->count > 0 && gaps->ranges[0].first <= old->last))
		return "the old gaps are not below the others";
	return NULL;
}

/*
 * Where ids of transactions mean what they say: in this database of this
 * server, and not where its rows were restored.
 */
static uint64
installation(Relation catalog)
{
	uint64		here = ((uint64) MyDatabaseId << 32) | RelationGetRelid(catalog);

	return hash_combine64(GetSystemIdentifier(), here);
}

/*
 * Who may fill the old gaps, after the installation where that was written;
 * nobody, if it is not known here.
 */
static void
read_owners(Relation catalog, Datum datum, PositionSet *set)
{
	ArrayType  *array = DatumGetArrayTypeP(datum);
	Datum	   *values;
	uint64	   *owners;
	int			count;

	if (ARR_NDIM(array) != 1 || array_contains_nulls(array))
		return;
	deconstruct_array(array, XID8OID, sizeof(uint64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &values, NULL, &count);
	if (count < 2 || DatumGetUInt64(values[0]) != installation(catalog))
		return;
	owners = palloc_array(uint64, count - 1);
	for (int i = 1; i < count; i++)
		owners[i - 1] = DatumGetUInt64(values[i]);
	set->owners.count = count - 1;
	set->owners.ids = owners;
}

/* What is in a row; the damage, if it is damaged. */
static CatalogDamage *
read_row(LaneRow *row, int groups, Relation catalog, TupleTableSlot *slot,
		 int64 *version)
{
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;
	CatalogDamage *damage = CatalogFindDamage(catalog, values, nulls);
	PositionSet *set = &row->set;
	const char *problem;
	bool		isnull;

	if (damage != NULL)
		return damage;
	memset(row, 0, sizeof(LaneRow));
	*version = DatumGetInt64(values[POSITION_CATALOG_VERSION - 1]);
	row->tid = slot->tts_tid;
	row->part = DatumGetInt32(values[POSITION_CATALOG_PART - 1]);
	row->written = DatumGetBool(values[POSITION_CATALOG_WRITTEN - 1]);
	set->lane = DatumGetInt32(values[POSITION_CATALOG_LANE - 1]);
	set->turn = DatumGetInt64(values[POSITION_CATALOG_TURN - 1]);
	set->groups = (uint64) DatumGetInt64(values[POSITION_CATALOG_GROUPS - 1]);
	set->position.head = DatumGetInt64(values[POSITION_CATALOG_HEAD - 1]);
	set->mark = mark_of(&slot->tts_tid,
						DatumGetTransactionId(slot_getsysattr(slot,
															  MinTransactionIdAttributeNumber,
															  &isnull)),
						set->lane, row->part, *version);
	if (set->groups == 0 || (set->groups & ~AllGroups(groups)) != 0)
		return CatalogDamageOf(catalog, values, nulls,
							   psprintf("the groups are not some of %d", groups));
	if (!NumberSetFromDatum(values[POSITION_CATALOG_GAPS - 1],
							set->position.head, &set->position.gaps))
		return CatalogDamageOf(catalog, values, nulls,
							   "column \"gaps\" has numbers below 1 or above the head");
	problem = read_old_gaps(values, nulls, set);
	if (!nulls[POSITION_CATALOG_OLD_OWNERS - 1])
		read_owners(catalog, values[POSITION_CATALOG_OLD_OWNERS - 1], set);
	return problem == NULL ? NULL :
		CatalogDamageOf(catalog, values, nulls, problem);
}

static int
compare_sets(const void *a, const void *b)
{
	const PositionSet *x = a;
	const PositionSet *y = b;

	if (x->position.head != y->position.head)
		return x->position.head < y->position.head ? -1 : 1;
	return x->lane - y->lane;
}

/*
 * A scan over the newest version of each lane, from the highest lane down.
 *
 * A btree takes all entries of a page that match, before it gives the first.
 * Dead versions would be most of them; so a process remembers which version it
 * has met of each lane, and asks for those from that one on.  That is a hint:
 * where there is none, it asks for all.
 */
typedef struct LaneScan
{
	Relation	catalog;
	Relation	index;
	IndexScanDesc scan;
	ScanKeyData keys[3];
	TupleTableSlot *slot;
} LaneScan;

/* What a process has met of a projection. */
typedef struct LaneHints
{
	char		projection[NAMEDATALEN];	/* hash key */
	int			count;
	struct
	{
		int			lane;
		int64		version;
	}			met[GROUPS_MAX];	/* the highest lane first */
} LaneHints;

static HTAB *lane_hints = NULL;

static LaneHints *
find_hints(const char *projection)
{
	return RememberedOf(&lane_hints, "wallet_projection lanes", projection,
						sizeof(LaneHints));
}

/* Remember what was read. */
static void
keep_hints(LaneHints *hints, const Positions *found)
{
	hints->count = 0;
	for (int i = 0; i < found->row_count; i++)
	{
		const RowMark *mark = &found->rows[i].set.mark;

		if (mark->part != 0)
			continue;
		hints->met[hints->count].lane = mark->lane;
		hints->met[hints->count++].version = mark->version;
	}
}

static LaneScan
scan_begin(const Projection *projection, Relation catalog, Snapshot snapshot)
{
	LaneScan	scan = {.catalog = catalog};

	scan.index = index_open(CatalogPrimaryKey(catalog), AccessShareLock);
	scan.slot = table_slot_create(catalog, NULL);
	ScanKeyInit(&scan.keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(projection->name));
	scan.keys[0].sk_collation = scan.index->rd_indcollation[0];
	scan.scan = compat_index_beginscan(catalog, scan.index, snapshot,
									   lengthof(scan.keys));
	return scan;
}

/* Aim at the lanes between these two. */
static void
aim_between(LaneScan *scan, int low, int high)
{
	ScanKeyInit(&scan->keys[1], POSITION_CATALOG_LANE,
				BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(low));
	ScanKeyInit(&scan->keys[2], POSITION_CATALOG_LANE, BTLessStrategyNumber,
				F_INT4LT, Int32GetDatum(high));
	index_rescan(scan->scan, scan->keys, lengthof(scan->keys), NULL, 0);
}

/* Aim at the versions of this lane from this one on. */
static void
aim_at(LaneScan *scan, int lane, int64 version)
{
	ScanKeyInit(&scan->keys[1], POSITION_CATALOG_LANE, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(lane));
	ScanKeyInit(&scan->keys[2], POSITION_CATALOG_VERSION,
				BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(version));
	index_rescan(scan->scan, scan->keys, lengthof(scan->keys), NULL, 0);
}

static bool
scan_next(LaneScan *scan)
{
	if (!index_getnext_slot(scan->scan, BackwardScanDirection, scan->slot))
		return false;
	slot_getallattrs(scan->slot);
	return true;
}

static void
scan_end(LaneScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
}

/* Room for one more row. */
static LaneRow *
next_row(Positions *found)
{
	/* a power of two of them */
	if (found->row_count == 0)
		found->rows = palloc_array(LaneRow, 4);
	else if (found->row_count >= 4 &&
			 (found->row_count & (found->row_count - 1)) == 0)
		found->rows = repalloc_array(found->rows, LaneRow,
									 2 * found->row_count);
	return &found->rows[found->row_count];
}

static int
int_of(const LaneScan *scan, int column)
{
	return DatumGetInt32(scan->slot->tts_values[column - 1]);
}

/*
 * Read the version to which the row at hand, its last part, belongs: parts come
 * from the last one down.  What is damaged, or NULL.
 */
static CatalogDamage *
read_version(LaneScan *scan, Positions *found)
{
	for (;;)
	{
		LaneRow    *row = next_row(found);
		int64		version;
		CatalogDamage *damage = read_row(row, found->groups, scan->catalog,
										 scan->slot, &version);

		if (damage != NULL)
			return damage;
		found->row_count++;
		if (row->part == 0)
			return NULL;
		if (!scan_next(scan) ||
			int_of(scan, POSITION_CATALOG_LANE) != row->set.lane ||
			DatumGetInt64(scan->slot->tts_values[POSITION_CATALOG_VERSION - 1]) != version ||
			int_of(scan, POSITION_CATALOG_PART) != row->part - 1)
			return CatalogDamageOf(scan->catalog, scan->slot->tts_values,
								   scan->slot->tts_isnull,
								   "the row before it is missing");
	}
}

/* Read the newest version of each lane between these two. */
static CatalogDamage *
read_between(LaneScan *scan, int low, int high, Positions *found)
{
	CatalogDamage *damage = NULL;

	while (damage == NULL && high - 1 > low)
	{
		aim_between(scan, low, high);
		if (!scan_next(scan))
			break;
		damage = read_version(scan, found);
		if (damage == NULL)
			high = found->rows[found->row_count - 1].set.lane;
	}
	return damage;
}

/* Read the newest version of each lane; what is damaged, or NULL. */
static CatalogDamage *
read_rows(LaneScan *scan, const LaneHints *hints, Positions *found)
{
	CatalogDamage *damage = NULL;
	int			high = GROUPS_MAX;

	for (int i = 0; i < hints->count && damage == NULL; i++)
	{
		int			lane = hints->met[i].lane;

		damage = read_between(scan, lane, high, found);
		if (damage != NULL)
			break;
		aim_at(scan, lane, hints->met[i].version);
		damage = scan_next(scan) ? read_version(scan, found) :
			read_between(scan, lane - 1, lane + 1, found);
		high = lane;
	}
	return damage != NULL ? damage : read_between(scan, -1, high, found);
}

/*
 * The positions that a snapshot shows; what is wrong with them, or NULL.  No
 * lock is taken but on the table.
 */
CatalogDamage *
PositionsFind(const Projection *projection, Snapshot snapshot,
			  Positions *found)
{
	Relation	catalog = CatalogOpen(POSITION_CATALOG, AccessShareLock);
	LaneScan	scan = scan_begin(projection, catalog, snapshot);
	LaneHints  *hints = find_hints(projection->name);
	PositionSet *stored;
	CatalogDamage *damage;

	memset(found, 0, sizeof(Positions));
	found->groups = GroupsOf(projection->partitions);
	damage = read_rows(&scan, hints, found);
	scan_end(&scan);
	table_close(catalog, NoLock);
	if (damage != NULL)
		return damage;
	keep_hints(hints, found);
	stored = palloc_array(PositionSet, Max(found->row_count, 1));
	for (int i = 0; i < found->row_count; i++)
	{
		stored[i] = found->rows[i].set;
		found->written = found->written || found->rows[i].written;
	}
	found->sets = SetsResolve(stored, found->row_count);
	qsort(found->sets.sets, found->sets.count, sizeof(PositionSet),
		  compare_sets);
	return NULL;
}

/* The positions as last committed; an error if they are damaged. */
Positions
PositionsRead(const Projection *projection)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Positions	result;

	CatalogRaise(PositionsFind(projection, snapshot, &result));
	UnregisterSnapshot(snapshot);
	return result;
}

/* How many partitions have a position? */
int
PositionsCount(const Projection *projection, const Positions *positions)
{
	int			count = 0;

	for (int i = 0; i < projection->partitions; i++)
	{
		if (PositionOfPartition(positions, i) != NULL)
			count++;
	}
	return count;
}

/* The set that has the partition's position; NULL: there is none. */
const PositionSet *
PositionOfPartition(const Positions *positions, int partition)
{
	uint64		group = GroupBit(GroupOf(partition, positions->groups));

	for (int i = 0; i < positions->sets.count; i++)
	{
		if ((positions->sets.sets[i].groups & group) != 0)
			return &positions->sets.sets[i];
	}
	return NULL;
}

/* The highest head; 0 if there is none. */
int64
PositionsHighest(const Positions *positions)
{
	int			count = positions->sets.count;

	return count == 0 ? 0 : positions->sets.sets[count - 1].position.head;
}

/* How many numbers up to the head are not applied. */
int64
PositionSetSize(const PositionSet *set)
{
	return set->old.size + NumberSetSize(&set->position.gaps);
}

/* Writing */

static Datum
owners_to_datum(Relation catalog, const Owners *owners)
{
	Datum	   *values = palloc_array(Datum, owners->count + 1);

	values[0] = UInt64GetDatum(installation(catalog));
	for (int i = 0; i < owners->count; i++)
		values[i + 1] = UInt64GetDatum(owners->ids[i]);
	return PointerGetDatum(construct_array(values, owners->count + 1, XID8OID,
										   sizeof(uint64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

static HeapTuple
form_row(const Projection *projection, Relation catalog,
		 const PositionSet *set, int64 version, int part, bool written)
{
	Datum		values[POSITION_CATALOG_NATTS];
	bool		nulls[POSITION_CATALOG_NATTS] = {0};
	bool		old = set->old.size > 0;

	values[POSITION_CATALOG_PROJECTION - 1] = CStringGetTextDatum(projection->name);
	values[POSITION_CATALOG_LANE - 1] = Int32GetDatum(set->lane);
	values[POSITION_CATALOG_VERSION - 1] = Int64GetDatum(version);
	values[POSITION_CATALOG_PART - 1] = Int32GetDatum(part);
	values[POSITION_CATALOG_TURN - 1] = Int64GetDatum(set->turn);
	values[POSITION_CATALOG_GROUPS - 1] = Int64GetDatum((int64) set->groups);
	values[POSITION_CATALOG_HEAD - 1] = Int64GetDatum(set->position.head);
	values[POSITION_CATALOG_GAPS - 1] = NumberSetToDatum(&set->position.gaps);
	values[POSITION_CATALOG_WRITTEN - 1] = BoolGetDatum(written);
	if (old)
	{
		values[POSITION_CATALOG_OLD_BLOCKS - 1] = NumberSetToDatum(&set->old.blocks);
		values[POSITION_CATALOG_OLD_FIRST - 1] = Int64GetDatum(set->old.first);
		values[POSITION_CATALOG_OLD_LAST - 1] = Int64GetDatum(set->old.last);
		values[POSITION_CATALOG_OLD_SIZE - 1] = Int64GetDatum(set->old.size);
	}
	nulls[POSITION_CATALOG_OLD_BLOCKS - 1] = !old;
	nulls[POSITION_CATALOG_OLD_FIRST - 1] = !old;
	nulls[POSITION_CATALOG_OLD_LAST - 1] = !old;
	nulls[POSITION_CATALOG_OLD_SIZE - 1] = !old;
	nulls[POSITION_CATALOG_OLD_OWNERS - 1] = !old || set->owners.count == 0;
	if (!nulls[POSITION_CATALOG_OLD_OWNERS - 1])
		values[POSITION_CATALOG_OLD_OWNERS - 1] = owners_to_datum(catalog, &set->owners);
	return heap_form_tuple(RelationGetDescr(catalog), values, nulls);
}

/*
 * All partitions at the beginning of the stream.  The version is above those
 * that were there before, of which a snapshot may keep any number.
 */
void
PositionsCreate(const Projection *projection, const Position *start)
{
	Relation	catalog = CatalogOpen(POSITION_CATALOG, RowExclusiveLock);
	PositionSet set = {.groups = AllGroups(GroupsOf(projection->partitions)),
	.position = *start};

	set.turn = (int64) U64FromFullTransactionId(GetCurrentFullTransactionId());
	CatalogTupleInsert(catalog, form_row(projection, catalog, &set, set.turn,
										 0, false));
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

void
PositionsDrop(const Projection *projection)
{
	CatalogDelete(POSITION_CATALOG, projection->name);
}

/* The lane's rows of a positions' read, by part. */
static int
rows_of_lane(const Positions *positions, int lane, const LaneRow **rows)
{
	int			count = 0;

	for (int i = positions->row_count - 1; i >= 0; i--)
	{
		if (positions->rows[i].set.lane == lane)
			rows[count++] = &positions->rows[i];
	}
	return count;
}

/* Does a set of these still stand in this lane? */
static bool
lane_counts(const PositionSets *sets, int lane)
{
	for (int i = 0; i < sets->count; i++)
	{
		if (sets->sets[i].lane == lane)
			return true;
	}
	return false;
}

/*
 * Delete the claimed lanes that count for nothing any more, once their
 * versions are dead for everybody.  Before that, their newest row spares
 * whoever looks the dead ones below it.
 */
static void
delete_stale(Relation catalog, const Positions *before, uint64 claimed,
			 int lane)
{
	TransactionId oldest = InvalidTransactionId;

	for (int i = 0; i < before->row_count; i++)
	{
		const LaneRow *row = &before->rows[i];

		if (row->set.lane == lane || (claimed & GroupBit(row->set.lane)) == 0 ||
			lane_counts(&before->sets, row->set.lane))
			continue;
		if (!TransactionIdIsValid(oldest))
			oldest = GetOldestNonRemovableTransactionId(catalog);
		if (TransactionIdPrecedes(row->set.mark.writer, oldest))
			CatalogRowDelete(catalog, unconstify(ItemPointerData *, &row->tid));
	}
}

/*
 * Write the sets of claimed groups that have changed, each of which gets its
 * turn and its mark; written: rows were written to the read model, now or ever.
 */
void
LaneSave(const Projection *projection, Relation catalog,
		 const Positions *before, uint64 claimed, PositionSets *saved,
		 bool written)
{
	int			lane = LowestGroup(claimed);
	uint64		groups = SetsGroups(saved);
	const LaneRow *old[GROUPS_MAX + 1];
	int			old_count = rows_of_lane(before, lane, old);
	int64		version = SetsTurn(&before->sets, groups);
	PositionSets carried = SetsCarried(&before->sets, lane, groups);
	int			count = saved->count + carried.count;

	if (old_count > 0)
		version = Max(version, old[0]->set.mark.version + 1);
	for (int i = 0; i < Max(count, old_count); i++)
	{
		PositionSet *set = i < saved->count ? &saved->sets[i] :
			i < count ? &carried.sets[i - saved->count] : NULL;
		HeapTuple	tuple;

		if (set == NULL)
		{
			CatalogRowDelete(catalog, unconstify(ItemPointerData *, &old[i]->tid));
			continue;
		}
		set->lane = lane;
		if (i < saved->count)
			set->turn = version;
		tuple = form_row(projection, catalog, set, version, i, written);
		if (i < old_count)
			CatalogRowUpdate(catalog, unconstify(ItemPointerData *, &old[i]->tid), tuple);
		else
			CatalogTupleInsert(catalog, tuple);
		set->mark = mark_of(&tuple->t_self,
							HeapTupleHeaderGetRawXmin(tuple->t_data), lane, i,
							version);
	}
	delete_stale(catalog, before, claimed, lane);
	CommandCounterIncrement();
}
