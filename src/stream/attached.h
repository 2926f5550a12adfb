/*
 * attached.h
 *		Whether a table of any columns can be trusted as a stream.
 */
#ifndef WALLET_PROJECTION_ATTACHED_H
#define WALLET_PROJECTION_ATTACHED_H

#include "stream/stream.h"

/* The name of the stream that a table is to be, in a hint. */
#define STREAM_NAME "<stream>"

/* Why a table cannot be a stream. */
typedef struct Refusal
{
	int			sqlerrcode;
	const char *detail;
	const char *hint;			/* what to do about it, with STREAM_NAME where
								 * the stream's name is; or NULL */
} Refusal;

/* What keeps writers from bringing numbers of their own. */
#define GUARD_IDENTITY "identity"
#define GUARD_TRUST "trust"

extern Refusal *AttachedExamine(Relation relation, const char *position,
								const char *guard, StreamParts *parts);
extern void AttachedRefuse(const char *stream, Relation relation,
						   const Refusal *refusal);
extern bool AttachedNumbering(Relation relation, const char *position,
							  StreamParts *parts);
extern bool IsIdentityAlways(Relation relation, AttrNumber column);

/* attached_table.c: what kind of table it is */
extern Refusal *AttachedTable(Relation relation);
extern Oid	TopmostParent(Oid relid);
extern Refusal *AttachedTriggers(Relation relation, AttrNumber position);

/* attached_sequence.c: where its numbers come from */
extern Oid	DefaultSequence(Relation relation, AttrNumber column);
extern bool SequenceIsOf(Oid sequence, Oid relid, AttrNumber column);
extern Refusal *AttachedSequence(Relation relation, AttrNumber position,
								 Oid sequence);
extern Refusal *AttachedShared(Relation relation, AttrNumber position,
							   Oid sequence);

extern Refusal *MakeRefusal(int sqlerrcode, const char *detail,
							const char *hint);

#endif							/* WALLET_PROJECTION_ATTACHED_H */
