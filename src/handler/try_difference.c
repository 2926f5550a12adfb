/*
 * try_difference.c
 *		What a statement has changed in its tables.
 *
 * Rows that one of two snapshots sees and the other does not: the one of before,
 * and the same with our own changes.  So what others commit meanwhile is in
 * neither.  A row that was replaced by one of the same values makes no
 * difference.
 */
#include "postgres.h"

#include "compat.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "handler/try_difference.h"

/* One table while it is looked at. */
typedef struct Look
{
	Relation	table;
	Try			json;			/* its row_to_json only */
	List	   *drawn;			/* of text *: columns to leave out */
	List	   *gone;			/* of char *, the row */
	List	   *come;
	List	   *rows;			/* of Datum, jsonb; or not wanted */
} Look;

/* Columns that the statement leaves to a sequence, or a volatile default. */
static List *
drawn_columns(Relation table, const StatementTarget *target)
{
	TupleDesc	desc = RelationGetDescr(table);
	List	   *names = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || attribute->attgenerated ||
			bms_is_member(i + 1, target->listed))
			continue;
		if (attribute->attidentity ||
			contain_volatile_functions(build_column_default(table, i + 1)))
			names = lappend(names,
							cstring_to_text(NameStr(attribute->attname)));
	}
	return names;
}

static char *
as_text(const Look *look, Datum row)
{
	ListCell   *cell;

	foreach(cell, look->drawn)
		row = DirectFunctionCall2(jsonb_delete, row, PointerGetDatum(lfirst(cell)));
	return JsonbToCString(NULL, &DatumGetJsonbP(row)->root, 0);
}

/* The rows that one snapshot sees and the other does not. */
static void
look_for_rows(Look *look, Snapshot seen, Snapshot unseen, bool come)
{
	TableScanDesc scan = compat_table_beginscan(look->table, seen, 0, NULL);
	TupleTableSlot *slot = table_slot_create(look->table, NULL);
	TupleTableSlot *other = table_slot_create(look->table, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		ItemPointerData place = slot->tts_tid;
		Datum		row;

		CHECK_FOR_INTERRUPTS();
		if (table_tuple_fetch_row_version(look->table, &place, unseen, other))
			continue;
		row = TryRowAsJson(&look->json, slot);
		if (come)
		{
			look->rows = lappend(look->rows, DatumGetPointer(row));
			look->come = lappend(look->come, as_text(look, row));
		}
		else
			look->gone = lappend(look->gone, as_text(look, row));
	}
	ExecDropSingleTupleTableSlot(other);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

static List *
add_change(List *changes, const char *sign, Relation table, const char *row)
{
	return lappend(changes, psprintf("%s %s: %s", sign,
									 RelationGetRelationName(table), row));
}

/* Rows that have gone and come again are no change. */
static List *
changes_of(Look *look)
{
	List	   *changes = NIL;
	int			gone = 0;
	int			come = 0;

	list_sort(look->gone, compare_texts);
	list_sort(look->come, compare_texts);
	while (gone < list_length(look->gone) || come < list_length(look->come))
	{
		int			order = gone == list_length(look->gone) ? 1 :
			come == list_length(look->come) ? -1 :
			strcmp(list_nth(look->gone, gone), list_nth(look->come, come));

		if (order < 0)
			changes = add_change(changes, "-", look->table,
								 list_nth(look->gone, gone));
		else if (order > 0)
			changes = add_change(changes, "+", look->table,
								 list_nth(look->come, come));
		gone += order <= 0;
		come += order >= 0;
	}
	return changes;
}

/*
 * What the current subtransaction has changed since this snapshot, in the
 * current memory context.
 */
TryDifference *
TryDifferenceSince(const Merge *merge, Snapshot before)
{
	TryDifference *difference = palloc0_object(TryDifference);
	ListCell   *cell;

	CommandCounterIncrement();
	PushCopiedSnapshot(before);
	UpdateActiveSnapshotCommandId();
	foreach(cell, merge->statement->targets)
	{
		const StatementTarget *target = lfirst(cell);
		Look		look = {.table = table_open(target->relation, AccessShareLock)};

		TryPrepareJson(&look.json.row_to_json,
					   RelationGetDescr(look.table)->tdtypeid);
		look.drawn = drawn_columns(look.table, target);
		look_for_rows(&look, before, GetActiveSnapshot(), false);
		look_for_rows(&look, GetActiveSnapshot(), before, true);
		difference->changes = list_concat(difference->changes, changes_of(&look));
		if (target->relation == merge->read_model)
			difference->rows = look.rows;
		table_close(look.table, AccessShareLock);
	}
	PopActiveSnapshot();
	return difference;
}
