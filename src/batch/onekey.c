/*
 * onekey.c
 *		The events of one key, applied by themselves, as many as can be.
 *
 * A key that has failed in a batch, or is parked and tried again: its events
 * are read again, in order of their numbers, which is the order within a key
 * whatever their versions say.  All of them are folded and written in a
 * subtransaction; where that fails, the first half of them, and then the
 * second, and so on, until one event fails alone.  That is the one.  Memory
 * does not grow with the number of events.
 *
 * A row that somebody else has locked is no failure: the key has to wait.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "batch/keyevents.h"
#include "batch/taken.h"
#include "errors.h"
#include "settings.h"

/* Is this event, if it is of the key, among those that the task is about? */
static bool
task_wants(const KeyTask *task, int64 no)
{
	return no >= task->from_no && no <= task->last_no &&
		PositionApplied(task->position, no) == task->passed &&
		!(task->skipped != NULL && NumberSetContains(task->skipped, no));
}

/* Counts the events that the task is about. */
typedef struct Count
{
	const KeyTask *task;
	int64		until;			/* no further than this number */
	KeyEvents	events;
} Count;

/* EventReceiver */
static bool
count_event(void *state, const Event *event)
{
	Count	   *count = state;

	if (event->no > count->until)
		return false;
	if (task_wants(count->task, event->no))
	{
		if (count->events.count++ == 0)
			count->events.first_no = event->no;
		count->events.last_no = event->no;
	}
	return true;
}

/* How many events the task is about from this number on, and the last. */
KeyEvents
KeyEventsCount(const ApplyScope *scope, const KeyTask *task, int64 from_no)
{
	Count		count = {.task = task,.until = PG_INT64_MAX};

	(void) KeyEventsRead(scope, task, from_no, task->last_no, count_event,
						 &count);
	return count.events;
}

/* EventReceiver */
static bool
count_run(void *state, const Event *event)
{
	Count	   *count = state;
	bool		more = count_event(state, event);

	if (count->events.count == 1 && count->until == PG_INT64_MAX)
		count->until = NumberSetNext(&count->task->position->gaps, event->no);
	return more;
}

/* The same up to the first gap behind the first of them. */
KeyEvents
KeyEventsRun(const ApplyScope *scope, const KeyTask *task, int64 from_no)
{
	Count		count = {.task = task,.until = PG_INT64_MAX};

	(void) KeyEventsRead(scope, task, from_no, task->last_no, count_run, &count);
	return count.events;
}

/*
 * A chunk of its events
 */

/* how many numbers of a chunk's events are remembered, to find its middle */
#define SAMPLE 64

/* Some of a key's events, being folded. */
typedef struct Chunk
{
	const ApplyScope *scope;
	const KeyTask *task;
	Fold	   *fold;
	MemoryContext memory;		/* of what outlives the chunk */
	KeyFailure	first;			/* its first event, with no message yet */
	int64		events;			/* taken in */
	int64		stride;			/* one in so many is in the sample */
	int			sampled;
	int64		sample[SAMPLE]; /* numbers of events, ascending */
	bool		bad;			/* it ends before one that cannot be folded */
	KeyFailure	failure;		/* that one */
} Chunk;

/* The event's name; of a declared projection, what its conditions test. */
static char *
event_name(const Sink *sink, const Event *event)
{
	char	   *type;

	if (sink->run == NULL)
		return pnstrdup(event->name, event->name_length);
	type = MergeEventType(sink->run, event->slot);
	return type != NULL ? type : "";
}

/* The event that the failure is of. */
static void
set_event(KeyFailure *failure, const Sink *sink, const Event *event,
		  MemoryContext memory)
{
	MemoryContext old = MemoryContextSwitchTo(memory);

	failure->no = event->no;
	failure->version = event->version;
	failure->event_name = event_name(sink, event);
	MemoryContextSwitchTo(old);
}

/* The same, from another failure. */
static void
take_event(KeyFailure *failure, const KeyFailure *of)
{
	failure->no = of->no;
	failure->version = of->version;
	failure->event_name = of->event_name;
}

static char *
copy_string(const char *string, MemoryContext memory)
{
	return string == NULL ? NULL : MemoryContextStrdup(memory, string);
}

