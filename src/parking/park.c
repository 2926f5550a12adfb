/*
 * park.c
 *		Parked keys: those whose next event has failed.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "catalog_row.h"
#include "encoding.h"
#include "errors.h"
#include "keyhash.h"
#include "notice.h"
#include "numberset.h"
#include "parking/park.h"
#include "position/lanes.h"
#include "stream/find.h"

/* a longer key has a shorter name: a page of an index must hold three */
#define NAME_MAX_BYTES	1000

/* how long a key that waits for a lock is left alone, in milliseconds */
#define LOCK_DELAY_MIN 100
#define LOCK_DELAY_MAX 1000

/* a payload of NOTIFY is shorter than this */
#define PAYLOAD_MAX 8000

static int
pack_sql_state(const char *state)
{
	return strlen(state) != 5 ? ERRCODE_INTERNAL_ERROR :
		MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
}

/*
 * The name under which a key is found: its text, which people see.  Of a long
 * one, which an index could not hold, the beginning and what tells it from
 * others; that is longer than any key that is its own name.
 */
static const char *
name_of(const char *key)
{
	size_t		length = strlen(key);
	const unsigned char *bytes = (const unsigned char *) key;

	if (length <= NAME_MAX_BYTES)
		return key;
	return psprintf("%.*s... (%zu bytes, %016llx%016llx)",
					pg_mbcliplen(key, length, NAME_MAX_BYTES), key, length,
					(unsigned long long) hash_bytes_extended(bytes, length, 0),
					(unsigned long long) hash_bytes_extended(bytes, length, 1));
}

/* The key of a row. */
static char *
key_in(const Datum *values, const bool *nulls)
{
	return CatalogGetText(values, nulls, nulls[PARKED_CATALOG_WHOLE_KEY - 1] ?
						  PARKED_CATALOG_KEY : PARKED_CATALOG_WHOLE_KEY);
}

static Parked *
read_row(Relation catalog, HeapTuple tuple)
{
	Datum		values[PARKED_CATALOG_NATTS];
	bool		nulls[PARKED_CATALOG_NATTS];
	Parked	   *parked = palloc0(sizeof(Parked));
	KeyFailure *failure = &parked->failure;

	CatalogDeform(catalog, tuple, values, nulls);
	parked->place = tuple->t_self;
	parked->projection = CatalogGetText(values, nulls, PARKED_CATALOG_PROJECTION);
	parked->key = key_in(values, nulls);
	parked->by_number = DatumGetBool(values[PARKED_CATALOG_BY_NUMBER - 1]);
	parked->hash = nulls[PARKED_CATALOG_HASH - 1] ?
		KeyHash(parked->key, strlen(parked->key)) :
		(uint64) DatumGetInt64(values[PARKED_CATALOG_HASH - 1]);
	parked->id = DatumGetInt64(values[PARKED_CATALOG_ID - 1]);
	parked->partition = DatumGetInt32(values[PARKED_CATALOG_PARTITION - 1]);
	parked->attempts = DatumGetInt32(values[PARKED_CATALOG_ATTEMPTS - 1]);
	parked->waiting = DatumGetInt64(values[PARKED_CATALOG_WAITING - 1]);
	parked->first_failed_at = DatumGetTimestampTz(values[PARKED_CATALOG_FIRST_FAILED_AT - 1]);
	parked->last_failed_at = DatumGetTimestampTz(values[PARKED_CATALOG_LAST_FAILED_AT - 1]);
	if (!nulls[PARKED_CATALOG_NEXT_RETRY_AT - 1])
		parked->next_retry_at = DatumGetTimestampTz(values[PARKED_CATALOG_NEXT_RETRY_AT - 1]);
	failure->no = DatumGetInt64(values[PARKED_CATALOG_NO - 1]);
	failure->version = DatumGetInt64(values[PARKED_CATALOG_VERSION - 1]);
	failure->event_name = CatalogGetText(values, nulls, PARKED_CATALOG_EVENT_NAME);
	failure->sqlerrcode = pack_sql_state(TextDatumGetCString(values[PARKED_CATALOG_SQLSTATE - 1]));
	failure->message = CatalogGetText(values, nulls, PARKED_CATALOG_MESSAGE);
	failure->detail = CatalogGetText(values, nulls, PARKED_CATALOG_DETAIL);
	failure->hint = CatalogGetText(values, nulls, PARKED_CATALOG_HINT);
	failure->context = CatalogGetText(values, nulls, PARKED_CATALOG_CONTEXT);
	parked->retry_error = CatalogGetText(values, nulls, PARKED_CATALOG_RETRY_ERROR);
	if (!NumberSetFromDatum(values[PARKED_CATALOG_APPLIED - 1], PG_INT64_MAX - 1,
							&parked->applied))
		CatalogRaise(CatalogDamageOf(catalog, values, nulls,
									 "column \"applied\" has numbers below 1 or without end"));
	return parked;
}

