/*
 * keyrow.c
 *		One key's row, as some of its events make it.
 *
 * Nothing is written, and no row of the read model is read.  Events are applied
 * one after the other, so memory does not grow with their number.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "errors.h"
#include "handler/native_row.h"
#include "handler/read_model.h"
#include "rebuild/keyrow.h"
#include "rebuild/refold_state.h"

typedef struct KeyRow
{
	const ApplyScope *scope;
	const char *key_text;
	KeyRowChooser choose;
	void	   *arg;
	int64		no;				/* of the event at hand; 0: none */
	MemoryContext memory;		/* of one event */
	NativeRow  *native;			/* of a native projection */
	/* of a declared one: */
	Datum		key[INDEX_MAX_KEYS];
	MergeRow   *row;
} KeyRow;

static void
refuse(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_BAD_EVENT),
			 errmsg("%s", reason)));
}

/* Context of an error: which event it is about. */
static void
event_context(void *arg)
{
	KeyRow	   *row = arg;

	if (row->no != 0)
		errcontext("event " INT64_FORMAT " of key \"%s\" of projection \"%s\"",
				   row->no, row->key_text, row->scope->projection->name);
}

/* MergeItemReceiver */
static void
apply_item(void *arg, const MergeItem *item)
{
	KeyRow	   *row = arg;
	const Sink *sink = row->scope->sink;
	char	   *stored;

	if (!item->has_key || !KeyEqual(sink->key, row->key, item->key))
		return;
	stored = palloc(MergeItemSize(sink->run, item));
	MergeItemStore(sink->run, item, stored);
	if (MergeRowApply(sink->run, stored).clause < 0 && sink->strict)
		refuse("no WHEN of the definition holds for it");
}

static void
apply_event(KeyRow *row, const Event *event)
{
	const char *reason;

	if (row->native == NULL)
	{
		MergeRunItems(row->scope->sink->run, event->slot, apply_item, row);
		return;
	}
	reason = NativeRowAdd(row->native, event);
	if (reason != NULL)
		refuse(reason);
}

/* EventReceiver */
static bool
take_event(void *state, const Event *event)
{
	KeyRow	   *row = state;
	KeyRowChoice choice = row->choose(row->arg, event);
	MemoryContext old;

	CHECK_FOR_INTERRUPTS();
	if (choice != KEYROW_TAKE)
		return choice == KEYROW_LEAVE;
	old = MemoryContextSwitchTo(row->memory);
	row->no = event->no;
	apply_event(row, event);
	row->no = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(row->memory);
	return true;
}

/* The native row in a slot of the read model's. */
static void
fill_native(KeyRow *row, TupleTableSlot *slot)
{
	const ApplyScope *scope = row->scope;
	const RowHandler *handler = row->native->handler;
	Datum		values[HANDLER_MAX_COLUMNS];
	bool		nulls[HANDLER_MAX_COLUMNS];
	ReadModel  *model = ReadModelBeginToRead(scope->sink, scope->read_model,
											 scope->snapshot);
	const char *reason = NativeRowValues(row->native, values, nulls);

	values[0] = CStringGetTextDatum(row->key_text);
	nulls[0] = false;
	for (int i = 0; i < handler->ncolumns && reason == NULL; i++)
	{
		int			at = model->columns[i] - 1;

		if (!nulls[i])
			reason = ReadModelFit(model, i, &values[i]);
		slot->tts_values[at] = values[i];
		slot->tts_isnull[at] = nulls[i];
	}
	ReadModelEnd(model);
	if (reason != NULL)
		refuse(reason);
}

/* A row of nulls, to be filled. */
static TupleTableSlot *
empty_row(Relation read_model)
{
	TupleDesc	desc = CreateTupleDescCopyConstr(RelationGetDescr(read_model));
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);

	ExecStoreAllNullTuple(slot);
	return slot;
}

/* The row in memory of our own; NULL: there is none. */
static TupleTableSlot *
copy_row(KeyRow *row)
{
	TupleTableSlot *slot = empty_row(row->scope->read_model);
	bool		exists = row->native != NULL ? row->native->exists :
		row->row->exists;

	if (!exists)
		return NULL;
	if (row->native != NULL)
		fill_native(row, slot);
	else
		ExecCopySlot(slot, row->row->slot);
	return slot;
}

static void
begin(KeyRow *row)
{
	const Sink *sink = row->scope->sink;
	int			length;

	if (sink->handler != NULL)
	{
		row->native = NativeRowBegin(sink->handler);
		return;
	}
	KeyImageRead(sink->key, KeyFromText(sink->key, row->key_text, &length),
				 row->key);
	row->row = MergeRowBegin(sink->run, NULL);
}

/*
 * The row of a key as those of its events up to last make it that are chosen;
 * NULL: there is none then.  An event that cannot be applied raises an error.
 * The refold is one that is not used otherwise; looked counts numbers that were
 * looked through for want of an index.  An active snapshot is needed.
 */
TupleTableSlot *
KeyRowMake(Refold *refold, Snapshot snapshot, const char *key, int64 last,
		   KeyRowChooser choose, void *arg, int64 *looked)
{
	ApplyScope	scope = {.projection = refold->projection,
		.sink = &refold->sink,.stream = refold->work->stream,
		.read_model = refold->work->read_model,.snapshot = snapshot,
	.looked = looked};
	KeyRow		row = {.scope = &scope,.key_text = key,.choose = choose,.arg = arg};
	KeyTask		task = {.key = key};
	ErrorContextCallback callback = {.callback = event_context,.arg = &row};
	TupleTableSlot *result;

	row.memory = AllocSetContextCreate(CurrentMemoryContext,
									   "wallet_projection event of a key",
									   ALLOCSET_SMALL_SIZES);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	begin(&row);
	(void) KeyEventsRead(&scope, &task, 1, last, take_event, &row);
	if (row.native == NULL)
		MergeRowSettle(refold->sink.run);
	error_context_stack = callback.previous;
	result = copy_row(&row);
	MemoryContextDelete(row.memory);
	return result;
}

/* Are the events of a key found by an index? */
bool
KeyRowHasIndex(const Refold *refold)
{
	ApplyScope	scope = {.sink = &refold->sink,.stream = refold->work->stream};

	return KeyEventsIndexed(&scope);
}

/* The statement that makes an index by which a key's events are found; or NULL. */
char *
KeyRowIndex(const Refold *refold)
{
	ApplyScope	scope = {.sink = &refold->sink,.stream = refold->work->stream};

	return KeyEventsIndex(&scope);
}
