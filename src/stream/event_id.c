/*
 * event_id.c
 *		An event of a stream, by its id, in whichever of its tables it is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "common/hashfn.h"
#include "compat.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "keylock.h"
#include "stream/event_id.h"
#include "stream/tables.h"

static uint64
id_hash(const Stream *stream, const pg_uuid_t *id)
{
	return hash_bytes_extended(id->data, UUID_LEN,
							   RelationGetRelid(stream->relation));
}

/* Make those who append an event of this id wait, until EventIdUnlock(). */
void
EventIdLock(const Stream *stream, const pg_uuid_t *id)
{
	KeyLockHash(KEYLOCK_EVENT_ID, id_hash(stream, id), ExclusiveLock);
}

void
EventIdUnlock(const Stream *stream, const pg_uuid_t *id)
{
	KeyUnlockHash(KEYLOCK_EVENT_ID, id_hash(stream, id), ExclusiveLock);
}

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
 * The event of this id that is there now.  Returns NULL where there is none,
 * or where it is that of a transaction that is still running and not our own,
 * which is put into *writer then, and has to be waited for.
 */
TupleTableSlot *
EventByIdNow(const Stream *stream, const pg_uuid_t *id, TransactionId *writer)
{
	SnapshotData dirty;
	TupleTableSlot *event;

	InitDirtySnapshot(dirty);
	event = EventById(stream, id, &dirty);
	*writer = event != NULL ? dirty.xmin : InvalidTransactionId;
	if (TransactionIdIsValid(*writer))
	{
		ExecDropSingleTupleTableSlot(event);
		event = NULL;
	}
	if (event == NULL && stream->relation->rd_rel->relhassubclass)
	{
		/* it may be on its way from one table to another */
		Snapshot	committed = RegisterSnapshot(GetLatestSnapshot());

		event = EventById(stream, id, committed);
		if (event != NULL)
			*writer = InvalidTransactionId;
		UnregisterSnapshot(committed);
	}
	return event;
}
