/*
 * anew.c
 *		Rows are made of all events anew, in the caller's transaction.
 *
 * What the caller has done before: the projection's lock is his, exclusively,
 * and no key is parked or given up any more.  So each key's row is made of all
 * its events that the positions have passed, and the positions stay.  Others
 * see the rows as they were until the caller commits.
 *
 * A key whose row cannot be made or written loses its row, and is parked in
 * front of all its events.  To try it again then applies as many of them as
 * can be, in order, and parks the key at the one that fails.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/builtins.h"

#include "batch/replay.h"
#include "encoding.h"
#include "keyhash.h"
#include "parking/park.h"
#include "parking/parkedset.h"
#include "rebuild/rebuild_state.h"

#define COMMAND "projection_reset()"

/* A key to be parked, or the number of an event that has no key. */
typedef struct FailedKey
{
	ParkedName	name;
	int64		no;				/* its first event, or one before */
} FailedKey;

/* Remember the keys that are left, and have their rows taken away. */
static List *
take_failed(Rebuild *rebuild, KeyType *type, List *failed)
{
	ShadowCursor cursor = {0};
	RefoldKey  *key;

	while ((key = RefoldNext(rebuild->refold, -1, &cursor)) != NULL)
	{
		FailedKey  *one = palloc0_object(FailedKey);

		one->name.key = RefoldKeyText(rebuild->refold, key);
		one->name.hash = KeyPartitionHash(type, FoldEntryKey(key->entry),
										  key->entry->key_length);
		one->no = 1;
		failed = lappend(failed, one);
		RefoldClear(rebuild->refold, key);
	}
	return failed;
}

/* Remember the events whose keys cannot be computed. */
static List *
take_no_keys(const Rebuild *rebuild, List *failed)
{
	int64		no = 0;

	while ((no = RefoldNoKeyAfter(rebuild->refold, no)) != 0)
	{
		FailedKey  *one = palloc0_object(FailedKey);

		one->name.key = psprintf(INT64_FORMAT, no);
		one->name.by_number = true;
		one->name.hash = (uint64) no;
		one->no = no;
		failed = lappend(failed, one);
	}
	return failed;
}

static void
write_rounds(Rebuild *rebuild)
{
	while (RebuildChunk(rebuild) != REBUILD_ENDS)
		;
}

/* Take away the rows of keys that are to be parked. */
static void
clear_failed(Rebuild *rebuild)
{
	List	   *troubles = rebuild->all_troubles;

	rebuild->count.unwritten = 0;
	rebuild->all_troubles = NIL;
	RebuildRounds(rebuild);
	write_rounds(rebuild);
	if (rebuild->count.unwritten > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projection \"%s\" cannot be reset", rebuild->name),
				 rebuild->all_troubles == NIL ? 0 :
				 errdetail("The row of a key whose event has failed cannot be deleted. %s",
						   TextForClient(linitial(rebuild->all_troubles)))));
	rebuild->all_troubles = troubles;
}

/* Rows of a range of keys; the list gets those that fail. */
static List *
make_range(Rebuild *rebuild, List *failed)
{
	int64		before = list_length(failed);

	RebuildFold(rebuild);
	write_rounds(rebuild);
	RebuildDeleteUnkeyed(rebuild);
	failed = take_failed(rebuild, RefoldKeyType(rebuild->refold), failed);
	if (list_length(failed) > before)
		clear_failed(rebuild);
	/* each range has met all of them */
	return rebuild->first == 0 ? take_no_keys(rebuild, failed) : failed;
}

/* Park a key in front of its events, and try it. */
static void
park(Rebuild *rebuild, const Projection *projection, const FailedKey *failed)
{
	static const NumberSet none = {0};
	KeyFailure	failure = {.no = failed->no,.event_name = "",.locked = true,
		.sqlerrcode = ERRCODE_LOCK_NOT_AVAILABLE,
	.message = "not tried yet"};
	Parked	   *parked;
	ReplayResult result;

	if (!failed->name.by_number)
		ParkedSetAdd(rebuild->name, failed->name.hash);
	(void) ParkKey(projection, &failed->name, &failure, 0, &none);
	parked = ParkedKey(rebuild->name, failed->name.key, failed->name.by_number);
	result = ReplayKey(rebuild->name, failed->name.key, failed->name.by_number,
					   parked->id, REPLAY_SKIPS_NOTHING, COMMAND);
	if (result.outcome == REPLAY_FAILED && list_length(rebuild->troubles) == 0)
		RebuildTrouble(rebuild, failed->name.key, result.message);
}

/* An error if more keys are parked than may be. */
static void
check_parked(const Rebuild *rebuild, const Projection *projection)
{
	int			count = ParkedCount(rebuild->name);

	if (count <= projection->max_parked)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projection \"%s\" cannot be reset: events of %d keys fail, and max_parked is %d",
					rebuild->name, count, projection->max_parked),
			 rebuild->troubles == NIL ? 0 :
			 errdetail_internal("%s", TextForClient(linitial(rebuild->troubles))),
			 errhint("Correct the events; or let more keys be parked: SELECT projection_set(%s, 'max_parked', '%d'); Or stop the projection before: then it is emptied, and begins with the first event.",
					 quote_literal_cstr(rebuild->name), count)));
}

/* See above; the caller tells what was done. */
void
RebuildAnew(const char *name)
{
	Rebuild    *rebuild = RebuildBegin(name, NULL, true, true);
	const Projection *projection;
	List	   *failed = NIL;
	ListCell   *cell;
	uint64		first = 0;
	uint64		last;

	do
	{
		RebuildRange(rebuild, first, PG_UINT64_MAX);
		failed = make_range(rebuild, failed);
		last = RebuildReached(rebuild);
		RebuildForget(rebuild);
		first = last + 1;
	} while (last != PG_UINT64_MAX);
	rebuild->count.unwritten = 0;
	rebuild->all_troubles = rebuild->troubles = NIL;
	projection = ProjectionFetch(name);
	foreach(cell, failed)
		park(rebuild, projection, lfirst(cell));
	check_parked(rebuild, projection);
	rebuild->troubles = NIL;
	RebuildTell(rebuild);
}
