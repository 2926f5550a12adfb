/*
 * launcher.h
 *		The launcher: as many workers as are wanted.
 */
#ifndef WALLET_PROJECTION_LAUNCHER_H
#define WALLET_PROJECTION_LAUNCHER_H

extern void LauncherRegister(void);

#endif							/* WALLET_PROJECTION_LAUNCHER_H */
