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
#include "tableref.h"
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
refuse_shape(Relation relation, int sqlerrcode, const char *detail)
{
	ereport(ERROR,
			(errcode(sqlerrcode),
			 errmsg("table \"%s\" does not have the shape of a stream",
					RelationGetRelationName(relation)),
			 errdetail_internal("%s", detail),
			 errhint("Its first columns and unique constraints must be those of a table that stream_create makes.")));
}

/* Raise an error if a crash would empty the table. */
static void
check_persistence(Relation relation, int sqlerrcode)
{
	if (relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED &&
		sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" of a stream is unlogged",
						RelationGetRelationName(relation)),
				 errdetail("A crash of the server would empty it."),
				 errhint("Run: ALTER TABLE %s SET LOGGED;",
						 TableNameOf(RelationGetRelid(relation)))));
	if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		refuse_shape(relation, sqlerrcode, "It is temporary or unlogged.");
}

/* Raise an error unless the first columns are a stream's. */
static void
check_columns(Relation relation, int sqlerrcode)
{
	TupleDesc	desc = RelationGetDescr(relation);

	if (relation->rd_rel->relkind != RELKIND_RELATION)
		refuse_shape(relation, sqlerrcode, "It is not an ordinary table.");
	check_persistence(relation, sqlerrcode);
	for (int i = 0; i < STREAM_COLUMNS; i++)
	{
		Form_pg_attribute attribute = i < desc->natts ?
			TupleDescAttr(desc, i) : NULL;

		if (attribute == NULL || attribute->attisdropped ||
			strcmp(NameStr(attribute->attname), stream_columns[i].name) != 0 ||
			attribute->atttypid != stream_columns[i].type ||
			!attribute->attnotnull)
			refuse_shape(relation, sqlerrcode,
						 psprintf("Column %d is not \"%s %s not null\".",
								  i + 1, stream_columns[i].name,
								  format_type_be(stream_columns[i].type)));
		if (attribute->attcollation != InvalidOid &&
			attribute->attcollation != C_COLLATION_OID)
			refuse_shape(relation, sqlerrcode,
						 psprintf("Column \"%s\" is not collated \"C\".",
								  stream_columns[i].name));
	}
	if (TupleDescAttr(desc, STREAM_NO - 1)->attidentity !=
		ATTRIBUTE_IDENTITY_ALWAYS)
		refuse_shape(relation, sqlerrcode,
					 "Column \"no\" is not \"generated always as identity\".");
}

/* The unique index on these columns; an error if there is none. */
static Oid
find_unique_index(Relation relation, int sqlerrcode, int nkeys,
				  const AttrNumber *keys)
{
	Oid			index = UniqueIndexOn(relation, nkeys, keys);

	if (!OidIsValid(index))
		refuse_shape(relation, sqlerrcode,
					 psprintf("It has no plain, immediate unique constraint on \"%s\"%s.",
							  stream_columns[keys[0] - 1].name,
							  nkeys > 1 ? ", \"aggregate_id\", \"aggregate_version\"" : ""));
	return index;
}

/* Take a table's parts, after making sure that it has a stream's shape. */
StreamParts
StreamExamine(Relation relation, int sqlerrcode)
{
	static const AttrNumber number_key[] = {STREAM_NO};
	static const AttrNumber event_key[] = {STREAM_EVENT_ID};
	static const AttrNumber version_key[] = {STREAM_AGGREGATE_TYPE,
	STREAM_AGGREGATE_ID, STREAM_AGGREGATE_VERSION};
	StreamParts parts = {.created = true,.position = STREAM_NO,
	.position_type = INT8OID};

	check_columns(relation, sqlerrcode);
	parts.sequence = compat_getIdentitySequence(relation, STREAM_NO, false);
	parts.number_index = find_unique_index(relation, sqlerrcode, 1, number_key);
	parts.event_index = find_unique_index(relation, sqlerrcode, 1, event_key);
	parts.version_index = find_unique_index(relation, sqlerrcode, 3, version_key);
	return parts;
}

/*
 * The last number that was drawn from a sequence, 0 if none.  Reads the
 * sequence itself, whose rights are not the caller's business.  Where it has
 * come to the end of its type, that last number is nobody's.
 */
int64
SequenceLastNumber(Oid sequence)
{
	Relation	relation = relation_open(sequence, AccessShareLock);
	Buffer		buffer = ReadBuffer(relation, 0);
	Page		page = BufferGetPage(buffer);
	HeapTupleHeader tuple;
	Form_pg_sequence_data data;
	int64		number;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	tuple = (HeapTupleHeader) PageGetItem(page,
										  PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
	number = data->is_called || data->last_value == PG_INT64_MIN ?
		data->last_value : data->last_value - 1;
	UnlockReleaseBuffer(buffer);
	relation_close(relation, AccessShareLock);
	return Min(number, STREAM_NUMBER_MAX);
}

static void
refuse_sequence(Oid sequence, const char *detail, const char *change)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("sequence \"%s\" does not give a stream's numbers in order",
					get_rel_name(sequence)),
			 errdetail_internal("%s", detail),
			 errhint("Run: ALTER SEQUENCE %s %s;",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(sequence)),
												get_rel_name(sequence)),
					 change)));
}

/*
 * The last number of a stream's sequence; an error if that does not give
 * positive numbers one at a time and in order.
 */
int64
StreamLastNumber(Oid sequence)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence form;
	int64		number;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	if (form->seqcache != 1 || form->seqincrement != 1 || form->seqcycle)
		refuse_sequence(sequence,
						"It must have CACHE 1, INCREMENT 1 and NO CYCLE.",
						"CACHE 1 INCREMENT 1 NO CYCLE");
	ReleaseSysCache(tuple);
	number = SequenceLastNumber(sequence);
	/* positions begin before number 1 */
	if (number < 0)
		refuse_sequence(sequence,
						"Events with numbers below 1 are never applied.",
						"MINVALUE 1 RESTART 1");
	return number;
}
