/*
 * parkedset.h
 *		Which keys are certainly not parked.
 */
#ifndef WALLET_PROJECTION_PARKEDSET_H
#define WALLET_PROJECTION_PARKEDSET_H

#include "position/sets.h"

extern bool ParkedSetKnows(const char *projection, const PositionSets *sets);
extern void ParkedSetForget(const char *projection);
extern void ParkedSetRead(const char *projection);
extern bool ParkedSetMayHave(const char *projection, uint64 hash);
extern void ParkedSetAdd(const char *projection, uint64 hash);
extern void ParkedSetSaved(const char *projection, const PositionSets *sets);

#endif							/* WALLET_PROJECTION_PARKEDSET_H */
