/*
 * desired.h
 *		What is wanted: which projections are started, and how many workers
 *		their channels have.
 */
#ifndef WALLET_PROJECTION_DESIRED_H
#define WALLET_PROJECTION_DESIRED_H

#include "nodes/pg_list.h"

#include "definition/projection.h"

/* The provider of the label in pg_shseclabel. */
#define DESIRED_PROVIDER "wallet_projection"

#define CHANNEL_WORKERS_MAX 1024

/* A channel and the workers that it is to have. */
typedef struct DesiredChannel
{
	char	   *channel;
	int			workers;		/* -1: as many as the setting says */
} DesiredChannel;

extern void DesiredLock(void);
extern bool DesiredStarted(const char *projection);
extern void DesiredStart(const Projection *projection);
extern void DesiredStop(const Projection *projection);
extern int	DesiredWorkers(const char *channel);
extern void DesiredScale(const char *channel, int workers);
extern void DesiredPublish(void);
extern void DesiredWithdraw(void);
extern List *DesiredParse(const char *label);

#endif							/* WALLET_PROJECTION_DESIRED_H */