/* FoldRefused */
static void
refuse(void *arg, FoldEntry *entry, const Event *event,
	   const FoldFault *fault)
{
	Chunk	   *chunk = arg;
	KeyFailure *failure = &chunk->failure;

	chunk->bad = true;
	set_event(failure, chunk->scope->sink, event, chunk->memory);
	failure->sqlerrcode = fault->sqlerrcode;
	failure->message = copy_string(fault->reason, chunk->memory);
	failure->detail = copy_string(fault->detail, chunk->memory);
	failure->hint = copy_string(fault->hint, chunk->memory);
}

/* Remember one number in so many; half of them go when there are too many. */
static void
take_sample(Chunk *chunk, int64 no)
{
	if (chunk->events++ % chunk->stride != 0)
		return;
	if (chunk->sampled == SAMPLE)
	{
		for (int i = 0; i < SAMPLE / 2; i++)
			chunk->sample[i] = chunk->sample[i * 2];
		chunk->sampled = SAMPLE / 2;
		chunk->stride *= 2;
		if ((chunk->events - 1) % chunk->stride != 0)
			return;
	}
	chunk->sample[chunk->sampled++] = no;
}

/*
 * The last number of the chunk's first half, which is not all of it where it
 * has more than one event.
 */
static int64
middle_of(const Chunk *chunk)
{
	return chunk->sample[(chunk->sampled - 1) / 2];
}

/* EventReceiver */
static bool
fold_event(void *state, const Event *event)
{
	Chunk	   *chunk = state;

	if (!task_wants(chunk->task, event->no))
		return true;
	take_sample(chunk, event->no);
	if (chunk->first.event_name == NULL)
		set_event(&chunk->first, chunk->scope->sink, event, chunk->memory);
	KeyEventFold(chunk->scope, chunk->task, chunk->fold, event);
	return !chunk->bad;
}

/* Fold the events first..last of the key. */
static Chunk *
fold_chunk(const ApplyScope *scope, const KeyTask *task, int64 first,
		   int64 last, MemoryContext memory)
{
	Chunk	   *chunk = palloc0(sizeof(Chunk));

	chunk->scope = scope;
	chunk->task = task;
	chunk->memory = memory;
	chunk->stride = 1;
	chunk->fold = FoldBegin(scope->sink, refuse, chunk);
	if (task->guarded)
		FoldGuardWith(chunk->fold, FOLD_GUARD_ALL);
	(void) KeyEventsRead(scope, task, first, last, fold_event, chunk);
	FoldFlush(chunk->fold);
	if (scope->sink->run != NULL)
		MergeRunItemsEnd(scope->sink->run);
	return chunk;
}

