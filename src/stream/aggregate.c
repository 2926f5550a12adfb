/*
 * aggregate.c
 *		The events of one aggregate, newest first, through the stream's
 *		unique index on (aggregate_type, aggregate_id, aggregate_version).
 *
 * Events of transactions that are still running are seen, too, so that an
 * append can wait for them.  Only the newest events of an aggregate can be
 * such.
 *
 * The stream's own table is read, not its children: a stream that this
 * extension appends to has its events there.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "compat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "stream/aggregate.h"

AggregateKey
AggregateKeyMake(const char *type, const char *id)
{
	AggregateKey key;

	key.type = CStringGetTextDatum(type);
	key.id = CStringGetTextDatum(id);
	return key;
}

void
AggregateScanBegin(AggregateScan *scan, const Stream *stream,
				   const AggregateKey *key)
{
	ScanKeyData keys[2];

	scan->index = index_open(stream->parts.version_index, AccessShareLock);
	scan->slot = table_slot_create(stream->relation, NULL);
	InitDirtySnapshot(scan->snapshot);
	scan->writer = InvalidTransactionId;
	scan->scan = compat_index_beginscan(stream->relation, scan->index,
										&scan->snapshot, 2);
	/* these set collation "C", which the columns have */
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, key->type);
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, key->id);
	index_rescan(scan->scan, keys, 2, NULL, 0);
}

/* The next older event, or NULL. */
TupleTableSlot *
AggregateScanNext(AggregateScan *scan)
{
	if (!index_getnext_slot(scan->scan, BackwardScanDirection, scan->slot))
		return NULL;
	scan->writer = scan->snapshot.xmin;
	return scan->slot;
}

void
AggregateScanEnd(AggregateScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
}

/*
 * The version of the aggregate's newest event, 0 if there is none; *writer is
 * set as in AggregateScan.
 */
int64
AggregateVersion(const Stream *stream, const AggregateKey *key,
				 TransactionId *writer)
{
	AggregateScan scan;
	TupleTableSlot *slot;
	int64		version = 0;

	AggregateScanBegin(&scan, stream, key);
	slot = AggregateScanNext(&scan);
	if (slot != NULL)
	{
		bool		isnull;

		version = DatumGetInt64(slot_getattr(slot, STREAM_AGGREGATE_VERSION,
											 &isnull));
	}
	*writer = scan.writer;
	AggregateScanEnd(&scan);
	return version;
}
