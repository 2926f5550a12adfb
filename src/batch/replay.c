/*
 * replay.c
 *		Parked keys are tried again.
 *
 * The events of a parked key from the failed one on were passed over: the
 * partition's position says that they are applied, and the parked row says
 * that they are not.  A replay claims the partition, so no batch passes over
 * more of them meanwhile, and applies those events in order, as many as can
 * be: all of them, and the row goes; or up to one that fails, and the row
 * says so.  Later events are the next batch's, as ever.  Rows, positions and
 * the parked row change in one transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "batch/isolate.h"
#include "batch/keyevents.h"
#include "batch/onekey.h"
#include "batch/opened.h"
#include "batch/replay.h"
#include "batch/replay_event.h"
#include "batch/unhandled_counts.h"
#include "errors.h"
#include "fault.h"
#include "keylock.h"
#include "notice.h"
#include "parking/skip.h"
#include "position/oldgaps.h"
#include "position/trouble.h"
#include "savepoint.h"

/* how many keys that are due are looked at, to find one whose partition is free */
#define DUE_AT_ONCE 64

/* The key that was tried last: after an error, whose it was. */
static int64 tried_id;			/* 0: none */

/* The id that the key had which was tried last; 0: none was. */
int64
ReplayTried(void)
{
	return tried_id;
}

/* An event that has not failed is not skipped. */
static void
refuse_locked(const Parked *parked)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" of projection \"%s\" has not failed",
					parked->key, parked->projection),
			 errdetail("It waits for a lock on its row, or for a value that another row has."),
			 errhint("It is tried again by itself, within a second.")));
}

/*
 * The key's events have failed again: say so in its row.  If something is
 * missing that was there before, that is not the event's fault, and no
 * attempt.
 */
static void
park_again(OpenProjection *work, Parked *parked, const KeyOutcome *outcome)
{
	if (outcome->failure.no == parked->failure.no && parked->attempts > 0 &&
		ErrorIsOfDefinition(outcome->failure.sqlerrcode) &&
		!ErrorIsOfDefinition(parked->failure.sqlerrcode))
		ParkPostpone(work->projection, parked, outcome->failure.sqlerrcode,
					 outcome->failure.message);
	else
		(void) ParkAgain(work->projection, parked, &outcome->failure,
						 outcome->waiting);
}

/* The events of a parked key that wait, or would be skipped. */
static KeyTask
task_of(const Parked *parked, const Position *position,
		const NumberSet *skipped)
{
	KeyTask		task = {.key = parked->key,.passed = true,.guarded = true,
		.from_no = parked->failure.no,.last_no = PG_INT64_MAX,
	.position = position,.skipped = skipped};

	return task;
}

/* The key is given up: none of its waiting events is applied. */
static ReplayResult
skip_all(const ApplyScope *scope, const KeyTask *task, const Parked *parked)
{
	ReplayResult result = {.outcome = REPLAY_HEALED};
	KeyEvents	events;

	/* a row for each run between gaps: what fills these does not wait yet */
	for (int64 from_no = task->from_no;
		 (events = KeyEventsRun(scope, task, from_no)).count > 0;
		 from_no = events.last_no + 1)
	{
		Parked		first = *parked;

		first.failure.no = events.first_no;
		SkipAll(scope->stream, scope->snapshot, &first, events.last_no,
				events.count);
	}
	ParkFree(parked);
	return result;
}

/* Apply them, as many as can be; the key's row says what has become of it. */
static ReplayResult
apply_waiting(OpenProjection *work, const ApplyScope *scope, const KeyTask *task,
			  Parked *parked)
{
	ReplayResult result = {0};
	KeyOutcome	outcome = KeyApply(scope, task);

	if (outcome.failed)
		FailureExplain(work->projection, parked->key, &outcome.failure);
	result.events = outcome.applied;
	result.outcome = outcome.failed ? REPLAY_FAILED : REPLAY_HEALED;
	result.message = outcome.failure.message;
	result.detail = outcome.failure.detail;
	result.no = outcome.failure.no;
	if (outcome.failed)
		park_again(work, parked, &outcome);
	else
		ParkFree(parked);
	result.id = parked->id;
	if (outcome.applied > 0)
		NoticeProgress(work->projection->name, outcome.applied, 0, 0);
	return result;
}

