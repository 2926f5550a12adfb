/*
 * apply.c
 *		Folded changes into the rows of a read model.
 *
 * Each key's row is touched once.  Rows whose place in the table is remembered
 * (rowcache.c) come first, in the order of their places, so that each page is
 * visited once; then the others, in the order of their keys, as their index
 * has them.  A row that the batch creates is inserted without looking for an
 * older one: the unique index on the key refuses it if there is one.
 *
 * The caller holds the partition, so nobody else of the engine writes these
 * rows.  Somebody else may: where a row was changed since the snapshot, it is
 * locked in its newest version, and the change is made to that.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "handler/apply.h"
#include "handler/rowcache.h"
#include "rowwriter.h"

struct Apply
{
	const RowHandler *handler;
	Relation	relation;
	Snapshot	snapshot;
	Relation	index;			/* unique, on the key */
	IndexScanDesc scan;
	ScanKeyData scankey;
	AttrNumber	columns[HANDLER_MAX_COLUMNS];	/* in the table */
	RowWriter  *writer;
	TupleTableSlot *old;
	RowCache   *cache;
	BlockNumber blocks;			/* of the table when we began */
	IndexFetchTableData *fetch; /* of rows by their places */
	MemoryContext row_context;	/* reset after each row */
	text	   *key;			/* of the row at hand */
	Size		key_capacity;
	const FoldEntry *current;	/* being looked at, or NULL: ask the writer */
};

/* Find a column of the handler's in the table and check its type. */
static AttrNumber
find_column(Relation relation, const HandlerColumn *column)
{
	TupleDesc	desc = RelationGetDescr(relation);
	AttrNumber	number = get_attnum(RelationGetRelid(relation), column->name);
	Oid			type;

	if (number == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("read model \"%s\" has no column \"%s\"",
						RelationGetRelationName(relation), column->name),
				 errhint("Add it again: \"%s %s\".",
						 column->name, column->definition)));
	type = TupleDescAttr(desc, number - 1)->atttypid;
	if (type != column->type &&
		!(column->type == VARCHAROID && type == TEXTOID) &&
		!(column->type == INT4OID && type == INT8OID))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of read model \"%s\" has type %s",
						column->name, RelationGetRelationName(relation),
						format_type_be(type)),
				 errdetail("The projection writes %s.",
						   format_type_be(column->type))));
	return number;
}

/* The unique index on the key column alone. */
static Relation
open_key_index(Relation relation, AttrNumber key)
{
	List	   *indexes = RelationGetIndexList(relation);
	Relation	found = NULL;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisunique && form->indisvalid && form->indimmediate &&
			form->indnkeyatts == 1 && form->indkey.values[0] == key &&
			RelationGetIndexPredicate(index) == NIL)
		{
			found = index;
			break;
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("read model \"%s\" has no unique index on its key",
						RelationGetRelationName(relation)),
				 errhint("Its key column needs a primary key or unique constraint that is not deferrable.")));
	return found;
}

/*
 * Get ready to write into a read model that is open with RowExclusiveLock.
 * Everything lives in the current memory context.
 */
Apply *
ApplyBegin(const RowHandler *handler, Relation read_model, Snapshot snapshot)
{
	Apply	   *apply = palloc0(sizeof(Apply));
	bool	   *owned = palloc0(RelationGetNumberOfAttributes(read_model) *
								sizeof(bool));

	Assert(handler->ncolumns <= HANDLER_MAX_COLUMNS);
	apply->handler = handler;
	apply->relation = read_model;
	apply->snapshot = snapshot;
	for (int i = 0; i < handler->ncolumns; i++)
	{
		apply->columns[i] = find_column(read_model, &handler->columns[i]);
		owned[apply->columns[i] - 1] = true;
	}
	apply->index = open_key_index(read_model, apply->columns[0]);
	apply->scan = compat_index_beginscan(read_model, apply->index, snapshot, 1);
	ScanKeyEntryInitialize(&apply->scankey, 0, 1, BTEqualStrategyNumber,
						   InvalidOid, apply->index->rd_indcollation[0],
						   F_TEXTEQ, (Datum) 0);
	apply->writer = RowWriterBegin(read_model, owned, snapshot);
	apply->old = table_slot_create(read_model, NULL);
	apply->blocks = RelationGetNumberOfBlocks(read_model);
	apply->cache = RowCacheFor(read_model, apply->blocks);
	apply->fetch = table_index_fetch_begin(read_model);
	apply->row_context = AllocSetContextCreate(CurrentMemoryContext,
											   "wallet_projection row",
											   ALLOCSET_SMALL_SIZES);
	pfree(owned);
	return apply;
}

/* The entry's key as a text; good until the next call. */
static Datum
key_datum(Apply *apply, const FoldEntry *entry)
{
	Size		size = entry->key_length + VARHDRSZ;

	if (size > apply->key_capacity)
	{
		apply->key_capacity = Max(size, 256);
		if (apply->key != NULL)
			pfree(apply->key);
		apply->key = MemoryContextAlloc(GetMemoryChunkContext(apply),
										apply->key_capacity);
	}
	SET_VARSIZE(apply->key, size);
	memcpy(VARDATA(apply->key), FoldEntryKey(entry), entry->key_length);
	return PointerGetDatum(apply->key);
}

