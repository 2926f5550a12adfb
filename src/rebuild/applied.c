/*
 * applied.c
 *		Which events a projection has applied, as a snapshot shows it.
 *
 * An event is applied to a key if the position of the key's group says so, it
 * is neither skipped nor parked by itself, and it is not among those that wait
 * behind the failed event of a parked key, or were given up with it.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "keyhash.h"
#include "parking/skip.h"
#include "position/oldgaps.h"
#include "rebuild/applied.h"

static Applied *
make_applied(const Projection *projection)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection applied",
												  ALLOCSET_SMALL_SIZES);
	Applied    *applied = MemoryContextAllocZero(context, sizeof(Applied));

	applied->context = context;
	applied->groups = GroupsOf(projection->partitions);
	return applied;
}

/* Before the projection's first batch.  In a child of the current context. */
Applied *
AppliedAtStart(const Projection *projection)
{
	Applied    *applied = make_applied(projection);
	MemoryContext old = MemoryContextSwitchTo(applied->context);

	for (int i = 0; i < applied->groups && projection->declared != NULL; i++)
	{
		applied->position[i].head = projection->declared->start.head;
		applied->position[i].gaps =
			NumberSetCopy(&projection->declared->start.gaps);
	}
	if (projection->declared != NULL)
		applied->highest = projection->declared->start.head;
	MemoryContextSwitchTo(old);
	return applied;
}

/* Positions, with the gaps that stand in blocks. */
static void
read_positions(Applied *applied, const Projection *projection,
			   Snapshot snapshot)
{
	Positions	positions;

	CatalogRaise(PositionsFind(projection, snapshot, &positions));
	if (SetsGroups(&positions.sets) != AllGroups(applied->groups))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("positions of projection \"%s\" are missing",
						projection->name),
				 errdetail("%d of its %d partitions have one.",
						   PositionsCount(projection, &positions),
						   projection->partitions)));
	for (int i = 0; i < positions.sets.count; i++)
	{
		const PositionSet *set = &positions.sets.sets[i];
		Position	position = {.head = set->position.head};

		position.gaps = OldGapsRead(projection, snapshot, set);
		for (int group = 0; group < applied->groups; group++)
		{
			if ((set->groups & GroupBit(group)) != 0)
				applied->position[group] = position;
		}
		applied->highest = Max(applied->highest, position.head);
	}
}

/* The upper half of a key's hash, by which ranges of keys are made. */
uint32
AppliedHash(KeyType *type, const char *image, int length)
{
	Datum		key[INDEX_MAX_KEYS];

	if (type == NULL)
		return KeyHash(image, length) >> 32;
	KeyImageRead(type, image, key);
	return KeyHashesOf(type, key).place >> 32;
}

static AppliedKey *
find_key(const Applied *applied, const char *image, int length, uint32 hash)
{
	AppliedKey *key;

	if (applied->nbuckets == 0)
		return NULL;
	for (key = applied->buckets[hash & (applied->nbuckets - 1)];
		 key != NULL; key = key->next)
	{
		if (key->hash != hash)
			continue;
		if (key->length == length && memcmp(key->image, image, length) == 0)
			return key;
		if (applied->type != NULL &&
			KeyImagesEqual(applied->type, key->image, image))
			return key;
	}
	return NULL;
}

/* More buckets, when they have become fewer than keys. */
static void
grow(Applied *applied)
{
	int			nbuckets = Max(applied->nbuckets * 2, 64);
	AppliedKey **buckets = palloc0_array(AppliedKey *, nbuckets);

	for (int i = 0; i < applied->nbuckets; i++)
	{
		AppliedKey *key = applied->buckets[i];

		while (key != NULL)
		{
			AppliedKey *next = key->next;

			key->next = buckets[key->hash & (nbuckets - 1)];
			buckets[key->hash & (nbuckets - 1)] = key;
			key = next;
		}
	}
	applied->buckets = buckets;
	applied->nbuckets = nbuckets;
}

/* The key of this text, made if it is not there. */
static AppliedKey *
key_of_text(Applied *applied, const char *string)
{
	int			length;
	char	   *image = KeyFromText(applied->type, string, &length);
	uint32		hash = AppliedHash(applied->type, image, length);
	AppliedKey *key = find_key(applied, image, length, hash);

	if (key != NULL)
		return key;
	if (applied->nkeys >= applied->nbuckets)
		grow(applied);
	key = palloc0_object(AppliedKey);
	key->hash = hash;
	key->image = image;
	key->length = length;
	key->next = applied->buckets[hash & (applied->nbuckets - 1)];
	applied->buckets[hash & (applied->nbuckets - 1)] = key;
	applied->nkeys++;
	return key;
}

static void
add_skipped(NumberSet *set, int64 first, int64 last)
{
	NumberSet	numbers = {0};

	NumberSetAppend(&numbers, first, last);
	*set = NumberSetUnion(set, &numbers);
}

