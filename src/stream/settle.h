/*
 * settle.h
 *		Up to which number nothing can appear any more.
 */
#ifndef WALLET_PROJECTION_SETTLE_H
#define WALLET_PROJECTION_SETTLE_H

#include "stream/generations.h"
#include "stream/stream.h"

/* What one look at a stream has found. */
typedef struct Settlement
{
	int64		last_number;	/* the last number drawn, read first */
	int64		settled;		/* numbers up to here are visible to any
								 * snapshot taken from now on, or dead */
	uint64		look;			/* which one it was, in this process */
	int64		oldest;			/* numbers up to here that are not settled, */
	Writers		owners;			/* are of these alone; palloc'd */
	bool		own;			/* our own transaction writes, too */
} Settlement;

extern Writers StreamWriters(Relation relation);
extern TransactionId WriterXid(const VirtualTransactionId *vxid);
extern Settlement Settle(const Stream *stream);
extern uint64 StreamLook(const Stream *stream, int64 *settled);
extern int64 StreamFilledSince(const Stream *stream, uint64 look);
extern Owners OwnersOf(const Settlement *settlement);
extern bool OwnersUnfinished(const Owners *owners);
extern void StreamLearnOwners(const Stream *stream, int64 last,
							  const Owners *owners);

#endif							/* WALLET_PROJECTION_SETTLE_H */
