/*
 * create.c
 *		Declared projections begin and end: projection_create, projection_drop.
 *
 * The definition is read as the caller, under the caller's settings, which are
 * written down with it; then once more as the projection's owner, as each batch
 * will.  Nothing but rows of the extension's catalog is written: the read
 * model is the user's own table, and stays when the projection goes.
 */
#include "postgres.h"

#include "compat.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "argument.h"
#include "catalog.h"
#include "consumer/begin.h"
#include "consumer/create_check.h"
#include "consumer/define.h"
#include "definition/desired.h"
#include "definition/ordering.h"
#include "definition/projection.h"
#include "keylock.h"
#include "merge/pinned.h"
#include "notice.h"
#include "parking/park.h"
#include "parking/skip.h"
#include "position/lanes.h"
#include "position/oldgaps.h"
#include "settings.h"
#include "stream/attach.h"
#include "stream/reader.h"

SQL_FUNCTION(projection_create);
SQL_FUNCTION(projection_drop);

enum
{
	ARGUMENT_NAME,
	ARGUMENT_DEFINITION,
	ARGUMENT_STREAM,
	ARGUMENT_KEY,
	ARGUMENT_CHANNEL,
	ARGUMENT_PARTITIONS,
	ARGUMENT_START_AT,
	ARGUMENT_STRICT,
	ARGUMENT_ORDERING,
	ARGUMENT_IF_NOT_EXISTS,
	ARGUMENT_ALLOW_STABLE,
	ARGUMENT_FOR_EACH
};

/* An optional text; NULL: it was not given. */
static char *
optional_text(FunctionCallInfo fcinfo, int number, const char *name)
{
	return PG_ARGISNULL(number) ? NULL :
		ArgumentText(fcinfo, number, name, PG_INT32_MAX);
}

static bool
boolean_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	ArgumentNotNull(fcinfo, number, name);
	return PG_GETARG_BOOL(number);
}

/* One of two words. */
static bool
choice_argument(FunctionCallInfo fcinfo, int number, const char *name,
				const char *no, const char *yes)
{
	char	   *value = ArgumentText(fcinfo, number, name, NAMEDATALEN);

	if (strcmp(value, yes) == 0)
		return true;
	if (strcmp(value, no) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"%s\": \"%s\"", name, value),
				 errhint("It is '%s' or '%s'.", no, yes)));
	return false;
}

static int
partitions_argument(FunctionCallInfo fcinfo)
{
	int			partitions;

	ArgumentNotNull(fcinfo, ARGUMENT_PARTITIONS, "partitions");
	partitions = PG_GETARG_INT32(ARGUMENT_PARTITIONS);
	if (partitions < 1 || partitions > PARTITIONS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"partitions\" must be from 1 to %d",
						PARTITIONS_MAX)));
	return partitions;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL ? b == NULL : b != NULL && strcmp(a, b) == 0;
}

static bool
same_definition(const Declared *a, const Declared *b)
{
	return a != NULL && a->kind == b->kind &&
		strcmp(a->definition, b->definition) == 0 &&
		same_text(a->key, b->key) && a->for_each_batch == b->for_each_batch;
}

/*
 * Is the projection there already, as if_not_exists wants it?  Another
 * definition under its name is an error all the same.
 */
static bool
exists_already(const Projection *wanted, bool if_not_exists)
{
	const char *name = wanted->name;
	Projection *projection = ProjectionFind(name);

	if (projection == NULL)
		return false;
	if (!if_not_exists)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("projection \"%s\" exists already", name),
				 errhint("Drop it with: SELECT projection_drop(%s);",
						 quote_literal_cstr(name))));
	CatalogRaise(projection->damage);
	ProjectionCheckOwner(projection);
	if (!same_definition(projection->declared, wanted->declared))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("projection \"%s\" exists already, with another definition",
						name),
				 projection->declared == NULL ?
				 errhint("It comes with the extension. Take another name.") :
				 errhint("Drop it with: SELECT projection_drop(%s); or create the new one under another name, into another table.",
						 quote_literal_cstr(name))));
	ereport(NOTICE,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("projection \"%s\" exists already, skipping", name)));
	return true;
}

/* The ordering that was asked for, or what can be proved. */
static Ordering
choose_ordering(const char *asked, const Merge *merge, const Stream *stream)
{
	Ordering	ordering;

	if (asked == NULL)
		return OrderingProved(merge, stream) ? ORDERING_VERSION : ORDERING_NUMBER;
	if (!OrderingFromName(asked, &ordering) || ordering == ORDERING_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"ordering\": \"%s\"", asked),
				 errhint("It is 'number' (an event waits for all smaller numbers that may still come) or 'arrival' (the actions commute, as sums do); null: what the stream's unique indexes prove, else 'number'.")));
	return ordering;
}

/* Numbers that the snapshot sees, up to the last one. */
typedef struct Seen
{
	NumberSet	numbers;
} Seen;

/* EventReceiver */
static bool
note_number(void *state, const Event *event)
{
	NumberSetAppend(&((Seen *) state)->numbers, event->no, event->no);
	CHECK_FOR_INTERRUPTS();
	return true;
}

/*
 * Where a projection begins that begins now: what the call's snapshot sees is
 * out, everything else is in, also what a transaction writes that is open.
 */
