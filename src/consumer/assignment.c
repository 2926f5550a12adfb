/*
 * assignment.c
 *		A projection as one consumer knows it.
 *
 * A projection whose batch has failed is left alone for a while, which
 * doubles with each failure in a row; the others of the channel go on.
 *
 * A batch that takes too long does not say which event is to blame.  So events
 * come singly until one takes too long alone; the next batch parks its keys
 * and does not try it.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "batch/batch.h"
#include "consumer/assignment.h"
#include "definition/projection.h"
#include "encoding.h"
#include "keylock.h"
#include "parking/park.h"
#include "settings.h"

/* a whole batch has failed: how long the projection is left alone */
static const RetryPolicy batch_retry = {
	.delay = 1000,
	.multiplier = 2,
	.max_delay = 60000,
	.jitter = 0.1
};

/* other consumers may have parked keys: how often that is looked up, in ms */
#define LOOK_INTERVAL 10000

/* how many events a worker's first batch has, and the least */
#define BATCH_BEGIN 256
#define BATCH_MIN	8

/* how many events a batch has after one failed at max_parked, and then */
#define SHRINK_FIRST 1024
#define SHRINK_BY	8

/* times that a lock is waited for in vain before it is a failure; ms between */
#define LOCK_TRIES	4
#define LOCK_DELAY	250

/* batches of one event after one that took too long: more than it had */
#define SINGLY 10000

/* How long to wait after so many failures in a row, in milliseconds. */
static int
draw_delay(int failures)
{
	return (int) RetryDelay(&batch_retry, failures,
							pg_prng_double(&pg_global_prng_state));
}

/*
 * Is it time?  No delay of a consumer's is longer than a failed batch's; if
 * one seems to be, the clock was set back.
 */
static bool
is_due(TimestampTz at)
{
	return RetryIsDue(at, GetCurrentTimestamp(), RetryLongest(&batch_retry));
}

bool
AssignmentIsDue(const Assignment *assignment)
{
	return is_due(assignment->next_try);
}

/*
 * A batch has failed as too many keys would be parked: is it to be done again
 * with fewer events?  False, after one with a single event: it is a failure.
 */
static bool
AssignmentShrink(Assignment *assignment)
{
	if (assignment->at_most == 1)
		return false;
	assignment->at_most = assignment->at_most == 0 ? SHRINK_FIRST :
		Max(assignment->at_most / SHRINK_BY, 1);
	return true;
}

/*
 * A batch has gone well, but did it meet the event that takes too long?  It may
 * have had other partitions.  True while the next batches have one event each.
 */
static bool
search_goes_on(SlowSearch *slow, const BatchResult *result)
{
	if (result->outcome == BATCH_IDLE)
		slow->singly = 0;
	else if (slow->singly > 0 && (result->events > 0 || result->gave_up))
		slow->singly--;
	if (slow->singly == 0 || result->gave_up)
		slow->given_up.no = 0;
	return slow->singly > 0;
}

/* A batch of at most so many events has gone well: the next may have more. */
void
AssignmentGrow(Assignment *assignment, const BatchResult *result)
{
	assignment->lock_timeouts = 0;
	if (search_goes_on(&assignment->slow, result))
		return;
	assignment->at_most = assignment->at_most >= SHRINK_FIRST ? 0 :
		assignment->at_most * SHRINK_BY;
}

/*
 * How many events a batch may have to be done in about BATCH_TIME.  While it
 * runs, the other projections of the channel wait, and so does who wants the
 * database for himself.  Triggers may make a single row take long.
 */
int64
AssignmentBatchSize(const Assignment *assignment)
{
	return assignment->batch_size == 0 ? BATCH_BEGIN : assignment->batch_size;
}

/* A batch took so long: learn from it. */
void
AssignmentTook(Assignment *assignment, int64 events, long milliseconds)
{
	int64		quick;

	if (events == 0)
		return;
	quick = events * BATCH_TIME / Max(milliseconds, 1);
	assignment->batch_size = Max(Min(quick, Max(2 * events, BATCH_BEGIN)),
								 BATCH_MIN);
}

