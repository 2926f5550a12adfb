/*
 * fold.c
 *		The states of a batch's keys, in memory.
 *
 * A hash table of pointers to entries that are carved from large chunks: with
 * hundreds of thousands of keys both the memory and the time of a palloc per
 * key would count.  Everything is in the memory context of FoldBegin() and
 * goes with it.
 *
 * With many keys nearly every event would wait for main memory, for its place
 * in the table and then for its entry.  So events are collected, a few at a
 * time, and their places and entries are fetched into the cache together
 * before the first of them is folded.
 *
 * A handler says which event is bad.  But reading an event may raise an error
 * by itself, where its payload's storage is damaged.  FoldInterrupted() tells
 * that an error came from there; a fold that is guarded takes events
 * in subtransactions, so that such an event is refused like any other.
 */
#include "postgres.h"

#include "compat.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "errors.h"
#include "fault.h"
#include "handler/fold.h"
#include "savepoint.h"

/* the first chunk of entries, and the largest: each is twice the one before */
#define CHUNK_MIN (4 * 1024)
#define CHUNK_MAX (128 * 1024)

/* places of the table to begin with: most batches have few keys */
#define SLOTS_MIN 64

/* entries begin where a line of the processor's cache begins */
#define CACHE_LINE 64

/* a table of this many places, with its entries, is in the cache anyway */
#define CACHED_SLOTS 2048

/* events that are folded together */
#define WAITING_EVENTS 32

/* copies of theirs take up to this much; a longer event goes by itself */
#define WAITING_BYTES (32 * 1024)

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

/* type: of a declared projection; keys with other bytes may be equal */
static inline bool
same_key(KeyType *type, const FoldKey *a, const FoldKey *b)
{
	if (a->hash != b->hash)
		return false;
	if (a->length == b->length && memcmp(a->data, b->data, a->length) == 0)
		return true;
	return unlikely(type != NULL) && KeyImagesEqual(type, a->data, b->data);
}

#define SH_PREFIX foldtable
#define SH_ELEMENT_TYPE FoldSlot
#define SH_KEY_TYPE FoldKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) ((key).hash)
#define SH_EQUAL(tb, a, b) same_key((tb)->private_data, &(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"	/* the template's own */
#include "lib/simplehash.h"
#pragma GCC diagnostic pop

/*
 * States may hold integers of 16 bytes.  And with a key of 36 bytes, as a UUID
 * has, an entry of wallet_balance just fits two lines of the cache: a field
 * more costs a quarter of the speed of a backfill.
 */
StaticAssertDecl(offsetof(FoldEntry, state) == 32, "the state begins elsewhere");

/* Large pieces of memory, of which the next bytes are given. */
typedef struct FoldChunks
{
	int			flags;			/* of the allocation */
	char	   *next;
	Size		left;
	Size		size;			/* of the next one */
} FoldChunks;

/* An item whose key has not been looked up yet; *item is where it stays. */
typedef struct WaitingItem
{
	FoldItem   *item;
	const char *image;			/* of its key */
	int32		length;
} WaitingItem;

struct Fold
{
	const Sink *sink;
	const RowHandler *handler;	/* the sink's */
	Size		state_size;
	FoldRefused refused;
	void	   *refused_arg;
	List	   *banned;			/* of FoldEntry */
	MemoryContext context;
	foldtable_hash *table;
	FoldChunks	entries;		/* zeroed, in whole lines of the cache */
	FoldChunks	items;
	Size		chunk_total;	/* of all chunks so far */
	FoldGuard	guard;
	FoldIsParked is_parked;		/* asked of each new key; or NULL */
	int64		events;			/* folded, those ignored not counted */
	int64		counted_no;		/* the last event with an item that counts */
	MemoryContext event_context;	/* reset after the events were folded */
	int			waiting;
	Event		wait_events[WAITING_EVENTS];	/* of a native projection */
	WaitingItem wait_items[WAITING_EVENTS]; /* of a declared one */
	uint64		wait_hashes[WAITING_EVENTS];
	Size		wait_used;		/* of the copies */
	char	   *wait_bytes;		/* made when the first has to wait */
};

