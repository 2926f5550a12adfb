/*
 * keyrow.h
 *		One key's row, as some of its events make it.
 */
#ifndef WALLET_PROJECTION_KEYROW_H
#define WALLET_PROJECTION_KEYROW_H

#include "batch/keyevents.h"
#include "rebuild/refold.h"

/* What to do with an event of the key. */
typedef enum KeyRowChoice
{
	KEYROW_TAKE,
	KEYROW_LEAVE,
	KEYROW_END					/* and with all behind it */
} KeyRowChoice;

typedef KeyRowChoice (*KeyRowChooser) (void *arg, const Event *event);

extern TupleTableSlot *KeyRowMake(Refold *refold, Snapshot snapshot,
								  const char *key, int64 last,
								  KeyRowChooser choose, void *arg,
								  int64 *looked);
extern bool KeyRowHasIndex(const Refold *refold);
extern char *KeyRowIndex(const Refold *refold);

#endif							/* WALLET_PROJECTION_KEYROW_H */
