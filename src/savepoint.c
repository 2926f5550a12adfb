/*
 * savepoint.c
 *		A step in a subtransaction: all of it, or an error and nothing.
 *
 * Catching an error does not undo what was done before it; only the end of a
 * subtransaction does.  A subtransaction that writes takes a transaction id,
 * so this is for what has failed before, or may fail.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "savepoint.h"
#include "time_limit.h"

/* Run the step in a subtransaction, which it keeps, or not, if it goes well. */
static ErrorData *
run_step(SavepointStep step, void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		step(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * Run the step in a subtransaction.  Returns NULL when it went well; or the
 * error that has taken it back, palloc'd.  Memory context and resource owner
 * are the caller's again in both cases; what the step has palloc'd in the
 * caller's memory context stays.
 */
ErrorData *
InSavepoint(SavepointStep step, void *arg)
{
	return run_step(step, arg, true);
}

/*
 * The same for a step of a batch.  Once the batch's time is over, its error
 * is the batch's, whatever a trigger has made of the cancellation: nothing
 * else is tried.
 */
ErrorData *
InSavepointOfBatch(SavepointStep step, void *arg)
{
	ErrorData  *error = InSavepoint(step, arg);

	if (error != NULL && TimeLimitIsOver())
		ReThrowError(error);
	return error;
}

/* InSavepoint(), to see whether it would go well: it is taken back in any case. */
ErrorData *
InSavepointUndone(SavepointStep step, void *arg)
{
	return run_step(step, arg, false);
}

/* A cancelled query, or want of memory, is an error wherever it is met. */
void
SavepointRethrowInterrupt(ErrorData *error)
{
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED) ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
}
