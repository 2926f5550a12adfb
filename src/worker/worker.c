/*
 * worker.c
 *		A worker: a background process that serves one channel.
 *
 * It goes round the started projections of its channel, a transaction per
 * batch, until there is nothing left to do; then it sleeps, with no
 * transaction open, until
 *	- an append to one of its partitions has committed (worker/slots.c),
 *	- what is wanted has changed, or another worker of the channel has come or
 *	  gone, or
 *	- its nap is over.  Naps double from NAP_MIN to poll_interval, and are how
 *	  it learns of what nobody tells of: foreign writers, COMMIT PREPARED,
 *	  rolled back numbers.
 *
 * It is the superuser's process, but a batch runs as the projection's owner.
 *
 * It leaves by itself when it is asked to, when its channel has no started
 * projection or the extension is gone, and when somebody wants the database
 * for himself (DROP, RENAME, TEMPLATE): the launcher starts another, which
 * waits until that is over.  It leaves by an error of the class FATAL when it
 * is terminated.  Whatever it does, its slot is given back.
 *
 * Commits are not waited for until they are on disk (synchronous_commit is
 * off here): a crash may lose the last batches, rows and positions together,
 * and they are done again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "batch/batch.h"
#include "batch/replay.h"
#include "catalog.h"
#include "consumer/assignment.h"
#include "definition/desired.h"
#include "fault.h"
#include "keyhash.h"
#include "rebuild/selfcheck.h"
#include "settings.h"
#include "time_limit.h"
#include "worker/override.h"
#include "worker/slots.h"

/* in milliseconds */
#define NAP_MIN			5
#define NAP_MAX			1000	/* who wants the database may wait as long */
#define LIST_AGE		10000	/* the list is looked up again */
#define PAUSE			1		/* for more events to come */
#define ASK_INTERVAL	100		/* somebody may want the database */
#define CHECK_INTERVAL	100		/* between two self-checks, at least */
#define CHECK_TIME		15		/* that one of them takes, but for its last
								 * key */
#define CHECK_LATER		60000	/* after one that has failed */

#define COMMAND "projection batches"

typedef struct Worker
{
	Oid			database;
	char		channel[NAMEDATALEN];
	WorkerShare share;			/* at the beginning of this round */
	bool		leaving;
	TimestampTz listed;			/* when the list was looked up; 0: never */
	uint32		desired;		/* as of which it was */
	List	   *assignment;		/* of Assignment */
	Assignment *current;		/* the one that is being served */
	bool		replaying;		/* its parked keys are */
	bool		checking;		/* its keys are compared, for want of work */
	TimestampTz check_end;		/* of that */
	bool		woken;			/* by others, not because the nap is over */
	bool		again;			/* this round has left something to do */
	int			nap;
	int64		events;			/* of this round's batches */
	TimestampTz asked;			/* whether somebody wants the database */
	bool		has_begun;		/* that is known */
	MemoryContext memory;		/* lives as long as the process */
	MemoryContext round;		/* reset at the top of each round */
} Worker;

/* How a batch has ended. */
typedef enum BatchEnd
{
	BATCH_ENDED,
	BATCH_TIMED_OUT,			/* it took longer than batch_timeout */
	BATCH_CANCELLED				/* somebody wanted it to */
} BatchEnd;

extern PGDLLEXPORT void wallet_projection_worker(Datum arg);

static Worker worker;

/*
 * Transactions
 */

static void
begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, activity);
	StartTransactionCommand();
	MemoryContextSwitchTo(worker.round);
}

static void
commit(void)
{
	CommitTransactionCommand();
	MemoryContextSwitchTo(worker.round);
}

/*
 * Begin where the extension is, and stays until the commit.  If it is gone,
 * nothing more is wanted in this database: false, and we leave.
 */
static bool
begin_at_work(const char *activity)
{
	begin(activity);
	if (ExtensionIsThere())
		return true;
	commit();
	begin("leaving: the extension is gone");
	DesiredWithdraw();
	commit();
	worker.leaving = true;
	return false;
}

/*
 * Errors
 */