/* What was found that nothing was done with counts. */
static void
save_unhandled(const OpenProjection *work, const Claims *claims,
			   const ApplyScope *scope)
{
	if (scope->unhandled != NULL)
		UnhandledSave(work->projection->name, LowestGroup(claims->groups),
					  scope->unhandled);
}

/* An event without a key that is skipped: it alone was parked. */
static ReplayResult
skip_event(const ApplyScope *scope, const Parked *parked)
{
	ReplayResult result = {.outcome = REPLAY_HEALED};

	SkipEvent(scope->stream, scope->snapshot, parked);
	ParkFree(parked);
	return result;
}

static inline bool
skips(ReplaySkip skip)
{
	return skip == REPLAY_SKIPS_EVENT || skip == REPLAY_SKIPS_ALL;
}

static ReplayResult
replay_in(ApplyScope *scope, OpenProjection *work, const Claims *claims,
		  Parked *parked, ReplaySkip skip)
{
	NumberSet	skipped;
	NumberSet	elsewhere;
	KeyTask		task;
	ReplayResult result;

	if (skips(skip) && parked->attempts == 0)
		refuse_locked(parked);
	if (scope->own && parked->attempts == 0)
		LocksSoon();
	if (parked->by_number && !skips(skip))
	{
		result = ReplayEvent(work, scope, parked, !scope->own,
							 skip == REPLAY_LEAVES_LATE);
		save_unhandled(work, claims, scope);
		return result;
	}
	/* gaps below the event that failed are none of those that wait */
	if (claims->sets.sets[0].old.last >= parked->failure.no)
		OldGapsLoad(work->projection, &claims->sets.sets[0]);
	scope->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (parked->by_number)
	{
		result = skip_event(scope, parked);
		UnregisterSnapshot(scope->snapshot);
		return result;
	}
	if (skip == REPLAY_SKIPS_EVENT)
		SkipEvent(work->stream, scope->snapshot, parked);
	skipped = SkippedOfKey(work->projection->name, parked->key);
	skipped = NumberSetUnion(&skipped, &parked->applied);
	elsewhere = SkippedOrParkedAlone(work->projection->name);
	skipped = NumberSetUnion(&skipped, &elsewhere);
	task = task_of(parked, &claims->sets.sets[0].position, &skipped);
	result = skip == REPLAY_SKIPS_ALL ? skip_all(scope, &task, parked) :
		apply_waiting(work, scope, &task, parked);
	UnregisterSnapshot(scope->snapshot);
	save_unhandled(work, claims, scope);
	return result;
}

/*
 * Replay a parked key, whose partition is claimed.
 */
static ReplayResult
replay(OpenProjection *work, const Claims *claims, Parked *parked, ReplaySkip skip,
	   bool own)
{
	int64		looked = 0;
	ApplyScope	scope = {.projection = work->projection,.sink = &work->sink,
		.stream = work->stream,
		.read_model = work->read_model,.own = own,
		.unhandled = work->sink.run ? UnhandledBegin() : NULL,
	.skip_locked = own,.looked = own ? NULL : &looked};
	ReplayResult result = replay_in(&scope, work, claims, parked, skip);

	result.looked = looked;
	if (looked > 0)
		result.index = KeyEventsIndex(&scope);
	return result;
}

/*
 * Somebody was faster: what has become of the key?  If it is free, a replay has
 * nothing left to do; but an event that was to be skipped is applied.
 */
static ReplayResult
too_late(const Parked *now, int64 id, ReplaySkip skip)
{
	ReplayResult result = {.outcome = REPLAY_HEALED};

	if (skips(skip))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("dead letter %lld does not exist any more",
						(long long) id),
				 errdetail("It was replayed or deleted meanwhile.")));

	if (now != NULL)
	{
		result.outcome = REPLAY_FAILED;
		result.message = "somebody has replayed it meanwhile, and another event fails now";
		result.id = now->id;
		result.no = now->failure.no;
	}
	return result;
}

/* An error if positions are missing: nobody knows then what waits. */
static void
check_positions(const OpenProjection *work, const Claims *claims)
{
	TroubleRaise(TroubleOfPositions(work->projection, &claims->all,
									work->read_model));
}

/*
 * Claim the parked key's partition, waiting for it, look whether it is still
 * parked under this id, and replay it.
 */
