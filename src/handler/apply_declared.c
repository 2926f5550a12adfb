/*
 * apply_declared.c
 *		The items of a declared projection's keys into their rows.
 *
 * A key's row is read once, its items change it in memory one after the other,
 * and it is written once: inserted, updated or deleted, or left as it is.
 *
 * Where code of the table's owner would see the difference (a trigger that
 * runs before each row, or after each deletion, as foreign keys that refer to
 * the row have), each item is written by itself.
 */
#include "postgres.h"

#include "compat.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "errors.h"
#include "handler/apply_state.h"

/* The columns that an UPDATE of the definition may change. */
static Bitmapset *
updated_columns(const Apply *apply)
{
	Bitmapset  *columns = NULL;
	ListCell   *cell;

	foreach(cell, apply->sink->merge->clauses)
	{
		const MergeClause *clause = lfirst(cell);
		ListCell   *target;

		/* after a deletion a row may come back with any value */
		if (clause->action == MERGE_DO_DELETE)
		{
			for (int i = 1; i <= RelationGetNumberOfAttributes(apply->relation); i++)
				columns = bms_add_member(columns, i - FirstLowInvalidHeapAttributeNumber);
		}
		if (clause->action != MERGE_DO_UPDATE)
			continue;
		foreach(target, clause->columns)
			columns = bms_add_member(columns, ((TargetEntry *) lfirst(target))->resno -
									 FirstLowInvalidHeapAttributeNumber);
	}
	return columns;
}

/* A writer that sets each column: defaults are the definition's. */
RowWriter *
ApplyDeclaredWriter(Apply *apply)
{
	bool		owned[MaxHeapAttributeNumber];

	memset(owned, true, sizeof(owned));
	return RowWriterBegin(apply->relation, owned, updated_columns(apply),
						  apply->model->snapshot);
}

/* Does code of the table's owner see what becomes of a row in between? */
static bool
is_watched(Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;

	return triggers != NULL &&
		(triggers->trig_insert_before_row || triggers->trig_update_before_row ||
		 triggers->trig_delete_before_row || triggers->trig_delete_after_row);
}

void
ApplyDeclaredBegin(Apply *apply)
{
	apply->unhandled = UnhandledBegin();
	apply->item_by_item = is_watched(apply->relation);
	MergeRunOpen(apply->sink->run, apply->relation);
	MergeRowKeepSums(apply->sink->run);
}

/* Items are where their events were, far apart: ask for one beforehand. */
#define ITEM_FETCH(item) __builtin_prefetch(item)

/* Ask for what ApplyDeclared() will need of the next keys but one. */
void
ApplyDeclaredFetch(const FoldedKey *next, const FoldedKey *after)
{
	if (after != NULL)
		__builtin_prefetch(after->entry);
	if (next != NULL)
		ITEM_FETCH(FoldEntryItems(next->entry)->first);
}

/* Change the row in memory as an item says; returns NULL, or why not. */
static const char *
change_by(Apply *apply, const FoldItem *item)
{
	MergeEffect effect;

	effect = MergeRowApply(apply->sink->run, item->bytes);
	if (effect.clause >= 0)
		return NULL;
	if (apply->sink->strict)
		return "no WHEN of the definition holds for it";
	if (apply->key_unhandled == NULL)
		apply->key_unhandled = UnhandledBegin();
	UnhandledAdd(apply->key_unhandled, UNHANDLED_NO_WHEN,
				 MergeItemType(apply->sink->run, item->bytes), item->no);
	return NULL;
}

/* Fill the writer's slot for this key with the row. */
static TupleTableSlot *
writers_slot(Apply *apply, const FoldedKey *folded, const MergeRow *row)
{
	int			natts = RelationGetNumberOfAttributes(apply->relation);
	TupleTableSlot *slot;

	/* it may write rows that wait: these have tags */
	apply->current = NULL;
	slot = RowWriterSlot(apply->writer, unconstify(FoldedKey *, folded), false);
	apply->current = folded->entry;
	memcpy(slot->tts_values, row->slot->tts_values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, row->slot->tts_isnull, natts * sizeof(bool));
	return slot;
}

