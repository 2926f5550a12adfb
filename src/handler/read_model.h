/*
 * read_model.h
 *		The table that a row projection maintains.
 */
#ifndef WALLET_PROJECTION_READ_MODEL_H
#define WALLET_PROJECTION_READ_MODEL_H

#include "access/genam.h"
#include "access/htup.h"
#include "access/skey.h"
#include "storage/buf.h"

#include "handler/fold.h"
#include "handler/rowcache.h"

typedef struct ReadModel
{
	const RowHandler *handler;	/* a native projection's; or NULL */
	KeyType    *key_type;		/* a declared one's; or NULL */
	Relation	relation;
	Snapshot	snapshot;
	AttrNumber	columns[HANDLER_MAX_COLUMNS];	/* the handler's, or those of
												 * a declared key, in the
												 * table */
	Relation	index;			/* unique, on the key */
	IndexScanDesc scan;
	ScanKeyData scankeys[INDEX_MAX_KEYS];
	RowCache   *cache;
	bool		is_heap;		/* rows can be fetched by their places */
	bool		empty;			/* without a page when it was opened */
	bool		arranged;		/* keys that have no place have no row */
	Buffer		buffer;			/* the page of the last one, pinned */
	HeapTupleData tuple;		/* what model->row refers to then */
	TupleTableSlot *row;		/* the row that was found last */
	text	   *key;			/* the key that was made last */
	Size		key_capacity;
	const char *advice;			/* if a value did not fit: what to do; or NULL */
} ReadModel;

extern void ReadModelCheckColumns(const RowHandler *handler,
								  Relation relation);
extern void ReadModelCheckNow(Relation relation);
extern ReadModel *ReadModelBegin(const Sink *sink, Relation relation,
								 Snapshot snapshot);
extern ReadModel *ReadModelBeginToRead(const Sink *sink, Relation relation,
									   Snapshot snapshot);
extern void ReadModelEnd(ReadModel *model);
extern Datum ReadModelKey(ReadModel *model, const FoldEntry *entry);
extern void ReadModelArrange(ReadModel *model, FoldedKey *keys, int64 count);
extern bool ReadModelFind(ReadModel *model, const FoldedKey *key);
extern bool ReadModelHasKey(const ReadModel *model, TupleTableSlot *row,
							const FoldEntry *entry);
extern bool ReadModelRowIs(ReadModel *model, const FoldEntry *entry);
extern void ReadModelRemember(ReadModel *model, const FoldedKey *key,
							  ItemPointer place);
extern Datum ReadModelValue(ReadModel *model, int column, Datum value);

/* fit.c */
extern const char *ReadModelFit(ReadModel *model, int column, Datum *value);

#endif							/* WALLET_PROJECTION_READ_MODEL_H */
