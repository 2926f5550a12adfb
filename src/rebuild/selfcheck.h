/*
 * selfcheck.h
 *		A few keys at a time: is the read model right?
 */
#ifndef WALLET_PROJECTION_SELFCHECK_H
#define WALLET_PROJECTION_SELFCHECK_H

#include "batch/opened.h"

typedef struct SelfCheck
{
	int			keys;			/* that were compared */
	bool		no_index;		/* none is on the key: nothing can be compared */
	char	   *index;			/* the statement that makes one; or NULL */
	char	   *different;		/* a key that has now been found different,
								 * the first one; or NULL */
	bool		well_again;		/* the key that was different is right */
} SelfCheck;

extern SelfCheck SelfCheckKeys(const char *projection, int keys,
							   bool (*stop) (void));

#endif							/* WALLET_PROJECTION_SELFCHECK_H */
