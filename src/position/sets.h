/*
 * sets.h
 *		Which groups of partitions have which position.
 *
 * Positions are kept in lanes, each of which has some sets: groups, and the
 * position that they have.  The position of a group is that of the set with the highest
 * turn that has the group, whatever lane it is in.  Whoever has claimed
 * groups saves their sets in the lane of the lowest of them, which nobody else
 * writes then: see "Where positions are kept" in src/README.md.
 *
 * Everything here is arithmetic: no catalog, no lock.  Results are palloc'd in
 * the current memory context.
 */
#ifndef WALLET_PROJECTION_SETS_H
#define WALLET_PROJECTION_SETS_H

#include "position.h"
#include "stream/generations.h"

/* groups of a projection at most; a set of them is a uint64 */
#define GROUPS_MAX 64

/* Gaps that are not read with the position: they stand in blocks. */
typedef struct OldGaps
{
	NumberSet	blocks;			/* their ids */
	int64		first;			/* number in them; 0: there are none */
	int64		last;			/* likewise; the position's gaps are above */
	int64		size;			/* how many numbers */
} OldGaps;

/* The old gaps of a set that were read: they are among its position's. */
typedef struct OldBlock
{
	int64		id;
	int			first;			/* index of its first range */
	int			count;			/* of ranges */
} OldBlock;

typedef struct LoadedGaps
{
	int			count;
	OldBlock   *blocks;			/* in order of their numbers */
	NumberSet	gaps;			/* of all of them */
} LoadedGaps;

/*
 * Which row a set was read from.  The same row says the same for ever; another
 * one may, and means something else.  The place alone is not enough: the table
 * may be rewritten.
 */
typedef struct RowMark
{
	uint64		place;
	uint32		writer;			/* its transaction */
	int			lane;
	int			part;
	int64		version;
} RowMark;

/* Groups that have the same position. */
typedef struct PositionSet
{
	uint64		groups;
	int			lane;
	int64		turn;
	Position	position;
	OldGaps		old;
	const LoadedGaps *loaded;	/* if they were read; old is empty then */
	Owners		owners;			/* the only ones who may fill the old gaps */
	RowMark		mark;
} PositionSet;

/* The sets of a projection, each with the groups whose position it has. */
typedef struct PositionSets
{
	int			count;
	PositionSet *sets;
} PositionSets;

#define GroupBit(group) (UINT64CONST(1) << (group))
#define GroupOf(partition, groups) ((partition) % (groups))

extern int	GroupsOf(int partitions);
extern uint64 AllGroups(int groups);
extern int	LowestGroup(uint64 groups);
extern int	CountGroups(uint64 groups);
extern int	PartitionsOf(uint64 groups, int partitions);
extern bool SameRow(const RowMark *a, const RowMark *b);
extern bool SameSet(const PositionSet *a, const PositionSet *b);
extern bool SameOwners(const Owners *a, const Owners *b);
extern bool PositionLooked(const Position *before, const ReadReport *report);
extern int	GroupsAtMost(int partitions, int at_most);
extern bool SetHasGapsFrom(const PositionSet *set, int64 number);
extern PositionSets SetsResolve(const PositionSet *stored, int count);
extern uint64 SetsGroups(const PositionSets *sets);
extern PositionSets SetsClaimed(const PositionSets *sets, uint64 claimed);
extern PositionSets SetsCarried(const PositionSets *sets, int lane,
								uint64 saved);
extern int64 SetsTurn(const PositionSets *sets, uint64 saved);
extern PositionSets SetsJoin(const PositionSets *before,
							 const PositionSets *after,
							 const ReadReport *report);

#endif							/* WALLET_PROJECTION_SETS_H */
