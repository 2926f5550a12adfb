/*
 * append.h
 *		Events in: the one way by which this extension writes to a stream.
 */
#ifndef WALLET_PROJECTION_APPEND_H
#define WALLET_PROJECTION_APPEND_H

#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "stream/aggregate.h"

typedef struct NewEvent
{
	pg_uuid_t	event_id;
	const char *name;
	Jsonb	   *payload;
	Jsonb	   *metadata;		/* NULL: an empty object */
} NewEvent;

extern void NewEventId(pg_uuid_t *id);
extern void AppendLock(const Stream *stream, const char *type, const char *id);
extern void AppendCheckVersion(const char *type, const char *id,
							   int64 current, int64 expected);
extern int64 AppendEvents(Stream *stream, const AggregateKey *key,
						  int64 version, const NewEvent *events, int count);

#endif							/* WALLET_PROJECTION_APPEND_H */
