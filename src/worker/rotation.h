/*
 * rotation.h
 *		Who gets a worker where there are fewer processes than channels.
 */
#ifndef WALLET_PROJECTION_ROTATION_H
#define WALLET_PROJECTION_ROTATION_H

#include "nodes/pg_list.h"

#include "worker/slots.h"

/* What is wanted, and what there is, of one channel. */
typedef struct Wanted
{
	Oid			database;
	char	   *channel;
	int			workers;
	int			running;		/* and starting, and not asked to leave */
	bool		rests;			/* it was scaled to 0 */
	TimestampTz served;			/* when it had a worker for the last time */
} Wanted;

extern Wanted *WantedFind(List *wanted, Oid database, const char *channel);
extern void RotationOrder(List *wanted);
extern int	RotationSpare(List *wanted, const WorkerSlot *slots, int count);

#endif							/* WALLET_PROJECTION_ROTATION_H */
