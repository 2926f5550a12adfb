/*
 * selfcheck.c
 *		A few keys at a time: is the read model right?
 *
 * Keys are chosen at random, in turn from the table's rows, which finds rows that
 * were changed or ought not to be there, and from the stream's events, which
 * finds rows that are missing.  Each is folded anew from its events and
 * compared, all under one snapshot.  Nothing is claimed.
 *
 * The events of a key are found by an index: without one nothing is compared, as
 * a look through the whole stream is not a small step.  Nor is anything
 * compared where many keys are parked, or where rows hold more than the events
 * say, as those of a projection that has begun in the middle of the stream.
 */
#include "postgres.h"

#include "compat.h"
#include "access/heapam.h"
#include "catalog/pg_am.h"
#include "common/pg_prng.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "fault.h"
#include "parking/park.h"
#include "rebuild/keyrow.h"
#include "rebuild/refold_state.h"
#include "rebuild/selfcheck.h"
#include "savepoint.h"
#include "stream/reader.h"

/* so many parked keys are read for it, and no more */
#define PARKED_FEW 1000

/* numbers that are looked through for an event */
#define NUMBERS_FEW 100

typedef struct Check
{
	OpenProjection work;
	Refold	   *refold;
	Snapshot	snapshot;
	bool		(*stop) (void);
	bool		stopped;
	MemoryContext memory;		/* of one key */
	/* the key at hand: */
	char	   *image;			/* NULL: none was found */
	int			length;
	uint32		hash;
	int			group;
	TupleTableSlot *expected;
} Check;

/* The key at hand is this one. */
static void
take_image(Check *check, const char *image, int length)
{
	KeyType    *type = check->refold->sink.key;
	uint64		hash = KeyPartitionHash(type, image, length);

	check->image = memcpy(palloc(Max(length, 1)), image, length);
	check->length = length;
	check->hash = RefoldHash(check->refold, image, length);
	check->group = GroupOf((int) (hash % check->work.projection->partitions),
						   GroupsOf(check->work.projection->partitions));
}

static void
take_datums(Check *check, const Datum *key)
{
	KeyType    *type = check->refold->sink.key;
	Size		size = KeyImageSize(type, key);
	char	   *image = palloc0(size);

	KeyImageStore(type, key, image);
	take_image(check, image, (int) size);
}

/* The key of a row of the table. */
static void
take_row(Check *check, TupleTableSlot *row)
{
	const char *image;
	int			length;
	uint32		hash;

	if (RefoldKeyOfRow(check->refold, row, &image, &length, &hash))
		take_image(check, image, length);
}

/* Choose one of the rows of a block of the table. */
static void
choose_row(Check *check)
{
	Relation	table = check->work.read_model;
	BlockNumber blocks = RelationGetNumberOfBlocks(table);
	TableScanDesc scan;
	TupleTableSlot *row;
	int			seen = 0;

	if (blocks == 0 || table->rd_rel->relam != HEAP_TABLE_AM_OID)
		return;
	row = table_slot_create(table, NULL);
	scan = table_beginscan_strat(table, check->snapshot, 0, NULL, true, false);
	heap_setscanlimits(scan, pg_prng_uint64_range(&pg_global_prng_state, 0, blocks - 1),
					   1);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		/* each with the same chance */
		if (pg_prng_uint64_range(&pg_global_prng_state, 0, seen++) == 0)
			take_row(check, row);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
}

/* MergeItemReceiver */
static void
take_item(void *arg, const MergeItem *item)
{
	Check	   *check = arg;

	if (item->has_key && check->image == NULL)
		take_datums(check, item->key);
}

