/*
 * status.h
 *		How a projection stands with background workers.
 */
#ifndef WALLET_PROJECTION_STATUS_H
#define WALLET_PROJECTION_STATUS_H

typedef struct WorkerNeeds
{
	bool		started;
	int			there;
	int			wanted;
	const char *problem;		/* why there are fewer; NULL: no reason */
} WorkerNeeds;

extern WorkerNeeds WorkersFor(const char *projection, const char *channel);

#endif							/* WALLET_PROJECTION_STATUS_H */