static ReplayResult
replay_found(OpenProjection *work, const ParkedBrief *found, ReplaySkip skip)
{
	ReplayResult result;
	Claims		claims;
	Parked	   *parked;

	ParkedCheck(work->projection, found, ParkedPartitionHash(work->sink.key, found));
	claims = GroupClaim(work->projection, found->partition, true);
	check_positions(work, &claims);
	parked = ParkedKey(work->projection->name, found->key, found->by_number);
	if (parked != NULL && parked->id == found->id)
		result = replay(work, &claims, parked, skip, false);
	else
		result = too_late(parked, found->id, skip);
	if (result.events > 0 && OpenedKeepsRows(work))
		ClaimsWritten(work->projection, &claims);
	ClaimsRelease(&claims);
	return result;
}

/* The same for a key that is due, if nobody holds its partition. */
static ReplayResult
replay_due(OpenProjection *work, const ParkedBrief *found, bool own)
{
	ReplayResult result = {.outcome = REPLAY_NOTHING};
	Claims		claims;

	ParkedCheck(work->projection, found, ParkedPartitionHash(work->sink.key, found));
	claims = GroupClaim(work->projection, found->partition, false);
	if (claims.groups != 0)
	{
		Parked	   *parked = ParkedKey(work->projection->name, found->key, found->by_number);

		check_positions(work, &claims);
		if (parked != NULL && parked->next_retry_at != 0 &&
			((!own && parked->attempts == 0) ||
			 ParkedIsDue(work->projection, parked->next_retry_at)))
		{
			tried_id = parked->id;
			result = replay(work, &claims, parked,
							REPLAY_SKIPS_NOTHING, own);
		}
	}
	if (result.events > 0 && OpenedKeepsRows(work))
		ClaimsWritten(work->projection, &claims);
	ClaimsRelease(&claims);
	return result;
}

/* The event without a key that comes next behind this number. */
static const ParkedBrief *
next_by_number(List *keys, int64 no)
{
	const ParkedBrief *next = NULL;
	ListCell   *cell;

	foreach(cell, keys)
	{
		const ParkedBrief *parked = lfirst(cell);

		if (parked->by_number && parked->no > no &&
			(next == NULL || parked->no < next->no))
			next = parked;
	}
	return next;
}

/*
 * A key that is due and whose partition is free: any of the first, so that one
 * that always raises an error does not keep the others waiting.  Events without
 * a key are tried in order, as they may be of one key.
 */
static ReplayResult
replay_any_due(OpenProjection *work, bool own, int64 but_not)
{
	ReplayResult result = {.outcome = REPLAY_NOTHING};
	List	   *keys = ParkedDue(work->projection, !own, DUE_AT_ONCE);
	int			count = list_length(keys);
	int			first = pg_prng_uint64(&pg_global_prng_state) % Max(count, 1);
	int64		no = 0;			/* of the last such event */

	for (int i = 0; i < count && result.outcome == REPLAY_NOTHING; i++)
	{
		const ParkedBrief *parked = list_nth(keys, (first + i) % count);

		if (parked->by_number)
			parked = next_by_number(keys, no);
		if (parked == NULL)
			continue;
		if (parked->by_number)
			no = parked->no;
		if (parked->id != but_not)
			result = replay_due(work, parked, own);
	}
	return result;
}

/* With found NULL: whatever is due, but not the parked key with that id. */
static ReplayResult
run(const char *projection, const ParkedBrief *found, ReplaySkip skip, bool own,
	int64 but_not)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection replay",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ReplayResult result = {0};
	OpenProjection work;
	ListCell   *cell;

	PushActiveSnapshot(GetLatestSnapshot());
	OpenedOpen(&work, projection);
	OpenedBegin(&work);
	PG_TRY();
	{
		result = found != NULL ? replay_found(&work, found, skip) :
			replay_any_due(&work, own, but_not);
	}
	PG_FINALLY();
	{
		OpenedEnd(&work);
	}
	PG_END_TRY();
	OpenedClose(&work);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	if (result.message != NULL)
		result.message = pstrdup(result.message);
	if (result.detail != NULL)
		result.detail = pstrdup(result.detail);
	if (result.index != NULL)
		result.index = pstrdup(result.index);
	result.late = list_copy(result.late);
	foreach(cell, result.late)
		lfirst(cell) = pstrdup(lfirst(cell));
	MemoryContextDelete(context);
	return result;
}

/* Whatever is due, in a subtransaction. */
typedef struct DueRun
{
	const char *projection;
	bool		own;
	int64		but_not;		/* the parked key with this id */
	ReplayResult result;
} DueRun;