/* An event is being read; stays when that raises an error. */
static bool reading = false;

static inline int
compare_keys(const FoldedKey *a, const FoldedKey *b)
{
	int			result;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	result = memcmp(FoldEntryKey(a->entry), FoldEntryKey(b->entry),
					Min(a->entry->key_length, b->entry->key_length));
	return result != 0 ? result : a->entry->key_length - b->entry->key_length;
}

#define ST_SORT sort_keys
#define ST_ELEMENT_TYPE FoldedKey
#define ST_COMPARE(a, b) compare_keys(a, b)
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* Begin a fold in the current memory context. */
Fold *
FoldBegin(const Sink *sink, FoldRefused refused, void *arg)
{
	Fold	   *fold = palloc0(sizeof(Fold));

	reading = false;
	fold->sink = sink;
	fold->handler = sink->handler;
	fold->state_size = MAXALIGN(sink->handler != NULL ?
								sink->handler->state_size : sizeof(FoldItems));
	fold->refused = refused;
	fold->refused_arg = arg;
	fold->context = CurrentMemoryContext;
	fold->table = foldtable_create(CurrentMemoryContext, SLOTS_MIN, sink->key);
	fold->event_context = AllocSetContextCreate(CurrentMemoryContext,
												"wallet_projection event",
												ALLOCSET_SMALL_SIZES);
	fold->entries.size = fold->items.size = CHUNK_MIN;
	fold->entries.flags = MCXT_ALLOC_ZERO;
	return fold;
}

static void
add_chunk(Fold *fold, FoldChunks *chunks, Size size)
{
	Size		chunk_size = Max(chunks->size, size + CACHE_LINE);
	char	   *chunk = MemoryContextAllocExtended(fold->context, chunk_size,
												   MCXT_ALLOC_HUGE | chunks->flags);

	chunks->next = (char *) TYPEALIGN(CACHE_LINE, chunk);
	chunks->left = chunk_size - (chunks->next - chunk);
	chunks->size = Min(chunks->size * 2, CHUNK_MAX);
	fold->chunk_total += chunk_size;
}

/* Memory that lives as long as the fold. */
static inline char *
carve(Fold *fold, FoldChunks *chunks, Size size)
{
	char	   *result;

	if (size > chunks->left)
		add_chunk(fold, chunks, size);
	result = chunks->next;
	chunks->next += size;
	chunks->left -= size;
	return result;
}

/* A zeroed entry that lives as long as the fold. */
static FoldEntry *
make_entry(Fold *fold, int32 key_length)
{
	Size		size = offsetof(FoldEntry, state) + fold->state_size + key_length;
	FoldEntry  *entry = (FoldEntry *) carve(fold, &fold->entries,
											TYPEALIGN(CACHE_LINE, size));

	entry->key_length = key_length;
	entry->key_offset = fold->state_size;
	return entry;
}

static void
ban(Fold *fold, FoldEntry *entry, FoldBanned why)
{
	MemoryContext old = MemoryContextSwitchTo(fold->context);

	entry->banned = why;
	fold->banned = lappend(fold->banned, entry);
	MemoryContextSwitchTo(old);
}

/* The entry of a key, made where there is none. */
static FoldEntry *
find_entry(Fold *fold, const char *data, int32 length, uint32 hash)
{
	FoldKey		key = {data, length, hash};
	FoldSlot   *slot;
	FoldEntry  *entry;
	bool		found;

	slot = foldtable_insert(fold->table, key, &found);
	if (found)
		return slot->entry;
	entry = slot->entry = make_entry(fold, key.length);
	slot->key.data = FoldEntryKey(entry);
	memcpy(unconstify(char *, slot->key.data), data, key.length);
	/* who is asked may ban keys, and the table grow */
	if (unlikely(fold->is_parked != NULL) &&
		fold->is_parked(fold->refused_arg, data, length))
		ban(fold, entry, FOLD_PARKED);
	return entry;
}

