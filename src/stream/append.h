/*
 * append.h
 *		Events in: the one way by which this extension writes to a stream.
 */
#ifndef WALLET_PROJECTION_APPEND_H
#define WALLET_PROJECTION_APPEND_H

#include "stream/aggregate.h"
#include "stream/new_event.h"

extern void AppendLock(const Stream *stream, const AggregateKey *key);
extern void AppendUnlock(const Stream *stream, const AggregateKey *key);
extern void AppendWait(TransactionId writer);
extern void AppendCheckVersion(const char *type, const char *id,
							   int64 current, int64 expected);
extern int64 AppendEvents(Stream *stream, const AggregateKey *key,
						  int64 version, int64 last_no,
						  const NewEvent *events, int count);

#endif							/* WALLET_PROJECTION_APPEND_H */
