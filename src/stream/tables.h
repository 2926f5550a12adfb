/*
 * tables.h
 *		The tables that hold a stream's events: its own, and its children.
 */
#ifndef WALLET_PROJECTION_TABLES_H
#define WALLET_PROJECTION_TABLES_H

#include "access/tupconvert.h"

#include "stream/stream.h"

typedef struct StreamTable
{
	Relation	relation;
	Oid			index;			/* the unique one that was asked for */
	TupleConversionMap *map;	/* from its columns to the stream's, or NULL */
} StreamTable;

/* Which of the unique indexes that a stream's table has. */
typedef enum StreamIndex
{
	STREAM_INDEX_EVENT,			/* on the event's id */
	STREAM_INDEX_VERSION		/* on the aggregate and its version */
} StreamIndex;

extern StreamTable *StreamTables(const Stream *stream, StreamIndex which,
								 int *count);
extern void StreamTablesClose(StreamTable *tables, int count);
extern TupleTableSlot *StreamTableConvert(const StreamTable *table,
										  TupleTableSlot *slot,
										  TupleTableSlot *converted);

#endif							/* WALLET_PROJECTION_TABLES_H */
