/*
 * rowwriter.h
 *		Writes rows into a user's table by the executor's own functions.
 *
 * Row triggers, constraints, generated columns, column defaults and every
 * index are honoured, without the cost of a statement per row.  Rights are
 * the caller's to check.
 */
#ifndef WALLET_PROJECTION_ROWWRITER_H
#define WALLET_PROJECTION_ROWWRITER_H

#include "nodes/execnodes.h"
#include "nodes/lockoptions.h"

typedef struct RowWriter RowWriter;

/* What has become of an update. */
typedef enum RowUpdate
{
	ROW_UPDATED,
	ROW_CHANGED,				/* somebody else has changed or deleted it */
	ROW_LOCKED					/* somebody else has locked it */
} RowUpdate;

/* Told where a row has been put: its tag, and its place. */
typedef void (*RowPlaced) (void *arg, void *tag, ItemPointer place);

extern RowWriter *RowWriterBegin(Relation relation, const bool *owned,
								 Bitmapset *updated, Snapshot snapshot);
extern void RowWriterOnPlace(RowWriter *writer, RowPlaced placed,
							 void *arg);
extern TupleTableSlot *RowWriterSlot(RowWriter *writer, void *tag,
									 bool for_insert);
extern void RowWriterInsert(RowWriter *writer, TupleTableSlot *slot,
							void *tag);
extern RowUpdate RowWriterUpdate(RowWriter *writer, TupleTableSlot *old,
								 TupleTableSlot *slot, LockWaitPolicy policy,
								 void *tag);
extern RowUpdate RowWriterDelete(RowWriter *writer, TupleTableSlot *old,
								 LockWaitPolicy policy, void *tag);
extern void RowWriterFlush(RowWriter *writer);
extern void RowWriterEnd(RowWriter *writer);
extern void *RowWriterTag(RowWriter *writer);
extern void RowWriterRefuseOwn(Relation relation);

#endif							/* WALLET_PROJECTION_ROWWRITER_H */
