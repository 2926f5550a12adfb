/*
 * refold.h
 *		The rows of a read model as the events say that they ought to be.
 *
 * A refold folds the events that the positions of a snapshot say are applied,
 * for the keys of a range of hashes, and keeps the rows in memory.  It writes
 * nothing, fires no trigger and claims nothing.  What it knows is true of the
 * snapshot of its last RefoldAdvance(), which may go on from there to a later
 * one.
 *
 * It may be kept over transactions: it lives in the memory context of
 * RefoldBegin(), and RefoldUse() gives it the projection as another
 * transaction has opened it.  An active snapshot is needed in all that
 * evaluates expressions.
 */
#ifndef WALLET_PROJECTION_REFOLD_H
#define WALLET_PROJECTION_REFOLD_H

#include "nodes/bitmapset.h"

#include "batch/opened.h"
#include "handler/fold.h"
#include "rebuild/shadow.h"

typedef struct Refold Refold;

/* A key of the refold, and its row as it ought to be. */
typedef struct RefoldKey
{
	ShadowEntry *shadow;		/* the refold's own */
	FoldEntry  *entry;			/* the key alone: no state, nothing folded.
								 * For ReadModelFind(), and so on */
	uint32		hash;			/* of FoldedKey */
	int			partition;
	int			group;			/* of partitions */
	bool		has_row;		/* it ought to have a row */
	const char *fault;			/* an event that is applied cannot be folded:
								 * SQLSTATE and message.  The row is not
								 * known; NULL: there is none */
} RefoldKey;

typedef enum RefoldProblem
{
	REFOLD_DIFFERENT,
	REFOLD_MISSING,
	REFOLD_SURPLUS
} RefoldProblem;

/*
 * A difference: of a row as a whole (column is NULL), or of one of its columns.
 * Good until the receiver returns.
 */
typedef struct RefoldDifference
{
	RefoldKey  *key;			/* NULL: the row's key is null, or an event's
								 * key cannot be computed */
	const char *key_text;		/* likewise */
	RefoldProblem problem;
	const char *column;
	const char *expected;		/* texts, which may be NULL */
	const char *actual;
	TupleTableSlot *row;		/* the table's; or NULL */
} RefoldDifference;

typedef void (*RefoldReceiver) (void *arg, const RefoldDifference *difference);

/*
 * Begin a refold of the keys whose hashes are first..last (0..PG_UINT64_MAX:
 * all keys), which are the same in each process.
 */
extern Refold *RefoldBegin(OpenProjection *work, uint64 first, uint64 last);

/*
 * The refold is of this key alone, whose events are found by an index of the
 * stream where there is one.  To be called right after RefoldBegin(), for all
 * hashes.  An error if the text is no key.
 */
extern void RefoldOnly(Refold *refold, const char *key);
extern void RefoldCheckRows(Refold *refold);

/*
 * Called now and then while the refold reads, before RefoldCompare(); part: how
 * much of the stream was read, from 0 to 1.  True: what is above half is
 * somebody else's from now on (RefoldLast()).
 */
typedef bool (*RefoldWatcher) (void *arg, double part, uint64 half);

extern void RefoldWatch(Refold *refold, RefoldWatcher watch, void *arg);

/* The projection was opened anew; an error if it or a table was altered. */
extern void RefoldUse(Refold *refold, OpenProjection *work);

/*
 * Fold on to the snapshot's positions: what is applied there, and was not at
 * the last call (at first: at the projection's start).  group < 0: of all keys;
 * otherwise only of keys of that group of partitions.  The first call is for
 * all.  Where memory is used up, keys at the end of the range are left out:
 * see RefoldLast().  That happens only before RefoldCompare().
 */
extern void RefoldAdvance(Refold *refold, Snapshot snapshot, int group);

/* The end of the range that the refold really has. */
extern uint64 RefoldLast(const Refold *refold);

/*
 * Compare with the table's rows, as the snapshot of the last RefoldAdvance()
 * sees them, once.  Keys that are equal are dropped, and from then on
 * RefoldAdvance() folds only those that are left.  keep_surplus: keys of rows
 * that ought not to be there get into the refold, too, so that it has exactly
 * the keys that differ; that may narrow the range once more (RefoldLast()).
 * receive: told of each difference; or NULL.  Returns how many keys were
 * compared.
 */
extern int64 RefoldCompare(Refold *refold, Snapshot snapshot,
						   bool keep_surplus, RefoldReceiver receive,
						   void *arg);

/* How many keys the refold has. */
extern int64 RefoldCount(const Refold *refold);

/*
 * The next key of a group (< 0: of any), in the current memory context; or NULL.
 * It is good until the next RefoldAdvance(); has_row and fault may change then,
 * and RefoldRenew() reads them again.
 */
extern RefoldKey *RefoldNext(Refold *refold, int group, ShadowCursor *cursor);
extern void RefoldRenew(Refold *refold, RefoldKey *key);

/* The key's text, for people. */
extern char *RefoldKeyText(Refold *refold, const RefoldKey *key);

/* Drop a key; the RefoldKey must not be used then.  A cursor may go on. */
extern void RefoldDrop(Refold *refold, RefoldKey *key);

/* The key ought to have no row from now on, whatever its events say. */
extern void RefoldClear(Refold *refold, RefoldKey *key);

/* The type of its keys; NULL: of a native projection. */
extern KeyType *RefoldKeyType(const Refold *refold);

/* How many rows the comparison has found whose key is null: surplus. */
extern int64 RefoldUnkeyed(const Refold *refold);

/* Which rows these are, as an SQL condition. */
extern char *RefoldUnkeyedCondition(const Refold *refold);

/* The next event whose key cannot be computed, though it is applied; 0: none. */
extern int64 RefoldNoKeyAfter(const Refold *refold, int64 no);

/*
 * Columns (numbers from 1) that are compared, and that a rebuild may write.
 * The others are the key's, which an INSERT sets as well, defaults', triggers',
 * generated or the user's.
 */
extern const Bitmapset *RefoldColumns(const Refold *refold);

/*
 * The key's row as it ought to be, all columns of the read model; only
 * RefoldColumns() and the key's are meant to be used.  NULL: no row.  Good until the next
 * call.
 */
extern TupleTableSlot *RefoldRow(Refold *refold, const RefoldKey *key);

/*
 * Does the table's row (NULL: there is none) differ from what ought to be?
 * columns (by number minus 1; or NULL): which columns do, if both are there.
 * A key with a fault differs.
 */
extern bool RefoldDiffers(Refold *refold, const RefoldKey *key,
						  TupleTableSlot *actual, bool *columns);

/* Free it; nothing of it is left. */
extern void RefoldEnd(Refold *refold);

/* How much memory it uses, and has used at most, in bytes. */
extern Size RefoldMemory(const Refold *refold);
extern Size RefoldMemoryMost(const Refold *refold);

#endif							/* WALLET_PROJECTION_REFOLD_H */
