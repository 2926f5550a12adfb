/*
 * apply.c
 *		Folded changes into the rows of a read model.
 *
 * Each key's row is touched once.  A row that the batch creates is inserted
 * without looking for an older one: the unique index on the key refuses it if
 * there is one.  Other rows are found and updated.
 *
 * The caller holds the partition, so nobody else of the engine writes these
 * rows.  Somebody else may: where a row was changed since the snapshot, it is
 * locked in its newest version, and the change is made to that if the row
 * still has the key.  A row that somebody else has locked is left alone, if
 * the caller wants that, and its key is remembered.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "handler/apply_state.h"

#define NO_ROW "there is no row of it: it was never created, or its row was deleted"

/* RowPlaced: remember where the row went. */
static void
remember_row(void *arg, void *tag, ItemPointer place)
{
	ReadModelRemember(arg, tag, place);
}

/* Which columns a native handler sets, and which of them an update changes. */
static RowWriter *
begin_native_writer(Apply *apply)
{
	const ReadModel *model = apply->model;
	bool		owned[MaxHeapAttributeNumber] = {0};
	Bitmapset  *updated = NULL;

	for (int i = 0; i < model->handler->ncolumns; i++)
	{
		owned[model->columns[i] - 1] = true;
		/* never the key: others may refer to the row meanwhile */
		if (i > 0)
			updated = bms_add_member(updated, model->columns[i] -
									 FirstLowInvalidHeapAttributeNumber);
	}
	return RowWriterBegin(model->relation, owned, updated, model->snapshot);
}

/* Open what reads and writes rows, as the snapshot sees them. */
void
ApplyOpen(Apply *apply, Snapshot snapshot)
{
	apply->model = ReadModelBegin(apply->sink, apply->relation, snapshot);
	apply->writer = apply->sink->handler != NULL ? begin_native_writer(apply) :
		ApplyDeclaredWriter(apply);
	RowWriterOnPlace(apply->writer, remember_row, apply->model);
}

/* Write all that is buffered, fire what is due, and close. */
void
ApplyClose(Apply *apply)
{
	RowWriterEnd(apply->writer);
	ReadModelEnd(apply->model);
}

/*
 * Get ready to write into a read model that is open with RowExclusiveLock.
 * skip_locked: leave rows alone that somebody else has locked; see
 * ApplyLocked().  Everything lives in the current memory context.
 */
Apply *
ApplyBegin(const Sink *sink, Relation read_model, Snapshot snapshot,
		   bool skip_locked)
{
	Apply	   *apply = palloc0(sizeof(Apply));

	apply->sink = sink;
	apply->handler = sink->handler;
	apply->relation = read_model;
	apply->policy = skip_locked ? LockWaitSkip : LockWaitBlock;
	if (sink->statement != NULL)
	{
		ApplyStatementBegin(apply);
		return apply;
	}
	ApplyOpen(apply, snapshot);
	apply->key_constraint = pstrdup(RelationGetRelationName(apply->model->index));
	apply->row_context = AllocSetContextCreate(CurrentMemoryContext,
											   "wallet_projection row",
											   ALLOCSET_SMALL_SIZES);
	if (sink->run != NULL)
		ApplyDeclaredBegin(apply);
	return apply;
}

/*
 * Fill a slot with the row that the entry makes out of the old one (in
 * apply->model->row), or out of nothing.  Returns NULL, or why not.
 */
