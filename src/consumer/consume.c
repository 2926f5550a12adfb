/*
 * consume.c
 *		CALL projection_consume: batches in transactions of their own.
 *
 * The procedure goes round the projections of its channel, a batch each, and
 * commits after each batch.  A batch runs in a subtransaction, so that its
 * error can be written down; the projection is then tried again later, with
 * a delay that doubles, while the others go on.
 *
 * While it runs it holds a lock for the session by which consumers of one
 * projection count each other, to share its partitions.
 */
#include "postgres.h"

#include "compat.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "batch/batch.h"
#include "batch/opened.h"
#include "batch/replay.h"
#include "consumer/assignment.h"
#include "definition/projection.h"
#include "encoding.h"
#include "fault.h"
#include "keylock.h"
#include "nap.h"
#include "position/lanes.h"
#include "savepoint.h"
#include "time_limit.h"

/* how long to wait where there is nothing to do, in milliseconds */
#define WAIT_MIN 5
#define WAIT_MAX 500

#define COMMAND "projection_consume()"

SQL_FUNCTION(projection_consume);

typedef struct Consumer
{
	char	   *channel;
	int64		message_limit;	/* 0: none */
	TimestampTz deadline;		/* DT_NOEND: none */
	bool		stop_on_failure;
	bool		finish_when_drained;
	int64		applied;
	bool		worked;			/* in this round */
	List	   *assignment;
	MemoryContext context;		/* lives as long as the call */
	MemoryContext round;		/* reset after each round */
} Consumer;

/*
 * Commit what was done; a new transaction begins.  A call may last for days,
 * and autovacuum should know of its dead rows before its end.  Nothing of the
 * new transaction is counted yet, so this is as good as between the two,
 * where a server with assertions wants it.
 */
static void
commit(Consumer *consumer)
{
	SPI_commit();
#ifndef USE_ASSERT_CHECKING
	(void) pgstat_report_stat(false);
#endif
	MemoryContextSwitchTo(consumer->round);
}

/* Find the channel's projections; an error if there is none to serve. */
static void
find_projections(Consumer *consumer)
{
	ListCell   *cell;

	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(cell, ProjectionsOwned(consumer->channel))
	{
		const Projection *projection = lfirst(cell);
		Assignment *assignment = palloc0(sizeof(Assignment));

		strlcpy(assignment->name, projection->name, NAMEDATALEN);
		consumer->assignment = lappend(consumer->assignment, assignment);
	}
	PopActiveSnapshot();
}

/* A projection's batch has failed: leave it alone for a while. */
static void
put_off(Consumer *consumer, Assignment *assignment, ErrorData *error)
{
	if (ErrorIsOfShutdown(error))
		ReThrowError(error);
	(void) AssignmentFailed(assignment, error);
	AssignmentSaveError(assignment);
	commit(consumer);
	if (consumer->stop_on_failure)
		ReThrowError(error);
	/* the call is going to end with it */
	if (consumer->finish_when_drained && !AssignmentSearches(assignment))
		return;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("%s", TextForClient(error->message)),
			 error->detail ? errdetail_internal("%s", TextForClient(error->detail)) : 0,
			 errhint("Projection \"%s\" will be tried again in %d s.",
					 assignment->name, (assignment->delay + 500) / 1000)));
}

/* What is done in a subtransaction. */
typedef struct Attempt
{
	const char *projection;
	const BatchLimits *limits;	/* NULL: a parked key is tried again */
	int64		given_up;		/* that key has taken too long; 0: none */
	BatchResult batch;
	ReplayResult replay;
	bool		timed_out;		/* it took longer than batch_timeout */
} Attempt;

/* SavepointStep */
static void
make_attempt(void *arg)
{
	Attempt    *attempt = arg;

	/* what a batch leaves in memory when it fails goes with this */
	MemoryContextSwitchTo(CurTransactionContext);
	if (attempt->limits != NULL)
		attempt->batch = BatchRun(attempt->projection, attempt->limits);
	else
		attempt->replay = ReplayDue(attempt->projection, COMMAND,
									REPLAY_BY_CONSUMER, attempt->given_up);
	TimeLimitCheck();
}

/*
 * A batch, or a replay, in a subtransaction; the error, or NULL.  A transaction
 * in which nothing can be applied is the call's trouble, not the projection's.
 */