/* Leave out all events of this key, and count them. */
void
FoldBan(Fold *fold, const char *key, int length, uint64 hash)
{
	FoldEntry  *entry = find_entry(fold, key, length, hash >> 32);

	if (entry->banned == FOLD_NOT_BANNED)
		ban(fold, entry, FOLD_PARKED);
}

/*
 * Ask of each key, when it is seen first, whether it is parked: for where there
 * are too many to ban each beforehand.  The callback gets the argument that
 * FoldBegin() was given.
 */
void
FoldBanThose(Fold *fold, FoldIsParked is_parked)
{
	fold->is_parked = is_parked;
}

/* The keys that are banned: a list of FoldEntry. */
List *
FoldBannedKeys(const Fold *fold)
{
	return fold->banned;
}

/* Have these events taken in subtransactions from now on. */
void
FoldGuardWith(Fold *fold, FoldGuard guard)
{
	fold->guard = guard;
}

static inline bool
is_guarded(const Fold *fold, const Event *event)
{
	const char *payload = DatumGetPointer(event->payload);

	if (likely(fold->guard == FOLD_GUARD_NONE))
		return false;
	return fold->guard == FOLD_GUARD_ALL || VARATT_IS_EXTERNAL(payload) ||
		VARATT_IS_COMPRESSED(payload);
}

/* Was the last error raised while an event was being read? */
bool
FoldInterrupted(void)
{
	return reading;
}

/* An event is being read, or was: what FoldInterrupted() says. */
void
FoldReads(bool begins)
{
	reading = begins;
}

/* One event on its way into the handler. */
typedef struct Reading
{
	Fold	   *fold;
	FoldEntry  *entry;
	const Event *event;
	EventEffect effect;
	const char *reason;
} Reading;

/* SavepointStep */
static void
read_event(void *arg)
{
	Reading    *at = arg;

	at->effect = at->fold->handler->fold(at->entry->state, at->entry->creates,
										 at->event, &at->reason);
}

