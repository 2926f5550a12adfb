/*
 * aggregate.h
 *		The events of one aggregate, newest first.
 */
#ifndef WALLET_PROJECTION_AGGREGATE_H
#define WALLET_PROJECTION_AGGREGATE_H

#include "access/genam.h"
#include "utils/snapshot.h"

#include "stream/tables.h"

/* An aggregate's name, as the stream's index wants it. */
typedef struct AggregateKey
{
	Datum		type;			/* text */
	Datum		id;				/* text */
} AggregateKey;

/* The aggregate's events in one of the stream's tables, newest first. */
typedef struct AggregatePart
{
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	TupleTableSlot *converted;	/* NULL where the columns are the stream's */
	TupleTableSlot *event;		/* that is next, or NULL: there is none */
	int64		version;		/* of it */
} AggregatePart;

typedef struct AggregateScan
{
	SnapshotData dirty;			/* sees what is not committed yet */
	Snapshot	committed;		/* with children: a registered snapshot */
	StreamTable *tables;
	AggregatePart *parts;		/* one per table */
	int			count;
	int			current;		/* the part of the event returned last, or -1 */
	AggregatePart own;			/* where there is no child */
	TransactionId writer;		/* who is about to commit the newest event;
								 * invalid: it is committed, or our own */
} AggregateScan;

extern AggregateKey AggregateKeyMake(const char *type, const char *id);
extern bool AggregateKeyIsOf(const AggregateKey *key, const Datum *values);
extern void AggregateScanBegin(AggregateScan *scan, const Stream *stream,
							   const AggregateKey *key);
extern TupleTableSlot *AggregateScanNext(AggregateScan *scan);
extern void AggregateScanEnd(AggregateScan *scan);
extern int64 AggregateVersion(const Stream *stream, const AggregateKey *key,
							  int64 *no, TransactionId *writer);

#endif							/* WALLET_PROJECTION_AGGREGATE_H */