/* Say it in the log, once for the same error. */
static void
log_failure(const Assignment *assignment)
{
	const ErrorData *error = assignment->error;

	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("projection \"%s\" failed: %s",
					assignment->name, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("It will be tried again in %d s, and on. See projection_status.last_error.",
					 (assignment->delay + 500) / 1000),
			 error->context ? errcontext("%s", error->context) : 0));
}

/* Put the error into the status; if that fails too, the log has it. */
static void
save_failure(Assignment *assignment)
{
	MemoryContext old = CurrentMemoryContext;

	PG_TRY();
	{
		begin("writing down a failure");
		if (ExtensionIsThere())
			AssignmentSaveError(assignment);
		commit();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* A whole batch has failed. */
static void
projection_failed(Assignment *assignment, ErrorData *error)
{
	SlotError(error->message);
	if (AssignmentFailed(assignment, error))
		log_failure(assignment);
	save_failure(assignment);
}

/* An error of no projection: let the launcher wait a little. */
static void
leave_for(const ErrorData *error)
{
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("worker of channel \"%s\" leaves: %s",
					worker.channel, error->message),
			 error->hint ? errhint("%s", error->hint) : 0));
	worker.leaving = true;
}

/* A parked key could not be tried again, and no event is to blame. */
static void
retry_failed(Assignment *assignment, int sqlerrcode, const char *message)
{
	ereport(LOG,
			(errcode(sqlerrcode),
			 errmsg("a parked key of projection \"%s\" could not be tried again: %s",
					assignment->name, message)));
	SlotError(message);
	AssignmentRetryFailed(assignment);
}

/* Keys could not be compared; whether they are right is not known. */
static void
check_failed(Assignment *assignment, ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("keys of projection \"%s\" could not be compared with their events: %s",
						assignment->name, error->message)));
	FreeErrorData(error);
	assignment->next_check = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 CHECK_LATER);
}

/*
 * Does somebody want this database for himself?  DROP, RENAME and TEMPLATE
 * lock it and then wait for a few seconds until it is empty.
 */
static bool
database_is_wanted(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, worker.database, 0);
	if (LockAcquire(&tag, RowExclusiveLock, true, true) ==
		LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, RowExclusiveLock, true);
	return false;
}

/*
 * The same between batches, asked now and then: whoever wants the database
 * tries for seconds, and the question costs as much as a row's update.
 */
static bool
has_to_make_way(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (worker.asked <= now &&
		!TimestampDifferenceExceeds(worker.asked, now, ASK_INTERVAL))
		return false;
	worker.asked = now;
	return database_is_wanted();
}

/* Around a batch, or what is like one: it may be cancelled. */
static void
batch_begins(const Assignment *assignment)
{
	SlotBatchBegins(assignment->name);
	TimeLimitBegin();
}

/*
 * A cancellation that somebody's code has caught: what that has led to is not
 * to be committed.
 */
static void
check_not_cancelled(void)
{
	TimeLimitCheck();
	if (SlotCancelled())
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("the batch was cancelled")));
}

/* Its transaction has ended. */
static BatchEnd
batch_ends(void)
{
	bool		is_over = TimeLimitEnd();

	if (SlotBatchEnds())
	{
		/* it must not reach what follows */
		QueryCancelPending = false;
		return BATCH_CANCELLED;
	}
	return is_over ? BATCH_TIMED_OUT : BATCH_ENDED;
}

/* A batch has failed: do what is to be done about it. */
static void
judge(Assignment *assignment, ErrorData *error, bool timed_out)
{
	switch (AssignmentJudge(assignment, error, timed_out))
	{
		case VERDICT_ISOLATE:
		case VERDICT_SMALLER:
			assignment->isolate = true;
			FreeErrorData(error);
			break;
		case VERDICT_LATER:
			FreeErrorData(error);
			worker.leaving = database_is_wanted();
			break;
		case VERDICT_FAILED:
			projection_failed(assignment, error);
			break;
	}
}

