/*
 * refold_apply.c
 *		What was folded into the rows of the shadow.
 *
 * As apply.c and apply_declared.c do it with the table's rows.  An event that
 * cannot be applied leaves its key with a fault: what its row ought to be is
 * not known.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "errors.h"
#include "fault.h"
#include "rebuild/refold_state.h"
#include "savepoint.h"

/* How many keys ahead an entry, its first and its second item are asked for. */
#define FETCH_ENTRY 6
#define FETCH_FIRST 4
#define FETCH_SECOND 2

/* keys between two looks at the memory */
#define CHECK_INTERVAL 1024

static char *
describe_fault(int sqlerrcode, int64 no, const char *reason)
{
	if (no == 0)
		return psprintf("%s: %s", unpack_sql_state(sqlerrcode), reason);
	return psprintf("%s: event " INT64_FORMAT ": %s",
					unpack_sql_state(sqlerrcode), no, reason);
}

/* The shadow's entry of what was folded. */
static ShadowEntry *
entry_of(Refold *refold, const FoldEntry *folded, uint32 hash)
{
	return ShadowMake(refold->shadow, FoldEntryKey(folded),
					  folded->key_length, hash);
}

/* FoldRefused: the handler cannot fold the event */
static void
refuse_event(void *arg, FoldEntry *entry, const Event *event,
			 const FoldFault *fault)
{
	Refold	   *refold = arg;

	ShadowSetFault(refold->shadow,
				   entry_of(refold, entry,
							RefoldHash(refold, FoldEntryKey(entry),
									   entry->key_length)),
				   describe_fault(fault->sqlerrcode, event->no,
								  fault->reason));
}

