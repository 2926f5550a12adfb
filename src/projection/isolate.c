/*
 * isolate.c
 *		Which key, and which event of it, cannot be applied; the others are.
 *
 * An error while rows are written takes back all that was written since the
 * last savepoint.  So:
 *
 *	- ApplyAll() writes without one.  An error ends the caller's transaction,
 *	  or his savepoint; he then does the batch again with
 *	- ApplyIsolated(), which writes in subtransactions.  Where one fails, the
 *	  row that was at hand is left out; the keys before it are written again,
 *	  and then those after it.  So each key is written at most twice,
 *	  however many fail.  Where it is not known whose row it was (a deferred
 *	  constraint, an AFTER trigger), the keys are tried in PARTS: more parts
 *	  than two, as each round writes all keys of a part that fails in vain.
 *	- ApplyKey() takes one key that has failed, and applies as many of its
 *	  events as can be, reading them again by the stream's index on the
 *	  aggregate: a chunk of them in a subtransaction, half as many where that
 *	  fails, twice as many where it goes well, until one event fails alone.
 *	  That is the one.  Memory does not grow with the number of events.
 *
 * Errors that are not a key's fault are raised again: the batch as a whole
 * has failed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "errors.h"
#include "handler/apply.h"
#include "keyhash.h"
#include "projection/isolate.h"

/*
 * Into how many parts keys are divided among which one must fail.  Each is a
 * subtransaction; 64 of them are remembered cheaply by the server.
 */
#define PARTS 8

/* culprits that may turn out to be none */
#define SPARE 100

/* Is an error the fault of the row that was being written? */
bool
ErrorIsOfKey(int sqlerrcode)
{
	/* of class 55 only these come from what others do */
	if (sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlerrcode == ERRCODE_OBJECT_IN_USE)
		return false;
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('2', '5', '0', '0', '0'):	/* read-only */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* no resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* cancel, shutdown */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* I/O */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):	/* internal */
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'):	/* connection */
			return false;
	}
	return true;
}

/* Write these keys; an error for the first that cannot be, in apply. */
static void
write_keys(Apply *apply, FoldedKey *keys, int64 count)
{
	const char *reason = ApplyKeys(apply, keys, count);

	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_EVENT),
				 errmsg("%s", reason)));
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

static Apply *
begin_apply(const ApplyScope *scope, Snapshot snapshot)
{
	if (InSecurityRestrictedOperation())
		check_deferred(scope);
	return ApplyBegin(scope->projection->handler, scope->read_model, snapshot);
}

/* Write all keys, in no subtransaction of our own. */
void
ApplyAll(const ApplyScope *scope, FoldedKey *keys, int64 count)
{
	Apply	   *apply = begin_apply(scope, scope->snapshot);

	write_keys(apply, keys, count);
	ApplyEnd(apply);
	check_deferred(scope);
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
 * Write these keys in a subtransaction.  Returns NULL, or the error that has
 * taken all of them back, and whose it was, if that is known.
 */
static ErrorData *
try_keys(const ApplyScope *scope, FoldedKey *keys, int64 count,
		 const FoldEntry **culprit)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext attempt = AllocSetContextCreate(context,
												  "wallet_projection attempt",
												  ALLOCSET_DEFAULT_SIZES);
	ResourceOwner owner = CurrentResourceOwner;
	Apply	   *volatile apply = NULL;
	ErrorData  *volatile error = NULL;

	*culprit = NULL;
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		Snapshot	now = RegisterSnapshot(GetLatestSnapshot());

		/* what a failure leaves behind goes with this */
		MemoryContextSwitchTo(attempt);
		apply = begin_apply(scope, now);
		write_keys(apply, keys, count);
		ApplyEnd(apply);
		check_deferred(scope);
		UnregisterSnapshot(now);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (apply != NULL)
			*culprit = find_culprit(apply, error);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	MemoryContextDelete(attempt);
	/* the table as a whole, or nobody's fault */
	if (error != NULL && (apply == NULL || !ErrorIsOfKey(error->sqlerrcode)))
		ReThrowError(error);
	return error;
}

static int64
index_of(const FoldedKey *keys, int64 count, const FoldEntry *entry)
{
	for (int64 i = 0; i < count; i++)
	{
		if (keys[i].entry == entry)
			return i;
	}
	return -1;
}

/*
 * Have so many keys failed that it is of no use to go on?  Some that failed
 * among others go well alone.
 */
bool
ApplyGivesUp(const ApplyScope *scope, const List *culprits)
{
	return list_length(culprits) > scope->projection->max_parked + SPARE;
}

static List *isolate(const ApplyScope *scope, FoldedKey *keys, int64 count,
					 List *culprits);