/* An error in whatever we did: end the transaction and write it down. */
static void
recover(void)
{
	Assignment *assignment = worker.current;
	ErrorData  *error;
	BatchEnd	end;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(worker.memory);
	error = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	end = batch_ends();
	MemoryContextSwitchTo(worker.memory);
	if (end == BATCH_TIMED_OUT)
		TimeLimitExplain(error);
	RESUME_INTERRUPTS();

	worker.current = NULL;
	if (end == BATCH_CANCELLED || ErrorIsOfShutdown(error))
	{
		worker.replaying = worker.checking = false;
		ereport(LOG,
				(errmsg("a batch of channel \"%s\" was cancelled%s", worker.channel,
						end == BATCH_CANCELLED ?
						" by projection_stop or channel_scale" :
						" and will be done again")));
		FreeErrorData(error);
		return;
	}
	if (assignment != NULL && worker.replaying)
	{
		worker.replaying = false;
		retry_failed(assignment, error->sqlerrcode, error->message);
		if (end == BATCH_TIMED_OUT)
			AssignmentTookTooLong(assignment, true);
		FreeErrorData(error);
		return;
	}
	worker.replaying = false;
	if (assignment != NULL && worker.checking)
	{
		worker.checking = false;
		check_failed(assignment, error);
		return;
	}
	worker.checking = false;
	if (assignment == NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		leave_for(error);
	else if (assignment == NULL)
	{
		FreeErrorData(error);
		worker.leaving = database_is_wanted();
	}
	else
		judge(assignment, error, end == BATCH_TIMED_OUT);
}

/*
 * Somebody's code has caught the cancellations of a batch, so this process is
 * terminated.  Its successor is to know what it was busy with.
 */
static void
bequeath(int code, Datum arg)
{
	Assignment *assignment = worker.current;

	if (assignment == NULL || worker.checking || !TimeLimitIsOver())
		return;
	AssignmentTookTooLong(assignment, worker.replaying);
	SlotBequeath(assignment->name, &assignment->slow);
}

/*
 * What there is to serve
 */

static Assignment *
find_assignment(const char *name)
{
	ListCell   *cell;

	foreach(cell, worker.assignment)
	{
		Assignment *assignment = lfirst(cell);

		if (strcmp(assignment->name, name) == 0)
			return assignment;
	}
	return NULL;
}

/* What we know of this projection, moved from the old list to the new one. */
static void
list_assignment(List **list, const char *name)
{
	Assignment *assignment = find_assignment(name);
	MemoryContext old = MemoryContextSwitchTo(worker.memory);

	if (assignment == NULL)
	{
		assignment = palloc0(sizeof(Assignment));
		strlcpy(assignment->name, name, NAMEDATALEN);
	}
	else
		worker.assignment = list_delete_ptr(worker.assignment, assignment);
	if (worker.desired != worker.share.desired)
		AssignmentMayBeWell(assignment);
	*list = lappend(*list, assignment);
	MemoryContextSwitchTo(old);
}

static void
free_served(List *list)
{
	ListCell   *cell;

	foreach(cell, list)
		AssignmentWell(lfirst(cell));
	list_free_deep(list);
}

static void
take_interest(List *projections)
{
	Interest   *interest = palloc_array(Interest, list_length(projections) + 1);
	int			count = 0;
	ListCell   *cell;

	foreach(cell, projections)
	{
		Projection *projection = lfirst(cell);

		if (projection->damage != NULL)
			continue;
		interest[count].stream = projection->relation;
		interest[count].type = KeyHash(projection->aggregate_type,
									   strlen(projection->aggregate_type));
		interest[count++].partitions = projection->partitions;
	}
	SlotInterests(interest, count);
}

/*
 * Look up which projections of the channel are started.  If none is, the
 * label is not up to date (it came with a dump, say).
 */
static void
list_projections(void)
{
	List	   *started = NIL;
	List	   *assignment = NIL;
	ListCell   *cell;

	if (!begin_at_work("looking up the started projections"))
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(cell, ProjectionsOfChannel(worker.channel))
	{
		Projection *projection = lfirst(cell);

		if (!DesiredStarted(projection->name))
			continue;
		started = lappend(started, projection);
		list_assignment(&assignment, projection->name);
		((Assignment *) llast(assignment))->verify_rate =
			projection->damage != NULL ? 0 : projection->verify_rate;
		AssignmentLook(llast(assignment));
	}
	take_interest(started);
	free_served(worker.assignment);
	worker.assignment = assignment;
	if (started == NIL)
	{
		DesiredPublish();
		worker.leaving = true;
	}
	PopActiveSnapshot();
	commit();
	worker.desired = worker.share.desired;
	worker.listed = GetCurrentTimestamp();
}

/* What our predecessor has left, if it was terminated in a batch. */
static void
inherit(void)
{
	Legacy		legacy = SlotInherit();
	Assignment *assignment = find_assignment(legacy.projection);
	MemoryContext old;

	if (assignment == NULL)
		return;
	AssignmentInherit(assignment, &legacy.slow);
	if (legacy.slow.replay_given_up != 0)
		return;
	old = MemoryContextSwitchTo(worker.memory);
	projection_failed(assignment, TimeLimitError());
	MemoryContextSwitchTo(old);
}

/*
 * Does the list have to be looked up again?  Whoever changes what is wanted
 * says so; but COMMIT PREPARED and a restored dump do not.
 */
static bool
is_list_old(void)
{
	TimestampTz now = GetCurrentTimestamp();

	return worker.desired != worker.share.desired || worker.listed == 0 ||
		worker.listed > now ||	/* the clock was set back */
		TimestampDifferenceExceeds(worker.listed, now, LIST_AGE);
}

/*
 * Batches
 */

static void
show_step(BatchStep step, const Claims *claims)
{
	SlotReport(step == BATCH_READS ? WORKER_READING : WORKER_APPLYING,
			   worker.current->name, claims);
}

/* A batch of the projection at hand, in a transaction of its own. */
static BatchResult
run_batch(const BatchLimits *limits)
{
	Assignment *assignment = worker.current;
	TimestampTz begun = GetCurrentTimestamp();
	BatchResult result = {0};

	/* another version is not the projection's failure */
	worker.current = NULL;
	if (!begin_at_work(psprintf("projection %s", assignment->name)))
		return result;
	worker.current = assignment;
	batch_begins(assignment);
	result = BatchRun(assignment->name, limits);
	check_not_cancelled();
	if (assignment->failures > 0 && !result.rest && !limits->choice.steal)
		AssignmentClearError(assignment);
	commit();
	(void) batch_ends();
	assignment->isolate = false;
	/* who finds nothing to steal has not looked at what is ours */
	if (!limits->choice.steal || result.outcome != BATCH_IDLE)
		AssignmentGrow(assignment, &result);
	AssignmentRetryAt(assignment, result.next_retry);
	AssignmentTook(assignment, result.events,
				   TimestampDifferenceMilliseconds(begun, GetCurrentTimestamp()));
	if (result.events > 0)
	{
		SlotCount(result.events);
		worker.events += result.events;
	}
	return result;
}

/* Try a parked key again that is due, in a transaction of its own. */
static void
run_replay(Assignment *assignment)
{
	ReplayResult result;

	if (!begin_at_work(psprintf("projection %s: parked keys", assignment->name)))
		return;
	worker.current = assignment;
	worker.replaying = true;
	batch_begins(assignment);
	result = ReplayDue(assignment->name, COMMAND, REPLAY_BY_WORKER,
					   assignment->slow.replay_given_up);
	check_not_cancelled();
	commit();
	(void) batch_ends();
	worker.replaying = false;
	worker.current = NULL;
	if (result.outcome == REPLAY_PUT_OFF)
	{
		retry_failed(assignment, result.sqlerrcode, result.message);
		return;
	}
	if (result.outcome != REPLAY_NOTHING)
	{
		SlotCount(result.events);
		worker.again = true;
	}
	AssignmentRetryWell(assignment, &result);
}

/*
 * Serve a projection once: our own partitions, or where they have nothing to
 * do, such as others cannot keep up with.
 */
static void
serve(Assignment *assignment)
{
	BatchLimits limits = {
		.choice = {.of = worker.share.of,.rank = worker.share.rank,
		.window = CHOICE_WINDOW,.start = assignment->start++},
		.sized = true,
		.events = assignment->at_most > 0 ?
		Min(assignment->at_most, AssignmentBatchSize(assignment)) : AssignmentBatchSize(assignment),
		.milliseconds = BATCH_TIME,
		.isolate = assignment->isolate,
		.as_worker = true,
		.command = COMMAND,
		.step = show_step
	};
	BatchResult own;
	BatchResult stolen = {0};

	AssignmentGivenUp(assignment, &limits);
	worker.current = assignment;
	own = run_batch(&limits);
	if (own.steal_wanted && own.events == 0 && own.outcome != BATCH_CUT &&
		!own.rest)
	{
		limits.choice.steal = true;
		stolen = run_batch(&limits);
	}
	worker.current = NULL;
	if (assignment->failures > 0 && !own.rest)
	{
		ereport(LOG, (errmsg("projection \"%s\" is well again", assignment->name)));
		AssignmentWell(assignment);
		SlotError(NULL);
	}
	if (own.outcome == BATCH_CUT || (own.events > 0 && own.rest) ||
		stolen.events > 0)
		worker.again = true;
	/* what woke us may be in a partition that another one holds */
	if (own.events + stolen.events > 0 || (worker.woken && own.rest))
		worker.nap = NAP_MIN;
}

static void
go_round(void)
{
	ListCell   *cell;

	worker.again = false;
	worker.events = 0;
	foreach(cell, worker.assignment)
	{
		Assignment *assignment = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (worker.leaving)
			break;
		if (AssignmentIsDue(assignment) && AssignmentRetryIsDue(assignment))
			run_replay(assignment);
		if (AssignmentIsDue(assignment) && !worker.leaving)
			serve(assignment);
	}
}

/*
 * Self-checks, by those who have nothing else to do
 */

/* Is there something else to do, or is it enough? */
static bool
stop_checking(void)
{
	return MyLatch->is_set || SlotWoken() ||
		GetCurrentTimestamp() >= worker.check_end;
}

/* Say what was found, once. */
static void
tell_check(Assignment *assignment, const SelfCheck *check)
{
	if (check->different != NULL)
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the read model of projection \"%s\" is not what its events say",
						assignment->name),
				 errdetail("The row of a key is another one; see projection_status.drift."),
				 errhint("See projection_verify; and to make it right, projection_rebuild.")));
	if (check->no_index && !assignment->no_index)
		ereport(LOG,
				(errmsg("keys of projection \"%s\" cannot be compared with their events one by one",
						assignment->name),
				 errdetail("Option verify_rate needs an index of the stream on the key."),
				 check->index != NULL ? errhint("Run: %s", check->index) : 0));
	assignment->no_index = check->no_index;
}

