/*
 * projection.c
 *		Definitions of projections.
 *
 * A definition is a row of wallet_projection.projection, as declared.  What
 * has changed since (options, the read model, the last error) is a row of
 * wallet_projection.projection_state, so that a dump can bring it back where
 * the definition comes with the extension itself.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "catalog_row.h"
#include "definition/projection.h"
#include "keylock.h"
#include "stream/stream.h"

/* the column "handler" of a projection that has a definition */
#define DECLARED_HANDLER "declared"

#define DEFAULT_MAX_PARKED 100000

static const TableRefColumns ref_columns = {
	STATE_CATALOG_READ_MODEL, STATE_CATALOG_TABLE_SCHEMA
};

/* until somebody sets it otherwise */
static const RetryPolicy default_retry = {
	.max_attempts = 5,
	.delay = 1000,
	.multiplier = 2,
	.max_delay = 5 * 60 * 1000,
	.jitter = 0.1
};

/* A text that a damaged row may have; or NULL. */
static char *
sound_text(Relation catalog, int column, const Datum *values,
		   const bool *nulls)
{
	return nulls[column - 1] ||
		!CatalogColumnIsSound(catalog, column, values, nulls) ? NULL :
		TextDatumGetCString(values[column - 1]);
}

static void
read_definition(Projection *projection, Relation catalog, HeapTuple tuple)
{
	Datum		values[PROJECTION_CATALOG_NATTS];
	bool		nulls[PROJECTION_CATALOG_NATTS];
	char	   *handler;

	projection->damage = CatalogDeformDamaged(catalog, tuple, values, nulls);
	projection->name = sound_text(catalog, PROJECTION_CATALOG_NAME, values, nulls);
	projection->channel = sound_text(catalog, PROJECTION_CATALOG_CHANNEL, values, nulls);
	if (projection->damage != NULL)
		return;
	projection->stream = TextDatumGetCString(values[PROJECTION_CATALOG_STREAM - 1]);
	projection->aggregate_type = TextDatumGetCString(values[PROJECTION_CATALOG_AGGREGATE_TYPE - 1]);
	projection->partitions = DatumGetInt32(values[PROJECTION_CATALOG_PARTITIONS - 1]);
	projection->batch_size = DatumGetInt32(values[PROJECTION_CATALOG_BATCH_SIZE - 1]);
	projection->retry = default_retry;
	projection->max_parked = DEFAULT_MAX_PARKED;
	handler = TextDatumGetCString(values[PROJECTION_CATALOG_HANDLER - 1]);
	if (strcmp(handler, DECLARED_HANDLER) == 0)
	{
		projection->declared = DeclaredRead(projection->name,
											&projection->damage);
		if (projection->declared == NULL && projection->damage == NULL)
			projection->damage = CatalogDamageOf(catalog, values, nulls,
												 "column \"handler\" says that it is declared, and there is no definition");
		return;
	}
	projection->handler = HandlerFind(handler);
	if (projection->handler == NULL)
		projection->damage = CatalogDamageOf(catalog, values, nulls,
											 psprintf("column \"handler\" is \"%s\", and there is no handler of this name",
													  handler));
}

/* The options that were set. */
static void
read_options(Projection *projection, const Datum *values, const bool *nulls)
{
	RetryPolicy *retry = &projection->retry;

	if (!nulls[STATE_CATALOG_PARTITIONS - 1])
		projection->partitions = DatumGetInt32(values[STATE_CATALOG_PARTITIONS - 1]);
	if (!nulls[STATE_CATALOG_BATCH_SIZE - 1])
		projection->batch_size = DatumGetInt32(values[STATE_CATALOG_BATCH_SIZE - 1]);
	if (!nulls[STATE_CATALOG_MAX_ATTEMPTS - 1])
		retry->max_attempts = DatumGetInt32(values[STATE_CATALOG_MAX_ATTEMPTS - 1]);
	if (!nulls[STATE_CATALOG_RETRY_DELAY - 1])
		retry->delay = DatumGetInt64(values[STATE_CATALOG_RETRY_DELAY - 1]);
	if (!nulls[STATE_CATALOG_RETRY_MULTIPLIER - 1])
		retry->multiplier = DatumGetFloat8(values[STATE_CATALOG_RETRY_MULTIPLIER - 1]);
	if (!nulls[STATE_CATALOG_RETRY_MAX_DELAY - 1])
		retry->max_delay = DatumGetInt64(values[STATE_CATALOG_RETRY_MAX_DELAY - 1]);
	if (!nulls[STATE_CATALOG_RETRY_JITTER - 1])
		retry->jitter = DatumGetFloat8(values[STATE_CATALOG_RETRY_JITTER - 1]);
	if (!nulls[STATE_CATALOG_MAX_PARKED - 1])
		projection->max_parked = DatumGetInt32(values[STATE_CATALOG_MAX_PARKED - 1]);
	if (!nulls[STATE_CATALOG_VERIFY_RATE - 1])
		projection->verify_rate = DatumGetInt32(values[STATE_CATALOG_VERIFY_RATE - 1]);
}

