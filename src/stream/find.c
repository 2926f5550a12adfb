/*
 * find.c
 *		An event by its number.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "stream/find.h"
#include "stream/reader.h"

/* EventReceiver: there is one */
static bool
take_any(void *state, const Event *event)
{
	*(bool *) state = true;
	return false;
}

/*
 * The event that has this number; false: none has.  Of an attached stream
 * nothing else is known of it.
 */
bool
FindEvent(const Stream *stream, Snapshot snapshot, int64 no,
		  FoundEvent *event)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			type = INT8OID;
	Datum		argument = Int64GetDatum(no);
	SPIPlanPtr	plan;
	bool		found = false;

	if (!stream->parts.created)
	{
		memset(event, 0, sizeof(*event));
		event->name = pstrdup("");
		(void) ReadEvents(stream, snapshot, no, no, take_any, &found);
		return found;
	}
	SPI_connect();
	plan = SPI_prepare(psprintf("SELECT event_id, aggregate_version, event_name FROM %s WHERE no OPERATOR(pg_catalog.=) $1",
								QualifiedName(stream->relation)),
					   1, &type);
	if (plan == NULL ||
		SPI_execute_snapshot(plan, &argument, NULL, snapshot, InvalidSnapshot,
							 true, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "unexpected result of reading stream \"%s\"", stream->name);
	found = SPI_processed > 0;
	if (found)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		event->id = *DatumGetUUIDP(SPI_getbinval(row, desc, 1, &isnull));
		event->version = DatumGetInt64(SPI_getbinval(row, desc, 2, &isnull));
		event->name = MemoryContextStrdup(context, SPI_getvalue(row, desc, 3));
	}
	SPI_finish();
	return found;
}