static HeapTuple
form_row(Relation catalog, const Parked *parked)
{
	Datum		values[PARKED_CATALOG_NATTS];
	bool		nulls[PARKED_CATALOG_NATTS] = {0};
	const KeyFailure *failure = &parked->failure;

	CatalogPutText(values, nulls, PARKED_CATALOG_PROJECTION, parked->projection);
	CatalogPutText(values, nulls, PARKED_CATALOG_KEY, name_of(parked->key));
	CatalogPutText(values, nulls, PARKED_CATALOG_WHOLE_KEY,
				   strlen(parked->key) > NAME_MAX_BYTES ? parked->key : NULL);
	values[PARKED_CATALOG_BY_NUMBER - 1] = BoolGetDatum(parked->by_number);
	values[PARKED_CATALOG_HASH - 1] = Int64GetDatum((int64) parked->hash);
	values[PARKED_CATALOG_ID - 1] = Int64GetDatum(parked->id);
	values[PARKED_CATALOG_PARTITION - 1] = Int32GetDatum(parked->partition);
	values[PARKED_CATALOG_NO - 1] = Int64GetDatum(failure->no);
	values[PARKED_CATALOG_VERSION - 1] = Int64GetDatum(failure->version);
	CatalogPutText(values, nulls, PARKED_CATALOG_EVENT_NAME, failure->event_name);
	values[PARKED_CATALOG_ATTEMPTS - 1] = Int32GetDatum(parked->attempts);
	values[PARKED_CATALOG_WAITING - 1] = Int64GetDatum(parked->waiting);
	values[PARKED_CATALOG_FIRST_FAILED_AT - 1] = TimestampTzGetDatum(parked->first_failed_at);
	values[PARKED_CATALOG_LAST_FAILED_AT - 1] = TimestampTzGetDatum(parked->last_failed_at);
	values[PARKED_CATALOG_NEXT_RETRY_AT - 1] = TimestampTzGetDatum(parked->next_retry_at);
	nulls[PARKED_CATALOG_NEXT_RETRY_AT - 1] = parked->next_retry_at == 0;
	CatalogPutText(values, nulls, PARKED_CATALOG_SQLSTATE,
				   unpack_sql_state(failure->sqlerrcode));
	CatalogPutText(values, nulls, PARKED_CATALOG_MESSAGE, failure->message);
	CatalogPutText(values, nulls, PARKED_CATALOG_DETAIL, failure->detail);
	CatalogPutText(values, nulls, PARKED_CATALOG_HINT, failure->hint);
	CatalogPutText(values, nulls, PARKED_CATALOG_CONTEXT, failure->context);
	CatalogPutText(values, nulls, PARKED_CATALOG_RETRY_ERROR, parked->retry_error);
	values[PARKED_CATALOG_APPLIED - 1] = NumberSetToDatum(&parked->applied);
	return heap_form_tuple(RelationGetDescr(catalog), values, nulls);
}

static ParkedBrief *
make_brief(const Datum *values, const bool *nulls)
{
	ParkedBrief *brief = palloc0(sizeof(ParkedBrief));

	brief->key = key_in(values, nulls);
	brief->by_number = DatumGetBool(values[PARKED_CATALOG_BY_NUMBER - 1]);
	brief->id = DatumGetInt64(values[PARKED_CATALOG_ID - 1]);
	brief->no = DatumGetInt64(values[PARKED_CATALOG_NO - 1]);
	brief->partition = DatumGetInt32(values[PARKED_CATALOG_PARTITION - 1]);
	brief->locked = DatumGetInt32(values[PARKED_CATALOG_ATTEMPTS - 1]) == 0;
	if (!nulls[PARKED_CATALOG_NEXT_RETRY_AT - 1])
		brief->next_retry_at = DatumGetTimestampTz(values[PARKED_CATALOG_NEXT_RETRY_AT - 1]);
	return brief;
}

