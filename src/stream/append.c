/*
 * append.c
 *		Events in: the one way by which this extension writes to a stream.
 *
 * In this order, which the exactness of positions rests on:
 *
 *	1. the stream's table is locked (StreamOpen with RowExclusiveLock), until
 *	   the transaction ends;
 *	2. the aggregate is locked, and its newest event read.  If that is another
 *	   transaction's that is still running, the lock is given back, its end
 *	   waited for, and this step begun again;
 *	3. with the version known, numbers are drawn and the events inserted;
 *	4. the aggregate's lock is given back: from here on our own events in the
 *	   index make the next one wait.
 *
 * So appends to one aggregate follow each other, and a transaction holds no
 * more locks for a million aggregates than for one.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "keylock.h"
#include "notice.h"
#include "rowwriter.h"
#include "stream/append.h"
#include "stream/event_id.h"

SQL_FUNCTION(stream_append);

static uint64
aggregate_hash(const Stream *stream, const AggregateKey *key)
{
	text	   *type = DatumGetTextPP(key->type);
	text	   *id = DatumGetTextPP(key->id);
	uint64		hash;

	hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(type),
							   VARSIZE_ANY_EXHDR(type),
							   RelationGetRelid(stream->relation));
	return hash_bytes_extended((unsigned char *) VARDATA_ANY(id),
							   VARSIZE_ANY_EXHDR(id), hash);
}

/* Make appends to this aggregate wait for each other, until AppendUnlock(). */
void
AppendLock(const Stream *stream, const AggregateKey *key)
{
	KeyLockHash(KEYLOCK_AGGREGATE, aggregate_hash(stream, key), ExclusiveLock);
}

void
AppendUnlock(const Stream *stream, const AggregateKey *key)
{
	KeyUnlockHash(KEYLOCK_AGGREGATE, aggregate_hash(stream, key),
				  ExclusiveLock);
}

/*
 * An event that others build on is a running transaction's: wait until that
 * has ended.  The caller has given back the locks of the append.
 */
void
AppendWait(TransactionId writer)
{
	CHECK_FOR_INTERRUPTS();
	XactLockTableWait(writer, NULL, NULL, XLTW_None);
}

/*
 * An error, for the caller to try again, unless the versions are the same or
 * the caller expects none (-1).
 */
void
AppendCheckVersion(const char *type, const char *id, int64 current,
				   int64 expected)
{
	if (expected >= 0 && current != expected)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("%s \"%s\" is at version %lld, not at the expected version %lld",
						type, id, (long long) current, (long long) expected),
				 errhint("Read the aggregate again, decide again, and retry.")));
}

/*
 * An error if the text is longer than its column allows: the user may have
 * narrowed it.
 */
static void
check_length(const Stream *stream, StreamColumn column, Datum value)
{
	Form_pg_attribute attribute =
		TupleDescAttr(RelationGetDescr(stream->relation), column - 1);
	int			limit = attribute->atttypmod - VARHDRSZ;
	text	   *string = DatumGetTextPP(value);
	int			bytes = VARSIZE_ANY_EXHDR(string);

	if (attribute->atttypmod == -1 || bytes <= limit ||
		pg_mbstrlen_with_len(VARDATA_ANY(string), bytes) <= limit)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
			 errmsg("value too long for column \"%s\" of stream \"%s\"",
					NameStr(attribute->attname), stream->name),
			 errdetail("It may have up to %d characters.", limit)));
}

/* When the events are made, as precise as the column is. */
static TimestampTz
creation_time(const Stream *stream)
{
	TimestampTz now = GetCurrentTimestamp();
	int32		typmod = TupleDescAttr(RelationGetDescr(stream->relation),
									   STREAM_CREATED_AT - 1)->atttypmod;

	if (typmod < 0)
		return now;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_scale,
												   TimestampTzGetDatum(now),
												   Int32GetDatum(typmod)));
}

/*
 * An error: the number of an aggregate's new event would be below that of its
 * newest one, and events are applied in the order of their numbers.  So it is
 * after a failover to a subscriber of logical replication: rows arrive there,
 * the sequence stands still.
 */
