/*
 * merged.c
 *		Rows of several tables in order of number: a merge of their indexes.
 *
 * A partitioned table, or one with children, could be read by a plan of the
 * server's (rows.c).  Planning takes longer than a small batch, and grows with
 * the number of partitions.  Here each table is looked into by its own index
 * on the numbers, from the first number asked for on; those that have nothing
 * there, which are nearly all of them, are done with after that one look.
 *
 * Which tables there are, and their indexes, is asked at each read: a plan that
 * is kept between batches would have to be made anew with each partition, too.
 *
 * A row that is moved from one table to another is seen in one of them, as all
 * are read under one snapshot.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "stream/merged.h"
#include "stream/rows.h"

/* One of the tables, while it is read. */
typedef struct MergedTable
{
	Relation	relation;
	Oid			index;			/* on the numbers */
	AttrNumber	column;			/* of the numbers */
	Relation	open_index;		/* while there is a scan */
	IndexScanDesc scan;
	TupleTableSlot *slot;		/* its next row */
	int64		no;				/* that row's number */
	TupleConversionMap *map;	/* to the stream's columns; NULL: the same */
	TupleTableSlot *row;		/* the row in these columns; or NULL */
} MergedTable;

struct Merged
{
	const Stream *stream;
	int			count;
	MergedTable *tables;
};

static void
close_tables(Merged *merged)
{
	for (int i = 0; i < merged->count; i++)
		relation_close(merged->tables[i].relation, NoLock);
	pfree(merged->tables);
	pfree(merged);
}

/* Can this table be read by an index, and its rows be made the stream's? */
static bool
find_index(const Stream *stream, const char *column, MergedTable *table)
{
	Relation	relation = table->relation;
	Oid			relid = RelationGetRelid(relation);

	if (relation->rd_rel->relkind != RELKIND_RELATION ||
		compat_has_virtual_columns(relation))
		return false;
	table->column = get_attnum(relid, column);
	if (table->column == InvalidAttrNumber ||
		get_atttype(relid, table->column) != stream->parts.position_type)
		return false;
	table->index = StreamNumberIndex(relation, table->column);
	return OidIsValid(table->index);
}

/*
 * The tables of a stream, to be read at this snapshot; NULL if they cannot be
 * read this way.
 */
Merged *
MergedOpen(const Stream *stream, Snapshot snapshot)
{
	Oid			relid = RelationGetRelid(stream->relation);
	const char *column = get_attname(relid, stream->parts.position, false);
	Merged	   *merged = palloc0(sizeof(Merged));
	bool		possible = true;
	List	   *relids;
	ListCell   *cell;

	/* a partition that is being detached is one for older snapshots */
	PushActiveSnapshot(snapshot);
	relids = find_all_inheritors(relid, AccessShareLock, NULL);
	PopActiveSnapshot();
	merged->stream = stream;
	merged->tables = palloc0(list_length(relids) * sizeof(MergedTable));
	foreach(cell, relids)
	{
		MergedTable *table = &merged->tables[merged->count];

		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_PARTITIONED_TABLE)
			continue;
		table->relation = relation_open(lfirst_oid(cell), NoLock);
		merged->count++;
		possible = possible && find_index(stream, column, table);
	}
	list_free(relids);
	if (possible)
		return merged;
	close_tables(merged);
	return NULL;
}

/* Go to the table's next row; false: there is none. */
static bool
go_on(const Merged *merged, MergedTable *table)
{
	bool		isnull;

	if (!index_getnext_slot(table->scan, ForwardScanDirection, table->slot))
		return false;
	table->no = StreamNumberOf(&merged->stream->parts,
							   slot_getattr(table->slot, table->column,
											&isnull));
	return true;
}

static void
end_table(MergedTable *table)
{
	index_endscan(table->scan);
	index_close(table->open_index, AccessShareLock);
	ExecDropSingleTupleTableSlot(table->slot);
	if (table->row != NULL)
		ExecDropSingleTupleTableSlot(table->row);
	if (table->map != NULL)
		free_conversion_map(table->map);
	table->row = NULL;
	table->map = NULL;
	table->scan = NULL;
}