/* Write these keys in so many parts, each in a subtransaction. */
static List *
isolate_parts(const ApplyScope *scope, FoldedKey *keys, int64 count,
			  int parts, List *culprits)
{
	int64		size = (count + parts - 1) / parts;

	for (int64 done = 0;
		 done < count && !ApplyGivesUp(scope, culprits);
		 done += size)
		culprits = isolate(scope, keys + done, Min(size, count - done),
						   culprits);
	return culprits;
}

/* Write these keys, if possible in one subtransaction. */
static List *
isolate(const ApplyScope *scope, FoldedKey *keys, int64 count, List *culprits)
{
	while (count > 0 && !ApplyGivesUp(scope, culprits))
	{
		const FoldEntry *culprit;
		const FoldEntry *entry;
		ErrorData  *error;
		int64		good;

		CHECK_FOR_INTERRUPTS();
		error = try_keys(scope, keys, count, &culprit);
		if (error == NULL)
			break;
		FreeErrorData(error);
		good = count == 1 ? 0 : index_of(keys, count, culprit);
		if (good < 0)
			return isolate_parts(scope, keys, count, PARTS, culprits);
		entry = keys[good].entry;
		culprits = isolate(scope, keys, good, culprits);
		culprits = lappend(culprits, unconstify(FoldEntry *, entry));
		good = index_of(keys, count, entry) + 1;
		keys += good;
		count -= good;
	}
	return culprits;
}

/*
 * Write all keys but those that cannot be, which are returned: a list of
 * FoldEntry; where ApplyGivesUp(), others are not written either.
 */
List *
ApplyIsolated(const ApplyScope *scope, FoldedKey *keys, int64 count,
			  bool first_try)
{
	/* where nothing says yet that one fails, all at once */
	return isolate_parts(scope, keys, count, first_try ? 1 : PARTS, NIL);
}

/*
 * One key
 */

/* A chunk of a key's events, being folded. */
typedef struct Chunk
{
	const ApplyScope *scope;
	const KeyTask *task;
	Fold	   *fold;
	int64		limit;			/* events in it */
	int64		events;			/* taken in */
	int64		last_version;	/* of them */
	int64		last_no;		/* of them, or of the chunk before */
	int64		first_no;		/* the first of them */
	int64		first_version;
	char	   *first_name;
	bool		bad;			/* it ends before one that cannot be folded */
	KeyFailure	failure;		/* that one */
	MemoryContext context;		/* of the failure */
} Chunk;

/* Is this event, if it is of the key, among those that the task is about? */
bool
KeyTaskWants(const KeyTask *task, int64 no)
{
	return no >= task->from_no && no <= task->last_no &&
		PositionApplied(task->position, no) == task->passed &&
		!(task->skipped != NULL && NumberSetContains(task->skipped, no));
}

/* FoldRefused */
static void
refuse(void *arg, FoldEntry *entry, const Event *event, const char *reason)
{
	Chunk	   *chunk = arg;
	MemoryContext old = MemoryContextSwitchTo(chunk->context);
	KeyFailure *failure = &chunk->failure;

	chunk->bad = true;
	failure->no = event->no;
	failure->version = event->version;
	failure->event_name = pnstrdup(event->name, event->name_length);
	failure->sqlerrcode = ERRCODE_BAD_EVENT;
	failure->message = pstrdup(reason);
	MemoryContextSwitchTo(old);
}

/*
 * The events come in order of version, and positions go by number.  Where
 * these differ, an event could be passed over that nobody would come back to.
 */
static void
refuse_order(const Chunk *chunk, const Event *event)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the versions of %s \"%s\" in stream \"%s\" are not in the order of their numbers",
					chunk->scope->projection->aggregate_type, chunk->task->key,
					chunk->scope->stream->name),
			 errdetail("Event %lld has version %lld, but event %lld comes before it.",
					   (long long) event->no, (long long) event->version,
					   (long long) chunk->last_no),
			 errhint("Correct the versions.")));
}

/* EventReceiver */
static bool
take_in(void *state, const Event *event)
{
	Chunk	   *chunk = state;

	if (!KeyTaskWants(chunk->task, event->no))
		return true;
	if (chunk->events == chunk->limit)
		return false;
	if (event->no < chunk->last_no)
		refuse_order(chunk, event);
	chunk->last_no = event->no;
	FoldAdd(chunk->fold, event, KeyHash(event->key, event->key_length));
	if (chunk->bad)
		return false;
	if (chunk->events++ == 0)
	{
		chunk->first_no = event->no;
		chunk->first_version = event->version;
		chunk->first_name = MemoryContextStrdup(chunk->context,
												pnstrdup(event->name,
														 event->name_length));
	}
	chunk->last_version = event->version;
	return true;
}

