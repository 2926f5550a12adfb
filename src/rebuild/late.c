/*
 * late.c
 *		Events that came below a position: nobody has applied them.
 *
 * A number that the sequence has given, and that nobody may write any more, is
 * dead; positions go past it.  Somebody may write it all the same (COPY, or
 * INSERT with OVERRIDING SYSTEM VALUE), and such an event is never applied.
 *
 * An event may be late if one with a higher number is of an older transaction.
 * Writers that overlap leave the same traces: so it is said to be late only if
 * the key's row is as the events say without it.
 */
#include "postgres.h"

#include "compat.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "fault.h"
#include "keyhash.h"
#include "rebuild/late.h"
#include "rebuild/refold_state.h"

/* An event of a key that differs, which no older transaction's has followed. */
typedef struct Candidate
{
	LateEvent	event;
	TransactionId writer;
} Candidate;

/* A look through the stream. */
typedef struct LateLook
{
	Refold	   *refold;
	const Event *event;			/* at hand */
	TransactionId writer;		/* of it */
	const Applied *start;		/* of the projection */
	int			depth;			/* of the candidates, whose writers become
								 * younger and younger */
	int			room;
	Candidate  *candidates;
	int			count;			/* of events that may be late */
	int			late_room;
	LateEvent  *late;
	bool		too_many;
	char	   *name;			/* of a single event */
} LateLook;

/* Who has written the row; InvalidTransactionId: that is not known any more. */
static TransactionId
writer_of(TupleTableSlot *slot)
{
	TransactionId writer;
	bool		isnull;

	if (!TTS_IS_BUFFERTUPLE(slot) && !TTS_IS_HEAPTUPLE(slot))
		return InvalidTransactionId;
	writer = DatumGetTransactionId(slot_getsysattr(slot,
												   MinTransactionIdAttributeNumber,
												   &isnull));
	return TransactionIdIsNormal(writer) ? writer : InvalidTransactionId;
}

/* Is there room for one more?  Not if that would take too much memory. */
static bool
has_room(LateLook *look, int *room, int count, void **array, Size size)
{
	if (count < *room)
		return true;
	if ((Size) *room * 2 * size > Min(RefoldShare(), MaxAllocSize))
	{
		look->too_many = true;
		return false;
	}
	*room = Max(*room * 2, 64);
	*array = *array == NULL ? palloc(*room * size) :
		repalloc(*array, *room * size);
	return true;
}

/* The event at hand is of an older transaction than these candidates. */
static void
pass_candidates(LateLook *look)
{
	while (look->depth > 0 &&
		   TransactionIdPrecedes(look->writer,
								 look->candidates[look->depth - 1].writer) &&
		   has_room(look, &look->late_room, look->count, (void **) &look->late,
					sizeof(LateEvent)))
		look->late[look->count++] = look->candidates[--look->depth].event;
}

/*
 * Has the refold folded the event, of any key?  The others, above the positions
 * or before the projection's start, cannot be late, and their keys may be such
 * that cannot be computed.
 */
static bool
is_folded(const LateLook *look)
{
	const Refold *refold = look->refold;

	for (int i = 0; i < look->start->groups; i++)
	{
		if (AppliedGroupHas(refold->reached[i], i, look->event->no) &&
			!AppliedGroupHas(look->start, i, look->event->no))
			return true;
	}
	return false;
}

/* The event is of this key. */
static void
take_key(LateLook *look, uint64 partition, const char *image, int length,
		 uint32 hash)
{
	Refold	   *refold = look->refold;
	ShadowEntry *entry;
	Candidate  *candidate;
	int			group = GroupOf((int) (partition % refold->projection->partitions),
								GroupsOf(refold->projection->partitions));
	const Applied *applied = refold->reached[group];

	if (hash < refold->first || hash > refold->last)
		return;
	entry = ShadowFind(refold->shadow, image, length, hash);
	if (entry == NULL ||
		!AppliedGroupHas(applied, group, look->event->no) ||
		!AppliedKeyHas(applied, image, length, hash, look->event->no) ||
		!has_room(look, &look->room, look->depth, (void **) &look->candidates,
				  sizeof(Candidate)))
		return;
	candidate = &look->candidates[look->depth++];
	candidate->writer = look->writer;
	candidate->event.no = look->event->no;
	candidate->event.entry = entry;
}

/* MergeItemReceiver */
static void
take_item(void *arg, const MergeItem *item)
{
	LateLook   *look = arg;
	KeyType    *type = look->refold->sink.key;
	KeyHashes	hashes;
	char	   *image;
	Size		length;

	if (!item->has_key)
		return;
	hashes = KeyHashesOf(type, item->key);
	length = KeyImageSize(type, item->key);
	image = palloc(length);
	KeyImageStore(type, item->key, image);
	take_key(look, hashes.partition, image, (int) length, hashes.place >> 32);
	pfree(image);
}

