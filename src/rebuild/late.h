/*
 * late.h
 *		Events that came below a position: nobody has applied them.
 */
#ifndef WALLET_PROJECTION_LATE_H
#define WALLET_PROJECTION_LATE_H

#include "rebuild/refold.h"

/* An event that came after others with higher numbers. */
typedef struct LateEvent
{
	int64		no;
	ShadowEntry *entry;			/* its key's, in the refold */
} LateEvent;

typedef struct LateEvents
{
	int			count;
	LateEvent  *events;			/* in order of their numbers */
	Refold	   *without;		/* the refold's keys that differ also without
								 * these events; or NULL */
} LateEvents;

extern LateEvents LateFind(Refold *refold, Snapshot snapshot);
extern char *LateName(Refold *refold, Snapshot snapshot, int64 no);
extern bool LateExplains(const LateEvents *late, Refold *refold,
						 const char *key);

#endif							/* WALLET_PROJECTION_LATE_H */
