/*
 * unhandled_counts.c
 *		Counts of events that nothing was done with, in the catalog.
 *
 * Each lane of positions has rows of its own, which nobody else writes who
 * works at the same time; so nobody waits.  A batch in which each event was
 * handled does not look.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "batch/unhandled_counts.h"
#include "catalog.h"
#include "catalog_row.h"

static const char *const whys[] = {
	[UNHANDLED_NO_WHEN] = "no WHEN holds",
	[UNHANDLED_NO_KEY] = "the key is null"
};

/* A row of the catalog: its place, and what it says. */
typedef struct CountRow
{
	ItemPointerData place;
	int			part;
	UnhandledCount count;
} CountRow;

static bool
why_from_name(const char *name, UnhandledWhy *why)
{
	for (int i = 0; i < lengthof(whys); i++)
	{
		if (strcmp(whys[i], name) == 0)
		{
			*why = (UnhandledWhy) i;
			return true;
		}
	}
	return false;
}

static CountRow *
read_row(Relation catalog, HeapTuple tuple)
{
	Datum		values[UNHANDLED_CATALOG_NATTS];
	bool		nulls[UNHANDLED_CATALOG_NATTS];
	CountRow   *row = palloc0(sizeof(CountRow));

	CatalogDeform(catalog, tuple, values, nulls);
	row->place = tuple->t_self;
	row->part = DatumGetInt32(values[UNHANDLED_CATALOG_PART - 1]);
	if (!why_from_name(CatalogGetText(values, nulls, UNHANDLED_CATALOG_WHY),
					   &row->count.why))
		CatalogRaise(CatalogDamageOf(catalog, values, nulls,
									 "column \"why\" is none that is known"));
	row->count.type = CatalogGetText(values, nulls, UNHANDLED_CATALOG_WHAT);
	row->count.count = DatumGetInt64(values[UNHANDLED_CATALOG_COUNT - 1]);
	row->count.first_no = DatumGetInt64(values[UNHANDLED_CATALOG_FIRST_NO - 1]);
	row->count.last_no = DatumGetInt64(values[UNHANDLED_CATALOG_LAST_NO - 1]);
	return row;
}

/* The rows of a lane, by part. */
static List *
rows_of_lane(Relation catalog, const char *projection, int lane)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *rows = NIL;

	ScanKeyInit(&keys[0], UNHANDLED_CATALOG_PROJECTION, BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(projection));
	ScanKeyInit(&keys[1], UNHANDLED_CATALOG_LANE, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(lane));
	scan = systable_beginscan(catalog, CatalogPrimaryKey(catalog), true, NULL, 2,
							  keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		rows = lappend(rows, read_row(catalog, tuple));
	systable_endscan(scan);
	return rows;
}

/* The row that counts events like these, or NULL. */
static CountRow *
find_row(List *rows, const UnhandledCount *count, bool others)
{
	ListCell   *cell;

	foreach(cell, rows)
	{
		CountRow   *row = lfirst(cell);
		const char *type = others ? NULL : count->type;

		if (row->count.why == count->why &&
			(type == NULL ? row->count.type == NULL :
			 row->count.type != NULL && strcmp(row->count.type, type) == 0))
			return row;
	}
	return NULL;
}

static int
highest_part(List *rows)
{
	int			highest = 0;
	ListCell   *cell;

	foreach(cell, rows)
		highest = Max(highest, ((CountRow *) lfirst(cell))->part);
	return highest;
}

static HeapTuple
form_row(Relation catalog, const char *projection, int lane,
		 const CountRow *row)
{
	Datum		values[UNHANDLED_CATALOG_NATTS];
	bool		nulls[UNHANDLED_CATALOG_NATTS] = {0};

	CatalogPutText(values, nulls, UNHANDLED_CATALOG_PROJECTION, projection);
	values[UNHANDLED_CATALOG_LANE - 1] = Int32GetDatum(lane);
	values[UNHANDLED_CATALOG_PART - 1] = Int32GetDatum(row->part);
	CatalogPutText(values, nulls, UNHANDLED_CATALOG_WHY, whys[row->count.why]);
	CatalogPutText(values, nulls, UNHANDLED_CATALOG_WHAT, row->count.type);
	values[UNHANDLED_CATALOG_COUNT - 1] = Int64GetDatum(row->count.count);
	values[UNHANDLED_CATALOG_FIRST_NO - 1] = Int64GetDatum(row->count.first_no);
	values[UNHANDLED_CATALOG_LAST_NO - 1] = Int64GetDatum(row->count.last_no);
	return heap_form_tuple(RelationGetDescr(catalog), values, nulls);
}

/* Add a count to the row of its type, or make one. */
static List *
save_count(Relation catalog, const char *projection, int lane, List *rows,
		   const UnhandledCount *count)
{
	bool		full = list_length(rows) >= UNHANDLED_TYPES_MAX;
	CountRow   *row = find_row(rows, count, false);
	HeapTuple	tuple;

	if (row == NULL && full)
		row = find_row(rows, count, true);
	if (row != NULL)
	{
		row->count.count += count->count;
		row->count.first_no = Min(row->count.first_no, count->first_no);
		row->count.last_no = Max(row->count.last_no, count->last_no);
		CatalogRowUpdate(catalog, &row->place,
						 form_row(catalog, projection, lane, row));
		return rows;
	}
	row = palloc0(sizeof(CountRow));
	row->part = highest_part(rows) + 1;
	row->count = *count;
	if (full)
		row->count.type = NULL;
	tuple = form_row(catalog, projection, lane, row);
	CatalogTupleInsert(catalog, tuple);
	row->place = tuple->t_self;
	return lappend(rows, row);
}

/*
 * Add what a batch has counted; lane: of the positions that it has claimed.
 */
void
UnhandledSave(const char *projection, int lane, const Unhandled *unhandled)
{
	Relation	catalog;
	List	   *rows;
	ListCell   *cell;

	if (unhandled->counts == NIL)
		return;
	catalog = CatalogOpen(UNHANDLED_CATALOG, RowExclusiveLock);
	rows = rows_of_lane(catalog, projection, lane);
	foreach(cell, unhandled->counts)
		rows = save_count(catalog, projection, lane, rows, lfirst(cell));
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/* Forget all: the projection begins again. */
void
UnhandledDrop(const char *projection)
{
	CatalogDelete(UNHANDLED_CATALOG, projection);
}
