/*
 * failure.c
 *		Keys of a batch whose event fails.
 *
 * A key fails when the fold refuses an event of it (BatchRefuse), or when its
 * row cannot be written (BatchIsolate).  It is remembered, and parked in the
 * end (BatchPark), unless as many keys are parked as may be: then the error
 * is raised.
 */
#include "postgres.h"

#include "errors.h"
#include "keyhash.h"
#include "keylock.h"
#include "projection/batch_state.h"

/* The key's bytes with a terminating zero. */
static char *
key_of(const FoldEntry *entry)
{
	return pnstrdup(FoldEntryKey(entry), entry->key_length);
}

/* Raise the error that an event cannot be applied and its key not parked. */
static void
raise_failure(const Batch *batch, const FoldEntry *entry,
			  const KeyFailure *failure)
{
	int			limit = batch->projection->max_parked;
	const char *detail = failure->detail;

	if (batch->may_park)
		detail = psprintf("%d keys are parked already or would be now; the option \"max_parked\" is %d.",
						  batch->parking, limit);
	else if (detail == NULL)
		detail = "Nothing of its batch was applied.";
	ereport(ERROR,
			(errcode(failure->sqlerrcode),
			 errmsg("projection \"%s\" cannot apply event %lld of stream \"%s\" to %s \"%s\": %s",
					batch->projection->name, (long long) failure->no,
					batch->stream->name, batch->projection->aggregate_type,
					key_of(entry), failure->message),
			 errdetail_internal("%s", detail),
			 errhint("%s", failure->hint ? failure->hint :
					 "Correct the read model or the event, then run the projection again."),
			 failure->context ? errcontext("%s", failure->context) : 0));
}

/* Remember that a key is to be parked. */
static BatchFailure *
add_failure(Batch *batch, const FoldEntry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	BatchFailure *failure = NULL;
	ListCell   *cell;

	foreach(cell, batch->failures)
	{
		BatchFailure *earlier = lfirst(cell);

		if (earlier->entry == entry)
			failure = earlier;
	}
	if (failure == NULL)
	{
		failure = palloc0(sizeof(BatchFailure));
		failure->entry = entry;
		batch->failures = lappend(batch->failures, failure);
	}
	MemoryContextSwitchTo(old);
	return failure;
}

/* An error if so many keys would be parked that none may be. */
static void
check_limit(Batch *batch, int parking)
{
	const BatchFailure *first;

	if (parking <= batch->projection->max_parked)
		return;
	batch->parking = parking;
	first = linitial(batch->failures);
	raise_failure(batch, first->entry, &first->failure);
}

/* FoldRefused: this event cannot be folded */
void
BatchRefuse(void *arg, FoldEntry *entry, const Event *event,
			const char *reason)
{
	Batch	   *batch = arg;
	KeyFailure	failure = {0};
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	failure.no = event->no;
	failure.version = event->version;
	failure.event_name = pnstrdup(event->name, event->name_length);
	failure.sqlerrcode = ERRCODE_BAD_EVENT;
	failure.message = pstrdup(reason);
	MemoryContextSwitchTo(old);
	if (!batch->may_park)
		raise_failure(batch, entry, &failure);
	add_failure(batch, entry)->failure = failure;
	check_limit(batch, list_length(batch->failures));
}

/* The parked keys of our partitions: their events are passed over. */
void
BatchPassOverParked(Batch *batch)
{
	ListCell   *cell;

	batch->skipped = SkippedEvents(batch->projection->name);
	foreach(cell, ParkedKeys(batch->projection->name))
	{
		ParkedBrief *parked = lfirst(cell);
		int			length = strlen(parked->key);

		if (batch->claim_of[parked->partition] == NULL)
			continue;
		FoldBan(batch->fold, parked->key, length, KeyHash(parked->key, length));
		batch->parked = lappend(batch->parked, parked);
	}
}

