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
 *	SWITCH		all locks are held to the end of the transaction: everything
 *				is looked at again, then changed.
 *
 * Locks, in this order:
 *
 *	1. KEYLOCK_PROJECTION of the old one, exclusive: its positions stand still.
 *	   What it has applied the new one soon has as well, whatever is appended.
 *	2. KEYLOCK_PROJECTION of the new one, exclusive, after that.  Two calls
 *	   with exchanged names meet here; the attempt that waits longer gives up.
 *	3. KEYLOCK_DESIRED.
 *	4. ACCESS EXCLUSIVE on both tables and their TOAST tables, in order of the
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

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "argument.h"
#include "batch/batch.h"
#include "batch/opened.h"
#include "catalog.h"
#include "definition/desired.h"
#include "keylock.h"
#include "notice.h"
#include "parking/park.h"
#include "position/trouble.h"
#include "promote/alike.h"
#include "promote/obstacles.h"
#include "promote/older.h"
#include "promote/reach.h"
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
	int64		behind;			/* events, at the last look */
} Promotion;

static void
sleep_for(int milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* A projection that the caller may promote, whose table is what it was. */
static Projection *
fetch(const char *name)
{
	Projection *projection = ProjectionFetch(name);

	ProjectionCheckOwner(projection);
	ProjectionCheckInitialized(projection);
	TroubleRaise(TroubleOfReadModel(projection));
	return projection;
}

static void
fetch_pair(Pair *pair, const char *new, const char *old)
{
	pair->new = fetch(new);
	pair->old = fetch(old);
	if (pair->new->relation != pair->old->relation ||
		strcmp(pair->new->stream, pair->old->stream) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projections \"%s\" and \"%s\" are of different streams",
						new, old),
				 errdetail("The one reads stream \"%s\", the other one stream \"%s\".",
						   pair->new->stream, pair->old->stream)));
}

static void
check_one_table(const Projection *projection)
{
	const Declared *declared = projection->declared;

	if (declared == NULL || declared->kind != DECLARED_STATEMENT ||
		DeclaredTargets(declared) == 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" cannot be promoted, nor replaced",
					projection->name),
			 errdetail("Its statement changes %d tables.",
					   DeclaredTargets(declared)),
			 errhint("Write a projection for each table.")));
}

static void
check_parked(const Promotion *promotion)
{
	const char *name = promotion->pair.new->name;
	int			parked = ParkedCount(name);

	if (parked == 0 || promotion->force)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projection \"%s\" has parked keys", name),
			 errdetail("Events of %d keys are not applied, so that their rows are older than they ought to be.",
					   parked),
			 errhint("See them with: SELECT * FROM projection_dead_letters WHERE projection = %s; To promote it as it is: force => true.",
					 quote_literal_cstr(name))));
}

static char *
listed(List *obstacles)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, obstacles)
		appendStringInfo(&list, "%s%s", cell == list_head(obstacles) ? "" : "\n",
						 (char *) lfirst(cell));
	return list.data;
}

static void
check_obstacles(const Promotion *promotion)
{
	const Pair *pair = &promotion->pair;
	Oid			old = pair->old->read_model;
	Oid			new = pair->new->read_model;
	List	   *found = promotion->force ? NIL : ObstaclesToRows(old, new);

	if (found != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("other servers may have copies of the rows of \"%s\"",
						get_rel_name(old)),
				 errdetail_internal("%s", listed(found)),
				 errhint("Subscribers would not be told that all rows are others. Take the tables out of the publications, and have them copied again afterwards; or force => true.")));
	if (pair->differ == NULL)
		return;
	found = ObstaclesToNames(old, new);
	if (found != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" cannot give its name to \"%s\"",
						get_rel_name(old), get_rel_name(new)),
				 errdetail_internal("These depend on it and cannot be moved:\n%s", listed(found)),
				 errhint("Drop them and create them again afterwards. Or make the two tables alike, so that storage is swapped: %s",
						 pair->differ)));
}

/* The rows of which its positions speak must be there. */
static void
check_rows(const Projection *projection)
{
	Relation	table = ProjectionOpenReadModel(projection, AccessShareLock);
	Positions	positions = PositionsRead(projection);

	TroubleRaise(TroubleOfTable(projection, table));
	TroubleRaise(TroubleOfPositions(projection, &positions, table));
	relation_close(table, NoLock);
}

/* Everything that can be asked of the two. */
static void
check_pair(Promotion *promotion)
{
	Pair	   *pair = &promotion->pair;

	check_one_table(pair->new);
	check_one_table(pair->old);
	check_rows(pair->new);
	check_parked(promotion);
	pair->differ = TablesDiffer(pair->old->read_model, pair->new->read_model);
	check_obstacles(promotion);
}

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
		sleep_for(promotion->behind < MANY_EVENTS ? NAP : LONG_NAP);
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
	lock_table((new_first ? pair->new : pair->old)->read_model);
	lock_table((new_first ? pair->old : pair->new)->read_model);
	SafePathLeave(settings);
}

/* SavepointStep: an attempt to get all locks, with the new one caught up */
static void
attempt(void *arg)
{
	Promotion  *promotion = arg;
	Pair	   *pair = &promotion->pair;
	TimestampTz until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_FOR_EVENTS);

	lock_projection(pair->old->name);
	if (!wait_for_events(promotion, Min(until, promotion->deadline)))
		refuse_behind(promotion);
	lock_projection(pair->new->name);
	DesiredLock();
	OlderSnapshotsWait(WAIT_FOR_SNAPSHOTS);
	fetch_pair(pair, pair->new->name, pair->old->name);
	lock_tables(pair);
	if (!look_behind(promotion))
		refuse_behind(promotion);
}

/* Is it something that may be over soon? */
static bool
may_try_again(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

static void
refuse_locked(const Promotion *promotion)
{
	const Pair *pair = &promotion->pair;

	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("projection \"%s\" could not be promoted in time",
					pair->new->name),
			 errdetail("Other transactions work on one of the projections, or use table \"%s\" or \"%s\", and have not ended.",
					   get_rel_name(pair->old->read_model),
					   get_rel_name(pair->new->read_model)),
			 errhint("See them in pg_locks. Give the call more time with: timeout => '1 minute'.")));
}

/* Attempt after attempt, until one has all locks or the time is up. */
static void
get_ready(Promotion *promotion)
{
	Pair		names = promotion->pair;

	for (;;)
	{
		ErrorData  *error = InSavepoint(attempt, promotion);

		if (error == NULL)
			return;
		promotion->pair = names;
		if (!may_try_again(error))
			ReThrowError(error);
		if (GetCurrentTimestamp() >= promotion->deadline)
		{
			if (error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
				ReThrowError(error);
			refuse_locked(promotion);
		}
		sleep_for(PAUSE);
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

	promotion.deadline = ArgumentDeadline(fcinfo, 2, "timeout", true);
	promotion.force = boolean_argument(fcinfo, 3, "force");
	promotion.with_triggers = boolean_argument(fcinfo, 4, "triggers");
	if (strcmp(new, old) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a projection cannot take its own place")));
	OpenedCheckTransaction(COMMAND);
	fetch_pair(&promotion.pair, new, old);
	check_pair(&promotion);
	if (!wait_for_events(&promotion, promotion.deadline))
		refuse_behind(&promotion);
	get_ready(&promotion);
	check_pair(&promotion);
	NoticeDesired();			/* workers look again when we are done */
	PairSwitch(&promotion.pair, promotion.with_triggers);
	PG_RETURN_TEXT_P(cstring_to_text(promotion.pair.differ == NULL ? "storage" : "names"));
}
