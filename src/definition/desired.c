/*
 * desired.c
 *		What is wanted: which projections are started, and how many workers
 *		their channels have.
 *
 * The truth is in this database, in wallet_projection.started and .channel.
 * The launcher is connected to no database, and cannot read them.  So what
 * follows from them, the channels with something to do, is published as a
 * label in pg_shseclabel, one of the few catalogs that can be read without a
 * database (pg_db_role_setting cannot).  The label changes in the same
 * transaction as the tables, survives restarts and renaming, goes with the
 * database when that is dropped, and is not copied with it.
 *
 * The label belongs to (pg_db_role_setting, the database's OID), not to
 * (pg_database, OID) as up to version 0.1.0: pg_dump writes a label of the
 * latter down as SECURITY LABEL ... ON DATABASE, which fails where the library
 * is not preloaded, and pg_upgrade with it.  A label of ours is never dumped.
 * pg_upgrade takes the tables along, and the launcher's survey
 * (worker/survey.c) makes a new label from them.
 *
 * wallet_projection.started is not dumped: a restored projection is stopped
 * until somebody starts it, so that no worker reads half a stream.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "commands/seclabel.h"
#include "compat.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "catalog.h"
#include "catalog_row.h"
#include "definition/desired.h"
#include "keylock.h"
#include "notice.h"

/*
 * A longer label might be moved out of line, where the launcher cannot read
 * it.
 */
#define LABEL_LENGTH_MAX 1600

SQL_FUNCTION(desired_publish);

/*
 * Lock what is wanted, until the transaction ends.  The functions below do it
 * themselves; whoever locks tables as well calls this before.
 */
void
DesiredLock(void)
{
	KeyLock(KEYLOCK_DESIRED, "", ExclusiveLock);
}

/* Was it started here?  A copy of a database has rows of the original. */
static bool
is_of_here(Relation catalog, HeapTuple tuple)
{
	Datum		values[STARTED_CATALOG_NATTS];
	bool		nulls[STARTED_CATALOG_NATTS];

	return CatalogDeformDamaged(catalog, tuple, values, nulls) == NULL &&
		DatumGetObjectId(values[STARTED_CATALOG_DATABASE - 1]) == MyDatabaseId;
}

/* Has somebody started this projection? */
bool
DesiredStarted(const char *projection)
{
	Relation	catalog = CatalogOpen(STARTED_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, projection);
	bool		started = HeapTupleIsValid(tuple) && is_of_here(catalog, tuple);

	table_close(catalog, AccessShareLock);
	return started;
}

/*
 * Write down that a projection is to run.  The caller holds its lock, in any
 * mode.
 */
void
DesiredStart(const Projection *projection)
{
	Relation	catalog;
	HeapTuple	old;
	HeapTuple	tuple;
	Datum		values[STARTED_CATALOG_NATTS];
	bool		nulls[STARTED_CATALOG_NATTS] = {0};

	DesiredLock();
	catalog = CatalogOpen(STARTED_CATALOG, RowExclusiveLock);
	old = CatalogFetch(catalog, projection->name);
	values[STARTED_CATALOG_PROJECTION - 1] = CStringGetTextDatum(projection->name);
	values[STARTED_CATALOG_DATABASE - 1] = ObjectIdGetDatum(MyDatabaseId);
	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	if (!HeapTupleIsValid(old))
		CatalogTupleInsert(catalog, tuple);
	else if (!is_of_here(catalog, old))
		CatalogRowUpdate(catalog, &old->t_self, tuple);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
	DesiredPublish();
}

/* Write down that it is not.  The caller holds its lock exclusively. */
void
DesiredStop(const Projection *projection)
{
	DesiredLock();
	CatalogDelete(STARTED_CATALOG, projection->name);
	DesiredPublish();
}

/*
 * The workers that a channel is to have; -1: as many as the setting says.  A
 * damaged row must not keep the other channels from being published.
 */
int
DesiredWorkers(const char *channel)
{
	Relation	catalog = CatalogOpen(CHANNEL_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, channel);
	int			workers = -1;
	Datum		values[CHANNEL_CATALOG_NATTS];
	bool		nulls[CHANNEL_CATALOG_NATTS];

	if (HeapTupleIsValid(tuple))
	{
		CatalogDamage *damage = CatalogDeformDamaged(catalog, tuple, values,
													 nulls);

		if (damage == NULL)
			workers = DatumGetInt32(values[CHANNEL_CATALOG_WORKERS - 1]);
		else
			ereport(WARNING,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg_internal("%s", CatalogDamageText(damage))));
	}
	table_close(catalog, AccessShareLock);
	return workers;
}

/* Write down how many workers a channel is to have. */
void
DesiredScale(const char *channel, int workers)
{
	Relation	catalog;
	HeapTuple	old;
	HeapTuple	tuple;
	Datum		values[CHANNEL_CATALOG_NATTS];
	bool		nulls[CHANNEL_CATALOG_NATTS] = {0};

	DesiredLock();
	catalog = CatalogOpen(CHANNEL_CATALOG, RowExclusiveLock);
	values[CHANNEL_CATALOG_NAME - 1] = CStringGetTextDatum(channel);
	values[CHANNEL_CATALOG_WORKERS - 1] = Int32GetDatum(workers);
	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	old = CatalogFetch(catalog, channel);
	if (HeapTupleIsValid(old))
		CatalogRowUpdate(catalog, &old->t_self, tuple);
	else
		CatalogTupleInsert(catalog, tuple);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
	DesiredPublish();
}