/* Begin to fold, in memory of its own; what was folded before is gone. */
void
RefoldBeginFold(Refold *refold)
{
	MemoryContext old;

	if (refold->fold_context != NULL)
		MemoryContextDelete(refold->fold_context);
	refold->fold_context = AllocSetContextCreate(refold->context,
												 "wallet_projection refold",
												 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(refold->fold_context);
	refold->fold = FoldBegin(&refold->sink, refuse_event, refold);
	FoldGuardWith(refold->fold, refold->guarded ? FOLD_GUARD_ALL :
				  FOLD_GUARD_NONE);
	MemoryContextSwitchTo(old);
}

/* Begin a new row: the old one's values, or nulls. */
static TupleTableSlot *
begin_row(Refold *refold, const ShadowEntry *entry)
{
	TupleTableSlot *slot = refold->new_row;
	int			natts = refold->desc->natts;

	ExecClearTuple(slot);
	if (entry->state != SHADOW_ROW)
	{
		memset(slot->tts_values, 0, natts * sizeof(Datum));
		memset(slot->tts_isnull, true, natts * sizeof(bool));
		return slot;
	}
	ExecStoreMinimalTuple(entry->u.row, refold->old_row, false);
	slot_getallattrs(refold->old_row);
	memcpy(slot->tts_values, refold->old_row->tts_values,
		   natts * sizeof(Datum));
	memcpy(slot->tts_isnull, refold->old_row->tts_isnull, natts * sizeof(bool));
	return slot;
}

/* Have the handler make the row's columns.  Returns NULL, or why it cannot. */
static const char *
merge_state(Refold *refold, const FoldEntry *folded, TupleTableSlot *slot)
{
	const RowHandler *handler = refold->sink.handler;
	ReadModel  *model = &refold->model;
	Datum		values[HANDLER_MAX_COLUMNS];
	bool		nulls[HANDLER_MAX_COLUMNS];
	const char *reason;

	for (int i = 1; i < handler->ncolumns; i++)
	{
		int			at = model->columns[i] - 1;

		nulls[i] = folded->creates || slot->tts_isnull[at];
		values[i] = nulls[i] ? (Datum) 0 :
			ReadModelValue(model, i, slot->tts_values[at]);
	}
	reason = handler->merge(folded->state, values, nulls);
	for (int i = 1; i < handler->ncolumns && reason == NULL; i++)
	{
		int			at = model->columns[i] - 1;

		if (!nulls[i])
			reason = ReadModelFit(model, i, &values[i]);
		slot->tts_values[at] = values[i];
		slot->tts_isnull[at] = nulls[i];
	}
	return reason;
}

/* A native handler's state into the row.  Returns NULL, or why it cannot be. */
static const char *
apply_state(Refold *refold, ShadowEntry *entry, const FoldEntry *folded)
{
	TupleTableSlot *slot;
	const char *reason;
	int			key = refold->model.columns[0] - 1;

	if (!folded->creates && entry->state != SHADOW_ROW)
		return "there is no row of it: it was never created, or its row was deleted";
	if (folded->creates ? entry->state == SHADOW_ROW : folded->second_creation != 0)
		return "it was created before";
	slot = begin_row(refold, entry);
	reason = merge_state(refold, folded, slot);
	if (reason != NULL)
		return reason;
	slot->tts_values[key] =
		PointerGetDatum(cstring_to_text_with_len(entry->key, entry->length));
	slot->tts_isnull[key] = false;
	ExecStoreVirtualTuple(slot);
	ShadowSetRow(refold->shadow, entry, slot);
	return NULL;
}

/* A declared projection's items into the row. */
static const char *
apply_items(Refold *refold, ShadowEntry *entry, const FoldEntry *folded)
{
	MergeRun   *run = refold->sink.run;
	MergeRow   *row;

	if (entry->state == SHADOW_ROW)
		ExecStoreMinimalTuple(entry->u.row, refold->old_row, false);
	row = MergeRowBegin(run, entry->state == SHADOW_ROW ? refold->old_row : NULL);
	for (const FoldItem *item = FoldEntryItems(folded)->first; item != NULL;
		 item = item->next)
	{
		__builtin_prefetch(item->next);
		refold->item_no = item->no;
		if (MergeRowApply(run, item->bytes).clause < 0 && refold->sink.strict)
			return "no WHEN of the definition holds for it";
	}
	MergeRowSettle(run);
	if (row->changed || row->exists != row->existed)
		ShadowSetRow(refold->shadow, entry, row->exists ? row->slot : NULL);
	return NULL;
}

static void
apply_key(Refold *refold, const FoldedKey *key)
{
	ShadowEntry *entry;
	const char *reason;

	if (key->hash > refold->last)
		return;
	entry = refold->all_new ?
		ShadowAdd(refold->shadow, FoldEntryKey(key->entry),
				  key->entry->key_length, key->hash) :
		entry_of(refold, key->entry, key->hash);
	if (entry->state == SHADOW_FAULT)
		return;
	refold->item_no = 0;
	reason = refold->sink.run != NULL ?
		apply_items(refold, entry, key->entry) :
		apply_state(refold, entry, key->entry);
	if (reason != NULL)
		ShadowSetFault(refold->shadow, entry,
					   describe_fault(ERRCODE_BAD_EVENT, refold->item_no,
									  reason));
}

/* Items lie where their events were, far apart: ask for them beforehand. */
static inline void
fetch_ahead(const Refold *refold)
{
	const FoldedKey *keys = &refold->keys[refold->at];
	int64		left = refold->nkeys - refold->at;
	const FoldItem *item;

	if (left > FETCH_ENTRY)
		__builtin_prefetch(keys[FETCH_ENTRY].entry);
	if (refold->sink.run == NULL || left <= FETCH_ENTRY)
		return;
	item = FoldEntryItems(keys[FETCH_FIRST].entry)->first;
	if (item != NULL)
		__builtin_prefetch(item);
	item = FoldEntryItems(keys[FETCH_SECOND].entry)->first;
	if (item != NULL && item->next != NULL)
		__builtin_prefetch(item->next);
}

/* SavepointStep: apply the keys that are left, in memory of their own */
static void
apply_rest(void *arg)
{
	Refold	   *refold = arg;
	MemoryContext old = MemoryContextSwitchTo(refold->row_context);

	for (; refold->at < refold->nkeys; refold->at++)
	{
		MemoryContextReset(refold->row_context);
		fetch_ahead(refold);
		apply_key(refold, &refold->keys[refold->at]);
		if (refold->at % CHECK_INTERVAL != 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		RefoldNarrow(refold);
	}
	MemoryContextSwitchTo(old);
}

/* The key at hand cannot be applied. */
static void
refuse_key(Refold *refold, const ErrorData *error)
{
	const FoldedKey *key = &refold->keys[refold->at];
	MemoryContext old = MemoryContextSwitchTo(refold->row_context);

	if (refold->sink.run != NULL)
	{
		MergeRunOpen(refold->sink.run, refold->work->read_model);
		MergeRowKeepSums(refold->sink.run);
	}
	/* of which the shadow may have an entry by now */
	ShadowSetFault(refold->shadow, entry_of(refold, key->entry, key->hash),
				   describe_fault(error->sqlerrcode, refold->item_no,
								  error->message));
	MemoryContextSwitchTo(old);
}

/*
 * Apply all that was folded.  Expressions may raise an error: so this is done
 * in a subtransaction, which goes on behind the key whose error it was.
 */
void
RefoldApply(Refold *refold)
{
	FoldFlush(refold->fold);
	refold->keys = FoldKeys(refold->fold, &refold->nkeys);
	refold->most = Max(refold->most, RefoldMemory(refold));
	refold->all_new = ShadowCount(refold->shadow) == 0;
	if (refold->all_new)
		ShadowExpect(refold->shadow, refold->nkeys);
	for (refold->at = 0; refold->at < refold->nkeys; refold->at++)
	{
		ErrorData  *error = InSavepoint(apply_rest, refold);

		if (error == NULL)
			break;
		if (!ErrorIsOfEvent(error->sqlerrcode))
			ReThrowError(error);
		refuse_key(refold, error);
		FreeErrorData(error);
	}
	refold->most = Max(refold->most, RefoldMemory(refold));
	RefoldNarrow(refold);
}
