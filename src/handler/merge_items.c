/*
 * merge_items.c
 *		Items: what an event says, to which key.
 *
 * Items are kept by the caller, as bytes:
 *
 *		values		a Datum each; of a by-reference one, where it begins
 *		nulls		a bool each
 *		the by-reference values, each aligned
 *
 * Places are counted from the item's first byte, so an item may be moved.
 * Varlena values have a header of four bytes: most functions copy a value
 * that has a short one, at each call.  A value that is stored out of line
 * stays a pointer of 18 bytes: the batch's snapshot keeps what it points at,
 * and a batch of large payloads does not have them all in memory at once.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/tupmacs.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "compat.h"
#include "handler/merge_state.h"

#define NULLS_AT(width)	((width) * sizeof(Datum))
#define HEADER_SIZE(width) \
	MAXALIGN(NULLS_AT(width) + (width) * sizeof(bool))

/* Filter and key of the item in the slot; the receiver gets it. */
static void
send_item(MergeRun *run, MergeItem *item, MergeItemReceiver receive,
		  void *arg)
{
	ExprContext *econtext = run->item_stage.econtext;
	MemoryContext old;
	bool		null;

	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	if (run->passes != NULL &&
		(!DatumGetBool(ExecEvalExpr(run->passes, econtext, &null)) || null))
	{
		MemoryContextSwitchTo(old);
		return;
	}
	item->has_key = true;
	for (int i = 0; i < run->nkeys; i++)
	{
		item->key[i] = ExecEvalExpr(run->key_values[i], econtext, &null);
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

/* The bytes that MergeItemStore() needs, a multiple of MAXALIGN. */
Size
MergeItemSize(MergeRun *run, const MergeItem *item)
{
	Size		size = HEADER_SIZE(run->width);

	for (int i = 0; i < run->width; i++)
	{
		if (!item->nulls[i] && !run->item_types[i].byval)
			size += MAXALIGN(stored_size(&run->item_types[i],
										 item->values[i]));
	}
	return size;
}

/* Store an item where there is room for it, aligned as by MAXALIGN. */
void
MergeItemStore(MergeRun *run, const MergeItem *item, char *where)
{
	Datum	   *values = (Datum *) where;
	Size		at = HEADER_SIZE(run->width);

	memcpy(where + NULLS_AT(run->width), item->nulls,
		   run->width * sizeof(bool));
	for (int i = 0; i < run->width; i++)
	{
		RunType    *type = &run->item_types[i];
		Size		size;

		values[i] = item->nulls[i] ? (Datum) 0 : item->values[i];
		if (item->nulls[i] || type->byval)
			continue;
		size = stored_size(type, item->values[i]);
		if (type->length == -1)
			store_varlena(item->values[i], where + at, size);
		else
			memcpy(where + at, DatumGetPointer(item->values[i]), size);
		values[i] = (Datum) at;
		at += MAXALIGN(size);
	}
}

/*
 * Put a stored item into a slot.  What is out of line or compressed is
 * fetched once, into the current memory context, however often it is read.
 */
void
MergeItemLoad(MergeRun *run, const char *stored, TupleTableSlot *slot)
{
	const Datum *values = (const Datum *) stored;
	const bool *nulls = (const bool *) (stored + NULLS_AT(run->width));

	ExecClearTuple(slot);
	for (int i = 0; i < run->width; i++)
	{
		slot->tts_isnull[i] = nulls[i];
		slot->tts_values[i] = values[i];
		if (nulls[i] || run->item_types[i].byval)
			continue;
		slot->tts_values[i] = PointerGetDatum(stored + values[i]);
		if (run->item_types[i].length == -1)
			slot->tts_values[i] =
				PointerGetDatum(pg_detoast_datum((struct varlena *)
												 DatumGetPointer(slot->tts_values[i])));
	}
	ExecStoreVirtualTuple(slot);
}