/* Fold up to so many events from this version on; true if these are all. */
static bool
fold_chunk(Chunk *chunk, const ApplyScope *scope, const KeyTask *task,
		   int64 from_version, int64 last_no, int64 limit,
		   MemoryContext context)
{
	bool		all;

	memset(chunk, 0, sizeof(Chunk));
	chunk->last_no = last_no;
	chunk->scope = scope;
	chunk->task = task;
	chunk->limit = limit;
	chunk->context = context;
	chunk->fold = FoldBegin(scope->projection->handler, refuse, chunk);
	all = ReadKeyEvents(scope->stream, scope->snapshot,
						scope->projection->aggregate_type, task->key,
						from_version, take_in, chunk);
	FoldFlush(chunk->fold);
	return all;
}

/* Write what was folded; NULL, or the error that has taken it back. */
static ErrorData *
apply_chunk(const ApplyScope *scope, Chunk *chunk)
{
	const FoldEntry *culprit;
	int64		count;
	FoldedKey  *keys = FoldKeys(chunk->fold, &count);

	return count == 0 ? NULL : try_keys(scope, keys, count, &culprit);
}

/* The one event of a chunk has failed with this error. */
static KeyFailure
failure_of(const Chunk *chunk, const ErrorData *error, MemoryContext context)
{
	KeyFailure	failure = {0};
	MemoryContext old = MemoryContextSwitchTo(context);

	failure.no = chunk->first_no;
	failure.version = chunk->first_version;
	failure.event_name = chunk->first_name;
	failure.sqlerrcode = error->sqlerrcode;
	failure.message = pstrdup(error->message ? error->message : "");
	failure.detail = error->detail ? pstrdup(error->detail) : NULL;
	failure.hint = error->hint ? pstrdup(error->hint) : NULL;
	failure.context = error->context ? pstrdup(error->context) : NULL;
	MemoryContextSwitchTo(old);
	return failure;
}

/* Counts events: the state of count_event(). */
typedef struct Count
{
	const KeyTask *task;
	int64		behind;			/* this number */
	int64		events;
	int64		last_no;
	bool		disorder;		/* of their numbers */
} Count;

static bool
count_event(void *state, const Event *event)
{
	Count	   *count = state;

	if (event->no > count->behind && KeyTaskWants(count->task, event->no))
	{
		count->disorder = count->disorder || event->no < count->last_no;
		count->last_no = event->no;
		count->events++;
	}
	return true;
}

/* How many events the task is about; -1: they are in disorder. */
int64
CountKey(const ApplyScope *scope, const KeyTask *task)
{
	Count		count = {.task = task,.behind = PG_INT64_MIN};

	(void) ReadKeyEvents(scope->stream, scope->snapshot,
						 scope->projection->aggregate_type, task->key,
						 task->from_version, count_event, &count);
	return count.disorder ? -1 : count.events;
}

/*
 * Apply the events of one key in order, as many as can be.  Takes no error
 * for the last word unless it hits one event alone.
 */
KeyOutcome
ApplyKey(const ApplyScope *scope, const KeyTask *task)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext round = AllocSetContextCreate(context,
												"wallet_projection chunk",
												ALLOCSET_DEFAULT_SIZES);
	KeyOutcome	outcome = {0};
	int64		version = task->from_version;
	int64		last_no = 0;
	int64		limit = PG_INT64_MAX;
	bool		done = false;
	bool		first = true;

	while (!done)
	{
		Chunk		chunk;
		ErrorData  *error;
		bool		all;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(round);
		MemoryContextSwitchTo(round);
		all = fold_chunk(&chunk, scope, task, version, last_no, limit,
						 context);
		if (first)
			outcome.folded = FoldEvents(chunk.fold);
		first = false;
		error = apply_chunk(scope, &chunk);
		if (error == NULL)
		{
			outcome.applied += FoldEvents(chunk.fold);
			version = chunk.last_version + 1;
			last_no = chunk.last_no;
			outcome.failed = chunk.bad;
			outcome.failure = chunk.failure;
			done = all || chunk.bad;
			limit = limit > PG_INT64_MAX / 2 ? limit : limit * 2;
		}
		else if (chunk.events > 1)
			limit = chunk.events / 2;
		else
		{
			outcome.failed = true;
			outcome.failure = failure_of(&chunk, error, context);
			done = true;
		}
	}
	MemoryContextSwitchTo(context);
	MemoryContextDelete(round);
	if (outcome.failed)
	{
		Count		count = {.task = task,.behind = outcome.failure.no};

		(void) ReadKeyEvents(scope->stream, scope->snapshot,
							 scope->projection->aggregate_type, task->key,
							 outcome.failure.version, count_event, &count);
		outcome.waiting = count.events;
	}
	return outcome;
}
