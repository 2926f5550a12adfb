/*
 * launcher.h
 *		The launcher: as many workers as are wanted.
 */
#ifndef WALLET_PROJECTION_LAUNCHER_H
#define WALLET_PROJECTION_LAUNCHER_H

#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"

extern void LauncherDescribe(BackgroundWorker *worker, const char *function,
							 const char *name, int restart_time);
extern void LauncherRegister(void);
extern List *LauncherDatabases(bool templates);

#endif							/* WALLET_PROJECTION_LAUNCHER_H */