static ParkedBrief *
read_brief(Relation catalog, HeapTuple tuple)
{
	Datum		values[PARKED_CATALOG_NATTS];
	bool		nulls[PARKED_CATALOG_NATTS];

	CatalogDeform(catalog, tuple, values, nulls);
	return make_brief(values, nulls);
}

/* What chooses the partition of a parked key, or of an event without one. */
uint64
ParkedPartitionHash(KeyType *type, const ParkedBrief *parked)
{
	int			length;
	char	   *image;

	if (parked->by_number)
		return strtou64(parked->key, NULL, 10);
	image = KeyFromText(type, parked->key, &length);
	return KeyPartitionHash(type, image, length);
}

static void
raise_damage(const Projection *projection, const ParkedBrief *parked,
			 const char *problem)
{
	CatalogDamage damage = {.table = PARKED_CATALOG};

	damage.detail = psprintf("In the row of \"%s\", \"%s\", %s.",
							 projection->name, parked->key, problem);
	CatalogRaise(&damage);
}

/*
 * An error if the row says that the key, of this hash, is of another partition
 * than it is; or if it is no event's number and ought to be one.
 */
void
ParkedCheck(const Projection *projection, const ParkedBrief *parked,
			uint64 hash)
{
	int			partition = hash % projection->partitions;

	if (parked->by_number && projection->declared == NULL)
		raise_damage(projection, parked,
					 "column \"by_number\" is true, and each event of this projection has a key");
	if (parked->by_number && hash != (uint64) parked->no)
		raise_damage(projection, parked,
					 psprintf("column \"no\" is %lld, and column \"partition_key\" is not that number",
							  (long long) parked->no));
	if (parked->partition != partition)
		raise_damage(projection, parked,
					 psprintf("column \"partition\" is %d; the key is of partition %d",
							  parked->partition, partition));
}

/*
 * Are there at most so many parked keys?  Then they are listed: *keys, of
 * ParkedBrief, in order of the keys.
 */
bool
ParkedFew(const char *projection, int few, List **keys)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, projection);
	HeapTuple	tuple;

	*keys = NIL;
	while (list_length(*keys) <= few &&
		   HeapTupleIsValid(tuple = systable_getnext(scan)))
		*keys = lappend(*keys, read_brief(catalog, tuple));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return list_length(*keys) <= few;
}

/* The hashes of all parked keys. */
void
ParkedHashes(const char *projection,
			 void (*receive) (const char *projection, uint64 hash))
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, projection);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(catalog);
		bool		isnull;
		Datum		datum = heap_getattr(tuple, PARKED_CATALOG_HASH, desc, &isnull);
		text	   *key;

		if (!isnull)
		{
			receive(projection, (uint64) DatumGetInt64(datum));
			continue;
		}
		datum = heap_getattr(tuple, PARKED_CATALOG_KEY, desc, &isnull);
		if (isnull)
			continue;
		key = DatumGetTextPP(datum);
		receive(projection, KeyHash(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)));
		if ((Pointer) key != DatumGetPointer(datum))
			pfree(key);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/* The numbers of the events that are parked by themselves. */
NumberSet
ParkedNumbers(const char *projection)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	NumberSet	numbers = {0};
	int64		last = 0;
	ScanKeyData keys[2];
	Relation	index;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], PARKED_CATALOG_PROJECTION, BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(projection));
	ScanKeyInit(&keys[1], PARKED_CATALOG_BY_NUMBER, BTEqualStrategyNumber,
				F_BOOLEQ, BoolGetDatum(true));
	index = index_open(get_relname_relid("parked_by_number",
										 RelationGetNamespace(catalog)),
					   AccessShareLock);
	scan = systable_beginscan_ordered(catalog, index, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;
		int64		no = DatumGetInt64(heap_getattr(tuple, PARKED_CATALOG_NO,
													RelationGetDescr(catalog), &isnull));

		/* as nobody but a superuser can have written */
		if (!isnull && no > last)
			NumberSetAppend(&numbers, no, no);
		last = Max(last, no);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(catalog, AccessShareLock);
	return numbers;
}

/* Give the receiver each parked key that a snapshot shows. */
void
ParkedAsOf(const char *projection, Snapshot snapshot,
		   void (*receive) (void *arg, const Parked *parked), void *arg)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScanAsOf(catalog, projection, snapshot);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		receive(arg, read_row(catalog, tuple));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/*
 * Keys in order of partitions: two who replay them wait for each other, not
 * crosswise.  Events without a key in their order, as they may be of one key.
 */
