/*
 * fold.h
 *		The states of a batch's keys, in memory.
 */
#ifndef WALLET_PROJECTION_FOLD_H
#define WALLET_PROJECTION_FOLD_H

#include "handler/handler.h"

/* What a batch has folded for one key. */
typedef struct FoldEntry
{
	const char *key;			/* no terminating zero */
	int32		key_length;
	bool		creates;		/* its first event makes the row */
	int64		first_no;
	int64		last_no;
	int64		second_creation;	/* an event that makes the row although
									 * others came before it, or 0 */
	char		state[FLEXIBLE_ARRAY_MEMBER];	/* the handler's */
} FoldEntry;

typedef struct Fold Fold;

extern Fold *FoldBegin(const RowHandler *handler);
extern EventEffect FoldEvent(Fold *fold, const Event *event, uint64 hash,
							 const char **reason);
extern Size FoldMemory(const Fold *fold);
extern FoldEntry **FoldSorted(Fold *fold, int64 *count);

#endif							/* WALLET_PROJECTION_FOLD_H */
