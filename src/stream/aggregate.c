/*
 * aggregate.c
 *		The events of one aggregate, newest first, through the stream's
 *		unique index on (aggregate_type, aggregate_id, aggregate_version).
 *
 * Events of transactions that are still running are seen, too, so that an
 * append can wait for them.  Only the newest events of an aggregate can be
 * such.
 *
 * Where the stream's table has children, events may be moved between them
 * while we read.  So each table's newest event is looked at first, committed
 * or not, and then all tables are read under one snapshot that is newer than
 * that: it sees a moved event once.  Of the uncommitted ones only those are
 * waited for that are newer than all that the snapshot sees; the others are
 * on the move.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
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

/* Are these the columns of an event of the aggregate? */
bool
AggregateKeyIsOf(const AggregateKey *key, const Datum *values)
{
	return DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
												values[STREAM_AGGREGATE_TYPE - 1],
												key->type)) &&
		DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
											 values[STREAM_AGGREGATE_ID - 1],
											 key->id));
}

static void
part_begin(AggregatePart *part, const StreamTable *table, const Stream *stream,
		   const AggregateKey *key, Snapshot snapshot)
{
	ScanKeyData keys[2];

	part->index = index_open(table->index, AccessShareLock);
	part->slot = table_slot_create(table->relation, NULL);
	part->converted = table->map == NULL ? NULL :
		MakeSingleTupleTableSlot(RelationGetDescr(stream->relation),
								 &TTSOpsVirtual);
	part->scan = compat_index_beginscan(table->relation, part->index,
										snapshot, 2);
	/* these set collation "C", which the columns have */
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, key->type);
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, key->id);
	index_rescan(part->scan, keys, 2, NULL, 0);
}

static void
part_end(AggregatePart *part)
{
	index_endscan(part->scan);
	ExecDropSingleTupleTableSlot(part->slot);
	if (part->converted != NULL)
		ExecDropSingleTupleTableSlot(part->converted);
	index_close(part->index, AccessShareLock);
}

/* Go on to the next older event of one of several tables. */
static void
part_next(AggregatePart *part, const StreamTable *table)
{
	bool		isnull;

	part->event = NULL;
	if (!index_getnext_slot(part->scan, BackwardScanDirection, part->slot))
		return;
	part->event = StreamTableConvert(table, part->slot, part->converted);
	part->version = DatumGetInt64(slot_getattr(part->event,
											   STREAM_AGGREGATE_VERSION,
											   &isnull));
}

/*
 * The transaction that is about to commit the newest event of all that is not
 * committed yet, and the event's version; invalid if there is none.
 */
static TransactionId
newest_writer(AggregateScan *scan, const Stream *stream,
			  const AggregateKey *key, int64 *version)
{
	TransactionId writer = InvalidTransactionId;

	for (int i = 0; i < scan->count; i++)
	{
		AggregatePart part;

		part_begin(&part, &scan->tables[i], stream, key, &scan->dirty);
		part_next(&part, &scan->tables[i]);
		if (part.event != NULL && TransactionIdIsValid(scan->dirty.xmin) &&
			(!TransactionIdIsValid(writer) || part.version > *version))
		{
			writer = scan->dirty.xmin;
			*version = part.version;
		}
		part_end(&part);
	}
	return writer;
}

/* Begin to read several tables. */
static void
begin_merge(AggregateScan *scan, const Stream *stream, const AggregateKey *key)
{
	int64		version = 0;
	TransactionId writer = newest_writer(scan, stream, key, &version);

	scan->committed = RegisterSnapshot(GetLatestSnapshot());
	/* this copy of it sees all that our own transaction has done */
	scan->committed->curcid = InvalidCommandId;
	scan->parts = palloc_array(AggregatePart, scan->count);
	for (int i = 0; i < scan->count; i++)
	{
		part_begin(&scan->parts[i], &scan->tables[i], stream, key,
				   scan->committed);
		part_next(&scan->parts[i], &scan->tables[i]);
		if (scan->parts[i].event != NULL && scan->parts[i].version >= version)
			writer = InvalidTransactionId;
	}
	scan->writer = writer;
}

void
AggregateScanBegin(AggregateScan *scan, const Stream *stream,
				   const AggregateKey *key)
{
	InitDirtySnapshot(scan->dirty);
	scan->committed = NULL;
	scan->writer = InvalidTransactionId;
	scan->current = -1;
	scan->tables = StreamTables(stream, STREAM_INDEX_VERSION, &scan->count);
	scan->parts = &scan->own;
	if (likely(scan->count == 1))
		part_begin(&scan->own, &scan->tables[0], stream, key, &scan->dirty);
	else
		begin_merge(scan, stream, key);
}

/* The next older event of several tables; each version once. */
static TupleTableSlot *
next_merged(AggregateScan *scan)
{
	int			newest = -1;

	if (TransactionIdIsValid(scan->writer))
		return NULL;
	if (scan->current >= 0)
	{
		int64		last = scan->parts[scan->current].version;

		for (int i = 0; i < scan->count; i++)
		{
			if (scan->parts[i].event != NULL && scan->parts[i].version == last)
				part_next(&scan->parts[i], &scan->tables[i]);
		}
	}
	for (int i = 0; i < scan->count; i++)
	{
		if (scan->parts[i].event != NULL &&
			(newest < 0 ||
			 scan->parts[i].version > scan->parts[newest].version))
			newest = i;
	}
	scan->current = newest;
	return newest < 0 ? NULL : scan->parts[newest].event;
}

/*
 * The next older event, or NULL.  Where scan->writer is valid afterwards, it
 * has to be waited for, and the scan begun again.
 */
TupleTableSlot *
AggregateScanNext(AggregateScan *scan)
{
	if (scan->committed != NULL)
		return next_merged(scan);
	if (!index_getnext_slot(scan->own.scan, BackwardScanDirection,
							scan->own.slot))
		return NULL;
	scan->writer = scan->dirty.xmin;
	return scan->own.slot;
}

void
AggregateScanEnd(AggregateScan *scan)
{
	for (int i = 0; i < scan->count; i++)
		part_end(&scan->parts[i]);
	if (scan->committed != NULL)
		UnregisterSnapshot(scan->committed);
	StreamTablesClose(scan->tables, scan->count);
}

/*
 * The version of the aggregate's newest event, and its number; 0 if there is
 * none.  *writer is set as in AggregateScan.
 */
int64
AggregateVersion(const Stream *stream, const AggregateKey *key,
				 int64 *no, TransactionId *writer)
{
	AggregateScan scan;
	TupleTableSlot *slot;
	int64		version = 0;

	*no = 0;
	AggregateScanBegin(&scan, stream, key);
	slot = AggregateScanNext(&scan);
	if (slot != NULL)
	{
		bool		isnull;

		version = DatumGetInt64(slot_getattr(slot, STREAM_AGGREGATE_VERSION,
											 &isnull));
		*no = DatumGetInt64(slot_getattr(slot, STREAM_NO, &isnull));
	}
	*writer = scan.writer;
	AggregateScanEnd(&scan);
	return version;
}
