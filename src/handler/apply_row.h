/*
 * apply_row.h
 *		Rows of a read model, made what they ought to be.
 */
#ifndef WALLET_PROJECTION_APPLY_ROW_H
#define WALLET_PROJECTION_APPLY_ROW_H

#include "nodes/bitmapset.h"

#include "handler/fold.h"
#include "rowwriter.h"

typedef struct RowApply RowApply;

extern RowApply *RowApplyBegin(const Sink *sink, Relation read_model,
							   Snapshot snapshot, const Bitmapset *columns,
							   LockWaitPolicy policy);
extern void RowApplyArrange(RowApply *apply, FoldedKey *keys, int64 count);
extern TupleTableSlot *RowApplyFind(RowApply *apply, const FoldedKey *key);
extern RowUpdate RowApplyWrite(RowApply *apply, const FoldedKey *key,
							   TupleTableSlot *wanted, const bool *differs);
extern void RowApplyEnd(RowApply *apply);

#endif							/* WALLET_PROJECTION_APPLY_ROW_H */
