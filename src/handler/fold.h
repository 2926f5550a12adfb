/*
 * fold.h
 *		The states of a batch's keys, in memory.
 */
#ifndef WALLET_PROJECTION_FOLD_H
#define WALLET_PROJECTION_FOLD_H

#include "handler/handler.h"

/* What a batch has folded for one key; its bytes come after the state. */
typedef struct FoldEntry
{
	int32		key_length;
	uint16		key_offset;		/* from the state's beginning */
	bool		creates;		/* its first event makes the row */
	int64		first_no;
	int64		last_no;
	int64		second_creation;	/* an event that makes the row although
									 * others came before it, or 0 */
	char		state[FLEXIBLE_ARRAY_MEMBER];	/* the handler's */
} FoldEntry;

/* The key's bytes; no terminating zero. */
static inline const char *
FoldEntryKey(const FoldEntry *entry)
{
	return entry->state + entry->key_offset;
}

/* An event that cannot be applied, and why. */
typedef struct BadEvent
{
	Event		event;
	const char *reason;
} BadEvent;

/* A key that has something to apply, to be sorted. */
typedef struct FoldedKey
{
	uint64		rank;			/* sorts first; then the key's bytes */
	FoldEntry  *entry;
	uint32		hash;
} FoldedKey;

typedef struct Fold Fold;

extern Fold *FoldBegin(const RowHandler *handler);
extern bool FoldAdd(Fold *fold, const Event *event, uint64 hash,
					BadEvent *bad);
extern bool FoldFlush(Fold *fold, BadEvent *bad);
extern int64 FoldEvents(const Fold *fold);
extern int	FoldWaiting(const Fold *fold);
extern Size FoldMemory(const Fold *fold);
extern FoldedKey *FoldKeys(Fold *fold, int64 *count);
extern void FoldSort(FoldedKey *keys, int64 count);

#endif							/* WALLET_PROJECTION_FOLD_H */
