/*
 * event_id.h
 *		An event of a stream, by its id.
 */
#ifndef WALLET_PROJECTION_EVENT_ID_H
#define WALLET_PROJECTION_EVENT_ID_H

#include "utils/uuid.h"

#include "stream/stream.h"

extern void EventIdLock(const Stream *stream, const pg_uuid_t *id);
extern void EventIdUnlock(const Stream *stream, const pg_uuid_t *id);
extern TupleTableSlot *EventById(const Stream *stream, const pg_uuid_t *id,
								 Snapshot snapshot);
extern TupleTableSlot *EventByIdNow(const Stream *stream, const pg_uuid_t *id,
									TransactionId *writer);

#endif							/* WALLET_PROJECTION_EVENT_ID_H */
