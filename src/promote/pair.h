/*
 * pair.h
 *		Two projections, one of which is to take the other one's place.
 */
#ifndef WALLET_PROJECTION_PAIR_H
#define WALLET_PROJECTION_PAIR_H

#include "definition/projection.h"

typedef struct Pair
{
	Projection *new;
	Projection *old;
	char	   *differ;			/* why their tables cannot exchange their
								 * storage; NULL: they can */
} Pair;

extern Projection *PairFetchOne(const char *name);
extern void PairCheckStreams(const Projection *a, const Projection *b);
extern void PairFetch(Pair *pair, const char *new, const char *old);
extern void PairCheck(Pair *pair, bool force);

#endif							/* WALLET_PROJECTION_PAIR_H */
