/*
 * native_row.c
 *		One key's row, made of its events by a native projection's handler.
 */
#include "postgres.h"

#include "compat.h"

#include "handler/native_row.h"

/* Begin without a row. */
NativeRow *
NativeRowBegin(const RowHandler *handler)
{
	NativeRow  *row = palloc0_object(NativeRow);

	row->handler = handler;
	row->state = palloc0(handler->state_size);
	return row;
}

/* Take the key's next event in; returns NULL, or why it cannot be applied. */
const char *
NativeRowAdd(NativeRow *row, const Event *event)
{
	const char *reason = NULL;

	switch (row->handler->fold(row->state, row->exists, event, &reason))
	{
		case EVENT_IGNORED:
			return NULL;
		case EVENT_CREATES:
			if (row->exists)
				return "it was created before";
			row->exists = true;
			return NULL;
		case EVENT_CHANGES:
			return row->exists ? NULL : "there is no row of it: it was never created";
		case EVENT_BAD:
			return reason;
	}
	return NULL;
}

/*
 * The values of the handler's columns, but for the key; the row exists.
 * Returns NULL, or why they cannot be made.
 */
const char *
NativeRowValues(const NativeRow *row, Datum *values, bool *nulls)
{
	for (int i = 0; i < row->handler->ncolumns; i++)
	{
		values[i] = (Datum) 0;
		nulls[i] = true;
	}
	return row->handler->merge(row->state, values, nulls);
}
