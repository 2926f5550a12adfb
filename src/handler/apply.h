/*
 * apply.h
 *		Folded changes into the rows of a read model.
 */
#ifndef WALLET_PROJECTION_APPLY_H
#define WALLET_PROJECTION_APPLY_H

#include "handler/fold.h"

/* Why a batch could not be applied: which key, which event, what is wrong. */
typedef struct ApplyFailure
{
	const FoldEntry *entry;
	int64		no;				/* 0: one of the entry's, it is not known which */
	const char *reason;
} ApplyFailure;

typedef struct Apply Apply;

extern Apply *ApplyBegin(const RowHandler *handler, Relation read_model,
						 Snapshot snapshot);
extern bool ApplyFold(Apply *apply, Fold *fold, ApplyFailure *failure);
extern void ApplyEnd(Apply *apply);
extern const FoldEntry *ApplyCurrent(Apply *apply);
extern bool ApplyIsKeyConstraint(Apply *apply, const char *name);

#endif							/* WALLET_PROJECTION_APPLY_H */
