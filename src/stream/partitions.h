/*
 * partitions.h
 *		Partitions and children of a stream's table that come and go.
 */
#ifndef WALLET_PROJECTION_PARTITIONS_H
#define WALLET_PROJECTION_PARTITIONS_H

#include "nodes/pg_list.h"

#include "stream/stream.h"

extern List *StreamPartitions(Relation relation);
extern NumberTrouble *StreamPartitionTrouble(const char *stream,
											 Relation relation,
											 const StreamParts *parts,
											 int64 lowest_head,
											 int64 highest_head,
											 const List *known);

#endif							/* WALLET_PROJECTION_PARTITIONS_H */
