/*
 * append.c
 *		Events in: the one way by which this extension writes to a stream.
 *
 * In this order, which the exactness of positions rests on:
 *
 *	1. the stream's table is locked (StreamOpen with RowExclusiveLock);
 *	2. the aggregate is locked, so that appends to it follow each other;
 *	3. a snapshot is taken and the aggregate's version read;
 *	4. numbers are drawn, and the events inserted.
 *
 * The locks are held until the transaction ends, through PREPARE as well.
 */
#include "postgres.h"

#include <uuid/uuid.h>

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "keylock.h"
#include "rowwriter.h"
#include "stream/append.h"

SQL_FUNCTION(stream_append);

/*
 * A new UUID of version 7 (RFC 9562): 48 bits of Unix time in milliseconds,
 * then random bits of libuuid, but for the version and the variant.  Ids of
 * one process ascend also within a millisecond: the 12 bits after the version
 * hold the fraction of it.
 */
void
NewEventId(pg_uuid_t *id)
{
	static int64 last = 0;
	int64		now = GetCurrentTimestamp() +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64		ticks;			/* of a 4096th of a millisecond */
	int64		milliseconds;
	int			fraction;

	/* a tick is about a quarter of a microsecond */
	ticks = now / 1000 * 4096 + now % 1000 * 4096 / 1000;
	if (ticks <= last)
		ticks = last + 1;
	last = ticks;
	milliseconds = ticks / 4096;
	fraction = (int) (ticks % 4096);

	uuid_generate_random(id->data);
	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (milliseconds >> (40 - 8 * i));
	id->data[6] = (unsigned char) (0x70 | (fraction >> 8));
	id->data[7] = (unsigned char) fraction;
	id->data[8] = (id->data[8] & 0x3F) | 0x80;
}

/* Make appends to this aggregate wait for each other. */
void
AppendLock(const Stream *stream, const char *type, const char *id)
{
	uint64		hash;

	hash = hash_bytes_extended((const unsigned char *) type, strlen(type),
							   RelationGetRelid(stream->relation));
	hash = hash_bytes_extended((const unsigned char *) id, strlen(id), hash);
	KeyLockHash(KEYLOCK_AGGREGATE, hash, ExclusiveLock);
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
 * Append events to an aggregate that is locked and at this version; returns
 * its new version.  The stream is open with RowExclusiveLock, and the caller
 * has checked the rights.
 */
int64
AppendEvents(Stream *stream, const AggregateKey *key, int64 version,
			 const NewEvent *events, int count)
{
	bool		owned[MaxHeapAttributeNumber] = {0};
	RowWriter  *writer;
	TimestampTz now = GetCurrentTimestamp();

	memset(owned, true, STREAM_COLUMNS * sizeof(bool));
	writer = RowWriterBegin(stream->relation, owned, InvalidSnapshot);
	for (int i = 0; i < count; i++)
	{
		TupleTableSlot *slot = RowWriterSlot(writer);

		fill_slot(slot, key, nextval_internal(stream->sequence, false),
				  ++version, &events[i], now);
		RowWriterInsert(writer, slot, NULL);
	}
	RowWriterEnd(writer);
	return version;
}

static void
refuse_event(int number, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("event %d of argument \"events\" is not valid", number),
			 errdetail_internal("%s", detail),
			 errhint("An event is {\"event_name\": text, \"payload\": object, \"metadata\": object, \"event_id\": uuid}; the last two may be left out.")));
}

/* A JSON object as a value of its own. */
static Jsonb *
object_value(JsonbValue *value, const char *key, int number)
{
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		refuse_event(number, psprintf("\"%s\" is not an object.", key));
	return JsonbValueToJsonb(value);
}

/* A JSON string as a zero-terminated one. */
static char *
string_value(JsonbValue *value, const char *key, int number)
{
	if (value->type != jbvString)
		refuse_event(number, psprintf("\"%s\" is not a string.", key));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static char *
event_name_value(JsonbValue *value, int number)
{
	char	   *name = string_value(value, "event_name", number);

	if (*name == '\0')
		refuse_event(number, "\"event_name\" is empty.");
	if (pg_mbstrlen(name) > EVENT_NAME_LENGTH)
		refuse_event(number, psprintf("\"event_name\" has more than %d characters.",
									  EVENT_NAME_LENGTH));
	return name;
}

static void
event_id_value(JsonbValue *value, int number, pg_uuid_t *id)
{
	if (uuid_parse(string_value(value, "event_id", number), id->data) != 0)
		refuse_event(number, "\"event_id\" is not a UUID.");
}

/* Take one event out of its JSON; says whether it came with an id. */
static bool
parse_event(JsonbContainer *object, int number, NewEvent *event)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;
	bool		has_id = false;

	memset(event, 0, sizeof(NewEvent));
	(void) JsonbIteratorNext(&iterator, &key, true);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (strcmp(name, "event_name") == 0)
			event->name = event_name_value(&value, number);
		else if (strcmp(name, "payload") == 0)
			event->payload = object_value(&value, name, number);
		else if (strcmp(name, "metadata") == 0)
			event->metadata = object_value(&value, name, number);
		else if (strcmp(name, "event_id") == 0)
		{
			event_id_value(&value, number, &event->event_id);
			has_id = true;
		}
		else
			refuse_event(number, psprintf("The key \"%s\" is not known.", name));
	}
	if (event->name == NULL)
		refuse_event(number, "\"event_name\" is missing.");
	if (event->payload == NULL)
		refuse_event(number, "\"payload\" is missing.");
	if (!has_id)
		NewEventId(&event->event_id);
	return has_id;
}