static int
compare_parked(const ListCell *a, const ListCell *b)
{
	const ParkedBrief *x = lfirst(a);
	const ParkedBrief *y = lfirst(b);

	if (x->by_number)
		return x->no < y->no ? -1 : x->no > y->no;
	return x->partition - y->partition;
}

/*
 * All that is parked, in order: events without a key, or (by_number is false)
 * keys.  Who replays all has to take the events first, and to list the keys
 * after that: a key that such an event turns out to be of stands before it from
 * then on, under another id.
 */
List *
ParkedAll(const char *projection, bool by_number)
{
	List	   *all;
	ListCell   *cell;

	(void) ParkedFew(projection, INT_MAX, &all);
	foreach(cell, all)
	{
		if (((ParkedBrief *) lfirst(cell))->by_number != by_number)
			all = foreach_delete_current(all, cell);
	}
	list_sort(all, compare_parked);
	return all;
}

/* How many parked keys have failed, and do not only wait for a lock? */
int
ParkedCount(const char *projection)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, projection);
	int			count = 0;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		attempts = heap_getattr(tuple, PARKED_CATALOG_ATTEMPTS,
											RelationGetDescr(catalog), &isnull);

		if (isnull || DatumGetInt32(attempts) != 0)
			count++;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return count;
}

/* A scan of those that are tried again by themselves, the next one first. */
typedef struct RetryScan
{
	Relation	catalog;
	Relation	index;
	SysScanDesc scan;
} RetryScan;

static RetryScan
begin_retries(const char *projection)
{
	RetryScan	retries;
	ScanKeyData key;

	retries.catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	retries.index = index_open(get_relname_relid("parked_retry",
												 RelationGetNamespace(retries.catalog)),
							   AccessShareLock);
	ScanKeyInit(&key, PARKED_CATALOG_PROJECTION, BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(projection));
	retries.scan = systable_beginscan_ordered(retries.catalog, retries.index,
											  NULL, 1, &key);
	return retries;
}

/*
 * The next one, or NULL: those that are dead come last.  Damaged rows are left
 * to the batch, which raises an error that is the projection's alone.
 */
static ParkedBrief *
next_retry(RetryScan *retries)
{
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(retries->scan,
															 ForwardScanDirection)))
	{
		Datum		values[PARKED_CATALOG_NATTS];
		bool		nulls[PARKED_CATALOG_NATTS];
		ParkedBrief *brief;

		if (CatalogDeformDamaged(retries->catalog, tuple, values, nulls) != NULL)
			continue;
		brief = make_brief(values, nulls);
		return brief->next_retry_at == 0 ? NULL : brief;
	}
	return NULL;
}

static void
end_retries(RetryScan *retries)
{
	systable_endscan_ordered(retries->scan);
	index_close(retries->index, AccessShareLock);
	table_close(retries->catalog, AccessShareLock);
}

/* Is a parked key due that was to be tried again then? */
bool
ParkedIsDue(const Projection *projection, TimestampTz at)
{
	return RetryIsDue(at, GetCurrentTimestamp(),
					  Max(RetryLongest(&projection->retry), LOCK_DELAY_MAX));
}

/* When the next parked key is to be tried again; 0: none is. */
TimestampTz
ParkedNextRetry(const char *projection)
{
	RetryScan	retries = begin_retries(projection);
	ParkedBrief *first = next_retry(&retries);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = first == NULL ? 0 : first->next_retry_at;

	end_retries(&retries);
	/* where the clock was set back, the first of all is far away */
	if (next > now)
	{
		Projection *known = ProjectionFind(projection);

		if (known != NULL && known->damage == NULL && ParkedIsDue(known, next))
			next = now;
	}
	return next;
}

/*
 * Keys that are due, the longest overdue first: a list of ParkedBrief.
 * locked_too: those that wait for a lock are due at any time.
 */
List *
ParkedDue(const Projection *projection, bool locked_too, int max)
{
	TimestampTz soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   LOCK_DELAY_MAX);
	RetryScan	retries = begin_retries(projection->name);
	List	   *due = NIL;
	ParkedBrief *parked;

	while (list_length(due) < max && (parked = next_retry(&retries)) != NULL)
	{
		if (ParkedIsDue(projection, parked->next_retry_at) ||
			(locked_too && parked->locked))
			due = lappend(due, parked);
		else if (!locked_too || parked->next_retry_at > soon)
			break;
	}
	end_retries(&retries);
	return due;
}

