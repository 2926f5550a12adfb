/*
 * apply.h
 *		Folded changes into the rows of a read model.
 */
#ifndef WALLET_PROJECTION_APPLY_H
#define WALLET_PROJECTION_APPLY_H

#include "handler/fold.h"
#include "handler/unhandled.h"

typedef struct Apply Apply;

extern Apply *ApplyBegin(const Sink *sink, Relation read_model,
						 Snapshot snapshot, bool skip_locked);
extern const char *ApplyKeys(Apply *apply, FoldedKey *keys, int64 count);
extern void ApplyEnd(Apply *apply);
extern List *ApplyLocked(const Apply *apply);
extern const Unhandled *ApplyUnhandled(const Apply *apply);
extern const char *ApplyAdvice(const Apply *apply);
extern const FoldEntry *ApplyCurrent(Apply *apply);
extern bool ApplyIsKeyConstraint(const Apply *apply, const char *name);

#endif							/* WALLET_PROJECTION_APPLY_H */
