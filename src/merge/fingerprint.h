/*
 * fingerprint.h
 *		What chooses the partition of an event, in one number.
 */
#ifndef WALLET_PROJECTION_FINGERPRINT_H
#define WALLET_PROJECTION_FINGERPRINT_H

#include "merge/merge.h"

extern char *MergeFingerprintText(const Merge *merge);
extern uint64 MergeFingerprint(const Merge *merge);

/* fingerprint_key.c */
extern char *MergeKeyFingerprintText(const Merge *merge);

#endif							/* WALLET_PROJECTION_FINGERPRINT_H */
