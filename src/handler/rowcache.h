/*
 * rowcache.h
 *		Where rows of a read model live, as this process remembers it.
 */
#ifndef WALLET_PROJECTION_ROWCACHE_H
#define WALLET_PROJECTION_ROWCACHE_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

typedef struct RowCache RowCache;

extern RowCache *RowCacheFor(Relation read_model, BlockNumber blocks);
extern bool RowCacheFind(RowCache *cache, uint32 hash, ItemPointer tid);
extern void RowCacheRemember(RowCache *cache, uint32 hash, ItemPointer tid);

#endif							/* WALLET_PROJECTION_ROWCACHE_H */
