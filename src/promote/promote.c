/*
 * promote.c
 *		projection_promote: a new projection takes the place of an old one.
 *
 * Afterwards the table that has the old one's name holds the new one's rows and
 * is kept by the new one; the old one and its rows go on under the name that the new
 * one's table had.  The projections keep their names, positions, parked keys
 * and options.  So the way back is the same call with the names exchanged.
 *
 * States of a call:
 *
 *	CATCHING UP	no lock: the new one is to apply what the old one has applied
 *				at the beginning of the call.  Its consumers do that; where it
 *				has none, the call does it itself.
 *	ATTEMPT		in a subtransaction: the locks below, one after the other, each
 *				waited for a moment.  Whatever cannot be had, all locks are
 *				given back, so that nobody queues behind us for long, and after
 *				a pause the next attempt begins, until the time is up.
 *	SWITCH		still in the attempt: everything is looked at again, then changed.
 *
 * Locks, in this order:
 *
 *	1. KEYLOCK_PROJECTION of the old one, exclusive: its positions stand still.
 *	   What it has applied the new one soon has as well, whatever is appended.
 *	2. KEYLOCK_PROJECTION of the new one, exclusive, after that.  Two calls
 *	   with exchanged names meet here; the attempt that waits longer gives up.
 *	3. KEYLOCK_DESIRED.
 *	4. Where names are exchanged, views and tables that depend on the old table.
 *	5. ACCESS EXCLUSIVE on both tables and their TOAST tables, in order of the
 *	   projections' names.
 *
 * What holds:
 *
 *	- At the switch the new one has applied each event that the old one has
 *	  applied (and perhaps newer ones): who reads the table never sees a step
 *	  back.  Where the new one has consumers, that is committed before the
 *	  tables are locked, so it holds also for a statement whose snapshot is
 *	  older than its lock (older.c).
 *	- No batch of either runs: rows and positions of each fit each other, and stay
 *	  together.
 *	- A reader waits for the time of an attempt at most, and finds either the old
 *	  rows or the new ones.
 *	- What the new one has not applied as it is parked is missing in its rows.
 *	  So it must have no parked keys, unless it is forced.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "batch/batch.h"
#include "batch/opened.h"
#include "catalog.h"
#include "definition/desired.h"
#include "keylock.h"
#include "nap.h"
#include "notice.h"
#include "promote/older.h"
#include "promote/pair.h"
#include "promote/reach.h"
#include "promote/rename.h"
#include "promote/switch.h"
#include "savepoint.h"
#include "settings.h"

#define COMMAND "projection_promote()"

/* how long an attempt waits, in milliseconds: for batches to end */
#define WAIT_FOR_BATCH 1000
/* for the new projection, while the old one stands still */
#define WAIT_FOR_EVENTS 2000
/* for statements that are older than what the new one has applied last */
#define WAIT_FOR_SNAPSHOTS 200
/* for tables, while readers queue behind us */
#define WAIT_FOR_TABLE 100
/* between attempts, and between two looks at positions */
#define PAUSE 200
#define NAP 5
#define LONG_NAP 100			/* where the new one is MANY_EVENTS behind */
#define MANY_EVENTS 100

SQL_FUNCTION(projection_promote);

typedef struct Promotion
{
	Pair		pair;
	TimestampTz deadline;
	bool		force;
	bool		with_triggers;
	bool		has_locks;		/* the attempt at hand: all of them */
	bool		told;			/* that names are exchanged */
	int64		behind;			/* events, at the last look */
} Promotion;

/* Has the new one applied what the old one has applied? */
static bool
look_behind(Promotion *promotion)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	promotion->behind = EventsBehind(promotion->pair.new, promotion->pair.old,
									 snapshot);
	UnregisterSnapshot(snapshot);
	return promotion->behind == 0;
}

static void
refuse_behind(const Promotion *promotion)
{
	const Pair *pair = &promotion->pair;
	const char *error = ProjectionFetch(pair->new->name)->last_error;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projection \"%s\" has not caught up with projection \"%s\"",
					pair->new->name, pair->old->name),
			 errdetail("%s%s%s", BehindText(pair->new, pair->old, promotion->behind),
					   error != NULL ? " It fails with: " : "",
					   error != NULL ? error : ""),
			 errhint("Let consumers work on it, and promote it when projection_wait(%s) is true.",
					 quote_literal_cstr(pair->new->name))));
}

/* Is there anybody else who applies the new one's events? */
static bool
has_consumers(const char *name)
{
	return (Preloaded && DesiredStarted(name)) ||
		KeyLockHeldByOthers(KEYLOCK_PRESENCE, name);
}

static void
run_batches(const char *name)
{
	BatchLimits limits = {.partitions = PARTITIONS_MAX,.isolate = true,
	.callers_transaction = true,.command = COMMAND};

	while (BatchRun(name, &limits).outcome == BATCH_CUT)
		CHECK_FOR_INTERRUPTS();
}

/*
 * Until the new one has caught up, or the time is up.  Who looks often at a
 * long backlog would read it often.
 */
static bool
wait_for_events(Promotion *promotion, TimestampTz until)
{
	const char *name = promotion->pair.new->name;

	for (;;)
	{
		bool		consumers = has_consumers(name);

		if (!consumers)
			run_batches(name);
		if (look_behind(promotion))
			return true;
		if (!consumers || GetCurrentTimestamp() >= until)
			return false;
		NapFor(promotion->behind < MANY_EVENTS ? NAP : LONG_NAP);
	}
}

static void
lock_projection(const char *name)
{
	int			settings = SafePathEnter();

	LocksWithin(WAIT_FOR_BATCH);
	KeyLock(KEYLOCK_PROJECTION, name, ExclusiveLock);
	SafePathLeave(settings);
}

