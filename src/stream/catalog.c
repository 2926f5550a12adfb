/*
 * catalog.c
 *		Which table a stream is, and whether it can be trusted as one.
 *
 * Positions are exact only where numbers are drawn by the insert itself, in
 * ascending order, one at a time: an identity column "generated always" whose
 * sequence has no cache and does not cycle.  The shape of the table is
 * checked whenever the stream is looked up anew, the sequence at each batch.
 *
 * Look-ups are remembered in this process.  A relation's invalidation message
 * forgets its stream; changes of the catalog send one for the catalog's table
 * and so forget all.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "argument.h"
#include "catalog.h"
#include "keylock.h"
#include "stream/stream.h"

/* What is remembered of a stream. */
typedef struct StreamEntry
{
	char		name[NAMEDATALEN];	/* hash key */
	Oid			relid;
	Oid			sequence;
	Oid			number_index;
	Oid			event_index;
	Oid			version_index;
} StreamEntry;

static HTAB *known_streams = NULL;
static Oid	catalog_relid = InvalidOid;

SQL_FUNCTION(stream_create);
SQL_FUNCTION(stream_last_position);

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

/* Relation cache callback: forget the streams that use this relation. */
static void
forget_stream(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	StreamEntry *entry;

	hash_seq_init(&status, known_streams);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (relid == InvalidOid || relid == catalog_relid ||
			relid == entry->relid)
			(void) hash_search(known_streams, entry->name, HASH_REMOVE, NULL);
	}
}

static void
make_known_streams(void)
{
	HASHCTL		control = {0};

	control.keysize = NAMEDATALEN;
	control.entrysize = sizeof(StreamEntry);
	control.hcxt = CacheMemoryContext;
	known_streams = hash_create("wallet_projection streams", 16, &control,
								HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget_stream, (Datum) 0);
}

/* The stream's table as the catalog has it, or InvalidOid. */
static Oid
registered_relation(const char *name)
{
	Relation	catalog = CatalogOpen(STREAM_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, name);
	Oid			relid = InvalidOid;

	catalog_relid = RelationGetRelid(catalog);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		relid = DatumGetObjectId(heap_getattr(tuple, STREAM_CATALOG_RELATION,
											  RelationGetDescr(catalog),
											  &isnull));
		heap_freetuple(tuple);
	}
	table_close(catalog, AccessShareLock);
	return relid;
}

/* Write down which table the stream is. */
static void
register_relation(const char *name, Oid relid)
{
	Relation	catalog = CatalogOpen(STREAM_CATALOG, RowExclusiveLock);
	HeapTuple	old = CatalogFetch(catalog, name);
	Datum		values[STREAM_CATALOG_NATTS];
	bool		nulls[STREAM_CATALOG_NATTS] = {0};
	HeapTuple	tuple;

	values[STREAM_CATALOG_NAME - 1] = CStringGetTextDatum(name);
	values[STREAM_CATALOG_RELATION - 1] = ObjectIdGetDatum(relid);
	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(catalog, &old->t_self, tuple);
	else
		CatalogTupleInsert(catalog, tuple);
	CacheInvalidateRelcacheByRelid(RelationGetRelid(catalog));
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

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

/* A valid, immediate, unique index on exactly these columns; or an error. */
static Oid
find_unique_index(Relation relation, int nkeys, const AttrNumber *keys)
{
	List	   *indexes = RelationGetIndexList(relation);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisunique && form->indisvalid && form->indimmediate &&
			form->indnkeyatts == nkeys &&
			RelationGetIndexPredicate(index) == NIL &&
			memcmp(form->indkey.values, keys, nkeys * sizeof(int16)) == 0)
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(indexes);
	if (!OidIsValid(found))
		refuse_shape(relation,
					 psprintf("It has no unique index that begins with column \"%s\".",
							  stream_columns[keys[0] - 1].name));
	return found;
}

/* Fill in what is remembered of a table that has a stream's shape. */
static void
examine_relation(StreamEntry *entry, Relation relation)
{
	static const AttrNumber number_key[] = {STREAM_NO};
	static const AttrNumber event_key[] = {STREAM_EVENT_ID};
	static const AttrNumber version_key[] = {STREAM_AGGREGATE_TYPE,
	STREAM_AGGREGATE_ID, STREAM_AGGREGATE_VERSION};

	check_columns(relation);
	entry->relid = RelationGetRelid(relation);
	entry->sequence = compat_getIdentitySequence(relation, STREAM_NO);
	entry->number_index = find_unique_index(relation, 1, number_key);
	entry->event_index = find_unique_index(relation, 1, event_key);
	entry->version_index = find_unique_index(relation, 3, version_key);
}

/*
 * Look up a stream and lock its table.  The entry is good as long as the lock
 * is held: the lock has taken in all invalidations.
 */
