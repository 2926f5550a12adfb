/*
 * rowcache.c
 *		Where rows of a read model live, as this process remembers it.
 *
 * Looking a key up in the read model's index is most of the cost of a small
 * change.  So the place to which the index led is kept, by the key's hash.
 * It is the root of the row's HOT chain, which stays while updates do not
 * touch indexed columns.  It is a hint: whoever follows it compares the key
 * of the row found there, and looks into the index if it is another's.
 *
 * The cache forgets: it has a fixed number of places, five to a line of the
 * processor's cache, sized by the table.  A table that is rewritten gets a
 * new file, and an empty cache.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "handler/rowcache.h"
#include "remember.h"

#define CACHE_LINE 64
#define WAYS 5
#define SETS_MIN 1024
/* 64 bytes each: 32 megabytes, for two million rows */
#define SETS_MAX (512 * 1024)

/* sets per block of the table: a block has up to a hundred small rows */
#define SETS_PER_BLOCK 32

typedef struct CachedRow
{
	uint32		hash;
	ItemPointerData tid;		/* block number invalid: the place is free */
} CachedRow;

typedef struct CacheSet
{
	CachedRow	rows[WAYS];
	char		padding[CACHE_LINE - WAYS * sizeof(CachedRow)];
} CacheSet;

struct RowCache
{
	Oid			relid;			/* hash key */
	Oid			file;			/* the table's, when this was remembered */
	uint32		nsets;			/* a power of two; 0: none yet */
	uint32		clock;
	CacheSet   *sets;
};

static HTAB *caches = NULL;

static RowCache *
find_cache(Oid relid)
{
	return RememberedOfTable(&caches, "wallet_projection rows", relid,
							 sizeof(RowCache));
}

/* The cache of this read model, which has this many blocks or more. */
RowCache *
RowCacheFor(Relation read_model, BlockNumber blocks)
{
	RowCache   *cache = find_cache(RelationGetRelid(read_model));
	uint64		wanted = (uint64) blocks * SETS_PER_BLOCK;
	uint32		nsets = SETS_MIN;

	while (nsets < wanted && nsets < SETS_MAX)
		nsets *= 2;
	if (cache->nsets >= nsets && cache->file == read_model->rd_rel->relfilenode)
		return cache;

	if (cache->sets != NULL)
		pfree(cache->sets);
	cache->sets = NULL;
	cache->nsets = 0;
	cache->sets = MemoryContextAlloc(CacheMemoryContext,
									 nsets * sizeof(CacheSet));
	memset(cache->sets, 0xFF, nsets * sizeof(CacheSet));
	cache->nsets = nsets;
	cache->file = read_model->rd_rel->relfilenode;
	return cache;
}

static inline CacheSet *
find_set(RowCache *cache, uint32 hash)
{
	return &cache->sets[hash & (cache->nsets - 1)];
}

/* Where the row of a key with this hash was last, if that is remembered. */
bool
RowCacheFind(RowCache *cache, uint32 hash, ItemPointer tid)
{
	CacheSet   *set = find_set(cache, hash);

	for (int i = 0; i < WAYS; i++)
	{
		CachedRow  *row = &set->rows[i];

		if (row->hash == hash &&
			ItemPointerGetBlockNumberNoCheck(&row->tid) != InvalidBlockNumber)
		{
			*tid = row->tid;
			return true;
		}
	}
	return false;
}

/* Remember where the index led for a key with this hash. */
void
RowCacheRemember(RowCache *cache, uint32 hash, ItemPointer tid)
{
	CacheSet   *set = find_set(cache, hash);
	int			place = cache->clock++ % WAYS;

	for (int i = 0; i < WAYS; i++)
	{
		if (set->rows[i].hash == hash)
		{
			place = i;
			break;
		}
		if (ItemPointerGetBlockNumberNoCheck(&set->rows[i].tid) == InvalidBlockNumber)
			place = i;
	}
	set->rows[place].hash = hash;
	set->rows[place].tid = *tid;
}
