/*
 * keyhash.h
 *		The hash of a partition key.
 */
#ifndef WALLET_PROJECTION_KEYHASH_H
#define WALLET_PROJECTION_KEYHASH_H

extern uint64 KeyHash(const char *key, int length);

#endif							/* WALLET_PROJECTION_KEYHASH_H */
