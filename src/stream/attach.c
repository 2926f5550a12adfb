/*
 * attach.c
 *		Tables of any columns made streams: stream_attach, stream_detach.
 *
 * Who may: the table's owner.  A projection may also be created by somebody
 * who can only read the table; then it is attached without a question, and
 * nothing in the table is changed (StreamAttachFor).
 *
 * Names of streams are everybody's.  So that nobody can take one that
 * somebody else counts on, a table may always be attached under its full name,
 * "schema.table", and under any other by who may create in the extension's
 * schema, as stream_create asks for; never under one that a projection reads.
 *
 * Locks: KEYLOCK_STREAM on the table, then on the stream's name, until the
 * transaction ends: nobody else attaches or detaches either of them meanwhile.
 */
#include "postgres.h"

#include "compat.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "argument.h"
#include "catalog.h"
#include "catalog_row.h"
#include "keylock.h"
#include "stream/attach.h"
#include "stream/attached.h"
#include "stream/notify.h"
#include "stream/reader.h"

SQL_FUNCTION(stream_attach);
SQL_FUNCTION(stream_detach);
SQL_FUNCTION(stream_rows);

/* Nobody else makes this table a stream, or ends that. */
static void
lock_table(Oid relid)
{
	KeyLock(KEYLOCK_STREAM, psprintf("table %u", relid), ExclusiveLock);
}

/* The stream that the table is; NULL if it is none. */
char *
StreamOfTable(Oid relid)
{
	Relation	catalog = CatalogOpen(STREAM_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, NULL);
	char	   *name = NULL;
	HeapTuple	tuple;

	while (name == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[STREAM_CATALOG_NATTS];
		bool		nulls[STREAM_CATALOG_NATTS];
		TableRef	ref;

		if (CatalogDeformDamaged(catalog, tuple, values, nulls) != NULL)
			continue;
		name = CatalogGetText(values, nulls, STREAM_CATALOG_NAME);
		if (!StreamReference(name, &ref) || TableRefFind(&ref) != relid)
			name = NULL;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return name;
}

/* The projections that read a stream of this name, separated by commas; or NULL. */
static char *
readers_of(const char *stream)
{
	Relation	catalog = CatalogOpen(PROJECTION_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, NULL);
	StringInfoData names;
	HeapTuple	tuple;

	initStringInfo(&names);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[PROJECTION_CATALOG_NATTS];
		bool		nulls[PROJECTION_CATALOG_NATTS];
		char	   *read;

		if (CatalogDeformDamaged(catalog, tuple, values, nulls) != NULL)
			continue;
		read = CatalogGetText(values, nulls, PROJECTION_CATALOG_STREAM);
		if (strcmp(read, stream) == 0)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "",
							 CatalogGetText(values, nulls, PROJECTION_CATALOG_NAME));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return names.len > 0 ? names.data : NULL;
}

static bool
may_name_freely(void)
{
	return compat_may_create_in(ExtensionSchema());
}

/* Is there no stream of this name, and does no projection read one? */
static bool
is_free(const char *name)
{
	TableRef	ref;

	return !StreamReference(name, &ref) && readers_of(name) == NULL;
}

/* An error: the current role may use no name but the table's own. */
static void
refuse_other_name(Oid relid, const char *position, const char *guard)
{
	const char *own = quote_literal_cstr(StreamFullName(relid));

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for schema %s",
					get_namespace_name(ExtensionSchema())),
			 errdetail("Without the right to create in the extension's schema, the stream's name must be the table's, with its schema: %s.", own),
			 errhint("Run: SELECT stream_attach(%s, %s%s%s%s%s);", own, own,
					 position == NULL ? "" : ", ",
					 position == NULL ? "" : quote_literal_cstr(position),
					 guard == NULL ? "" : ", guard => ",
					 guard == NULL ? "" : quote_literal_cstr(guard))));
}

