/*
 * stream.h
 *		Event streams: tables of events in order of their number.
 *
 * A stream is known by its name.  StreamOpen() locks its table and finds
 * what is needed to read and append; the result lives in the current memory
 * context, the relation until StreamRelease() or the end of the transaction.
 *
 * A stream is created, by stream_create, and then its table has the columns
 * below; or it is attached, by stream_attach: any table with a column of
 * numbers.
 */
#ifndef WALLET_PROJECTION_STREAM_H
#define WALLET_PROJECTION_STREAM_H

#include "access/attnum.h"
#include "executor/tuptable.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "tableref.h"

/*
 * The first columns of every created stream; users may add others after them.
 */
typedef enum StreamColumn
{
	STREAM_NO = 1,
	STREAM_EVENT_ID,
	STREAM_EVENT_NAME,
	STREAM_AGGREGATE_TYPE,
	STREAM_AGGREGATE_ID,
	STREAM_AGGREGATE_VERSION,
	STREAM_PAYLOAD,
	STREAM_METADATA,
	STREAM_CREATED_AT,
	STREAM_COLUMNS = STREAM_CREATED_AT
} StreamColumn;

/*
 * The last number that an event may have: the one after it is still a number,
 * so positions and ranges can speak of it.
 */
#define STREAM_NUMBER_MAX (PG_INT64_MAX - 1)

/* What belongs to a stream's table. */
typedef struct StreamParts
{
	bool		created;		/* or attached */
	AttrNumber	position;		/* the column of the events' numbers */
	Oid			position_type;	/* INT8OID; if attached, INT4OID or INT2OID */
	Oid			sequence;		/* where numbers come from */
	Oid			number_index;	/* unique, the numbers come first in it */
	/* of a created stream: */
	Oid			event_index;	/* unique on (event_id) */
	Oid			version_index;	/* unique on (aggregate_type, aggregate_id,
								 * aggregate_version) */
} StreamParts;

typedef struct Stream
{
	const char *name;
	Relation	relation;
	StreamParts parts;
	bool		rows;			/* readers are given rows (Event.slot); the
								 * opener of a created stream may set it, of
								 * an attached one it is set */
	bool		alone;			/* readers leave its children out; the opener
								 * may set it */
} Stream;

/* What is said of an event whose number its sequence has not given. */
typedef struct NumberTrouble
{
	char	   *message;
	char	   *detail;
	char	   *hint;
} NumberTrouble;

/* numbers.c */
extern int64 StreamNumberAbove(Relation relation, const StreamParts *parts);
extern int64 StreamLowestNumber(Relation relation, const StreamParts *parts);
extern bool StreamTableNumber(Relation table, const StreamParts *parts,
							  const char *column, bool lowest, int64 *number);
extern NumberTrouble StreamDescribeNumber(const char *stream, Oid sequence,
										  int64 number);

/* shape.c */
extern StreamParts StreamExamine(Relation relation, int sqlerrcode);
extern int64 SequenceLastNumber(Oid sequence);
extern int64 StreamLastNumber(Oid sequence);

/* stream.c */
extern bool StreamReference(const char *name, TableRef *ref);
extern void StreamRegister(const char *name, Oid relid,
						   const char *position, const char *guard);
extern void StreamUnregister(const char *name);
extern bool StreamIsAttached(const char *name);
extern void StreamCheckCreated(const Stream *stream, const char *what,
							   const char *hint);
extern bool StreamRenewReference(const Stream *stream);
extern struct CatalogDamage *StreamDamage(const char *name);
extern Oid	StreamRelation(const char *name);
extern bool StreamNumbering(const char *name, Relation relation,
							StreamParts *parts);
extern void StreamRefuseGone(const char *name);
extern Stream *StreamOpen(const char *name, LOCKMODE mode, bool missing_ok);
extern void StreamRelease(Stream *stream);
extern void StreamCheckRights(Stream *stream, Oid role, uint32 rights);

/* create.c */
extern Stream *StreamEnsure(const char *name, LOCKMODE mode);
extern Stream *StreamFind(const char *name, LOCKMODE mode);

/* named.c */
extern void StreamRefuseUnknown(const char *name);

/* history.c */
extern void StreamKeepHistory(const char *table);

#endif							/* WALLET_PROJECTION_STREAM_H */
