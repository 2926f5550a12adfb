/*
 * board.c
 *		Who rebuilds what: shared among the sessions of a server.
 *
 * All of it is guarded by one lock, which worker/slots.c gives with the
 * memory; it is held for a few assignments at a time.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "rebuild/board.h"

/* rebuilds that run at a time, and ranges of each */
#define BOARD_REBUILDS 16
#define BOARD_RANGES 32

/* a range narrower than that is not shared */
#define SHARED_RANGE_MIN (UINT64CONST(1) << 40)

typedef struct BoardRange
{
	uint64		first;
	uint64		last;
	int			pid;			/* who has it; 0: it is free */
	RebuildPhase phase;
	double		part;			/* of it that is done */
} BoardRange;

typedef struct BoardEntry
{
	Oid			database;
	char		projection[NAMEDATALEN];
	int			sessions;		/* 0: the entry is free */
	int			waiting;		/* of them, for something to do */
	TimestampTz advised;		/* since when a rebuild was, at its beginning */
	TimestampTz started_at;
	int64		total;			/* event numbers */
	bool		not_all_written;	/* some key's row could not be */
	int			count;			/* ranges; 0: all is done */
	BoardRange	range[BOARD_RANGES];
} BoardEntry;

typedef struct Board
{
	BoardEntry	entry[BOARD_REBUILDS];
} Board;

static Board own_board;			/* where nothing is shared */
static Board *board = &own_board;
static LWLock *board_lock = NULL;

static BoardEntry *my_entry = NULL;
static bool is_waiting = false; /* counted among those who wait */

Size
BoardSize(void)
{
	return sizeof(Board);
}

/* At the server's start, also after a crash, and in each process. */
void
BoardInstall(void *memory, LWLock *lock, bool found)
{
	board = memory;
	board_lock = lock;
	if (!found)
		memset(board, 0, sizeof(Board));
}

bool
BoardIsShared(void)
{
	return board_lock != NULL;
}

static void
lock_board(LWLockMode mode)
{
	if (board_lock != NULL)
		LWLockAcquire(board_lock, mode);
}

static void
unlock_board(void)
{
	if (board_lock != NULL)
		LWLockRelease(board_lock);
}

static BoardEntry *
find_entry(const char *projection)
{
	for (int i = 0; i < BOARD_REBUILDS; i++)
	{
		BoardEntry *entry = &board->entry[i];

		if (entry->sessions > 0 && entry->database == MyDatabaseId &&
			strcmp(entry->projection, projection) == 0)
			return entry;
	}
	return NULL;
}

static BoardEntry *
make_entry(const char *projection, TimestampTz advised)
{
	for (int i = 0; i < BOARD_REBUILDS; i++)
	{
		BoardEntry *entry = &board->entry[i];

		if (entry->sessions > 0)
			continue;
		memset(entry, 0, sizeof(BoardEntry));
		entry->database = MyDatabaseId;
		strlcpy(entry->projection, projection, NAMEDATALEN);
		entry->advised = advised;
		entry->started_at = GetCurrentTimestamp();
		entry->count = 1;
		entry->range[0].last = PG_UINT64_MAX;
		return entry;
	}
	return NULL;
}

/* Our range, or NULL. */
static BoardRange *
my_range(void)
{
	for (int i = 0; i < my_entry->count; i++)
	{
		if (my_entry->range[i].pid == MyProcPid)
			return &my_entry->range[i];
	}
	return NULL;
}

static void
remove_range(BoardRange *range)
{
	*range = my_entry->range[--my_entry->count];
}

static void
wait_or_not(bool wait)
{
	my_entry->waiting += (int) wait - (int) is_waiting;
	is_waiting = wait;
}

/* before_shmem_exit callback: a session that ends gives its range back. */
static void
leave_at_exit(int code, Datum arg)
{
	(void) BoardLeave();
}

/*
 * Begin a rebuild of a projection, or join the one that runs, until
 * BoardLeave().  advised: since when one is advised; who begins with another
 * definition does not join.
 */
BoardJoined
BoardJoin(const char *projection, TimestampTz advised)
{
	static bool registered = false;
	BoardJoined result = BOARD_JOINED;
	BoardEntry *entry;

	if (!registered)
		before_shmem_exit(leave_at_exit, (Datum) 0);
	registered = true;
	Assert(my_entry == NULL);
	lock_board(LW_EXCLUSIVE);
	entry = find_entry(projection);
	if (entry == NULL)
	{
		entry = make_entry(projection, advised);
		if (entry == NULL)
			result = BOARD_FULL;
	}
	else if (entry->advised != advised || entry->count == 0)
		result = BOARD_BUSY;
	if (result == BOARD_JOINED)
	{
		entry->sessions++;
		my_entry = entry;
		is_waiting = false;
	}
	unlock_board();
	return result;
}

