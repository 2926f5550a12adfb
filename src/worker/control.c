/*
 * control.c
 *		Start, stop, scale: what is to run in the background.
 *
 * These write down what is wanted (definition/desired.c); at commit the
 * launcher and the workers hear of it.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "catalog.h"
#include "definition/desired.h"
#include "definition/projection.h"
#include "keylock.h"
#include "nap.h"
#include "notice.h"
#include "savepoint.h"
#include "stream/stream.h"
#include "worker/slots.h"
#include "worker/status.h"

/* how long cancelled batches are waited for before the lock is; ms */
#define CANCEL_WAIT		10000
#define CANCEL_NAP		10

SQL_FUNCTION(projection_start);
SQL_FUNCTION(projection_stop);
SQL_FUNCTION(channel_scale);

/* projection_start(name) */
Datum
projection_start(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");
	Projection *projection;

	SlotsCheckReady("projection_start()");
	projection = ProjectionLock(name, ShareLock, "projection_start()");
	ProjectionCheckInitialized(projection);
	DesiredStart(projection);
	PG_RETURN_VOID();
}

/*
 * Cancel the batches that workers run of a projection.  None begins until our
 * transaction ends.  Batches of sessions are not ours to cancel: who waits for
 * the projection's lock after this waits for those.
 */
static void
cancel_batches(const char *name)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   CANCEL_WAIT);

	KeyLock(KEYLOCK_STOP, name, ExclusiveLock);
	while (SlotsCancel(name) > 0 && GetCurrentTimestamp() < deadline)
		NapFor(CANCEL_NAP);
}

/* SavepointStep: wait for running batches, not for long */
static void
lock_soon(void *name)
{
	int			level = SafePathEnter();

	LocksWithin(BATCH_IS_LONG);
	KeyLock(KEYLOCK_PROJECTION, name, ExclusiveLock);
	SafePathLeave(level);
}

/* Wait for running batches; where that takes long, say so before going on. */
static void
await_batches(char *name)
{
	ErrorData  *error;
	TimestampTz since;

	if (LockTimeout > 0 && LockTimeout <= BATCH_IS_LONG)
		return;					/* the caller has no time for more */
	error = InSavepoint(lock_soon, name);
	if (error == NULL)
		return;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	since = SlotsRunningSince(name);
	if (since != 0)				/* else it is a session's */
		ereport(NOTICE,
				(errmsg("waiting for a batch that has been running since %s",
						timestamptz_to_str(since)),
				 errhint("To end it instead, cancel this call and run: SELECT projection_stop(%s, cancel => true);",
						 quote_literal_cstr(name))));
}

/*
 * projection_stop(name, cancel): the exclusive lock waits for running batches,
 * and those that come after it find the projection stopped.
 */
Datum
projection_stop(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");

	ArgumentNotNull(fcinfo, 1, "cancel");
	SlotsCheckReady("projection_stop()");
	PreventCommandIfReadOnly("projection_stop()");
	ProjectionCheckOwner(ProjectionFetch(name));
	if (PG_GETARG_BOOL(1))
		cancel_batches(name);
	else
		await_batches(name);
	DesiredStop(ProjectionLock(name, ExclusiveLock, "projection_stop()"));
	PG_RETURN_VOID();
}

/* channel_scale(channel, workers) */
Datum
channel_scale(PG_FUNCTION_ARGS)
{
	char	   *channel = ArgumentName(fcinfo, 0, "channel");
	int			workers;

	ArgumentNotNull(fcinfo, 1, "workers");
	workers = PG_GETARG_INT32(1);
	if (workers < 0 || workers > CHANNEL_WORKERS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"workers\" must be from 0 to %d",
						CHANNEL_WORKERS_MAX)));
	SlotsCheckReady("channel_scale()");
	PreventCommandIfReadOnly("channel_scale()");
	(void) ProjectionsOwned(channel);
	DesiredScale(channel, workers);
	PG_RETURN_VOID();
}
