/*
 * numbers.c
 *		Whether all events have numbers that the stream's sequence has given.
 *
 * Rows that came with numbers of their own (by logical replication, by
 * OVERRIDING SYSTEM VALUE, by COPY) may lie above the sequence's last number.
 * Consumers, who look no further than that number, would not see them, and
 * later the sequence gives their numbers again.  So whoever asks whether there
 * is anything to do asks this too: one look into the index on the numbers,
 * above the last one, where normally nothing is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "stream/stream.h"
#include "tableref.h"

/* The highest number in the index that is above this one; 0: there is none. */
static int64
look_into_index(Relation table, Oid index_oid, AttrNumber column,
				Snapshot snapshot, int64 number)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	IndexScanDesc scan = compat_index_beginscan(table, index, snapshot, 1);
	ScanKeyData key;
	int64		highest = 0;
	bool		isnull;

	ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum(number));
	index_rescan(scan, &key, 1, NULL, 0);
	if (index_getnext_slot(scan, BackwardScanDirection, slot))
		highest = DatumGetInt64(slot_getattr(slot, column, &isnull));
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return highest;
}

/* The same for a table without such an index. */
static int64
look_into_table(Relation table, AttrNumber column, Snapshot snapshot,
				int64 number)
{
	TupleTableSlot *slot = table_slot_create(table, NULL);
	ScanKeyData key;
	TableScanDesc scan;
	int64		highest = 0;

	ScanKeyInit(&key, column, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum(number));
	scan = table_beginscan(table, snapshot, 1, &key);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;

		highest = Max(highest,
					  DatumGetInt64(slot_getattr(slot, column, &isnull)));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return highest;
}

/* An index that finds rows by this column; InvalidOid if there is none. */
static Oid
index_on(Relation table, AttrNumber column)
{
	List	   *indexes = RelationGetIndexList(table);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BTREE_AM_OID &&
			index->rd_index->indisvalid &&
			index->rd_index->indkey.values[0] == column &&
			index->rd_indoption[0] == 0 &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

/* Look into one table, the stream's or a child of it. */
static int64
look_into(Relation table, AttrNumber column, Snapshot snapshot, int64 number)
{
	Oid			index;

	/* somebody has made something else of it: the shape is looked at elsewhere */
	if (column == InvalidAttrNumber ||
		get_atttype(RelationGetRelid(table), column) != INT8OID)
		return 0;
	index = index_on(table, column);
	return OidIsValid(index) ?
		look_into_index(table, index, column, snapshot, number) :
		look_into_table(table, column, snapshot, number);
}

static int64
look_into_children(Relation relation, Snapshot snapshot, int64 number)
{
	List	   *tables = find_all_inheritors(RelationGetRelid(relation),
											 AccessShareLock, NULL);
	char	   *column = get_attname(RelationGetRelid(relation), STREAM_NO,
									 true);
	int64		highest = 0;
	ListCell   *cell;

	foreach(cell, tables)
	{
		Oid			relid = lfirst_oid(cell);
		Relation	table;

		if (relid == RelationGetRelid(relation) || column == NULL ||
			!RELKIND_HAS_TABLE_AM(get_rel_relkind(relid)))
			continue;
		table = table_open(relid, NoLock);
		highest = Max(highest, look_into(table, get_attnum(relid, column),
										 snapshot, number));
		table_close(table, NoLock);
	}
	list_free(tables);
	return highest;
}

/*
 * The highest number of an event that this sequence has not given; 0 if there
 * is none.  number_index may be InvalidOid.  There must be an active snapshot
 * or a transaction to take one in; what is committed now is looked at.
 *
 * The sequence is read before and after: a writer draws a number, and inserts
 * and commits its event, at any time.
 */
int64
StreamNumberAbove(Relation relation, Oid sequence, Oid number_index)
{
	int64		last_number = SequenceLastNumber(sequence);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		highest;

	highest = OidIsValid(number_index) ?
		look_into_index(relation, number_index, STREAM_NO, snapshot, last_number) :
		look_into(relation, STREAM_NO, snapshot, last_number);
	if (relation->rd_rel->relhassubclass)
		highest = Max(highest, look_into_children(relation, snapshot, last_number));
	UnregisterSnapshot(snapshot);
	return highest > 0 && highest > SequenceLastNumber(sequence) ? highest : 0;
}

/* What is wrong with a number above the sequence's, and what to do about it. */
NumberTrouble
StreamDescribeNumber(const char *stream, Oid sequence, int64 number)
{
	NumberTrouble trouble;

	if (number > STREAM_NUMBER_MAX)
	{
		trouble.message = psprintf("event %lld of stream \"%s\" is beyond the last number that an event may have",
								   (long long) number, stream);
		trouble.detail = psprintf("That is %lld.",
								  (long long) STREAM_NUMBER_MAX);
		trouble.hint = pstrdup("Delete the event, or set the sequence back with setval, insert the events anew from there on, and run projection_reset.");
		return trouble;
	}
	trouble.message = psprintf("event %lld of stream \"%s\" was not numbered by the stream's sequence",
							   (long long) number, stream);
	trouble.detail = psprintf("The last number drawn is %lld.",
							  (long long) SequenceLastNumber(sequence));
	trouble.hint = psprintf("Events must not be inserted with OVERRIDING SYSTEM VALUE, replicated or copied with numbers of their own. If they belong there, set the sequence forward: SELECT setval(%s, %lld); Then run projection_reset, if the sequence was set back or events with lower numbers may still come, as by logical replication: they would be below the positions.",
							quote_literal_cstr(TableNameOf(sequence)),
							(long long) number);
	return trouble;
}
