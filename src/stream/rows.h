/*
 * rows.h
 *		Rows of a stream's table, and the numbers in them.
 */
#ifndef WALLET_PROJECTION_ROWS_H
#define WALLET_PROJECTION_ROWS_H

#include "access/skey.h"
#include "access/stratnum.h"
#include "catalog/pg_type.h"

#include "stream/stream.h"

/* The number in a value of the position column. */
static inline int64
StreamNumberOf(const StreamParts *parts, Datum value)
{
	return parts->position_type == INT8OID ? DatumGetInt64(value) :
		parts->position_type == INT4OID ? DatumGetInt32(value) :
		DatumGetInt16(value);
}

/* The number of an event, a row of the stream's table. */
static inline int64
StreamPosition(const Stream *stream, TupleTableSlot *slot)
{
	bool		isnull;

	return StreamNumberOf(&stream->parts,
						  slot_getattr(slot, stream->parts.position, &isnull));
}

extern int64 StreamHighestNumber(const Stream *stream, Snapshot snapshot);
extern void StreamNumberKey(const StreamParts *parts, ScanKey key,
							StrategyNumber strategy, int64 number);
extern void StreamRefuseTwice(const Stream *stream, int64 number);

/* numbers.c */
extern Oid	StreamNumberIndex(Relation table, AttrNumber column);

#endif							/* WALLET_PROJECTION_ROWS_H */