/*
 * Compare some keys of a projection.  As many as its rate asks of us, but for
 * what takes too long; the workers of the channel share it.
 */
static void
check_keys(Assignment *assignment)
{
	int			of = Max(worker.share.of, 1);
	int			keys = Max(assignment->verify_rate * CHECK_INTERVAL / (1000 * of), 1);
	int64		pause = INT64CONST(1000) * keys * of / assignment->verify_rate;
	TimestampTz now = GetCurrentTimestamp();
	SelfCheck	check;

	assignment->next_check = TimestampTzPlusMilliseconds(now, pause);
	worker.check_end = TimestampTzPlusMilliseconds(now, CHECK_TIME);
	if (!begin_at_work(psprintf("projection %s: self-check", assignment->name)))
		return;
	worker.current = assignment;
	worker.checking = true;
	batch_begins(assignment);
	check = SelfCheckKeys(assignment->name, keys, stop_checking);
	check_not_cancelled();
	commit();
	(void) batch_ends();
	worker.checking = false;
	worker.current = NULL;
	tell_check(assignment, &check);
}

/* Where this round had nothing to do, check what is due. */
static void
check_idly(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	if (worker.events > 0)
		return;
	foreach(cell, worker.assignment)
	{
		Assignment *assignment = lfirst(cell);

		if (worker.leaving || SlotWoken())
			return;
		if (assignment->verify_rate > 0 && assignment->failures == 0 &&
			assignment->next_check <= now)
			check_keys(assignment);
	}
}

