/*
 * settings.h
 *		The settings of postgresql.conf, defined in wallet_projection.c.
 */
#ifndef WALLET_PROJECTION_SETTINGS_H
#define WALLET_PROJECTION_SETTINGS_H

/* wallet_projection.batch_memory: what one batch may hold, in kilobytes */
extern int	BatchMemory;

/* wallet_projection.batch_timeout: of one batch, in ms; 0: none */
extern int	BatchTimeout;

/* wallet_projection.enabled: background workers run */
extern bool WorkersEnabled;

/* wallet_projection.autostart: projection_init starts the projection */
extern bool Autostart;

/* wallet_projection.workers: of a channel that was not scaled */
extern int	DefaultWorkers;

/* wallet_projection.poll_interval: how long an idle worker sleeps, in ms */
extern int	PollInterval;

/* Was the library preloaded, so that there can be background workers? */
extern bool Preloaded;

#endif							/* WALLET_PROJECTION_SETTINGS_H */
