/*
 * merge_items.c
 *		Items: what an event says, to which key.
 *
 * Items are kept by the caller, as bytes:
 *
 *		layout		which columns these are (merge_layout.c)
 *		values		a Datum each; of a by-reference one, where it begins
 *		nulls		a bool each, if there is a null
 *		the by-reference values, each aligned
 *
 * Places are counted from the item's first byte, so an item may be moved.
 * Varlena values have a header of four bytes: most functions copy a value
 * that has a short one, at each call.  A value that is stored out of line
 * stays a pointer of 18 bytes: the batch's snapshot keeps what it points at,
 * and a batch of large payloads does not have them all in memory at once.
 */
#include "postgres.h"

#include "compat.h"

#include "access/detoast.h"
#include "access/tupmacs.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "handler/merge_state.h"
#include "savepoint.h"

typedef struct StoredItem
{
	uintptr_t	layout;			/* a RunLayout, and perhaps HAS_NULLS */
	Datum		values[FLEXIBLE_ARRAY_MEMBER];
} StoredItem;

#define HAS_NULLS	((uintptr_t) 1)

#define NULLS_OF(stored, width)	((bool *) &(stored)->values[width])
#define HEADER_SIZE(width, nulls) \
	MAXALIGN(offsetof(StoredItem, values) + (width) * sizeof(Datum) + \
			 ((nulls) ? (width) * sizeof(bool) : 0))

/* A value of variable length as its characters or fields can be read. */
static inline Datum
plain_value(Datum value)
{
	struct varlena *data = (struct varlena *) DatumGetPointer(value);

	if (likely(!VARATT_IS_EXTERNAL(data) && !VARATT_IS_COMPRESSED(data)))
		return value;
	return PointerGetDatum(pg_detoast_datum_packed(data));
}

/* Does the item in the slot pass the filter? */
static bool
passes(MergeRun *run, ExprContext *econtext)
{
	const RunTest *test = &run->passes_test;
	TupleTableSlot *slot = run->item_slot;
	bool		null;

	if (test->at >= 0)
	{
		if (test->text !=NULL && !slot->tts_isnull[test->at])
			slot->tts_values[test->at] =
				plain_value(slot->tts_values[test->at]);
		if (!MergeTestHolds(test, slot->tts_values, slot->tts_isnull))
			return false;
	}
	if (run->passes == NULL)
		return true;
	return DatumGetBool(ExecEvalExpr(run->passes, econtext, &null)) && !null;
}

/* A column of the item's key; a value of variable length is not toasted. */
static Datum
key_value(MergeRun *run, int i, ExprContext *econtext, bool *null)
{
	int			at = run->key_item[i];
	Datum		value;

	if (at >= 0)
	{
		*null = run->item_slot->tts_isnull[at];
		value = run->item_slot->tts_values[at];
	}
	else
		value = ExecEvalExpr(run->key_values[i], econtext, null);
	if (!*null && run->key_varlena[i])
		value = plain_value(value);
	return value;
}

/* Filter and key of the item in the slot; the receiver gets it. */
static void
send_item(MergeRun *run, MergeItem *item, MergeItemReceiver receive,
		  void *arg)
{
	ExprContext *econtext = run->item_stage.econtext;
	MemoryContext old;
	bool		null;

	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	if (!passes(run, econtext))
	{
		MemoryContextSwitchTo(old);
		return;
	}
	item->has_key = true;
	for (int i = 0; i < run->nkeys; i++)
	{
		item->key[i] = key_value(run, i, econtext, &null);
		item->key_nulls[i] = null;
		item->has_key &= !null;
	}
	item->values = run->item_slot->tts_values;
	item->nulls = run->item_slot->tts_isnull;
	MemoryContextSwitchTo(old);
	receive(arg, item);
}

/* Take the item's columns out of the event's row. */
static void
take_columns(MergeRun *run, TupleTableSlot *event)
{
	TupleTableSlot *slot = run->item_slot;

	slot_getsomeattrs(event, run->last_source);
	ExecClearTuple(slot);
	for (int i = 0; i < run->width; i++)
	{
		int			at = run->source[i] - 1;

		if (at < 0)
		{
			slot->tts_values[i] = ExecFetchSlotHeapTupleDatum(event);
			slot->tts_isnull[i] = false;
			continue;
		}
		slot->tts_values[i] = event->tts_values[at];
		slot->tts_isnull[i] = event->tts_isnull[at];
	}
	ExecStoreVirtualTuple(slot);
}