/* Go to the table's first row with a number of this range; false: none. */
static bool
begin_table(const Merged *merged, MergedTable *table, Snapshot snapshot,
			int64 first, int64 last)
{
	TupleDesc	wanted = RelationGetDescr(merged->stream->relation);
	ScanKeyData keys[2];

	StreamNumberKey(&merged->stream->parts, &keys[0],
					BTGreaterEqualStrategyNumber, first);
	StreamNumberKey(&merged->stream->parts, &keys[1],
					BTLessEqualStrategyNumber, last);
	table->open_index = index_open(table->index, AccessShareLock);
	table->scan = compat_index_beginscan(table->relation, table->open_index,
										 snapshot, 2);
	index_rescan(table->scan, keys, 2, NULL, 0);
	table->slot = table_slot_create(table->relation, NULL);
	if (!go_on(merged, table))
	{
		end_table(table);
		return false;
	}
	table->map = convert_tuples_by_name(RelationGetDescr(table->relation),
										wanted);
	if (table->map != NULL)
		table->row = MakeSingleTupleTableSlot(wanted, &TTSOpsVirtual);
	return true;
}

/* binaryheap_comparator: the lowest number comes first */
static int
compare(Datum a, Datum b, void *arg)
{
	const MergedTable *left = (const MergedTable *) DatumGetPointer(a);
	const MergedTable *right = (const MergedTable *) DatumGetPointer(b);

	return left->no < right->no ? 1 : left->no > right->no ? -1 : 0;
}

/* All tables that have a row in this range, the lowest number on top. */
static binaryheap *
begin_tables(Merged *merged, Snapshot snapshot, int64 first, int64 last)
{
	binaryheap *heap = binaryheap_allocate(Max(merged->count, 1), compare, NULL);

	for (int i = 0; i < merged->count; i++)
	{
		if (begin_table(merged, &merged->tables[i], snapshot, first, last))
			binaryheap_add_unordered(heap,
									 PointerGetDatum(&merged->tables[i]));
	}
	binaryheap_build(heap);
	return heap;
}

/* Give the receiver the table's row; false: it ends the read. */
static bool
send_row(const Merged *merged, MergedTable *table, int64 *previous,
		 EventReceiver receive, void *state)
{
	Event		event = {.no = table->no};

	if (table->no == *previous)
	{
		/* of a created stream, an event that was copied is one event */
		if (!merged->stream->parts.created)
			StreamRefuseTwice(merged->stream, table->no);
		return true;
	}
	*previous = table->no;
	event.slot = table->map == NULL ? table->slot :
		execute_attr_map_slot(table->map->attrMap, table->slot, table->row);
	return receive(state, &event);
}

/*
 * Give the receiver the rows first..last that the snapshot sees, which is the
 * one they were opened for, in order of number, and close the tables.
 * Returns false where the receiver ended the read.
 */
bool
MergedRead(Merged *merged, Snapshot snapshot, int64 first, int64 last,
		   EventReceiver receive, void *state)
{
	binaryheap *heap = begin_tables(merged, snapshot, first, last);
	int64		previous = PG_INT64_MIN;
	bool		more = true;

	while (more && !binaryheap_empty(heap))
	{
		MergedTable *table = (MergedTable *)
			DatumGetPointer(binaryheap_first(heap));

		CHECK_FOR_INTERRUPTS();
		more = send_row(merged, table, &previous, receive, state);
		if (go_on(merged, table))
			binaryheap_replace_first(heap, PointerGetDatum(table));
		else
			(void) binaryheap_remove_first(heap);
	}
	for (int i = 0; i < merged->count; i++)
	{
		if (merged->tables[i].scan != NULL)
			end_table(&merged->tables[i]);
	}
	binaryheap_free(heap);
	close_tables(merged);
	return more;
}
