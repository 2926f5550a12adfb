/*
 * oldgaps.h
 *		Gaps that are seldom looked at, in blocks of their own.
 */
#ifndef WALLET_PROJECTION_OLDGAPS_H
#define WALLET_PROJECTION_OLDGAPS_H

#include "position/claims.h"

extern void OldGapsDrop(const Projection *projection);
extern bool OldGapsFind(const Projection *projection, Snapshot snapshot,
						const PositionSet *set, NumberSet *gaps);
extern CatalogDamage *OldGapsDamage(const Projection *projection,
									Snapshot snapshot,
									const Positions *positions);
extern NumberSet OldGapsRead(const Projection *projection, Snapshot snapshot,
							 const PositionSet *set);
extern void OldGapsLoad(const Projection *projection, PositionSet *set);
extern void OldGapsStore(const Projection *projection, const Claims *claims,
						 PositionSets *sets, int64 oldest,
						 const Owners *owners);
extern void OldGapsDeleteUnused(const Projection *projection,
								const Claims *claims,
								const PositionSets *saved);

#endif							/* WALLET_PROJECTION_OLDGAPS_H */
