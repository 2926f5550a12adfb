/*
 * apply_state.h
 *		What the ways of changing rows share: apply.c (a native handler's),
 *		apply_declared.c (a definition's) and apply_statement.c.
 */
#ifndef WALLET_PROJECTION_APPLY_STATE_H
#define WALLET_PROJECTION_APPLY_STATE_H

#include "access/tableam.h"

#include "handler/apply.h"
#include "handler/read_model.h"
#include "handler/unhandled.h"
#include "rowwriter.h"

struct Apply
{
	const Sink *sink;
	const RowHandler *handler;	/* the sink's */
	Relation	relation;
	ReadModel  *model;			/* a statement has neither */
	RowWriter  *writer;
	MemoryContext row_context;	/* reset after each row */
	const FoldEntry *current;	/* being looked at, or NULL: ask the writer */
	LockWaitPolicy policy;		/* where somebody else has locked a row */
	List	   *locked;			/* of FoldEntry: those left alone for that */
	char	   *key_constraint; /* the name of the key's index */
	bool		item_by_item;	/* each item is written by itself */
	Snapshot	own_snapshot;	/* that rows are read with after that; or NULL */
	Unhandled  *unhandled;		/* items for which no WHEN held */
	Unhandled  *key_unhandled;	/* those of the key at hand */
};

/* apply.c */
extern void ApplyOpen(Apply *apply, Snapshot snapshot);
extern void ApplyClose(Apply *apply);
extern TM_Result ApplyLockNewest(Apply *apply);
extern void ApplyLeave(Apply *apply, const FoldEntry *entry);

/* apply_declared.c */
extern RowWriter *ApplyDeclaredWriter(Apply *apply);
extern void ApplyDeclaredBegin(Apply *apply);
extern void ApplyDeclaredFetch(const FoldedKey *next, const FoldedKey *after);
extern const char *ApplyDeclared(Apply *apply, const FoldedKey *folded);
extern void ApplyDeclaredEnd(Apply *apply);

/* apply_statement.c */
extern void ApplyStatementBegin(Apply *apply);
extern void ApplyStatement(Apply *apply, const FoldedKey *keys, int64 count);

#endif							/* WALLET_PROJECTION_APPLY_STATE_H */
