/*
 * settle.h
 *		Up to which number nothing can appear any more.
 */
#ifndef WALLET_PROJECTION_SETTLE_H
#define WALLET_PROJECTION_SETTLE_H

#include "storage/lock.h"

#include "stream/stream.h"

/* Transactions that may write to a stream. */
typedef struct Writers
{
	int			count;
	VirtualTransactionId *ids;
} Writers;

/* What one look at a stream has found. */
typedef struct Settlement
{
	int64		last_number;	/* the last number drawn, read first */
	Writers		writers;		/* who wrote after that; palloc'd */
	int64		settled;		/* numbers up to here are visible to any
								 * snapshot taken from now on, or dead */
	bool		own;			/* our own transaction writes, too */
} Settlement;

extern Settlement Settle(const Stream *stream);
extern bool WritersUnfinished(const Writers *writers);

#endif							/* WALLET_PROJECTION_SETTLE_H */