static const char *
make_row(Apply *apply, const FoldEntry *entry, TupleTableSlot *slot)
{
	const RowHandler *handler = apply->handler;
	Datum		values[HANDLER_MAX_COLUMNS];
	bool		nulls[HANDLER_MAX_COLUMNS];
	const char *reason;

	if (!entry->creates)
	{
		int			natts = RelationGetNumberOfAttributes(apply->model->relation);

		slot_getallattrs(apply->model->row);
		memcpy(slot->tts_values, apply->model->row->tts_values,
			   natts * sizeof(Datum));
		memcpy(slot->tts_isnull, apply->model->row->tts_isnull, natts * sizeof(bool));
	}
	for (int i = 1; i < handler->ncolumns; i++)
	{
		int			at = apply->model->columns[i] - 1;

		nulls[i] = entry->creates || slot->tts_isnull[at];
		values[i] = nulls[i] ? (Datum) 0 : slot->tts_values[at];
		if (!nulls[i])
			values[i] = ReadModelValue(apply->model, i, values[i]);
	}
	reason = handler->merge(entry->state, values, nulls);
	for (int i = 1; i < handler->ncolumns && reason == NULL; i++)
	{
		int			at = apply->model->columns[i] - 1;

		if (!nulls[i])
			reason = ReadModelFit(apply->model, i, &values[i]);
		slot->tts_values[at] = values[i];
		slot->tts_isnull[at] = nulls[i];
	}
	if (entry->creates && reason == NULL)
	{
		Datum		key = ReadModelKey(apply->model, entry);

		reason = ReadModelFit(apply->model, 0, &key);
		slot->tts_values[apply->model->columns[0] - 1] = key;
		slot->tts_isnull[apply->model->columns[0] - 1] = false;
	}
	return reason;
}

/* Returns NULL, or why not. */
static const char *
insert_row(Apply *apply, const FoldedKey *folded)
{
	const FoldEntry *entry = folded->entry;
	TupleTableSlot *slot;
	const char *reason;

	apply->current = NULL;
	slot = RowWriterSlot(apply->writer, unconstify(FoldedKey *, folded), true);
	apply->current = entry;
	reason = make_row(apply, entry, slot);
	if (reason != NULL)
		return reason;
	apply->current = NULL;
	RowWriterInsert(apply->writer, slot, unconstify(FoldedKey *, folded));
	return NULL;
}

/*
 * Somebody else has changed the row since the snapshot: lock its newest
 * version into apply->model->row.
 */
TM_Result
ApplyLockNewest(Apply *apply)
{
	TM_FailureData data;
	ItemPointerData tid = apply->model->row->tts_tid;
	TM_Result	result;

	result = table_tuple_lock(apply->model->relation, &tid, apply->model->snapshot,
							  apply->model->row, GetCurrentCommandId(true),
							  LockTupleNoKeyExclusive, apply->policy,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &data);
	if (result == TM_SelfModified)
		RowWriterRefuseOwn(apply->model->relation);
	if (result != TM_Ok && result != TM_Deleted && result != TM_WouldBlock)
		elog(ERROR, "unexpected result %d of locking a row of \"%s\"",
			 (int) result, RelationGetRelationName(apply->model->relation));
	return result;
}

/*
 * Change the row in apply->model->row as the entry says; ROW_CHANGED: its
 * newest version is in apply->model->row now, to be tried again.  *reason: why
 * not.
 */
static RowUpdate
change_row(Apply *apply, const FoldedKey *folded, const char **reason)
{
	void	   *tag = unconstify(FoldedKey *, folded);
	TupleTableSlot *slot = RowWriterSlot(apply->writer, tag, false);
	RowUpdate	result;
	TM_Result	locked;

	*reason = make_row(apply, folded->entry, slot);
	if (*reason != NULL)
		return ROW_UPDATED;
	result = RowWriterUpdate(apply->writer, apply->model->row, slot,
							 apply->policy, tag);
	if (result != ROW_CHANGED)
		return result;
	locked = ApplyLockNewest(apply);
	if (locked == TM_WouldBlock)
		return ROW_LOCKED;
	/* whoever changed the row may have given it another key */
	if (locked != TM_Ok || !ReadModelRowIs(apply->model, folded->entry))
		*reason = NO_ROW;
	return ROW_CHANGED;
}

/* Leave the key alone: somebody else has locked its row. */
void
ApplyLeave(Apply *apply, const FoldEntry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(apply));

	apply->locked = lappend(apply->locked, unconstify(FoldEntry *, entry));
	MemoryContextSwitchTo(old);
}

