/*
 * slots.c
 *		Shared memory: the worker slots, and whatever else processes share.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "rebuild/board.h"
#include "settings.h"
#include "worker/meter.h"
#include "worker/slots.h"

/* projections whose speed is known at a time; the longest idle one goes */
#define SPEEDS 64

typedef struct SpeedSlot
{
	Oid			database;
	char		projection[NAMEDATALEN];
	Meter		events;
	Meter		numbers;
	Meter		drawn;
	int64		last_number;	/* drawn, when a batch looked last; 0: unknown */
} SpeedSlot;

typedef struct Shared
{
	/* set when it is made, and never again */
	LWLock	   *lock;
	int			slots;

	/* has its own lock: broadcast when positions have moved */
	ConditionVariable progress;

	/* the rest is guarded by the lock */
	PGPROC	   *launcher;
	bool		is_short;		/* the launcher could not start a worker */
	bool		is_read_only;	/* it starts none, as the server is to be so */
	uint32		desired;		/* grows when what is wanted changes */
	SpeedSlot	speed[SPEEDS];
	WorkerSlot	slot[FLEXIBLE_ARRAY_MEMBER];
} Shared;

static Shared *shared = NULL;
static int	my_slot = -1;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

#define TRANCHE "wallet_projection"

/* a worker whose batch was cancelled so long ago is terminated, in ms */
#define CANCEL_PATIENCE 5000

/* There can be no more workers than worker processes. */
static Size
shared_size(void)
{
	return add_size(offsetof(Shared, slot),
					mul_size(max_worker_processes, sizeof(WorkerSlot)));
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestAddinShmemSpace(BoardSize());
	RequestNamedLWLockTranche(TRANCHE, 1);
}

/* Also after a crash, when everything begins again. */
static void
startup(void)
{
	bool		found;
	void	   *board;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(TRANCHE, shared_size(), &found);
	if (!found)
	{
		memset(shared, 0, shared_size());
		shared->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
		shared->slots = max_worker_processes;
		ConditionVariableInit(&shared->progress);
	}
	board = ShmemInitStruct(TRANCHE " rebuilds", BoardSize(), &found);
	BoardInstall(board, shared->lock, found);
	LWLockRelease(AddinShmemInitLock);
}

/* From _PG_init, while the server preloads libraries. */
void
SlotsInstall(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

bool
SlotsReady(void)
{
	return shared != NULL;
}

/* Raise an error unless the library was preloaded. */
void
SlotsCheckReady(const char *function)
{
	if (shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s needs the background workers of wallet_projection, which are not loaded",
						function),
				 errhint("Put this line into postgresql.conf, with what else it lists, and restart the server: shared_preload_libraries = 'wallet_projection'")));
}

/*
 * Wake a worker.  The caller holds the lock, in any mode.  First the flag: a
 * latch that is set while the worker waits for a lock is lost on it.
 */
static void
wake(WorkerSlot *slot)
{
	slot->woken = true;
	SetLatch(&slot->process->procLatch);
}

/*
 * The launcher
 */

static void
launcher_detach(int code, Datum arg)
{
	LWLockReleaseAll();
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher = NULL;
	LWLockRelease(shared->lock);
}

void
LauncherAttach(void)
{
	before_shmem_exit(launcher_detach, (Datum) 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher = MyProc;
	shared->is_short = shared->is_read_only = false;
	LWLockRelease(shared->lock);
}

/* Is there a launcher?  Not on a standby, and not for moments after a crash. */
bool
LauncherRuns(void)
{
	bool		runs;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	runs = shared->launcher != NULL;
	LWLockRelease(shared->lock);
	return runs;
}

/* The launcher could, or could not, start all workers. */
void
LauncherShortage(bool is_short)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->is_short = is_short;
	LWLockRelease(shared->lock);
}

bool
LauncherIsShort(void)
{
	bool		is_short;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	is_short = shared->is_short;
	LWLockRelease(shared->lock);
	return is_short;
}

/* The launcher sees that nobody is to write on this server. */
void
LauncherReadOnly(bool is_read_only)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->is_read_only = is_read_only;
	LWLockRelease(shared->lock);
}

