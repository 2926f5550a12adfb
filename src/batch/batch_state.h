/*
 * batch_state.h
 *		What the parts of a batch share: each has a part of it that it writes.
 */
#ifndef WALLET_PROJECTION_BATCH_STATE_H
#define WALLET_PROJECTION_BATCH_STATE_H

#include "batch/batch.h"
#include "batch/isolate.h"
#include "batch/opened.h"
#include "handler/fold.h"
#include "parking/park.h"
#include "stream/settle.h"

/* A key that is to be parked. */
typedef struct BatchFailure
{
	const FoldEntry *entry;
	KeyFailure	failure;
	int64		applied;		/* events of the key, before that one */
	bool		counted;		/* waiting is known; or it is what the fold
								 * has left out */
	int64		waiting;
} BatchFailure;

/* Which partitions a batch works on; claim.c writes it. */
typedef struct Reach
{
	ChoiceRule	rule;			/* which partitions to claim */
	int64		last_number;	/* before the claim */
	int64		gaps_from;		/* gaps from there on have to be looked at
								 * again */
	PositionSets candidates;	/* partitions that the rule wants */
	bool		nothing_left;	/* in any; looked for if it has failed */
	int			far_behind;		/* groups that all workers should share */
	bool		steal_wanted;	/* some of them are other workers' */
	Claims		claims;
	const Position *position_of[GROUPS_MAX];	/* by group; NULL: not ours */
	int64		low;			/* the lowest head */
} Reach;

/* What a batch reads, and has read; reading.c writes it. */
typedef struct Reading
{
	Settlement	settlement;
	Snapshot	snapshot;
	NumberSet	skipped;		/* events that are never to be applied */
	ReadReport	report;
	NumberSet	seen;			/* numbers seen above settled */
	Fold	   *fold;
	MemoryContext fold_context; /* of the fold */
	int64		gaps_read;		/* gaps from there on are read */
	int64		max_events;		/* 0: any number */
	Size		max_memory;
	int64		may_see;		/* events of any kind above the lowest head,
								 * until the next look; 0: any number */
	int			until_check;	/* events until memory and time are looked at */
	TimestampTz deadline;		/* of reading; 0: none */
	bool		past_gaps;		/* reads above the lowest head */
	int			type_length;	/* of the projection's aggregate type */
	Unhandled  *unhandled;		/* of a declared projection */
	const Event *event;			/* whose items are being taken */
	int			interval;		/* events between two looks at memory and time */
	bool		in_order;		/* nothing above an unsettled number is
								 * applied */
	int64		held_up;		/* by this number; 0: by none */
	NumberSet	open;			/* if in_order: gaps that may still be filled;
								 * the ones below report.last have been seen */
	int64		first_open;		/* the lowest of them that is not seen yet;
								 * PG_INT64_MAX: there is none */
} Reading;

/* Keys whose event has failed; failure.c writes it. */
typedef struct Faults
{
	bool		may_park;		/* or the first failure ends the batch */
	List	   *failures;		/* of BatchFailure */
	int			failing;		/* of these, not counting those that only wait
								 * for a lock */
	int			parked_before;	/* keys of all partitions, counted likewise
								 * when it is needed; -1: not yet */
	int			parked_asked;	/* keys of the batch that were looked up in
								 * vain */
	bool		parked_known;	/* parkedset.c knows the parked keys */
	int			parking;		/* keys that would be parked with these */
	int64		applied;		/* events more than were folded, of keys that
								 * were applied by themselves */
	TimestampTz next_retry;		/* of the keys that were parked; 0: none */
} Faults;

typedef struct Batch
{
	OpenProjection work;
	Projection *projection;		/* the work's */
	Stream	   *stream;
	int			groups;			/* of the projection */
	const BatchLimits *limits;
	MemoryContext context;
	bool		alone;			/* no other batch of the projection runs */
	bool		gave_up;		/* the event that the limits name is parked */
	Reach		reach;
	Reading		reading;
	Faults		faults;
	int64		events;			/* applied */
} Batch;

/* batch.c */
extern void BatchReadsEvent(int64 no);

/* claim.c */
extern void BatchCheckForwards(const Batch *batch, const Positions *positions,
							   int64 last_number);
extern const Position *BatchPositionOf(const Batch *batch, uint64 hash);
extern bool BatchLook(Batch *batch);
extern bool BatchClaim(Batch *batch);

/* reading.c */
extern void BatchBeginReading(Batch *batch);
extern void BatchRead(Batch *batch);

/* failure.c */
extern void BatchBeginFaults(Batch *batch);
extern void BatchRefuse(void *arg, FoldEntry *entry, const Event *event,
						const FoldFault *fault);
extern void BatchRefuseNoKey(Batch *batch, const Event *event,
							 const KeyFailure *cause);
extern void BatchPassOverParked(Batch *batch);
extern void BatchIsolate(Batch *batch, const ApplyScope *scope,
						 FoldedKey *keys, int64 count);
extern void BatchLeaveLocked(Batch *batch, const ApplyScope *scope,
							 const List *entries);
extern void BatchGiveUp(Batch *batch, const ApplyScope *scope,
						const FoldedKey *keys, int64 count);
extern void BatchPark(Batch *batch);

/* nokey.c */
extern void BatchReadSkipped(Batch *batch);
extern bool BatchParksNoKey(Batch *batch, int64 no, bool too_long);

/* blame.c */
extern void BatchCheckDefinition(const Batch *batch, const ApplyScope *scope,
								 const FoldedKey *keys, int64 count);

#endif							/* WALLET_PROJECTION_BATCH_STATE_H */
