/*
 * reach.h
 *		How far two projections of one stream are, compared with each other.
 */
#ifndef WALLET_PROJECTION_REACH_H
#define WALLET_PROJECTION_REACH_H

#include "definition/projection.h"
#include "utils/snapshot.h"

/* events that are counted at most */
#define BEHIND_MAX 10000

extern int64 EventsBehind(const Projection *projection,
						  const Projection *other, Snapshot snapshot);
extern bool AtEqualPositions(const Projection *a, const Projection *b,
							 Snapshot snapshot);
extern char *BehindText(const Projection *projection,
						const Projection *other, int64 events);

#endif							/* WALLET_PROJECTION_REACH_H */
