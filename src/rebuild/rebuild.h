/*
 * rebuild.h
 *		A read model made what its events say, while everything goes on.
 */
#ifndef WALLET_PROJECTION_REBUILD_H
#define WALLET_PROJECTION_REBUILD_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* What is to come after a step. */
typedef enum RebuildNext
{
	REBUILD_GOES_ON,
	REBUILD_PAUSES,				/* let others have the partition for a while */
	REBUILD_ENDS
} RebuildNext;

/* What a rebuild has done. */
typedef struct RebuildCount
{
	int64		compared;		/* keys */
	int64		written;		/* rows */
	int64		unwritten;		/* keys whose row could not be written */
	int64		freed;			/* parked keys that are free again */
	int64		parked;			/* those that have failed again */
} RebuildCount;

typedef struct Rebuild Rebuild;

extern void RebuildCheck(const char *projection, bool force);
extern Rebuild *RebuildBegin(const char *projection, const char *key,
							 bool force, bool callers_transaction);
extern void RebuildRange(Rebuild *rebuild, uint64 first, uint64 last);
extern void RebuildFold(Rebuild *rebuild);
extern uint64 RebuildReached(const Rebuild *rebuild);
extern void RebuildForget(Rebuild *rebuild);
extern RebuildNext RebuildChunk(Rebuild *rebuild);
extern int	RebuildPause(const Rebuild *rebuild);
extern bool RebuildReplay(Rebuild *rebuild);
extern void RebuildDeleteUnkeyed(Rebuild *rebuild);
extern void RebuildAnew(const char *projection);
extern RebuildCount RebuildCounted(const Rebuild *rebuild);
extern void RebuildTell(const Rebuild *rebuild);

#endif							/* WALLET_PROJECTION_REBUILD_H */