static ErrorData *
attempt(Consumer *consumer, const Assignment *assignment, Attempt *attempt)
{
	ErrorData  *error;

	OpenedCheckTransaction(COMMAND);
	attempt->projection = assignment->name;
	TimeLimitBegin();
	MemoryContextSwitchTo(consumer->context);
	error = InSavepoint(make_attempt, attempt);
	attempt->timed_out = TimeLimitEnd() && error != NULL;
	if (attempt->timed_out)
		TimeLimitExplain(error);
	MemoryContextSwitchTo(consumer->round);
	return error;
}

/*
 * One batch; the error, or NULL.  If an event fails, again, to find out which
 * one it is.  *verdict: what is to be done about the error.
 */
static ErrorData *
try_batch(Consumer *consumer, Assignment *assignment, BatchLimits *limits,
		  BatchResult *result, Verdict *verdict)
{
	Attempt		batch = {.limits = limits};
	ErrorData  *error;

	for (;;)
	{
		limits->isolate = assignment->isolate;
		error = attempt(consumer, assignment, &batch);
		if (error == NULL)
			break;
		*verdict = AssignmentJudge(assignment, error, batch.timed_out);
		if (*verdict != VERDICT_ISOLATE)
			break;
		FreeErrorData(error);
	}
	if (error == NULL)
		assignment->isolate = false;
	*result = batch.batch;
	return error;
}

/* Try a parked key again that is due. */
static void
retry(Consumer *consumer, Assignment *assignment)
{
	Attempt		replay = {.given_up = assignment->slow.replay_given_up};
	ErrorData  *error = attempt(consumer, assignment, &replay);

	if (error != NULL)
	{
		if (ErrorIsOfShutdown(error) || consumer->stop_on_failure)
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("a parked key of projection \"%s\" could not be tried again: %s",
						assignment->name, TextForClient(error->message))));
		FreeErrorData(error);
		AssignmentRetryFailed(assignment);
		if (replay.timed_out)
			AssignmentTookTooLong(assignment, true);
		return;
	}
	if (replay.replay.outcome == REPLAY_PUT_OFF)
		ereport(consumer->stop_on_failure ? ERROR : WARNING,
				(errcode(replay.replay.sqlerrcode),
				 errmsg("a parked key of projection \"%s\" could not be tried again: %s",
						assignment->name, TextForClient(replay.replay.message))));
	commit(consumer);
	if (replay.replay.outcome == REPLAY_PUT_OFF)
	{
		AssignmentRetryFailed(assignment);
		return;
	}
	AssignmentRetryWell(assignment, &replay.replay);
	consumer->applied += replay.replay.events;
	if (replay.replay.outcome != REPLAY_NOTHING)
		consumer->worked = true;
}

/* A batch has failed: what is to be done about it. */
static void
settle_error(Consumer *consumer, Assignment *assignment, ErrorData *error,
			 Verdict verdict)
{
	if (verdict == VERDICT_FAILED || consumer->stop_on_failure)
	{
		put_off(consumer, assignment, error);
		return;
	}
	FreeErrorData(error);
	if (verdict == VERDICT_SMALLER)
		consumer->worked = true;
}

/*
 * One batch of one projection, committed.  A batch of our share of the
 * partitions that finds nothing says nothing of the others: then all that
 * are free are tried.
 */
static void
serve(Consumer *consumer, Assignment *assignment)
{
	BatchLimits limits = {.sized = true,.milliseconds = BATCH_TIME,.choice.window = CHOICE_WINDOW,
	.stop_on_failure = consumer->stop_on_failure,.command = COMMAND};
	BatchResult result = {0};
	Verdict		verdict = VERDICT_FAILED;
	ErrorData  *error;

	limits.events = assignment->at_most;
	if (consumer->message_limit > 0)
		limits.events = Min(limits.events > 0 ? limits.events : PG_INT64_MAX,
							consumer->message_limit - consumer->applied);
	limits.choice.start = assignment->start++;
	AssignmentGivenUp(assignment, &limits);
	error = try_batch(consumer, assignment, &limits, &result, &verdict);
	if (error == NULL && result.outcome == BATCH_WHOLE &&
		result.events == 0 && result.partial)
	{
		/* keys that the first batch has parked */
		AssignmentRetryAt(assignment, result.next_retry);
		limits.partitions = PARTITIONS_MAX;
		limits.choice.window = 0;
		error = try_batch(consumer, assignment, &limits, &result, &verdict);
	}
	if (error != NULL)
	{
		settle_error(consumer, assignment, error, verdict);
		return;
	}
	commit(consumer);
	AssignmentWell(assignment);
	AssignmentGrow(assignment, &result);
	AssignmentRetryAt(assignment, result.next_retry);
	assignment->drained = result.outcome == BATCH_IDLE ||
		(result.outcome == BATCH_WHOLE && result.events == 0 &&
		 !result.partial);
	consumer->applied += result.events;
	if (result.events > 0 || result.outcome == BATCH_CUT)
		consumer->worked = true;
}

