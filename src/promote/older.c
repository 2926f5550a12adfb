/*
 * older.c
 *		Statements whose snapshot is older than what has just been committed.
 *
 * EXECUTE takes its snapshot before the locks of the statement that it runs.  If
 * that then waits for our lock on the table, it finds the new projection's rows as
 * its older snapshot sees them: without the events that the new one has applied
 * last, which the statement before may have seen in the old one's rows.  So,
 * before the table is locked, such snapshots are given a moment to go away.
 * One that stays longer belongs to a long statement, or to a transaction whose
 * snapshot is its own matter.
 */
#include "postgres.h"

#include "access/transam.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "nap.h"
#include "promote/older.h"

/* between two looks, in milliseconds */
#define NAP 2

typedef struct Holders
{
	int			count;
	VirtualTransactionId *ids;
} Holders;

/* Transactions of this database that have a snapshot as old as now, or older. */
static Holders
holders(TransactionId newest)
{
	Holders		result;

	result.ids = GetCurrentVirtualXIDs(newest, true, false,
									   PROC_IS_AUTOVACUUM | PROC_IN_VACUUM,
									   &result.count);
	return result;
}

static bool
is_member(const Holders *set, VirtualTransactionId id)
{
	for (int i = 0; i < set->count; i++)
	{
		if (VirtualTransactionIdEquals(set->ids[i], id))
			return true;
	}
	return false;
}

/* Those of the first that are also in the second. */
static void
keep_common(Holders *first, const Holders *second)
{
	int			count = 0;

	for (int i = 0; i < first->count; i++)
	{
		if (is_member(second, first->ids[i]))
			first->ids[count++] = first->ids[i];
	}
	first->count = count;
}

/* Wait for those that there are now, for so long at most. */
void
OlderSnapshotsWait(int milliseconds)
{
	TransactionId newest = ReadNextTransactionId();
	TimestampTz until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
	Holders		left = holders(newest);

	while (left.count > 0 && GetCurrentTimestamp() < until)
	{
		Holders		now;

		NapFor(NAP);
		now = holders(newest);
		keep_common(&left, &now);
	}
}
