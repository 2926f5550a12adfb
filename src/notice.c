/*
 * notice.c
 *		What a transaction has done that workers want to know.
 *
 * Notices are kept in static arrays, as nothing may be allocated after a
 * commit.  What does not fit is summed up: more was appended, more was done.
 *
 * Dead letters become a NOTIFY, which is part of the commit and may make it
 * fail: a transaction with a NOTIFY cannot be prepared, the queue may be full,
 * and the lock that puts them in order may be held by somebody whose commit
 * waits for a standby.  A batch must not fail for that: the dead letter is in
 * a table, and the notification is the thing to lose.  So it is issued just
 * before the commit, if all of this is well.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "keyhash.h"
#include "notice.h"

/* the channel of NOTIFY when a key becomes a dead letter */
#define DEAD_LETTER_CHANNEL "wallet_projection_dead_letter"

/* a queue of NOTIFY that is fuller than this may be full when we are at it */
#define QUEUE_LIMIT 0.9

/* how often, and how long each time, its lock is waited for, in ms */
#define QUEUE_TRIES 20
#define QUEUE_WAIT	10

typedef struct DeadLetter
{
	const char *payload;
	SubTransactionId subxact;
} DeadLetter;

static NoticeDelivery deliver = NULL;
static Notices notices;
static List *dead_letters = NIL;	/* in the transaction's memory */
static bool registered = false; /* our callbacks */

static void
forget_all(void)
{
	notices.appends = 0;
	notices.append_lost = false;
	notices.progresses = 0;
	notices.progress_lost = false;
	notices.desired = false;
	dead_letters = NIL;
}

/*
 * Take the lock that commits with a NOTIFY take, and hold to their end; false
 * if it cannot be had soon.
 */
static bool
lock_queue(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0);
	for (int tries = 0; tries < QUEUE_TRIES; tries++)
	{
		if (LockAcquire(&tag, AccessExclusiveLock, false, true) !=
			LOCKACQUIRE_NOT_AVAIL)
			return true;
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 QUEUE_WAIT, PG_WAIT_EXTENSION);
	}
	return false;
}

static bool
queue_has_room(void)
{
	/* the function has no argument; its result is a share */
	Datum		usage = DirectFunctionCall1(pg_notification_queue_usage,
											(Datum) 0);

	return DatumGetFloat8(usage) < QUEUE_LIMIT;
}

/* Tell listeners of the dead letters, if that cannot hurt the commit. */
static void
announce_dead_letters(void)
{
	static bool complained = false;
	ListCell   *cell;

	if (dead_letters == NIL)
		return;
	if (!queue_has_room() || !lock_queue())
	{
		if (!complained)
			ereport(LOG,
					(errmsg("listeners are not told of %d dead letters: the queue of NOTIFY is full or locked",
							list_length(dead_letters)),
					 errhint("See the view projection_dead_letters. This is not logged again until listeners can be told.")));
		complained = true;
		return;
	}
	complained = false;
	foreach(cell, dead_letters)
		Async_Notify(DEAD_LETTER_CHANNEL,
					 ((DeadLetter *) lfirst(cell))->payload);
}

static void
at_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			announce_dead_letters();
			break;
		case XACT_EVENT_COMMIT:
			if (notices.appends > 0 || notices.progresses > 0 ||
				notices.append_lost || notices.progress_lost ||
				notices.desired)
				deliver(&notices);
			forget_all();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_all();
			break;
		default:
			break;
	}
}

/*
 * A savepoint is rolled back: forget what it and those in it have done, whose
 * numbers are not lower than its own.
 */
