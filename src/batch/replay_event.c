/*
 * replay_event.c
 *		An event whose key could not be computed is tried again.
 *
 * Such an event is parked by itself, under its number, in the partition that
 * its number chooses.  Its keys, once they can be computed, are of other
 * partitions, which are claimed as well.  For each of its keys the event is
 *
 *	- not passed yet by the key's position: the next batch applies it
 *	- behind the event at which the key is parked: it waits with the others
 *	- before that event, or of a free key: it is applied, or comes to wait,
 *	  if no later event of the key was applied.  Otherwise it is too late: the
 *	  order within the key would be broken.
 *
 * If it is too late for one of its keys, nothing is done for the others,
 * unless the caller makes that key's row anew, as a rebuild does.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "batch/keyevents.h"
#include "batch/replay_event.h"
#include "errors.h"
#include "fault.h"
#include "notice.h"
#include "parking/parkedset.h"
#include "parking/skip.h"
#include "position/claims.h"
#include "position/oldgaps.h"
#include "savepoint.h"

/* A key of the event. */
typedef struct EventKey
{
	char	   *image;
	int			length;
	char	   *text;
	uint64		hash;
	Claims		claims;
	const Position *position;	/* of the key's partition */
	bool		passed;			/* the position has passed the event */
	Parked	   *parked;			/* or NULL */
} EventKey;

/* The keys of the event, once it has been read. */
typedef struct EventKeys
{
	const ApplyScope *scope;
	const Event *event;
	bool		found;
	List	   *keys;			/* of EventKey */
	ErrorData  *error;
	MemoryContext context;
} EventKeys;

/* MergeItemReceiver */
static void
take_key(void *arg, const MergeItem *item)
{
	EventKeys  *keys = arg;
	KeyType    *type = keys->scope->sink->key;
	MemoryContext old = MemoryContextSwitchTo(keys->context);
	EventKey   *key;
	ListCell   *cell;

	if (item->has_key)
	{
		key = palloc0(sizeof(EventKey));
		key->length = KeyImageSize(type, item->key);
		key->image = palloc0(key->length);
		KeyImageStore(type, item->key, key->image);
		foreach(cell, keys->keys)
		{
			if (KeyImagesEqual(type, ((EventKey *) lfirst(cell))->image, key->image))
				break;
		}
		if (cell == NULL)
			keys->keys = lappend(keys->keys, key);
	}
	MemoryContextSwitchTo(old);
}

/* EventReceiver */
static bool
take_event(void *state, const Event *event)
{
	EventKeys  *keys = state;

	keys->found = true;
	keys->event = event;
	keys->keys = NIL;
	keys->error = MergeRunItemsApart(keys->scope->sink->run, event->slot,
									 take_key, keys);
	return false;
}

/* Which keys the event has now, as a snapshot of its own sees it. */
static EventKeys
keys_of(const ApplyScope *scope, int64 no)
{
	EventKeys	keys = {.scope = scope,.context = CurrentMemoryContext};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	(void) ReadRowsWhere(scope->stream, snapshot, NIL, no, no, take_event, &keys);
	UnregisterSnapshot(snapshot);
	if (keys.error != NULL && !ErrorIsOfEvent(keys.error->sqlerrcode))
		ReThrowError(keys.error);
	return keys;
}

/* Claim the key's partition; false: somebody else works on it. */
static bool
claim_key(OpenProjection *work, EventKey *key, bool wait)
{
	KeyType    *type = work->sink.key;

	key->text = KeyText(type, key->image, key->length);
	key->hash = KeyPartitionHash(type, key->image, key->length);
	key->claims = GroupClaim(work->projection,
							 key->hash % work->projection->partitions, wait);
	return key->claims.groups != 0;
}

/* Where the key stands. */
static void
look_at_key(OpenProjection *work, EventKey *key, int64 no)
{
	PositionSet *set = &key->claims.sets.sets[0];
	char	   *parked;

	if (set->old.last >= no)
		OldGapsLoad(work->projection, set);
	key->position = &set->position;
	key->passed = PositionApplied(key->position, no);
	parked = ParkedEqual(work->projection->name, work->sink.key, key->image,
						 key->length);
	if (parked != NULL)
		key->parked = ParkedKey(work->projection->name, parked, false);
}

/* Was a later event of the key applied? */
static bool
is_too_late(const ApplyScope *scope, const EventKey *key, int64 no)
{
	NumberSet	of_key = SkippedOfKey(scope->projection->name, key->text);
	NumberSet	alone = SkippedOrParkedAlone(scope->projection->name);
	NumberSet	skipped = NumberSetUnion(&of_key, &alone);
	KeyTask		task = {.key = key->text,.from_no = no + 1,.passed = true,
		.last_no = key->position->head,.position = key->position,
	.skipped = &skipped};

	if (!key->passed || (key->parked != NULL && key->parked->failure.no < no))
		return false;
	if (key->parked != NULL)
		task.last_no = key->parked->failure.no - 1;
	if (key->parked != NULL && key->parked->applied.count > 0)
		return true;
	return task.from_no <= task.last_no &&
		KeyEventsCount(scope, &task, task.from_no).count > 0;
}

