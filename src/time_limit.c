/*
 * time_limit.c
 *		How long one batch may take: wallet_projection.batch_timeout.
 *
 * A trigger of the read model may go on for ever, and while it does, nobody
 * but a superuser can end a worker's batch.  So the batch is cancelled, as a
 * user's statement would be, when it has taken that long.  Code that catches
 * cancellation is cancelled again and again; a worker that is still there
 * after that is terminated.
 *
 * Only who begins transactions (worker/worker.c, consumer/consume.c) sets a limit:
 * in a transaction of somebody else's there is statement_timeout.
 */
#include "postgres.h"

#include "compat.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "time_limit.h"
#include "settings.h"

/* between two cancellations, in milliseconds; how many a worker may survive */
#define AGAIN	5000
#define TIMES	3

static TimeoutId timeout = MAX_TIMEOUTS;	/* not registered yet */
static volatile sig_atomic_t fired = 0; /* in this batch */

/* The signal handler. */
static void
cancel_batch(void)
{
	fired++;
	if (fired > TIMES && MyBackendType == B_BG_WORKER)
	{
		compat_die();
		return;
	}
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* A batch begins, before its transaction does. */
void
TimeLimitBegin(void)
{
	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, cancel_batch);
	fired = 0;
	if (BatchTimeout > 0)
		enable_timeout_every(timeout,
							 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 BatchTimeout),
							 AGAIN);
}

/*
 * It has ended, one way or the other: true if its time was over.  A
 * cancellation that came too late must not reach what follows.
 */
bool
TimeLimitEnd(void)
{
	bool		is_over;

	if (timeout == MAX_TIMEOUTS)
		return false;
	disable_timeout(timeout, false);
	is_over = fired > 0;
	if (is_over)
		QueryCancelPending = false;
	fired = 0;
	return is_over;
}

/* Is the batch's time over, whatever somebody's code has made of that? */
bool
TimeLimitIsOver(void)
{
	return fired > 0;
}

/*
 * To be called when the batch's rows are written: an error if its time is
 * over, though somebody's code has caught that.
 */
void
TimeLimitCheck(void)
{
	CHECK_FOR_INTERRUPTS();
	if (fired > 0)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("the batch was cancelled")));
}

static void
say(ErrorData *error, char *detail)
{
	error->sqlerrcode = ERRCODE_QUERY_CANCELED;
	error->message =
		psprintf("a batch took longer than wallet_projection.batch_timeout, %d ms",
				 BatchTimeout);
	error->detail = detail;
	error->hint = pstrdup("Look for a slow or endless trigger on the read model. Its events come singly now, and one that takes as long alone is parked.");
	error->funcname = NULL;
}

/* The time was over: have the error of the cancellation say so. */
void
TimeLimitExplain(ErrorData *error)
{
	say(error, error->context ?
		psprintf("It was cancelled at: %s", error->context) : NULL);
}

/* The error of a batch that did not end when it was cancelled. */
ErrorData *
TimeLimitError(void)
{
	ErrorData  *error = palloc0(sizeof(ErrorData));

	say(error, pstrdup("Code that it ran has caught the cancellation. So the worker was terminated."));
	return error;
}
