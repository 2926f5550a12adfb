/*
 * read_model.c
 *		The table that a row projection maintains: its columns, its rows.
 *
 * A user may add columns to it, widen those of the handler, and add indexes
 * and constraints; so columns and the index on the key are looked up by what
 * they are whenever a batch begins.
 *
 * A row is looked for at the place that is remembered (rowcache.c) or that the
 * index gives; where it is not there, it is looked up in the index again.
 */
#include "postgres.h"

#include "compat.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "catalog.h"
#include "handler/read_model.h"
#include "tablesize.h"
#include "unique_index.h"

/* room for new versions of rows that a page should have, in bytes */
#define PAGE_ROOM (BLCKSZ / 10)

/* the rank of a key whose row has no known place: after all others */
#define NO_PLACE PG_UINT64_MAX

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
				 errhint("Add it again, \"%s %s\", and run projection_reset.",
						 column->name, column->definition)));
	if (TupleDescAttr(desc, number - 1)->attgenerated)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of read model \"%s\" is generated",
						column->name, RelationGetRelationName(relation)),
				 errdetail("The projection writes it.")));
	type = TupleDescAttr(desc, number - 1)->atttypid;
	if (type != column->type &&
		!(column->type == VARCHAROID && type == TEXTOID) &&
		!(column->type == INT8OID && type == INT4OID))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of read model \"%s\" has type %s",
						column->name, RelationGetRelationName(relation),
						format_type_be(type)),
				 errdetail("The projection writes %s.",
						   format_type_be(column->type))));
	return number;
}

static void
check_kind(Relation relation)
{
	if (relation->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("read model \"%s\" is not an ordinary table",
						RelationGetRelationName(relation))));
}

/* An error unless it is an ordinary table with the handler's columns. */
void
ReadModelCheckColumns(const RowHandler *handler, Relation relation)
{
	check_kind(relation);
	for (int i = 0; i < handler->ncolumns; i++)
		(void) find_column(relation, &handler->columns[i]);
}

/* The unique index on the key column alone; an error if there is none. */
static Relation
open_key_index(Relation relation, AttrNumber key)
{
	Oid			index = UniqueIndexOn(relation, 1, &key);

	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("read model \"%s\" has no unique index on its key",
						RelationGetRelationName(relation)),
				 errhint("Its key column needs a primary key or unique constraint that is not deferrable.")));
	return index_open(index, AccessShareLock);
}

/*
 * Have the table's deferrable constraints checked by the end of the batch.
 * At commit we are no longer its owner, and the batch's error could not be
 * told from another's.
 */
void
ReadModelCheckNow(Relation relation)
{
	ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];
		char	   *name;

		if (!trigger->tgdeferrable || !OidIsValid(trigger->tgconstraint))
			continue;
		name = get_constraint_name(trigger->tgconstraint);
		if (name != NULL)
			statement->constraints =
				lappend(statement->constraints,
						makeRangeVar(get_namespace_name(RelationGetNamespace(relation)),
									 name, -1));
	}
	if (statement->constraints != NIL)
		AfterTriggerSetState(statement);
}

/* Find the handler's columns, and the index on its key. */
static void
find_native_key(ReadModel *model, const RowHandler *handler)
{
	Assert(handler->ncolumns <= HANDLER_MAX_COLUMNS);
	for (int i = 0; i < handler->ncolumns; i++)
		model->columns[i] = find_column(model->relation, &handler->columns[i]);
	model->index = open_key_index(model->relation, model->columns[0]);
	ScanKeyEntryInitialize(&model->scankeys[0], 0, 1, BTEqualStrategyNumber,
						   InvalidOid, model->index->rd_indcollation[0],
						   F_TEXTEQ, (Datum) 0);
}

/* The same for the key that a definition compares. */
static void
find_declared_key(ReadModel *model, const Sink *sink)
{
	const MergeKey *key = &sink->merge->key;

	model->index = index_open(key->index, AccessShareLock);
	for (int i = 0; i < key->ncolumns; i++)
	{
		model->columns[i] = key->columns[i];
		ScanKeyEntryInitialize(&model->scankeys[i], 0, i + 1,
							   BTEqualStrategyNumber, InvalidOid,
							   key->collation[i],
							   get_opcode(key->equality[i]), (Datum) 0);
	}
}

/* An error if policies would hide rows from the projection's owner. */
static void
check_row_security(Relation relation)
{
	if (check_enable_rls(RelationGetRelid(relation), InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row-level security of read model \"%s\" applies to its owner",
						RelationGetRelationName(relation)),
				 errhint("Run: ALTER TABLE %s NO FORCE ROW LEVEL SECURITY;",
						 QualifiedName(relation))));
}

/*
 * Get ready to look for rows of a read model, which is open, as the snapshot
 * sees them, to read them only.  Everything lives in the current memory context.
 */