/* Is the message limit reached? */
static bool
is_full(const Consumer *consumer)
{
	return consumer->message_limit > 0 &&
		consumer->applied >= consumer->message_limit;
}

/* Go round once; true if there was something to do. */
static bool
go_round(Consumer *consumer)
{
	ListCell   *cell;

	MemoryContextReset(consumer->round);
	consumer->worked = false;
	foreach(cell, consumer->assignment)
	{
		Assignment *assignment = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (is_full(consumer))
			break;
		if (!AssignmentIsDue(assignment))
			continue;
		assignment->drained = false;
		AssignmentLook(assignment);
		if (AssignmentRetryIsDue(assignment))
			retry(consumer, assignment);
		/* it took too long: the call may end before the next round */
		if (assignment->slow.replay_given_up != 0)
			retry(consumer, assignment);
		if (AssignmentIsDue(assignment) && !is_full(consumer))
			serve(consumer, assignment);
	}
	return consumer->worked;
}

/* Is it time to end the call? */
static bool
is_finished(Consumer *consumer)
{
	bool		drained = true;
	ErrorData  *error = NULL;
	ListCell   *cell;

	if (is_full(consumer))
		return true;
	if (GetCurrentTimestamp() >= consumer->deadline)
		return true;
	if (!consumer->finish_when_drained)
		return false;
	foreach(cell, consumer->assignment)
	{
		Assignment *assignment = lfirst(cell);

		if (assignment->error != NULL && !AssignmentSearches(assignment))
			error = assignment->error;
		else
			drained = drained && assignment->drained;
	}
	if (drained && error != NULL)
		ReThrowError(error);
	return drained;
}

static void
consume(Consumer *consumer)
{
	int			wait = WAIT_MIN;

	while (!is_finished(consumer))
	{
		if (go_round(consumer))
			wait = WAIT_MIN;
		else if (!is_finished(consumer))
		{
			NapFor(wait);
			wait = Min(wait * 2, WAIT_MAX);
		}
	}
}

/* Count ourselves in as a consumer of the channel's projections. */
static void
come_in(Consumer *consumer)
{
	ListCell   *cell;

	foreach(cell, consumer->assignment)
	{
		Assignment *assignment = lfirst(cell);

		KeyLockForSession(KEYLOCK_PRESENCE, assignment->name, ShareLock);
		assignment->present = true;
	}
}

static void
go_out(Consumer *consumer)
{
	ListCell   *cell;

	foreach(cell, consumer->assignment)
	{
		Assignment *assignment = lfirst(cell);

		if (assignment->present)
			KeyUnlockForSession(KEYLOCK_PRESENCE, assignment->name, ShareLock);
		assignment->present = false;
		AssignmentWell(assignment);
	}
}

static void
read_arguments(FunctionCallInfo fcinfo, Consumer *consumer)
{
	consumer->channel = ArgumentName(fcinfo, 0, "channel");
	if (!PG_ARGISNULL(1))
	{
		consumer->message_limit = PG_GETARG_INT64(1);
		if (consumer->message_limit < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"message_limit\" must be at least 1")));
	}
	consumer->deadline = PG_ARGISNULL(2) ? DT_NOEND :
		ArgumentDeadline(fcinfo, 2, "time_limit", false);
	ArgumentNotNull(fcinfo, 3, "stop_on_failure");
	ArgumentNotNull(fcinfo, 4, "finish_when_no_messages");
	consumer->stop_on_failure = PG_GETARG_BOOL(3);
	consumer->finish_when_drained = PG_GETARG_BOOL(4);
}

/*
 * CALL projection_consume(channel, message_limit, time_limit,
 * stop_on_failure, finish_when_no_messages)
 */
Datum
projection_consume(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	Consumer   *consumer;

	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("projection_consume cannot run inside a transaction block"),
				 errdetail("It commits after each batch."),
				 errhint("Call it by itself, outside BEGIN ... COMMIT and functions; or use projection_run.")));
	OpenedCheckTransaction(COMMAND);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	consumer = palloc0(sizeof(Consumer));
	consumer->context = CurrentMemoryContext;
	read_arguments(fcinfo, consumer);
	find_projections(consumer);
	consumer->round = AllocSetContextCreate(consumer->context,
											"wallet_projection round",
											ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(consumer->round);
	PG_TRY();
	{
		come_in(consumer);
		consume(consumer);
	}
	PG_FINALLY();
	{
		go_out(consumer);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
