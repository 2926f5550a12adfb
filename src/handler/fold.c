/*
 * fold.c
 *		The states of a batch's keys, in memory.
 *
 * A hash table of pointers to entries that are carved from large chunks: with
 * hundreds of thousands of keys both the memory and the time of a palloc per
 * key would count.  Everything is in the memory context of FoldBegin() and
 * goes with it.
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "handler/fold.h"

#define CHUNK_SIZE (128 * 1024)

typedef struct FoldKey
{
	const char *data;
	int32		length;
	uint32		hash;
} FoldKey;

typedef struct FoldSlot
{
	FoldKey		key;
	FoldEntry  *entry;
	char		status;			/* simplehash's */
} FoldSlot;

static inline bool
same_key(const FoldKey *a, const FoldKey *b)
{
	return a->hash == b->hash && a->length == b->length &&
		memcmp(a->data, b->data, a->length) == 0;
}

#define SH_PREFIX foldtable
#define SH_ELEMENT_TYPE FoldSlot
#define SH_KEY_TYPE FoldKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) ((key).hash)
#define SH_EQUAL(tb, a, b) same_key(&(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"	/* the template's own */
#include "lib/simplehash.h"
#pragma GCC diagnostic pop

struct Fold
{
	const RowHandler *handler;
	MemoryContext context;
	foldtable_hash *table;
	char	   *chunk;			/* where the next entry is carved from */
	Size		chunk_left;
	Size		chunk_total;	/* of all chunks so far */
};

/* For sorting: the first bytes of the key decide most comparisons. */
typedef struct SortSlot
{
	uint64		prefix;
	FoldEntry  *entry;
} SortSlot;

static inline int
compare_keys(const SortSlot *a, const SortSlot *b)
{
	int			result;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	result = memcmp(a->entry->key, b->entry->key,
					Min(a->entry->key_length, b->entry->key_length));
	return result != 0 ? result : a->entry->key_length - b->entry->key_length;
}

#define ST_SORT sort_slots
#define ST_ELEMENT_TYPE SortSlot
#define ST_COMPARE(a, b) compare_keys(a, b)
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* Begin a fold in the current memory context. */
Fold *
FoldBegin(const RowHandler *handler)
{
	Fold	   *fold = palloc0(sizeof(Fold));

	fold->handler = handler;
	fold->context = CurrentMemoryContext;
	fold->table = foldtable_create(CurrentMemoryContext, 1024, NULL);
	return fold;
}

/* Zeroed memory that lives as long as the fold. */
static void *
carve(Fold *fold, Size size)
{
	void	   *result;

	size = MAXALIGN(size);
	if (size > fold->chunk_left)
	{
		Size		chunk_size = Max(CHUNK_SIZE, size);

		fold->chunk = MemoryContextAllocZero(fold->context, chunk_size);
		fold->chunk_left = chunk_size;
		fold->chunk_total += chunk_size;
	}
	result = fold->chunk;
	fold->chunk += size;
	fold->chunk_left -= size;
	return result;
}

/* The entry of the event's key, made where there is none. */
static FoldEntry *
find_entry(Fold *fold, const Event *event, uint64 hash)
{
	Size		state_size = MAXALIGN(fold->handler->state_size);
	FoldKey		key;
	FoldSlot   *slot;
	FoldEntry  *entry;
	char	   *copy;
	bool		found;

	/* the partition was chosen by the low bits: take the high ones */
	key.hash = (uint32) (hash >> 32);
	key.data = event->key;
	key.length = event->key_length;
	slot = foldtable_insert(fold->table, key, &found);
	if (found)
		return slot->entry;

	entry = carve(fold, offsetof(FoldEntry, state) + state_size + key.length);
	copy = entry->state + state_size;
	memcpy(copy, event->key, key.length);
	entry->key = copy;
	entry->key_length = key.length;
	slot->key.data = copy;
	slot->entry = entry;
	return entry;
}

/*
 * Fold one event into its key's state.  A key of which only ignored events
 * were seen has an entry with first_no 0.
 */
EventEffect
FoldEvent(Fold *fold, const Event *event, uint64 hash, const char **reason)
{
	FoldEntry  *entry = find_entry(fold, event, hash);
	EventEffect effect = fold->handler->fold(entry->state, event, reason);

	if (effect == EVENT_IGNORED || effect == EVENT_BAD)
		return effect;
	if (effect == EVENT_CREATES && entry->first_no == 0)
		entry->creates = true;
	else if (effect == EVENT_CREATES && entry->creates)
	{
		*reason = "it was created before";
		return EVENT_BAD;
	}
	else if (effect == EVENT_CREATES && entry->second_creation == 0)
		entry->second_creation = event->no;
	if (entry->first_no == 0)
		entry->first_no = event->no;
	entry->last_no = event->no;
	return effect;
}

/* How much memory the fold uses, in bytes. */
Size
FoldMemory(const Fold *fold)
{
	/* the sort needs a slot per key besides */
	return fold->chunk_total + fold->table->size * sizeof(FoldSlot) +
		fold->table->members * sizeof(SortSlot);
}

/*
 * All entries that have something to apply, in the order of their keys'
 * bytes.
 */
FoldEntry **
FoldSorted(Fold *fold, int64 *count)
{
	Size		size = Max(fold->table->members, 1) * sizeof(SortSlot);
	SortSlot   *slots = MemoryContextAllocHuge(fold->context, size);
	FoldEntry **entries = (FoldEntry **) slots;
	foldtable_iterator iterator;
	FoldSlot   *slot;
	int64		n = 0;

	foldtable_start_iterate(fold->table, &iterator);
	while ((slot = foldtable_iterate(fold->table, &iterator)) != NULL)
	{
		uint64		prefix = 0;

		if (slot->entry->first_no == 0)
			continue;
		memcpy(&prefix, slot->entry->key,
			   Min(slot->entry->key_length, (int) sizeof(prefix)));
		slots[n].prefix = pg_ntoh64(prefix);
		slots[n].entry = slot->entry;
		n++;
	}
	sort_slots(slots, n);
	/* the list of entries takes the place of the sorted slots */
	for (int64 i = 0; i < n; i++)
		entries[i] = slots[i].entry;
	*count = n;
	return entries;
}
