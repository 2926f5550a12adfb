/*
 * switch.h
 *		Two projections exchange their tables, or their tables' names.
 */
#ifndef WALLET_PROJECTION_SWITCH_H
#define WALLET_PROJECTION_SWITCH_H

#include "promote/pair.h"

extern void PairSwitch(Pair *pair, bool with_triggers);

#endif							/* WALLET_PROJECTION_SWITCH_H */
