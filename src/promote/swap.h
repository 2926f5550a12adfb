/*
 * swap.h
 *		Two tables that are alike exchange their storage.
 */
#ifndef WALLET_PROJECTION_SWAP_H
#define WALLET_PROJECTION_SWAP_H

#include "postgres_ext.h"

extern void StorageSwap(Oid a, Oid b);

#endif							/* WALLET_PROJECTION_SWAP_H */