/*
 * Was the stream another table than the positions are of already where both
 * rows come from?  There their OIDs meant tables.
 */
static bool
was_replaced(const Projection *projection)
{
	TableRef	stream;

	return OidIsValid(projection->relation) &&
		StreamReference(projection->stream, &stream) && !stream.here &&
		stream.installation != NULL && projection->ref.installation != NULL &&
		strcmp(stream.installation, projection->ref.installation) == 0 &&
		stream.relid != projection->relation;
}

/* Which tables it has, once it is initialized. */
static void
read_tables(Projection *projection, Relation catalog, const Datum *values,
			const bool *nulls)
{
	projection->initialized = true;
	projection->ref = TableRefRead(catalog, ref_columns, values, nulls);
	projection->read_model = TableRefFind(&projection->ref);
	if (!nulls[STATE_CATALOG_OWNER - 1])
		projection->owner = DatumGetObjectId(values[STATE_CATALOG_OWNER - 1]);
	projection->owner_name = CatalogGetText(values, nulls, STATE_CATALOG_OWNER_NAME);
	/* OIDs mean tables where they were written down */
	if (projection->ref.here)
		StreamTablesRead(projection, values, nulls);
	/* the table was dropped, and another one has got its OID */
	if (projection->ref.here &&
		TableRefIsStale(&projection->ref, projection->read_model) &&
		ProjectionColumnsIn(projection, projection->read_model) == 0)
		projection->read_model = InvalidOid;
	if (!nulls[STATE_CATALOG_RELATION - 1])
		projection->relation = DatumGetObjectId(values[STATE_CATALOG_RELATION - 1]);
	/* the stream has a reference of its own, which is restored with this one */
	if (!projection->ref.here && !was_replaced(projection))
		projection->relation = StreamRelation(projection->stream);
}

static void
read_state(Projection *projection)
{
	Relation	catalog = CatalogOpen(STATE_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, projection->name);
	Datum		values[STATE_CATALOG_NATTS];
	bool		nulls[STATE_CATALOG_NATTS];

	if (HeapTupleIsValid(tuple))
	{
		CatalogDamage *damage = CatalogDeformDamaged(catalog, tuple, values,
													 nulls);
		char	   *channel = sound_text(catalog, STATE_CATALOG_CHANNEL, values, nulls);

		if (channel != NULL)
			projection->channel = channel;
		if (projection->damage == NULL)
			projection->damage = damage;
	}
	if (HeapTupleIsValid(tuple) && projection->damage == NULL)
	{
		read_options(projection, values, nulls);
		if (!nulls[STATE_CATALOG_READ_MODEL - 1])
			read_tables(projection, catalog, values, nulls);
		projection->last_error = CatalogGetText(values, nulls, STATE_CATALOG_LAST_ERROR);
		if (!nulls[STATE_CATALOG_NEXT_TRY - 1])
			projection->next_try = DatumGetTimestampTz(values[STATE_CATALOG_NEXT_TRY - 1]);
		if (!nulls[STATE_CATALOG_REBUILD_ADVISED - 1])
			projection->rebuild_advised = DatumGetTimestampTz(values[STATE_CATALOG_REBUILD_ADVISED - 1]);
		projection->drift = CatalogGetText(values, nulls, STATE_CATALOG_DRIFT);
	}
	table_close(catalog, AccessShareLock);
}

static Projection *
read_projection(Relation catalog, HeapTuple tuple)
{
	Projection *projection = palloc0(sizeof(Projection));

	read_definition(projection, catalog, tuple);
	if (projection->name != NULL)
		read_state(projection);
	return projection;
}

/* A projection by its name, which may be damaged; NULL if there is none. */
Projection *
ProjectionFind(const char *name)
{
	Relation	catalog = CatalogOpen(PROJECTION_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, name);
	Projection *projection = HeapTupleIsValid(tuple) ?
		read_projection(catalog, tuple) : NULL;

	table_close(catalog, AccessShareLock);
	return projection;
}

