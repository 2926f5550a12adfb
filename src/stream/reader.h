/*
 * reader.h
 *		Events in order of their number, into a receiver.
 */
#ifndef WALLET_PROJECTION_READER_H
#define WALLET_PROJECTION_READER_H

#include "nodes/pg_list.h"

#include "stream/stream.h"

/*
 * One event, as the receiver sees it: pointers into the tuple, good until the
 * receiver returns.  Texts have no terminating zero.
 *
 * Where the stream's rows are asked for (Stream.rows), `no` and `slot` are set
 * and nothing else: the slot has the row type of the stream's table, and
 * columns are taken out of the tuple when they are asked for.
 */
typedef struct Event
{
	int64		no;
	int64		version;		/* of the aggregate */
	const char *name;
	int			name_length;
	const char *type;
	int			type_length;
	const char *key;			/* aggregate id */
	int			key_length;
	Datum		payload;		/* jsonb as stored: perhaps short or toasted */
	TupleTableSlot *slot;		/* the row; or NULL */
} Event;

/* Is it of an aggregate of this type, whose name has so many bytes? */
static inline bool
EventIsOfType(const Event *event, const char *type, int length)
{
	return event->type_length == length &&
		memcmp(event->type, type, length) == 0;
}

/* Takes one event; returns false to end the read after it. */
typedef bool (*EventReceiver) (void *state, const Event *event);

extern bool ReadEvents(const Stream *stream, Snapshot snapshot, int64 first,
					   int64 last, EventReceiver receive, void *state);
extern bool ReadRowsWhere(const Stream *stream, Snapshot snapshot,
						  List *quals, int64 first, int64 last,
						  EventReceiver receive, void *state);
extern bool ReadKeyEvents(const Stream *stream, Snapshot snapshot,
						  const char *type, const char *key,
						  int64 first, int64 last, EventReceiver receive,
						  void *state);

#endif							/* WALLET_PROJECTION_READER_H */
