/*
 * stream.c
 *		Which table a stream is.
 *
 * Look-ups are remembered in this process.  A relation's invalidation message
 * forgets its stream, also that of a partition or child; changes of the catalog send one for the catalog's table
 * and so forget all.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "catalog.h"
#include "catalog_row.h"
#include "facts.h"
#include "keylock.h"
#include "stream/attached.h"
#include "stream/partitions.h"
#include "stream/stream.h"
#include "tablelook.h"

/* What is remembered of a stream. */
typedef struct StreamEntry
{
	char		name[NAMEDATALEN];	/* hash key */
	Oid			relid;
	StreamParts parts;
	List	   *partitions;		/* and children, whose changes count, too; in
								 * CacheMemoryContext */
} StreamEntry;

static HTAB *known_streams = NULL;
static Oid	catalog_relid = InvalidOid;

SQL_FUNCTION(stream_last_position);

static void
forget_entry(StreamEntry *entry)
{
	list_free(entry->partitions);
	(void) hash_search(known_streams, entry->name, HASH_REMOVE, NULL);
}

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
			relid == entry->relid || list_member_oid(entry->partitions, relid))
			forget_entry(entry);
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

static const TableRefColumns ref_columns = {
	STREAM_CATALOG_RELATION, STREAM_CATALOG_TABLE_SCHEMA
};

/* What the catalog says of a stream. */
typedef struct StreamRow
{
	TableRef	ref;			/* to its table */
	char	   *position;		/* of an attached table; or NULL */
	char	   *guard;			/* or NULL */
} StreamRow;

/* The stream's row; false if there is no such stream. */
static bool
read_row(const char *name, StreamRow *row)
{
	Relation	catalog = CatalogOpen(STREAM_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, name);
	bool		found = HeapTupleIsValid(tuple);

	catalog_relid = RelationGetRelid(catalog);
	if (found)
	{
		Datum		values[STREAM_CATALOG_NATTS];
		bool		nulls[STREAM_CATALOG_NATTS];

		CatalogDeform(catalog, tuple, values, nulls);
		row->ref = TableRefRead(catalog, ref_columns, values, nulls);
		row->position = CatalogGetText(values, nulls, STREAM_CATALOG_POSITION);
		row->guard = CatalogGetText(values, nulls, STREAM_CATALOG_GUARD);
		heap_freetuple(tuple);
	}
	table_close(catalog, AccessShareLock);
	return found;
}

/* The reference to the stream's table; false if there is no such stream. */
bool
StreamReference(const char *name, TableRef *ref)
{
	StreamRow	row;

	if (!read_row(name, &row))
		return false;
	*ref = row.ref;
	return true;
}

/* Is there such a stream, and is it an attached table? */
bool
StreamIsAttached(const char *name)
{
	StreamRow	row;

	return read_row(name, &row) && row.position != NULL;
}

/*
 * The column and the sequence of a stream's numbers, as far as they can be
 * seen without an error; false: its table is not numbered.
 */
bool
StreamNumbering(const char *name, Relation relation, StreamParts *parts)
{
	StreamRow	row;

	if (!read_row(name, &row))
		return false;
	if (row.position != NULL)
		return AttachedNumbering(relation, row.position, parts);
	memset(parts, 0, sizeof(*parts));
	parts->created = true;
	parts->position = STREAM_NO;
	parts->position_type = INT8OID;
	if (relation->rd_rel->relkind == RELKIND_RELATION)
		parts->sequence = compat_getIdentitySequence(relation, STREAM_NO, true);
	return OidIsValid(parts->sequence);
}

/* What is wrong with the stream's row; NULL: nothing, or there is none. */
CatalogDamage *
StreamDamage(const char *name)
{
	Relation	catalog = CatalogOpen(STREAM_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, name);
	CatalogDamage *damage = NULL;

	if (HeapTupleIsValid(tuple))
	{
		Datum		values[STREAM_CATALOG_NATTS];
		bool		nulls[STREAM_CATALOG_NATTS];

		damage = CatalogDeformDamaged(catalog, tuple, values, nulls);
	}
	table_close(catalog, AccessShareLock);
	return damage;
}

