/*
 * status.h
 *		How a projection stands: with background workers, and with its tables.
 */
#ifndef WALLET_PROJECTION_STATUS_H
#define WALLET_PROJECTION_STATUS_H

#include "projection/projection.h"

typedef struct WorkerNeeds
{
	bool		started;
	int			there;
	int			wanted;
	const char *problem;		/* why there are fewer; NULL: no reason */
} WorkerNeeds;

/* status.c */
extern WorkerNeeds WorkersFor(const char *projection, const char *channel);

/* finding.c */
extern const char *ProblemFound(const Projection *projection);

#endif							/* WALLET_PROJECTION_STATUS_H */