/*
 * Its batch has waited for a lock in vain.  True: leave it alone for a moment
 * and say nothing; false, after some times: it is a failure.
 */
static bool
AssignmentIsLocked(Assignment *assignment)
{
	if (assignment->lock_timeouts >= LOCK_TRIES)
		return false;
	assignment->lock_timeouts++;
	assignment->next_try = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   LOCK_DELAY);
	return true;
}

/*
 * Its batch has taken too long, or the replay of a parked key has: is it known
 * which event it was?
 */
void
AssignmentTookTooLong(Assignment *assignment, bool replaying)
{
	SlowSearch *slow = &assignment->slow;

	if (replaying)
	{
		slow->replay_given_up = ReplayTried();
		/* to be counted before others try the key as well */
		if (slow->replay_given_up != 0)
			assignment->no_retry_before = 0;
		return;
	}
	if (slow->singly > 0)
		slow->given_up = BatchAtHand();
	slow->timeout = BatchTimeout;
	slow->singly = SINGLY;
	assignment->at_most = 1;
}

/* What a consumer has found out that is no more. */
void
AssignmentInherit(Assignment *assignment, const SlowSearch *slow)
{
	assignment->slow = *slow;
	if (slow->singly > 0)
		assignment->at_most = 1;
}

/*
 * Its batch has failed, or has taken too long: what is to be done?  All who
 * run batches for an assignment do what this says.
 */
Verdict
AssignmentJudge(Assignment *assignment, const ErrorData *error, bool timed_out)
{
	if (!timed_out && BatchFailedAtLimit(error))
	{
		/* it may not be parked, so it is tried again */
		assignment->slow.given_up.no = 0;
		return AssignmentShrink(assignment) ? VERDICT_SMALLER : VERDICT_FAILED;
	}
	if (!timed_out && !assignment->isolate && BatchMayIsolate(error))
	{
		assignment->isolate = true;
		return VERDICT_ISOLATE;
	}
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE &&
		AssignmentIsLocked(assignment))
	{
		assignment->isolate = false;
		return VERDICT_LATER;
	}
	if (timed_out)
		AssignmentTookTooLong(assignment, false);
	return VERDICT_FAILED;
}

/* What a batch is to know of the one that took too long. */
void
AssignmentGivenUp(const Assignment *assignment, BatchLimits *limits)
{
	/* which may have more time now */
	if (BatchTimeout > 0 && BatchTimeout <= assignment->slow.timeout)
		limits->given_up = assignment->slow.given_up;
	limits->given_up_detail = assignment->error != NULL ? assignment->error->detail : NULL;
}

/*
 * Is an event looked for that takes too long?  Two failures in a row belong to
 * that; after a third one it may not be parked.
 */
bool
AssignmentSearches(const Assignment *assignment)
{
	return assignment->slow.singly > 0 && assignment->failures <= 2;
}

/* Somebody has changed something: it may be well now. */
void
AssignmentMayBeWell(Assignment *assignment)
{
	assignment->next_try = 0;
	assignment->slow.given_up.no = 0;
}

/* Look up when its next parked key is to be tried again, now and then. */
void
AssignmentLook(Assignment *assignment)
{
	TimestampTz now = GetCurrentTimestamp();

	if (assignment->looked_at != 0 && assignment->looked_at <= now &&
		!TimestampDifferenceExceeds(assignment->looked_at, now, LOOK_INTERVAL))
		return;
	assignment->next_retry = ParkedNextRetry(assignment->name);
	assignment->looked_at = now;
}

/* When one of its parked keys is to be tried again; 0: none is. */
TimestampTz
AssignmentNextRetry(const Assignment *assignment)
{
	return assignment->next_retry == 0 ? 0 :
		Max(assignment->next_retry, assignment->no_retry_before);
}