/* The same in a subtransaction; false if that has raised an error: *fault. */
static bool
read_guarded(Reading *at, FoldFault *fault)
{
	ErrorData  *error = InSavepointOfBatch(read_event, at);

	if (error == NULL)
		return true;
	if (!ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
	fault->sqlerrcode = error->sqlerrcode;
	fault->reason = error->message;
	fault->detail = error->detail;
	fault->hint = error->hint;
	return false;
}

/* Fold one event into its key's state; false if it cannot be: *fault. */
static bool
fold_into(Fold *fold, FoldEntry *entry, const Event *event, FoldFault *fault)
{
	EventEffect effect;
	const char *reason = NULL;

	if (unlikely(is_guarded(fold, event)))
	{
		Reading		at = {.fold = fold,.entry = entry,.event = event};

		if (!read_guarded(&at, fault))
			return false;
		effect = at.effect;
		reason = at.reason;
	}
	else
	{
		reading = true;
		effect = fold->handler->fold(entry->state, entry->creates, event,
									 &reason);
		reading = false;
	}
	if (effect == EVENT_IGNORED)
		return true;
	if (unlikely(effect == EVENT_BAD))
	{
		memset(fault, 0, sizeof(FoldFault));
		fault->sqlerrcode = ERRCODE_BAD_EVENT;
		fault->reason = reason;
		return false;
	}
	if (effect == EVENT_CREATES && entry->first_no == 0)
		entry->creates = true;
	else if (effect == EVENT_CREATES && entry->second_creation == 0)
		entry->second_creation = event->no;
	if (entry->first_no == 0)
		entry->first_no = event->no;
	fold->events++;
	return true;
}

/* Count an event of a banned key. */
static void
leave_out(FoldEntry *entry, int64 no)
{
	if (entry->first_no == 0 &&
		(entry->left_out == 0 || no < entry->second_creation))
		entry->second_creation = no;
	entry->left_out++;
}

/*
 * Fold one event.  A key of which only ignored events were seen has an entry
 * with first_no 0.
 */
static void
fold_event(Fold *fold, const Event *event, uint32 hash)
{
	FoldEntry  *entry = find_entry(fold, event->key, event->key_length, hash);
	FoldFault	fault;

	if (unlikely(entry->banned))
	{
		leave_out(entry, event->no);
		return;
	}
	if (unlikely(!fold_into(fold, entry, event, &fault)))
	{
		fold->refused(fold->refused_arg, entry, event, &fault);
		ban(fold, entry, FOLD_REFUSED);
	}
}

/* Ask for the table's place of a hash ... */
static inline void
fetch_place(Fold *fold, uint32 hash)
{
	FoldSlot   *slot = &fold->table->data[hash & fold->table->sizemask];

	__builtin_prefetch(slot);
	__builtin_prefetch((char *) slot + CACHE_LINE);
}

/* ... and for the entry that is there, or in one of the next places. */
static inline void
fetch_entry(Fold *fold, uint32 hash)
{
	uint64		place = hash & fold->table->sizemask;
	FoldSlot   *slot = &fold->table->data[place];

	while (slot->status == foldtable_SH_IN_USE && slot->key.hash != hash)
	{
		place = (place + 1) & fold->table->sizemask;
		slot = &fold->table->data[place];
	}
	if (slot->status == foldtable_SH_IN_USE)
	{
		__builtin_prefetch(slot->entry);
		__builtin_prefetch((char *) slot->entry + CACHE_LINE);
	}
}

/* Copy bytes of an event that waits. */
static const char *
keep(Fold *fold, const char *bytes, Size length)
{
	char	   *copy = fold->wait_bytes + fold->wait_used;

	memcpy(copy, bytes, length);
	fold->wait_used += length;
	return copy;
}

static void add_waiting_items(Fold *fold);

/* Fold the events that wait. */
void
FoldFlush(Fold *fold)
{
	MemoryContext old;

	if (fold->waiting == 0)
		return;
	old = MemoryContextSwitchTo(fold->event_context);
	for (int i = 0; i < fold->waiting; i++)
		fetch_entry(fold, fold->wait_hashes[i]);
	if (fold->handler == NULL)
		add_waiting_items(fold);
	else
		for (int i = 0; i < fold->waiting; i++)
			fold_event(fold, &fold->wait_events[i], fold->wait_hashes[i]);
	fold->waiting = 0;
	fold->wait_used = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(fold->event_context);
}

/* Fold one event at once: nothing waits, and its entry is in the cache. */
static void
fold_now(Fold *fold, const Event *event, uint32 hash)
{
	MemoryContext old = MemoryContextSwitchTo(fold->event_context);

	Assert(fold->waiting == 0);
	fold_event(fold, event, hash);
	MemoryContextSwitchTo(old);
	MemoryContextReset(fold->event_context);
}

/*
 * Take in an event, which need not stay where it is; it is folded now or
 * later.
 */
void
FoldAdd(Fold *fold, const Event *event, uint64 hash)
{
	const char *payload = DatumGetPointer(event->payload);
	Size		payload_size = VARSIZE_ANY(payload);
	Size		size = MAXALIGN(payload_size) + event->key_length +
		event->name_length + MAXIMUM_ALIGNOF;
	Event	   *copy;

	if (fold->table->size <= CACHED_SLOTS)
	{
		fold_now(fold, event, hash >> 32);
		return;
	}
	if (unlikely(fold->wait_bytes == NULL))
		fold->wait_bytes = MemoryContextAlloc(fold->context, WAITING_BYTES);
	if (fold->waiting == WAITING_EVENTS ||
		fold->wait_used + size > WAITING_BYTES)
		FoldFlush(fold);
	copy = &fold->wait_events[fold->waiting];
	*copy = *event;
	/* the partition was chosen by the low bits: take the high ones */
	fold->wait_hashes[fold->waiting++] = hash >> 32;
	if (size > WAITING_BYTES)
	{
		FoldFlush(fold);
		return;
	}
	fetch_place(fold, hash >> 32);
	/* a payload with a long header has to be aligned */
	fold->wait_used = MAXALIGN(fold->wait_used);
	copy->payload = PointerGetDatum(keep(fold, payload, payload_size));
	copy->key = keep(fold, event->key, event->key_length);
	copy->name = keep(fold, event->name, event->name_length);
}

/* Keep an item as the last of its key's. */
static inline void
link_item(FoldEntry *entry, FoldItem *item)
{
	FoldItems  *items = (FoldItems *) entry->state;

	item->next = NULL;
	if (items->first == NULL)
		items->first = item;
	else
		items->last->next = item;
	items->last = item;
}

/* The same for a key that is banned: an event counts once. */
static void
leave_item_out(FoldEntry *entry, FoldItem *item)
{
	FoldItems  *items = (FoldItems *) entry->state;

	if (entry->left_out > 0 && items->last != NULL &&
		items->last->no == item->no)
		return;
	leave_out(entry, item->no);
	/* which event was counted last; the item is never applied */
	items->last = item;
}

static void
add_item(Fold *fold, const WaitingItem *waiting, uint32 hash)
{
	FoldItem   *item = waiting->item;
	FoldEntry  *entry = find_entry(fold, waiting->image, waiting->length, hash);

	if (unlikely(entry->banned))
	{
		leave_item_out(entry, item);
		return;
	}
	link_item(entry, item);
	if (entry->first_no == 0)
		entry->first_no = item->no;
	if (item->no != fold->counted_no)
		fold->events++;
	fold->counted_no = item->no;
}

/* Ask for the item that was the last of its key, which the new one follows. */
static inline void
fetch_last_item(Fold *fold, uint32 hash)
{
	FoldSlot   *slot = &fold->table->data[hash & fold->table->sizemask];

	/* a key that is not in its first place does without */
	if (slot->status == foldtable_SH_IN_USE && slot->key.hash == hash)
	{
		const FoldItems *items = FoldEntryItems(slot->entry);

		if (items->last != NULL)
			__builtin_prefetch(items->last, 1);
	}
}

/* The items that wait go to their keys, whose entries have been asked for. */
static void
add_waiting_items(Fold *fold)
{
	for (int i = 0; i < fold->waiting; i++)
		fetch_last_item(fold, fold->wait_hashes[i]);
	for (int i = 0; i < fold->waiting; i++)
		add_item(fold, &fold->wait_items[i], fold->wait_hashes[i]);
}

/* Make the item that is kept. */
static FoldItem *
make_item(Fold *fold, int64 no, const MergeItem *item)
{
	MergeRun   *run = fold->sink->run;
	Size		size = offsetof(FoldItem, bytes) + MergeItemSize(run, item);
	FoldItem   *kept = (FoldItem *) carve(fold, &fold->items, MAXALIGN(size));

	kept->no = no;
	MergeItemStore(run, item, kept->bytes);
	return kept;
}

/* Add an item at once: nothing waits, and its entry is in the cache. */
static void
add_item_now(Fold *fold, FoldItem *kept, const Datum *key, Size length,
			 uint32 hash)
{
	KeyType    *type = fold->sink->key;
	char		buffer[256];
	char	   *image = length <= sizeof(buffer) ? buffer : palloc(length);
	WaitingItem waiting = {.item = kept,.image = image,.length = length};

	KeyImageStore(type, key, image);
	add_item(fold, &waiting, hash);
	if (image != buffer)
		pfree(image);
}

/*
 * Take in an item of an event, whose key has this hash in tables.  It is
 * copied, and goes to its key now or later.
 */
void
FoldAddItem(Fold *fold, const Event *event, const MergeItem *item,
			uint64 place)
{
	KeyType    *type = fold->sink->key;
	Size		length = KeyImageSize(type, item->key);
	FoldItem   *kept = make_item(fold, event->no, item);
	WaitingItem *waiting;

	if (fold->table->size <= CACHED_SLOTS || length > WAITING_BYTES)
	{
		FoldFlush(fold);
		add_item_now(fold, kept, item->key, length, place >> 32);
		return;
	}
	if (unlikely(fold->wait_bytes == NULL))
		fold->wait_bytes = MemoryContextAlloc(fold->context, WAITING_BYTES);
	if (fold->waiting == WAITING_EVENTS ||
		fold->wait_used + length > WAITING_BYTES)
		FoldFlush(fold);
	fetch_place(fold, place >> 32);
	fold->wait_hashes[fold->waiting] = place >> 32;
	waiting = &fold->wait_items[fold->waiting++];
	waiting->item = kept;
	waiting->length = length;
	waiting->image = fold->wait_bytes + fold->wait_used;
	KeyImageStore(type, item->key, fold->wait_bytes + fold->wait_used);
	fold->wait_used += length;
}

/*
 * An event whose key cannot be computed: an entry of its own, to be parked
 * under the event's number.
 */
FoldEntry *
FoldAddNoKey(Fold *fold, int64 no)
{
	FoldEntry  *entry = make_entry(fold, sizeof(no));

	memcpy(unconstify(char *, FoldEntryKey(entry)), &no, sizeof(no));
	ban(fold, entry, FOLD_NO_KEY);
	return entry;
}

/* Is each event to be taken in a subtransaction? */
bool
FoldIsGuarded(const Fold *fold)
{
	return fold->guard != FOLD_GUARD_NONE;
}

/* How many events have been folded; those that wait are not among them. */
int64
FoldEvents(const Fold *fold)
{
	return fold->events;
}

/* How many events wait to be folded. */
int
FoldWaiting(const Fold *fold)
{
	return fold->waiting;
}

/* How much memory the fold uses, in bytes. */
Size
FoldMemory(const Fold *fold)
{
	/* the list of keys comes on top in the end */
	return fold->chunk_total + fold->table->size * sizeof(FoldSlot) +
		fold->table->members * sizeof(FoldedKey);
}

/* About where a key comes in the order of its index. */
static uint64
rank_of(const Fold *fold, const FoldEntry *entry)
{
	uint64		prefix = 0;

	if (fold->sink->key != NULL)
		return KeyRank(fold->sink->key, FoldEntryKey(entry));
	memcpy(&prefix, FoldEntryKey(entry),
		   Min(entry->key_length, (int) sizeof(prefix)));
	return pg_ntoh64(prefix);
}

/*
 * All keys that have something to apply, in no order.  Ranks are such that
 * FoldSort() puts the keys in the order of their bytes.
 */
FoldedKey *
FoldKeys(Fold *fold, int64 *count)
{
	Size		size = Max(fold->table->members, 1) * sizeof(FoldedKey);
	FoldedKey  *keys = MemoryContextAllocHuge(fold->context, size);
	foldtable_iterator iterator;
	FoldSlot   *slot;
	int64		n = 0;

	foldtable_start_iterate(fold->table, &iterator);
	while ((slot = foldtable_iterate(fold->table, &iterator)) != NULL)
	{
		if (slot->entry->first_no == 0)
			continue;
		keys[n].rank = rank_of(fold, slot->entry);
		keys[n].entry = slot->entry;
		keys[n].hash = slot->key.hash;
		n++;
	}
	*count = n;
	return keys;
}

/* Sort keys by rank; those of the same rank by their bytes. */
void
FoldSort(FoldedKey *keys, int64 count)
{
	sort_keys(keys, count);
}
