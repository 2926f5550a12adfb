/*
 * try_difference.h
 *		What a statement has changed in its tables.
 */
#ifndef WALLET_PROJECTION_TRY_DIFFERENCE_H
#define WALLET_PROJECTION_TRY_DIFFERENCE_H

#include "utils/snapshot.h"

#include "handler/try.h"

typedef struct TryDifference
{
	List	   *rows;			/* of Datum, jsonb: rows of the read model
								 * that were not there before */
	List	   *changes;		/* of char *, sorted: of all tables, as "+row"
								 * and "-row"; without values that no event
								 * has a say in */
} TryDifference;

extern TryDifference *TryDifferenceSince(const Merge *merge, Snapshot before);

#endif							/* WALLET_PROJECTION_TRY_DIFFERENCE_H */
