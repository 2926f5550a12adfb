/*
 * rebuild.c
 *		CALL projection_rebuild: a rebuild in transactions of its own.
 *
 * The procedure commits after the fold and after each chunk of rows, so it
 * holds a partition for a moment only.  Of one key, all is done in the
 * transaction of the caller.
 *
 * Sessions that rebuild the same projection share the ranges of its keys
 * (rebuild/board.h).  While it runs, a session holds a lock of its own by
 * which projection_reset sees it: positions must not begin anew under a
 * rebuild, which would write rows that are ahead of them.
 */
#include "postgres.h"

#include "compat.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "batch/opened.h"
#include "definition/projection.h"
#include "keylock.h"
#include "nap.h"
#include "rebuild/board.h"
#include "rebuild/rebuild.h"
#include "savepoint.h"

/* how long to wait for other sessions, until the next look, in ms */
#define WAIT_TIME 50

#define COMMAND "projection_rebuild()"

SQL_FUNCTION(projection_rebuild);
SQL_FUNCTION(projection_rebuild_all);
SQL_FUNCTION(rebuild_progress);

/* A call that rebuilds projections as a whole, one after the other. */
typedef struct RebuildCall
{
	MemoryContext context;		/* lives as long as the call */
	MemoryContext round;		/* reset after each projection */
	const char *name;			/* that is being rebuilt, and locked; or NULL */
	LOCKMODE	mode;			/* how it is locked */
} RebuildCall;

/* Commit what was done; a new transaction begins. */
static void
commit(RebuildCall *call)
{
	SPI_commit();
#ifndef USE_ASSERT_CHECKING
	(void) pgstat_report_stat(false);
#endif
	MemoryContextSwitchTo(call->round);
}

/* Lock it for the session, or for the transaction (of the same mode). */
static void
lock_projection(RebuildCall *call, const char *name)
{
	call->mode = BoardIsShared() ? ShareLock : ExclusiveLock;
	if (!KeyLockForSessionIfFree(KEYLOCK_REBUILD, name, call->mode))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("projection \"%s\" is being rebuilt or reset by another session",
						name),
				 BoardIsShared() ? 0 :
				 errhint("Sessions share a rebuild where shared_preload_libraries has wallet_projection.")));
	call->name = name;
}

static void
unlock_projection(RebuildCall *call)
{
	(void) BoardLeave();
	if (call->name != NULL)
		KeyUnlockForSession(KEYLOCK_REBUILD, call->name, call->mode);
	call->name = NULL;
}

/* Since when is a rebuild advised?  An error if the caller has no rights. */
static TimestampTz
look_at(const char *name)
{
	Projection *projection;

	PushActiveSnapshot(GetLatestSnapshot());
	projection = ProjectionFetch(name);
	ProjectionCheckOwner(projection);
	ProjectionCheckInitialized(projection);
	PopActiveSnapshot();
	return projection->rebuild_advised;
}

/* Begin the rebuild, or join it; one that we cannot join is waited for. */
static TimestampTz
join_rebuild(RebuildCall *call, const char *name)
{
	for (;;)
	{
		TimestampTz advised = look_at(name);
		BoardJoined joined = BoardJoin(name, advised);

		if (joined == BOARD_JOINED)
			return advised;
		if (joined == BOARD_FULL)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many projections are being rebuilt on this server")));
		commit(call);
		NapFor(WAIT_TIME);
	}
}

/* Write what differs in the range that was folded. */
static void
write_range(RebuildCall *call, Rebuild *rebuild)
{
	RebuildNext next;

	while ((next = RebuildChunk(rebuild)) != REBUILD_ENDS)
	{
		commit(call);
		if (next == REBUILD_PAUSES)
			NapFor(RebuildPause(rebuild));
	}
	RebuildDeleteUnkeyed(rebuild);
	commit(call);
	RebuildForget(rebuild);
	if (RebuildCounted(rebuild).unwritten > 0)
		BoardNotAllWritten();
}