/* What the catalog says, collected under a snapshot. */
typedef struct Collected
{
	Applied    *applied;
	MemoryContext scratch;
	int64	   *numbers;		/* of single events, in any order */
	int			count;
	int			capacity;
} Collected;

static void
collect_number(Collected *collected, int64 no)
{
	if (collected->count == collected->capacity)
	{
		collected->capacity = Max(2 * collected->capacity, 64);
		collected->numbers = collected->numbers == NULL ?
			MemoryContextAlloc(collected->scratch,
							   collected->capacity * sizeof(int64)) :
			repalloc_huge(collected->numbers,
						  collected->capacity * sizeof(int64));
	}
	collected->numbers[collected->count++] = no;
}

static void
take_parked(void *arg, const Parked *parked)
{
	Collected  *collected = arg;
	Applied    *applied = collected->applied;
	MemoryContext old;
	AppliedKey *key;

	if (parked->by_number)
	{
		collect_number(collected, parked->failure.no);
		return;
	}
	old = MemoryContextSwitchTo(applied->context);
	key = key_of_text(applied, parked->key);
	key->failed = parked->failure.no;
	key->applied = NumberSetCopy(&parked->applied);
	MemoryContextSwitchTo(old);
}

static void
take_skipped(void *arg, const Skipped *skipped)
{
	Collected  *collected = arg;
	Applied    *applied = collected->applied;
	MemoryContext old;

	if (skipped->last_no == 0)
	{
		collect_number(collected, skipped->no);
		return;
	}
	old = MemoryContextSwitchTo(applied->context);
	add_skipped(&key_of_text(applied, skipped->key)->skipped, skipped->no,
				Max(skipped->no, skipped->last_no));
	MemoryContextSwitchTo(old);
}

static int
compare_numbers(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right ? 1 : 0;
}

/* What a snapshot shows.  In a child of the current context. */
Applied *
AppliedAsOf(const Projection *projection, KeyType *type, Snapshot snapshot)
{
	Applied    *applied = make_applied(projection);
	Collected	collected = {.applied = applied};
	MemoryContext old;
	int64		last = 0;

	collected.scratch = AllocSetContextCreate(CurrentMemoryContext,
											  "wallet_projection catalog rows",
											  ALLOCSET_DEFAULT_SIZES);
	applied->type = type;
	old = MemoryContextSwitchTo(applied->context);
	read_positions(applied, projection, snapshot);
	MemoryContextSwitchTo(collected.scratch);
	ParkedAsOf(projection->name, snapshot, take_parked, &collected);
	SkippedAsOf(projection->name, snapshot, take_skipped, &collected);
	if (collected.count > 0)
		qsort(collected.numbers, collected.count, sizeof(int64),
			  compare_numbers);
	MemoryContextSwitchTo(applied->context);
	for (int i = 0; i < collected.count; i++)
	{
		/* as nobody but a superuser can have written */
		if (collected.numbers[i] > last)
			NumberSetAppend(&applied->skipped, collected.numbers[i],
							collected.numbers[i]);
		last = Max(last, collected.numbers[i]);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(collected.scratch);
	return applied;
}

static bool
key_has(const AppliedKey *key, int64 no)
{
	if (key->failed != 0 && no >= key->failed &&
		!NumberSetContains(&key->applied, no))
		return false;
	return key->skipped.count == 0 || !NumberSetContains(&key->skipped, no);
}

/* Is an event that AppliedGroupHas() applied to this key, too? */
bool
AppliedKeyHas(const Applied *applied, const char *image, int length,
			  uint32 hash, int64 no)
{
	const AppliedKey *key = find_key(applied, image, length, hash);

	return key == NULL || key_has(key, no);
}

/* The lowest number that is in the first set, and not in the second. */
static int64
lowest_without(const NumberSet *set, const NumberSet *without)
{
	NumberSet	rest;

	if (set->count == 0)
		return PG_INT64_MAX;
	rest = NumberSetMinus(set, without);
	return rest.count == 0 ? PG_INT64_MAX : rest.ranges[0].first;
}

/* The lowest number of the key that may be applied now, and was not before. */
static int64
lowest_of_key(const AppliedKey *before, const AppliedKey *after)
{
	static const NumberSet none = {0};
	int64		lowest = lowest_without(&before->skipped,
										after != NULL ? &after->skipped : &none);

	if (before->failed != 0 &&
		(after == NULL || after->failed != before->failed))
		lowest = Min(lowest, before->failed);
	return lowest;
}

/*
 * The lowest number that may be applied after, and was not before, because a
 * key was parked, or an event skipped; PG_INT64_MAX: there is none.
 */
int64
AppliedLowestNew(const Applied *before, const Applied *after)
{
	int64		lowest = lowest_without(&before->skipped, &after->skipped);

	for (int i = 0; i < before->nbuckets; i++)
	{
		for (const AppliedKey *key = before->buckets[i]; key != NULL;
			 key = key->next)
			lowest = Min(lowest, lowest_of_key(key, find_key(after, key->image,
															 key->length,
															 key->hash)));
	}
	return lowest;
}