/* Returns NULL, or why not. */
static const char *
update_row(Apply *apply, const FoldedKey *folded)
{
	const FoldEntry *entry = folded->entry;
	const char *reason = NULL;
	RowUpdate	result;

	apply->current = entry;
	if (!ReadModelFind(apply->model, folded))
		return NO_ROW;
	if (entry->second_creation != 0)
		return "it was created before";
	do
	{
		result = change_row(apply, folded, &reason);
	} while (result == ROW_CHANGED && reason == NULL);
	if (result == ROW_LOCKED)
		ApplyLeave(apply, entry);
	return reason;
}

/* Apply keys in the order in which they stand. */
static const char *
apply_keys(Apply *apply, const FoldedKey *keys, int64 count)
{
	for (int64 i = 0; i < count; i++)
	{
		const char *reason;

		CHECK_FOR_INTERRUPTS();
		if (apply->sink->run != NULL)
		{
			ApplyDeclaredFetch(i + 1 < count ? &keys[i + 1] : NULL,
							   i + 2 < count ? &keys[i + 2] : NULL);
			reason = ApplyDeclared(apply, &keys[i]);
		}
		else
			reason = keys[i].entry->creates ?
				insert_row(apply, &keys[i]) : update_row(apply, &keys[i]);
		if (reason != NULL)
			return reason;
		MemoryContextReset(apply->row_context);
	}
	return NULL;
}

/*
 * Apply what was folded of these keys, which are put into another order.
 * Returns NULL; or, at the first key that cannot be applied, why not, and what
 * was written by then is the caller's to undo.  An error of the table's own (a
 * constraint, a trigger) is raised as it is.  ApplyCurrent() tells in both
 * cases whose row it was.
 */
const char *
ApplyKeys(Apply *apply, FoldedKey *keys, int64 count)
{
	MemoryContext old;
	const char *reason;

	if (apply->sink->statement != NULL)
	{
		ApplyStatement(apply, keys, count);
		return NULL;
	}
	ReadModelArrange(apply->model, keys, count);
	old = MemoryContextSwitchTo(apply->row_context);
	reason = apply_keys(apply, keys, count);
	MemoryContextSwitchTo(old);
	if (reason != NULL)
		return reason;
	apply->current = NULL;
	RowWriterFlush(apply->writer);
	return NULL;
}

/* What to do about the reason that ApplyKeys() has given; or NULL. */
const char *
ApplyAdvice(const Apply *apply)
{
	return apply->model != NULL ? apply->model->advice : NULL;
}

/* Give back what ApplyBegin() took; the table's lock stays. */
void
ApplyEnd(Apply *apply)
{
	if (apply->sink->statement != NULL)
		return;
	ApplyClose(apply);
	if (apply->sink->run != NULL)
		ApplyDeclaredEnd(apply);
	MemoryContextDelete(apply->row_context);
}

/* The items of a declared projection that nothing was done with; or NULL. */
const Unhandled *
ApplyUnhandled(const Apply *apply)
{
	return apply->unhandled;
}

/* The keys that were left alone, as somebody else has locked their rows. */
List *
ApplyLocked(const Apply *apply)
{
	return apply->locked;
}

/*
 * Is this the constraint that keeps a row from being created twice?  May be
 * asked after an error.
 */
bool
ApplyIsKeyConstraint(const Apply *apply, const char *name)
{
	return name != NULL && apply->key_constraint != NULL &&
		strcmp(name, apply->key_constraint) == 0;
}

/* Whose row was at hand when an error was raised; NULL if unknown. */
const FoldEntry *
ApplyCurrent(Apply *apply)
{
	const FoldedKey *folded;

	if (apply->current != NULL || apply->writer == NULL)
		return apply->current;
	folded = RowWriterTag(apply->writer);
	return folded != NULL ? folded->entry : NULL;
}
