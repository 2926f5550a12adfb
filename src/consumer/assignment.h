/*
 * assignment.h
 *		A projection as one consumer knows it.
 */
#ifndef WALLET_PROJECTION_ASSIGNMENT_H
#define WALLET_PROJECTION_ASSIGNMENT_H

#include "batch/batch.h"
#include "batch/replay.h"

/* how long a batch should take at most, in ms */
#define BATCH_TIME	300

/* Which event takes longer than a batch may?  Zeroed: nobody asks. */
typedef struct SlowSearch
{
	int			singly;			/* so many batches have one event each */
	BatchEvent	given_up;		/* alone in its batch, it has taken too long */
	int			timeout;		/* longer than this, in ms */
	int64		replay_given_up;	/* this parked key's replay has; 0: none */
} SlowSearch;

/* In a memory context of the consumer's; zeroed when made. */
typedef struct Assignment
{
	char		name[NAMEDATALEN];
	uint32		start;			/* grows with each batch; see choice.h */
	bool		present;		/* counted among its consumers */
	bool		drained;		/* nothing was left when last looked at */
	bool		isolate;		/* its last batch met an event that fails */
	int64		at_most;		/* events that a batch may have, after one has
								 * failed at max_parked, or has taken too
								 * long; 0: any number */
	SlowSearch	slow;			/* for an event that takes too long */
	TimestampTz next_retry;		/* of its parked keys; 0: none */
	TimestampTz looked_at;		/* when that was looked up */
	int			retry_failures; /* in a row, that were no event's fault */
	TimestampTz no_retry_before;	/* if there were */
	int64		batch_size;		/* events that a batch may have to be quick;
								 * 0: nothing is known yet */
	int			lock_timeouts;	/* in a row */
	int			failures;		/* of whole batches, in a row */
	int			delay;			/* after the last of them, in milliseconds */
	TimestampTz next_try;		/* not before then */
	ErrorData  *error;			/* the last one, if failures > 0 */
	bool		told;			/* it is written down; we hold KEYLOCK_FAILURE */
	int			verify_rate;	/* keys per second that idle workers compare */
	TimestampTz next_check;		/* of ours; not before then */
	bool		no_index;		/* it is told that this needs one */
} Assignment;

/* What is to be done about a batch that has failed. */
typedef enum Verdict
{
	VERDICT_ISOLATE,			/* do it again, to find out which event it was */
	VERDICT_SMALLER,			/* do it again with fewer events */
	VERDICT_LATER,				/* somebody has locked what it needs: say
								 * nothing, and try again in a moment */
	VERDICT_FAILED				/* the projection has failed */
} Verdict;

extern bool AssignmentIsDue(const Assignment *assignment);
extern int64 AssignmentBatchSize(const Assignment *assignment);
extern void AssignmentTook(Assignment *assignment, int64 events, long milliseconds);
extern void AssignmentTookTooLong(Assignment *assignment, bool replaying);
extern void AssignmentInherit(Assignment *assignment, const SlowSearch *slow);
extern Verdict AssignmentJudge(Assignment *assignment, const ErrorData *error,
							   bool timed_out);
extern void AssignmentGrow(Assignment *assignment, const BatchResult *result);
extern void AssignmentGivenUp(const Assignment *assignment, BatchLimits *limits);
extern bool AssignmentSearches(const Assignment *assignment);
extern void AssignmentMayBeWell(Assignment *assignment);
extern bool AssignmentFailed(Assignment *assignment, ErrorData *error);
extern void AssignmentWell(Assignment *assignment);
extern void AssignmentLook(Assignment *assignment);
extern bool AssignmentRetryIsDue(const Assignment *assignment);
extern TimestampTz AssignmentNextRetry(const Assignment *assignment);
extern void AssignmentRetryFailed(Assignment *assignment);
extern void AssignmentRetryWell(Assignment *assignment,
								const ReplayResult *result);
extern void AssignmentRetryAt(Assignment *assignment, TimestampTz next_retry);
extern void AssignmentSaveError(Assignment *assignment);
extern void AssignmentClearError(const Assignment *assignment);

#endif							/* WALLET_PROJECTION_ASSIGNMENT_H */