static void
refuse_old_number(const Stream *stream, int64 last_no)
{
	int64		highest = StreamNumberAbove(stream->relation, &stream->parts);
	NumberTrouble trouble = StreamDescribeNumber(stream->name,
												 stream->parts.sequence,
												 Max(highest, last_no));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_internal("%s", trouble.message),
			 errdetail_internal("%s", trouble.detail),
			 errhint("%s", trouble.hint)));
}

/* The number of a new event of an aggregate whose newest one has this number. */
static int64
draw_number(const Stream *stream, int64 last_no)
{
	int64		number = nextval_internal(stream->parts.sequence, false);

	if (unlikely(number < 1 || number > STREAM_NUMBER_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
				 errmsg("an event of stream \"%s\" cannot have the number %lld",
						stream->name, (long long) number),
				 errdetail("Its sequence must give numbers from 1 to %lld.",
						   (long long) STREAM_NUMBER_MAX)));
	if (unlikely(number <= last_no))
		refuse_old_number(stream, last_no);
	return number;
}

/* An error if the aggregate has no room for so many more versions. */
static void
check_room(const AggregateKey *key, int64 version, int count)
{
	if (unlikely(version > PG_INT64_MAX - count))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the versions of %s \"%s\" are at their end",
						TextDatumGetCString(key->type),
						TextDatumGetCString(key->id)),
				 errdetail("It is at version %lld; the last one that there can be is %lld.",
						   (long long) version, (long long) PG_INT64_MAX),
				 errhint("If that version is a mistake, correct it.")));
}

/* Fill the slot with one event. */
static void
fill_slot(TupleTableSlot *slot, const AggregateKey *key, int64 no,
		  int64 version, const NewEvent *event, TimestampTz now)
{
	static Jsonb *empty_object = NULL;
	Datum		values[STREAM_COLUMNS];

	if (event->metadata == NULL && empty_object == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		empty_object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														  CStringGetDatum("{}")));
		MemoryContextSwitchTo(old);
	}
	values[STREAM_NO - 1] = Int64GetDatum(no);
	values[STREAM_EVENT_ID - 1] = UUIDPGetDatum(&event->event_id);
	values[STREAM_EVENT_NAME - 1] = CStringGetTextDatum(event->name);
	values[STREAM_AGGREGATE_TYPE - 1] = key->type;
	values[STREAM_AGGREGATE_ID - 1] = key->id;
	values[STREAM_AGGREGATE_VERSION - 1] = Int64GetDatum(version);
	values[STREAM_PAYLOAD - 1] = JsonbPGetDatum(event->payload);
	values[STREAM_METADATA - 1] = JsonbPGetDatum(event->metadata ?
												 event->metadata : empty_object);
	values[STREAM_CREATED_AT - 1] = TimestampTzGetDatum(now);
	memcpy(slot->tts_values, values, sizeof(values));
	memset(slot->tts_isnull, false, STREAM_COLUMNS * sizeof(bool));
}

/*
 * Append events to an aggregate that is locked and at this version, its newest
 * event with this number (0: there is none); returns its new version.  The stream is open with RowExclusiveLock, and the caller
 * has checked the rights.
 */
int64
AppendEvents(Stream *stream, const AggregateKey *key, int64 version,
			 int64 last_no, const NewEvent *events, int count)
{
	bool		owned[MaxHeapAttributeNumber] = {0};
	RowWriter  *writer;
	TimestampTz now = creation_time(stream);

	check_length(stream, STREAM_AGGREGATE_TYPE, key->type);
	check_length(stream, STREAM_AGGREGATE_ID, key->id);
	check_room(key, version, count);
	memset(owned, true, STREAM_COLUMNS * sizeof(bool));
	writer = RowWriterBegin(stream->relation, owned, NULL, InvalidSnapshot);
	for (int i = 0; i < count; i++)
	{
		TupleTableSlot *slot = RowWriterSlot(writer, NULL, true);

		fill_slot(slot, key, draw_number(stream, last_no), ++version,
				  &events[i], now);
		check_length(stream, STREAM_EVENT_NAME,
					 slot->tts_values[STREAM_EVENT_NAME - 1]);
		RowWriterInsert(writer, slot, NULL);
	}
	RowWriterEnd(writer);
	NoticeAppend(RelationGetRelid(stream->relation), key->type, key->id);
	return version;
}

