/*
 * shadow.c
 *		Keys and their rows, in memory.
 *
 * A hash table of pointers to entries, each in a piece of memory of its own, so
 * that what is dropped can be used again.  The table and the entries are
 * counted, not the memory that the allocator has got: that keeps what was
 * given back.
 */
#include "postgres.h"

#include "compat.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "rebuild/shadow.h"

typedef struct ShadowSlot
{
	ShadowEntry *entry;
	uint32		hash;
	char		status;			/* simplehash's */
} ShadowSlot;

/* type: of a declared projection; keys with other bytes may be equal */
static inline bool
same_key(KeyType *type, const ShadowEntry *a, const ShadowEntry *b)
{
	if (a->length == b->length && memcmp(a->key, b->key, a->length) == 0)
		return true;
	return type != NULL && KeyImagesEqual(type, a->key, b->key);
}

#define SH_PREFIX shadowtable
#define SH_ELEMENT_TYPE ShadowSlot
#define SH_KEY_TYPE ShadowEntry *
#define SH_KEY entry
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_HASH_KEY(tb, key) ((key)->hash)
#define SH_EQUAL(tb, a, b) same_key((tb)->private_data, a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"	/* the template's own */
#include "lib/simplehash.h"
#pragma GCC diagnostic pop

/* A probe for a key of this length needs no memory of its own. */
#define PROBE_LENGTH 512

struct Shadow
{
	MemoryContext context;
	shadowtable_hash *table;
	Size		used;			/* by entries, rows and faults */
};

/* In a child of the current memory context. */
Shadow *
ShadowBegin(KeyType *type)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection rows",
												  ALLOCSET_DEFAULT_SIZES);
	Shadow	   *shadow = MemoryContextAllocZero(context, sizeof(Shadow));

	shadow->context = context;
	shadow->table = shadowtable_create(context, 64, type);
	return shadow;
}

/* Keys are compared by this from now on. */
void
ShadowUse(Shadow *shadow, KeyType *type)
{
	shadow->table->private_data = type;
}

static Size
entry_size(int length)
{
	return offsetof(ShadowEntry, key) + MAXALIGN(length);
}

static ShadowEntry *
look_up(Shadow *shadow, ShadowEntry *probe, const char *key, int length,
		uint32 hash)
{
	ShadowSlot *slot;

	probe->hash = hash;
	probe->length = length;
	memcpy(probe->key, key, length);
	slot = shadowtable_lookup_hash(shadow->table, probe, hash);
	return slot == NULL ? NULL : slot->entry;
}

/* The key's entry; NULL: it has none. */
ShadowEntry *
ShadowFind(Shadow *shadow, const char *key, int length, uint32 hash)
{
	char		buffer[offsetof(ShadowEntry, key) + PROBE_LENGTH] pg_attribute_aligned(MAXIMUM_ALIGNOF);
	ShadowEntry *probe;
	ShadowEntry *entry;

	if (length <= PROBE_LENGTH)
		return look_up(shadow, (ShadowEntry *) buffer, key, length, hash);
	probe = palloc(entry_size(length));
	entry = look_up(shadow, probe, key, length, hash);
	pfree(probe);
	return entry;
}

static ShadowEntry *
add_entry(Shadow *shadow, const char *key, int length, uint32 hash)
{
	ShadowEntry *entry = MemoryContextAlloc(shadow->context, entry_size(length));
	bool		found;

	memset(entry, 0, offsetof(ShadowEntry, key));
	entry->hash = hash;
	entry->length = length;
	memcpy(entry->key, key, length);
	shadowtable_insert_hash(shadow->table, entry, hash, &found);
	shadow->used += GetMemoryChunkSpace(entry);
	return entry;
}

/* The key's entry, which has no row if it is new. */
ShadowEntry *
ShadowMake(Shadow *shadow, const char *key, int length, uint32 hash)
{
	ShadowEntry *entry = ShadowFind(shadow, key, length, hash);

	return entry != NULL ? entry : add_entry(shadow, key, length, hash);
}

/*
 * An entry for a key that certainly has none, without looking for it.
 */
ShadowEntry *
ShadowAdd(Shadow *shadow, const char *key, int length, uint32 hash)
{
	return add_entry(shadow, key, length, hash);
}

