/*
 * partition.c
 *		Partitions: which key belongs where, and who works on it.
 *
 * A partition is claimed by locking its row.  The lock is the lease: it lasts
 * until the transaction ends and dies with it, so there is no time-out.  A
 * row that somebody else holds is skipped, and a claimed row is read after it
 * is locked, in its newest version.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/lockoptions.h"
#include "utils/builtins.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "catalog_row.h"
#include "projection/partition.h"

/* A set of numbers as the catalog holds it. */
Datum
NumberSetToDatum(const NumberSet *set)
{
	TypeCacheEntry *type = lookup_type_cache(INT8RANGEOID,
											 TYPECACHE_RANGE_INFO);
	RangeType **ranges = palloc(Max(set->count, 1) * sizeof(RangeType *));

	for (int i = 0; i < set->count; i++)
	{
		RangeBound	lower = {0};
		RangeBound	upper = {0};

		lower.val = Int64GetDatum(set->ranges[i].first);
		lower.inclusive = true;
		lower.lower = true;
		upper.val = Int64GetDatum(set->ranges[i].last + 1);
		ranges[i] = compat_make_range(type, &lower, &upper);
	}
	return MultirangeTypePGetDatum(make_multirange(INT8MULTIRANGEOID, type,
												   set->count, ranges));
}

/* The set, appended; false if it is not one of numbers from 1 to last. */
bool
NumberSetFromDatum(Datum datum, int64 last, NumberSet *set)
{
	TypeCacheEntry *type = lookup_type_cache(INT8RANGEOID,
											 TYPECACHE_RANGE_INFO);
	RangeType **ranges;
	int			count;

	multirange_deserialize(type, DatumGetMultirangeTypeP(datum), &count,
						   &ranges);
	for (int i = 0; i < count; i++)
	{
		RangeBound	lower;
		RangeBound	upper;
		bool		empty;

		range_deserialize(type, ranges[i], &lower, &upper, &empty);
		if (lower.infinite || upper.infinite ||
			DatumGetInt64(lower.val) < 1 || DatumGetInt64(upper.val) - 1 > last)
			return false;
		NumberSetAppend(set, DatumGetInt64(lower.val),
						DatumGetInt64(upper.val) - 1);
	}
	return true;
}

/* What is in a row; the damage, if it is damaged. */
static CatalogDamage *
read_claim(Claim *claim, const Projection *projection, Relation catalog,
		   const Datum *values, const bool *nulls, ItemPointer tid)
{
	CatalogDamage *damage = CatalogFindDamage(catalog, values, nulls);

	if (damage != NULL)
		return damage;
	claim->partition = DatumGetInt32(values[PARTITION_CATALOG_PARTITION - 1]);
	if (claim->partition >= projection->partitions)
		return CatalogDamageOf(catalog, values, nulls,
							   psprintf("the partition is not one of %d",
										projection->partitions));
	claim->tid = *tid;
	claim->position.head = DatumGetInt64(values[PARTITION_CATALOG_HEAD - 1]);
	memset(&claim->position.gaps, 0, sizeof(NumberSet));
	if (!NumberSetFromDatum(values[PARTITION_CATALOG_GAPS - 1],
							claim->position.head, &claim->position.gaps))
		return CatalogDamageOf(catalog, values, nulls,
							   "column \"gaps\" has numbers below 1 or above the head");
	claim->written = DatumGetBool(values[PARTITION_CATALOG_WRITTEN - 1]);
	return NULL;
}

static HeapTuple
form_claim(const Projection *projection, Relation catalog, int partition,
		   const Position *position, bool written)
{
	Datum		values[PARTITION_CATALOG_NATTS];
	bool		nulls[PARTITION_CATALOG_NATTS] = {0};

	values[PARTITION_CATALOG_PROJECTION - 1] = CStringGetTextDatum(projection->name);
	values[PARTITION_CATALOG_PARTITION - 1] = Int32GetDatum(partition);
	values[PARTITION_CATALOG_HEAD - 1] = Int64GetDatum(position->head);
	values[PARTITION_CATALOG_GAPS - 1] = NumberSetToDatum(&position->gaps);
	values[PARTITION_CATALOG_WRITTEN - 1] = BoolGetDatum(written);
	return heap_form_tuple(RelationGetDescr(catalog), values, nulls);
}