/* The stream's table, which may be gone; or InvalidOid. */
Oid
StreamRelation(const char *name)
{
	TableRef	ref;

	return StreamReference(name, &ref) ? TableRefFind(&ref) : InvalidOid;
}

static void
write_row(Relation catalog, const char *name, const StreamRow *row)
{
	HeapTuple	old = CatalogFetch(catalog, name);
	Datum		values[STREAM_CATALOG_NATTS];
	bool		nulls[STREAM_CATALOG_NATTS] = {0};
	HeapTuple	tuple;

	values[STREAM_CATALOG_NAME - 1] = CStringGetTextDatum(name);
	TableRefWrite(&row->ref, ref_columns, values, nulls);
	CatalogPutText(values, nulls, STREAM_CATALOG_POSITION, row->position);
	CatalogPutText(values, nulls, STREAM_CATALOG_GUARD, row->guard);
	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogRowUpdate(catalog, &old->t_self, tuple);
	else
		CatalogTupleInsert(catalog, tuple);
	CacheInvalidateRelcacheByRelid(RelationGetRelid(catalog));
}

/*
 * Write down which table the stream is; of an attached one, its position
 * column, and the guard, which may be NULL.
 */
void
StreamRegister(const char *name, Oid relid, const char *position,
			   const char *guard)
{
	Relation	catalog = CatalogOpen(STREAM_CATALOG, RowExclusiveLock);
	StreamRow	row = {.ref = TableRefOf(catalog, relid)};

	row.position = position == NULL ? NULL : pstrdup(position);
	row.guard = guard == NULL ? NULL : pstrdup(guard);
	write_row(catalog, name, &row);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/* Forget the stream. */
void
StreamUnregister(const char *name)
{
	CatalogDelete(STREAM_CATALOG, name);
	CacheInvalidateRelcacheByRelid(CatalogRelation(STREAM_CATALOG));
	CommandCounterIncrement();
}

/*
 * Write the stream's table down anew where it was renamed, or restored with a
 * dump.  If somebody else is about to, leave it to him.  True where it was
 * written down as it is.
 */
bool
StreamRenewReference(const Stream *stream)
{
	Oid			relid = RelationGetRelid(stream->relation);
	Relation	catalog;
	StreamRow	row;

	if (!read_row(stream->name, &row))
		return false;
	if (!TableRefIsStale(&row.ref, relid))
		return true;
	if (!KeyLockIfFree(KEYLOCK_STREAM, stream->name, ExclusiveLock))
		return false;
	catalog = CatalogOpen(STREAM_CATALOG, RowExclusiveLock);
	if (read_row(stream->name, &row) && TableRefFind(&row.ref) == relid &&
		TableRefIsStale(&row.ref, relid))
	{
		TableRefRenew(&row.ref, catalog, relid);
		write_row(catalog, stream->name, &row);
	}
	table_close(catalog, NoLock);
	CommandCounterIncrement();
	return false;
}

/* Take the table's parts; an error if it is not a stream any more. */
static StreamParts
examine(const char *name, Relation relation)
{
	StreamParts parts;
	StreamRow	row;
	Refusal    *refusal;

	if (!read_row(name, &row) || row.position == NULL)
		return StreamExamine(relation,
							 ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	refusal = AttachedExamine(relation, row.position, row.guard, &parts);
	/* it is attached already */
	if (refusal != NULL && refusal->hint != NULL &&
		strstr(refusal->hint, STREAM_NAME) != NULL)
		refusal->hint = "Undo what was changed in the table. Or drop the projections that read the stream, run stream_detach, and attach it anew.";
	if (refusal != NULL)
		AttachedRefuse(name, relation, refusal);
	return parts;
}

/*
 * Look whether the table is a stream still, and remember what was found.  An
 * invalidation that comes meanwhile finds the entry, whose partitions were
 * noted first, and removes it: then it is looked up again.
 */
static bool
make_entry(const char *name, Relation relation, StreamEntry *found)
{
	StreamEntry *entry;
	List	   *partitions = StreamPartitions(relation);
	uint64		facts = FactsNow();
	MemoryContext old;

	memset(found, 0, sizeof(*found));
	strlcpy(found->name, name, NAMEDATALEN);
	found->relid = RelationGetRelid(relation);
	found->parts = examine(name, relation);
	if (facts != FactsNow())
		return false;
	entry = hash_search(known_streams, name, HASH_ENTER, NULL);
	*entry = *found;
	old = MemoryContextSwitchTo(CacheMemoryContext);
	entry->partitions = list_copy(partitions);
	MemoryContextSwitchTo(old);
	return true;
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
		Oid			relid = entry ? entry->relid : StreamRelation(name);
		Relation	relation;

		if (!OidIsValid(relid))
			return NULL;
		relation = try_table_open(relid, mode);
		if (relation == NULL && entry == NULL)
			return NULL;		/* its table was dropped */
		if (relation != NULL && entry == NULL &&
			make_entry(name, relation, found))
			return relation;
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
 * An error where the stream is known and its table is gone: an empty one in its
 * place would be a beginning that nobody has asked for.
 */
void
StreamRefuseGone(const char *name)
{
	TableRef	ref;

	if (!StreamReference(name, &ref))
		return;
	if (StreamIsAttached(name))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the table of stream \"%s\" was dropped", name),
				 errdetail("Its events are gone with it."),
				 errhint("Drop the projections that read it, and run: SELECT stream_detach(%s);",
						 quote_literal_cstr(name))));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the table of stream \"%s\" was dropped", name),
			 errdetail("Its events are gone with it."),
			 errhint("Restore it, then run: SELECT stream_create(%s); which takes it over, or else begins with no events at all.",
					 quote_literal_cstr(name))));
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
		StreamRefuseGone(name);
		StreamRefuseUnknown(name);
	}
	stream = palloc(sizeof(Stream));
	stream->name = pstrdup(name);
	stream->relation = relation;
	stream->parts = entry.parts;
	stream->rows = !entry.parts.created;
	stream->alone = false;
	return stream;
}

