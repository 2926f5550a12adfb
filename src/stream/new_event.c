/*
 * new_event.c
 *		Events that are to be appended: their ids, and their JSON form.
 *
 *		{"event_name": text, "payload": object,
 *		 "metadata": object, "event_id": uuid}
 *
 * The last two may be left out.
 */
#include "postgres.h"

#include <uuid/uuid.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "stream/new_event.h"

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

/* An event's metadata: what only this extension may write is not in it. */
static Jsonb *
metadata_value(JsonbValue *value, int number)
{
	Jsonb	   *metadata = object_value(value, "metadata", number);
	JsonbValue	found;

	if (getKeyJsonValueFromContainer(&metadata->root, RESERVED_METADATA_KEY,
									 strlen(RESERVED_METADATA_KEY),
									 &found) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event %d of argument \"events\" is not valid", number),
				 errdetail("The key \"%s\" of \"metadata\" is reserved.",
						   RESERVED_METADATA_KEY),
				 errhint("Leave it out: a wallet's commands write it by themselves.")));
	return metadata;
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
		if (value.type == jbvNull &&
			(strcmp(name, "metadata") == 0 || strcmp(name, "event_id") == 0))
			continue;			/* as if left out */
		if (strcmp(name, "event_name") == 0)
			event->name = event_name_value(&value, number);
		else if (strcmp(name, "payload") == 0)
			event->payload = object_value(&value, name, number);
		else if (strcmp(name, "metadata") == 0)
			event->metadata = metadata_value(&value, number);
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

/*
 * The events of a JSON array; *with_id counts those that came with an id.  An
 * error says which event is wrong, and how.
 */
NewEvent *
NewEventsFromJson(Jsonb *json, int *count, int *with_id)
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
	if (*with_id > 0)
		check_ids_differ(events, number);
	return events;
}
