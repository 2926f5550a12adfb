/*
 * numberset.c
 *		Sets of numbers as the catalog holds them: int8multirange.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/typcache.h"

#include "numberset.h"

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