/*
 * Rest
 */

/* Until the next failed projection is to be tried, at most our nap. */
static int
time_to_rest(bool *retrying)
{
	TimestampTz now = GetCurrentTimestamp();
	long		rest = Min(worker.nap, PollInterval);
	ListCell   *cell;

	*retrying = false;
	foreach(cell, worker.assignment)
	{
		Assignment *assignment = lfirst(cell);

		if (assignment->failures > 0)
			*retrying = true;
		if (assignment->next_try > now)
			rest = Min(rest, TimestampDifferenceMilliseconds(now, assignment->next_try));
		if (assignment->verify_rate > 0 && assignment->failures == 0)
			rest = Min(rest, Max(TimestampDifferenceMilliseconds(now, assignment->next_check), 1));
		if (AssignmentNextRetry(assignment) > now)
			rest = Min(rest, TimestampDifferenceMilliseconds(now, AssignmentNextRetry(assignment)));
	}
	return (int) Max(rest, 1);
}

/*
 * A batch costs much the same for one event and for ten.  Where events come
 * faster than batches, that is, a batch had several, or more came while it ran:
 * let some gather.  Those who append need not wake us meanwhile.  An event that
 * comes alone waits for nothing, and nothing waits here for longer than PAUSE.
 */
static void
wait_for_company(void)
{
	if (worker.events > 1 || (worker.events == 1 && SlotWoken()))
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE,
						 PG_WAIT_EXTENSION);
}

