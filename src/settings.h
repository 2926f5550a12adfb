/*
 * settings.h
 *		The settings of postgresql.conf, defined in wallet_projection.c.
 */
#ifndef WALLET_PROJECTION_SETTINGS_H
#define WALLET_PROJECTION_SETTINGS_H

/* wallet_projection.batch_memory: what one batch may hold, in kilobytes */
extern int	BatchMemory;

#endif							/* WALLET_PROJECTION_SETTINGS_H */
