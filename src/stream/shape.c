/*
 * shape.c
 *		Whether a table can be trusted as a stream.
 *
 * Positions are exact only where numbers are drawn by the insert itself, in
 * ascending order, one at a time: an identity column "generated always" whose
 * sequence has no cache and does not cycle.  The table is examined whenever
 * its stream is looked up anew, the sequence at each batch.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "compat.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "stream/stream.h"
#include "unique_index.h"

static const struct
{
	const char *name;
	Oid			type;
}			stream_columns[STREAM_COLUMNS] =
{
	{"no", INT8OID},
	{"event_id", UUIDOID},
	{"event_name", VARCHAROID},
	{"aggregate_type", VARCHAROID},
	{"aggregate_id", VARCHAROID},
	{"aggregate_version", INT8OID},
	{"payload", JSONBOID},
	{"metadata", JSONBOID},
	{"created_at", TIMESTAMPTZOID},
};

static void
refuse_shape(Relation relation, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" does not have the shape of a stream",
					RelationGetRelationName(relation)),
			 errdetail_internal("%s", detail),
			 errhint("Its first columns must be those of a table that stream_create makes.")));
}

/* Raise an error unless the first columns are a stream's. */
static void
check_columns(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	if (relation->rd_rel->relkind != RELKIND_RELATION)
		refuse_shape(relation, "It is not an ordinary table.");
	if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		refuse_shape(relation, "It is temporary or unlogged.");
	for (int i = 0; i < STREAM_COLUMNS; i++)
	{
		Form_pg_attribute attribute = i < desc->natts ?
			TupleDescAttr(desc, i) : NULL;

		if (attribute == NULL || attribute->attisdropped ||
			strcmp(NameStr(attribute->attname), stream_columns[i].name) != 0 ||
			attribute->atttypid != stream_columns[i].type ||
			!attribute->attnotnull)
			refuse_shape(relation,
						 psprintf("Column %d is not \"%s %s not null\".",
								  i + 1, stream_columns[i].name,
								  format_type_be(stream_columns[i].type)));
		if (attribute->attcollation != InvalidOid &&
			attribute->attcollation != C_COLLATION_OID)
			refuse_shape(relation,
						 psprintf("Column \"%s\" is not collated \"C\".",
								  stream_columns[i].name));
	}
	if (TupleDescAttr(desc, STREAM_NO - 1)->attidentity !=
		ATTRIBUTE_IDENTITY_ALWAYS)
		refuse_shape(relation,
					 "Column \"no\" is not \"generated always as identity\".");
}

/* The unique index on these columns; an error if there is none. */
static Oid
find_unique_index(Relation relation, int nkeys, const AttrNumber *keys)
{
	Oid			index = UniqueIndexOn(relation, nkeys, keys);

	if (!OidIsValid(index))
		refuse_shape(relation,
					 psprintf("It has no unique index that begins with column \"%s\".",
							  stream_columns[keys[0] - 1].name));
	return index;
}

/* Take a table's parts, after making sure that it has a stream's shape. */
StreamParts
StreamExamine(Relation relation)
{
	static const AttrNumber number_key[] = {STREAM_NO};
	static const AttrNumber event_key[] = {STREAM_EVENT_ID};
	static const AttrNumber version_key[] = {STREAM_AGGREGATE_TYPE,
	STREAM_AGGREGATE_ID, STREAM_AGGREGATE_VERSION};
	StreamParts parts;

	check_columns(relation);
	parts.sequence = compat_getIdentitySequence(relation, STREAM_NO);
	parts.number_index = find_unique_index(relation, 1, number_key);
	parts.event_index = find_unique_index(relation, 1, event_key);
	parts.version_index = find_unique_index(relation, 3, version_key);
	return parts;
}

/*
 * The last number that was drawn from a sequence, 0 if none.  Reads the
 * sequence itself, whose rights are not the caller's business; an error if it
 * does not give numbers one at a time and in order.
 */
int64
StreamLastNumber(Oid sequence)
{
	Relation	relation;
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence form;
	Buffer		buffer;
	Page		page;
	Form_pg_sequence_data data;
	int64		number;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	if (form->seqcache != 1 || form->seqincrement != 1 || form->seqcycle)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"%s\" does not give a stream's numbers in order",
						get_rel_name(sequence)),
				 errdetail("It must have CACHE 1, INCREMENT 1 and NO CYCLE."),
				 errhint("Run: ALTER SEQUENCE %s CACHE 1 INCREMENT 1 NO CYCLE;",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(sequence)),
													get_rel_name(sequence)))));
	ReleaseSysCache(tuple);

	relation = relation_open(sequence, AccessShareLock);
	buffer = ReadBuffer(relation, 0);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	data = (Form_pg_sequence_data)
		((char *) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)) +
		 ((HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)))->t_hoff);
	number = data->is_called ? data->last_value : data->last_value - 1;
	UnlockReleaseBuffer(buffer);
	relation_close(relation, AccessShareLock);
	return number;
}