/*
 * The keys that wait for a lock, and so are tried again soon; a list of
 * ParkedBrief.
 */
List *
ParkedLockedKeys(const char *projection, int max)
{
	RetryScan	retries = begin_retries(projection);
	TimestampTz soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   LOCK_DELAY_MAX);
	List	   *keys = NIL;
	ParkedBrief *parked;

	while (list_length(keys) < max && (parked = next_retry(&retries)) != NULL &&
		   parked->next_retry_at <= soon)
	{
		if (parked->locked)
			keys = lappend(keys, parked);
	}
	end_retries(&retries);
	return keys;
}

/* Does a key of the projection wait for a lock? */
bool
ParkedLocked(const char *projection)
{
	return ParkedLockedKeys(projection, 1) != NIL;
}

/* Is there a row that an index finds by these keys?  If asked for, read it. */
static bool
find_row(const char *index, ScanKey keys, int count, Parked **parked)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	scan = systable_beginscan(catalog,
							  get_relname_relid(index, RelationGetNamespace(catalog)),
							  true, NULL, count, keys);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (parked != NULL)
		*parked = found ? read_row(catalog, tuple) : NULL;
	systable_endscan(scan);
	/* the row may be written by its place: nobody must rewrite the table */
	table_close(catalog, NoLock);
	return found;
}

static bool
find_key(const char *projection, const char *key, bool by_number,
		 Parked **parked)
{
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], PARKED_CATALOG_PROJECTION, BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(projection));
	ScanKeyInit(&keys[1], PARKED_CATALOG_KEY, BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(name_of(key)));
	ScanKeyInit(&keys[2], PARKED_CATALOG_BY_NUMBER, BTEqualStrategyNumber,
				F_BOOLEQ, BoolGetDatum(by_number));
	return find_row("parked_pkey", keys, 3, parked);
}

/* This key, if it is parked; or NULL. */
Parked *
ParkedKey(const char *projection, const char *key, bool by_number)
{
	Parked	   *parked;

	(void) find_key(projection, key, by_number, &parked);
	return parked;
}

/* Is this row's key equal to the one of this image?  If so, its text. */
static char *
equal_text(Relation catalog, HeapTuple tuple, KeyType *type,
		   const char *image)
{
	Datum		values[PARKED_CATALOG_NATTS];
	bool		nulls[PARKED_CATALOG_NATTS];
	char	   *key;
	int			length;

	CatalogDeform(catalog, tuple, values, nulls);
	if (DatumGetBool(values[PARKED_CATALOG_BY_NUMBER - 1]))
		return NULL;
	key = key_in(values, nulls);
	return KeyImagesEqual(type, KeyFromText(type, key, &length), image) ?
		key : NULL;
}

/*
 * The text of the parked key that is equal to this one of a declared
 * projection; NULL: it is not parked.
 */
char *
ParkedEqual(const char *projection, KeyType *type, const char *image,
			int length)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *found = NULL;

	ScanKeyInit(&keys[0], PARKED_CATALOG_PROJECTION, BTEqualStrategyNumber,
				F_TEXTEQ, CStringGetTextDatum(projection));
	ScanKeyInit(&keys[1], PARKED_CATALOG_HASH, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) KeyPartitionHash(type, image, length)));
	scan = systable_beginscan(catalog,
							  get_relname_relid("parked_hash",
												RelationGetNamespace(catalog)),
							  true, NULL, 2, keys);
	while (found == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = equal_text(catalog, tuple, type, image);
	systable_endscan(scan);
	table_close(catalog, NoLock);
	return found;
}

/* Is this key parked? */
bool
ParkedIsThere(const char *projection, const char *key, int length)
{
	return find_key(projection, pnstrdup(key, length), false, NULL);
}

/* The parked key with this id, or NULL. */
Parked *
ParkedById(int64 id)
{
	ScanKeyData key;

	Parked	   *parked;

	ScanKeyInit(&key, PARKED_CATALOG_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(id));
	(void) find_row("parked_id_key", &key, 1, &parked);
	return parked;
}

