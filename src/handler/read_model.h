/*
 * read_model.h
 *		The table that a row projection maintains.
 */
#ifndef WALLET_PROJECTION_READ_MODEL_H
#define WALLET_PROJECTION_READ_MODEL_H

#include "access/genam.h"
#include "access/skey.h"

#include "handler/fold.h"
#include "handler/rowcache.h"

typedef struct ReadModel
{
	const RowHandler *handler;
	Relation	relation;
	Snapshot	snapshot;
	AttrNumber	columns[HANDLER_MAX_COLUMNS];	/* the handler's, in the table */
	Relation	index;			/* unique, on the key */
	IndexScanDesc scan;
	ScanKeyData scankey;
	RowCache   *cache;
	BlockNumber blocks;			/* of the table when we began */
	struct IndexFetchTableData *fetch;	/* of rows by their places */
	TupleTableSlot *row;		/* the row that was found last */
	text	   *key;			/* the key that was made last */
	Size		key_capacity;
} ReadModel;

extern ReadModel *ReadModelBegin(const RowHandler *handler, Relation relation,
								 Snapshot snapshot);
extern void ReadModelEnd(ReadModel *model);
extern Datum ReadModelKey(ReadModel *model, const FoldEntry *entry);
extern bool ReadModelFind(ReadModel *model, const FoldedKey *key, Datum datum);
extern const char *ReadModelFit(ReadModel *model, int column, Datum *value);

#endif							/* WALLET_PROJECTION_READ_MODEL_H */
