/*
 * refold_compare.c
 *		The rows of a refold and those of the table.
 *
 * The table is read once.  Values are equal if their bytes are, or else if
 * their texts are.
 */
#include "postgres.h"

#include "compat.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "keyhash.h"
#include "rebuild/refold_state.h"

/* The key of a row of the table, and its hash; false: it is null. */
static bool
key_of_row(Refold *refold, TupleTableSlot *row, const char **image,
		   int *length, uint32 *hash)
{
	KeyType    *type = refold->sink.key;
	Datum		key[INDEX_MAX_KEYS];
	struct varlena *string;
	char	   *made;
	bool		isnull;

	if (type == NULL)
	{
		key[0] = slot_getattr(row, refold->model.columns[0], &isnull);
		if (isnull)
			return false;
		string = PG_DETOAST_DATUM_PACKED(key[0]);
		*image = VARDATA_ANY(string);
		*length = VARSIZE_ANY_EXHDR(string);
		*hash = KeyHash(*image, *length) >> 32;
		return true;
	}
	for (int i = 0; i < type->ncolumns; i++)
	{
		key[i] = slot_getattr(row, refold->sink.merge->key.columns[i], &isnull);
		if (isnull)
			return false;
		if (type->columns[i].typlen == -1)
			key[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(key[i]));
	}
	*length = (int) KeyImageSize(type, key);
	made = palloc0(*length);
	KeyImageStore(type, key, made);
	*image = made;
	*hash = KeyHashesOf(type, key).place >> 32;
	return true;
}

static bool
value_differs(Refold *refold, TupleTableSlot *expected, TupleTableSlot *actual,
			  int column)
{
	Form_pg_attribute form = TupleDescAttr(refold->desc, column - 1);
	bool		null1;
	bool		null2;
	Datum		value1 = slot_getattr(expected, column, &null1);
	Datum		value2 = slot_getattr(actual, column, &null2);

	if (null1 || null2)
		return null1 != null2;
	if (likely(datum_image_eq(value1, value2, form->attbyval, form->attlen)))
		return false;
	return strcmp(RefoldValueText(refold, expected, column),
				  RefoldValueText(refold, actual, column)) != 0;
}

/* Does any compared column differ?  columns, if not NULL: which. */
bool
RefoldRowsDiffer(Refold *refold, TupleTableSlot *expected,
				 TupleTableSlot *actual, bool *columns)
{
	bool		result = false;
	int			column = -1;

	if (columns != NULL)
		memset(columns, 0, refold->desc->natts * sizeof(bool));
	while ((column = bms_next_member(refold->columns, column)) >= 0)
	{
		if (!value_differs(refold, expected, actual, column))
			continue;
		result = true;
		if (columns == NULL)
			break;
		columns[column - 1] = true;
	}
	return result;
}

/* The entry's row in a slot, until the next call; NULL: it has none. */
TupleTableSlot *
RefoldRowOf(Refold *refold, const ShadowEntry *entry)
{
	if (entry->state != SHADOW_ROW)
		return NULL;
	return ExecStoreMinimalTuple(entry->u.row, refold->old_row, false);
}

static bool
entry_differs(Refold *refold, const ShadowEntry *entry, TupleTableSlot *actual,
			  bool *columns)
{
	if (entry->state == SHADOW_FAULT)
		return true;
	if (entry->state == SHADOW_NO_ROW || actual == NULL)
		return (entry->state == SHADOW_ROW) != (actual != NULL);
	return RefoldRowsDiffer(refold, RefoldRowOf(refold, entry), actual, columns);
}

/*
 * The key's row as it ought to be, all columns of the read model; NULL: no row.
 * Good until the next call.
 */
TupleTableSlot *
RefoldRow(Refold *refold, const RefoldKey *key)
{
	return RefoldRowOf(refold, key->shadow);
}

/* Does the table's row (NULL: there is none) differ from what ought to be? */
bool
RefoldDiffers(Refold *refold, const RefoldKey *key, TupleTableSlot *actual,
			  bool *columns)
{
	MemoryContext old = MemoryContextSwitchTo(refold->row_context);
	bool		result = entry_differs(refold, key->shadow, actual, columns);

	MemoryContextSwitchTo(old);
	MemoryContextReset(refold->row_context);
	return result;
}

