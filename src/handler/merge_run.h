/*
 * merge_run.h
 *		A Merge compiled: events into items, items into a row.
 *
 * Nothing here writes: rows come in and go out in slots.  An expression that
 * raises an error raises it to the caller.
 *
 * A run may be kept over many transactions, by who drops it when anything
 * that its definition uses has changed.  What belongs to one batch, the open
 * read model and the executor's state, lies between MergeRunOpen() and
 * MergeRunClose().  After an error, in a subtransaction or not, the run is
 * good again after MergeRunOpen(); MergeRunClose() need not be called then.
 * The row of before is lost.
 *
 * An active snapshot is needed wherever an expression is evaluated.
 */
#ifndef WALLET_PROJECTION_MERGE_RUN_H
#define WALLET_PROJECTION_MERGE_RUN_H

#include "executor/tuptable.h"
#include "nodes/params.h"
#include "utils/relcache.h"

#include "merge/merge.h"

typedef struct MergeRun MergeRun;

/* One item of an event; good until the receiver returns. */
typedef struct MergeItem
{
	int			ordinal;		/* of the event's items, from 0 */
	Datum	   *values;			/* item_width of them */
	bool	   *nulls;
	Datum		key[INDEX_MAX_KEYS];
	bool		key_nulls[INDEX_MAX_KEYS];
	bool		has_key;		/* no column of the key is null */
} MergeItem;

typedef void (*MergeItemReceiver) (void *arg, const MergeItem *item);

/* What an item has done to the row. */
typedef struct MergeEffect
{
	int			clause;			/* of merge->clauses, from 0; -1: none held */
	MergeActionKind action;
} MergeEffect;

/* The row of one key as the items have left it. */
typedef struct MergeRow
{
	bool		existed;		/* in the table, before the first item */
	bool		exists;			/* now */
	bool		changed;		/* something has to be written */
	bool		replaced;		/* it existed, was deleted and inserted again */
	TupleTableSlot *slot;		/* the row, if it exists now: as it was given,
								 * then a virtual one; good until the next
								 * call */
} MergeRow;

extern MergeRun *MergeRunBegin(const Merge *merge, Relation stream,
							   Relation read_model);
extern void MergeRunKeep(MergeRun *run, MemoryContext context);
extern void MergeRunEnd(MergeRun *run);
extern void MergeRunOpen(MergeRun *run, Relation read_model);
extern void MergeRunClose(MergeRun *run);
extern void MergeRunUnchecked(MergeRun *run);
extern void MergeRunUnknown(MergeRun *run, const Bitmapset *columns);
extern void MergeRunParams(MergeRun *run, ParamListInfo params);

extern void MergeRunItems(MergeRun *run, TupleTableSlot *event,
						  MergeItemReceiver receive, void *arg);
extern void MergeRunItemsEnd(MergeRun *run);
extern ErrorData *MergeRunItemsApart(MergeRun *run, TupleTableSlot *event,
									 MergeItemReceiver receive, void *arg);
extern ErrorData *MergeRunItemsTry(MergeRun *run, TupleTableSlot *event);
extern Size MergeItemSize(MergeRun *run, const MergeItem *item);
extern void MergeItemStore(MergeRun *run, const MergeItem *item, char *where);

extern char *MergeItemType(MergeRun *run, const char *stored_item);
extern char *MergeItemTypeNow(MergeRun *run, const MergeItem *item);
extern bool MergeMayApply(MergeRun *run, const Merge *merge,
						  const MergeItem *item);
extern char *MergeEventType(MergeRun *run, TupleTableSlot *event);
extern char *MergeEventTypeNoItem(MergeRun *run, const Merge *merge,
								  TupleTableSlot *event);

extern MergeRow *MergeRowBegin(MergeRun *run, TupleTableSlot *row);
extern void MergeRowKeepSums(MergeRun *run);
extern void MergeRowSettle(MergeRun *run);
extern MergeEffect MergeRowApply(MergeRun *run, const char *stored_item);

#endif							/* WALLET_PROJECTION_MERGE_RUN_H */
