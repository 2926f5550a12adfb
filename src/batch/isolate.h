/*
 * isolate.h
 *		Which keys of a batch cannot be written; the others are.
 */
#ifndef WALLET_PROJECTION_ISOLATE_H
#define WALLET_PROJECTION_ISOLATE_H

#include "batch/writekeys.h"

typedef struct Isolation
{
	const ApplyScope *scope;
	List	   *culprits;		/* of FoldEntry: cannot be written */
	List	   *locked;			/* of FoldEntry: left alone, as others have
								 * locked their rows */
	int64		written;		/* keys */
	int			locks_in_vain;	/* attempts that waited for one, in this part */
	ErrorData  *lock_error;		/* of the last of them; or NULL */
} Isolation;

extern void IsolateKeys(Isolation *isolation, FoldedKey *keys, int64 count,
						bool first_try);
extern bool IsolationGivesUp(const Isolation *isolation);

#endif							/* WALLET_PROJECTION_ISOLATE_H */