/* Rebuild a range, in as many passes as memory wants. */
static void
rebuild_range(RebuildCall *call, Rebuild *rebuild, uint64 first, uint64 last)
{
	for (;;)
	{
		uint64		reached;

		RebuildRange(rebuild, first, last);
		RebuildFold(rebuild);
		commit(call);
		reached = RebuildReached(rebuild);
		/* a part of it may have been given to another session */
		last = BoardEnd();
		if (reached < last && BoardKeep(reached))
			last = reached;
		write_range(call, rebuild);
		if (reached >= last)
			break;
		first = reached + 1;
	}
}

/*
 * Rebuild what of the projection no other session does.  Whoever has the first
 * keys tries those that are parked, once all rows are right: a batch parks a key
 * whose row somebody has deleted.
 */
static void
rebuild_ranges(RebuildCall *call, Rebuild *rebuild)
{
	uint64		first;
	uint64		last;
	BoardTaken	taken;
	bool		replays = false;

	while ((taken = BoardTake(&first, &last)) != BOARD_DONE)
	{
		if (taken == BOARD_WAIT)
		{
			commit(call);
			NapFor(WAIT_TIME);
			continue;
		}
		rebuild_range(call, rebuild, first, last);
		replays = replays || first == 0;
		while (replays && BoardIsLast())
		{
			replays = RebuildReplay(rebuild);
			commit(call);
		}
		BoardDone();
	}
	while (replays && RebuildReplay(rebuild))
		commit(call);
	commit(call);
}

/* Rebuild a projection as a whole. */
static void
rebuild_whole(RebuildCall *call, const char *name, bool force)
{
	Rebuild    *rebuild;
	TimestampTz advised;

	MemoryContextReset(call->round);
	MemoryContextSwitchTo(call->round);
	(void) look_at(name);
	lock_projection(call, name);
	advised = join_rebuild(call, name);
	rebuild = RebuildBegin(name, NULL, force, false);
	rebuild_ranges(call, rebuild);
	if (BoardLeave())
	{
		(void) ProjectionLockShared(name, false);
		ProjectionRebuilt(name, advised);
	}
	commit(call);
	RebuildTell(rebuild);
	unlock_projection(call);
	MemoryContextSwitchTo(call->context);
}

/* An error in a transaction block: of what commits. */
static void
check_call(FunctionCallInfo fcinfo, const char *name, const char *hint)
{
	CallContext *call = (CallContext *) fcinfo->context;

	if (call != NULL && IsA(call, CallContext) && !call->atomic)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("%s cannot run inside a transaction block", name),
			 errdetail("It commits after each part of its work."),
			 errhint("%s", hint)));
}

static List *
just_this(const char *name)
{
	return list_make1(pstrdup(name));
}

typedef struct Candidate
{
	const char *name;
	bool		force;
} Candidate;

/* SavepointStep */
static void
check_candidate(void *arg)
{
	const Candidate *candidate = arg;

	RebuildCheck(candidate->name, candidate->force);
}

/* One of many that cannot be rebuilt does not keep the others from it. */
static bool
may_be_rebuilt(RebuildCall *call, const char *name, bool force)
{
	Candidate	candidate = {.name = name,.force = force};
	ErrorData  *error = InSavepoint(check_candidate, &candidate);

	if (error != NULL)
	{
		SavepointRethrowInterrupt(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("projection \"%s\" is left out: %s", name, error->message),
				 error->detail == NULL ? 0 : errdetail_internal("%s", error->detail),
				 error->hint == NULL ? 0 : errhint("%s", error->hint)));
	}
	commit(call);
	return error == NULL;
}