/* A projection by its name; an error if there is none, or it is damaged. */
Projection *
ProjectionFetch(const char *name)
{
	Projection *projection = ProjectionFind(name);

	if (projection == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("projection \"%s\" does not exist", name),
				 errhint("See the view projection_status for those that do.")));
	CatalogRaise(projection->damage);
	return projection;
}

/*
 * The projections of a channel, in order of their names.  Those that are
 * damaged are among them, so that whoever serves them fails with them alone.
 */
List *
ProjectionsOfChannel(const char *channel)
{
	Relation	catalog = CatalogOpen(PROJECTION_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, NULL);
	List	   *result = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Projection *projection = read_projection(catalog, tuple);

		if (projection->name != NULL && projection->channel != NULL &&
			strcmp(projection->channel, channel) == 0)
			result = lappend(result, projection);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

/* The projection that writes to this table, or NULL: none does. */
const char *
ProjectionOfReadModel(Oid relid)
{
	Relation	catalog = CatalogOpen(STATE_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, NULL);
	const char *name = NULL;
	HeapTuple	tuple;

	while (name == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[STATE_CATALOG_NATTS];
		bool		nulls[STATE_CATALOG_NATTS];
		TableRef	ref;

		if (CatalogDeformDamaged(catalog, tuple, values, nulls) != NULL ||
			nulls[STATE_CATALOG_READ_MODEL - 1])
			continue;
		ref = TableRefRead(catalog, ref_columns, values, nulls);
		if (TableRefFind(&ref) == relid)
			name = CatalogGetText(values, nulls, STATE_CATALOG_PROJECTION);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return name;
}

/* The options, all of them set from now on. */
static void
write_options(const Projection *projection, Datum *values, bool *nulls)
{
	const RetryPolicy *retry = &projection->retry;

	values[STATE_CATALOG_CHANNEL - 1] = CStringGetTextDatum(projection->channel);
	values[STATE_CATALOG_PARTITIONS - 1] = Int32GetDatum(projection->partitions);
	values[STATE_CATALOG_BATCH_SIZE - 1] = Int32GetDatum(projection->batch_size);
	nulls[STATE_CATALOG_CHANNEL - 1] = false;
	nulls[STATE_CATALOG_PARTITIONS - 1] = false;
	nulls[STATE_CATALOG_BATCH_SIZE - 1] = false;
	values[STATE_CATALOG_MAX_ATTEMPTS - 1] = Int32GetDatum(retry->max_attempts);
	values[STATE_CATALOG_RETRY_DELAY - 1] = Int64GetDatum(retry->delay);
	values[STATE_CATALOG_RETRY_MULTIPLIER - 1] = Float8GetDatum(retry->multiplier);
	values[STATE_CATALOG_RETRY_MAX_DELAY - 1] = Int64GetDatum(retry->max_delay);
	values[STATE_CATALOG_RETRY_JITTER - 1] = Float8GetDatum(retry->jitter);
	values[STATE_CATALOG_MAX_PARKED - 1] = Int32GetDatum(projection->max_parked);
	for (int i = STATE_CATALOG_MAX_ATTEMPTS; i <= STATE_CATALOG_MAX_PARKED; i++)
		nulls[i - 1] = false;
	values[STATE_CATALOG_VERIFY_RATE - 1] = Int32GetDatum(projection->verify_rate);
	nulls[STATE_CATALOG_VERIFY_RATE - 1] = false;
}

/* The tables, and whose they are. */
static void
write_tables(const Projection *projection, const TableRef *ref, Datum *values,
			 bool *nulls)
{
	TableRefWrite(ref, ref_columns, values, nulls);
	values[STATE_CATALOG_RELATION - 1] = ObjectIdGetDatum(projection->relation);
	nulls[STATE_CATALOG_RELATION - 1] = !OidIsValid(projection->relation);
	values[STATE_CATALOG_OWNER - 1] = ObjectIdGetDatum(projection->owner);
	nulls[STATE_CATALOG_OWNER - 1] = !OidIsValid(projection->owner);
	nulls[STATE_CATALOG_OWNER_NAME - 1] = projection->owner_name == NULL;
	if (projection->owner_name != NULL)
		values[STATE_CATALOG_OWNER_NAME - 1] = CStringGetTextDatum(projection->owner_name);
}

/*
 * Write down the read model, the stream's table and the last error, and,
 * with_options, the options as well, which are as declared until then.  The
 * caller holds the projection's lock exclusively.
 */
void
ProjectionSaveState(const Projection *projection, bool with_options)
{
	Relation	catalog = CatalogOpen(STATE_CATALOG, RowExclusiveLock);
	HeapTuple	old = CatalogFetch(catalog, projection->name);
	Datum		values[STATE_CATALOG_NATTS] = {0};
	bool		nulls[STATE_CATALOG_NATTS];
	HeapTuple	tuple;

	memset(nulls, true, sizeof(nulls));
	if (HeapTupleIsValid(old))
		CatalogDeform(catalog, old, values, nulls);
	values[STATE_CATALOG_PROJECTION - 1] = CStringGetTextDatum(projection->name);
	nulls[STATE_CATALOG_PROJECTION - 1] = false;
	if (projection->last_error == NULL)
		nulls[STATE_CATALOG_FAILURES - 1] = nulls[STATE_CATALOG_NEXT_TRY - 1] =
			nulls[STATE_CATALOG_FAILED_SINCE - 1] = true;
	if (with_options)
		write_options(projection, values, nulls);
	if (projection->initialized)
		write_tables(projection, &projection->ref, values, nulls);
	CatalogPutText(values, nulls, STATE_CATALOG_LAST_ERROR, projection->last_error);
	CatalogPutText(values, nulls, STATE_CATALOG_DRIFT, projection->drift);
	nulls[STATE_CATALOG_REBUILD_ADVISED - 1] = projection->rebuild_advised == 0;
	values[STATE_CATALOG_REBUILD_ADVISED - 1] = TimestampTzGetDatum(projection->rebuild_advised);

	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogRowUpdate(catalog, &old->t_self, tuple);
	else
		CatalogTupleInsert(catalog, tuple);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/* Its read model is this table, from the next ProjectionSaveState() on. */
void
ProjectionSetReadModel(Projection *projection, Oid relid)
{
	Relation	catalog = CatalogOpen(STATE_CATALOG, AccessShareLock);

	if (projection->initialized && relid == projection->read_model)
		TableRefRenew(&projection->ref, catalog, relid);
	else
		projection->ref = TableRefOf(catalog, relid);
	projection->initialized = true;
	projection->read_model = relid;
	ProjectionSetOwner(projection);
	table_close(catalog, AccessShareLock);
}

/*
 * Write the tables down anew where the read model or its owner was renamed, or
 * restored with a dump; the caller holds the projection's lock.  If somebody
 * else is about to write something down, the next one does it.  True where
 * they were written down as they are.
 */
bool
ProjectionRenewReference(Projection *projection)
{
	Relation	catalog;
	HeapTuple	old;
	Datum		values[STATE_CATALOG_NATTS];
	bool		nulls[STATE_CATALOG_NATTS];

	if (!TableRefIsStale(&projection->ref, projection->read_model) &&
		!ProjectionOwnerIsStale(projection))
		return true;
	if (!KeyLockIfFree(KEYLOCK_ERROR, projection->name, ExclusiveLock))
		return false;
	catalog = CatalogOpen(STATE_CATALOG, RowExclusiveLock);
	old = CatalogFetch(catalog, projection->name);
	if (HeapTupleIsValid(old))
	{
		TableRef	ref = projection->ref;

		CatalogDeform(catalog, old, values, nulls);
		/* those of another installation mean nothing from now on */
		if (!ref.here)
			nulls[STATE_CATALOG_STREAM_TABLES - 1] = true;
		TableRefRenew(&ref, catalog, projection->read_model);
		ProjectionSetOwner(projection);
		write_tables(projection, &ref, values, nulls);
		CatalogRowUpdate(catalog, &old->t_self,
						 heap_form_tuple(RelationGetDescr(catalog), values,
										 nulls));
	}
	table_close(catalog, NoLock);
	CommandCounterIncrement();
	return false;
}

/*
 * A read model that was dropped is to be found nowhere by its name, once it
 * was noticed: in a restored database another table may have it.
 */
static void
forget_dropped(Relation catalog, Datum *values, bool *nulls)
{
	TableRef	ref = TableRefRead(catalog, ref_columns, values, nulls);

	if (!ref.here || get_rel_name(ref.relid) != NULL)
		return;
	ref.schema = ref.name = ref.new_schema = ref.new_name = NULL;
	TableRefWrite(&ref, ref_columns, values, nulls);
}

/* The first of its failures in a row was now, or before. */
static void
put_failed_since(Datum *values, bool *nulls, bool failed)
{
	int			column = STATE_CATALOG_FAILED_SINCE - 1;

	if (failed && nulls[column])
		values[column] = TimestampTzGetDatum(GetCurrentTimestamp());
	nulls[column] = !failed;
}

/*
 * Change the projection's row, whose lock the caller holds shared.  One that is
 * not initialized has none; where it is damaged, that is what the status shows.
 */
void
ProjectionChangeState(const char *name, StateChange change, void *arg)
{
	Relation	catalog;
	HeapTuple	old;
	Datum		values[STATE_CATALOG_NATTS];
	bool		nulls[STATE_CATALOG_NATTS];

	KeyLock(KEYLOCK_ERROR, name, ExclusiveLock);
	catalog = CatalogOpen(STATE_CATALOG, RowExclusiveLock);
	old = CatalogFetch(catalog, name);
	if (HeapTupleIsValid(old) &&
		CatalogDeformDamaged(catalog, old, values, nulls) == NULL &&
		!nulls[STATE_CATALOG_READ_MODEL - 1])
	{
		change(catalog, values, nulls, arg);
		CatalogRowUpdate(catalog, &old->t_self,
						 heap_form_tuple(RelationGetDescr(catalog), values,
										 nulls));
	}
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

typedef struct Failed
{
	const char *error;			/* NULL: it is well again */
	int			failures;
	TimestampTz next_try;
} Failed;

/* StateChange */
static void
put_failed(Relation catalog, Datum *values, bool *nulls, void *arg)
{
	const Failed *failed = arg;

	forget_dropped(catalog, values, nulls);
	put_failed_since(values, nulls, failed->error != NULL);
	CatalogPutText(values, nulls, STATE_CATALOG_LAST_ERROR, failed->error);
	nulls[STATE_CATALOG_FAILURES - 1] = failed->error == NULL;
	values[STATE_CATALOG_FAILURES - 1] = Int32GetDatum(failed->failures);
	nulls[STATE_CATALOG_NEXT_TRY - 1] = failed->error == NULL;
	values[STATE_CATALOG_NEXT_TRY - 1] = TimestampTzGetDatum(failed->next_try);
}

/*
 * Write down that a projection has failed, so often in a row, and when it is
 * tried again; or, with NULL, that it is well again.  The caller holds the
 * projection's lock shared.
 */
void
ProjectionSaveError(const char *name, const char *error, int failures,
					TimestampTz next_try)
{
	Failed		failed = {.error = error,.failures = failures,.next_try = next_try};

	ProjectionChangeState(name, put_failed, &failed);
}

/* Write down a declared projection; the caller holds its lock exclusively. */
void
ProjectionDeclare(const Projection *projection)
{
	Relation	catalog = CatalogOpen(PROJECTION_CATALOG, RowExclusiveLock);
	Datum		values[PROJECTION_CATALOG_NATTS];
	bool		nulls[PROJECTION_CATALOG_NATTS] = {0};

	CatalogPutText(values, nulls, PROJECTION_CATALOG_NAME, projection->name);
	CatalogPutText(values, nulls, PROJECTION_CATALOG_STREAM, projection->stream);
	CatalogPutText(values, nulls, PROJECTION_CATALOG_AGGREGATE_TYPE, "");
	CatalogPutText(values, nulls, PROJECTION_CATALOG_HANDLER, DECLARED_HANDLER);
	CatalogPutText(values, nulls, PROJECTION_CATALOG_CHANNEL, projection->channel);
	values[PROJECTION_CATALOG_PARTITIONS - 1] = Int32GetDatum(projection->partitions);
	values[PROJECTION_CATALOG_BATCH_SIZE - 1] = Int32GetDatum(projection->batch_size);
	values[PROJECTION_CATALOG_BUILTIN - 1] = BoolGetDatum(false);
	CatalogTupleInsert(catalog, heap_form_tuple(RelationGetDescr(catalog),
												values, nulls));
	table_close(catalog, NoLock);
	CommandCounterIncrement();
	DeclaredWrite(projection->name, projection->declared);
}

/* Forget a declared projection. */
void
ProjectionForget(const char *name)
{
	DeclaredDrop(name);
	CatalogDelete(PROJECTION_CATALOG, name);
}

/* Back to what was declared. */
void
ProjectionDropState(const char *name)
{
	CatalogDelete(STATE_CATALOG, name);
}