/* Take a range that nobody has. */
BoardTaken
BoardTake(uint64 *first, uint64 *last)
{
	BoardTaken	result = BOARD_WAIT;

	lock_board(LW_EXCLUSIVE);
	if (my_entry->count == 0)
		result = BOARD_DONE;
	for (int i = 0; i < my_entry->count && result == BOARD_WAIT; i++)
	{
		BoardRange *range = &my_entry->range[i];

		if (range->pid != 0)
			continue;
		range->pid = MyProcPid;
		range->phase = REBUILD_FOLDS;
		range->part = 0;
		*first = range->first;
		*last = range->last;
		result = BOARD_TAKEN;
	}
	wait_or_not(result == BOARD_WAIT);
	unlock_board();
	return result;
}

/* Does another session wait for a part of our range? */
bool
BoardIsWanted(void)
{
	bool		wanted;
	bool		is_free = false;
	BoardRange *range;

	if (my_entry == NULL || my_entry->waiting == 0)
		return false;
	lock_board(LW_SHARED);
	for (int i = 0; i < my_entry->count; i++)
		is_free = is_free || my_entry->range[i].pid == 0;
	range = my_range();
	wanted = my_entry->waiting > 0 && !is_free && range != NULL &&
		my_entry->count < BOARD_RANGES &&
		range->last - range->first > SHARED_RANGE_MIN;
	unlock_board();
	return wanted;
}

/*
 * Our range ends here; what is above is free.  False where no more ranges can
 * be kept: it is still ours.
 */
bool
BoardKeep(uint64 last)
{
	BoardRange *range;
	bool		kept = false;

	lock_board(LW_EXCLUSIVE);
	range = my_range();
	if (range != NULL && last < range->last && my_entry->count < BOARD_RANGES)
	{
		BoardRange *rest = &my_entry->range[my_entry->count++];

		memset(rest, 0, sizeof(BoardRange));
		rest->first = last + 1;
		rest->last = range->last;
		range->last = last;
		kept = true;
	}
	unlock_board();
	return kept;
}

/* Where our range ends. */
uint64
BoardEnd(void)
{
	uint64		last;

	lock_board(LW_SHARED);
	last = my_range()->last;
	unlock_board();
	return last;
}

/* Where we are: this part of our range, from 0 to 1, is done. */
void
BoardReport(RebuildPhase phase, double part)
{
	BoardRange *range;

	if (my_entry == NULL)
		return;
	lock_board(LW_EXCLUSIVE);
	range = my_range();
	if (range != NULL)
	{
		range->phase = phase;
		range->part = Max(range->part, Min(part, 1.0));
	}
	unlock_board();
}

/* So many numbers the stream has. */
void
BoardTotal(int64 total)
{
	if (my_entry == NULL)
		return;
	lock_board(LW_EXCLUSIVE);
	my_entry->total = Max(my_entry->total, total);
	unlock_board();
}

/* A key's row could not be written. */
void
BoardNotAllWritten(void)
{
	lock_board(LW_EXCLUSIVE);
	my_entry->not_all_written = true;
	unlock_board();
}

/* Is ours the only range that is left? */
bool
BoardIsLast(void)
{
	bool		result;

	lock_board(LW_SHARED);
	result = my_entry->count == 1;
	unlock_board();
	return result;
}

/* Our range is done. */
void
BoardDone(void)
{
	BoardRange *range;

	lock_board(LW_EXCLUSIVE);
	range = my_range();
	if (range != NULL)
		remove_range(range);
	unlock_board();
}

/*
 * We have nothing to do with the rebuild any more.  True: all of it is done,
 * and each row was written that was to be.
 */
bool
BoardLeave(void)
{
	BoardRange *range;
	bool		complete;

	if (my_entry == NULL)
		return false;
	lock_board(LW_EXCLUSIVE);
	range = my_range();
	if (range != NULL)
	{
		range->pid = 0;
		range->part = 0;
	}
	wait_or_not(false);
	complete = my_entry->count == 0 && !my_entry->not_all_written;
	my_entry->sessions--;
	unlock_board();
	my_entry = NULL;
	return complete;
}

/* Read off how far a rebuild is. */
static BoardProgress
progress_of(const BoardEntry *entry)
{
	BoardProgress result = {.phase = REBUILD_REPLAYS,.total = entry->total,
	.started_at = entry->started_at};
	double		left = 0;

	strlcpy(result.projection, entry->projection, NAMEDATALEN);
	for (int i = 0; i < entry->count; i++)
	{
		const BoardRange *range = &entry->range[i];

		left += ((double) (range->last - range->first) + 1) * (1 - range->part);
		if (range->pid != 0)
			result.phase = Min(result.phase, range->phase);
	}
	result.done = (int64) (entry->total * Max(0, 1 - left / 18446744073709551616.0));
	return result;
}

/* The rebuilds that run in this database. */
BoardProgress *
BoardCopy(int *count)
{
	BoardProgress *result = palloc_array(BoardProgress, BOARD_REBUILDS);

	*count = 0;
	lock_board(LW_SHARED);
	for (int i = 0; i < BOARD_REBUILDS; i++)
	{
		if (board->entry[i].sessions > 0 &&
			board->entry[i].database == MyDatabaseId)
			result[(*count)++] = progress_of(&board->entry[i]);
	}
	unlock_board();
	return result;
}
