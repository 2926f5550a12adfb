/*
 * failure.c
 *		Keys of a batch whose event fails.
 *
 * A key fails when the fold refuses an event of it (BatchRefuse), or when its
 * row cannot be written (BatchIsolate).  It is remembered, and parked in the
 * end (BatchPark), unless as many keys are parked as may be: then the error
 * is raised.  The consumer tries again with fewer events, and in the end with
 * one at a time: so whatever comes before the first event too many is applied.
 *
 * A key whose row somebody else has locked is parked, too, to be tried again
 * soon; it has not failed, and does not count.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "batch/batch_state.h"
#include "batch/onekey.h"
#include "batch/taken.h"
#include "errors.h"
#include "fault.h"
#include "keyhash.h"
#include "keylock.h"
#include "parking/parkedset.h"
#include "parking/skip.h"

/* so many parked keys are looked up beforehand, whatever a batch has of them */
#define FEW 64

/*
 * Keys of a batch that are looked up in vain before it is asked whether few
 * are parked, and before all that are, are read.
 */
#define ASK_FIRST	16
#define ASK_AT_MOST 500

/* The number of an event that has no key. */
static int64
number_of(const FoldEntry *entry)
{
	int64		no;

	memcpy(&no, FoldEntryKey(entry), sizeof(no));
	return no;
}

/* The key's text; of an event without a key, its number. */
static char *
key_of(const Batch *batch, const FoldEntry *entry)
{
	if (entry->banned == FOLD_NO_KEY)
		return psprintf("%lld", (long long) number_of(entry));
	return KeyText(batch->work.sink.key, FoldEntryKey(entry),
				   entry->key_length);
}

/* What chooses its partition. */
static uint64
hash_of(const Batch *batch, const FoldEntry *entry)
{
	if (entry->banned == FOLD_NO_KEY)
		return (uint64) number_of(entry);
	return KeyPartitionHash(batch->work.sink.key, FoldEntryKey(entry),
							entry->key_length);
}

/* To what an event was to be applied, in a message. */
static char *
target_of(const Batch *batch, const FoldEntry *entry)
{
	if (entry->banned == FOLD_NO_KEY)
		return "any key";
	return psprintf("%s \"%s\"", batch->projection->declared != NULL ?
					"key" : batch->projection->aggregate_type,
					key_of(batch, entry));
}

/* Raise the error that an event cannot be applied and its key not parked. */
static void
raise_failure(const Batch *batch, const FoldEntry *entry,
			  const KeyFailure *failure)
{
	int			limit = batch->projection->max_parked;
	const char *detail = failure->detail;

	if (batch->faults.may_park)
		detail = psprintf("%d keys are parked already or would be now; the option \"max_parked\" is %d.",
						  batch->faults.parking, limit);
	else if (detail == NULL)
		detail = "Nothing of its batch was applied.";
	ereport(ERROR,
			(errcode(batch->faults.may_park ? ERRCODE_TOO_MANY_PARKED :
					 failure->sqlerrcode),
			 errmsg("projection \"%s\" cannot apply event %lld of stream \"%s\" to %s: %s",
					batch->projection->name, (long long) failure->no,
					batch->stream->name, target_of(batch, entry),
					failure->message),
			 errdetail_internal("%s", detail),
			 batch->faults.may_park && batch->limits->callers_transaction ?
			 errhint("Nothing of this call is applied; projection_consume and background workers apply what comes before this event. Or raise the limit: SELECT projection_set(%s, 'max_parked', ...);",
					 quote_literal_cstr(batch->projection->name)) :
			 batch->faults.may_park ?
			 errhint("What comes before this event is applied. See projection_dead_letters for the cause; correct it and call dead_letter_replay_all(%s), or raise the limit by projection_set(%s, 'max_parked', ...).",
					 quote_literal_cstr(batch->projection->name),
					 quote_literal_cstr(batch->projection->name)) :
			 errhint("%s", failure->hint ? failure->hint :
					 "Correct the read model or the event, then run the projection again."),
			 failure->context ? errcontext("%s", failure->context) : 0));
}