/* EventReceiver: until an event has a key */
static bool
take_event(void *state, const Event *event)
{
	Check	   *check = state;
	const Projection *projection = check->work.projection;
	ErrorData  *error;

	if (check->refold->sink.key == NULL)
	{
		if (EventIsOfType(event, projection->aggregate_type,
						  strlen(projection->aggregate_type)))
			take_image(check, event->key, event->key_length);
		return check->image == NULL;
	}
	error = MergeRunItemsApart(check->refold->sink.run, event->slot, take_item,
							   check);
	if (error != NULL && !ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
	return check->image == NULL;
}

/* Choose the key of an event. */
static void
choose_event(Check *check)
{
	int64		highest = check->refold->now->highest;
	int64		no;

	if (highest < 1)
		return;
	no = (int64) pg_prng_uint64_range(&pg_global_prng_state, 1, highest);
	(void) ReadEvents(check->work.stream, check->snapshot, no,
					  Min(highest, no + NUMBERS_FEW), take_event, check);
}

/* KeyRowChooser */
static KeyRowChoice
choose(void *arg, const Event *event)
{
	Check	   *check = arg;
	const Applied *now = check->refold->now;

	check->stopped = check->stopped || check->stop();
	if (check->stopped)
		return KEYROW_END;
	return AppliedGroupHas(now, check->group, event->no) &&
		AppliedKeyHas(now, check->image, check->length, check->hash,
					  event->no) ? KEYROW_TAKE : KEYROW_LEAVE;
}

static char *
key_text(const Check *check)
{
	return KeyText(check->refold->sink.key, check->image, check->length);
}

/* SavepointStep */
static void
make_row(void *arg)
{
	Check	   *check = arg;
	int64		looked = 0;

	check->expected = KeyRowMake(check->refold, check->snapshot,
								 key_text(check),
								 check->refold->now->highest, choose, check,
								 &looked);
}

/* The table's row of the key at hand; NULL: there is none. */
static bool
differs(Check *check, ReadModel *model)
{
	Refold	   *refold = check->refold;
	ShadowEntry *entry = ShadowMake(refold->shadow, check->image,
									check->length, check->hash);
	FoldedKey	folded = {.rank = PG_UINT64_MAX};
	RefoldKey  *key;
	bool		found;
	bool		result;

	if (check->expected != NULL)
		ShadowSetRow(refold->shadow, entry, check->expected);
	key = RefoldKeyOf(refold, entry);
	folded.entry = key->entry;
	folded.hash = check->hash;
	found = ReadModelFind(model, &folded);
	result = RefoldDiffers(refold, key, found ? model->row : NULL, NULL);
	ShadowDrop(refold->shadow, entry);
	return result;
}

/*
 * Is the row of the key at hand another one than its events make?  An event
 * that is applied and cannot be folded is a difference, too.
 */
static bool
key_differs(Check *check, ReadModel *model)
{
	ErrorData  *error = InSavepoint(make_row, check);

	if (error == NULL)
		return !check->stopped && differs(check, model);
	if (!ErrorIsOfEvent(error->sqlerrcode))
		ReThrowError(error);
	if (check->refold->sink.run != NULL)
		MergeRunOpen(check->refold->sink.run, check->work.read_model);
	return !check->stopped;
}

/* The key that was found different; it may be none by now. */
static void
take_text(Check *check, const char *key)
{
	int			length;
	char	   *image = KeyFromText(check->refold->sink.key, key, &length);

	take_image(check, image, length);
}

/* Compare one key; its text if it differs, in the given memory; or NULL. */
static char *
compare_one(Check *check, ReadModel *model, MemoryContext memory)
{
	if (check->image == NULL || !key_differs(check, model))
		return NULL;
	return MemoryContextStrdup(memory, key_text(check));
}

/* Compare keys, the one that was found different the first. */
static void
compare_keys(Check *check, ReadModel *model, int keys, SelfCheck *result)
{
	MemoryContext outer = CurrentMemoryContext;
	const char *drift = check->work.projection->drift;

	for (int i = 0; i < keys && !check->stopped && result->different == NULL; i++)
	{
		MemoryContextReset(check->memory);
		MemoryContextSwitchTo(check->memory);
		check->image = NULL;
		check->expected = NULL;
		if (i == 0 && drift != NULL)
			take_text(check, drift);
		else if (pg_prng_bool(&pg_global_prng_state))
			choose_row(check);
		else
			choose_event(check);
		result->different = compare_one(check, model, outer);
		MemoryContextSwitchTo(outer);
		if (check->stopped)
			break;
		result->keys += check->image != NULL ? 1 : 0;
		if (i == 0 && drift != NULL && result->different == NULL)
			result->well_again = true;
		/* it is known */
		if (i == 0 && drift != NULL)
			result->different = NULL;
		check->stopped = check->stop();
	}
}

/* Can the keys of this projection be compared one by one? */
static bool
is_possible(Check *check, SelfCheck *result)
{
	const Projection *projection = check->work.projection;
	List	   *parked;

	if (check->work.sink.statement != NULL ||
		(projection->declared != NULL && projection->declared->start.head > 0) ||
		!ParkedFew(projection->name, PARKED_FEW, &parked))
		return false;
	if (KeyRowHasIndex(check->refold))
		return true;
	result->no_index = true;
	result->index = KeyRowIndex(check->refold);
	return false;
}

static void
check_opened(Check *check, int keys, SelfCheck *result)
{
	ReadModel  *model;

	check->refold = RefoldBegin(&check->work, 0, PG_UINT64_MAX);
	if (is_possible(check, result))
	{
		check->refold->now = AppliedAsOf(check->work.projection,
										 check->refold->sink.key,
										 check->snapshot);
		model = ReadModelBeginToRead(&check->work.sink, check->work.read_model,
									 check->snapshot);
		compare_keys(check, model, keys, result);
		ReadModelEnd(model);
	}
	RefoldEnd(check->refold);
}

/* Write down what was found. */
static void
save(const Projection *projection, SelfCheck *result)
{
	if (result->different != NULL && projection->drift == NULL)
	{
		/* another worker may have found one at the same time, and says so */
		if (!ProjectionSaveDrift(projection->name, result->different, false))
			result->different = NULL;
	}
	else if (result->well_again)
		(void) ProjectionSaveDrift(projection->name, result->different, true);
	else
		result->different = NULL;
}

/*
 * Compare up to so many keys, in the current transaction, which has no
 * snapshot yet; until stop() says that there is something else to do.  Nothing is
 * done where somebody has locked the projection, or has stopped it.
 */
SelfCheck
SelfCheckKeys(const char *projection, int keys, bool (*stop) (void))
{
	Check		check = {.stop = stop};
	SelfCheck	result = {0};

	if (ProjectionLockShared(projection, true) != SHARED_LOCKED)
		return result;
	check.snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(check.snapshot);
	OpenedOpenToRead(&check.work, projection);
	/* the locks may have been waited for */
	PopActiveSnapshot();
	UnregisterSnapshot(check.snapshot);
	check.snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(check.snapshot);
	check.memory = AllocSetContextCreate(CurrentMemoryContext,
										 "wallet_projection key",
										 ALLOCSET_DEFAULT_SIZES);
	check_opened(&check, keys, &result);
	OpenedClose(&check.work);
	PopActiveSnapshot();
	UnregisterSnapshot(check.snapshot);
	save(check.work.projection, &result);
	return result;
}