bool
LauncherIsReadOnly(void)
{
	bool		is_read_only;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	is_read_only = shared->is_read_only;
	LWLockRelease(shared->lock);
	return is_read_only;
}

static void
set_state(WorkerSlot *slot, WorkerState state, TimestampTz now)
{
	if (slot->state != state)
		slot->since = now;
	slot->state = state;
}

/* Is the slot this channel's, or was it, before it became free? */
static bool
is_of(const WorkerSlot *slot, Oid database, const char *channel)
{
	return slot->database == database && strcmp(slot->channel, channel) == 0;
}

/* Reserve a slot for a worker that is going to be started; -1: all taken. */
int
SlotReserve(Oid database, const char *channel, uint32 *generation)
{
	TimestampTz now = GetCurrentTimestamp();
	int			number = -1;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->slots && number < 0; i++)
	{
		WorkerSlot *slot = &shared->slot[i];
		Legacy		legacy = {0};

		if (slot->state != WORKER_FREE)
			continue;
		*generation = slot->generation + 1;
		if (is_of(slot, database, channel))
			legacy = slot->legacy;
		memset(slot, 0, sizeof(WorkerSlot));
		slot->legacy = legacy;
		slot->generation = *generation;
		slot->database = database;
		strlcpy(slot->channel, channel, NAMEDATALEN);
		set_state(slot, WORKER_STARTING, now);
		number = i;
	}
	LWLockRelease(shared->lock);
	return number;
}

/* The process that a slot was reserved for is not going to come. */
void
SlotGiveUp(int number, uint32 generation)
{
	WorkerSlot *slot = &shared->slot[number];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->generation == generation && slot->process == NULL)
		slot->state = WORKER_FREE;
	LWLockRelease(shared->lock);
}

void
SlotAskToLeave(int number, uint32 generation)
{
	WorkerSlot *slot = &shared->slot[number];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->generation == generation)
	{
		if (!slot->leave)
			slot->leave_since = now;
		slot->leave = true;
		if (slot->process != NULL)
			wake(slot);
	}
	LWLockRelease(shared->lock);
}

/*
 * Have the batch of a worker end, as pg_cancel_backend does.  Where its code
 * catches that, and goes on, the worker is terminated.  The caller holds the
 * lock exclusively, so the process is that of the slot; false if no batch is
 * running.
 */
static bool
cancel(WorkerSlot *slot, TimestampTz now)
{
	if (slot->process == NULL || slot->batch_since == 0)
		return false;
	if (slot->cancelled == 0)
	{
		slot->cancelled = now;
		(void) kill(slot->pid, SIGINT);
	}
	else if (!slot->terminated &&
			 TimestampDifferenceExceeds(slot->cancelled, now, CANCEL_PATIENCE))
	{
		slot->terminated = true;
		(void) kill(slot->pid, SIGTERM);
	}
	return true;
}

/* Have a worker's batch end.  May be called until it has. */
void
SlotCancel(int number, uint32 generation)
{
	WorkerSlot *slot = &shared->slot[number];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->generation == generation)
		(void) cancel(slot, now);
	LWLockRelease(shared->lock);
}

/*
 * A worker that has not settled in waits for a lock on its database or on the
 * extension's tables, and may not hear that it is to leave.
 */
void
SlotTerminateUnsettled(int number, uint32 generation)
{
	WorkerSlot *slot = &shared->slot[number];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->generation == generation && slot->process != NULL &&
		!slot->has_begun && !slot->terminated)
	{
		slot->terminated = true;
		(void) kill(slot->pid, SIGTERM);
	}
	LWLockRelease(shared->lock);
}

/*
 * A worker
 */

/* Is there a worker at work for this channel?  The caller holds the lock. */
static bool
serves(const WorkerSlot *slot, Oid database, const char *channel)
{
	return slot->process != NULL && is_of(slot, database, channel);
}

/* Those who shared a channel with this slot share it out anew. */
static void
wake_peers(const WorkerSlot *mine)
{
	for (int i = 0; i < shared->slots; i++)
	{
		WorkerSlot *slot = &shared->slot[i];

		if (slot != mine && serves(slot, mine->database, mine->channel))
			wake(slot);
	}
}

