/*
 * handler.h
 *		What a row projection's handler is: how events change a row.
 *
 * A row projection keeps one row of its read model per partition key.  The
 * engine owns the row: it folds the events of a batch in memory, a state per
 * key, then touches each row once.  A handler has two functions, both pure:
 * no SQL, no catalog, no clock, no lock, nothing kept between calls.
 *
 *	fold	takes one event into the state of its key.  The state is
 *			state_size bytes, all zero before the first event; it must not
 *			change before all of the event has been read.  Events of a
 *			key come in order.  Says what the event does to the row:
 *			EVENT_IGNORED (nothing: the state is unchanged), EVENT_CREATES
 *			(makes the row), EVENT_CHANGES (changes the row, which must
 *			exist), EVENT_BAD (cannot be applied: *reason says why).
 *	merge	makes the new values of the row's columns out of the state and, in
 *			place, the old values; where the batch creates the row there are
 *			none, and all are null.  The key, column 0, is the engine's.
 *			Values may be palloc'd.  Returns NULL, or why it cannot be done.
 *
 * The engine sees to it that a row is created once and before it is changed.
 * A reason is the end of an error message: lower case, no full stop.
 */
#ifndef WALLET_PROJECTION_HANDLER_H
#define WALLET_PROJECTION_HANDLER_H

#include "stream/reader.h"

typedef enum EventEffect
{
	EVENT_IGNORED,
	EVENT_CREATES,
	EVENT_CHANGES,
	EVENT_BAD
} EventEffect;

/* A column of the read model that the handler keeps. */
typedef struct HandlerColumn
{
	const char *name;
	Oid			type;			/* of the Datum that merge sees and makes; an
								 * int8 may be a column of type integer */
	int32		typmod;
	const char *definition;		/* as in CREATE TABLE */
} HandlerColumn;

typedef struct RowHandler
{
	const char *name;
	const char *read_model;		/* name of the table */
	int			ncolumns;
	const HandlerColumn *columns;	/* the first is the key */
	Size		state_size;
	/* created: an event of the batch has made the row; another is bad */
	EventEffect (*fold) (void *state, bool created, const Event *event,
						 const char **reason);
	const char *(*merge) (const void *state, Datum *values, bool *nulls);
} RowHandler;

/* as many columns as a handler may keep */
#define HANDLER_MAX_COLUMNS 64

/* registry.c */
extern void HandlerRegister(const RowHandler *handler);
extern const RowHandler *HandlerFind(const char *name);

#endif							/* WALLET_PROJECTION_HANDLER_H */
