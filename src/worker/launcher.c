/*
 * launcher.c
 *		The launcher: as many workers as are wanted.
 *
 * One process of the server, connected to no database, so that it is in
 * nobody's way.  It reads from the labels in pg_shseclabel what databases
 * want (definition/desired.c), compares that with the worker slots, asks those
 * to leave that are not wanted any more, and starts those that are missing.
 * It sleeps until a worker ends, a change of what is desired is committed, or NAP is over.
 *
 * Workers are started in turn, so that each channel gets its first before
 * another gets its second.  Where the server has no process left, a channel
 * that has none gets one that another can spare; where there are fewer processes
 * than channels, they take turns of a few seconds.
 *
 * While default_transaction_read_only is on for the whole server, nobody is
 * wanted: the disk is nearly full, say, or the server about to be replaced.
 *
 * A worker that ends before it has settled in is started again after 1 s,
 * 2 s, ... up to RETRY_MAX; all others at once.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_shseclabel.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "definition/desired.h"
#include "settings.h"
#include "worker/launcher.h"
#include "worker/rotation.h"
#include "worker/slots.h"
#include "worker/survey.h"

/* all in milliseconds */
#define NAP				10000	/* between looks, where nothing happens */
#define ROOM_TIME		30000	/* to make room for a channel without workers */
#define NAP_SHORT		1000	/* where a worker could not be started */
#define RETRY_MIN		1000
#define RETRY_MAX		60000
#define START_TIMEOUT	60000	/* a worker that has not come by then won't */
#define LEAVE_TIME		5000	/* in which one that was asked to may leave */

/* datconnlimit of a database whose DROP was interrupted */
#define INVALID_DATABASE (-2)

/* seconds until the server starts a launcher that has died again */
#define RESTART_TIME	1

/* A worker that this launcher has started. */
typedef struct Started
{
	bool		pending;		/* its process is there, as far as we know */
	bool		accounted;		/* its slot is free again, and we have seen
								 * why */
	uint32		generation;
	BackgroundWorkerHandle *handle;
	Oid			database;
	char		channel[NAMEDATALEN];
} Started;

/* A channel whose workers do not settle in. */
typedef struct Setback
{
	Oid			database;
	char		channel[NAMEDATALEN];
	int			delay;
	TimestampTz next_try;
} Setback;

extern PGDLLEXPORT void wallet_projection_launcher(Datum arg);

static Started *started;		/* by slot number */
static List *setbacks = NIL;	/* of Setback */
static bool told_of_shortage = false;
static bool told_of_read_only = false;
static int	ending;				/* workers whose process is not gone yet */
static int	leaving;			/* workers that were asked to leave */
static MemoryContext round_context;

/* A process of ours, to be registered. */
void
LauncherDescribe(BackgroundWorker *worker, const char *function, const char *name,
				 int restart_time)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = restart_time;
	strlcpy(worker->bgw_library_name, "wallet_projection",
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, name, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, name, sizeof(worker->bgw_type));
}

/* From _PG_init, while the server preloads libraries. */
void
LauncherRegister(void)
{
	BackgroundWorker worker;

	/* pg_upgrade wants nobody to write */
	if (IsBinaryUpgrade)
		return;
	LauncherDescribe(&worker, "wallet_projection_launcher",
					 "wallet_projection launcher", RESTART_TIME);
	RegisterBackgroundWorker(&worker);
}

/*
 * What is wanted
 */

/*
 * The databases that one may connect to, without templates if so asked; in a
 * transaction.
 */
List *
LauncherDatabases(bool templates)
{
	Relation	catalog = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(catalog, 0, NULL);
	List	   *databases = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn && form->datconnlimit != INVALID_DATABASE &&
			(templates || !form->datistemplate))
			databases = lappend_oid(databases, form->oid);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	return databases;
}

/* What one label says, in the current memory context. */
static List *
read_label(List *wanted, Oid database, const char *label)
{
	ListCell   *cell;

	foreach(cell, DesiredParse(label))
	{
		DesiredChannel *desired = lfirst(cell);
		Wanted	   *channel = palloc0(sizeof(Wanted));

		channel->database = database;
		channel->channel = desired->channel;
		channel->workers = desired->workers < 0 ? DefaultWorkers : desired->workers;
		channel->rests = desired->workers == 0;
		wanted = lappend(wanted, channel);
	}
	return wanted;
}

