/*
 * tables.c
 *		The tables that hold a stream's events: its own, and its children.
 *
 * Old events may have been moved into children of the stream's table, by
 * inheritance.  Commands look there too, by the same unique indexes, which a
 * child does not inherit: where one is missing, the command is refused, as
 * it would have to read the whole child.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "stream/tables.h"
#include "unique_index.h"

#define INDEX_COLUMNS_MAX 3

static const struct
{
	int			nkeys;
	AttrNumber	keys[INDEX_COLUMNS_MAX];
	const char *columns;
}			stream_indexes[] =

{
	[STREAM_INDEX_EVENT] = {1, {STREAM_EVENT_ID}, "event_id"},
	[STREAM_INDEX_VERSION] = {3, {STREAM_AGGREGATE_TYPE, STREAM_AGGREGATE_ID,
	STREAM_AGGREGATE_VERSION}, "aggregate_type, aggregate_id, aggregate_version"},
};

static void
refuse_child(const Stream *stream, Relation child, const char *detail,
			 const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot look for events of stream \"%s\" in its child table \"%s\"",
					stream->name, RelationGetRelationName(child)),
			 errdetail_internal("%s", detail),
			 errhint("%s", hint)));
}

/* The child's unique index on the columns that have these names there. */
static Oid
find_index(const Stream *stream, Relation child, StreamIndex which)
{
	TupleDesc	desc = RelationGetDescr(stream->relation);
	AttrNumber	keys[INDEX_COLUMNS_MAX];
	Oid			index;

	for (int i = 0; i < stream_indexes[which].nkeys; i++)
	{
		int			number = stream_indexes[which].keys[i];

		keys[i] = get_attnum(RelationGetRelid(child),
							 NameStr(TupleDescAttr(desc, number - 1)->attname));
	}
	index = UniqueIndexOn(child, stream_indexes[which].nkeys, keys);
	if (!OidIsValid(index))
		refuse_child(stream, child,
					 psprintf("It has no plain, immediate unique constraint on (%s).",
							  stream_indexes[which].columns),
					 psprintf("Run: ALTER TABLE %s ADD UNIQUE (%s);",
							  QualifiedName(child),
							  stream_indexes[which].columns));
	return index;
}

static StreamTable
open_child(const Stream *stream, Oid relid, StreamIndex which)
{
	StreamTable table;

	/* find_all_inheritors() has locked it */
	table.relation = table_open(relid, NoLock);
	if (table.relation->rd_rel->relkind != RELKIND_RELATION ||
		table.relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		refuse_child(stream, table.relation,
					 "It is temporary, foreign or partitioned.",
					 psprintf("Run: ALTER TABLE %s NO INHERIT %s;",
							  QualifiedName(table.relation),
							  QualifiedName(stream->relation)));
	table.index = find_index(stream, table.relation, which);
	table.map = convert_tuples_by_name(RelationGetDescr(table.relation),
									   RelationGetDescr(stream->relation));
	return table;
}

/*
 * The stream's own table, which comes first, and its children, locked until
 * the transaction ends, each with its unique index of this kind; an error
 * where a child has none.
 */
StreamTable *
StreamTables(const Stream *stream, StreamIndex which, int *count)
{
	List	   *relids = NIL;
	StreamTable *tables;

	/* a child that was made since must not be overlooked */
	AcceptInvalidationMessages();
	if (unlikely(stream->relation->rd_rel->relhassubclass))
		relids = find_all_inheritors(RelationGetRelid(stream->relation),
									 AccessShareLock, NULL);
	tables = palloc(Max(list_length(relids), 1) * sizeof(StreamTable));
	tables[0].relation = stream->relation;
	tables[0].index = which == STREAM_INDEX_EVENT ?
		stream->parts.event_index : stream->parts.version_index;
	tables[0].map = NULL;
	*count = 1;
	/* the first is the table itself */
	for (int i = 1; i < list_length(relids); i++)
		tables[(*count)++] = open_child(stream, list_nth_oid(relids, i), which);
	list_free(relids);
	return tables;
}

void
StreamTablesClose(StreamTable *tables, int count)
{
	for (int i = 1; i < count; i++)
	{
		if (tables[i].map != NULL)
			free_conversion_map(tables[i].map);
		table_close(tables[i].relation, NoLock);
	}
	pfree(tables);
}

/* A row of the table in the stream's columns, which may need the other slot. */
TupleTableSlot *
StreamTableConvert(const StreamTable *table, TupleTableSlot *slot,
				   TupleTableSlot *converted)
{
	if (table->map == NULL)
		return slot;
	return execute_attr_map_slot(table->map->attrMap, slot, converted);
}
