/*
 * writekeys.h
 *		Folded keys into their rows, in a transaction or a subtransaction.
 */
#ifndef WALLET_PROJECTION_WRITEKEYS_H
#define WALLET_PROJECTION_WRITEKEYS_H

#include "definition/projection.h"
#include "handler/fold.h"
#include "handler/unhandled.h"

/* Where events are applied, in one transaction. */
typedef struct ApplyScope
{
	const Projection *projection;
	const Sink *sink;
	const Stream *stream;
	Relation	read_model;
	Unhandled  *unhandled;		/* where items that nothing was done with are
								 * counted; of a native projection NULL */
	Snapshot	snapshot;		/* by which events are read */
	bool		own;			/* the transaction is not a caller's, who has
								 * deferred constraints of his own, and rather
								 * waits for a lock than go without */
	bool		skip_locked;	/* leave rows alone that others have locked:
								 * their keys are parked */
	int64	   *looked;			/* counts numbers that are looked through for
								 * want of an index; NULL: they are not told */
} ApplyScope;

/* What has become of an attempt to write keys. */
typedef struct WriteResult
{
	ErrorData  *error;			/* has taken all of them back; or NULL */
	const FoldEntry *culprit;	/* whose error it was, if that is known */
	List	   *locked;			/* of FoldEntry: left alone, as others have
								 * locked their rows */
} WriteResult;

extern bool WriteInterrupted(void);
extern List *WriteKeys(const ApplyScope *scope, FoldedKey *keys, int64 count);
extern WriteResult TryKeys(const ApplyScope *scope, FoldedKey *keys,
						   int64 count);

#endif							/* WALLET_PROJECTION_WRITEKEYS_H */
