/*
 * new_event.h
 *		Events that are to be appended.
 */
#ifndef WALLET_PROJECTION_NEW_EVENT_H
#define WALLET_PROJECTION_NEW_EVENT_H

#include "utils/jsonb.h"
#include "utils/uuid.h"

/* of an event's metadata, for this extension alone: a wallet's snapshot */
#define RESERVED_METADATA_KEY "_balance"

typedef struct NewEvent
{
	pg_uuid_t	event_id;
	const char *name;
	Jsonb	   *payload;
	Jsonb	   *metadata;		/* NULL: an empty object */
} NewEvent;

extern void NewEventId(pg_uuid_t *id);
extern NewEvent *NewEventsFromJson(Jsonb *json, int *count, int *with_id);

#endif							/* WALLET_PROJECTION_NEW_EVENT_H */