/* An error if a trigger that ran before the row has given it another key. */
static void
check_key(Apply *apply, const FoldedKey *folded, TupleTableSlot *written)
{
	if (!apply->item_by_item ||
		ReadModelHasKey(apply->model, written, folded->entry))
		return;
	apply->current = folded->entry;
	ereport(ERROR,
			(errcode(ERRCODE_BAD_EVENT),
			 errmsg("the row's key is not the event's"),
			 errdetail("A trigger on table \"%s\" has changed a column of the key. The row would not be found again.",
					   RelationGetRelationName(apply->relation))));
}

/* Write what has become of the row; the old one is in model->row. */
static RowUpdate
write_row(Apply *apply, const FoldedKey *folded, const MergeRow *row)
{
	void	   *tag = unconstify(FoldedKey *, folded);
	TupleTableSlot *slot;
	RowUpdate	result = ROW_UPDATED;

	if (!row->changed || (!row->existed && !row->exists))
		return ROW_UPDATED;
	if (!row->exists)
		return RowWriterDelete(apply->writer, apply->model->row, apply->policy,
							   tag);
	slot = writers_slot(apply, folded, row);
	if (row->existed)
		result = RowWriterUpdate(apply->writer, apply->model->row, slot,
								 apply->policy, tag);
	else
	{
		apply->current = NULL;
		RowWriterInsert(apply->writer, slot, tag);
	}
	if (result == ROW_UPDATED)
		check_key(apply, folded, slot);
	return result;
}

/*
 * Change the row by these items, up to last (NULL: all), and write it.  Where
 * somebody else has changed the row since the snapshot, its newest version is
 * changed.  Returns NULL, or why not.
 */
static const char *
apply_items(Apply *apply, const FoldedKey *folded, const FoldItem *first,
			const FoldItem *last)
{
	bool		found = ReadModelFind(apply->model, folded);
	RowUpdate	result;

	do
	{
		MergeRow   *row;
		TM_Result	locked;

		apply->key_unhandled = NULL;
		row = MergeRowBegin(apply->sink->run,
							found ? apply->model->row : NULL);
		for (const FoldItem *item = first; item != last; item = item->next)
		{
			const char *reason;

			ITEM_FETCH(item->next);
			reason = change_by(apply, item);
			if (reason != NULL)
				return reason;
		}
		MergeRowSettle(apply->sink->run);
		result = write_row(apply, folded, row);
		if (result != ROW_CHANGED)
			break;
		locked = ApplyLockNewest(apply);
		if (locked == TM_WouldBlock)
			result = ROW_LOCKED;
		found = locked == TM_Ok && ReadModelRowIs(apply->model, folded->entry);
	} while (result == ROW_CHANGED);
	if (result == ROW_LOCKED)
		ApplyLeave(apply, folded->entry);
	else if (apply->key_unhandled != NULL)
		UnhandledJoin(apply->unhandled, apply->key_unhandled);
	return NULL;
}

/* Make what was written visible, and go on. */
static void
reopen(Apply *apply)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(apply));
	Snapshot	snapshot = apply->own_snapshot;

	ApplyClose(apply);
	MergeRunClose(apply->sink->run);
	apply->own_snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (snapshot != NULL)
		UnregisterSnapshot(snapshot);
	ApplyOpen(apply, apply->own_snapshot);
	MergeRunOpen(apply->sink->run, apply->relation);
	MergeRowKeepSums(apply->sink->run);
	MemoryContextSwitchTo(old);
}

static bool
was_left(const Apply *apply, const FoldEntry *entry)
{
	return apply->locked != NIL && llast(apply->locked) == entry;
}

/*
 * Apply what is kept of a key to its row, which ReadModelArrange() has found a
 * place of.  Returns NULL, or why not.
 */
const char *
ApplyDeclared(Apply *apply, const FoldedKey *folded)
{
	const FoldEntry *entry = folded->entry;
	const FoldItem *first = FoldEntryItems(entry)->first;

	apply->current = entry;
	if (!apply->item_by_item)
		return apply_items(apply, folded, first, NULL);
	for (const FoldItem *item = first;
		 item != NULL && !was_left(apply, entry); item = item->next)
	{
		const char *reason = apply_items(apply, folded, item, item->next);

		if (reason != NULL)
			return reason;
		apply->current = entry;
		reopen(apply);
	}
	return NULL;
}

void
ApplyDeclaredEnd(Apply *apply)
{
	MergeRunClose(apply->sink->run);
	if (apply->own_snapshot != NULL)
		UnregisterSnapshot(apply->own_snapshot);
}