static Position
position_of_now(const Stream *stream)
{
	Position	position = {0};
	NumberSet	all = {0};
	Seen		seen = {0};

	position.head = StreamLastNumber(stream->parts.sequence);
	if (position.head == 0)
		return position;
	NumberSetAppend(&all, 1, position.head);
	(void) ReadEvents(stream, GetActiveSnapshot(), 1, position.head,
					  note_number, &seen);
	position.gaps = NumberSetMinus(&all, &seen.numbers);
	return position;
}

static void
refuse_argument(const char *argument, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" is not for a definition of this kind", argument),
			 errhint("%s", hint)));
}

/* Whether it is a statement over events, which is what a stream says. */
static void
declare_kind(FunctionCallInfo fcinfo, Projection *projection)
{
	Declared   *declared = projection->declared;

	declared->key = optional_text(fcinfo, ARGUMENT_KEY, "key");
	declared->for_each_batch = choice_argument(fcinfo, ARGUMENT_FOR_EACH,
											   "for_each", "event", "batch");
	if (!PG_ARGISNULL(ARGUMENT_STREAM))
	{
		declared->kind = DECLARED_STATEMENT;
		if (declared->strict)
			refuse_argument("strict", "A statement has no WHEN that could hold for an event. Leave strict out.");
		if (declared->key == NULL)
			projection->partitions = 1;
		return;
	}
	if (declared->key != NULL)
		refuse_argument("key", "The key of a MERGE is what ON compares. Leave key out; or, if the definition is a statement over events, say of which stream: stream => '...'.");
	if (declared->for_each_batch)
		refuse_argument("for_each", "A MERGE is applied event by event. Leave for_each out; or, if the definition is a statement over events, say of which stream: stream => '...'.");
}

/* Take the arguments that say what the projection is. */
static Projection *
declare(FunctionCallInfo fcinfo, char *name, char *definition)
{
	Projection *projection = palloc0(sizeof(Projection));
	Declared   *declared = palloc0(sizeof(Declared));

	projection->name = name;
	projection->declared = declared;
	projection->channel = ArgumentName(fcinfo, ARGUMENT_CHANNEL, "channel");
	projection->partitions = partitions_argument(fcinfo);
	projection->batch_size = DEFAULT_BATCH_SIZE;
	declared->definition = definition;
	declared->strict = boolean_argument(fcinfo, ARGUMENT_STRICT, "strict");
	declared->allow_stable = boolean_argument(fcinfo, ARGUMENT_ALLOW_STABLE,
											  "allow_stable");
	declared->settings = PinnedSettings();
	declare_kind(fcinfo, projection);
	return projection;
}

/* Write everything down: from the commit on it is there. */
static void
create(Projection *projection, const Merge *merge, const char *ordering,
	   bool from_now)
{
	Declared   *declared = projection->declared;
	Relation	read_model = relation_open(merge->read_model, RowExclusiveLock);
	Stream	   *stream;

	MergeCheckRights(merge, GetUserId());
	if (!from_now)
		CreateCheckEmpty(merge, read_model);
	projection->stream = StreamAttachFor(merge->stream);
	stream = StreamOpen(projection->stream, AccessShareLock, false);
	stream->rows = true;
	stream->alone = merge->stream_alone;
	declared->ordering = choose_ordering(ordering, merge, stream);
	DefinitionNote(declared, merge);
	if (from_now)
		declared->start = position_of_now(stream);
	projection->relation = RelationGetRelid(stream->relation);
	ProjectionDeclare(projection);
	ProjectionSetReadModel(projection, merge->read_model);
	DefinitionCompile(projection, stream, read_model);
	StreamRelease(stream);
	ProjectionBegin(projection);
	relation_close(read_model, NoLock);
}

/* projection_create(name, definition, ...) */
Datum
projection_create(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, ARGUMENT_NAME, "name");
	char	   *definition = ArgumentText(fcinfo, ARGUMENT_DEFINITION,
										  "definition", PG_INT32_MAX);
	char	   *ordering = optional_text(fcinfo, ARGUMENT_ORDERING, "ordering");
	char	   *stream = optional_text(fcinfo, ARGUMENT_STREAM, "stream");
	bool		from_now = choice_argument(fcinfo, ARGUMENT_START_AT, "start_at",
										   "beginning", "now");
	bool		if_not_exists = boolean_argument(fcinfo, ARGUMENT_IF_NOT_EXISTS,
												 "if_not_exists");
	Projection *projection = declare(fcinfo, name, definition);
	Merge	   *merge;

	PreventCommandIfReadOnly("projection_create()");
	KeyLock(KEYLOCK_PROJECTION, name, ExclusiveLock);
	if (exists_already(projection, if_not_exists))
		PG_RETURN_VOID();
	DesiredLock();
	NoticeDesired();
	merge = DefinitionRead(projection,
						   stream != NULL ? StreamTableNamed(stream) : InvalidOid);
	create(projection, merge, ordering, from_now);
	if (Preloaded && Autostart)
		DesiredStart(projection);
	PG_RETURN_VOID();
}

/* projection_drop(name) */
Datum
projection_drop(PG_FUNCTION_ARGS)
{
	Projection *projection =
		ProjectionLock(ArgumentName(fcinfo, 0, "name"), ExclusiveLock,
					   "projection_drop()");

	if (projection->declared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("projection \"%s\" comes with the extension, and cannot be dropped",
						projection->name),
				 errhint("To drop its read model and positions: SELECT projection_delete(%s);",
						 quote_literal_cstr(projection->name))));
	if (DesiredStarted(projection->name))
		DesiredStop(projection);
	ProjectionEnd(projection);
	ProjectionForget(projection->name);
	PG_RETURN_VOID();
}
