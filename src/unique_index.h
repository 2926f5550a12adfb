/*
 * unique_index.h
 *		The index that makes columns unique.
 */
#ifndef WALLET_PROJECTION_UNIQUE_INDEX_H
#define WALLET_PROJECTION_UNIQUE_INDEX_H

#include "access/attnum.h"
#include "utils/relcache.h"

extern Oid	UniqueIndexOn(Relation relation, int nkeys,
						  const AttrNumber *keys);

#endif							/* WALLET_PROJECTION_UNIQUE_INDEX_H */
