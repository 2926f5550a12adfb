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
#include "access/relation.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "stream/rows.h"
#include "stream/stream.h"
#include "tableref.h"

/* A look for a number in the tables of a stream. */
typedef struct NumberLook
{
	const StreamParts *parts;
	const char *column;			/* of the numbers */
	Snapshot	snapshot;
	bool		lowest;			/* look for the lowest one; or for the highest
								 * one above this: */
	int64		above;
	bool		found;
	int64		number;
} NumberLook;

/* One was found. */
static void
take_number(NumberLook *look, int64 number)
{
	if (!look->found || (look->lowest ? number < look->number :
						 number > look->number))
		look->number = number;
	look->found = true;
}

/* Look into an index that the numbers lead. */
static void
look_into_index(NumberLook *look, Relation table, Oid index_oid,
				AttrNumber column)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	int			nkeys = look->lowest ? 0 : 1;
	IndexScanDesc scan = compat_index_beginscan(table, index, look->snapshot,
												nkeys);
	ScanKeyData key;
	bool		isnull;

	StreamNumberKey(look->parts, &key, BTGreaterStrategyNumber, look->above);
	index_rescan(scan, &key, nkeys, NULL, 0);
	if (index_getnext_slot(scan, look->lowest ? ForwardScanDirection :
						   BackwardScanDirection, slot))
		take_number(look, StreamNumberOf(look->parts,
										 slot_getattr(slot, column, &isnull)));
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
}

/* The same for a table without such an index. */
static void
look_into_table(NumberLook *look, Relation table, AttrNumber column)
{
	TupleTableSlot *slot = table_slot_create(table, NULL);
	int			nkeys = look->lowest ? 0 : 1;
	ScanKeyData key;
	TableScanDesc scan;

	StreamNumberKey(look->parts, &key, BTGreaterStrategyNumber, look->above);
	key.sk_attno = column;
	scan = compat_table_beginscan(table, look->snapshot, nkeys, &key);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, column, &isnull);

		if (!isnull)
			take_number(look, StreamNumberOf(look->parts, value));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* An index that finds rows by this column; InvalidOid if there is none. */
Oid
StreamNumberIndex(Relation table, AttrNumber column)
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
			index->rd_opfamily[0] == INTEGER_BTREE_FAM_OID &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

/* Look into one table: the stream's, a partition or a child of it. */
static void
look_into(NumberLook *look, Relation table)
{
	AttrNumber	column = get_attnum(RelationGetRelid(table), look->column);
	Oid			index;

	/*
	 * somebody has made something else of it: the shape is looked at
	 * elsewhere
	 */
	if (column == InvalidAttrNumber || !RELKIND_HAS_TABLE_AM(table->rd_rel->relkind) ||
		get_atttype(RelationGetRelid(table), column) != look->parts->position_type)
		return;
	index = StreamNumberIndex(table, column);
	if (OidIsValid(index))
		look_into_index(look, table, index, column);
	else
		look_into_table(look, table, column);
}

static void
look_into_children(NumberLook *look, Relation relation)
{
	List	   *tables = find_all_inheritors(RelationGetRelid(relation),
											 AccessShareLock, NULL);
	ListCell   *cell;

	foreach(cell, tables)
	{
		Relation	table;

		if (lfirst_oid(cell) == RelationGetRelid(relation))
			continue;
		table = relation_open(lfirst_oid(cell), NoLock);
		look_into(look, table);
		relation_close(table, NoLock);
	}
	list_free(tables);
}

/* Look into all tables of the stream, at what is committed now. */
static void
look_everywhere(NumberLook *look, Relation relation)
{
	look->column = get_attname(RelationGetRelid(relation),
							   look->parts->position, true);
	look->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (OidIsValid(look->parts->number_index) &&
		RELKIND_HAS_TABLE_AM(relation->rd_rel->relkind))
		look_into_index(look, relation, look->parts->number_index,
						look->parts->position);
	else if (look->column != NULL)
		look_into(look, relation);
	if (relation->rd_rel->relhassubclass && look->column != NULL)
		look_into_children(look, relation);
	UnregisterSnapshot(look->snapshot);
}

/*
 * The highest number of an event that the sequence has not given; 0 if there
 * is none.  parts->number_index may be InvalidOid.  There must be an active
 * snapshot or a transaction to take one in; what is committed now is looked at.
 *
 * The sequence is read before and after: a writer draws a number, and inserts
 * and commits its event, at any time.
 */
int64
StreamNumberAbove(Relation relation, const StreamParts *parts)
{
	NumberLook	look = {.parts = parts,.above = SequenceLastNumber(parts->sequence)};

	look_everywhere(&look, relation);
	return look.found && look.number > 0 &&
		look.number > SequenceLastNumber(parts->sequence) ? look.number : 0;
}

/* The lowest number of an event; PG_INT64_MAX if there is no event. */
int64
StreamLowestNumber(Relation relation, const StreamParts *parts)
{
	NumberLook	look = {.parts = parts,.lowest = true};

	look_everywhere(&look, relation);
	return look.found ? look.number : PG_INT64_MAX;
}

/*
 * The lowest or the highest number in one table, in the column of this name;
 * false: there is none.
 */
bool
StreamTableNumber(Relation table, const StreamParts *parts,
				  const char *column, bool lowest, int64 *number)
{
	NumberLook	look = {.parts = parts,.column = column,.lowest = lowest,
	.above = PG_INT64_MIN};

	look.snapshot = RegisterSnapshot(GetLatestSnapshot());
	look_into(&look, table);
	UnregisterSnapshot(look.snapshot);
	*number = look.number;
	return look.found;
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