/* All channels of all databases: a list of Wanted. */
static List *
read_wanted(void)
{
	List	   *wanted = NIL;
	List	   *databases;
	Relation	catalog;
	TableScanDesc scan;
	HeapTuple	tuple;

	if (!WorkersEnabled || DefaultXactReadOnly)
		return NIL;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	databases = LauncherDatabases(true);
	catalog = table_open(SharedSecLabelRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_shseclabel form = (Form_pg_shseclabel) GETSTRUCT(tuple);
		bool		isnull;
		Datum		provider;
		Datum		label;
		MemoryContext old;

		provider = heap_getattr(tuple, Anum_pg_shseclabel_provider,
								RelationGetDescr(catalog), &isnull);
		label = heap_getattr(tuple, Anum_pg_shseclabel_label,
							 RelationGetDescr(catalog), &isnull);
		if (form->classoid != DESIRED_CLASS ||
			strcmp(TextDatumGetCString(provider), DESIRED_PROVIDER) != 0 ||
			VARATT_IS_EXTERNAL(DatumGetPointer(label)) ||
			!list_member_oid(databases, form->objoid))
			continue;
		old = MemoryContextSwitchTo(round_context);
		wanted = read_label(wanted, form->objoid, TextDatumGetCString(label));
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(round_context);
	return wanted;
}

/*
 * Workers that ended too early
 */

static Setback *
find_setback(Oid database, const char *channel)
{
	ListCell   *cell;

	foreach(cell, setbacks)
	{
		Setback    *setback = lfirst(cell);

		if (setback->database == database &&
			strcmp(setback->channel, channel) == 0)
			return setback;
	}
	return NULL;
}

static void
forget_setback(Oid database, const char *channel)
{
	Setback    *setback = find_setback(database, channel);

	if (setback == NULL)
		return;
	setbacks = list_delete_ptr(setbacks, setback);
	pfree(setback);
}

/* A worker did not settle in: leave the channel alone for a while. */
static void
add_setback(const Started *worker)
{
	Setback    *setback = find_setback(worker->database, worker->channel);

	if (setback == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		setback = palloc0(sizeof(Setback));
		setback->database = worker->database;
		strlcpy(setback->channel, worker->channel, NAMEDATALEN);
		setbacks = lappend(setbacks, setback);
		MemoryContextSwitchTo(old);
	}
	else if (GetCurrentTimestamp() < setback->next_try)
		return;					/* of those who were started together */
	setback->delay = setback->delay == 0 ? RETRY_MIN :
		Min(setback->delay * 2, RETRY_MAX);
	setback->next_try = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													setback->delay);
}

/* Is it time to start workers of this channel? */
static bool
is_due(const Wanted *channel)
{
	Setback    *setback = find_setback(channel->database, channel->channel);

	return setback == NULL || GetCurrentTimestamp() >= setback->next_try;
}

/*
 * One look
 */

/* A worker whose end this launcher has not seen yet: how is it? */
static void
follow(int number, WorkerSlot *slot)
{
	Started    *worker = &started[number];
	bool		gone = slot->generation != worker->generation ||
		slot->state == WORKER_FREE;
	pid_t		pid;
	bool		stopped = GetBackgroundWorkerPid(worker->handle, &pid) == BGWH_STOPPED;

	if (!gone && slot->process == NULL && stopped)
	{
		SlotGiveUp(number, worker->generation);
		slot->state = WORKER_FREE;
		gone = true;
	}
	if (!worker->accounted)
	{
		if (slot->generation == worker->generation && slot->has_begun)
			forget_setback(worker->database, worker->channel);
		else if (gone)
			add_setback(worker);
		worker->accounted = gone;
	}
	if (gone && stopped)
	{
		pfree(worker->handle);
		worker->pending = false;
	}
	else if (gone)
		ending++;
}