/* An error unless the table may be attached under this name. */
static void
check_name(const char *name, Oid relid, const char *position,
		   const char *guard)
{
	TableRef	ref;
	char	   *readers;

	if (StreamReference(name, &ref))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("stream \"%s\" exists already", name),
				 TableNameOf(TableRefFind(&ref)) != NULL ?
				 errdetail("It is table \"%s\".", TableNameOf(TableRefFind(&ref))) :
				 errdetail("Its table was dropped."),
				 errhint("Take another name, or run: SELECT stream_detach(%s);",
						 quote_literal_cstr(name))));
	readers = readers_of(name);
	if (readers != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the name \"%s\" is that of a stream which is yet to be created", name),
				 errdetail("It is read by %s.", readers),
				 errhint("Take another name.")));
	if (strcmp(name, StreamFullName(relid)) != 0 && !may_name_freely())
		refuse_other_name(relid, position, guard);
}

/* What is wrong with the numbers that are there. */
static Refusal *
examine_numbers(Relation relation, const StreamParts *parts)
{
	int64		lowest = StreamLowestNumber(relation, parts);
	const char *column = quote_identifier(get_attname(RelationGetRelid(relation),
													  parts->position, false));
	int64		above;

	if (lowest < 1)
		return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						   psprintf("It has a row with number %lld. Events with numbers below 1 are never applied.",
									(long long) lowest),
						   psprintf("Give such rows new numbers: UPDATE %s SET %s = DEFAULT WHERE %s < 1;",
									QualifiedName(relation), column, column));
	above = StreamNumberAbove(relation, parts);
	if (above == 0)
		return NULL;
	return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					   psprintf("It has a row with number %lld, and the last number drawn from its sequence is %lld.",
								(long long) above,
								(long long) SequenceLastNumber(parts->sequence)),
					   psprintf("Set the sequence forward: SELECT setval(%s, %lld);",
								quote_literal_cstr(TableNameOf(parts->sequence)),
								(long long) above));
}

/* Attach the table, which is open, under a name that is free. */
static void
attach(const char *name, Relation relation, const char *position,
	   const char *guard)
{
	StreamParts parts;
	Refusal    *refusal = AttachedExamine(relation, position, guard, &parts);

	if (refusal == NULL)
		refusal = AttachedShared(relation, parts.position, parts.sequence);
	if (refusal == NULL)
		refusal = examine_numbers(relation, &parts);
	if (refusal != NULL)
		AttachedRefuse(name, relation, refusal);
	StreamRegister(name, RelationGetRelid(relation),
				   get_attname(RelationGetRelid(relation), parts.position, false),
				   guard);
}

/*
 * Have the table's column filled by nobody but its sequence.  Whatever else is
 * wrong with the table is found before that.
 */
static void
make_identity(const char *name, Oid relid, const char *position)
{
	StreamParts parts;
	Relation	relation = relation_open(relid, NoLock);
	Refusal    *refusal = AttachedExamine(relation, position, GUARD_TRUST,
										  &parts);
	bool		is_identity;

	if (refusal == NULL)
		refusal = AttachedShared(relation, parts.position, parts.sequence);
	if (refusal == NULL)
		refusal = AttachedTriggers(relation, parts.position);
	if (refusal != NULL)
		AttachedRefuse(name, relation, refusal);
	is_identity = IsIdentityAlways(relation, parts.position);
	/* ALTER TABLE wants it for itself */
	relation_close(relation, NoLock);
	if (!is_identity)
		GuardByIdentity(relid, &parts);
}

static void
check_guard(const char *guard)
{
	if (guard == NULL || strcmp(guard, GUARD_IDENTITY) == 0 ||
		strcmp(guard, GUARD_TRUST) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"guard\" must be 'identity' or 'trust'")));
}

/* Lock the table, which must be the current role's. */
static void
lock_owned(Oid relid, LOCKMODE mode)
{
	if (get_rel_name(relid) != NULL && !compat_owns_relation(relid))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
	LockRelationOid(relid, mode);
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	/* it may be somebody else's now */
	if (!compat_owns_relation(relid))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
}