/* All partitions at the beginning of the stream. */
void
PartitionsCreate(const Projection *projection)
{
	Relation	catalog = CatalogOpen(PARTITION_CATALOG, RowExclusiveLock);
	Position	beginning = {0};

	for (int i = 0; i < projection->partitions; i++)
		CatalogTupleInsert(catalog, form_claim(projection, catalog, i,
											   &beginning, false));
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

void
PartitionsDrop(const Projection *projection)
{
	CatalogDelete(PARTITION_CATALOG, projection->name);
}

static int
compare_heads(const void *a, const void *b)
{
	const Claim *x = a;
	const Claim *y = b;

	if (x->position.head != y->position.head)
		return x->position.head < y->position.head ? -1 : 1;
	return x->partition - y->partition;
}

/* All positions, up to the first that is damaged. */
static Claim *
read_claims(const Projection *projection, int *count, CatalogDamage **damage)
{
	Relation	catalog = CatalogOpen(PARTITION_CATALOG, AccessShareLock);
	Claim	   *claims = palloc_array(Claim, PARTITIONS_MAX);
	SysScanDesc scan = CatalogScan(catalog, projection->name);
	bool		there[PARTITIONS_MAX] = {0};
	HeapTuple	tuple;

	*count = 0;
	*damage = NULL;
	while (*damage == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Claim		claim;
		Datum		values[PARTITION_CATALOG_NATTS];
		bool		nulls[PARTITION_CATALOG_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(catalog), values, nulls);
		*damage = read_claim(&claim, projection, catalog, values, nulls,
							 &tuple->t_self);
		/* in no order where system indexes are ignored */
		if (*damage == NULL && there[claim.partition])
			*damage = CatalogDamageOf(catalog, values, nulls,
									  "the partition is there twice");
		if (*damage == NULL)
		{
			there[claim.partition] = true;
			claims[(*count)++] = claim;
		}
	}
	systable_endscan(scan);
	table_close(catalog, NoLock);
	return claims;
}

/*
 * The positions as last committed, in order of their heads.  No row is locked;
 * the table is, so that nobody moves the rows before they are claimed.
 */
Claim *
PartitionsPeek(const Projection *projection, int *count)
{
	CatalogDamage *damage;
	Claim	   *claims = read_claims(projection, count, &damage);

	CatalogRaise(damage);
	qsort(claims, *count, sizeof(Claim), compare_heads);
	return claims;
}

/* What is wrong with the positions; NULL: nothing that a row shows. */
CatalogDamage *
PartitionsDamage(const Projection *projection)
{
	CatalogDamage *damage;
	int			count;

	(void) read_claims(projection, &count, &damage);
	return damage;
}

/* Lock a partition's row and read it again; false if somebody else holds it. */
static bool
lock_claim(const Projection *projection, Relation catalog, Claim *claim,
		   TupleTableSlot *slot, LockWaitPolicy policy)
{
	TM_FailureData failure;
	ItemPointerData tid = claim->tid;
	int			partition = claim->partition;
	TM_Result	result;

	result = table_tuple_lock(catalog, &tid, GetActiveSnapshot(), slot,
							  GetCurrentCommandId(true), LockTupleExclusive,
							  policy, TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							  &failure);
	if (result == TM_WouldBlock)
		return false;
	if (result != TM_Ok)
		elog(ERROR, "unexpected result %d of locking a partition",
			 (int) result);
	slot_getallattrs(slot);
	CatalogRaise(read_claim(claim, projection, catalog, slot->tts_values,
							slot->tts_isnull, &slot->tts_tid));
	if (claim->partition != partition)
		CatalogRaise(CatalogDamageOf(catalog, slot->tts_values,
									 slot->tts_isnull,
									 "somebody has changed the partition's number"));
	return true;
}

/*
 * Claim up to max of these partitions, in their order, leaving out those that
 * somebody else holds.  They are ours until the transaction ends.  There must
 * be an active snapshot.
 */
Claims
PartitionsClaim(const Projection *projection, const Claim *chosen, int count,
				int max)
{
	Claims		result = {0};
	TupleTableSlot *slot;

	result.catalog = CatalogOpen(PARTITION_CATALOG, RowExclusiveLock);
	result.claims = palloc_array(Claim, Max(count, 1));
	slot = table_slot_create(result.catalog, NULL);
	for (int i = 0; i < count && result.count < max; i++)
	{
		Claim		claim = chosen[i];

		if (lock_claim(projection, result.catalog, &claim, slot, LockWaitSkip))
			result.claims[result.count++] = claim;
	}
	ExecDropSingleTupleTableSlot(slot);
	qsort(result.claims, result.count, sizeof(Claim), compare_heads);
	return result;
}

/*
 * Claim this one partition; wait: as long as others hold it.  There must be
 * an active snapshot.
 */
Claims
PartitionClaim(const Projection *projection, int partition, bool wait)
{
	Claims		result = {0};
	int			count;
	Claim	   *claims = PartitionsPeek(projection, &count);
	TupleTableSlot *slot;

	result.catalog = CatalogOpen(PARTITION_CATALOG, RowExclusiveLock);
	result.claims = palloc_array(Claim, 1);
	slot = table_slot_create(result.catalog, NULL);
	for (int i = 0; i < count; i++)
	{
		if (claims[i].partition != partition)
			continue;
		result.claims[0] = claims[i];
		if (lock_claim(projection, result.catalog, &result.claims[0], slot,
					   wait ? LockWaitBlock : LockWaitSkip))
			result.count = 1;
	}
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/* Write down a claimed partition's new position, unless it is the old one. */
void
PartitionSave(const Projection *projection, Claims *claims, Claim *claim,
			  const Position *position)
{
	HeapTuple	tuple;

	if (position->head == claim->position.head &&
		NumberSetEquals(&position->gaps, &claim->position.gaps))
		return;
	tuple = form_claim(projection, claims->catalog, claim->partition,
					   position, claim->written);
	CatalogTupleUpdate(claims->catalog, &claim->tid, tuple);
	claim->position = *position;
}

/*
 * Remember, in a claimed partition whose position stays as it is, that rows
 * were written to the read model.
 */
void
PartitionWritten(const Projection *projection, Claims *claims, Claim *claim)
{
	if (claim->written)
		return;
	claim->written = true;
	CatalogTupleUpdate(claims->catalog, &claim->tid,
					   form_claim(projection, claims->catalog,
								  claim->partition, &claim->position, true));
}

/* Close what PartitionsClaim() opened; the locks on the rows stay. */
void
PartitionsRelease(Claims *claims)
{
	table_close(claims->catalog, NoLock);
	CommandCounterIncrement();
}
