/*
 * event_id.c
 *		An event of a stream, by its id, in whichever of its tables it is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "compat.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "stream/event_id.h"
#include "stream/tables.h"

/* The event in one of the stream's tables, in a slot of its own, or NULL. */
static TupleTableSlot *
find_in_table(const Stream *stream, const StreamTable *table,
			  const pg_uuid_t *id, Snapshot snapshot)
{
	Relation	index = index_open(table->index, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table->relation, NULL);
	TupleTableSlot *result = NULL;
	IndexScanDesc scan = compat_index_beginscan(table->relation, index,
												snapshot, 1);
	ScanKeyData scankey;

	ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(id));
	index_rescan(scan, &scankey, 1, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		result = MakeSingleTupleTableSlot(RelationGetDescr(stream->relation),
										  &TTSOpsVirtual);
		if (table->map != NULL)
			(void) StreamTableConvert(table, slot, result);
		else
			(void) ExecCopySlot(result, slot);
		ExecMaterializeSlot(result);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return result;
}

/*
 * The event of this id that the snapshot sees, with all its columns, or NULL.
 * The caller drops the slot.
 */
TupleTableSlot *
EventById(const Stream *stream, const pg_uuid_t *id, Snapshot snapshot)
{
	TupleTableSlot *result = NULL;
	int			count;
	StreamTable *tables = StreamTables(stream, STREAM_INDEX_EVENT, &count);

	for (int i = 0; i < count && result == NULL; i++)
		result = find_in_table(stream, &tables[i], id, snapshot);
	StreamTablesClose(tables, count);
	return result;
}

/*
 * The event of this id that is there now, whether its transaction has
 * committed or not.  *writer is set to that transaction where it is still
 * running and not our own: it has to be waited for.
 */
TupleTableSlot *
EventByIdNow(const Stream *stream, const pg_uuid_t *id, TransactionId *writer)
{
	SnapshotData dirty;
	TupleTableSlot *event;
	Snapshot	committed;

	InitDirtySnapshot(dirty);
	dirty.xmin = InvalidTransactionId;
	event = EventById(stream, id, &dirty);
	*writer = event != NULL ? dirty.xmin : InvalidTransactionId;
	if (!stream->relation->rd_rel->relhassubclass ||
		(event != NULL && !TransactionIdIsValid(*writer)))
		return event;
	/* it may be on its way from one table to another */
	committed = RegisterSnapshot(GetLatestSnapshot());
	if (event != NULL)
		ExecDropSingleTupleTableSlot(event);
	event = EventById(stream, id, committed);
	if (event != NULL)
		*writer = InvalidTransactionId;
	UnregisterSnapshot(committed);
	return event;
}