/* Sleep until there may be something to do. */
static void
rest(void)
{
	bool		retrying;
	int			timeout = time_to_rest(&retrying);
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);

	SlotReport(retrying ? WORKER_RETRYING : WORKER_IDLE, NULL, NULL);
	if (worker.nap > NAP_MIN)
		(void) pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	wait_for_company();
	worker.woken = SlotWoken();
	do
	{
		if (!worker.woken)
			worker.woken = (WaitLatch(MyLatch,
									  WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
									  Min(timeout, NAP_MAX), PG_WAIT_EXTENSION) & WL_LATCH_SET) != 0;
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (has_to_make_way())
		{
			worker.leaving = true;
			return;
		}
		timeout = (int) TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	} while (!worker.woken && timeout > 0);
	if (!worker.woken)
		worker.nap = Min(worker.nap * 2, PollInterval);
}

/* One round, and a rest. */
static void
cycle(void)
{
	MemoryContextReset(worker.round);
	MemoryContextSwitchTo(worker.round);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	worker.share = SlotShare();
	if (worker.share.leave)
	{
		worker.leaving = true;
		return;
	}
	if (is_list_old())
		list_projections();
	if (!worker.has_begun)
		inherit();
	if (!worker.leaving)
	{
		if (!worker.has_begun)
			SlotSettledIn();
		worker.has_begun = true;
		go_round();
	}
	if (worker.leaving)
		return;
	if (!worker.again)
	{
		check_idly();
		if (!worker.leaving)
			rest();
	}
	else
	{
		(void) pgstat_report_stat(false);
		worker.woken = false;
		worker.leaving = has_to_make_way();
	}
}

static void
set_up(int slot)
{
	uint32		generation;

	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof(generation));
	if (!SlotAttach(slot, generation, &worker.database, worker.channel))
		proc_exit(0);
	before_shmem_exit(bequeath, (Datum) 0);
	BackgroundWorkerInitializeConnectionByOid(worker.database, InvalidOid, 0);
	ProcessConfigFile(PGC_SIGHUP);
	OverrideSettings();
	pgstat_report_appname(MyBgworkerEntry->bgw_name);
	worker.nap = NAP_MIN;
	worker.memory = AllocSetContextCreate(TopMemoryContext,
										  "wallet_projection worker",
										  ALLOCSET_DEFAULT_SIZES);
	worker.round = AllocSetContextCreate(worker.memory,
										 "wallet_projection worker round",
										 ALLOCSET_DEFAULT_SIZES);
	begin("settling in");
	OverrideUser();
	commit();
}

/* A worker's main function; the argument is the number of its slot. */
void
wallet_projection_worker(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	set_up(DatumGetInt32(arg));
	while (!worker.leaving)
	{
		PG_TRY();
		{
			cycle();
		}
		PG_CATCH();
		{
			recover();
		}
		PG_END_TRY();
	}
	(void) pgstat_report_stat(true);
	proc_exit(0);
}