/* So many keys have failed that the others were not written. */
static void
refuse_many(const Batch *batch, int count)
{
	ereport(ERROR,
			(errcode(ERRCODE_TOO_MANY_PARKED),
			 errmsg("projection \"%s\" cannot apply a batch: %d keys have failed",
					batch->projection->name, count),
			 errdetail("The option \"max_parked\" is %d.",
					   batch->projection->max_parked)));
}

/*
 * Has a batch failed because no more keys may be parked?  It is told by who
 * raised the error: where none may be, it carries the event's own SQLSTATE.
 */
bool
BatchFailedAtLimit(const ErrorData *error)
{
	return error->funcname != NULL &&
		(strcmp(error->funcname, "raise_failure") == 0 ||
		 strcmp(error->funcname, "refuse_many") == 0);
}

/* Is it of use to do a failed batch again, to find out which key it was? */
bool
BatchMayIsolate(const ErrorData *error)
{
	if (BatchFailedAtLimit(error) || ErrorIsOfShutdown(error))
		return false;
	return ErrorIsOfKey(error->sqlerrcode) || FoldInterrupted() ||
		(error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && WriteInterrupted());
}

/* May keys be parked? */
void
BatchBeginFaults(Batch *batch)
{
	batch->faults.may_park = batch->projection->max_parked > 0 &&
		!batch->limits->stop_on_failure;
}

/* Remember that a key is to be parked. */
static BatchFailure *
add_failure(Batch *batch, const FoldEntry *entry, const KeyFailure *cause)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	BatchFailure *failure = NULL;
	ListCell   *cell;

	/* the fold may have refused a later event of it */
	foreach(cell, entry->banned ? batch->faults.failures : NIL)
	{
		BatchFailure *earlier = lfirst(cell);

		if (earlier->entry == entry)
			failure = earlier;
	}
	if (failure == NULL)
	{
		failure = palloc0(sizeof(BatchFailure));
		failure->entry = entry;
		batch->faults.failures = lappend(batch->faults.failures, failure);
	}
	else if (!failure->failure.locked)
		batch->faults.failing--;
	if (!cause->locked)
		batch->faults.failing++;
	failure->failure = *cause;
	MemoryContextSwitchTo(old);
	return failure;
}

/*
 * An error if so many keys would be parked that none may be.  Others may be
 * parking keys at the same time: nobody waits for them, so the limit may be
 * exceeded by what they park.
 */
static void
check_limit(Batch *batch)
{
	const BatchFailure *last = NULL;
	ListCell   *cell;

	if (batch->faults.failing == 0)
		return;
	if (batch->faults.parked_before < 0)
		batch->faults.parked_before = ParkedCount(batch->projection->name);
	batch->faults.parking = batch->faults.parked_before + batch->faults.failing;
	if (batch->faults.parking <= batch->projection->max_parked)
		return;
	foreach(cell, batch->faults.failures)
	{
		const BatchFailure *failure = lfirst(cell);

		if (!failure->failure.locked)
			last = failure;
	}
	raise_failure(batch, last->entry, &last->failure);
}

/* FoldRefused: this event cannot be folded */
void
BatchRefuse(void *arg, FoldEntry *entry, const Event *event,
			const FoldFault *fault)
{
	Batch	   *batch = arg;
	KeyFailure	failure = {0};
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	failure.no = event->no;
	failure.version = event->version;
	failure.event_name = pnstrdup(event->name, event->name_length);
	failure.sqlerrcode = fault->sqlerrcode;
	failure.message = pstrdup(fault->reason);
	failure.detail = fault->detail ? pstrdup(fault->detail) : NULL;
	failure.hint = fault->hint ? pstrdup(fault->hint) : NULL;
	if (batch->faults.may_park)
		FailureExplain(batch->projection, key_of(batch, entry), &failure);
	MemoryContextSwitchTo(old);
	if (!batch->faults.may_park)
		raise_failure(batch, entry, &failure);
	(void) add_failure(batch, entry, &failure);
	check_limit(batch);
}

/*
 * An event whose key cannot be computed: it alone is parked, under its number.
 */