/* A row of a key that no event speaks of. */
static void
take_foreign(RefoldCompared *comparison, TupleTableSlot *row, const char *image,
			 int length, uint32 hash)
{
	Refold	   *refold = comparison->refold;
	ShadowEntry *entry = ShadowMake(refold->shadow, image, length, hash);

	entry->met = true;
	RefoldTell(comparison, entry, row);
	if (comparison->keep_surplus)
		RefoldNarrow(refold);
	else
		ShadowDrop(refold->shadow, entry);
}

static void
compare_row(RefoldCompared *comparison, TupleTableSlot *row)
{
	Refold	   *refold = comparison->refold;
	ShadowEntry *entry;
	const char *image;
	int			length;
	uint32		hash;

	if (!key_of_row(refold, row, &image, &length, &hash))
	{
		/* of the range that begins at 0, as it has no hash */
		if (refold->first == 0 && refold->only_key == NULL)
		{
			refold->unkeyed++;
			RefoldTellRow(comparison, NULL, REFOLD_SURPLUS, NULL, row);
		}
		return;
	}
	if (hash < refold->first || hash > refold->last)
		return;
	entry = ShadowFind(refold->shadow, image, length, hash);
	if (entry == NULL && refold->compared)
		return;
	comparison->compared++;
	if (entry == NULL)
		take_foreign(comparison, row, image, length, hash);
	else if (entry_differs(refold, entry, row, NULL))
	{
		entry->met = true;
		RefoldTell(comparison, entry, row);
	}
	else
		ShadowDrop(refold->shadow, entry);
}

static void
compare_rows(RefoldCompared *comparison, Snapshot snapshot)
{
	Refold	   *refold = comparison->refold;
	Relation	relation = refold->work->read_model;
	TableScanDesc scan = compat_table_beginscan(relation, snapshot, 0, NULL);
	TupleTableSlot *row = table_slot_create(relation, NULL);
	MemoryContext old = MemoryContextSwitchTo(refold->row_context);

	/* the scan keeps things from row to row in the context where it began */
	for (;;)
	{
		bool		more;

		MemoryContextSwitchTo(old);
		more = table_scan_getnextslot(scan, ForwardScanDirection, row);
		MemoryContextSwitchTo(refold->row_context);
		if (!more)
			break;
		CHECK_FOR_INTERRUPTS();
		compare_row(comparison, row);
		MemoryContextReset(refold->row_context);
	}
	MemoryContextSwitchTo(old);
	ExecDropSingleTupleTableSlot(row);
	table_endscan(scan);
}

/* The row of the only key, by the table's index. */
static void
compare_only(RefoldCompared *comparison, Snapshot snapshot)
{
	Refold	   *refold = comparison->refold;
	ShadowCursor cursor = {0};
	ShadowEntry *entry = ShadowNext(refold->shadow, &cursor);
	ReadModel  *model = ReadModelBeginToRead(&refold->sink,
											 refold->work->read_model, snapshot);
	FoldedKey	key = {.rank = PG_UINT64_MAX};
	MemoryContext old = MemoryContextSwitchTo(refold->row_context);

	key.entry = RefoldKeyOf(refold, entry)->entry;
	key.hash = entry->hash;
	if (ReadModelFind(model, &key))
		compare_row(comparison, model->row);
	MemoryContextSwitchTo(old);
	ReadModelEnd(model);
}

/* Keys whose rows the table does not have. */
static void
compare_rest(RefoldCompared *comparison)
{
	Refold	   *refold = comparison->refold;
	ShadowCursor cursor = {0};
	ShadowEntry *entry;
	MemoryContext old = MemoryContextSwitchTo(refold->row_context);

	while ((entry = ShadowNext(refold->shadow, &cursor)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (entry->met)
			continue;
		if (!entry_differs(refold, entry, NULL, NULL))
		{
			ShadowDrop(refold->shadow, entry);
			continue;
		}
		comparison->compared++;
		RefoldTell(comparison, entry, NULL);
		MemoryContextReset(refold->row_context);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Compare with the table's rows, as the snapshot sees them; see refold.h.
 */
int64
RefoldCompare(Refold *refold, Snapshot snapshot, bool keep_surplus,
			  RefoldReceiver receive, void *arg)
{
	RefoldCompared comparison = {.refold = refold,.keep_surplus = keep_surplus,
	.receive = receive,.arg = arg};

	PushActiveSnapshot(snapshot);
	if (refold->only_key != NULL)
		compare_only(&comparison, snapshot);
	else
		compare_rows(&comparison, snapshot);
	compare_rest(&comparison);
	RefoldTellNoKeys(&comparison);
	PopActiveSnapshot();
	refold->most = Max(refold->most, RefoldMemory(refold));
	refold->compared = true;
	return comparison.compared;
}
