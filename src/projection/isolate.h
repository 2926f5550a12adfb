/*
 * isolate.h
 *		Which key, and which event of it, cannot be applied; the others are.
 */
#ifndef WALLET_PROJECTION_ISOLATE_H
#define WALLET_PROJECTION_ISOLATE_H

#include "handler/fold.h"
#include "projection/park.h"

/* Where events are applied, in one transaction. */
typedef struct ApplyScope
{
	const Projection *projection;
	const Stream *stream;
	Relation	read_model;
	Snapshot	snapshot;		/* by which events are read */
	bool		own;			/* the transaction is not a caller's, who has
								 * deferred constraints of his own */
} ApplyScope;

/* The events of one key that are to be applied. */
typedef struct KeyTask
{
	const char *key;			/* with a terminating zero */
	int64		from_version;
	int64		from_no;
	int64		last_no;
	const Position *position;
	bool		passed;			/* those that the position says are applied
								 * (they were passed over); or the others */
	const NumberSet *skipped;	/* leave these out */
} KeyTask;

typedef struct KeyOutcome
{
	int64		applied;
	int64		folded;			/* by the first attempt: at most up to the
								 * first event that cannot be folded */
	bool		failed;
	KeyFailure	failure;		/* if it has */
	int64		waiting;		/* events behind that one */
} KeyOutcome;

extern bool ErrorIsOfKey(int sqlerrcode);
extern bool ErrorIsOfDefinition(int sqlerrcode);
extern void ApplyAll(const ApplyScope *scope, FoldedKey *keys, int64 count);
extern List *ApplyIsolated(const ApplyScope *scope, FoldedKey *keys,
						   int64 count, bool first_try);
extern bool ApplyGivesUp(const ApplyScope *scope, const List *culprits);
extern bool KeyTaskWants(const KeyTask *task, int64 no);
extern int64 CountKey(const ApplyScope *scope, const KeyTask *task);
extern KeyOutcome ApplyKey(const ApplyScope *scope, const KeyTask *task);

#endif							/* WALLET_PROJECTION_ISOLATE_H */
