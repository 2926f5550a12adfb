/*
 * aggregate.h
 *		The events of one aggregate, newest first.
 */
#ifndef WALLET_PROJECTION_AGGREGATE_H
#define WALLET_PROJECTION_AGGREGATE_H

#include "access/genam.h"
#include "utils/snapshot.h"

#include "stream/stream.h"

/* An aggregate's name, as the stream's index wants it. */
typedef struct AggregateKey
{
	Datum		type;			/* text */
	Datum		id;				/* text */
} AggregateKey;

typedef struct AggregateScan
{
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	SnapshotData snapshot;
	TransactionId writer;		/* who is about to commit the event that was
								 * returned last; invalid: it is committed, or
								 * our own */
} AggregateScan;

extern AggregateKey AggregateKeyMake(const char *type, const char *id);
extern void AggregateScanBegin(AggregateScan *scan, const Stream *stream,
							   const AggregateKey *key);
extern TupleTableSlot *AggregateScanNext(AggregateScan *scan);
extern void AggregateScanEnd(AggregateScan *scan);
extern int64 AggregateVersion(const Stream *stream, const AggregateKey *key,
							  TransactionId *writer);

#endif							/* WALLET_PROJECTION_AGGREGATE_H */