static bool
is_lock(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/* Somebody else has locked what the key needs; the event is to be set. */
KeyFailure
FailureOfLock(const ApplyScope *scope)
{
	KeyFailure	failure = {0};
	const char *table = ProjectionReadModelName(scope->projection);

	failure.locked = true;
	failure.sqlerrcode = ERRCODE_LOCK_NOT_AVAILABLE;
	failure.message = "another transaction has locked its row";
	failure.hint = psprintf("It is applied by itself once the lock is gone. Who may hold it: SELECT pid, mode FROM pg_locks WHERE relation = %s::regclass;",
							quote_literal_cstr(table));
	return failure;
}

/* The event that raised it is to be set. */
KeyFailure
FailureOfError(const ErrorData *error)
{
	KeyFailure	failure = {.sqlerrcode = error->sqlerrcode,.message = error->message,
	.detail = error->detail,.hint = error->hint,.context = error->context};

	return failure;
}

/* Applying it alone took too long; the event is to be set. */
KeyFailure
FailureOfTime(const char *detail)
{
	KeyFailure	failure = {.sqlerrcode = ERRCODE_QUERY_CANCELED};

	failure.message = psprintf("applying it took longer than wallet_projection.batch_timeout, %d ms",
							   BatchTimeout);
	failure.detail = detail != NULL ? pstrdup(detail) : NULL;
	failure.hint = "Look for a slow or endless trigger or function. To let it take its time, replay it in a session: dead_letter_replay().";
	return failure;
}

/* Write what was folded; true, or false: why not is in the failure. */
static bool
write_chunk(const ApplyScope *scope, Chunk *chunk, KeyFailure *failure)
{
	int64		count;
	FoldedKey  *keys = FoldKeys(chunk->fold, &count);
	WriteResult result = {0};

	if (count > 0)
		result = TryKeys(scope, keys, count);
	if (result.error == NULL && result.locked == NIL)
		return true;
	if (result.error == NULL || is_lock(result.error))
	{
		*failure = FailureOfLock(scope);
		failure->hint = copy_string(failure->hint, chunk->memory);
		if (result.error != NULL)
			failure->detail = copy_string(result.error->message, chunk->memory);
		return false;
	}
	memset(failure, 0, sizeof(KeyFailure));
	failure->taken = TakenIs(scope, result.error);
	failure->sqlerrcode = result.error->sqlerrcode;
	failure->message = copy_string(result.error->message ? result.error->message : "",
								   chunk->memory);
	failure->detail = copy_string(result.error->detail, chunk->memory);
	failure->hint = failure->taken ?
		"An event of the key that has the value may give it up. This one is tried again soon; then a failure counts as an attempt." :
		copy_string(result.error->hint, chunk->memory);
	failure->context = copy_string(result.error->context, chunk->memory);
	return false;
}

/*
 * The key as a whole
 */

/* as often as a range of numbers can be halved */
#define HALVES 64

/* The key's progress through its events. */
typedef struct Progress
{
	int64		first;			/* what is tried next: the events first..last */
	int64		last;
	int			halves;			/* what comes after that, up to these */
	int64		ends[HALVES];
	bool		begun;
	bool		done;
	bool		was_last;		/* no event comes after the one that has
								 * failed */
} Progress;

/* What was tried is applied; what comes next? */
static void
go_on(Progress *progress)
{
	if (progress->halves == 0)
		progress->done = true;
	else
	{
		progress->first = progress->last + 1;
		progress->last = progress->ends[--progress->halves];
	}
}

/* What was tried has failed: the first half of it comes next. */
static void
halve(Progress *progress, int64 middle)
{
	if (progress->halves == HALVES)
		elog(ERROR, "a range of numbers was halved too often");
	progress->ends[progress->halves++] = progress->last;
	progress->last = middle;
}

/* Fold and write what is to be tried; learn from what becomes of it. */
static void
apply_chunk(const ApplyScope *scope, const KeyTask *task, Progress *progress,
			KeyOutcome *outcome, MemoryContext memory)
{
	Chunk	   *chunk = fold_chunk(scope, task, progress->first, progress->last,
								   memory);
	KeyFailure	failure;

	if (!progress->begun)
		outcome->folded = FoldEvents(chunk->fold);
	progress->begun = true;
	if (write_chunk(scope, chunk, &failure))
	{
		outcome->applied += FoldEvents(chunk->fold);
		outcome->failed = chunk->bad;
		outcome->failure = chunk->failure;
		if (chunk->bad)
			progress->done = true;
		else
			go_on(progress);
	}
	else if (chunk->events > 1 && middle_of(chunk) < progress->last &&
			 !failure.locked)
		halve(progress, middle_of(chunk));
	else
	{
		outcome->failed = true;
		outcome->failure = failure;
		take_event(&outcome->failure, &chunk->first);
		progress->was_last = chunk->events == 1 && progress->halves == 0;
		progress->done = true;
	}
}

/*
 * Apply the events of one key in order, as many as can be.  Takes no error
 * for the last word unless it hits one event alone.
 */
KeyOutcome
KeyApply(const ApplyScope *scope, const KeyTask *task)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext round = AllocSetContextCreate(context,
												"wallet_projection chunk",
												ALLOCSET_DEFAULT_SIZES);
	Progress	progress = {.first = task->from_no,.last = task->last_no};
	KeyOutcome	outcome = {0};

	while (!progress.done)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(round);
		MemoryContextSwitchTo(round);
		apply_chunk(scope, task, &progress, &outcome, context);
	}
	MemoryContextSwitchTo(context);
	MemoryContextDelete(round);
	if (outcome.failed && !progress.was_last)
		outcome.waiting = KeyEventsCount(scope, task,
										 outcome.failure.no).count - 1;
	return outcome;
}

/* Leave the key alone, for this reason: what waits, and from where on. */
KeyOutcome
KeyLeave(const ApplyScope *scope, const KeyTask *task, const KeyFailure *why)
{
	KeyOutcome	outcome = {.failed = true,.failure = *why};
	Chunk	   *chunk = fold_chunk(scope, task, task->from_no, task->last_no,
								   CurrentMemoryContext);

	if (chunk->events == 0)
		elog(ERROR, "key \"%s\" has no events to apply", task->key);
	outcome.folded = FoldEvents(chunk->fold);
	take_event(&outcome.failure, &chunk->first);
	outcome.waiting = KeyEventsCount(scope, task, task->from_no).count - 1;
	return outcome;
}