/* The event has failed again, as the key cannot be computed or is too late. */
static ReplayResult
fail_again(OpenProjection *work, Parked *parked, KeyFailure *failure)
{
	ReplayResult result = {.outcome = REPLAY_FAILED};

	failure->no = parked->failure.no;
	failure->event_name = parked->failure.event_name;
	(void) ParkAgain(work->projection, parked, failure, 0);
	result.id = parked->id;
	result.no = failure->no;
	result.message = failure->message;
	result.detail = failure->detail;
	return result;
}

static ReplayResult
fail_late(OpenProjection *work, Parked *parked, const EventKey *key)
{
	KeyFailure	failure = {.sqlerrcode = ERRCODE_BAD_EVENT};

	failure.message = psprintf("it is an event of key \"%s\", of which later events were applied while its key could not be computed",
							   key->text);
	failure.detail = "To apply it now would break the order of the key's events.";
	failure.hint = psprintf("Build the key's row anew: CALL projection_rebuild(%s, %s); or skip the event with dead_letter_delete.",
							quote_literal_cstr(work->projection->name),
							quote_literal_cstr(key->text));
	return fail_again(work, parked, &failure);
}

static ReplayResult
fail_computed(OpenProjection *work, Parked *parked, const ErrorData *error)
{
	KeyFailure	failure = FailureOfError(error);

	return fail_again(work, parked, &failure);
}

/* Apply the event to a key, or let it wait with the others; returns events. */
static int64
settle_key(OpenProjection *work, const ApplyScope *scope, EventKey *key,
		   int64 no)
{
	KeyTask		task = {.key = key->text,.from_no = no,.last_no = no,
	.passed = true,.position = key->position,.guarded = true};
	KeyOutcome	outcome;

	if (!key->passed)
		return 0;
	if (key->parked != NULL)
	{
		(void) ParkPassOver(scope->stream, scope->snapshot,
							work->projection->name, key->parked->key, 1, no,
							key->position);
		return 0;
	}
	outcome = KeyApply(scope, &task);
	if (outcome.failed)
	{
		static const NumberSet none = {0};
		ParkedName	name = {.key = key->text,.hash = key->hash};

		ParkedSetAdd(work->projection->name, key->hash);
		(void) ParkKey(work->projection, &name, &outcome.failure, 0, &none);
	}
	else if (OpenedKeepsRows(work))
		ClaimsWritten(work->projection, &key->claims);
	return outcome.applied;
}

/* Claim all keys, then look where they stand. */
static bool
claim_keys(OpenProjection *work, List *keys, int64 no, bool wait)
{
	ListCell   *cell;

	foreach(cell, keys)
	{
		if (!claim_key(work, lfirst(cell), wait))
			return false;
	}
	foreach(cell, keys)
		look_at_key(work, lfirst(cell), no);
	return true;
}

static void
release_keys(List *keys)
{
	ListCell   *cell;

	foreach(cell, keys)
	{
		EventKey   *key = lfirst(cell);

		if (key->claims.catalog != NULL)
			ClaimsRelease(&key->claims);
	}
}

/* The keys are claimed. */
static ReplayResult
settle_keys(OpenProjection *work, const ApplyScope *scope, Parked *parked,
			List *keys, bool leave_late)
{
	ReplayResult result = {.outcome = REPLAY_HEALED};
	List	   *in_time = NIL;
	ListCell   *cell;

	foreach(cell, keys)
	{
		EventKey   *key = lfirst(cell);

		if (!is_too_late(scope, key, parked->failure.no))
			in_time = lappend(in_time, key);
		else if (leave_late)
			result.late = lappend(result.late, key->text);
		else
			return fail_late(work, parked, key);
	}
	foreach(cell, in_time)
		result.events += settle_key(work, scope, lfirst(cell), parked->failure.no);
	ParkFree(parked);
	if (result.events > 0)
		NoticeProgress(work->projection->name, result.events, 0, 0);
	return result;
}

/*
 * Try the event again that is parked under its number; the partition that the
 * number chooses is claimed.  wait: for others who work on its keys'
 * partitions; otherwise it is put off.  leave_late: keys for which it is too
 * late are left to the caller (ReplayResult.late), and the event is free.
 * scope->snapshot is set here.
 */
ReplayResult
ReplayEvent(OpenProjection *work, ApplyScope *scope, Parked *parked, bool wait,
			bool leave_late)
{
	EventKeys	keys = keys_of(scope, parked->failure.no);
	ReplayResult result = {.outcome = REPLAY_NOTHING};

	if (keys.error != NULL)
		return fail_computed(work, parked, keys.error);
	if (claim_keys(work, keys.keys, parked->failure.no, wait))
	{
		/* newer than the claims */
		scope->snapshot = RegisterSnapshot(GetLatestSnapshot());
		result = settle_keys(work, scope, parked, keys.keys, leave_late);
		UnregisterSnapshot(scope->snapshot);
	}
	else
		ParkPostpone(work->projection, parked, ERRCODE_LOCK_NOT_AVAILABLE,
					 "others work on the partition of its key");
	release_keys(keys.keys);
	return result;
}
