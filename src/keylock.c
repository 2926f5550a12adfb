/*
 * keylock.c
 *		Heavyweight locks on names and keys.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/guc.h"

#include "keylock.h"
#include "nap.h"

/* how often a lock is asked for that may be about to be given back, and how
 * long between, in milliseconds */
#define ENDED_LOOKS 20
#define ENDED_NAP	10

/* how long LocksSoon() lets us wait, in milliseconds */
#define LOCK_MOMENT 20

static LOCKTAG
key_tag(KeyLockClass class, uint64 hash)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32),
						 (uint32) hash, class);
	return tag;
}

static LOCKTAG
name_tag(KeyLockClass class, const char *name)
{
	return key_tag(class, hash_bytes_extended((const unsigned char *) name,
											  strlen(name), 0));
}

/* Take the lock, waiting for it, until the transaction ends. */
void
KeyLock(KeyLockClass class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(class, name);

	(void) LockAcquire(&tag, mode, false, false);
}

/* Take the lock until the transaction ends; false if that means waiting. */
bool
KeyLockIfFree(KeyLockClass class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(class, name);

	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * A transaction that ends gives back its locks one after the other.  So
 * whoever has got one of them may find another one held still: these ask for it
 * until it is sure that somebody else has it.
 */
bool
KeyLockIfFreeSoon(KeyLockClass class, const char *name, LOCKMODE mode)
{
	for (int i = 0; i < ENDED_LOOKS; i++)
	{
		if (KeyLockIfFree(class, name, mode))
			return true;
		NapFor(ENDED_NAP);
	}
	return false;
}

bool
KeyLockStaysHeld(KeyLockClass class, const char *name)
{
	LOCKTAG		tag = name_tag(class, name);

	if (!KeyLockIfFreeSoon(class, name, ExclusiveLock))
		return true;
	(void) LockRelease(&tag, ExclusiveLock, false);
	return false;
}

/* Each part of what has the name has a lock of its own. */
static LOCKTAG
part_tag(KeyLockClass class, const char *name, int part)
{
	return key_tag(class, hash_bytes_extended((const unsigned char *) name,
											  strlen(name), part + 1));
}

/* Take a part's lock, waiting for it, until the transaction ends. */
void
KeyLockPart(KeyLockClass class, const char *name, int part)
{
	LOCKTAG		tag = part_tag(class, name, part);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* The same; false if that means waiting. */
bool
KeyLockPartIfFree(KeyLockClass class, const char *name, int part)
{
	LOCKTAG		tag = part_tag(class, name, part);

	return LockAcquire(&tag, ExclusiveLock, false, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

void
KeyLockHash(KeyLockClass class, uint64 hash, LOCKMODE mode)
{
	LOCKTAG		tag = key_tag(class, hash);

	(void) LockAcquire(&tag, mode, false, false);
}

/* Give the lock back before the transaction ends. */
void
KeyUnlockHash(KeyLockClass class, uint64 hash, LOCKMODE mode)
{
	LOCKTAG		tag = key_tag(class, hash);

	(void) LockRelease(&tag, mode, false);
}

/* Take the lock until KeyUnlockForSession(), over transactions and errors. */
void
KeyLockForSession(KeyLockClass class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(class, name);

	(void) LockAcquire(&tag, mode, true, false);
}

/* The same; false if that means waiting. */
bool
KeyLockForSessionIfFree(KeyLockClass class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(class, name);

	return LockAcquire(&tag, mode, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
KeyUnlockForSession(KeyLockClass class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(class, name);

	(void) LockRelease(&tag, mode, true);
}

/*
 * Does anybody else hold the lock?  Sessions count that are in no transaction
 * now, which KeyLockOthers() leaves out.  In a transaction.
 */
bool
KeyLockHeldByOthers(KeyLockClass class, const char *name)
{
	LOCKTAG		tag = name_tag(class, name);

	if (LockAcquire(&tag, ExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL)
		return true;
	(void) LockRelease(&tag, ExclusiveLock, false);
	return false;
}

/* How many other transactions hold the lock, in whatever mode? */
int
KeyLockOthers(KeyLockClass class, const char *name)
{
	LOCKTAG		tag = name_tag(class, name);
	int			count;

	pfree(GetLockConflicts(&tag, AccessExclusiveLock, &count));
	return count;
}

/*
 * Wait for no lock longer than a moment, until the settings are given back
 * (SafePathLeave): whoever tries many keys, one of which is known to wait for
 * a lock, must not wait for each as long as for one.
 */
void
LocksSoon(void)
{
	LocksWithin(LOCK_MOMENT);
}

/* The same for so many milliseconds, or less where the setting says so. */
void
LocksWithin(int milliseconds)
{
	char		value[16];

	if (LockTimeout > 0 && LockTimeout <= milliseconds)
		return;
	snprintf(value, sizeof(value), "%d", milliseconds);
	(void) set_config_option("lock_timeout", value,
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}
