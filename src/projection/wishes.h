/*
 * wishes.h
 *		What is wanted: which projections are started, and how many workers
 *		their channels have.
 */
#ifndef WALLET_PROJECTION_WISHES_H
#define WALLET_PROJECTION_WISHES_H

#include "nodes/pg_list.h"

#include "projection/projection.h"

/* The provider of the label in pg_shseclabel. */
#define WISHES_PROVIDER "wallet_projection"

#define CHANNEL_WORKERS_MAX 1024

/* A channel and the workers that it is to have. */
typedef struct ChannelWish
{
	char	   *channel;
	int			workers;		/* -1: as many as the setting says */
} ChannelWish;

extern void WishesLock(void);
extern bool WishStarted(const char *projection);
extern void WishStart(const Projection *projection);
extern void WishStop(const Projection *projection);
extern int	WishWorkers(const char *channel);
extern void WishScale(const char *channel, int workers);
extern void WishesPublish(void);
extern void WishesWithdraw(void);
extern List *WishesParse(const char *label);

#endif							/* WALLET_PROJECTION_WISHES_H */