/* Does the row in apply->old have this key? */
static bool
is_row_of(Apply *apply, const FoldEntry *entry)
{
	bool		isnull;
	Datum		datum = slot_getattr(apply->old, apply->columns[0], &isnull);
	struct varlena *key;

	if (isnull)
		return false;
	key = PG_DETOAST_DATUM_PACKED(datum);
	return VARSIZE_ANY_EXHDR(key) == entry->key_length &&
		memcmp(VARDATA_ANY(key), FoldEntryKey(entry), entry->key_length) == 0;
}

/* Find the row of a key where it was last; false if it is not there. */
static bool
find_remembered(Apply *apply, const FoldedKey *key)
{
	ItemPointerData tid;
	bool		call_again = false;

	if (!RowCacheFind(apply->cache, key->hash, &tid) ||
		ItemPointerGetBlockNumber(&tid) >= apply->blocks)
		return false;
	return table_index_fetch_tuple(apply->fetch, &tid, apply->snapshot,
								   apply->old, &call_again, NULL) &&
		is_row_of(apply, key->entry);
}

/* Find the row of a key through the index; false if there is none. */
static bool
find_indexed(Apply *apply, const FoldedKey *key, Datum datum)
{
	ItemPointer place;
	ItemPointerData root;

	apply->scankey.sk_argument = datum;
	index_rescan(apply->scan, &apply->scankey, 1, NULL, 0);
	while ((place = index_getnext_tid(apply->scan, ForwardScanDirection)) != NULL)
	{
		root = *place;
		if (index_fetch_heap(apply->scan, apply->old))
		{
			RowCacheRemember(apply->cache, key->hash, &root);
			return true;
		}
	}
	return false;
}

/* Find the row of a key; false if there is none. */
static bool
find_row(Apply *apply, const FoldedKey *key, Datum datum)
{
	/* the scans keep things from row to row */
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(apply));
	bool		found = find_remembered(apply, key) ||
		find_indexed(apply, key, datum);

	MemoryContextSwitchTo(old);
	return found;
}

/*
 * A value as the table's column holds it, where the user has changed the
 * column's type.  NULL if it does not fit.
 */
static const char *
fit_value(Apply *apply, int column, Datum *value)
{
	const HandlerColumn *declared = &apply->handler->columns[column];
	Form_pg_attribute attribute =
	TupleDescAttr(RelationGetDescr(apply->relation),
				  apply->columns[column] - 1);

	if (attribute->atttypid == INT8OID && declared->type == INT4OID)
		*value = Int64GetDatum(DatumGetInt32(*value));
	if (attribute->atttypmod == declared->typmod || attribute->atttypmod == -1)
		return NULL;
	if (attribute->atttypid == NUMERICOID)
	{
		/* raises an error of its own where there are too many digits */
		Datum		rounded = DirectFunctionCall2(numeric, *value,
												  Int32GetDatum(attribute->atttypmod));

		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, rounded, *value)))
			return psprintf("column \"%s\" has too few decimal places",
							declared->name);
		*value = rounded;
	}
	return NULL;
}

/*
 * Fill a slot with the row that the entry makes out of the old one (in
 * apply->old), or out of nothing.  Returns NULL, or why not.
 */
static const char *
make_row(Apply *apply, const FoldEntry *entry, Datum key, TupleTableSlot *slot)
{
	const RowHandler *handler = apply->handler;
	Datum		values[HANDLER_MAX_COLUMNS];
	bool		nulls[HANDLER_MAX_COLUMNS];
	const char *reason;

	if (!entry->creates)
	{
		int			natts = RelationGetNumberOfAttributes(apply->relation);

		slot_getallattrs(apply->old);
		memcpy(slot->tts_values, apply->old->tts_values,
			   natts * sizeof(Datum));
		memcpy(slot->tts_isnull, apply->old->tts_isnull, natts * sizeof(bool));
	}
	for (int i = 1; i < handler->ncolumns; i++)
	{
		int			at = apply->columns[i] - 1;

		nulls[i] = entry->creates || slot->tts_isnull[at];
		values[i] = nulls[i] ? (Datum) 0 : slot->tts_values[at];
		if (!nulls[i] && handler->columns[i].type == INT4OID &&
			TupleDescAttr(RelationGetDescr(apply->relation), at)->atttypid == INT8OID)
			values[i] = Int32GetDatum((int32) DatumGetInt64(values[i]));
	}
	reason = handler->merge(entry->state, values, nulls);
	for (int i = 1; i < handler->ncolumns && reason == NULL; i++)
	{
		int			at = apply->columns[i] - 1;

		if (!nulls[i])
			reason = fit_value(apply, i, &values[i]);
		slot->tts_values[at] = values[i];
		slot->tts_isnull[at] = nulls[i];
	}
	if (entry->creates)
	{
		slot->tts_values[apply->columns[0] - 1] = key;
		slot->tts_isnull[apply->columns[0] - 1] = false;
	}
	return reason;
}