/* What a NOTIFY of a dead letter carries. */
static char *
payload_of(const Parked *parked, bool with_key)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfo(&payload, "{\"id\": %lld, \"projection\": ",
					 (long long) parked->id);
	AppendJsonInAscii(&payload, parked->projection);
	appendStringInfoString(&payload, ", \"partition_key\": ");
	if (with_key)
		AppendJsonInAscii(&payload, parked->key);
	else
		appendStringInfoString(&payload, "null");
	appendStringInfo(&payload, ", \"no\": %lld}",
					 (long long) parked->failure.no);
	return payload.data;
}

/* It is a person's to act now: say so. */
static void
announce_dead(const Parked *parked)
{
	char	   *payload = payload_of(parked, true);

	ereport(LOG,
			(errcode(parked->failure.sqlerrcode),
			 errmsg("projection \"%s\" has a dead letter: event %lld of \"%s\" failed %d times: %s",
					parked->projection, (long long) parked->failure.no,
					parked->key, parked->attempts, parked->failure.message),
			 errhint("See: SELECT * FROM dead_letter_show(%lld);",
					 (long long) parked->id)));
	if (strlen(payload) >= PAYLOAD_MAX)
		payload = payload_of(parked, false);
	NoticeDeadLetter(payload);
}

/* When a key that has failed is tried again by itself. */
static TimestampTz
draw_next_retry(const Projection *projection, const Parked *parked,
				TimestampTz now)
{
	int64		delay = RetryDelay(&projection->retry, parked->attempts,
								   pg_prng_double(&pg_global_prng_state));

	return TimestampTzPlusMilliseconds(now, delay);
}

/*
 * When a key that waits for a lock is tried again: soon, and less often the
 * longer it has waited.
 */
static TimestampTz
next_look(const Parked *parked, TimestampTz now)
{
	long		waited = TimestampDifferenceMilliseconds(parked->first_failed_at, now);

	return TimestampTzPlusMilliseconds(now, Max(Min(waited / 4, LOCK_DELAY_MAX),
												LOCK_DELAY_MIN));
}

/* After a failure: when it is tried again. */
static void
schedule(const Projection *projection, Parked *parked)
{
	TimestampTz now = GetCurrentTimestamp();

	parked->last_failed_at = now;
	parked->next_retry_at = 0;
	parked->retry_error = NULL;
	if (parked->attempts == 0)
		parked->next_retry_at = next_look(parked, now);
	else if (parked->attempts < projection->retry.max_attempts)
		parked->next_retry_at = draw_next_retry(projection, parked, now);
	else
		announce_dead(parked);
}

static int64
next_id(Relation catalog)
{
	return nextval_internal(compat_getIdentitySequence(catalog, PARKED_CATALOG_ID, false),
							false);
}

/*
 * The attempts at an event that has failed for the first time: a lock, or a
 * value of another row, may be free the next time.
 */
static int
first_attempts(const KeyFailure *failure)
{
	return failure->locked || failure->taken ? 0 : 1;
}

/*
 * Park a key: this event of it has failed, and so many behind it were passed
 * over.  Returns when it is tried again, 0: not by itself.
 */
TimestampTz
ParkKey(const Projection *projection, const ParkedName *name,
		const KeyFailure *failure, int64 waiting, const NumberSet *applied)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, RowExclusiveLock);
	Parked		parked = {0};

	parked.id = next_id(catalog);
	parked.projection = projection->name;
	parked.key = name->key;
	parked.by_number = name->by_number;
	parked.hash = name->hash;
	parked.partition = name->hash % projection->partitions;
	parked.failure = *failure;
	parked.attempts = first_attempts(failure);
	parked.waiting = waiting;
	parked.applied = *applied;
	parked.first_failed_at = GetCurrentTimestamp();
	schedule(projection, &parked);
	CatalogTupleInsert(catalog, form_row(catalog, &parked));
	table_close(catalog, NoLock);
	CommandCounterIncrement();
	return parked.next_retry_at;
}

static void
update_row(const Parked *parked)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, RowExclusiveLock);
	ItemPointerData place = parked->place;

	CatalogRowUpdate(catalog, &place, form_row(catalog, parked));
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/*
 * A parked key was tried again and has failed again, at the same event or at
 * a later one, whose attempts begin anew.
 */
