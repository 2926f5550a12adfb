/*
 * lanes.h
 *		Positions as they are stored: see "Where positions are kept" in
 *		src/README.md.
 */
#ifndef WALLET_PROJECTION_LANES_H
#define WALLET_PROJECTION_LANES_H

#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "catalog_row.h"
#include "definition/projection.h"
#include "position/sets.h"

#define PARTITIONS_MAX 1024

/* A row of wallet_projection.position. */
typedef struct LaneRow
{
	ItemPointerData tid;
	int			part;
	bool		written;
	PositionSet set;			/* its lane, and the groups that stand in it */
} LaneRow;

/* The positions of a projection. */
typedef struct Positions
{
	int			groups;			/* of the projection */
	PositionSets sets;			/* in order of their heads */
	bool		written;		/* rows were written to the read model */
	int			row_count;
	LaneRow    *rows;			/* the newest version of each lane */
} Positions;

extern void PositionsCreate(const Projection *projection,
							const Position *start);
extern void PositionsDrop(const Projection *projection);
extern CatalogDamage *PositionsFind(const Projection *projection,
									Snapshot snapshot, Positions *found);
extern Positions PositionsRead(const Projection *projection);
extern int	PositionsCount(const Projection *projection,
						   const Positions *positions);
extern const PositionSet *PositionOfPartition(const Positions *positions,
											  int partition);
extern int64 PositionsHighest(const Positions *positions);
extern int64 PositionSetSize(const PositionSet *set);
extern void LaneSave(const Projection *projection, Relation catalog,
					 const Positions *before, uint64 claimed,
					 PositionSets *saved, bool written);

#endif							/* WALLET_PROJECTION_LANES_H */
