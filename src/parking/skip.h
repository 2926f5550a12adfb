/*
 * skip.h
 *		Events that a projection is never to apply.
 *
 * A row of wallet_projection.skipped is one event, which stays skipped when
 * the projection begins anew.  Or, with last_no, it is all events of a key
 * from no to last_no that waited when the key was given up: they are passed
 * over as long as the positions say that they are applied, so until reset.
 */
#ifndef WALLET_PROJECTION_SKIP_H
#define WALLET_PROJECTION_SKIP_H

#include "parking/park.h"

/* A row of the catalog. */
typedef struct Skipped
{
	char	   *key;
	char	   *event_name;
	int64		no;
	int64		last_no;		/* 0: that one alone */
} Skipped;

extern void SkipEvent(const Stream *stream, Snapshot snapshot,
					  const Parked *parked);
extern void SkipAll(const Stream *stream, Snapshot snapshot,
					const Parked *parked, int64 last_no, int64 events);
extern void SkipCheck(const Stream *stream, const char *projection);
extern void SkipForgetAll(const char *projection);
extern void SkippedAsOf(const char *projection, Snapshot snapshot,
						void (*receive) (void *arg, const Skipped *skipped),
						void *arg);
extern NumberSet SkippedEvents(const char *projection);
extern NumberSet SkippedOrParkedAlone(const char *projection);
extern NumberSet SkippedOfKey(const char *projection, const char *key);
extern void FailureExplain(const Projection *projection, const char *key,
						   KeyFailure *failure);
extern void SkipDrop(const char *projection);

#endif							/* WALLET_PROJECTION_SKIP_H */
