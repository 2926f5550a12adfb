/*
 * isolate.c
 *		Which keys of a batch cannot be written; the others are.
 *
 * An error while rows are written takes back all that was written since the
 * last savepoint.  So the keys are written in subtransactions.  Where one
 * fails, the row that was at hand is left out; the keys before it are written
 * again, and then those after it.  So each key is written at most twice,
 * however many fail.  Where it is not known whose row it was (a deferred
 * constraint, an AFTER trigger), the keys are tried in PARTS: more parts than
 * two, as each round writes all keys of a part that fails in vain.
 *
 * Errors that are not a key's fault are raised again: the batch as a whole
 * has failed.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "batch/isolate.h"

/*
 * Into how many parts keys are divided among which one must fail.  Each is a
 * subtransaction; 64 of them are remembered cheaply by the server.
 */
#define PARTS 8

/* keys that are tried at once after one has failed, and how that grows */
#define REACH_FIRST 64
#define REACH_GROWS 16

/* culprits that may turn out to be none */
#define SPARE 100

/*
 * Attempts that wait for a lock in vain in one of the PARTS: then the rest of
 * it is not tried, as each would have to wait.
 */
#define LOCKS_IN_VAIN 8

static int64
index_of(const FoldedKey *keys, int64 count, const FoldEntry *entry)
{
	for (int64 i = 0; i < count; i++)
	{
		if (keys[i].entry == entry)
			return i;
	}
	return -1;
}

/*
 * Have so many keys failed that it is of no use to go on?  Some that failed
 * among others go well alone.
 */
bool
IsolationGivesUp(const Isolation *isolation)
{
	return list_length(isolation->culprits) >
		isolation->scope->projection->max_parked + SPARE;
}

/* An attempt has failed; is it for a lock? */
static bool
count_lock(Isolation *isolation, ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
	{
		FreeErrorData(error);
		return false;
	}
	isolation->lock_error = error;
	isolation->locks_in_vain++;
	return true;
}

/* These keys are not tried, as those before them have waited in vain. */
static void
leave_keys(Isolation *isolation, const FoldedKey *keys, int64 count)
{
	for (int64 i = 0; i < count; i++)
		isolation->locked = lappend(isolation->locked, keys[i].entry);
}

static void isolate(Isolation *isolation, FoldedKey *keys, int64 count);

/* Write these keys in so many parts, each in a subtransaction. */
static void
isolate_parts(Isolation *isolation, FoldedKey *keys, int64 count, int parts)
{
	int64		size = (count + parts - 1) / parts;

	for (int64 done = 0;
		 done < count && !IsolationGivesUp(isolation);
		 done += size)
		isolate(isolation, keys + done, Min(size, count - done));
}

/*
 * Write these keys, if possible in one subtransaction.  After a key that fails
 * few are tried at once, and more and more of them as long as they are
 * written: all that are tried are put in order before.
 */
static void
isolate(Isolation *isolation, FoldedKey *keys, int64 count)
{
	int64		reach = count;

	while (count > 0 && !IsolationGivesUp(isolation))
	{
		int64		tried = Min(reach, count);
		WriteResult result;
		FoldEntry  *entry;
		int64		good;
		bool		is_lock;

		CHECK_FOR_INTERRUPTS();
		if (isolation->locks_in_vain >= LOCKS_IN_VAIN)
		{
			leave_keys(isolation, keys, count);
			break;
		}
		result = TryKeys(isolation->scope, keys, tried);
		if (result.error == NULL)
		{
			isolation->written += tried - list_length(result.locked);
			isolation->locked = list_concat(isolation->locked, result.locked);
			keys += tried;
			count -= tried;
			reach = tried * REACH_GROWS;
			continue;
		}
		is_lock = count_lock(isolation, result.error);
		good = tried == 1 ? 0 : index_of(keys, tried, result.culprit);
		if (good < 0)
		{
			isolate_parts(isolation, keys, tried, PARTS);
			keys += tried;
			count -= tried;
			continue;
		}
		/* the keys before it may be put into another order */
		entry = keys[good].entry;
		isolate(isolation, keys, good);
		if (is_lock)
			isolation->locked = lappend(isolation->locked, entry);
		else
			isolation->culprits = lappend(isolation->culprits, entry);
		good = index_of(keys, tried, entry) + 1;
		keys += good;
		count -= good;
		reach = REACH_FIRST;
	}
}

/*
 * Write all keys but those that cannot be: isolation->culprits; where
 * IsolationGivesUp(), others are not written either.  first_try: nothing says
 * yet that one fails.
 */
void
IsolateKeys(Isolation *isolation, FoldedKey *keys, int64 count,
			bool first_try)
{
	int64		size = first_try ? count : (count + PARTS - 1) / PARTS;

	for (int64 done = 0;
		 done < count && !IsolationGivesUp(isolation);
		 done += size)
	{
		isolation->locks_in_vain = 0;
		isolate(isolation, keys + done, Min(size, count - done));
	}
	/* a lock that everybody needs is nobody's fault */
	if (isolation->written == 0 && isolation->lock_error != NULL &&
		isolation->culprits == NIL && list_length(isolation->locked) > 1)
		ReThrowError(isolation->lock_error);
}
