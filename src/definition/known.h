/*
 * known.h
 *		A projection's definition, as this process knows it from its last batch.
 */
#ifndef WALLET_PROJECTION_KNOWN_H
#define WALLET_PROJECTION_KNOWN_H

#include "definition/compiled.h"

typedef struct Known Known;

extern Known *KnownLook(const char *name);
extern Projection *KnownProjection(const Known *known);
extern bool KnownIsTrue(const Known *known);
extern void KnownKeep(Known *known);
extern Compiled *KnownCompiled(Known *known, const Projection *projection,
							   const Stream *stream, Relation read_model);

#endif							/* WALLET_PROJECTION_KNOWN_H */
