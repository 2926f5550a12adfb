/*
 * switch.h
 *		Two projections exchange their tables, or their tables' names.
 */
#ifndef WALLET_PROJECTION_SWITCH_H
#define WALLET_PROJECTION_SWITCH_H

#include "definition/projection.h"

typedef struct Pair
{
	Projection *new;
	Projection *old;
	char	   *differ;			/* why their tables cannot exchange their
								 * storage; NULL: they can */
} Pair;

extern void PairSwitch(Pair *pair, bool with_triggers);

#endif							/* WALLET_PROJECTION_SWITCH_H */