static void
take_items(LateLook *look)
{
	MergeRun   *run = look->refold->sink.run;
	ErrorData  *error;

	if (!look->refold->guarded)
	{
		MergeRunItems(run, look->event->slot, take_item, look);
		return;
	}
	error = MergeRunItemsApart(run, look->event->slot, take_item, look);
	if (error != NULL && !ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
}

/* The event as a row of the created shape. */
static void
take_native(LateLook *look)
{
	TupleTableSlot *slot = look->event->slot;
	bool		isnull;
	text	   *type = DatumGetTextPP(slot_getattr(slot, STREAM_AGGREGATE_TYPE,
												   &isnull));
	text	   *key;
	uint64		hash;

	if (VARSIZE_ANY_EXHDR(type) != look->refold->type_length ||
		memcmp(VARDATA_ANY(type), look->refold->projection->aggregate_type,
			   look->refold->type_length) != 0)
		return;
	key = DatumGetTextPP(slot_getattr(slot, STREAM_AGGREGATE_ID, &isnull));
	hash = KeyHash(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	take_key(look, hash, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), hash >> 32);
}

/* EventReceiver */
static bool
look_at_event(void *state, const Event *event)
{
	LateLook   *look = state;

	CHECK_FOR_INTERRUPTS();
	look->event = event;
	look->writer = writer_of(event->slot);
	if (!TransactionIdIsValid(look->writer))
		return true;
	pass_candidates(look);
	if (!is_folded(look))
		return !look->too_many;
	if (look->refold->sink.run != NULL)
		take_items(look);
	else
		take_native(look);
	return !look->too_many;
}

static int
compare_events(const void *a, const void *b)
{
	int64		left = ((const LateEvent *) a)->no;
	int64		right = ((const LateEvent *) b)->no;

	return left < right ? -1 : left > right ? 1 : 0;
}

/* All events that may be late, in order of their numbers. */
static LateEvents
look_through(Refold *refold, Snapshot snapshot)
{
	Stream	   *stream = refold->work->stream;
	LateLook	look = {.refold = refold,
	.start = AppliedAtStart(refold->projection)};
	LateEvents	late = {0};
	bool		rows = stream->rows;

	stream->rows = true;
	/* what comes above all heads may be of an older transaction as well */
	(void) ReadEvents(stream, snapshot, 1, PG_INT64_MAX, look_at_event, &look);
	stream->rows = rows;
	if (refold->sink.run != NULL)
		MergeRunItemsEnd(refold->sink.run);
	if (look.too_many || look.count == 0)
		return late;
	qsort(look.late, look.count, sizeof(LateEvent), compare_events);
	late.count = look.count;
	late.events = look.late;
	return late;
}

/* The same keys once more, without these events. */
static Refold *
fold_without(Refold *refold, const LateEvents *late, Snapshot snapshot)
{
	Refold	   *without = RefoldBegin(refold->work, 0, PG_UINT64_MAX);
	NumberSet	numbers = {0};
	ShadowCursor cursor = {0};
	ShadowEntry *entry;

	for (int i = 0; i < late->count; i++)
	{
		if (i == 0 || late->events[i].no > late->events[i - 1].no)
			NumberSetAppend(&numbers, late->events[i].no, late->events[i].no);
	}
	while ((entry = ShadowNext(refold->shadow, &cursor)) != NULL)
		(void) ShadowMake(without->shadow, entry->key, entry->length,
						  entry->hash);
	without->compared = true;
	without->leave_out = &numbers;
	RefoldAdvance(without, snapshot, -1);
	without->leave_out = NULL;
	(void) RefoldCompare(without, snapshot, false, NULL, NULL);
	return without;
}

/*
 * Which events of the keys of a refold that has been compared are late?  In the
 * current memory context; late.without is to be ended.
 */
LateEvents
LateFind(Refold *refold, Snapshot snapshot)
{
	LateEvents	late = look_through(refold, snapshot);

	if (late.count > 0)
		late.without = fold_without(refold, &late, snapshot);
	return late;
}

/* EventReceiver: the event's type */
static bool
take_name(void *state, const Event *event)
{
	LateLook   *look = state;
	MergeRun   *run = look->refold->sink.run;
	bool		isnull;

	look->name = run != NULL ? MergeEventType(run, event->slot) :
		TextDatumGetCString(slot_getattr(event->slot, STREAM_EVENT_NAME, &isnull));
	return false;
}

/* The type of an event of this number; NULL: it has none. */
char *
LateName(Refold *refold, Snapshot snapshot, int64 no)
{
	Stream	   *stream = refold->work->stream;
	LateLook	look = {.refold = refold};
	bool		rows = stream->rows;

	stream->rows = true;
	(void) ReadEvents(stream, snapshot, no, no, take_name, &look);
	stream->rows = rows;
	return look.name;
}

/* Has the table the row that the key's events make without late ones? */
bool
LateExplains(const LateEvents *late, Refold *refold, const char *key)
{
	char	   *image;
	int			length;
	uint32		hash;

	if (late->without == NULL || key == NULL)
		return false;
	image = KeyFromText(refold->sink.key, key, &length);
	hash = RefoldHash(refold, image, length);
	return ShadowFind(refold->shadow, image, length, hash) != NULL &&
		ShadowFind(late->without->shadow, image, length, hash) == NULL;
}
