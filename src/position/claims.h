/*
 * claims.h
 *		Who works on which partitions.
 */
#ifndef WALLET_PROJECTION_CLAIMS_H
#define WALLET_PROJECTION_CLAIMS_H

#include "position/lanes.h"

/* Groups of partitions that this transaction has claimed. */
typedef struct Claims
{
	Relation	catalog;
	int			partitions;		/* of the projection */
	uint64		groups;
	Positions	all;			/* as they are since the claim */
	PositionSets sets;			/* of the claimed groups, in order of heads */
} Claims;

extern Claims GroupsClaim(const Projection *projection,
						  const PositionSets *chosen, int max);
extern Claims GroupClaim(const Projection *projection, int partition,
						 bool wait);
extern void ClaimsSave(const Projection *projection, Claims *claims,
					   PositionSets *saved, bool written);
extern void ClaimsWritten(const Projection *projection, Claims *claims);
extern void ClaimsRelease(Claims *claims);

#endif							/* WALLET_PROJECTION_CLAIMS_H */