ReadModel *
ReadModelBeginToRead(const Sink *sink, Relation relation, Snapshot snapshot)
{
	ReadModel  *model = palloc0(sizeof(ReadModel));

	check_kind(relation);
	check_row_security(relation);
	model->handler = sink->handler;
	model->key_type = sink->key;
	model->relation = relation;
	model->snapshot = snapshot;
	if (sink->handler != NULL)
		find_native_key(model, sink->handler);
	else
		find_declared_key(model, sink);
	model->scan = compat_index_beginscan(relation, model->index, snapshot,
										 sink->key ? sink->key->ncolumns : 1);
	model->row = table_slot_create(relation, NULL);
	model->cache = RowCacheFor(relation, TableBlocksAtLeast(relation));
	model->is_heap = relation->rd_rel->relam == HEAP_TABLE_AM_OID;
	model->empty = model->is_heap && RelationGetNumberOfBlocks(relation) == 0;
	model->buffer = InvalidBuffer;
	return model;
}

/* The same to write them: the read model is open with RowExclusiveLock. */
ReadModel *
ReadModelBegin(const Sink *sink, Relation relation, Snapshot snapshot)
{
	ReadModel  *model = ReadModelBeginToRead(sink, relation, snapshot);

	ReadModelCheckNow(relation);
	return model;
}

/* Give back what ReadModelBegin() took; the table's lock stays. */
void
ReadModelEnd(ReadModel *model)
{
	if (BufferIsValid(model->buffer))
		ReleaseBuffer(model->buffer);
	index_endscan(model->scan);
	index_close(model->index, AccessShareLock);
	ExecDropSingleTupleTableSlot(model->row);
}

/* The entry's key as a text; good until the next call. */
Datum
ReadModelKey(ReadModel *model, const FoldEntry *entry)
{
	Size		size = entry->key_length + VARHDRSZ;

	if (size > model->key_capacity)
	{
		model->key_capacity = Max(size, 256);
		if (model->key != NULL)
			pfree(model->key);
		model->key = MemoryContextAlloc(GetMemoryChunkContext(model),
										model->key_capacity);
	}
	SET_VARSIZE(model->key, size);
	memcpy(VARDATA(model->key), FoldEntryKey(entry), entry->key_length);
	return PointerGetDatum(model->key);
}

/* Does a row of a declared projection have this key? */
bool
ReadModelHasKey(const ReadModel *model, TupleTableSlot *row,
				const FoldEntry *entry)
{
	Datum		key[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull;

	KeyImageRead(model->key_type, FoldEntryKey(entry), key);
	for (int i = 0; i < model->key_type->ncolumns; i++)
	{
		values[i] = slot_getattr(row, model->columns[i], &isnull);
		if (isnull)
			return false;
	}
	return KeyEqual(model->key_type, key, values);
}

/* Does the row in model->row have this key? */
bool
ReadModelRowIs(ReadModel *model, const FoldEntry *entry)
{
	bool		isnull;
	Datum		datum;
	struct varlena *key;

	if (model->key_type != NULL)
		return ReadModelHasKey(model, model->row, entry);
	datum = slot_getattr(model->row, model->columns[0], &isnull);
	if (isnull)
		return false;
	key = PG_DETOAST_DATUM_PACKED(datum);
	return VARSIZE_ANY_EXHDR(key) == entry->key_length &&
		memcmp(VARDATA_ANY(key), FoldEntryKey(entry), entry->key_length) == 0;
}

/* Set the scan of the index on a key. */
static void
seek(ReadModel *model, const FoldEntry *entry)
{
	Datum		key[INDEX_MAX_KEYS];
	int			ncolumns = model->key_type ? model->key_type->ncolumns : 1;

	if (model->key_type != NULL)
		KeyImageRead(model->key_type, FoldEntryKey(entry), key);
	else
		key[0] = ReadModelKey(model, entry);
	for (int i = 0; i < ncolumns; i++)
		model->scankeys[i].sk_argument = key[i];
	index_rescan(model->scan, model->scankeys, ncolumns, NULL, 0);
}

/* The rank of a row's place, and back. */
static inline uint64
rank_of(ItemPointer place)
{
	return (uint64) ItemPointerGetBlockNumber(place) << 16 |
		ItemPointerGetOffsetNumber(place);
}

static inline void
place_of(uint64 rank, ItemPointer place)
{
	ItemPointerSet(place, (BlockNumber) (rank >> 16), (OffsetNumber) rank);
}

/* Where the index says a key's row is; the row itself is not looked at. */
static uint64
probe_index(ReadModel *model, const FoldedKey *key)
{
	ItemPointer place;

	if (model->empty)
		return NO_PLACE;
	seek(model, key->entry);
	place = index_getnext_tid(model->scan, ForwardScanDirection);
	if (place == NULL)
		return NO_PLACE;
	RowCacheRemember(model->cache, key->hash, place);
	return rank_of(place);
}

/*
 * Put the keys into the order in which their rows are best visited: first
 * those whose rows exist, by their places, so that each page is visited once;
 * then those that the batch creates, in the order of the index.  Places are
 * remembered, or else taken from the index; they are hints.
 */
void
ReadModelArrange(ReadModel *model, FoldedKey *keys, int64 count)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(model));
	int64		known = 0;		/* keys whose place is remembered */
	int64		existing;		/* these, and those to be probed */

	for (int64 i = 0; i < count; i++)
	{
		FoldedKey	key = keys[i];
		ItemPointerData place;

		if (key.entry->creates ||
			!RowCacheFind(model->cache, key.hash, &place))
			continue;
		key.rank = rank_of(&place);
		keys[i] = keys[known];
		keys[known++] = key;
	}
	existing = known;
	for (int64 i = known; i < count; i++)
	{
		FoldedKey	key = keys[i];

		if (key.entry->creates)
			continue;
		keys[i] = keys[existing];
		keys[existing++] = key;
	}
	FoldSort(keys + known, existing - known);
	for (int64 i = known; i < existing; i++)
	{
		CHECK_FOR_INTERRUPTS();
		keys[i].rank = probe_index(model, &keys[i]);
	}
	FoldSort(keys, existing);
	FoldSort(keys + existing, count - existing);
	model->arranged = true;
	MemoryContextSwitchTo(old);
}

