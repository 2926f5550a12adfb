/*
 * desired.h
 *		What is wanted: which projections are started, and how many workers
 *		their channels have.
 */
#ifndef WALLET_PROJECTION_DESIRED_H
#define WALLET_PROJECTION_DESIRED_H

#include "catalog/pg_db_role_setting.h"
#include "nodes/pg_list.h"

#include "definition/projection.h"

/* The label in pg_shseclabel: provider, class; its object is the database. */
#define DESIRED_PROVIDER "wallet_projection"
#define DESIRED_CLASS	DbRoleSettingRelationId

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
extern List *DesiredParse(const char *label);
extern char *DesiredPublished(void);
extern void DesiredPublish(void);
extern void DesiredWithdraw(void);
extern void DesiredInstall(void);

#endif							/* WALLET_PROJECTION_DESIRED_H */