void
BatchRefuseNoKey(Batch *batch, const Event *event, const KeyFailure *cause)
{
	KeyFailure	failure = *cause;
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	FoldEntry  *entry = FoldAddNoKey(batch->reading.fold, event->no);
	char	   *type = MergeEventTypeNoItem(batch->work.sink.run,
											batch->work.sink.merge, event->slot);

	failure.no = event->no;
	failure.event_name = type != NULL ? type : "";
	failure.message = pstrdup(cause->message);
	failure.detail = cause->detail ? pstrdup(cause->detail) : NULL;
	failure.hint = cause->hint ? pstrdup(cause->hint) : NULL;
	failure.context = cause->context ? pstrdup(cause->context) : NULL;
	MemoryContextSwitchTo(old);
	if (!batch->faults.may_park)
		raise_failure(batch, entry, &failure);
	(void) add_failure(batch, entry, &failure);
	check_limit(batch);
}

/* The key of a parked row: its image, and its hashes. */
static char *
image_of(const Batch *batch, const char *key, int *length, KeyHashes *hashes)
{
	KeyType    *type = batch->work.sink.key;
	char	   *image = KeyFromText(type, key, length);

	if (type == NULL)
		hashes->partition = hashes->place = KeyHash(image, *length);
	else
	{
		Datum		datums[INDEX_MAX_KEYS];

		KeyImageRead(type, image, datums);
		*hashes = KeyHashesOf(type, datums);
	}
	return image;
}

/* If there are few parked keys, leave out those of our partitions. */
static bool
ban_few(Batch *batch)
{
	List	   *few;
	ListCell   *cell;

	if (!ParkedFew(batch->projection->name, FEW, &few))
		return false;
	foreach(cell, few)
	{
		ParkedBrief *parked = lfirst(cell);
		KeyHashes	hashes;
		int			length;
		char	   *image;

		if (parked->by_number)
		{
			ParkedCheck(batch->projection, parked,
						ParkedPartitionHash(batch->work.sink.key, parked));
			continue;
		}
		image = image_of(batch, parked->key, &length, &hashes);
		ParkedCheck(batch->projection, parked, hashes.partition);
		if (BatchPositionOf(batch, hashes.partition) != NULL)
			FoldBan(batch->reading.fold, image, length, hashes.place);
	}
	return true;
}

/* Make more of it, where the batch has many keys. */
static void
ask_differently(Batch *batch)
{
	if (batch->faults.parked_asked == ASK_FIRST && ban_few(batch))
		FoldBanThose(batch->reading.fold, NULL);
	else if (batch->faults.parked_asked == ASK_AT_MOST && !batch->faults.parked_known)
	{
		ParkedSetRead(batch->projection->name);
		batch->faults.parked_known = true;
	}
}

/* FoldIsParked */
static bool
is_parked(void *arg, const char *key, int length)
{
	Batch	   *batch = arg;
	const char *name = batch->projection->name;
	KeyType    *type = batch->work.sink.key;

	if (batch->faults.parked_known &&
		!ParkedSetMayHave(name, KeyPartitionHash(type, key, length)))
		return false;
	if (type == NULL ? ParkedIsThere(name, key, length) :
		ParkedEqual(name, type, key, length) != NULL)
		return true;
	batch->faults.parked_asked++;
	ask_differently(batch);
	return false;
}

/*
 * The parked keys of our partitions: their events are passed over.  Each key of
 * the batch is looked up; where it has many, those that are parked are read.
 */
void
BatchPassOverParked(Batch *batch)
{
	batch->faults.parked_before = -1;
	batch->faults.parked_asked = 0;
	batch->faults.parked_known = ParkedSetKnows(batch->projection->name,
												&batch->reach.claims.sets);
	FoldBanThose(batch->reading.fold, is_parked);
}

/* The position of a key's partition before this batch. */
static const Position *
position_of(const Batch *batch, const FoldEntry *entry)
{
	return BatchPositionOf(batch, hash_of(batch, entry));
}

/*
 * The numbers of the events that a declared projection has kept of a key: so
 * its events need not be looked for in the stream.  NULL of a native one.
 */
