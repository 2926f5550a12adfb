/*
 * merge_clock.h
 *		Constants that ask the clock.
 */
#ifndef WALLET_PROJECTION_MERGE_CLOCK_H
#define WALLET_PROJECTION_MERGE_CLOCK_H

#include "nodes/primnodes.h"

extern bool MergeConstIsClock(const char *definition, const Const *value, Oid type);

#endif							/* WALLET_PROJECTION_MERGE_CLOCK_H */
