/*
 * registry.c
 *		The handlers that there are, by name.
 *
 * _PG_init fills it, once per process; nothing is ever taken out.
 */
#include "postgres.h"

#include "handler/handler.h"

#define HANDLERS_MAX 8

static const RowHandler *handlers[HANDLERS_MAX];
static int	nhandlers = 0;

/* Make a handler known. */
void
HandlerRegister(const RowHandler *handler)
{
	Assert(nhandlers < HANDLERS_MAX && handler->ncolumns <= HANDLER_MAX_COLUMNS);
	handlers[nhandlers++] = handler;
}

/* The handler of this name; NULL: there is none. */
const RowHandler *
HandlerFind(const char *name)
{
	for (int i = 0; i < nhandlers; i++)
	{
		if (strcmp(handlers[i]->name, name) == 0)
			return handlers[i];
	}
	return NULL;
}
