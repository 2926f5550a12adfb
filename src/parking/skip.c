/*
 * skip.c
 *		Events that a projection is never to apply.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "catalog_row.h"
#include "errors.h"
#include "parking/skip.h"
#include "stream/find.h"

/* Write down the event on which a parked key stands; last_no 0: it alone. */
static void
insert_row(const Stream *stream, Snapshot snapshot, const Parked *parked,
		   int64 last_no, int64 events)
{
	FoundEvent	event;
	Relation	catalog = CatalogOpen(SKIPPED_CATALOG, RowExclusiveLock);
	Datum		values[SKIPPED_CATALOG_NATTS];
	bool		nulls[SKIPPED_CATALOG_NATTS] = {0};

	CatalogPutText(values, nulls, SKIPPED_CATALOG_PROJECTION, parked->projection);
	values[SKIPPED_CATALOG_NO - 1] = Int64GetDatum(parked->failure.no);
	CatalogPutText(values, nulls, SKIPPED_CATALOG_KEY, parked->key);
	CatalogPutText(values, nulls, SKIPPED_CATALOG_EVENT_NAME, parked->failure.event_name);
	values[SKIPPED_CATALOG_SKIPPED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	CatalogPutText(values, nulls, SKIPPED_CATALOG_SKIPPED_BY,
				   GetUserNameFromId(GetSessionUserId(), false));
	CatalogPutText(values, nulls, SKIPPED_CATALOG_SQLSTATE,
				   unpack_sql_state(parked->failure.sqlerrcode));
	CatalogPutText(values, nulls, SKIPPED_CATALOG_MESSAGE, parked->failure.message);
	nulls[SKIPPED_CATALOG_EVENT_ID - 1] =
		!FindEvent(stream, snapshot, parked->failure.no, &event);
	values[SKIPPED_CATALOG_EVENT_ID - 1] = UUIDPGetDatum(&event.id);
	values[SKIPPED_CATALOG_LAST_NO - 1] = Int64GetDatum(last_no);
	values[SKIPPED_CATALOG_EVENTS - 1] = Int64GetDatum(events);
	nulls[SKIPPED_CATALOG_LAST_NO - 1] = nulls[SKIPPED_CATALOG_EVENTS - 1] =
		last_no == 0;
	CatalogTupleInsert(catalog, heap_form_tuple(RelationGetDescr(catalog),
												values, nulls));
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/* Write down that a parked key's event is never to be applied. */
void
SkipEvent(const Stream *stream, Snapshot snapshot, const Parked *parked)
{
	insert_row(stream, snapshot, parked, 0, 0);
}

/*
 * Write down that none of a parked key's waiting events is to be applied: so
 * many, up to last_no.
 */
void
SkipAll(const Stream *stream, Snapshot snapshot, const Parked *parked,
		int64 last_no, int64 events)
{
	insert_row(stream, snapshot, parked, last_no, events);
}

/*
 * Forget the skipped events that are no longer in the stream: their numbers
 * may have come to others, after a TRUNCATE that began them again.
 */
void
SkipCheck(const Stream *stream, const char *projection)
{
	Relation	catalog = CatalogOpen(SKIPPED_CATALOG, RowExclusiveLock);
	SysScanDesc scan = CatalogScan(catalog, projection);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[SKIPPED_CATALOG_NATTS];
		bool		nulls[SKIPPED_CATALOG_NATTS];
		FoundEvent	event;

		CatalogDeform(catalog, tuple, values, nulls);
		if (nulls[SKIPPED_CATALOG_EVENT_ID - 1] ||
			!FindEvent(stream, snapshot, DatumGetInt64(values[SKIPPED_CATALOG_NO - 1]), &event) ||
			memcmp(&event.id, DatumGetUUIDP(values[SKIPPED_CATALOG_EVENT_ID - 1]), sizeof(event.id)) != 0)
			CatalogRowDelete(catalog, &tuple->t_self);
	}
	UnregisterSnapshot(snapshot);
	systable_endscan(scan);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

static Skipped
read_row(Relation catalog, HeapTuple tuple)
{
	Datum		values[SKIPPED_CATALOG_NATTS];
	bool		nulls[SKIPPED_CATALOG_NATTS];
	Skipped		skipped = {0};

	CatalogDeform(catalog, tuple, values, nulls);
	skipped.key = TextDatumGetCString(values[SKIPPED_CATALOG_KEY - 1]);
	skipped.event_name = TextDatumGetCString(values[SKIPPED_CATALOG_EVENT_NAME - 1]);
	skipped.no = DatumGetInt64(values[SKIPPED_CATALOG_NO - 1]);
	if (!nulls[SKIPPED_CATALOG_LAST_NO - 1])
		skipped.last_no = DatumGetInt64(values[SKIPPED_CATALOG_LAST_NO - 1]);
	return skipped;
}

/* Give the receiver each row that a snapshot shows. */
void
SkippedAsOf(const char *projection, Snapshot snapshot,
			void (*receive) (void *arg, const Skipped *skipped), void *arg)
{
	Relation	catalog = CatalogOpen(SKIPPED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScanAsOf(catalog, projection, snapshot);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Skipped		skipped = read_row(catalog, tuple);

		receive(arg, &skipped);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/* The projection begins anew: what was given up as a whole is tried again. */
void
SkipForgetAll(const char *projection)
{
	Relation	catalog = CatalogOpen(SKIPPED_CATALOG, RowExclusiveLock);
	SysScanDesc scan = CatalogScan(catalog, projection);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (read_row(catalog, tuple).last_no != 0)
			CatalogRowDelete(catalog, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/*
 * The numbers of skipped events: of all keys, those that were skipped one by
 * one; of a certain key (not NULL) also those that were given up with it.
 */
static NumberSet
collect(const char *projection, const char *key)
{
	Relation	catalog = CatalogOpen(SKIPPED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, projection);
	NumberSet	result = {0};
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Skipped		skipped = read_row(catalog, tuple);
		NumberSet	numbers = {0};

		if (key == NULL ? skipped.last_no != 0 : strcmp(skipped.key, key) != 0)
			continue;
		NumberSetAppend(&numbers, skipped.no,
						Max(skipped.no, skipped.last_no));
		result = NumberSetUnion(&result, &numbers);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

/* The numbers of the events that a batch is to skip, whatever their keys. */
NumberSet
SkippedEvents(const char *projection)
{
	return collect(projection, NULL);
}

/* The same, and those that are parked by themselves, under their numbers. */
NumberSet
SkippedOrParkedAlone(const char *projection)
{
	NumberSet	skipped = SkippedEvents(projection);
	NumberSet	parked = ParkedNumbers(projection);

	return parked.count == 0 ? skipped : NumberSetUnion(&skipped, &parked);
}

/* The numbers up to which, and at which, a key's events are to be skipped. */
NumberSet
SkippedOfKey(const char *projection, const char *key)
{
	return collect(projection, key);
}

/* What was skipped of a key first, as the detail of an error; or NULL. */
static char *
skipped_detail(const char *projection, const char *key)
{
	Relation	catalog = CatalogOpen(SKIPPED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, projection);
	char	   *detail = NULL;
	HeapTuple	tuple;

	while (detail == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Skipped		skipped = read_row(catalog, tuple);

		if (strcmp(skipped.key, key) == 0)
			detail = psprintf("Event %lld (%s) of it was skipped by dead_letter_delete.",
							  (long long) skipped.no, skipped.event_name);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return detail;
}

/*
 * What a person should know of an event that has failed: which event of the
 * key was skipped before, or what to do about a row that is there already.
 */
void
FailureExplain(const Projection *projection, const char *key,
			   KeyFailure *failure)
{
	if (failure->sqlerrcode != ERRCODE_BAD_EVENT || projection->handler == NULL)
		return;
	if (failure->detail == NULL &&
		strncmp(failure->message, "there is no row", 15) == 0)
		failure->detail = skipped_detail(projection->name, key);
	if (failure->hint == NULL &&
		strcmp(failure->message, "it was created before") == 0)
		failure->hint = psprintf("Its row is still there. If its events were deleted, delete the row and try again: DELETE FROM %s WHERE %s = %s; If it was created twice, skip this event with dead_letter_delete.",
								 ProjectionReadModelName(projection),
								 quote_identifier(projection->handler->columns[0].name),
								 quote_literal_cstr(key));
}

/* Forget all of a projection. */
void
SkipDrop(const char *projection)
{
	CatalogDelete(SKIPPED_CATALOG, projection);
}