/* The position of a key's partition before this batch. */
static const Claim *
claim_of_key(const Batch *batch, const FoldEntry *entry)
{
	uint64		hash = KeyHash(FoldEntryKey(entry), entry->key_length);

	return batch->claim_of[hash % batch->projection->partitions];
}

/* A key has failed: apply what can be of it, and remember where it failed. */
static void
isolate_key(Batch *batch, const ApplyScope *scope, const FoldEntry *entry)
{
	KeyTask		task = {.key = key_of(entry)};
	KeyOutcome	outcome;
	BatchFailure *failure;

	/* all of them: one may have a lower version than it should */
	task.from_version = PG_INT64_MIN;
	task.last_no = batch->report.last;
	task.position = &claim_of_key(batch, entry)->position;
	task.skipped = &batch->skipped;
	outcome = ApplyKey(scope, &task);
	batch->events += outcome.applied - outcome.folded;
	if (!outcome.failed)
		return;
	if (!batch->may_park)
		raise_failure(batch, entry, &outcome.failure);
	failure = add_failure(batch, entry);
	failure->failure = outcome.failure;
	failure->counted = true;
	failure->applied = outcome.applied;
	failure->waiting = outcome.waiting;
}

/* So many keys have failed that the others were not written. */
static void
refuse_many(const Batch *batch, int count)
{
	ereport(ERROR,
			(errcode(ERRCODE_BAD_EVENT),
			 errmsg("projection \"%s\" cannot apply a batch: %d keys have failed",
					batch->projection->name, count),
			 errdetail("The option \"max_parked\" is %d.",
					   batch->projection->max_parked)));
}

/*
 * Write the keys one way or another: those that fail are left out, what can be
 * applied of them is, and they are remembered to be parked.
 */
void
BatchIsolate(Batch *batch, const ApplyScope *scope, FoldedKey *keys,
			 int64 count)
{
	List	   *culprits = ApplyIsolated(scope, keys, count,
									 batch->limits->callers_transaction);
	ListCell   *cell;

	foreach(cell, culprits)
	{
		isolate_key(batch, scope, lfirst(cell));
		if (list_length(batch->failures) > batch->projection->max_parked)
			break;
	}
	if (cell == NULL && ApplyGivesUp(scope, culprits))
		refuse_many(batch, list_length(culprits));
	BatchCheckDefinition(batch, scope, keys, count);
	check_limit(batch, list_length(batch->failures));
}

/* Park the keys that have failed. */
static void
park_failures(Batch *batch)
{
	ListCell   *cell;

	if (batch->failures == NIL)
		return;
	/* others who park keys wait, so that all of them are counted */
	KeyLock(KEYLOCK_ERROR, batch->projection->name, ExclusiveLock);
	check_limit(batch, list_length(ParkedKeys(batch->projection->name)) +
				list_length(batch->failures));
	foreach(cell, batch->failures)
	{
		const BatchFailure *failure = lfirst(cell);
		TimestampTz next;

		next = ParkKey(batch->projection,
					   claim_of_key(batch, failure->entry)->partition,
					   key_of(failure->entry), &failure->failure,
					   failure->counted ? failure->waiting :
					   failure->entry->left_out);
		if (next != 0 && (batch->next_retry == 0 || next < batch->next_retry))
			batch->next_retry = next;
	}
}

/* Count the events that were passed over of keys that are parked. */
static void
count_passed_over(Batch *batch)
{
	ListCell   *cell;
	ListCell   *banned;

	forboth(cell, batch->parked, banned, FoldBanned(batch->fold))
	{
		const ParkedBrief *parked = lfirst(cell);
		const FoldEntry *entry = lfirst(banned);

		if (entry->left_out > 0)
			ParkPassOver(batch->stream, batch->snapshot,
						 batch->projection->name, parked->key,
						 entry->left_out, entry->second_creation);
	}
}

/* Write down which keys are parked now, and what of them was passed over. */
void
BatchPark(Batch *batch)
{
	count_passed_over(batch);
	park_failures(batch);
}
