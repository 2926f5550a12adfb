/*
 * find.h
 *		An event by its number.
 */
#ifndef WALLET_PROJECTION_FIND_H
#define WALLET_PROJECTION_FIND_H

#include "utils/uuid.h"

#include "stream/stream.h"

/* An event as it is in the stream now; zeros if the stream is attached. */
typedef struct FoundEvent
{
	pg_uuid_t	id;
	int64		version;
	char	   *name;
} FoundEvent;

extern bool FindEvent(const Stream *stream, Snapshot snapshot, int64 no,
					  FoundEvent *event);

#endif							/* WALLET_PROJECTION_FIND_H */
