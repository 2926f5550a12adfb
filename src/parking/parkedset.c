/*
 * parkedset.c
 *		Which keys are certainly not parked.
 *
 * Where many keys are parked, a batch that has many keys must not look up each
 * of them.  So a process keeps the hashes of the parked ones.  A key is parked only
 * by a batch that has claimed its group and saves its position; so as long as
 * the rows of the claimed positions are those that this process has saved since it
 * read the hashes, a key whose hash is not among them is not parked.  A hash that is among them says nothing: the key may have
 * been freed since, or be another one.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "parking/park.h"
#include "parking/parkedset.h"
#include "remember.h"

typedef struct ParkedHash
{
	uint64		hash;
	char		status;
} ParkedHash;

#define SH_PREFIX parkedhash
#define SH_ELEMENT_TYPE ParkedHash
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) murmurhash32((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"	/* the template's own */
#include "lib/simplehash.h"
#pragma GCC diagnostic pop

/* What this process knows of a projection. */
typedef struct ParkedSet
{
	char		projection[NAMEDATALEN];	/* hash key */
	MemoryContext context;		/* of the hashes; NULL: there are none */
	parkedhash_hash *hashes;
	int			count;
	RowMark		rows[GROUPS_MAX];	/* of positions, for whose groups they are
									 * all */
} ParkedSet;

static HTAB *parked_sets = NULL;

static ParkedSet *
find_set(const char *projection)
{
	return RememberedOf(&parked_sets, "wallet_projection parked keys",
						projection, sizeof(ParkedSet));
}

static void
forget(ParkedSet *set)
{
	if (set->context != NULL)
		MemoryContextDelete(set->context);
	set->context = NULL;
	set->hashes = NULL;
	set->count = 0;
}

static bool
has_row(const ParkedSet *set, const RowMark *row)
{
	for (int i = 0; i < set->count; i++)
	{
		if (SameRow(&set->rows[i], row))
			return true;
	}
	return false;
}

/* The positions begin anew. */
void
ParkedSetForget(const char *projection)
{
	forget(find_set(projection));
}

/* Are the hashes of all parked keys of these claimed sets known? */
bool
ParkedSetKnows(const char *projection, const PositionSets *sets)
{
	const ParkedSet *set = find_set(projection);

	for (int i = 0; i < sets->count; i++)
	{
		if (!has_row(set, &sets->sets[i].mark))
			return false;
	}
	return set->hashes != NULL;
}

/*
 * Read them.  They hold for the rows that the batch saves, and not for those
 * that were there: what our own transaction has freed, it may take back.
 */
void
ParkedSetRead(const char *projection)
{
	ParkedSet  *set = find_set(projection);

	forget(set);
	set->context = AllocSetContextCreate(CacheMemoryContext,
										 "wallet_projection parked keys",
										 ALLOCSET_DEFAULT_SIZES);
	set->hashes = parkedhash_create(set->context, 1024, NULL);
	ParkedHashes(projection, ParkedSetAdd);
}

/* May a key with this hash be parked?  If not, it is not. */
bool
ParkedSetMayHave(const char *projection, uint64 hash)
{
	return parkedhash_lookup(find_set(projection)->hashes, hash) != NULL;
}

/* A key with this hash is parked, or about to be. */
void
ParkedSetAdd(const char *projection, uint64 hash)
{
	ParkedSet  *set = find_set(projection);
	bool		found;

	if (set->hashes != NULL)
		(void) parkedhash_insert(set->hashes, hash, &found);
}

/* What is known holds for the groups of these rows, and no others. */
void
ParkedSetSaved(const char *projection, const PositionSets *sets)
{
	ParkedSet  *set = find_set(projection);

	set->count = 0;
	for (int i = 0; i < sets->count; i++)
		set->rows[set->count++] = sets->sets[i].mark;
}