static void
refuse_known_id(const NewEvent *event, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("event id %s exists already",
					DatumGetCString(DirectFunctionCall1(uuid_out,
														UUIDPGetDatum(&event->event_id)))),
			 errdetail_internal("%s", detail),
			 errhint("A call that is repeated must repeat all its events; a new event needs a new id.")));
}

/*
 * Look for an event by its id.  Returns the version that it has in this
 * aggregate, 0 if the id is new; an error if it is another event's.
 */
static int64
find_event(const Stream *stream, const AggregateKey *key,
		   const NewEvent *event, Snapshot snapshot)
{
	TupleTableSlot *slot = EventById(stream, &event->event_id, snapshot);
	const Datum *values;
	int64		version;

	if (slot == NULL)
		return 0;
	values = slot->tts_values;
	if (!AggregateKeyIsOf(key, values))
		refuse_known_id(event, "It belongs to an event of another aggregate.");
	if (strcmp(TextDatumGetCString(values[STREAM_EVENT_NAME - 1]), event->name) != 0 ||
		!DatumGetBool(DirectFunctionCall2(jsonb_eq, values[STREAM_PAYLOAD - 1],
										  JsonbPGetDatum(event->payload))))
		refuse_known_id(event, "It belongs to an event with another name or payload.");
	version = DatumGetInt64(values[STREAM_AGGREGATE_VERSION - 1]);
	ExecDropSingleTupleTableSlot(slot);
	return version;
}

/*
 * Has this very call been made before?  Returns the version of its last
 * event then, 0 if none of its events is known; an error for a mixture.
 */
static int64
find_repeated(const Stream *stream, const AggregateKey *key,
			  const NewEvent *events, int count)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	const NewEvent *known_event = NULL;
	int			known = 0;
	int64		last = 0;

	for (int i = 0; i < count; i++)
	{
		int64		version = find_event(stream, key, &events[i], snapshot);

		if (version == 0)
			continue;
		known_event = &events[i];
		last = version;
		known++;
	}
	UnregisterSnapshot(snapshot);
	if (known != 0 && known != count)
		refuse_known_id(known_event, "Other events of the same call are new.");
	return last;
}

/*
 * Lock the aggregate and read its version, and the number of its newest event,
 * waiting for whom it must.
 */
static int64
lock_version(const Stream *stream, const AggregateKey *key, int64 *last_no)
{
	for (;;)
	{
		TransactionId writer;
		int64		version;

		AppendLock(stream, key);
		version = AggregateVersion(stream, key, last_no, &writer);
		if (!TransactionIdIsValid(writer))
			return version;
		AppendUnlock(stream, key);
		AppendWait(writer);
	}
}

/* stream_append(stream, aggregate_type, aggregate_id, events, expected_version) */
Datum
stream_append(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "stream");
	char	   *type = ArgumentText(fcinfo, 1, "aggregate_type",
									IDENTIFIER_LENGTH);
	char	   *id = ArgumentText(fcinfo, 2, "aggregate_id",
								  IDENTIFIER_LENGTH);
	int			count;
	int			with_id;
	NewEvent   *events;
	Stream	   *stream;
	AggregateKey key;
	int64		current;
	int64		last_no;
	int64		expected;
	int64		version = 0;

	ArgumentNotNull(fcinfo, 3, "events");
	events = NewEventsFromJson(PG_GETARG_JSONB_P(3), &count, &with_id);
	expected = ArgumentVersion(fcinfo, 4, "expected_version");

	PreventCommandIfReadOnly("stream_append()");
	stream = StreamOpen(name, RowExclusiveLock, false);
	StreamCheckCreated(stream, "stream_append",
					   "Write to the table with INSERT.");
	StreamCheckRights(stream, GetUserId(), ACL_INSERT);
	key = AggregateKeyMake(type, id);
	current = lock_version(stream, &key, &last_no);
	if (with_id > 0)
		version = find_repeated(stream, &key, events, count);
	if (version == 0)
	{
		AppendCheckVersion(type, id, current, expected);
		version = AppendEvents(stream, &key, current, last_no, events, count);
	}
	AppendUnlock(stream, &key);
	StreamRelease(stream);
	PG_RETURN_INT64(version);
}
