/*
 * wallet.h
 *		The example: all that the rest of the extension knows of it.
 */
#ifndef WALLET_PROJECTION_WALLET_H
#define WALLET_PROJECTION_WALLET_H

#define WALLET_STREAM "wallet_stream"
#define WALLET_TYPE "Wallet"

extern void WalletRegister(void);

#endif							/* WALLET_PROJECTION_WALLET_H */