/* Rebuild these projections, in transactions of our own. */
static void
rebuild_names(List *(*names) (const char *), const char *name, bool force)
{
	RebuildCall *call;
	List	   *list;
	ListCell   *cell;

	OpenedCheckTransaction(COMMAND);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	call = palloc0_object(RebuildCall);
	call->context = CurrentMemoryContext;
	call->round = AllocSetContextCreate(call->context, "wallet_projection round",
										ALLOCSET_SMALL_SIZES);
	list = names(name);
	PG_TRY();
	{
		foreach(cell, list)
		{
			if (names == just_this || may_be_rebuilt(call, lfirst(cell), force))
				rebuild_whole(call, lfirst(cell), force);
		}
	}
	PG_FINALLY();
	{
		unlock_projection(call);
	}
	PG_END_TRY();
	SPI_finish();
}

/* The projections of a channel that can be rebuilt. */
static List *
of_channel(const char *channel)
{
	List	   *names = NIL;
	ListCell   *cell;

	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(cell, ProjectionsOwned(channel))
	{
		const Projection *projection = lfirst(cell);

		if (projection->damage != NULL || !projection->initialized)
			continue;
		if (projection->declared != NULL &&
			projection->declared->kind == DECLARED_STATEMENT)
			ereport(NOTICE,
					(errmsg("projection \"%s\" is left out, as it is a statement",
							projection->name)));
		else
			names = lappend(names, pstrdup(projection->name));
	}
	PopActiveSnapshot();
	return names;
}

/* Rebuild one key, in the caller's transaction. */
static void
rebuild_key(const char *name, const char *key, bool force)
{
	Rebuild    *rebuild;

	OpenedCheckTransaction(COMMAND);
	(void) look_at(name);
	rebuild = RebuildBegin(name, key, force, true);
	RebuildFold(rebuild);
	while (RebuildChunk(rebuild) != REBUILD_ENDS)
		;
	RebuildForget(rebuild);
	while (RebuildReplay(rebuild))
		;
	RebuildTell(rebuild);
}

/* CALL projection_rebuild(name, partition_key, force) */
Datum
projection_rebuild(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");

	ArgumentNotNull(fcinfo, 2, "force");
	if (PG_ARGISNULL(1))
	{
		check_call(fcinfo, "projection_rebuild",
				   "Call it by itself, outside BEGIN ... COMMIT and functions; or give it a partition_key.");
		rebuild_names(just_this, name, PG_GETARG_BOOL(2));
	}
	else
		rebuild_key(name, text_to_cstring(PG_GETARG_TEXT_PP(1)),
					PG_GETARG_BOOL(2));
	PG_RETURN_VOID();
}

/* CALL projection_rebuild_all(channel, force) */
Datum
projection_rebuild_all(PG_FUNCTION_ARGS)
{
	char	   *channel = ArgumentName(fcinfo, 0, "channel");

	ArgumentNotNull(fcinfo, 1, "force");
	check_call(fcinfo, "projection_rebuild_all",
			   "Call it by itself, outside BEGIN ... COMMIT and functions.");
	rebuild_names(of_channel, channel, PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}

static const char *const phase_names[] = {
	[REBUILD_FOLDS] = "folding",
	[REBUILD_COMPARES] = "comparing",
	[REBUILD_WRITES] = "writing",
	[REBUILD_REPLAYS] = "replaying"
};

/* wallet_projection.rebuild_progress(): the rebuilds of this database */
Datum
rebuild_progress(PG_FUNCTION_ARGS)
{
	enum
	{
		PROJECTION, PHASE, DONE, TOTAL, STARTED_AT, COLUMNS
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BoardProgress *progress;
	int			count;

	compat_InitMaterializedSRF(fcinfo);
	progress = BoardCopy(&count);
	for (int i = 0; i < count; i++)
	{
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS] = {0};

		values[PROJECTION] = CStringGetTextDatum(progress[i].projection);
		values[PHASE] = CStringGetTextDatum(phase_names[progress[i].phase]);
		values[DONE] = Int64GetDatum(progress[i].done);
		values[TOTAL] = Int64GetDatum(progress[i].total);
		values[STARTED_AT] = TimestampTzGetDatum(progress[i].started_at);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
