/*
 * hold.c
 *		Holds a partition, as another consumer would.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/builtins.h"

#include "keylock.h"
#include "position/sets.h"

PG_MODULE_MAGIC;

SQL_FUNCTION(hold_partition);

/* hold_partition(projection, partition, partitions): until the transaction ends */
Datum
hold_partition(PG_FUNCTION_ARGS)
{
	int			groups = GroupsOf(PG_GETARG_INT32(2));

	KeyLockPart(KEYLOCK_CLAIM, text_to_cstring(PG_GETARG_TEXT_PP(0)),
				GroupOf(PG_GETARG_INT32(1), groups));
	PG_RETURN_VOID();
}
