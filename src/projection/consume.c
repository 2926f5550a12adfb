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

#include "access/xact.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "argument.h"
#include "keylock.h"
#include "projection/batch.h"
#include "projection/partition.h"
#include "projection/projection.h"

/* how long to wait where there is nothing to do, in milliseconds */
#define WAIT_MIN 5
#define WAIT_MAX 500

/* how long a projection that failed is left alone, in milliseconds */
#define RETRY_MIN 1000
#define RETRY_MAX 60000

#define COMMAND "projection_consume()"

SQL_FUNCTION(projection_consume);

/* One projection of the channel. */
typedef struct Served
{
	char	   *name;
	bool		present;		/* counted among its consumers */
	bool		drained;		/* nothing was left when last looked at */
	int			retry_delay;	/* 0: it is well */
	TimestampTz next_try;
	ErrorData  *error;			/* the last, while it is not well */
} Served;

typedef struct Consumer
{
	char	   *channel;
	int64		message_limit;	/* 0: none */
	TimestampTz deadline;		/* DT_NOEND: none */
	bool		stop_on_failure;
	bool		finish_when_drained;
	int64		applied;
	bool		worked;			/* in this round */
	List	   *served;
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
	List	   *projections;
	ListCell   *cell;

	PushActiveSnapshot(GetTransactionSnapshot());
	projections = ProjectionsOfChannel(consumer->channel);
	if (projections == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("channel \"%s\" has no projections",
						consumer->channel),
				 errhint("See the column \"channel\" of the view projection_status.")));
	foreach(cell, projections)
	{
		Projection *projection = lfirst(cell);
		Served	   *served = palloc0(sizeof(Served));

		ProjectionCheckOwner(projection);
		served->name = projection->name;
		consumer->served = lappend(consumer->served, served);
	}
	PopActiveSnapshot();
}

/* Write down a projection's error; it is another transaction's by now. */
static void
record_error(Consumer *consumer, Served *served)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	KeyLock(KEYLOCK_PROJECTION, served->name, ShareLock);
	ProjectionSaveError(served->name,
						psprintf("%s: %s",
								 unpack_sql_state(served->error->sqlerrcode),
								 served->error->message));
	PopActiveSnapshot();
	commit(consumer);
}

/* A projection's batch has failed: leave it alone for a while. */
static void
put_off(Consumer *consumer, Served *served, ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	/* a cancelled call or a shutdown is not the projection's failure */
	if (category == MAKE_SQLSTATE('5', '7', '0', '0', '0'))
		ReThrowError(error);
	if (served->error != NULL)
		FreeErrorData(served->error);
	served->error = error;
	record_error(consumer, served);
	if (consumer->stop_on_failure)
		ReThrowError(error);
	served->retry_delay = served->retry_delay == 0 ? RETRY_MIN :
		Min(served->retry_delay * 2, RETRY_MAX);
	served->next_try = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   served->retry_delay);
	/* the call is going to end with it */
	if (consumer->finish_when_drained)
		return;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("%s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("Projection \"%s\" will be tried again in %d s.",
					 served->name, served->retry_delay / 1000)));
}

/* One batch in a subtransaction; the error, or NULL. */
static ErrorData *
try_batch(Consumer *consumer, Served *served, const BatchLimits *limits,
		  BatchResult *result)
{
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	/* what a batch leaves in memory when it fails goes with this */
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		*result = BatchRun(served->name, limits);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(consumer->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(consumer->round);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * One batch of one projection, committed.  A batch of our share of the
 * partitions that finds nothing says nothing of the others: then all that
 * are free are tried.
 */
static void
serve(Consumer *consumer, Served *served)
{
	BatchLimits limits = {.sized = true,.command = COMMAND};
	BatchResult result = {0};
	ErrorData  *error;

	if (consumer->message_limit > 0)
		limits.events = consumer->message_limit - consumer->applied;
	error = try_batch(consumer, served, &limits, &result);
	if (error == NULL && result.outcome == BATCH_WHOLE &&
		result.events == 0 && result.partial)
	{
		limits.partitions = PARTITIONS_MAX;
		error = try_batch(consumer, served, &limits, &result);
	}
	if (error != NULL)
	{
		put_off(consumer, served, error);
		return;
	}
	commit(consumer);
	served->retry_delay = 0;
	if (served->error != NULL)
		FreeErrorData(served->error);
	served->error = NULL;
	served->drained = result.outcome == BATCH_IDLE ||
		(result.outcome == BATCH_WHOLE && result.events == 0 &&
		 !result.partial);
	consumer->applied += result.events;
	if (result.events > 0 || result.outcome == BATCH_CUT)
		consumer->worked = true;
}

/* Go round once; true if there was something to do. */
static bool
go_round(Consumer *consumer)
{
	ListCell   *cell;

	MemoryContextReset(consumer->round);
	consumer->worked = false;
	foreach(cell, consumer->served)
	{
		Served	   *served = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (consumer->message_limit > 0 &&
			consumer->applied >= consumer->message_limit)
			break;
		if (served->retry_delay > 0 && GetCurrentTimestamp() < served->next_try)
			continue;
		served->drained = false;
		serve(consumer, served);
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

	if (consumer->message_limit > 0 &&
		consumer->applied >= consumer->message_limit)
		return true;
	if (GetCurrentTimestamp() >= consumer->deadline)
		return true;
	if (!consumer->finish_when_drained)
		return false;
	foreach(cell, consumer->served)
	{
		Served	   *served = lfirst(cell);

		if (served->error != NULL)
			error = served->error;
		else
			drained = drained && served->drained;
	}
	if (drained && error != NULL)
		ReThrowError(error);
	return drained;
}

/* Wait for a while, with no snapshot held. */
static void
wait_for_events(Consumer *consumer, int milliseconds)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
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
			wait_for_events(consumer, wait);
			wait = Min(wait * 2, WAIT_MAX);
		}
	}
}

/* Count ourselves in as a consumer of the channel's projections. */
static void
come_in(Consumer *consumer)
{
	ListCell   *cell;

	foreach(cell, consumer->served)
	{
		Served	   *served = lfirst(cell);

		KeyLockForSession(KEYLOCK_PRESENCE, served->name, ShareLock);
		served->present = true;
	}
}

static void
go_out(Consumer *consumer)
{
	ListCell   *cell;

	foreach(cell, consumer->served)
	{
		Served	   *served = lfirst(cell);

		if (served->present)
			KeyUnlockForSession(KEYLOCK_PRESENCE, served->name, ShareLock);
		served->present = false;
	}
}

/* The time limit as a moment. */
static TimestampTz
deadline_after(Interval *limit)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;

	deadline = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													   TimestampTzGetDatum(now),
													   IntervalPGetDatum(limit)));
	if (deadline <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"time_limit\" must be positive")));
	return deadline;
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
		deadline_after(PG_GETARG_INTERVAL_P(2));
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
	BatchCheckTransaction(COMMAND);
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