static NumberSet *
numbers_of(const Batch *batch, const FoldEntry *entry)
{
	NumberSet  *numbers;

	if (batch->work.sink.run == NULL)
		return NULL;
	numbers = palloc0(sizeof(NumberSet));
	for (const FoldItem *item = FoldEntryItems(entry)->first; item != NULL;
		 item = item->next)
	{
		if (!NumberSetContains(numbers, item->no))
			NumberSetAppend(numbers, item->no, item->no);
	}
	return numbers;
}

/* The events of a key that this batch is about. */
static KeyTask
task_of(const Batch *batch, const FoldEntry *entry)
{
	const Position *position = position_of(batch, entry);
	KeyTask		task = {.key = key_of(batch, entry)};

	task.from_no = position->gaps.count > 0 ? position->gaps.ranges[0].first :
		position->head + 1;
	task.last_no = batch->reading.report.last;
	task.position = position;
	task.numbers = numbers_of(batch, entry);
	task.skipped = &batch->reading.skipped;
	task.guarded = batch->limits->isolate;
	return task;
}

/* What can be of it is applied; remember where the key stands. */
static void
remember_outcome(Batch *batch, const FoldEntry *entry,
				 const KeyOutcome *outcome)
{
	BatchFailure *failure;

	batch->faults.applied += outcome->applied - outcome->folded;
	if (!outcome->failed)
		return;
	if (!batch->faults.may_park && !outcome->failure.locked)
		raise_failure(batch, entry, &outcome->failure);
	failure = add_failure(batch, entry, &outcome->failure);
	failure->counted = true;
	failure->applied = outcome->applied;
	failure->waiting = outcome->waiting;
}

/* A key has failed, and this is the last word. */
static void
remember_key(Batch *batch, const FoldEntry *entry, const KeyTask *task,
			 KeyOutcome *outcome)
{
	if (outcome->failed)
		FailureExplain(batch->projection, task->key, &outcome->failure);
	remember_outcome(batch, entry, outcome);
}

/*
 * A key has failed: apply what can be of it.  One that needs a value of
 * another row is tried again when the others are through.
 */
static void
isolate_key(Batch *batch, const ApplyScope *scope, const FoldEntry *entry,
			List **taken)
{
	KeyTask		task = task_of(batch, entry);
	KeyOutcome	outcome = KeyApply(scope, &task);

	if (outcome.failed && outcome.failure.taken)
		*taken = lappend(*taken, TakenKeyMake(entry, &task, &outcome));
	else
		remember_key(batch, entry, &task, &outcome);
}

/* Those that need a value of another row. */
static void
isolate_taken(Batch *batch, const ApplyScope *scope, List *taken)
{
	ListCell   *cell;

	TakenTryAgain(scope, taken);
	foreach(cell, taken)
	{
		TakenKey   *key = lfirst(cell);

		remember_key(batch, key->entry, &key->task, &key->outcome);
	}
}

/* The key is parked and not tried, for this reason. */
static void
leave_key(Batch *batch, const ApplyScope *scope, const FoldEntry *entry,
		  const KeyFailure *why)
{
	KeyTask		task = task_of(batch, entry);
	KeyOutcome	outcome = KeyLeave(scope, &task, why);

	remember_outcome(batch, entry, &outcome);
}

/* Keys whose rows somebody else has locked: they wait, all others go on. */
void
BatchLeaveLocked(Batch *batch, const ApplyScope *scope, const List *entries)
{
	ListCell   *cell;

	foreach(cell, entries)
	{
		KeyFailure	locked = FailureOfLock(scope);

		leave_key(batch, scope, lfirst(cell), &locked);
	}
}

/* The keys of an event that takes too long are parked, and not tried. */
void
BatchGiveUp(Batch *batch, const ApplyScope *scope, const FoldedKey *keys,
			int64 count)
{
	KeyFailure	failure = FailureOfTime(batch->limits->given_up_detail);

	for (int64 i = 0; i < count; i++)
		leave_key(batch, scope, keys[i].entry, &failure);
	check_limit(batch);
	batch->gave_up = true;
}

/*
 * Write the keys one way or another: those that fail are left out, what can be
 * applied of them is, and they are remembered to be parked.
 */
