/*
 * nap.h
 *		Sleep for a moment.
 */
#ifndef WALLET_PROJECTION_NAP_H
#define WALLET_PROJECTION_NAP_H

extern void NapFor(int milliseconds);

#endif							/* WALLET_PROJECTION_NAP_H */
