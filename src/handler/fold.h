/*
 * fold.h
 *		The states of a batch's keys, in memory.
 */
#ifndef WALLET_PROJECTION_FOLD_H
#define WALLET_PROJECTION_FOLD_H

#include "nodes/pg_list.h"

#include "handler/sink.h"

/* Why a key's further events are left out. */
typedef enum FoldBanned
{
	FOLD_NOT_BANNED = 0,
	FOLD_REFUSED,				/* an event of it was refused by this fold */
	FOLD_PARKED,				/* it was parked before */
	FOLD_NO_KEY					/* an event whose key cannot be computed; its
								 * key's bytes are its number */
} FoldBanned;

/* What a batch has folded for one key; its bytes come after the state. */
typedef struct FoldEntry
{
	int32		key_length;
	uint16		key_offset;		/* from the state's beginning */
	bool		creates;		/* its first event makes the row */
	uint8		banned;			/* a FoldBanned: further events are left out */
	int64		first_no;
	int64		second_creation;	/* an event that makes the row although
									 * others came before it, or 0; of a key
									 * with nothing to apply, the lowest
									 * number left out */
	int64		left_out;		/* events, since it is banned */
	char		state[FLEXIBLE_ARRAY_MEMBER];	/* the handler's */
} FoldEntry;

/* An item of an event, kept until its key's row is at hand. */
typedef struct FoldItem
{
	struct FoldItem *next;
	int64		no;				/* of the event */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];	/* MergeItemStore()'s */
} FoldItem;

/* The state of a declared projection's key: its items, in order. */
typedef struct FoldItems
{
	FoldItem   *first;
	FoldItem   *last;
} FoldItems;

/* The key's bytes, or its image; no terminating zero. */
static inline const char *
FoldEntryKey(const FoldEntry *entry)
{
	return entry->state + entry->key_offset;
}

/* Which events are taken in subtransactions, as reading them may fail. */
typedef enum FoldGuard
{
	FOLD_GUARD_NONE,
	FOLD_GUARD_STORED_APART,	/* those whose payload is compressed, or out
								 * of line */
	FOLD_GUARD_ALL
} FoldGuard;

/* Why an event cannot be applied. */
typedef struct FoldFault
{
	int			sqlerrcode;
	const char *reason;
	const char *detail;			/* these may be NULL */
	const char *hint;
} FoldFault;

/*
 * Called for an event that cannot be applied.  If it returns, the key is
 * banned from then on; what came before the event stays folded.
 */
typedef void (*FoldRefused) (void *arg, FoldEntry *entry, const Event *event,
							 const FoldFault *fault);

/* Is a key parked that the fold sees for the first time? */
typedef bool (*FoldIsParked) (void *arg, const char *key, int length);

/* A key that has something to apply, to be sorted. */
typedef struct FoldedKey
{
	uint64		rank;			/* sorts first; then the key's bytes */
	FoldEntry  *entry;
	uint32		hash;
} FoldedKey;

typedef struct Fold Fold;

static inline const FoldItems *
FoldEntryItems(const FoldEntry *entry)
{
	return (const FoldItems *) entry->state;
}

extern Fold *FoldBegin(const Sink *sink, FoldRefused refused, void *arg);
extern void FoldGuardWith(Fold *fold, FoldGuard guard);
extern bool FoldInterrupted(void);
extern void FoldReads(bool begins);
extern void FoldBan(Fold *fold, const char *key, int length, uint64 hash);
extern void FoldBanThose(Fold *fold, FoldIsParked is_parked);
extern void FoldAdd(Fold *fold, const Event *event, uint64 hash);
extern void FoldAddItem(Fold *fold, const Event *event, const MergeItem *item,
						uint64 place);
extern FoldEntry *FoldAddNoKey(Fold *fold, int64 no);
extern bool FoldIsGuarded(const Fold *fold);
extern void FoldFlush(Fold *fold);
extern int64 FoldEvents(const Fold *fold);
extern int	FoldWaiting(const Fold *fold);
extern List *FoldBannedKeys(const Fold *fold);
extern Size FoldMemory(const Fold *fold);
extern FoldedKey *FoldKeys(Fold *fold, int64 *count);
extern void FoldSort(FoldedKey *keys, int64 count);

#endif							/* WALLET_PROJECTION_FOLD_H */