void
BatchIsolate(Batch *batch, const ApplyScope *scope, FoldedKey *keys,
			 int64 count)
{
	Isolation	isolation = {.scope = scope};
	List	   *taken = NIL;
	ListCell   *cell;

	if (!batch->limits->callers_transaction)
		LocksSoon();
	IsolateKeys(&isolation, keys, count, batch->limits->callers_transaction);
	foreach(cell, isolation.culprits)
	{
		isolate_key(batch, scope, lfirst(cell), &taken);
		if (batch->faults.failing > batch->projection->max_parked)
			break;
	}
	isolate_taken(batch, scope, taken);
	if (cell == NULL && IsolationGivesUp(&isolation))
		refuse_many(batch, list_length(isolation.culprits));
	BatchCheckDefinition(batch, scope, keys, count);
	check_limit(batch);
	BatchLeaveLocked(batch, scope, isolation.locked);
}

/*
 * Of the key's events behind the failed one, those that earlier batches have
 * applied, as it was a gap then: a replay must not apply them again.
 */
static NumberSet
applied_behind(const Batch *batch, const BatchFailure *failure)
{
	const Position *before;
	ApplyScope	scope = {.projection = batch->projection,
		.sink = &batch->work.sink,
	.stream = batch->stream,.snapshot = batch->reading.snapshot};
	KeyTask		task = {.passed = true,.from_no = failure->failure.no + 1,
	.skipped = &batch->reading.skipped};
	NumberSet	numbers = {0};

	/* which need not be of a partition of ours */
	if (failure->entry->banned == FOLD_NO_KEY)
		return numbers;
	before = position_of(batch, failure->entry);
	task.key = key_of(batch, failure->entry);
	task.last_no = before->head;
	task.position = before;
	if (task.from_no > task.last_no ||
		KeyEventsCount(&scope, &task, task.from_no).count == 0)
		return numbers;
	NumberSetAppend(&numbers, task.from_no, task.last_no);
	numbers = NumberSetMinus(&numbers, &before->gaps);
	return NumberSetMinus(&numbers, &batch->reading.skipped);
}

/* A key is tried again then; 0: not by itself. */
static void
note_retry(Batch *batch, TimestampTz next)
{
	if (next != 0 && (batch->faults.next_retry == 0 || next < batch->faults.next_retry))
		batch->faults.next_retry = next;
}

/* Park the keys that have failed. */
static void
park_failures(Batch *batch)
{
	ListCell   *cell;

	/* others may have parked keys while we worked */
	batch->faults.parked_before = -1;
	check_limit(batch);
	foreach(cell, batch->faults.failures)
	{
		const BatchFailure *failure = lfirst(cell);
		NumberSet	applied = applied_behind(batch, failure);
		ParkedName	name = {.key = key_of(batch, failure->entry),
			.by_number = failure->entry->banned == FOLD_NO_KEY,
		.hash = hash_of(batch, failure->entry)};
		TimestampTz next;

		if (!name.by_number)
			ParkedSetAdd(batch->projection->name, name.hash);
		next = ParkKey(batch->projection, &name, &failure->failure,
					   failure->counted ? failure->waiting :
					   failure->entry->left_out, &applied);
		note_retry(batch, next);
	}
}

/* The text under which the key is parked, which may be another one's. */
static char *
parked_text(const Batch *batch, const FoldEntry *entry)
{
	KeyType    *type = batch->work.sink.key;

	if (type == NULL)
		return key_of(batch, entry);
	return ParkedEqual(batch->projection->name, type, FoldEntryKey(entry),
					   entry->key_length);
}

/* Count the events that were passed over of keys that are parked. */
static void
count_passed_over(Batch *batch)
{
	ListCell   *cell;

	foreach(cell, FoldBannedKeys(batch->reading.fold))
	{
		const FoldEntry *entry = lfirst(cell);

		if (entry->banned == FOLD_PARKED && entry->left_out > 0)
			note_retry(batch,
					   ParkPassOver(batch->stream, batch->reading.snapshot,
									batch->projection->name,
									parked_text(batch, entry),
									entry->left_out, entry->second_creation,
									position_of(batch, entry)));
	}
}

/* Write down which keys are parked now, and what of them was passed over. */
void
BatchPark(Batch *batch)
{
	count_passed_over(batch);
	park_failures(batch);
}
