/*
 * known.h
 *		A projection's definition, as this process knows it from its last batch.
 */
#ifndef WALLET_PROJECTION_KNOWN_H
#define WALLET_PROJECTION_KNOWN_H

#include "definition/projection.h"

typedef struct Known Known;

extern Known *KnownLook(const char *name);
extern Projection *KnownProjection(const Known *known);
extern bool KnownIsTrue(const Known *known);
extern void KnownKeep(Known *known);

#endif							/* WALLET_PROJECTION_KNOWN_H */