/*
 * Pin the page.  Dead versions of rows are cleared off it when room for new
 * ones runs short, not at every visit as an index scan does: with a fill
 * factor in force that would be nearly each time.
 */
static void
go_to_page(ReadModel *model, BlockNumber block)
{
	if (BufferIsValid(model->buffer) &&
		BufferGetBlockNumber(model->buffer) == block)
		return;
	model->buffer = ReleaseAndReadBuffer(model->buffer, model->relation,
										 block);
	if (PageGetHeapFreeSpace(BufferGetPage(model->buffer)) < PAGE_ROOM)
		compat_heap_page_prune_opt(model->relation, model->buffer);
}

/* Find the row of a key at its place; false if it is not there. */
static bool
find_at_place(ReadModel *model, const FoldedKey *key)
{
	ItemPointerData tid;
	bool		found;

	if (!model->is_heap || key->rank == NO_PLACE)
		return false;
	place_of(key->rank, &tid);
	if (!TableHasBlock(model->relation, ItemPointerGetBlockNumber(&tid)))
		return false;
	go_to_page(model, ItemPointerGetBlockNumber(&tid));
	LockBuffer(model->buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&tid, model->relation, model->buffer,
								   model->snapshot, &model->tuple, NULL, true);
	LockBuffer(model->buffer, BUFFER_LOCK_UNLOCK);
	if (!found)
		return false;
	ExecStoreBufferHeapTuple(&model->tuple, model->row, model->buffer);
	return ReadModelRowIs(model, key->entry);
}

/* Find the row of a key through the index; false if there is none. */
static bool
find_indexed(ReadModel *model, const FoldedKey *key)
{
	ItemPointer place;
	ItemPointerData root;

	seek(model, key->entry);
	while ((place = index_getnext_tid(model->scan, ForwardScanDirection)) != NULL)
	{
		root = *place;
		if (index_fetch_heap(model->scan, model->row))
		{
			RowCacheRemember(model->cache, key->hash, &root);
			return true;
		}
	}
	return false;
}

/*
 * Find the row of an arranged key, into model->row; false if there is none.
 * Where the index had nothing of a key when it was arranged, the snapshot,
 * which is older, sees no row of it.
 */
bool
ReadModelFind(ReadModel *model, const FoldedKey *key)
{
	/* the scans keep things from row to row */
	MemoryContext old;
	bool		found;

	if (model->arranged && key->rank == NO_PLACE && !key->entry->creates)
		return false;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(model));
	found = find_at_place(model, key) || find_indexed(model, key);
	MemoryContextSwitchTo(old);
	return found;
}

/* Remember the place of a row that was inserted. */
void
ReadModelRemember(ReadModel *model, const FoldedKey *key, ItemPointer place)
{
	RowCacheRemember(model->cache, key->hash, place);
}

/* A value of the table's column as the handler wants it. */
Datum
ReadModelValue(ReadModel *model, int column, Datum value)
{
	Form_pg_attribute attribute =
		TupleDescAttr(RelationGetDescr(model->relation),
					  model->columns[column] - 1);

	if (attribute->atttypid == INT4OID)
		return Int64GetDatum(DatumGetInt32(value));
	return value;
}
