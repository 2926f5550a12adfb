/*
 * run.c
 *		Batches in the caller's transaction.
 *
 * They are as large as memory allows, whatever the projection's batch_size
 * is: that is for transactions.  Small batches in one transaction would write
 * the same rows again and again, and none of their versions could be cleared
 * away.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "argument.h"
#include "batch/batch.h"
#include "batch/replay.h"
#include "encoding.h"
#include "position/lanes.h"

SQL_FUNCTION(projection_run);
SQL_FUNCTION(projection_backfill);

/*
 * Try parked keys again that are due, then run batches until the end of the
 * stream, or until max_events (0: any number) are applied.  The partitions
 * stay ours between batches.
 */
static int64
run_batches(const char *name, BatchLimits *limits, int64 max_events)
{
	int64		total = 0;
	BatchResult result;
	ReplayResult replay;

	do
	{
		CHECK_FOR_INTERRUPTS();
		replay = ReplayDue(name, limits->command, REPLAY_BY_SESSION, 0);
		total += replay.events;
		if (replay.outcome == REPLAY_PUT_OFF)
			ereport(WARNING,
					(errcode(replay.sqlerrcode),
					 errmsg("a parked key of projection \"%s\" could not be tried again: %s",
							name, TextForClient(replay.message))));
	} while (replay.outcome != REPLAY_NOTHING &&
			 replay.outcome != REPLAY_PUT_OFF &&
			 (max_events == 0 || total < max_events));
	if (max_events > 0 && total >= max_events)
		return total;

	/* an error must not take the caller's transaction with it */
	limits->isolate = limits->callers_transaction = true;
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (max_events > 0)
			limits->events = max_events - total;
		result = BatchRun(name, limits);
		total += result.events;
	} while (result.outcome == BATCH_CUT &&
			 (max_events == 0 || total < max_events));
	return total;
}

/* projection_run(name, max_events) */
Datum
projection_run(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");
	int64		max_events = 0;
	BatchLimits limits = {.partitions = PARTITIONS_MAX,.command = "projection_run()"};

	if (!PG_ARGISNULL(1))
	{
		max_events = PG_GETARG_INT64(1);
		if (max_events < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"max_events\" must be at least 1")));
	}
	PG_RETURN_INT64(run_batches(name, &limits, max_events));
}

/* projection_backfill(name, max_partitions) */
Datum
projection_backfill(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");
	BatchLimits limits = {.partitions = PARTITIONS_MAX,
	.command = "projection_backfill()"};

	if (!PG_ARGISNULL(1))
	{
		limits.partitions = PG_GETARG_INT32(1);
		if (limits.partitions < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"max_partitions\" must be at least 1")));
	}
	PG_RETURN_INT64(run_batches(name, &limits, 0));
}