/* The names of the started projections' channels, each once. */
static List *
channels_to_serve(void)
{
	Relation	catalog = CatalogOpen(STARTED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, NULL);
	List	   *channels = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[STARTED_CATALOG_NATTS];
		bool		nulls[STARTED_CATALOG_NATTS];
		Projection *projection;
		char	   *channel;
		ListCell   *cell;

		if (!is_of_here(catalog, tuple))
			continue;
		heap_deform_tuple(tuple, RelationGetDescr(catalog), values, nulls);
		projection = ProjectionFind(TextDatumGetCString(values[STARTED_CATALOG_PROJECTION - 1]));
		if (projection == NULL || projection->channel == NULL)
			continue;
		channel = projection->channel;
		foreach(cell, channels)
		{
			if (strcmp(lfirst(cell), channel) == 0)
				break;
		}
		if (cell == NULL)
			channels = lappend(channels, channel);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return channels;
}

/* One channel of the label: "name=workers" or "name=", in double quotes. */
static void
append_wish(StringInfo label, const char *channel, int workers)
{
	appendStringInfoString(label, label->len == 0 ? "\"" : ", \"");
	for (const char *c = channel; *c != '\0'; c++)
	{
		if (*c == '"')
			appendStringInfoChar(label, '"');
		appendStringInfoChar(label, *c);
	}
	appendStringInfoChar(label, '=');
	if (workers >= 0)
		appendStringInfo(label, "%d", workers);
	appendStringInfoChar(label, '"');
}

/* What stands behind a channel's name; false if it is not a number of workers. */
static bool
parse_workers(const char *string, int *workers)
{
	char	   *end;
	long		number;

	*workers = -1;
	if (*string == '\0')
		return true;
	if (*string < '0' || *string > '9')
		return false;
	errno = 0;
	number = strtol(string, &end, 10);
	if (*end != '\0' || errno != 0 || number > CHANNEL_WORKERS_MAX)
		return false;
	*workers = (int) number;
	return true;
}

/* The label back into a list of DesiredChannel; NIL if it is not one of ours. */
List *
DesiredParse(const char *label)
{
	List	   *elements;
	List	   *desired = NIL;
	ListCell   *cell;

	if (strlen(label) > LABEL_LENGTH_MAX)
		return NIL;
	if (!SplitGUCList(pstrdup(label), ',', &elements))
		return NIL;
	foreach(cell, elements)
	{
		DesiredChannel *entry = palloc(sizeof(DesiredChannel));
		char	   *end;

		entry->channel = pstrdup(lfirst(cell));
		end = strrchr(entry->channel, '=');
		if (end == NULL || end == entry->channel ||
			end - entry->channel >= NAMEDATALEN)
			return NIL;
		*end++ = '\0';
		if (!parse_workers(end, &entry->workers))
			return NIL;
		desired = lappend(desired, entry);
	}
	return desired;
}

/* What the launcher reads of this database; NULL: nothing is wanted. */
char *
DesiredPublished(void)
{
	ObjectAddress object;

	ObjectAddressSet(object, DESIRED_CLASS, MyDatabaseId);
	return GetSecurityLabel(&object, DESIRED_PROVIDER);
}

/* A label that version 0.1.0 has set, or its dump: nobody reads it. */
static void
remove_old_label(void)
{
	ObjectAddress database;

	ObjectAddressSet(database, DatabaseRelationId, MyDatabaseId);
	if (GetSecurityLabel(&database, DESIRED_PROVIDER) != NULL)
		SetSecurityLabel(&database, DESIRED_PROVIDER, NULL);
}

static void
set_label(const char *label)
{
	ObjectAddress object;
	char	   *old = DesiredPublished();

	ObjectAddressSet(object, DESIRED_CLASS, MyDatabaseId);
	if (label == NULL ? old != NULL : old == NULL || strcmp(label, old) != 0)
		SetSecurityLabel(&object, DESIRED_PROVIDER, label);
	remove_old_label();
	CommandCounterIncrement();
	NoticeDesired();
}

/*
 * Publish what the tables say, at commit.  To be called after each change of
 * them, of a projection's channel, and when a worker finds nothing to do.
 */
void
DesiredPublish(void)
{
	StringInfoData label;
	ListCell   *cell;

	DesiredLock();
	initStringInfo(&label);
	foreach(cell, channels_to_serve())
		append_wish(&label, lfirst(cell), DesiredWorkers(lfirst(cell)));
	if (label.len > LABEL_LENGTH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many channels with started projections in this database"),
				 errdetail("The list of their names and workers has %d bytes; it may have up to %d.",
						   label.len, LABEL_LENGTH_MAX),
				 errhint("Let projections share a channel, by projection_set(name, 'channel', ...).")));
	set_label(label.len == 0 ? NULL : label.data);
}

/* The same at the end of an update script, which makes and drops it. */
Datum
desired_publish(PG_FUNCTION_ARGS)
{
	DesiredPublish();
	PG_RETURN_VOID();
}

/*
 * If the extension is gone from this database, nothing is wanted any more.
 * Whoever makes it anew and starts a projection has the lock until that is
 * committed.
 */
void
DesiredWithdraw(void)
{
	DesiredLock();
	if (!OidIsValid(get_extension_oid("wallet_projection", true)))
		set_label(NULL);
}

static object_access_hook_type other_access_hook = NULL;

/* object_access_hook: the label of a database that is dropped goes with it. */
static void
drop_label(ObjectAccessType access, Oid class, Oid object, int part, void *arg)
{
	if (other_access_hook)
		other_access_hook(access, class, object, part, arg);
	if (access == OAT_DROP && class == DatabaseRelationId)
		DeleteSharedSecurityLabel(object, DESIRED_CLASS);
}

/* From _PG_init, while the server preloads libraries. */
void
DesiredInstall(void)
{
	other_access_hook = object_access_hook;
	object_access_hook = drop_label;
}
