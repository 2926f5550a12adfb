/*
 * keylock.h
 *		Heavyweight locks on things that are not relations.
 *
 * They stand in the server's lock table as advisory locks of classes of their
 * own, apart from those of pg_advisory_lock, so deadlocks are detected and a
 * lock dies with its holder.
 *
 * Lock order: the extension (a worker's batch), KEYLOCK_STOP, KEYLOCK_PROJECTION (which a
 * worker's batch does not wait for), KEYLOCK_DESIRED, KEYLOCK_STREAM, relations, KEYLOCK_PRESENCE, KEYLOCK_CLAIM,
 * KEYLOCK_FAILURE, KEYLOCK_ERROR; for appends: the stream's
 * relation, KEYLOCK_EVENT_ID, KEYLOCK_AGGREGATE.
 */
#ifndef WALLET_PROJECTION_KEYLOCK_H
#define WALLET_PROJECTION_KEYLOCK_H

#include "storage/lock.h"

typedef enum KeyLockClass
{
	KEYLOCK_STREAM = 71,		/* exclusive: creating a stream of this name */
	KEYLOCK_PROJECTION,			/* shared: running a batch, start; exclusive:
								 * init, delete, reset, set, stop */
	KEYLOCK_PRESENCE,			/* shared: present as a consumer; never waited
								 * for, only counted */
	KEYLOCK_ERROR,				/* exclusive: writing down a failure */
	KEYLOCK_AGGREGATE,			/* exclusive: appending to an aggregate, until
								 * its events are in the table */
	KEYLOCK_DESIRED,			/* exclusive: changing what is started, and
								 * how many workers channels have */
	KEYLOCK_FAILURE,			/* shared, for the session: its last batch has
								 * failed, and it is going to try again; never
								 * waited for */
	KEYLOCK_EVENT_ID,			/* exclusive: appending an event of this id,
								 * until it is in the table */
	KEYLOCK_STOP,				/* exclusive: cancelling workers' batches,
								 * none of which begins meanwhile; never
								 * waited for by them, only counted */
	KEYLOCK_CLAIM,				/* exclusive, a lock per group of partitions:
								 * working on it */
	KEYLOCK_REBUILD				/* shared, for the session: rebuilding it
								 * (exclusive where sessions cannot share it);
								 * exclusive: beginning it anew; never waited
								 * for */
} KeyLockClass;

extern void KeyLock(KeyLockClass class, const char *name, LOCKMODE mode);
extern bool KeyLockIfFree(KeyLockClass class, const char *name,
						  LOCKMODE mode);
extern bool KeyLockIfFreeSoon(KeyLockClass class, const char *name,
							  LOCKMODE mode);
extern bool KeyLockStaysHeld(KeyLockClass class, const char *name);
extern void KeyLockPart(KeyLockClass class, const char *name, int part);
extern bool KeyLockPartIfFree(KeyLockClass class, const char *name, int part);
extern void KeyLockHash(KeyLockClass class, uint64 hash, LOCKMODE mode);
extern void KeyUnlockHash(KeyLockClass class, uint64 hash, LOCKMODE mode);
extern void KeyLockForSession(KeyLockClass class, const char *name,
							  LOCKMODE mode);
extern bool KeyLockForSessionIfFree(KeyLockClass class, const char *name,
									LOCKMODE mode);
extern void KeyUnlockForSession(KeyLockClass class, const char *name,
								LOCKMODE mode);
extern void LocksSoon(void);
extern void LocksWithin(int milliseconds);
extern bool KeyLockHeldByOthers(KeyLockClass class, const char *name);
extern int	KeyLockOthers(KeyLockClass class, const char *name);

#endif							/* WALLET_PROJECTION_KEYLOCK_H */