/* The items that one event fans out into. */
static void
fan_out(MergeRun *run, TupleTableSlot *event, MergeItem *item,
		MergeItemReceiver receive, void *arg)
{
	TupleTableSlot *slot = run->item_slot;
	TupleTableSlot *row;

	FanOutEvent(run->fan_out, event);
	while ((row = FanOutNext(run->fan_out)) != NULL)
	{
		ResetExprContext(run->item_stage.econtext);
		slot_getallattrs(row);
		ExecClearTuple(slot);
		memcpy(slot->tts_values, row->tts_values, run->width * sizeof(Datum));
		memcpy(slot->tts_isnull, row->tts_isnull, run->width * sizeof(bool));
		ExecStoreVirtualTuple(slot);
		send_item(run, item, receive, arg);
		item->ordinal++;
	}
}

/*
 * Hand an event's items to the receiver, in order; those that the filter does
 * not want are left out, but they count in ordinal.  The event is a row of
 * the stream's table.
 */
void
MergeRunItems(MergeRun *run, TupleTableSlot *event,
			  MergeItemReceiver receive, void *arg)
{
	MemoryContext event_memory = run->item_stage.econtext->ecxt_per_tuple_memory;
	MergeItem	item;
	MemoryContext old;

	RUN_STAGE_ENTER(run, &run->item_stage, MergeCompileItems);
	item.ordinal = 0;
	ResetExprContext(run->item_stage.econtext);
	if (run->fan_out != NULL)
		fan_out(run, event, &item, receive, arg);
	else
	{
		old = MemoryContextSwitchTo(event_memory);
		take_columns(run, event);
		MemoryContextSwitchTo(old);
		send_item(run, &item, receive, arg);
	}
	run->item_stage.busy = false;
}

/* What MergeRunItems() keeps from event to event ends here. */
void
MergeRunItemsEnd(MergeRun *run)
{
	if (run->fan_out == NULL)
		return;
	if (run->item_stage.busy)
		FanOutForget(run->fan_out);
	else
		FanOutClose(run->fan_out);
}

/* MergeRunItems() in a subtransaction */
typedef struct ItemsApart
{
	MergeRun   *run;
	TupleTableSlot *event;
	MergeItemReceiver receive;
	void	   *arg;
} ItemsApart;

/* SavepointStep */
static void
run_items(void *arg)
{
	ItemsApart *apart = arg;

	MergeRunItems(apart->run, apart->event, apart->receive, apart->arg);
	MergeRunItemsEnd(apart->run);
}

/*
 * The same in a subtransaction.  Returns NULL, or the error that it was rolled
 * back for.
 */
ErrorData *
MergeRunItemsApart(MergeRun *run, TupleTableSlot *event,
				   MergeItemReceiver receive, void *arg)
{
	ItemsApart	apart = {run, event, receive, arg};

	MergeRunItemsEnd(run);
	return InSavepointOfBatch(run_items, &apart);
}

/* MergeItemReceiver */
static void
ignore_item(void *arg, const MergeItem *item)
{
}

/* Why the event's items cannot be computed; NULL: they can. */
ErrorData *
MergeRunItemsTry(MergeRun *run, TupleTableSlot *event)
{
	return MergeRunItemsApart(run, event, ignore_item, NULL);
}

/* The bytes that a by-reference value takes. */
static inline Size
stored_size(const RunType *type, Datum value)
{
	struct varlena *data = (struct varlena *) DatumGetPointer(value);

	if (type->length != -1)
		return datumGetSize(value, false, type->length);
	if (VARATT_IS_EXTERNAL_EXPANDED(data))
		return EOH_get_flat_size(DatumGetEOHP(value));
	if (VARATT_IS_EXTERNAL_INDIRECT(data))
		return toast_raw_datum_size(value);
	if (VARATT_IS_SHORT(data) && !VARATT_IS_EXTERNAL(data))
		return VARSIZE_SHORT(data) - VARHDRSZ_SHORT + VARHDRSZ;
	return VARSIZE_ANY(data);
}

