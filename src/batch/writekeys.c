/*
 * writekeys.c
 *		Folded keys into their rows, in a transaction or a subtransaction.
 *
 * An error while rows are written takes back all that was written since the
 * last savepoint.  WriteKeys() writes without one; its error ends the
 * caller's transaction, or savepoint.  TryKeys() writes in a subtransaction,
 * and says whose row it was.
 */
#include "postgres.h"

#include "compat.h"

#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "batch/deferred.h"
#include "batch/writekeys.h"
#include "errors.h"
#include "fault.h"
#include "handler/apply.h"
#include "savepoint.h"

/* the caller's transaction in which the server refused to defer something */
static LocalTransactionId refused_deferral = InvalidLocalTransactionId;

/* Rows are being written; stays when that raises an error. */
static bool writing = false;

/* Was the last error raised while rows were being written? */
bool
WriteInterrupted(void)
{
	return writing;
}

/*
 * Have what triggers have deferred checked while it is known whose it is: at
 * commit it would be the whole batch's error.  Where we are not the owner
 * himself the server does not defer anything, and it is checked at once.
 */
static void
check_deferred(const ApplyScope *scope)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	if (scope->own)
		AfterTriggerSetState(all);
}

/* One attempt. */
typedef struct Attempt
{
	const ApplyScope *scope;
	FoldedKey  *keys;
	int64		count;
	MemoryContext memory;		/* for what a failure leaves behind; or NULL */
	Apply	   *apply;			/* once it has begun */
} Attempt;

static void
write_keys(Attempt *attempt, Snapshot snapshot)
{
	const ApplyScope *scope = attempt->scope;
	const char *reason;

	if (InSecurityRestrictedOperation())
		check_deferred(scope);
	attempt->apply = ApplyBegin(scope->sink, scope->read_model,
								snapshot, scope->skip_locked);
	writing = true;
	reason = ApplyKeys(attempt->apply, attempt->keys, attempt->count);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_EVENT),
				 errmsg("%s", reason),
				 ApplyAdvice(attempt->apply) ?
				 errhint("%s", ApplyAdvice(attempt->apply)) : 0));
	ApplyEnd(attempt->apply);
	check_deferred(scope);
	writing = false;
}

/* What was written stands: what was not done with it counts. */
static void
count_unhandled(const ApplyScope *scope, const Apply *apply)
{
	if (scope->unhandled != NULL && ApplyUnhandled(apply) != NULL)
		UnhandledJoin(scope->unhandled, ApplyUnhandled(apply));
}

/*
 * Write all keys, in no subtransaction of our own.  Returns those that were
 * left alone, as others have locked their rows: a list of FoldEntry.
 */
List *
WriteKeys(const ApplyScope *scope, FoldedKey *keys, int64 count)
{
	Attempt		attempt = {.scope = scope,.keys = keys,.count = count};

	writing = false;
	write_keys(&attempt, scope->snapshot);
	count_unhandled(scope, attempt.apply);
	return ApplyLocked(attempt.apply);
}

/* SavepointStep */
static void
try_to_write(void *arg)
{
	Attempt    *attempt = arg;
	Snapshot	now = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext old = MemoryContextSwitchTo(attempt->memory);
	List	   *set = NIL;

	if (InSecurityRestrictedOperation() &&
		refused_deferral == compat_proc_lxid(MyProc))
		set = ConstraintsCheckAtOnce();
	write_keys(attempt, now);
	ConstraintsDefer(set);
	MemoryContextSwitchTo(old);
	UnregisterSnapshot(now);
}

/* Whose row was it?  A row that is there already has a message of its own. */
static const FoldEntry *
find_culprit(Apply *apply, ErrorData *error)
{
	const FoldEntry *entry = ApplyCurrent(apply);

	if (entry != NULL && entry->creates &&
		error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		ApplyIsKeyConstraint(apply, error->constraint_name))
	{
		error->sqlerrcode = ERRCODE_BAD_EVENT;
		error->message = pstrdup("it was created before");
		error->detail = NULL;
	}
	return entry;
}

/*
 * May the error be one key's?  A lock that was waited for in vain may be; what
 * went wrong before any row was written is not.
 */
static bool
is_of_some_key(const Attempt *attempt, const ErrorData *error)
{
	return attempt->apply != NULL &&
		(ErrorIsOfKey(error->sqlerrcode) ||
		 (attempt->scope->skip_locked &&
		  error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE));
}

static WriteResult
try_keys(const ApplyScope *scope, FoldedKey *keys, int64 count)
{
	WriteResult result = {0};
	Attempt		attempt = {.scope = scope,.keys = keys,.count = count};

	attempt.memory = AllocSetContextCreate(CurrentMemoryContext,
										   "wallet_projection attempt",
										   ALLOCSET_DEFAULT_SIZES);
	writing = false;
	result.error = InSavepointOfBatch(try_to_write, &attempt);
	if (result.error == NULL)
	{
		result.locked = list_copy(ApplyLocked(attempt.apply));
		count_unhandled(scope, attempt.apply);
	}
	else if (attempt.apply != NULL)
		result.culprit = find_culprit(attempt.apply, result.error);
	MemoryContextDelete(attempt.memory);
	if (result.error != NULL && !is_of_some_key(&attempt, result.error))
		ReThrowError(result.error);
	return result;
}

/* The server does not defer a constraint, and we cannot set it. */
static void
refuse_deferral(const ApplyScope *scope)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("a deferred constraint cannot be checked at once for projection \"%s\"",
					scope->projection->name),
			 errdetail("A trigger of the read model writes to a table on which the transaction has deferred checks of its own, or the constraint was set to be deferred."),
			 errhint("Run SET CONSTRAINTS ALL IMMEDIATE before, or run the projection as its owner.")));
}

/*
 * Write these keys in a subtransaction, seeing what is committed now.  An
 * error that is no key's is raised again.  If the server refuses to defer
 * constraints, as we are not the owner and the transaction is the caller's,
 * again with those checked at once.
 */
WriteResult
TryKeys(const ApplyScope *scope, FoldedKey *keys, int64 count)
{
	WriteResult result = try_keys(scope, keys, count);

	if (result.error == NULL || scope->own ||
		!ErrorIsOfDeferral(result.error))
		return result;
	if (refused_deferral == compat_proc_lxid(MyProc))
		refuse_deferral(scope);
	refused_deferral = compat_proc_lxid(MyProc);
	FreeErrorData(result.error);
	return TryKeys(scope, keys, count);
}