/* All events of the argument; *with_id counts those that came with an id. */
static NewEvent *
parse_events(Jsonb *json, int *count, int *with_id)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	NewEvent   *events;
	int			number = 0;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json) ||
		JB_ROOT_COUNT(json) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"events\" must be a JSON array of at least one event")));
	events = palloc_array(NewEvent, JB_ROOT_COUNT(json));
	*with_id = 0;
	iterator = JsonbIteratorInit(&json->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_ELEM)
	{
		if (value.type != jbvBinary ||
			!JsonContainerIsObject(value.val.binary.data))
			refuse_event(number + 1, "It is not an object.");
		if (parse_event(value.val.binary.data, number + 1, &events[number]))
			(*with_id)++;
		number++;
	}
	*count = number;
	return events;
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
	Relation	index = index_open(stream->event_index, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(stream->relation, NULL);
	IndexScanDesc scan = compat_index_beginscan(stream->relation, index,
												snapshot, 1);
	ScanKeyData scankey;
	int64		version = 0;

	ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&event->event_id));
	index_rescan(scan, &scankey, 1, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		Datum	   *values = slot->tts_values;

		slot_getallattrs(slot);
		if (!DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, values[STREAM_AGGREGATE_TYPE - 1], key->type)) ||
			!DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, values[STREAM_AGGREGATE_ID - 1], key->id)))
			refuse_known_id(event, "It belongs to an event of another aggregate.");
		if (strcmp(TextDatumGetCString(values[STREAM_EVENT_NAME - 1]), event->name) != 0 ||
			!DatumGetBool(DirectFunctionCall2(jsonb_eq, values[STREAM_PAYLOAD - 1],
											  JsonbPGetDatum(event->payload))))
			refuse_known_id(event, "It belongs to an event with another name or payload.");
		version = DatumGetInt64(values[STREAM_AGGREGATE_VERSION - 1]);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return version;
}

/*
 * Has this very call been made before?  Returns the version of its last
 * event then, 0 if none of its events is known; an error for a mixture.
 */
static int64
find_repeated(const Stream *stream, const AggregateKey *key,
			  const NewEvent *events, int count, Snapshot snapshot)
{
	int			known = 0;
	int64		version = 0;

	for (int i = 0; i < count; i++)
	{
		version = find_event(stream, key, &events[i], snapshot);
		if (version != 0)
			known++;
		if (known != 0 && known != i + 1)
			refuse_known_id(&events[i], "Other events of the same call are new.");
	}
	return version;
}

/* Two events of one call must not have the same id. */
static int
compare_ids(const void *a, const void *b)
{
	return memcmp(((const NewEvent *) a)->event_id.data,
				  ((const NewEvent *) b)->event_id.data, UUID_LEN);
}

static void
check_ids_differ(const NewEvent *events, int count)
{
	NewEvent   *sorted = palloc_array(NewEvent, count);

	memcpy(sorted, events, count * sizeof(NewEvent));
	qsort(sorted, count, sizeof(NewEvent), compare_ids);
	for (int i = 1; i < count; i++)
	{
		if (compare_ids(&sorted[i - 1], &sorted[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("event id %s stands twice in argument \"events\"",
							DatumGetCString(DirectFunctionCall1(uuid_out,
																UUIDPGetDatum(&sorted[i].event_id))))));
	}
	pfree(sorted);
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
	Snapshot	snapshot;
	int64		expected;
	int64		version = 0;

	ArgumentNotNull(fcinfo, 3, "events");
	events = parse_events(PG_GETARG_JSONB_P(3), &count, &with_id);
	if (with_id > 0)
		check_ids_differ(events, count);
	expected = ArgumentVersion(fcinfo, 4, "expected_version");

	PreventCommandIfReadOnly("stream_append()");
	stream = StreamOpen(name, RowExclusiveLock, false);
	StreamCheckRights(stream, GetUserId(), ACL_INSERT);
	AppendLock(stream, type, id);
	key = AggregateKeyMake(type, id);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (with_id > 0)
		version = find_repeated(stream, &key, events, count, snapshot);
	if (version == 0)
	{
		version = AggregateVersion(stream, &key, snapshot);
		AppendCheckVersion(type, id, version, expected);
		version = AppendEvents(stream, &key, version, events, count);
	}
	UnregisterSnapshot(snapshot);
	StreamClose(stream);
	PG_RETURN_INT64(version);
}
