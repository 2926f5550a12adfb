/*
 * beginning.c
 *		Does a stream still begin at the beginning?
 *
 * Whoever makes rows anew from the events makes other rows where the oldest
 * events are gone: deleted to save space, or detached with a partition.  Two
 * signs of that can be seen without having kept anything:
 *
 *	- an aggregate of a created stream whose first version is not 1
 *	- numbers that begin above all that was applied, or no event at all
 *
 * The first is looked for in the index on versions.  Its entries are read in
 * order, and only an aggregate's first one is looked up in the table, unless
 * that one is dead.  Where the stream has children, versions of an aggregate
 * may lie in several of them, and the server is asked instead.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "position/lanes.h"
#include "rebuild/beginning.h"

/* columns of the index on versions */
enum
{
	INDEX_TYPE = 1, INDEX_ID, INDEX_VERSION
};

/* An aggregate that has lost its beginning. */
typedef struct Beheaded
{
	bool		found;
	char	   *type;
	char	   *id;
	int64		version;		/* of its first event */
} Beheaded;

/* The walk through the index on versions. */
typedef struct VersionWalk
{
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	const char *type;			/* the only one that counts; NULL: all do */
	int			type_length;
	StringInfoData aggregate;	/* the bytes of type and id of the last one */
	bool		is_sound;		/* its first event was seen */
} VersionWalk;

static void
refuse(const Stream *stream, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream \"%s\" does not begin at the beginning any more",
					stream->name),
			 errdetail_internal("%s", detail),
			 errhint("Rows that are made from what is left lack what the missing events did. To do it all the same: force => true.")));
}

/* A text column of an index entry, without its header. */
static const char *
text_of_entry(const VersionWalk *walk, int column, int *length)
{
	bool		isnull;
	Datum		value = index_getattr(walk->scan->xs_itup, column,
									  RelationGetDescr(walk->index), &isnull);
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);

	*length = VARSIZE_ANY_EXHDR(bytes);
	return VARDATA_ANY(bytes);
}

/* Is the entry of the same aggregate as the one before it? */
static bool
is_same(VersionWalk *walk, const char *type, int type_length, const char *id,
		int id_length)
{
	StringInfo	last = &walk->aggregate;

	if (last->len == type_length + 1 + id_length &&
		memcmp(last->data, type, type_length) == 0 &&
		last->data[type_length] == '\0' &&
		memcmp(last->data + type_length + 1, id, id_length) == 0)
		return true;
	resetStringInfo(last);
	appendBinaryStringInfo(last, type, type_length);
	appendStringInfoChar(last, '\0');
	appendBinaryStringInfo(last, id, id_length);
	return false;
}

/* Look at one entry; true: its aggregate begins with it, above version 1. */
static bool
look_at_entry(VersionWalk *walk, Beheaded *result)
{
	int			type_length;
	int			id_length;
	const char *type = text_of_entry(walk, INDEX_TYPE, &type_length);
	const char *id = text_of_entry(walk, INDEX_ID, &id_length);
	bool		isnull;
	int64		version = DatumGetInt64(index_getattr(walk->scan->xs_itup, INDEX_VERSION,
													  RelationGetDescr(walk->index), &isnull));

	if (walk->type != NULL && (type_length != walk->type_length ||
							   memcmp(type, walk->type, type_length) != 0))
		return false;
	if (!is_same(walk, type, type_length, id, id_length))
		walk->is_sound = false;
	if (walk->is_sound || !index_fetch_heap(walk->scan, walk->slot))
		return false;
	walk->is_sound = true;
	if (version == 1)
		return false;
	result->found = true;
	result->type = pnstrdup(type, type_length);
	result->id = pnstrdup(id, id_length);
	result->version = version;
	return true;
}