static void
store_varlena(Datum value, char *where, Size size)
{
	struct varlena *data = (struct varlena *) DatumGetPointer(value);

	if (VARATT_IS_EXTERNAL_EXPANDED(data))
		EOH_flatten_into(DatumGetEOHP(value), where, size);
	else if (VARATT_IS_EXTERNAL_INDIRECT(data))
		memcpy(where, detoast_attr(data), size);
	else if (VARATT_IS_SHORT(data) && !VARATT_IS_EXTERNAL(data))
	{
		SET_VARSIZE(where, size);
		memcpy(where + VARHDRSZ, VARDATA_SHORT(data), size - VARHDRSZ);
	}
	else
		memcpy(where, data, size);
}

/*
 * The bytes that MergeItemStore() needs, a multiple of MAXALIGN; to be called
 * right before that.
 */
Size
MergeItemSize(MergeRun *run, const MergeItem *item)
{
	const RunLayout *layout = run->taken = MergeLayOut(run, item);
	Size		size = 0;

	run->taken_null = false;
	for (int i = 0; i < layout->ncolumns; i++)
	{
		int			at = layout->columns[i];

		if (i < layout->nitem && item->nulls[at])
			run->taken_null = true;
		else if (!run->stored_types[at].byval)
			size += MAXALIGN(stored_size(&run->stored_types[at],
										 run->taken_values[i]));
	}
	return size + HEADER_SIZE(layout->ncolumns, run->taken_null);
}

/* Store an item where there is room for it, aligned as by MAXALIGN. */
void
MergeItemStore(MergeRun *run, const MergeItem *item, char *where)
{
	const RunLayout *layout = run->taken;
	StoredItem *stored = (StoredItem *) where;
	bool	   *nulls = NULLS_OF(stored, layout->ncolumns);
	Size		at = HEADER_SIZE(layout->ncolumns, run->taken_null);

	stored->layout = (uintptr_t) layout | (run->taken_null ? HAS_NULLS : 0);
	for (int i = 0; i < layout->ncolumns; i++)
	{
		const RunType *type = &run->stored_types[layout->columns[i]];
		Datum		value = run->taken_values[i];
		bool		null = i < layout->nitem && item->nulls[layout->columns[i]];
		Size		size;

		if (run->taken_null)
			nulls[i] = null;
		stored->values[i] = null ? (Datum) 0 : value;
		if (null || type->byval)
			continue;
		size = stored_size(type, value);
		if (type->length == -1)
			store_varlena(value, where + at, size);
		else
			memcpy(where + at, DatumGetPointer(value), size);
		stored->values[i] = (Datum) at;
		at += MAXALIGN(size);
	}
}

/* A stored value; what is out of line or compressed is fetched. */
static inline Datum
load_value(const RunType *type, const StoredItem *stored, Datum value)
{
	struct varlena *data;

	if (type->byval)
		return value;
	data = (struct varlena *) ((const char *) stored + value);
	if (type->length == -1 && unlikely(VARATT_IS_EXTENDED(data)))
		data = pg_detoast_datum(data);
	return PointerGetDatum(data);
}

/*
 * Put a stored item into a slot.  What is out of line or compressed is
 * fetched once, into the current memory context, however often it is read.
 * Columns that nobody reads are not set.
 */
void
MergeItemLoad(MergeRun *run, const char *stored_item, TupleTableSlot *slot)
{
	const StoredItem *stored = (const StoredItem *) stored_item;
	const RunLayout *layout = (const RunLayout *) (stored->layout & ~HAS_NULLS);
	const bool *nulls = (stored->layout & HAS_NULLS) == 0 ? NULL :
		NULLS_OF(stored, layout->ncolumns);

	ExecClearTuple(slot);
	for (int i = 0; i < layout->nconstants; i++)
	{
		slot->tts_values[layout->constants[i]->at] = layout->constants[i]->value;
		slot->tts_isnull[layout->constants[i]->at] = false;
	}
	for (int i = 0; i < layout->ncolumns; i++)
	{
		int			at = layout->columns[i];

		slot->tts_isnull[at] = nulls != NULL && nulls[i];
		slot->tts_values[at] = slot->tts_isnull[at] ? (Datum) 0 :
			load_value(&run->stored_types[at], stored, stored->values[i]);
	}
	ExecStoreVirtualTuple(slot);
	run->loaded = layout;
}