/* stream_attach(stream, relation, position, guard) */
Datum
stream_attach(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "stream");
	Oid			relid = PG_GETARG_OID(1);
	const char *position = PG_ARGISNULL(2) ? NULL : NameStr(*PG_GETARG_NAME(2));
	const char *guard = PG_ARGISNULL(3) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(3));
	bool		change = guard != NULL && strcmp(guard, GUARD_IDENTITY) == 0;
	Relation	relation;
	char	   *other;

	ArgumentNotNull(fcinfo, 1, "relation");
	check_guard(guard);
	PreventCommandIfReadOnly("stream_attach()");
	lock_table(relid);
	KeyLock(KEYLOCK_STREAM, name, ExclusiveLock);
	lock_owned(relid, change ? AccessExclusiveLock : AccessShareLock);
	check_name(name, relid, position, guard);
	other = StreamOfTable(relid);
	if (other != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("table \"%s\" is stream \"%s\" already",
						get_rel_name(relid), other)));
	if (change)
		make_identity(name, relid, position);
	relation = relation_open(relid, NoLock);
	attach(name, relation, position, guard);
	relation_close(relation, NoLock);
	PG_RETURN_VOID();
}

/* The name under which a table is attached by whoever may read it. */
static char *
choose_name(Oid relid)
{
	char	   *name = may_name_freely() ? get_rel_name(relid) : NULL;

	if (name == NULL || !is_free(name))
		name = StreamFullName(relid);
	KeyLock(KEYLOCK_STREAM, name, ExclusiveLock);
	check_name(name, relid, NULL, NULL);
	return name;
}

/*
 * The stream that the table is, for a projection; it is attached, if no
 * question has to be asked for that.  The caller has seen to it that the
 * current role may read what it wants of it.  The stream is not detached until the transaction ends.
 */
char *
StreamAttachFor(Oid relid)
{
	Relation	relation;
	char	   *name;

	lock_table(relid);
	name = StreamOfTable(relid);
	if (name != NULL)
		return name;
	relation = relation_open(relid, AccessShareLock);
	name = choose_name(relid);
	attach(name, relation, NULL, NULL);
	relation_close(relation, NoLock);
	return name;
}

/* An error unless the current role may detach the stream of this table. */
static void
check_detach(const char *name, Oid relid)
{
	char	   *readers;
	bool		is_there = get_rel_name(relid) != NULL;

	if (is_there ? !compat_owns_relation(relid) : !may_name_freely())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of stream \"%s\"", name),
				 is_there ? 0 : errdetail("Its table was dropped."),
				 is_there ? 0 : errhint("A role that may create in the extension's schema can detach it.")));
	readers = readers_of(name);
	if (readers != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("stream \"%s\" is read by projections", name),
				 errdetail("These are: %s.", readers),
				 errhint("Drop them first, with projection_drop.")));
}

/* An error: no attached table has this name. */
static void
refuse_detach(const char *name)
{
	char	   *meant = StreamOfTableInPath(name);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no attached stream \"%s\"", name),
			 meant != NULL && StreamIsAttached(meant) ?
			 errhint("The stream of table \"%s\" is called %s.", name,
					 quote_literal_cstr(meant)) :
			 errhint("Streams that stream_create has made are not detached.")));
}

/* stream_detach(stream) */
Datum
stream_detach(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "stream");
	Oid			relid = StreamRelation(name);

	PreventCommandIfReadOnly("stream_detach()");
	lock_table(relid);
	KeyLock(KEYLOCK_STREAM, name, ExclusiveLock);
	if (!StreamIsAttached(name))
		refuse_detach(name);
	relid = StreamRelation(name);
	check_detach(name, relid);
	StreamUnregister(name);
	if (OidIsValid(relid) && get_rel_name(relid) != NULL)
		NotifyDrop(relid);
	PG_RETURN_VOID();
}

/* EventReceiver: its number into a tuplestore */
static bool
store_number(void *state, const Event *event)
{
	ReturnSetInfo *result = state;
	Datum		value = Int64GetDatum(event->no);
	bool		isnull = false;

	tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	return true;
}

/* wallet_projection.stream_rows(stream, first, last): the numbers in order */
Datum
stream_rows(PG_FUNCTION_ARGS)
{
	Stream	   *stream = StreamOpen(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									AccessShareLock, false);

	StreamCheckRights(stream, GetUserId(), ACL_SELECT);
	stream->rows = true;
	compat_InitScalarSRF(fcinfo);
	(void) ReadEvents(stream, GetActiveSnapshot(), PG_GETARG_INT64(1),
					  PG_GETARG_INT64(2), store_number, fcinfo->resultinfo);
	StreamRelease(stream);
	return (Datum) 0;
}