/* The same of a stream whose events are all in its own table. */
static Beheaded
walk_index(const Stream *stream, const char *type)
{
	Beheaded	result = {0};
	VersionWalk walk = {.type = type};
	int64		count = 0;

	walk.type_length = type == NULL ? 0 : strlen(type);
	initStringInfo(&walk.aggregate);
	walk.index = index_open(stream->parts.version_index, AccessShareLock);
	walk.slot = table_slot_create(stream->relation, NULL);
	walk.scan = compat_index_beginscan(stream->relation, walk.index,
									   GetActiveSnapshot(), 0);
	walk.scan->xs_want_itup = true;
	index_rescan(walk.scan, NULL, 0, NULL, 0);
	while (index_getnext_tid(walk.scan, ForwardScanDirection) != NULL)
	{
		if (++count % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (look_at_entry(&walk, &result))
			break;
	}
	index_endscan(walk.scan);
	ExecDropSingleTupleTableSlot(walk.slot);
	index_close(walk.index, AccessShareLock);
	pfree(walk.aggregate.data);
	return result;
}

/* The name of a column of the stream's table, which may have been renamed. */
static const char *
column_of(const Stream *stream, StreamColumn column)
{
	return quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(stream->relation),
												  column - 1)->attname));
}

/* The statement that finds such an aggregate in the stream and its children. */
static char *
statement_for(const Stream *stream, const char *type)
{
	const char *type_column = column_of(stream, STREAM_AGGREGATE_TYPE);
	const char *id_column = column_of(stream, STREAM_AGGREGATE_ID);
	const char *version = column_of(stream, STREAM_AGGREGATE_VERSION);
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfo(&query,
					 "SELECT s.%s, s.%s, pg_catalog.min(s.%s) FROM %s s",
					 type_column, id_column, version,
					 QualifiedName(stream->relation));
	if (type != NULL)
		appendStringInfo(&query, " WHERE s.%s OPERATOR(pg_catalog.=) %s",
						 type_column, quote_literal_cstr(type));
	appendStringInfo(&query,
					 " GROUP BY 1, 2 HAVING pg_catalog.min(s.%s) OPERATOR(pg_catalog.>) 1 LIMIT 1",
					 version);
	return query.data;
}

/* Ask the server. */
static Beheaded
ask(const Stream *stream, const char *type)
{
	Beheaded	result = {0};
	char	   *statement = statement_for(stream, type);
	bool		isnull;

	SPI_connect();
	if (SPI_execute(statement, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for versions of stream \"%s\"",
			 stream->name);
	if (SPI_processed > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *found_type = SPI_getvalue(tuple, desc, 1);
		char	   *found_id = SPI_getvalue(tuple, desc, 2);

		result.found = true;
		result.type = strcpy(SPI_palloc(strlen(found_type) + 1), found_type);
		result.id = strcpy(SPI_palloc(strlen(found_id) + 1), found_id);
		result.version = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
	}
	SPI_finish();
	return result;
}

/* Has an aggregate lost its first events? */
static void
check_versions(const OpenProjection *work)
{
	const Stream *stream = work->stream;
	const char *type = work->projection->declared == NULL ?
		work->projection->aggregate_type : NULL;
	Beheaded	found = stream->relation->rd_rel->relhassubclass ?
		ask(stream, type) : walk_index(stream, type);

	if (found.found)
		refuse(stream,
			   psprintf("The first event of aggregate \"%s\" of type \"%s\" has version " INT64_FORMAT ".",
						found.id, found.type, found.version));
}

/* Are all events gone that were applied? */
static void
check_numbers(const OpenProjection *work)
{
	const Stream *stream = work->stream;
	Positions	positions;
	int64		lowest;
	int64		highest;

	CatalogRaise(PositionsFind(work->projection, GetActiveSnapshot(),
							   &positions));
	highest = PositionsHighest(&positions);
	if (!positions.written || highest == 0)
		return;
	lowest = StreamLowestNumber(stream->relation, &stream->parts);
	if (lowest == PG_INT64_MAX)
		refuse(stream,
			   psprintf("It has no event. Projection \"%s\" has applied events up to number " INT64_FORMAT ".",
						work->projection->name, highest));
	if (lowest > highest)
		refuse(stream,
			   psprintf("Its first event has number " INT64_FORMAT ". Projection \"%s\" has applied events up to number " INT64_FORMAT ", which are all gone.",
						lowest, work->projection->name, highest));
}

/*
 * Raise an error where the stream's oldest events are gone that the projection
 * has applied, unless the caller insists (force).  A projection that began in
 * the middle of the stream needs none of the events before.  Looks at what the
 * active snapshot sees; called as the projection's owner (OpenedOpen()).
 */
void
BeginningCheck(const OpenProjection *work, bool force)
{
	const Declared *declared = work->projection->declared;

	if (force)
		return;
	check_numbers(work);
	if (work->stream->parts.created &&
		(declared == NULL || declared->start.head == 0))
		check_versions(work);
}