static void
lock_table(Oid table)
{
	HeapTuple	row;
	Oid			toast = InvalidOid;

	LockRelationOid(table, AccessExclusiveLock);
	row = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	if (HeapTupleIsValid(row))
	{
		toast = ((Form_pg_class) GETSTRUCT(row))->reltoastrelid;
		ReleaseSysCache(row);
	}
	if (OidIsValid(toast))
		LockRelationOid(toast, AccessExclusiveLock);
}

static void
lock_tables(const Pair *pair)
{
	int			settings = SafePathEnter();
	bool		new_first = strcmp(pair->new->name, pair->old->name) < 0;

	LocksWithin(WAIT_FOR_TABLE);
	if (pair->differ != NULL)
		NamesLockDependants(pair->old->read_model);
	lock_table((new_first ? pair->new : pair->old)->read_model);
	lock_table((new_first ? pair->old : pair->new)->read_model);
	SafePathLeave(settings);
}

/* All locks on projections and tables, with the new one caught up. */
static void
lock_all(Promotion *promotion)
{
	Pair	   *pair = &promotion->pair;
	TimestampTz until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_FOR_EVENTS);

	lock_projection(pair->old->name);
	if (!wait_for_events(promotion, Min(until, promotion->deadline)))
		refuse_behind(promotion);
	lock_projection(pair->new->name);
	DesiredLock();
	OlderSnapshotsWait(WAIT_FOR_SNAPSHOTS);
	PairFetch(pair, pair->new->name, pair->old->name);
	lock_tables(pair);
	if (!look_behind(promotion))
		refuse_behind(promotion);
}

static void
tell_names(Promotion *promotion)
{
	if (promotion->pair.differ != NULL && !promotion->told)
		ereport(NOTICE,
				(errmsg("the tables differ, and exchange their names"),
				 errdetail_internal("%s", promotion->pair.differ)));
	promotion->told = true;
}

/* SavepointStep: all locks, then the exchange */
static void
attempt(void *arg)
{
	Promotion  *promotion = arg;
	int			settings;

	promotion->has_locks = false;
	lock_all(promotion);
	promotion->has_locks = true;
	PairCheck(&promotion->pair, promotion->force);
	tell_names(promotion);
	settings = NewGUCNestLevel();
	LocksWithin(WAIT_FOR_TABLE);
	PairSwitch(&promotion->pair, promotion->with_triggers);
	AtEOXact_GUC(false, settings);
}

/* SavepointStep: may it be? */
static void
look_first(void *arg)
{
	Promotion  *promotion = arg;

	PairCheck(&promotion->pair, promotion->force);
}

/* Is it something that may be over soon? */
static bool
may_try_again(const Promotion *promotion, const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		(error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE &&
		 !promotion->has_locks);
}

static void
refuse_locked(const Promotion *promotion)
{
	const Pair *pair = &promotion->pair;

	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("projection \"%s\" could not be promoted in time",
					pair->new->name),
			 errdetail("Other transactions work on one of the projections, or use table \"%s\" or \"%s\" or what depends on them, and have not ended.",
					   get_rel_name(pair->old->read_model),
					   get_rel_name(pair->new->read_model)),
			 errhint("See them in pg_locks. Give the call more time with: timeout => '1 minute'.")));
}

/* Everything that can be asked before anybody has to wait for us. */
static void
check_first(Promotion *promotion)
{
	ErrorData  *error = InSavepoint(look_first, promotion);

	if (error == NULL)
		return;
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		refuse_locked(promotion);
	ReThrowError(error);
}

/* Wait for no lock longer than the call may last. */
static void
limit_locks(const Promotion *promotion)
{
	int			left = (int) TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
															 promotion->deadline);

	LocksWithin(Max(left, WAIT_FOR_TABLE));
}

/* Attempt after attempt, until one has come through or the time is up. */
static void
promote(Promotion *promotion)
{
	Pair		names = promotion->pair;

	for (;;)
	{
		ErrorData  *error = InSavepoint(attempt, promotion);

		if (error == NULL)
			return;
		promotion->pair = names;
		if (!may_try_again(promotion, error))
			ReThrowError(error);
		if (GetCurrentTimestamp() >= promotion->deadline)
		{
			if (error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
				ReThrowError(error);
			refuse_locked(promotion);
		}
		NapFor(PAUSE);
	}
}

/* An argument of type boolean. */
static bool
boolean_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	ArgumentNotNull(fcinfo, number, name);
	return PG_GETARG_BOOL(number);
}

/* projection_promote(new, old, timeout, force, triggers) */
Datum
projection_promote(PG_FUNCTION_ARGS)
{
	char	   *new = ArgumentName(fcinfo, 0, "new");
	char	   *old = ArgumentName(fcinfo, 1, "old");
	Promotion	promotion = {0};
	int			settings;

	promotion.deadline = ArgumentDeadline(fcinfo, 2, "timeout", true);
	promotion.force = boolean_argument(fcinfo, 3, "force");
	promotion.with_triggers = boolean_argument(fcinfo, 4, "triggers");
	if (strcmp(new, old) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a projection cannot take its own place")));
	OpenedCheckTransaction(COMMAND);
	PairFetch(&promotion.pair, new, old);
	settings = NewGUCNestLevel();
	limit_locks(&promotion);
	check_first(&promotion);
	if (!wait_for_events(&promotion, promotion.deadline))
		refuse_behind(&promotion);
	promote(&promotion);
	AtEOXact_GUC(false, settings);
	NoticeDesired();			/* workers look again when we are done */
	PG_RETURN_TEXT_P(cstring_to_text(promotion.pair.differ == NULL ? "storage" : "names"));
}