static void
detach(int code, Datum arg)
{
	WorkerSlot *slot;

	if (my_slot < 0)
		return;
	slot = &shared->slot[my_slot];
	LWLockReleaseAll();
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->process = NULL;
	slot->batch_since = 0;
	slot->state = WORKER_FREE;
	wake_peers(slot);
	if (shared->launcher != NULL)
		SetLatch(&shared->launcher->procLatch);
	LWLockRelease(shared->lock);
}

/*
 * Take the slot that the launcher has reserved for us, until this process
 * ends; false if it has given us up since.
 */
bool
SlotAttach(int number, uint32 generation, Oid *database, char *channel)
{
	TimestampTz now = GetCurrentTimestamp();
	WorkerSlot *slot = &shared->slot[number];
	bool		reserved;

	before_shmem_exit(detach, (Datum) 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	reserved = slot->generation == generation &&
		slot->state == WORKER_STARTING && slot->process == NULL;
	if (reserved)
	{
		my_slot = number;
		slot->process = MyProc;
		slot->pid = MyProcPid;
		slot->attached = now;
		slot->interests = -1;
		set_state(slot, WORKER_IDLE, now);
		*database = slot->database;
		strlcpy(channel, slot->channel, NAMEDATALEN);
		wake_peers(slot);
	}
	LWLockRelease(shared->lock);
	return reserved;
}

/* Connected, and the extension is as we want it. */
void
SlotSettledIn(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->slot[my_slot].has_begun = true;
	LWLockRelease(shared->lock);
}

/* A slot's rank among those of its channel.  The caller holds the lock. */
static void
share_of(const WorkerSlot *mine, int *rank, int *of)
{
	*rank = *of = 0;
	for (int i = 0; i < shared->slots; i++)
	{
		const WorkerSlot *slot = &shared->slot[i];

		if (!serves(slot, mine->database, mine->channel))
			continue;
		if (slot < mine)
			(*rank)++;
		(*of)++;
	}
}

/*
 * We are terminated: leave to our successor what we know of the projection.
 * If somebody has ended the batch, its trigger may be mended by then.
 */
void
SlotBequeath(const char *projection, const SlowSearch *slow)
{
	WorkerSlot *slot = &shared->slot[my_slot];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->cancelled == 0)
	{
		strlcpy(slot->legacy.projection, projection, NAMEDATALEN);
		slot->legacy.slow = *slow;
	}
	LWLockRelease(shared->lock);
}

/* Take what a worker of our channel has left, in whatever slot. */
Legacy
SlotInherit(void)
{
	const WorkerSlot *mine = &shared->slot[my_slot];
	Legacy		legacy = {0};

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->slots && legacy.projection[0] == '\0'; i++)
	{
		WorkerSlot *slot = &shared->slot[i];

		if (is_of(slot, mine->database, mine->channel))
		{
			legacy = slot->legacy;
			slot->legacy.projection[0] = '\0';
		}
	}
	LWLockRelease(shared->lock);
	return legacy;
}

/* Where we stand, at the beginning of a round: what woke us before is known. */
WorkerShare
SlotShare(void)
{
	WorkerSlot *mine = &shared->slot[my_slot];
	WorkerShare share;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	mine->woken = false;
	share_of(mine, &share.rank, &share.of);
	share.leave = mine->leave;
	share.desired = shared->desired;
	LWLockRelease(shared->lock);
	return share;
}

/* Has somebody woken us since the round began? */
bool
SlotWoken(void)
{
	bool		woken;

	LWLockAcquire(shared->lock, LW_SHARED);
	woken = shared->slot[my_slot].woken;
	LWLockRelease(shared->lock);
	return woken;
}

/* What we do now; claims: the partitions that we hold for it, or NULL. */
void
SlotReport(WorkerState state, const char *projection, const Claims *claims)
{
	WorkerSlot *slot = &shared->slot[my_slot];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	set_state(slot, state, now);
	if (projection != NULL)
		strlcpy(slot->projection, projection, NAMEDATALEN);
	slot->groups = claims != NULL ? claims->groups : 0;
	slot->partitions = claims != NULL ? claims->partitions : 0;
	LWLockRelease(shared->lock);
}