/* Close the stream; the lock stays until the transaction ends. */
void
StreamRelease(Stream *stream)
{
	table_close(stream->relation, NoLock);
	pfree(stream);
}

/*
 * An error if the stream is an attached table, of which the extension knows the
 * numbers alone; what: cannot be done with it.
 */
void
StreamCheckCreated(const Stream *stream, const char *what, const char *hint)
{
	if (stream->parts.created)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not possible for stream \"%s\"", what, stream->name),
			 errdetail("It is table \"%s\", which was attached; its columns are its own.",
					   TableNameOf(RelationGetRelid(stream->relation))),
			 errhint("%s", hint)));
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
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for stream \"%s\"", stream->name),
				 errdetail("Role \"%s\" needs the right to %s on its table \"%s\".",
						   GetUserNameFromId(role, false),
						   rights == ACL_INSERT ? "INSERT" : "SELECT",
						   RelationGetRelationName(stream->relation))));
	if (check_enable_rls(relid, role, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row-level security of stream \"%s\" applies to role \"%s\"",
						stream->name, GetUserNameFromId(role, false)),
				 errhint("Events cannot be filtered by policies. Use the table's owner, or a role with BYPASSRLS.")));
}

/*
 * wallet_projection.last_position(stream): null where there is no table, or
 * one that is not numbered, or somebody has locked it.  For views: it must
 * not fail, and wait for nobody.
 */
Datum
stream_last_position(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TableLook  *look = StreamDamage(name) != NULL ? NULL :
		TableLookBegin(StreamRelation(name));
	StreamParts parts;
	bool		found = false;
	int64		number = 0;

	if (look != NULL)
	{
		found = StreamNumbering(name, look->relation, &parts);
		if (found)
			number = SequenceLastNumber(parts.sequence);
		TableLookEnd(look);
	}
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_INT64(number);
}