/* So many keys are going to be added to an empty shadow. */
void
ShadowExpect(Shadow *shadow, int64 keys)
{
	KeyType    *type = shadow->table->private_data;

	Assert(shadow->table->members == 0);
	shadowtable_destroy(shadow->table);
	shadow->table = shadowtable_create(shadow->context,
									   Min(keys, PG_INT32_MAX), type);
}

static void
forget_row(Shadow *shadow, ShadowEntry *entry)
{
	void	   *old = entry->state == SHADOW_ROW ? (void *) entry->u.row :
		entry->state == SHADOW_FAULT ? entry->u.fault : NULL;

	if (old != NULL)
	{
		shadow->used -= GetMemoryChunkSpace(old);
		pfree(old);
	}
	entry->state = SHADOW_NO_ROW;
}

/* The key has this row now; NULL: none.  Its old one may be what is in the slot. */
void
ShadowSetRow(Shadow *shadow, ShadowEntry *entry, TupleTableSlot *row)
{
	MemoryContext old;
	MinimalTuple tuple;

	if (row == NULL)
	{
		forget_row(shadow, entry);
		return;
	}
	old = MemoryContextSwitchTo(shadow->context);
	tuple = ExecCopySlotMinimalTuple(row);
	MemoryContextSwitchTo(old);
	forget_row(shadow, entry);
	entry->u.row = tuple;
	entry->state = SHADOW_ROW;
	shadow->used += GetMemoryChunkSpace(tuple);
}

/* The key's row is not known, for this reason. */
void
ShadowSetFault(Shadow *shadow, ShadowEntry *entry, const char *fault)
{
	forget_row(shadow, entry);
	entry->u.fault = MemoryContextStrdup(shadow->context, fault);
	entry->state = SHADOW_FAULT;
	shadow->used += GetMemoryChunkSpace(entry->u.fault);
}

static void
free_entry(Shadow *shadow, ShadowEntry *entry)
{
	forget_row(shadow, entry);
	shadow->used -= GetMemoryChunkSpace(entry);
	pfree(entry);
}

/* Forget the key. */
void
ShadowDrop(Shadow *shadow, ShadowEntry *entry)
{
	shadowtable_delete(shadow->table, entry);
	free_entry(shadow, entry);
}

/*
 * Forget the keys with hashes above last.  The table is made anew, as it may be
 * much too large.
 */
void
ShadowKeepUpTo(Shadow *shadow, uint32 last)
{
	shadowtable_hash *before = shadow->table;
	MemoryContext old = MemoryContextSwitchTo(shadow->context);
	shadowtable_iterator iterator;
	ShadowSlot *slot;

	shadow->table = shadowtable_create(shadow->context, before->members / 2 + 64,
									   before->private_data);
	shadowtable_start_iterate(before, &iterator);
	while ((slot = shadowtable_iterate(before, &iterator)) != NULL)
	{
		bool		found;

		if (slot->hash > last)
			free_entry(shadow, slot->entry);
		else
			(void) shadowtable_insert_hash(shadow->table, slot->entry,
										   slot->hash, &found);
	}
	shadowtable_destroy(before);
	MemoryContextSwitchTo(old);
}

/* No key has a row, or a fault. */
void
ShadowForgetRows(Shadow *shadow)
{
	ShadowCursor cursor = {0};
	ShadowEntry *entry;

	while ((entry = ShadowNext(shadow, &cursor)) != NULL)
		forget_row(shadow, entry);
}

/*
 * The next entry, or NULL.  Those that were returned may be dropped; nothing may
 * be made meanwhile.
 */
ShadowEntry *
ShadowNext(Shadow *shadow, ShadowCursor *cursor)
{
	shadowtable_iterator iterator;
	ShadowSlot *slot;

	if (!cursor->begun)
		shadowtable_start_iterate(shadow->table, &iterator);
	else
	{
		iterator.cur = cursor->cur;
		iterator.end = cursor->end;
		iterator.done = cursor->done;
	}
	slot = shadowtable_iterate(shadow->table, &iterator);
	cursor->begun = true;
	cursor->cur = iterator.cur;
	cursor->end = iterator.end;
	cursor->done = iterator.done;
	return slot == NULL ? NULL : slot->entry;
}

int64
ShadowCount(const Shadow *shadow)
{
	return shadow->table->members;
}

/* In bytes. */
Size
ShadowMemory(const Shadow *shadow)
{
	return shadow->used + shadow->table->size * sizeof(ShadowSlot);
}

void
ShadowEnd(Shadow *shadow)
{
	MemoryContextDelete(shadow->context);
}