bool
AssignmentRetryIsDue(const Assignment *assignment)
{
	/* when the key itself is due is known where its policy is */
	return assignment->next_retry != 0 && is_due(assignment->no_retry_before) &&
		GetCurrentTimestamp() >= assignment->next_retry;
}

/*
 * A parked key could not be tried, and no event is to blame, or it has taken
 * too long: then the next retry counts that as an attempt.  It must not keep
 * the projection's batches waiting: only retries are put off.
 */
void
AssignmentRetryFailed(Assignment *assignment)
{
	assignment->retry_failures++;
	assignment->no_retry_before =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									draw_delay(assignment->retry_failures));
}

void
AssignmentRetryWell(Assignment *assignment, const ReplayResult *result)
{
	assignment->retry_failures = 0;
	assignment->no_retry_before = 0;
	assignment->next_retry = result->next_retry;
	if (result->gave_up)
		assignment->slow.replay_given_up = 0;
}

/* A key was parked, to be tried again then; 0: it was not. */
void
AssignmentRetryAt(Assignment *assignment, TimestampTz next_retry)
{
	if (next_retry != 0 &&
		(assignment->next_retry == 0 || next_retry < assignment->next_retry))
		assignment->next_retry = next_retry;
}

/*
 * Its batch has failed.  Takes over the error; true if that is another one
 * than the last time.
 */
bool
AssignmentFailed(Assignment *assignment, ErrorData *error)
{
	bool		is_new = assignment->error == NULL ||
		strcmp(assignment->error->message, error->message) != 0;

	if (assignment->error != NULL)
		FreeErrorData(assignment->error);
	assignment->error = error;
	assignment->failures++;
	/* once it is known which event takes too long, nothing is waited for */
	assignment->delay = draw_delay(assignment->slow.given_up.no != 0 ? 1 :
								   assignment->failures);
	assignment->next_try = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   assignment->delay);
	return is_new;
}

/* Its batch went well, or it is not served any more. */
void
AssignmentWell(Assignment *assignment)
{
	assignment->next_try = 0;
	assignment->lock_timeouts = 0;
	if (assignment->error != NULL)
		FreeErrorData(assignment->error);
	assignment->error = NULL;
	assignment->failures = 0;
	if (assignment->told)
		KeyUnlockForSession(KEYLOCK_FAILURE, assignment->name, ShareLock);
	assignment->told = false;
}

/* Does only the context say where the damage is? */
static bool
is_damage(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR &&
		error->context != NULL;
}

/* The error as the status shows it. */
static char *
text_of(const ErrorData *error)
{
	char	   *said = LastErrorText(error->sqlerrcode, error->message,
									 error->detail, error->hint);

	return is_damage(error) ? psprintf("%s CONTEXT: %s", said, error->context) :
		said;
}

/*
 * Write the error down, in a transaction of the caller's.  As long as we are
 * there and have not got over it, nobody else says that it is over.
 */
void
AssignmentSaveError(Assignment *assignment)
{
	const ErrorData *error = assignment->error;

	PushActiveSnapshot(GetTransactionSnapshot());
	KeyLock(KEYLOCK_PROJECTION, assignment->name, ShareLock);
	if (!assignment->told)
		KeyLockForSession(KEYLOCK_FAILURE, assignment->name, ShareLock);
	assignment->told = true;
	ProjectionSaveError(assignment->name, TextForEverybody(text_of(error)),
						assignment->failures, assignment->next_try);
	PopActiveSnapshot();
}

/*
 * What has failed went well now: write that down, in the batch's transaction,
 * unless it fails for others still; they will do it.
 */
void
AssignmentClearError(const Assignment *assignment)
{
	if (!KeyLockHeldByOthers(KEYLOCK_FAILURE, assignment->name))
		ProjectionSaveError(assignment->name, NULL, 0, 0);
}
