/*
 * swap.h
 *		Two tables that are alike exchange their storage.
 */
#ifndef WALLET_PROJECTION_SWAP_H
#define WALLET_PROJECTION_SWAP_H

extern void StorageSwap(Oid a, Oid b);

#endif							/* WALLET_PROJECTION_SWAP_H */
