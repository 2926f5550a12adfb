/*
 * create.c
 *		stream_create, and streams that are made when they are needed.
 */
#include "postgres.h"

#include "access/relation.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "argument.h"
#include "catalog.h"
#include "keylock.h"
#include "stream/stream.h"

SQL_FUNCTION(stream_create);

/* The statement that makes a stream's table. */
static char *
create_statement(Oid schema, const char *name)
{
	return psprintf("CREATE TABLE %s ("
					"no bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE " INT64_FORMAT ") PRIMARY KEY, "
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
					STREAM_NUMBER_MAX, EVENT_NAME_LENGTH, IDENTIFIER_LENGTH, IDENTIFIER_LENGTH);
}

/*
 * A table that somebody else has put where the stream is to be: nobody takes it
 * over without saying so, as its triggers would run with the rights of those
 * who append.
 */
static void
refuse_strangers_table(Relation relation)
{
	const char *name = RelationGetRelationName(relation);

	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("table \"%s\" is there already, and is not yours", name),
			 errdetail("Its owner is role \"%s\".",
					   GetUserNameFromId(relation->rd_rel->relowner, false)),
			 errhint("If it is the stream of an earlier installation, run as its owner or as superuser: SELECT stream_create(%s);",
					 quote_literal_cstr(name))));
}

/*
 * Make the stream's table, or take over one that an earlier installation of
 * the extension has left behind; asked: by whoever has named it.
 */
static void
create_stream(const char *name, bool asked)
{
	Oid			schema = ExtensionSchema();
	Oid			relid = get_relname_relid(name, schema);

	PreventCommandIfReadOnly("stream_create()");
	if (!OidIsValid(relid))
	{
		RunUtility(create_statement(schema, name));
		relid = get_relname_relid(name, schema);
	}
	else
	{
		Relation	relation = relation_open(relid, AccessShareLock);

		if (!compat_owns_relation(relid))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name);
		if (!asked && relation->rd_rel->relowner != GetUserId())
			refuse_strangers_table(relation);
		(void) StreamExamine(relation, ERRCODE_DUPLICATE_TABLE);
		relation_close(relation, NoLock);
	}
	StreamKeepHistory(quote_qualified_identifier(get_namespace_name(schema),
												 name));
	StreamRegister(name, relid, NULL, NULL);
}

/* An error if the stream, in which there are to be our own events, is attached. */
static void
check_own(const Stream *stream)
{
	StreamCheckCreated(stream, "what is built into the extension",
					   "Detach it, and attach the table under another name.");
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
		StreamRefuseGone(name);
		create_stream(name, false);
		stream = StreamOpen(name, mode, false);
	}
	check_own(stream);
	return stream;
}

/*
 * Open a stream; NULL if there is none.  One whose table an earlier
 * installation of the extension has left behind is taken over.
 */
Stream *
StreamFind(const char *name, LOCKMODE mode)
{
	Stream	   *stream = StreamOpen(name, mode, true);

	if (stream == NULL)
		StreamRefuseGone(name);
	if (stream == NULL &&
		OidIsValid(get_relname_relid(name, ExtensionSchema())))
		stream = StreamEnsure(name, mode);
	if (stream != NULL)
		check_own(stream);
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
	create_stream(name, true);
	PG_RETURN_VOID();
}
