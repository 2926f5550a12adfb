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

typedef struct RowWriter RowWriter;

/* Told of each row that was inserted: its tag, and where it is. */
typedef void (*RowInserted) (void *arg, void *tag, ItemPointer place);

extern RowWriter *RowWriterBegin(Relation relation, const bool *owned,
								 Snapshot snapshot);
extern void RowWriterOnInsert(RowWriter *writer, RowInserted inserted,
							  void *arg);
extern TupleTableSlot *RowWriterSlot(RowWriter *writer, void *tag,
									 bool for_insert);
extern void RowWriterInsert(RowWriter *writer, TupleTableSlot *slot,
							void *tag);
extern bool RowWriterUpdate(RowWriter *writer, TupleTableSlot *old,
							TupleTableSlot *slot, void *tag);
extern void RowWriterFlush(RowWriter *writer);
extern void RowWriterEnd(RowWriter *writer);
extern void *RowWriterTag(RowWriter *writer);

#endif							/* WALLET_PROJECTION_ROWWRITER_H */
