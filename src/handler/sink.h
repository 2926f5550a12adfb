/*
 * sink.h
 *		What becomes of a projection's events: which keys, and how rows change.
 *
 * A native projection's handler folds events of the created shape into a state
 * per key; the key is the aggregate's id.  A declared projection's events
 * become items by the expressions of its definition; they are kept per key,
 * and applied to the key's row one after the other; or a statement applies
 * them, to whatever rows it says.
 */
#ifndef WALLET_PROJECTION_SINK_H
#define WALLET_PROJECTION_SINK_H

#include "handler/handler.h"
#include "handler/key.h"
#include "handler/merge_run.h"
#include "handler/statement_run.h"

typedef struct Sink
{
	const RowHandler *handler;	/* a native projection's; or NULL */
	/* a declared one's */
	const Merge *merge;
	MergeRun   *run;
	KeyType    *key;
	bool		strict;			/* an item for which no WHEN holds is bad */
	StatementRun *statement;	/* applies the items, where it is no MERGE */
	bool		for_each_batch; /* any number of them at once */
} Sink;

extern KeyType *KeyTypeOf(const Merge *merge);

#endif							/* WALLET_PROJECTION_SINK_H */