static void
at_subxact_end(SubXactEvent event, SubTransactionId subxact,
			   SubTransactionId parent, void *arg)
{
	int			kept = 0;
	ListCell   *cell;

	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	foreach(cell, dead_letters)
	{
		if (((DeadLetter *) lfirst(cell))->subxact >= subxact)
			dead_letters = foreach_delete_current(dead_letters, cell);
	}
	for (int i = 0; i < notices.appends; i++)
	{
		if (notices.append[i].subxact < subxact)
			notices.append[kept++] = notices.append[i];
	}
	notices.appends = kept;
	kept = 0;
	for (int i = 0; i < notices.progresses; i++)
	{
		if (notices.progress[i].subxact < subxact)
			notices.progress[kept++] = notices.progress[i];
	}
	notices.progresses = kept;
}

static void
register_callbacks(void)
{
	if (registered)
		return;
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_subxact_end, NULL);
	registered = true;
}

/* From now on, in this process and its children, pass notices on. */
void
NoticesDeliverTo(NoticeDelivery delivery)
{
	deliver = delivery;
	register_callbacks();
}

static bool
same_append(const AppendNotice *a, const AppendNotice *b)
{
	return a->stream == b->stream && a->any == b->any &&
		a->type == b->type && a->key == b->key &&
		a->subxact == b->subxact;
}

static void
keep_append(const AppendNotice *notice)
{
	for (int i = 0; i < notices.appends; i++)
	{
		if (same_append(&notices.append[i], notice))
			return;
	}
	if (notices.appends < APPEND_NOTICES)
		notices.append[notices.appends++] = *notice;
	else
		notices.append_lost = true;
}

static uint64
hash_text(Datum datum)
{
	text	   *value = DatumGetTextPP(datum);

	return KeyHash(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* Events were appended to this aggregate. */
void
NoticeAppend(Oid stream, Datum type, Datum key)
{
	AppendNotice notice = {.stream = stream};

	if (deliver == NULL || notices.append_lost)
		return;
	notice.type = hash_text(type);
	notice.key = hash_text(key);
	notice.subxact = GetCurrentSubTransactionId();
	keep_append(&notice);
}

/* Events were appended to this stream, nobody knows whose. */
void
NoticeAppendAny(Oid stream)
{
	AppendNotice notice = {.stream = stream,.any = true};

	if (deliver == NULL || notices.append_lost)
		return;
	notice.subxact = GetCurrentSubTransactionId();
	keep_append(&notice);
}

/* A batch of this projection has gone on. */
void
NoticeProgress(const char *projection, int64 events, int64 numbers,
			   int64 last_number)
{
	SubTransactionId subxact = GetCurrentSubTransactionId();
	ProgressNotice *notice;

	if (deliver == NULL)
		return;
	for (int i = 0; i < notices.progresses; i++)
	{
		notice = &notices.progress[i];
		if (notice->subxact == subxact &&
			strcmp(notice->projection, projection) == 0)
		{
			notice->events += events;
			notice->numbers += numbers;
			notice->last_number = Max(notice->last_number, last_number);
			return;
		}
	}
	if (notices.progresses == PROGRESS_NOTICES)
	{
		notices.progress_lost = true;
		return;
	}
	notice = &notices.progress[notices.progresses++];
	strlcpy(notice->projection, projection, NAMEDATALEN);
	notice->events = events;
	notice->numbers = numbers;
	notice->last_number = last_number;
	notice->subxact = subxact;
}

/* What is to run, and by how many workers, has changed. */
void
NoticeDesired(void)
{
	if (deliver != NULL)
		notices.desired = true;
}

/*
 * A key has become a dead letter: tell listeners at commit, with this payload
 * of less than 8,000 bytes.  A prepared transaction tells nobody.
 */
void
NoticeDeadLetter(const char *payload)
{
	MemoryContext old;
	DeadLetter *letter;

	register_callbacks();
	old = MemoryContextSwitchTo(TopTransactionContext);
	letter = palloc(sizeof(DeadLetter));
	letter->payload = pstrdup(payload);
	letter->subxact = GetCurrentSubTransactionId();
	dead_letters = lappend(dead_letters, letter);
	MemoryContextSwitchTo(old);
}
