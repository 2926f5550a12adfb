/*
 * notice.c
 *		What a transaction has done that workers want to know.
 *
 * Notices are kept in static arrays, as nothing may be allocated after a
 * commit.  What does not fit is summed up: more was appended, more was done.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/builtins.h"

#include "keyhash.h"
#include "notice.h"

static NoticeDelivery deliver = NULL;
static Notices notices;

static void
forget_all(void)
{
	notices.appends = 0;
	notices.append_lost = false;
	notices.progresses = 0;
	notices.progress_lost = false;
	notices.wishes = false;
}

static void
at_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (notices.appends > 0 || notices.progresses > 0 ||
				notices.append_lost || notices.progress_lost ||
				notices.wishes)
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

	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
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

/* From now on, in this process and its children, pass notices on. */
void
NoticesDeliverTo(NoticeDelivery delivery)
{
	deliver = delivery;
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_subxact_end, NULL);
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
NoticeProgress(const char *projection, int64 events, int64 numbers)
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
	notice->subxact = subxact;
}

/* What is to run, and by how many workers, has changed. */
void
NoticeWishes(void)
{
	if (deliver != NULL)
		notices.wishes = true;
}
