/*
 * partitions.h
 *		Partitions and children of a stream's table that come and go.
 */
#ifndef WALLET_PROJECTION_PARTITIONS_H
#define WALLET_PROJECTION_PARTITIONS_H

#include "nodes/pg_list.h"

#include "stream/stream.h"

/* What positions say of a number. */
typedef bool (*NumberTest) (const void *positions, int64 number);

/* Positions, as far as partitions that come and go have to be compared. */
typedef struct PartitionsPast
{
	const List *known;			/* the partitions that there were, in order */
	const char *projection;
	NumberTest	passed;			/* an event that comes now is not applied */
	NumberTest	awaited;		/* an event that goes now was not applied */
	const void *positions;		/* their argument */
	bool		waits;			/* for who has locked a partition; otherwise
								 * it is not looked into */
} PartitionsPast;

extern List *StreamPartitions(Relation relation);
extern List *StreamPartitionsToKnow(Relation relation, const List *known,
									const List *now);
extern bool StreamPartitionsChanged(const List *known, const List *now);
extern NumberTrouble *StreamPartitionTrouble(const char *stream,
											 Relation relation,
											 const StreamParts *parts,
											 const PartitionsPast *past);
extern NumberTrouble *StreamPartitionKinds(const char *stream,
										   Relation relation);

#endif							/* WALLET_PROJECTION_PARTITIONS_H */
