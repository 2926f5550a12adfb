/*
 * status.h
 *		How a projection stands: with background workers, and with its tables.
 */
#ifndef WALLET_PROJECTION_STATUS_H
#define WALLET_PROJECTION_STATUS_H

#include "definition/projection.h"

typedef struct WorkerNeeds
{
	bool		started;
	int			there;
	int			wanted;
	const char *problem;		/* why there are fewer; NULL: no reason */
	const char *advice;			/* what to do about it; NULL: nothing special */
} WorkerNeeds;

/* a batch that takes longer than this is told of, in milliseconds */
#define BATCH_IS_LONG	1000

/* status.c */
extern WorkerNeeds WorkersFor(const char *projection, const char *channel);

/* behind.c */
extern void TellWhyBehind(const char *projection);

/* held.c */
extern char *ProjectionWaitsFor(const Projection *projection);

/* finding.c */
extern const char *ProblemFound(const Projection *projection);

#endif							/* WALLET_PROJECTION_STATUS_H */