/* A batch of this projection begins, before its transaction. */
void
SlotBatchBegins(const char *projection)
{
	WorkerSlot *slot = &shared->slot[my_slot];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->batch_since = now;
	slot->cancelled = 0;
	strlcpy(slot->projection, projection, NAMEDATALEN);
	LWLockRelease(shared->lock);
}

/* Does somebody want the running batch to end? */
bool
SlotCancelled(void)
{
	bool		cancelled;

	LWLockAcquire(shared->lock, LW_SHARED);
	cancelled = shared->slot[my_slot].cancelled != 0;
	LWLockRelease(shared->lock);
	return cancelled;
}

/* Its transaction has ended; true if somebody wanted it to. */
bool
SlotBatchEnds(void)
{
	WorkerSlot *slot = &shared->slot[my_slot];
	bool		cancelled;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	cancelled = slot->cancelled != 0;
	slot->batch_since = 0;
	slot->cancelled = 0;
	LWLockRelease(shared->lock);
	return cancelled;
}

/* A batch with so many events is committed. */
void
SlotCount(int64 events)
{
	WorkerSlot *slot = &shared->slot[my_slot];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->events += events;
	slot->batches++;
	LWLockRelease(shared->lock);
}

/* What went wrong; NULL: nothing any more. */
void
SlotError(const char *error)
{
	WorkerSlot *slot = &shared->slot[my_slot];
	int			length = error == NULL ? 0 :
		pg_mbcliplen(error, strlen(error), WORKER_ERROR_LENGTH - 1);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (length > 0)
		memcpy(slot->last_error, error, length);
	slot->last_error[length] = '\0';
	LWLockRelease(shared->lock);
}

/* Which appends we want to be woken for. */
void
SlotInterests(const Interest *interest, int count)
{
	WorkerSlot *slot = &shared->slot[my_slot];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->interests = count > WORKER_INTERESTS ? -1 : count;
	if (slot->interests > 0)
		memcpy(slot->interest, interest, count * sizeof(Interest));
	LWLockRelease(shared->lock);
}

/*
 * Everybody
 */

/* All slots as they are now, free ones too; palloc'd. */
WorkerSlot *
SlotsCopy(int *count)
{
	WorkerSlot *copy = palloc_array(WorkerSlot, shared->slots);

	*count = shared->slots;
	LWLockAcquire(shared->lock, LW_SHARED);
	memcpy(copy, shared->slot, shared->slots * sizeof(WorkerSlot));
	LWLockRelease(shared->lock);
	return copy;
}

/* Is this append for partitions of the worker with this rank? */
static bool
concerns(const WorkerSlot *slot, int rank, int of,
		 const AppendNotice *notice)
{
	if (slot->interests < 0)
		return true;
	for (int i = 0; i < slot->interests; i++)
	{
		const Interest *interest = &slot->interest[i];

		if (interest->stream != notice->stream)
			continue;
		if (notice->any)
			return true;
		if (interest->type == notice->type &&
			GroupOf(notice->key % interest->partitions,
					GroupsOf(interest->partitions)) % of == rank)
			return true;
	}
	return false;
}

/* Has the worker work now that this was committed? */
static bool
has_work(const WorkerSlot *slot, const Notices *notices)
{
	int			rank;
	int			of;

	if (slot->process == NULL || slot->database != MyDatabaseId)
		return false;
	if (notices->append_lost || notices->desired)
		return true;
	share_of(slot, &rank, &of);
	for (int i = 0; i < notices->appends; i++)
	{
		if (concerns(slot, rank, of, &notices->append[i]))
			return true;
	}
	return false;
}

static SpeedSlot *
find_speed(const char *projection)
{
	for (int i = 0; i < SPEEDS; i++)
	{
		if (shared->speed[i].database == MyDatabaseId &&
			strcmp(shared->speed[i].projection, projection) == 0)
			return &shared->speed[i];
	}
	return NULL;
}

static SpeedSlot *
take_speed(const char *projection)
{
	SpeedSlot  *speed = find_speed(projection);

	if (speed != NULL)
		return speed;
	speed = &shared->speed[0];
	for (int i = 1; i < SPEEDS; i++)
	{
		if (shared->speed[i].numbers.last < speed->numbers.last)
			speed = &shared->speed[i];
	}
	memset(speed, 0, sizeof(SpeedSlot));
	speed->database = MyDatabaseId;
	strlcpy(speed->projection, projection, NAMEDATALEN);
	return speed;
}

