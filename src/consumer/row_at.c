/*
 * row_at.c
 *		What a row was: projection_row_at.
 *
 * The row is made of the key's events alone, by the definition of now.  What
 * has been applied, and what stands in the read model, makes no difference; but
 * events that the projection is never to apply are left out.
 *
 * A number ends the events where it says.  A time ends them before the first
 * one of the key that is younger: events of a key are applied in order of their
 * numbers, so that is a row that there was.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "handler/try.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "batch/opened.h"
#include "parking/skip.h"
#include "rebuild/keyrow.h"
#include "stream/at_time.h"

SQL_FUNCTION(projection_row_at);
SQL_FUNCTION(projection_row_at_time);

/* so many numbers are looked through without a word */
#define LOOKS_TOLD 10000

/* columns of attached tables that say when an event was made */
static const char *const time_names[] = {
	"created_at", "occurred_at", "recorded_at", "inserted_at", "event_time"
};

/* Which events are wanted. */
typedef struct RowAt
{
	OpenProjection work;
	const char *key;
	int64		last;			/* number */
	bool		by_time;
	TimestampTz time;
	AttrNumber	column;			/* of the stream, that says when; or 0 */
	NumberSet	skipped;
	int64		looked;
} RowAt;

/* KeyRowChooser */
static KeyRowChoice
choose(void *arg, const Event *event)
{
	RowAt	   *at = arg;
	const Declared *declared = at->work.projection->declared;
	bool		isnull = true;
	Datum		time = 0;

	if (at->column != 0)
		time = slot_getattr(event->slot, at->column, &isnull);
	if (!isnull && DatumGetTimestampTz(time) > at->time)
		return KEYROW_END;
	if (NumberSetContains(&at->skipped, event->no) ||
		(declared != NULL && PositionApplied(&declared->start, event->no)))
		return KEYROW_LEAVE;
	return KEYROW_TAKE;
}

/* The column of an attached table that says when an event was made. */
static AttrNumber
find_time_column(const Stream *stream)
{
	Oid			relid = RelationGetRelid(stream->relation);

	for (int i = 0; i < lengthof(time_names); i++)
	{
		AttrNumber	column = get_attnum(relid, time_names[i]);

		if (column > 0 && get_atttype(relid, column) == TIMESTAMPTZOID)
			return column;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("nothing says when an event of stream \"%s\" was made",
					stream->name),
			 errdetail("Its table has no column created_at, occurred_at, recorded_at, inserted_at or event_time of type timestamp with time zone."),
			 errhint("Give the number of the last event instead of a time.")));
}

/* Where the events end. */
static void
find_end(RowAt *at)
{
	if (!at->by_time)
		return;
	at->last = PG_INT64_MAX;
	if (at->work.sink.handler != NULL)
		at->last = StreamLastBefore(at->work.stream,
									at->work.projection->aggregate_type,
									at->key, at->time);
	else
		at->column = at->work.stream->parts.created ? STREAM_CREATED_AT :
			find_time_column(at->work.stream);
}

/* What the caller should know of the answer. */
static void
tell(const RowAt *at, const char *index)
{
	const Projection *projection = at->work.projection;

	if (projection->declared != NULL && projection->declared->start.head > 0)
		ereport(NOTICE,
				(errmsg("projection \"%s\" begins after event " INT64_FORMAT,
						projection->name, projection->declared->start.head),
				 errdetail("What the row held of earlier events is not in the result.")));
	if (at->looked > LOOKS_TOLD && index != NULL)
		ereport(NOTICE,
				(errmsg("no index is on the key of projection \"%s\": " INT64_FORMAT " numbers of its stream were looked through",
						projection->name, at->looked),
				 errhint("To find the events of a key by an index: %s", index)));
}

static void
refuse_statement(const Projection *projection)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" has no rows of keys",
					projection->name),
			 errdetail("Its definition is a statement, which may write any rows."),
			 errhint("Apply the events up to the one wanted to an empty table: see projection_try, with the argument \"stream\".")));
}

/* The numbers of the key's events that are never applied. */
static NumberSet
skipped_of(const RowAt *at)
{
	const char *name = at->work.projection->name;
	KeyType    *type = at->work.sink.key;
	int			length;
	char	   *image = KeyFromText(type, at->key, &length);
	NumberSet	all = SkippedEvents(name);
	NumberSet	keys = SkippedOfKey(name, KeyText(type, image, length));

	return NumberSetUnion(&all, &keys);
}

/* The row as jsonb. */
static Datum
row_as_json(TupleTableSlot *row, Relation read_model)
{
	FmgrInfo	to_json;
	TupleDesc	desc = row->tts_tupleDescriptor;
	Datum		value;

	TryPrepareJson(&to_json, RelationGetDescr(read_model)->tdtypeid);
	value = heap_copy_tuple_as_datum(ExecFetchSlotHeapTuple(row, true, NULL),
									 desc);
	return TryWithoutVirtual(FunctionCall1(&to_json, value),
							 RelationGetDescr(read_model));
}

/* The row that is wanted, as jsonb; false: there was none. */
static bool
make_row(RowAt *at, Datum *json)
{
	OpenProjection *work = &at->work;
	Refold	   *refold;
	TupleTableSlot *row;

	if (work->sink.statement != NULL)
		refuse_statement(work->projection);
	find_end(at);
	at->skipped = skipped_of(at);
	refold = RefoldBegin(work, 0, PG_UINT64_MAX);
	row = KeyRowMake(refold, GetActiveSnapshot(), at->key, at->last, choose, at,
					 &at->looked);
	tell(at, at->looked > 0 ? KeyRowIndex(refold) : NULL);
	if (row != NULL)
		*json = row_as_json(row, work->read_model);
	RefoldEnd(refold);
	return row != NULL;
}

static Datum
row_at(FunctionCallInfo fcinfo, RowAt *at)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");
	bool		exists;
	Datum		json = 0;

	at->key = ArgumentText(fcinfo, 1, "key", PG_INT32_MAX);
	ProjectionCheckOwner(ProjectionFetch(name));
	OpenedOpenToRead(&at->work, name);
	exists = make_row(at, &json);
	OpenedClose(&at->work);
	if (!exists)
		PG_RETURN_NULL();
	return json;
}

/* projection_row_at(name text, key text, at bigint) */
Datum
projection_row_at(PG_FUNCTION_ARGS)
{
	RowAt		at = {0};

	ArgumentNotNull(fcinfo, 2, "at");
	at.last = PG_GETARG_INT64(2);
	return row_at(fcinfo, &at);
}

/* projection_row_at(name text, key text, at timestamptz) */
Datum
projection_row_at_time(PG_FUNCTION_ARGS)
{
	RowAt		at = {.by_time = true};

	ArgumentNotNull(fcinfo, 2, "at");
	at.time = PG_GETARG_TIMESTAMPTZ(2);
	return row_at(fcinfo, &at);
}