/* One that an earlier launcher has asked for, and that did not come. */
static void
give_up_late(int number, WorkerSlot *slot)
{
	if (slot->state != WORKER_STARTING || started[number].pending ||
		!TimestampDifferenceExceeds(slot->since, GetCurrentTimestamp(),
									START_TIMEOUT))
		return;
	SlotGiveUp(number, slot->generation);
	slot->state = WORKER_FREE;
}

/* Count who is there; ask those to leave who are not wanted. */
static void
count_workers(List *wanted)
{
	int			count;
	WorkerSlot *slots = SlotsCopy(&count);

	ending = leaving = 0;
	for (int i = 0; i < count; i++)
	{
		WorkerSlot *slot = &slots[i];
		Wanted	   *channel;

		if (started[i].pending)
			follow(i, slot);
		else
			give_up_late(i, slot);
		if (slot->state == WORKER_FREE)
			continue;
		channel = WantedFind(wanted, slot->database, slot->channel);
		if (slot->leave)
		{
			/*
			 * Its batch has had the time of a nap to end by itself; or a
			 * longer one, where it is to make room for others.
			 */
			if (channel != NULL &&
				TimestampDifferenceExceeds(slot->leave_since,
										   GetCurrentTimestamp(),
										   channel->rests ? NAP_SHORT : ROOM_TIME))
				SlotCancel(i, slot->generation);
			if (!slot->has_begun &&
				TimestampDifferenceExceeds(slot->leave_since,
										   GetCurrentTimestamp(), NAP_SHORT))
				SlotTerminateUnsettled(i, slot->generation);
			leaving++;
		}
		else if (channel != NULL && channel->running < channel->workers)
			channel->running++;
		else
		{
			SlotAskToLeave(i, slot->generation);
			leaving++;
		}
	}
}

/* Start a worker; false if the server has no process left for it. */
static bool
start_worker(const Wanted *channel)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	BackgroundWorker worker;
	char		name[BGW_MAXLEN];
	BackgroundWorkerHandle *handle;
	uint32		generation;
	int			number = SlotReserve(channel->database, channel->channel,
									 &generation);
	bool		registered;

	if (number < 0)
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	snprintf(name, sizeof(name), "wallet_projection worker: %s",
			 channel->channel);
	LauncherDescribe(&worker, "wallet_projection_worker", name, BGW_NEVER_RESTART);
	worker.bgw_main_arg = Int32GetDatum(number);
	memcpy(worker.bgw_extra, &generation, sizeof(generation));
	worker.bgw_notify_pid = MyProcPid;

	registered = RegisterDynamicBackgroundWorker(&worker, &handle);
	MemoryContextSwitchTo(old);
	if (!registered)
	{
		SlotGiveUp(number, generation);
		return false;
	}
	if (started[number].pending)
		pfree(started[number].handle);	/* of one that has just ended */
	started[number].pending = true;
	started[number].accounted = false;
	started[number].generation = generation;
	started[number].handle = handle;
	started[number].database = channel->database;
	strlcpy(started[number].channel, channel->channel, NAMEDATALEN);
	return true;
}

/* Say it once, until all workers are there again. */
static void
tell_of_shortage(bool is_short)
{
	LauncherShortage(is_short);
	if (is_short && !told_of_shortage)
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("wallet_projection could not start all workers that are wanted: the server has no worker process left"),
				 errhint("Raise max_worker_processes (now %d), or ask for fewer workers with channel_scale.",
						 max_worker_processes)));
	else if (!is_short && told_of_shortage)
		ereport(LOG,
				(errmsg("wallet_projection has all workers that are wanted")));
	told_of_shortage = is_short;
}

/* Say once that all rest because the server is to be read-only. */
static void
tell_of_read_only(void)
{
	if (DefaultXactReadOnly == told_of_read_only)
		return;
	told_of_read_only = DefaultXactReadOnly;
	LauncherReadOnly(DefaultXactReadOnly);
	if (DefaultXactReadOnly)
		ereport(LOG,
				(errmsg("workers of wallet_projection rest: default_transaction_read_only is on for the whole server"),
				 errhint("They come back when it is off.")));
	else
		ereport(LOG,
				(errmsg("workers of wallet_projection come back: default_transaction_read_only is off")));
}

