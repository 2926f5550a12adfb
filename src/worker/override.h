/*
 * override.h
 *		The settings of a worker, whatever sessions are to have.
 */
#ifndef WALLET_PROJECTION_OVERRIDE_H
#define WALLET_PROJECTION_OVERRIDE_H

extern void OverrideSettings(void);
extern void OverrideUser(void);

#endif							/* WALLET_PROJECTION_OVERRIDE_H */
