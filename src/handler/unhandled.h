/*
 * unhandled.h
 *		Events that nothing was done with, counted by their type.
 */
#ifndef WALLET_PROJECTION_UNHANDLED_H
#define WALLET_PROJECTION_UNHANDLED_H

#include "nodes/pg_list.h"

typedef enum UnhandledWhy
{
	UNHANDLED_NO_WHEN,			/* no WHEN of the definition held */
	UNHANDLED_NO_KEY			/* a column of its key was null */
} UnhandledWhy;

/* as many types are told apart, in a batch and in the catalog */
#define UNHANDLED_TYPES_MAX 100

/* and as many bytes of each */
#define UNHANDLED_TYPE_LENGTH 200

typedef struct UnhandledCount
{
	UnhandledWhy why;
	char	   *type;			/* of the events; NULL: none is known, or
								 * others */
	int64		count;
	int64		first_no;
	int64		last_no;
} UnhandledCount;

typedef struct Unhandled
{
	MemoryContext context;
	List	   *counts;			/* of UnhandledCount */
} Unhandled;

extern Unhandled *UnhandledBegin(void);
extern void UnhandledAdd(Unhandled *unhandled, UnhandledWhy why,
						 const char *type, int64 no);
extern void UnhandledJoin(Unhandled *into, const Unhandled *from);

#endif							/* WALLET_PROJECTION_UNHANDLED_H */