TimestampTz
ParkAgain(const Projection *projection, Parked *parked,
		  const KeyFailure *failure, int64 waiting)
{
	if (failure->no == parked->failure.no && failure->locked)
	{
		ParkPostpone(projection, parked, failure->sqlerrcode, failure->message);
		return parked->next_retry_at;
	}
	if (failure->no == parked->failure.no)
	{
		bool		waited = parked->attempts == 0;

		/* what has waited for a lock has not met a value that is taken yet */
		if (!waited || !failure->taken ||
			parked->failure.sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			parked->attempts++;
		if (waited)
			parked->first_failed_at = GetCurrentTimestamp();
	}
	else
	{
		Relation	catalog = CatalogOpen(PARKED_CATALOG, RowExclusiveLock);

		/* whoever has looked at the old event must not mean this one */
		parked->id = next_id(catalog);
		table_close(catalog, NoLock);
		parked->attempts = first_attempts(failure);
		parked->first_failed_at = GetCurrentTimestamp();
	}
	parked->failure = *failure;
	parked->waiting = waiting;
	schedule(projection, parked);
	update_row(parked);
	return parked->next_retry_at;
}

/*
 * A parked key is to be tried again later, if it is not dead; this was no
 * attempt, as the error is no event's fault.
 */
void
ParkPostpone(const Projection *projection, Parked *parked, int sqlerrcode,
			 const char *message)
{
	TimestampTz now = GetCurrentTimestamp();

	parked->retry_error = psprintf("%s: %s", unpack_sql_state(sqlerrcode),
								   message);
	if (parked->next_retry_at != 0)
		parked->next_retry_at = parked->attempts == 0 ||
			sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ?
			next_look(parked, now) : draw_next_retry(projection, parked, now);
	update_row(parked);
}

/* All events of the key are applied. */
void
ParkFree(const Parked *parked)
{
	Relation	catalog = CatalogOpen(PARKED_CATALOG, RowExclusiveLock);
	ItemPointerData place = parked->place;

	CatalogRowDelete(catalog, &place);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/* Forget all parked keys of a projection: it begins again. */
void
ParkDrop(const char *projection)
{
	CatalogDelete(PARKED_CATALOG, projection);
}

/*
 * The key stands at an event that nobody has tried yet: the error of the one on
 * which it stood before is not its own.
 */
static void
not_tried_yet(Parked *parked)
{
	KeyFailure *failure = &parked->failure;
	TimestampTz now = GetCurrentTimestamp();

	if (parked->attempts == 0)
		return;					/* waits for a lock, as before */
	failure->sqlerrcode = ERRCODE_BAD_EVENT;
	failure->message = "it was committed after events of the key with higher numbers, and was not tried yet";
	failure->detail = failure->hint = failure->context = NULL;
	parked->attempts = 1;
	parked->retry_error = NULL;
	parked->first_failed_at = parked->last_failed_at = parked->next_retry_at = now;
}

/*
 * More events of a parked key were passed over.  If one of them comes before
 * the failed one (its writer did not wait for the version before his), the key
 * stands before that, under an id of its own: nobody has looked at it yet.
 * Returns when the key is tried again, 0: not by itself.
 */
TimestampTz
ParkPassOver(const Stream *stream, Snapshot snapshot, const char *projection,
			 const char *key, int64 events, int64 first_no,
			 const Position *before)
{
	Parked	   *parked = ParkedKey(projection, key, false);
	FoundEvent	event;

	if (parked == NULL)
		elog(ERROR, "key \"%s\" of projection \"%s\" is not parked", key, projection);
	parked->waiting += events;
	if (first_no < parked->failure.no &&
		FindEvent(stream, snapshot, first_no, &event))
	{
		Relation	catalog = CatalogOpen(PARKED_CATALOG, RowExclusiveLock);
		NumberSet	alone = ParkedNumbers(projection);
		NumberSet	passed = {0};

		/*
		 * What lies between is applied, but for what was a gap, and for
		 * events that are parked by themselves: they may turn out to be the
		 * key's.
		 */
		if (first_no + 1 <= parked->failure.no - 1)
			NumberSetAppend(&passed, first_no + 1, parked->failure.no - 1);
		passed = NumberSetMinus(&passed, &before->gaps);
		passed = NumberSetMinus(&passed, &alone);
		parked->applied = NumberSetUnion(&parked->applied, &passed);
		parked->id = next_id(catalog);
		table_close(catalog, NoLock);
		parked->failure.no = first_no;
		parked->failure.version = event.version;
		parked->failure.event_name = event.name;
		not_tried_yet(parked);
	}
	update_row(parked);
	return parked->next_retry_at;
}