static bool
fail(ApplyFailure *failure, const FoldEntry *entry, int64 no,
	 const char *reason)
{
	failure->entry = entry;
	failure->no = no;
	failure->reason = reason;
	return false;
}

/* Where an error cannot be told to be one event's. */
static int64
only_event(const FoldEntry *entry)
{
	return entry->first_no == entry->last_no ? entry->first_no : 0;
}

static bool
insert_row(Apply *apply, const FoldedKey *folded, ApplyFailure *failure)
{
	const FoldEntry *entry = folded->entry;
	Datum		key = key_datum(apply, entry);
	TupleTableSlot *slot = RowWriterSlot(apply->writer);
	const char *reason;

	apply->current = entry;
	reason = make_row(apply, entry, key, slot);
	if (reason != NULL)
		return fail(failure, entry, only_event(entry), reason);
	apply->current = NULL;
	RowWriterInsert(apply->writer, slot, unconstify(FoldEntry *, entry));
	return true;
}

/*
 * Somebody else has changed the row since the snapshot: lock its newest
 * version into apply->old.  False if it was deleted.
 */
static bool
lock_newest(Apply *apply)
{
	TM_FailureData data;
	ItemPointerData tid = apply->old->tts_tid;
	TM_Result	result;

	result = table_tuple_lock(apply->relation, &tid, apply->snapshot,
							  apply->old, GetCurrentCommandId(true),
							  LockTupleNoKeyExclusive, LockWaitBlock,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &data);
	return result == TM_Ok;
}

static bool
update_row(Apply *apply, const FoldedKey *folded, ApplyFailure *failure)
{
	const FoldEntry *entry = folded->entry;
	Datum		key = key_datum(apply, entry);
	bool		exists = find_row(apply, folded, key);

	for (;;)
	{
		TupleTableSlot *slot;
		const char *reason;

		if (!exists)
			return fail(failure, entry, entry->first_no,
						"it was never created");
		if (entry->second_creation != 0)
			return fail(failure, entry, entry->second_creation,
						"it was created before");
		slot = RowWriterSlot(apply->writer);
		apply->current = entry;
		reason = make_row(apply, entry, key, slot);
		if (reason != NULL)
			return fail(failure, entry, only_event(entry), reason);
		apply->current = NULL;
		if (RowWriterUpdate(apply->writer, apply->old, slot,
							unconstify(FoldEntry *, entry)))
			return true;
		exists = lock_newest(apply);
	}
}

/* Apply keys in the order in which they stand. */
static bool
apply_keys(Apply *apply, const FoldedKey *keys, int64 count,
		   ApplyFailure *failure)
{
	bool		good = true;

	for (int64 i = 0; i < count && good; i++)
	{
		CHECK_FOR_INTERRUPTS();
		good = keys[i].entry->creates ?
			insert_row(apply, &keys[i], failure) :
			update_row(apply, &keys[i], failure);
		if (good)
			MemoryContextReset(apply->row_context);
	}
	return good;
}

/*
 * Put the keys whose rows' places are remembered before the others, each part
 * in its order.
 */
static void
arrange_keys(Apply *apply, FoldedKey *keys, int64 count)
{
	int64		remembered = 0;

	for (int64 i = 0; i < count; i++)
	{
		FoldedKey	key = keys[i];
		ItemPointerData tid;

		if (key.entry->creates ||
			!RowCacheFind(apply->cache, key.hash, &tid))
			continue;
		key.rank = (uint64) ItemPointerGetBlockNumber(&tid) << 16 |
			ItemPointerGetOffsetNumber(&tid);
		keys[i] = keys[remembered];
		keys[remembered++] = key;
	}
	FoldSort(keys, remembered);
	FoldSort(keys + remembered, count - remembered);
}

/*
 * Apply all that was folded.  Returns false, and says why, at the first key
 * that cannot be applied; what was written by then is the caller's to undo.
 * An error of the table's own (a constraint, a trigger) is raised as it is:
 * ApplyCurrent() tells then whose row it was.
 */
bool
ApplyFold(Apply *apply, Fold *fold, ApplyFailure *failure)
{
	int64		count;
	FoldedKey  *keys = FoldKeys(fold, &count);
	MemoryContext old;
	bool		good;

	arrange_keys(apply, keys, count);
	old = MemoryContextSwitchTo(apply->row_context);
	good = apply_keys(apply, keys, count, failure);
	MemoryContextSwitchTo(old);
	apply->current = NULL;
	if (good)
		RowWriterFlush(apply->writer);
	return good;
}

/* Give back what ApplyBegin() took; the table's lock stays. */
void
ApplyEnd(Apply *apply)
{
	RowWriterEnd(apply->writer);
	table_index_fetch_end(apply->fetch);
	index_endscan(apply->scan);
	index_close(apply->index, AccessShareLock);
	ExecDropSingleTupleTableSlot(apply->old);
	MemoryContextDelete(apply->row_context);
}

/* Whose row was at hand when an error was raised; NULL if unknown. */
const FoldEntry *
ApplyCurrent(Apply *apply)
{
	if (apply->current != NULL)
		return apply->current;
	return RowWriterTag(apply->writer);
}
