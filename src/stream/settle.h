/*
 * settle.h
 *		Up to which number nothing can appear any more.
 */
#ifndef WALLET_PROJECTION_SETTLE_H
#define WALLET_PROJECTION_SETTLE_H

#include "stream/stream.h"

/* What one look at a stream has found. */
typedef struct Settlement
{
	int64		last_number;	/* the last number drawn, read first */
	int64		settled;		/* numbers up to here are visible to any
								 * snapshot taken from now on, or dead */
	uint64		look;			/* which one it was, in this process */
	bool		own;			/* our own transaction writes, too */
} Settlement;

extern Settlement Settle(const Stream *stream);
extern uint64 StreamLook(const Stream *stream, int64 *settled);
extern int64 StreamOldest(const Stream *stream);
extern int64 StreamFilledSince(const Stream *stream, uint64 look);

#endif							/* WALLET_PROJECTION_SETTLE_H */