static Relation
open_registered(const char *name, LOCKMODE mode, StreamEntry *found)
{
	if (known_streams == NULL)
		make_known_streams();
	for (;;)
	{
		StreamEntry *entry = hash_search(known_streams, name, HASH_FIND, NULL);
		Oid			relid = entry ? entry->relid : registered_relation(name);
		Relation	relation;

		if (!OidIsValid(relid))
			return NULL;
		relation = try_table_open(relid, mode);
		if (relation == NULL && entry == NULL)
			return NULL;		/* its table was dropped */
		if (relation != NULL && entry == NULL)
		{
			StreamEntry fresh;

			memset(&fresh, 0, sizeof(fresh));
			strlcpy(fresh.name, name, NAMEDATALEN);
			examine_relation(&fresh, relation);
			entry = hash_search(known_streams, name, HASH_ENTER, NULL);
			*entry = *found = fresh;
			return relation;
		}
		/* the lock may have brought the news that the entry is stale */
		entry = hash_search(known_streams, name, HASH_FIND, NULL);
		if (relation != NULL && entry != NULL && entry->relid == relid)
		{
			*found = *entry;
			return relation;
		}
		if (relation != NULL)
			table_close(relation, mode);
	}
}

/*
 * Open a stream, its table locked in this mode.  An unknown one is an error,
 * or NULL if missing_ok.
 */
Stream *
StreamOpen(const char *name, LOCKMODE mode, bool missing_ok)
{
	StreamEntry entry;
	Relation	relation = open_registered(name, mode, &entry);
	Stream	   *stream;

	if (relation == NULL)
	{
		if (missing_ok)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist", name),
				 errhint("Create it with: SELECT stream_create(%s);",
						 quote_literal_cstr(name))));
	}
	stream = palloc(sizeof(Stream));
	stream->name = pstrdup(name);
	stream->relation = relation;
	stream->sequence = entry.sequence;
	stream->number_index = entry.number_index;
	stream->event_index = entry.event_index;
	stream->version_index = entry.version_index;
	return stream;
}

/* Close the stream; the lock stays until the transaction ends. */
void
StreamClose(Stream *stream)
{
	table_close(stream->relation, NoLock);
	pfree(stream);
}

/* The statement that makes a stream's table. */
static char *
create_statement(Oid schema, const char *name)
{
	return psprintf("CREATE TABLE %s ("
					"no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
					"event_id uuid NOT NULL UNIQUE, "
					"event_name varchar(%d) COLLATE \"C\" NOT NULL, "
					"aggregate_type varchar(%d) COLLATE \"C\" NOT NULL, "
					"aggregate_id varchar(%d) COLLATE \"C\" NOT NULL, "
					"aggregate_version bigint NOT NULL, "
					"payload jsonb NOT NULL, "
					"metadata jsonb NOT NULL DEFAULT '{}', "
					"created_at timestamptz NOT NULL DEFAULT clock_timestamp(), "
					"UNIQUE (aggregate_type, aggregate_id, aggregate_version))",
					quote_qualified_identifier(get_namespace_name(schema),
											   name),
					EVENT_NAME_LENGTH, IDENTIFIER_LENGTH, IDENTIFIER_LENGTH);
}

/*
 * Make the stream's table, or take over one that an earlier installation of
 * the extension has left behind.
 */
static void
create_stream(const char *name)
{
	Oid			schema = ExtensionSchema();
	Oid			relid = get_relname_relid(name, schema);

	PreventCommandIfReadOnly("stream_create()");
	if (!OidIsValid(relid))
	{
		SPI_connect();
		if (SPI_execute(create_statement(schema, name), false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "unexpected result of creating stream \"%s\"", name);
		SPI_finish();
		relid = get_relname_relid(name, schema);
	}
	else
	{
		Relation	relation = relation_open(relid, AccessShareLock);
		StreamEntry entry;

		if (!compat_owns_relation(relid))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name);
		examine_relation(&entry, relation);
		relation_close(relation, NoLock);
	}
	register_relation(name, relid);
}

/*
 * Open a stream, making it first if there is none yet.  Two sessions that
 * make it at once wait for each other.
 */
Stream *
StreamEnsure(const char *name, LOCKMODE mode)
{
	Stream	   *stream = StreamOpen(name, mode, true);

	if (stream == NULL)
	{
		KeyLock(KEYLOCK_STREAM, name, ExclusiveLock);
		stream = StreamOpen(name, mode, true);
	}
	if (stream == NULL)
	{
		create_stream(name);
		stream = StreamOpen(name, mode, false);
	}
	return stream;
}

/* stream_create(stream) */
Datum
stream_create(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "stream");

	KeyLock(KEYLOCK_STREAM, name, ExclusiveLock);
	if (StreamOpen(name, AccessShareLock, true) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("stream \"%s\" exists already", name)));
	create_stream(name);
	PG_RETURN_VOID();
}

/*
 * Raise an error unless the role has these rights on the stream's table and
 * row-level security does not hide or refuse events.
 */
void
StreamCheckRights(Stream *stream, Oid role, uint32 rights)
{
	Oid			relid = RelationGetRelid(stream->relation);
	AclResult	result = pg_class_aclcheck(relid, role, rights);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE,
					   RelationGetRelationName(stream->relation));
	if (check_enable_rls(relid, role, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row-level security of stream \"%s\" applies to role \"%s\"",
						stream->name, GetUserNameFromId(role, false)),
				 errhint("Events cannot be filtered by policies. Use the table's owner, or a role with BYPASSRLS.")));
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

/* wallet_projection.last_position(stream): null where there is no table */
Datum
stream_last_position(PG_FUNCTION_ARGS)
{
	Stream	   *stream = StreamOpen(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									AccessShareLock, true);

	int64		number;

	if (stream == NULL)
		PG_RETURN_NULL();
	number = StreamLastNumber(stream->sequence);
	StreamClose(stream);
	PG_RETURN_INT64(number);
}
