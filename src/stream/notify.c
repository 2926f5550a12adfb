/*
 * notify.c
 *		Writers that know nothing of us wake the workers: stream_notify.
 *
 * A trigger after each INSERT does it.  One for each statement is enough, and
 * does not cost anything per row; it fires for the table that the statement
 * names, so partitions and children have one of their own, for who inserts
 * straight into them.  One that is attached later has none until stream_notify
 * is called again: then workers look for its events after poll_interval.
 */
#include "postgres.h"

#include "compat.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "argument.h"
#include "catalog.h"
#include "notice.h"
#include "stream/attached.h"
#include "stream/notify.h"
#include "tableref.h"

#define NOTIFY_TRIGGER "wallet_projection_notify"

SQL_FUNCTION(stream_notify);
SQL_FUNCTION(stream_wake);

/* The stream's table and all tables that hold its events. */
static List *
tables_of(Oid relid)
{
	List	   *tables = find_all_inheritors(relid, AccessShareLock, NULL);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, tables)
	{
		char		relkind = get_rel_relkind(lfirst_oid(cell));

		if (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE)
			result = lappend_oid(result, lfirst_oid(cell));
	}
	list_free(tables);
	return result;
}

static void
create_trigger(Oid relid)
{
	const char *table = TableNameOf(relid);

	RunUtility(psprintf("CREATE OR REPLACE TRIGGER " NOTIFY_TRIGGER
						" AFTER INSERT ON %s FOR EACH STATEMENT"
						" EXECUTE FUNCTION " CATALOG_SCHEMA ".stream_wake()",
						table));
	/* so that it does not stand in the way of DROP EXTENSION */
	RunUtility(psprintf("ALTER TRIGGER " NOTIFY_TRIGGER
						" ON %s DEPENDS ON EXTENSION wallet_projection",
						table));
}

/* Drop the triggers of a stream's table, and of its partitions, that are there. */
void
NotifyDrop(Oid relid)
{
	ListCell   *cell;

	foreach(cell, tables_of(relid))
	{
		if (OidIsValid(get_trigger_oid(lfirst_oid(cell), NOTIFY_TRIGGER, true)))
			RunUtility(psprintf("DROP TRIGGER " NOTIFY_TRIGGER " ON %s",
								TableNameOf(lfirst_oid(cell))));
	}
}

/* stream_notify(stream, on) */
Datum
stream_notify(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "stream");
	Stream	   *stream;
	ListCell   *cell;
	Oid			relid;

	ArgumentNotNull(fcinfo, 1, "on");
	PreventCommandIfReadOnly("stream_notify()");
	stream = StreamOpen(name, AccessShareLock, false);
	relid = RelationGetRelid(stream->relation);
	if (!compat_owns_relation(relid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of stream \"%s\"", name)));
	StreamRelease(stream);
	if (!PG_GETARG_BOOL(1))
		NotifyDrop(relid);
	else
	{
		foreach(cell, tables_of(relid))
			create_trigger(lfirst_oid(cell));
	}
	PG_RETURN_VOID();
}

/* wallet_projection.stream_wake(), the trigger's function */
Datum
stream_wake(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid			relid;
	Oid			parent;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("stream_wake() is to be called as a trigger"),
				 errhint("Use stream_notify.")));
	relid = RelationGetRelid(trigger->tg_relation);
	parent = TopmostParent(relid);
	NoticeAppendAny(OidIsValid(parent) ? parent : relid);
	PG_RETURN_POINTER(NULL);
}