static int64
current_second(void)
{
	return GetCurrentTimestamp() / USECS_PER_SEC;
}

/* The stream has drawn numbers up to this one; 0: nobody has looked. */
static void
count_drawn(SpeedSlot *speed, int64 second, int64 last_number)
{
	if (last_number == 0)
		return;
	if (speed->last_number > 0 && last_number > speed->last_number)
		MeterAdd(&speed->drawn, second, last_number - speed->last_number);
	speed->last_number = last_number;
}

static void
count_progress(const Notices *notices)
{
	int64		second = current_second();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < notices->progresses; i++)
	{
		const ProgressNotice *notice = &notices->progress[i];
		SpeedSlot  *speed = take_speed(notice->projection);

		MeterAdd(&speed->events, second, notice->events);
		MeterAdd(&speed->numbers, second, notice->numbers);
		count_drawn(speed, second, notice->last_number);
	}
	LWLockRelease(shared->lock);
}

/* NoticeDelivery: our transaction has committed; tell whom it concerns. */
void
SlotsDeliver(const Notices *notices)
{
	if (notices->appends > 0 || notices->append_lost || notices->desired)
	{
		LWLockAcquire(shared->lock,
					  notices->desired ? LW_EXCLUSIVE : LW_SHARED);
		for (int i = 0; i < shared->slots; i++)
		{
			if (has_work(&shared->slot[i], notices))
				wake(&shared->slot[i]);
		}
		if (notices->desired)
		{
			shared->desired++;
			if (shared->launcher != NULL)
				SetLatch(&shared->launcher->procLatch);
		}
		LWLockRelease(shared->lock);
	}
	if (notices->progresses > 0)
		count_progress(notices);
	if (notices->progresses > 0 || notices->progress_lost)
		ConditionVariableBroadcast(&shared->progress);
}

/* Let all workers of a database have a look. */
void
SlotsWake(Oid database)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < shared->slots; i++)
	{
		WorkerSlot *slot = &shared->slot[i];

		if (slot->process != NULL && slot->database == database)
			wake(slot);
	}
	LWLockRelease(shared->lock);
}

/*
 * Have the workers' batches of a projection of this database end; how many
 * are still running.  To be called until none is.
 */
int
SlotsCancel(const char *projection)
{
	TimestampTz now = GetCurrentTimestamp();
	int			count = 0;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->slots; i++)
	{
		WorkerSlot *slot = &shared->slot[i];

		if (slot->database == MyDatabaseId &&
			strcmp(slot->projection, projection) == 0 && cancel(slot, now))
			count++;
	}
	LWLockRelease(shared->lock);
	return count;
}

/* When the oldest running batch of a projection began; 0: none runs. */
TimestampTz
SlotsRunningSince(const char *projection)
{
	TimestampTz oldest = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < shared->slots; i++)
	{
		const WorkerSlot *slot = &shared->slot[i];

		if (slot->process != NULL && slot->batch_since != 0 &&
			slot->database == MyDatabaseId &&
			strcmp(slot->projection, projection) == 0 &&
			(oldest == 0 || slot->batch_since < oldest))
			oldest = slot->batch_since;
	}
	LWLockRelease(shared->lock);
	return oldest;
}

/* How fast a projection of this database goes; zero where nobody knows. */
Speed
SpeedOf(const char *projection)
{
	int64		second = current_second();
	Speed		result = {0};
	SpeedSlot  *speed;

	if (shared == NULL)
		return result;
	LWLockAcquire(shared->lock, LW_SHARED);
	speed = find_speed(projection);
	if (speed != NULL)
	{
		result.events = MeterRate(&speed->events, second);
		result.numbers = MeterRate(&speed->numbers, second);
		result.drawn = MeterRate(&speed->drawn, second);
	}
	LWLockRelease(shared->lock);
	return result;
}

/* Where to wait until positions have moved. */
ConditionVariable *
ProgressMade(void)
{
	return &shared->progress;
}