/* SavepointStep */
static void
run_due(void *arg)
{
	DueRun	   *due = arg;

	due->result = run(due->projection, NULL, REPLAY_SKIPS_NOTHING, due->own,
					  due->but_not);
}

/*
 * The replay of a parked key took too long: that was an attempt, unless others
 * have found out meanwhile what becomes of the key.
 */
static void
count_slow(const Projection *projection, Parked *parked)
{
	KeyFailure	failure = FailureOfTime(NULL);

	if (parked->next_retry_at == 0 ||
		!ParkedIsDue(projection, parked->next_retry_at))
		return;
	failure.no = parked->failure.no;
	failure.version = parked->failure.version;
	failure.event_name = parked->failure.event_name;
	(void) ParkAgain(projection, parked, &failure, parked->waiting);
}

/*
 * Write down what has become of a key that was tried; error: it could not be,
 * and is to be tried later; NULL: it took too long.  False: its partition is
 * not free.
 */
static bool
write_down(const char *name, int64 id, const ErrorData *error)
{
	Parked	   *parked = ParkedById(id);
	Projection *projection;
	Claims		claims;
	bool		claimed;

	if (parked == NULL)
		return true;
	PushActiveSnapshot(GetLatestSnapshot());
	projection = ProjectionFetch(name);
	claims = GroupClaim(projection, parked->partition, false);
	claimed = claims.groups != 0;
	parked = claimed ? ParkedById(id) : NULL;
	if (parked != NULL && error != NULL)
		ParkPostpone(projection, parked, error->sqlerrcode, error->message);
	else if (parked != NULL)
		count_slow(projection, parked);
	ClaimsRelease(&claims);
	PopActiveSnapshot();
	return claimed;
}

/* The key that was tried could not be, and is to be tried later. */
static ReplayResult
put_off(const char *name, const ErrorData *error)
{
	ReplayResult result = {.outcome = REPLAY_PUT_OFF,.sqlerrcode = error->sqlerrcode,
	.message = error->message};

	/* where others have it now, the next attempt finds it as it is */
	(void) write_down(name, tried_id, error);
	return result;
}

/*
 * Try one parked key again that is due, in the current transaction.  An error
 * that is no event's fault is written down, and does not end the transaction.
 * given_up: the parked key with this id took too long when it was tried last;
 * that is counted now; 0: none did.
 */
ReplayResult
ReplayDue(const char *projection, const char *command, ReplayCaller caller,
		  int64 given_up)
{
	ReplayResult result = {0};
	DueRun		due = {.projection = projection,.own = caller != REPLAY_BY_SESSION};
	ErrorData  *error;

	tried_id = 0;
	OpenedCheckTransaction(command);
	result.next_retry = ParkedNextRetry(projection);
	if (ProjectionLockShared(projection, caller == REPLAY_BY_WORKER) != SHARED_LOCKED)
		return result;
	result.next_retry = ParkedNextRetry(projection);
	/* a session rather waits for a lock than go without */
	if (result.next_retry == 0 ||
		(result.next_retry > GetCurrentTimestamp() &&
		 (caller != REPLAY_BY_SESSION || !ParkedLocked(projection))))
		return result;
	if (given_up != 0 && write_down(projection, given_up, NULL))
	{
		result.gave_up = true;
		result.outcome = REPLAY_FAILED;
		result.next_retry = ParkedNextRetry(projection);
		return result;
	}
	due.but_not = given_up;
	error = InSavepoint(run_due, &due);
	if (error != NULL && (tried_id == 0 || ErrorIsOfShutdown(error)))
		ReThrowError(error);
	result = error != NULL ? put_off(projection, error) : due.result;
	result.next_retry = ParkedNextRetry(projection);
	return result;
}

/*
 * Try the parked key with this id again now, whether it is due or not, waiting
 * for whoever works on its partition; skip: without its failed event.
 */
ReplayResult
ReplayKey(const char *projection, const char *key, bool by_number, int64 id,
		  ReplaySkip skip, const char *command)
{
	ParkedBrief found = {.id = id};
	Parked	   *parked;

	OpenedCheckTransaction(command);
	(void) ProjectionLockShared(projection, false);
	parked = ParkedKey(projection, key, by_number);
	if (parked == NULL || parked->id != id)
		return too_late(parked, id, skip);
	found.key = parked->key;
	found.by_number = parked->by_number;
	found.no = parked->failure.no;
	found.partition = parked->partition;
	return run(projection, &found, skip, false, 0);
}