/*
 * Turns, where there are fewer processes than channels
 */

/* How many channels have no worker, and nobody is about to make room? */
static int
count_poor(List *wanted, const WorkerSlot *slots, int count)
{
	int			poor = 0;
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, wanted)
	{
		Wanted	   *channel = lfirst(cell);

		if (channel->workers > 0 && channel->running == 0 && is_due(channel))
			poor++;
	}
	for (int i = 0; i < count; i++)
	{
		/* its process will be free soon, unless its batch is a long one */
		if (slots[i].process != NULL && slots[i].leave &&
			!TimestampDifferenceExceeds(slots[i].leave_since, now, LEAVE_TIME))
			poor--;
	}
	return poor;
}

/* Channels have no worker: ask as many of others to leave. */
static void
spare_some(List *wanted)
{
	int			count;
	WorkerSlot *slots = SlotsCopy(&count);

	for (int poor = count_poor(wanted, slots, count); poor > 0; poor--)
	{
		int			chosen = RotationSpare(wanted, slots, count);

		if (chosen < 0)
			return;
		SlotAskToLeave(chosen, slots[chosen].generation);
		slots[chosen].leave = true;
		WantedFind(wanted, slots[chosen].database,
				   slots[chosen].channel)->running--;
	}
}

/* Start those who are missing, in turn; returns how long to sleep. */
static int
start_missing(List *wanted)
{
	bool		missing = false;
	bool		is_short = false;
	bool		put_off = false;	/* a channel that is not due is missing */
	bool		again;
	int			turn = 0;

	do
	{
		ListCell   *cell;

		again = false;
		turn++;
		foreach(cell, wanted)
		{
			Wanted	   *channel = lfirst(cell);

			if (channel->running >= Min(turn, channel->workers))
			{
				again = again || channel->running < channel->workers;
				continue;
			}
			if (!is_due(channel))
				put_off = missing = true;
			else if (is_short)
				missing = true;
			else if (start_worker(channel))
			{
				channel->running++;
				again = true;
			}
			else
				is_short = missing = true;
		}
	} while (again && !is_short);

	/* if a process is about to end, there will be one; we hear of it */
	if (ending == 0)
	{
		/* whether there is a process for who is put off, nobody knows */
		if (is_short || !put_off)
			tell_of_shortage(is_short);
		if (is_short)
			spare_some(wanted);
	}
	return missing || leaving > 0 ? NAP_SHORT : NAP;
}

/* Setbacks of what nobody wants any more are of no use. */
static void
prune_setbacks(List *wanted)
{
	ListCell   *cell;

	foreach(cell, setbacks)
	{
		Setback    *setback = lfirst(cell);

		if (WantedFind(wanted, setback->database, setback->channel) == NULL)
		{
			setbacks = foreach_delete_current(setbacks, cell);
			pfree(setback);
		}
	}
}

static int
look(void)
{
	List	   *wanted;
	int			nap;

	MemoryContextReset(round_context);
	MemoryContextSwitchTo(round_context);
	tell_of_read_only();
	wanted = read_wanted();
	count_workers(wanted);
	RotationOrder(wanted);
	nap = start_missing(wanted);
	prune_setbacks(wanted);
	if (WorkersEnabled && !DefaultXactReadOnly && SurveyGoOn())
		nap = Min(nap, NAP_SHORT);
	return nap;
}

/* The launcher's main function; it does not return. */
void
wallet_projection_launcher(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, PG_SIG_IGN);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	ProcessConfigFile(PGC_SIGHUP);
	LauncherAttach();
	round_context = AllocSetContextCreate(TopMemoryContext,
										  "wallet_projection launcher round",
										  ALLOCSET_DEFAULT_SIZES);
	started = MemoryContextAllocZero(TopMemoryContext,
									 max_worker_processes * sizeof(Started));
	ereport(LOG, (errmsg("wallet_projection launcher started")));
	for (;;)
	{
		int			nap;

		/* first, so that no wake-up is lost */
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		nap = look();
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 nap, PG_WAIT_EXTENSION);
	}
}
