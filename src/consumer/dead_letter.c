/*
 * dead_letter.c
 *		What a person does about parked keys: replay, delete.
 *
 * Both may be called while consumers run, and by several at once: they wait
 * for the key's partition, and look again when they have it.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "argument.h"
#include "batch/replay.h"
#include "definition/projection.h"
#include "encoding.h"
#include "parking/park.h"

SQL_FUNCTION(dead_letter_replay);
SQL_FUNCTION(dead_letter_replay_all);
SQL_FUNCTION(dead_letter_delete);

/* The parked key with this id, whose projection the caller must own. */
static Parked *
find(FunctionCallInfo fcinfo)
{
	int64		id;
	Parked	   *parked;

	ArgumentNotNull(fcinfo, 0, "id");
	id = PG_GETARG_INT64(0);
	parked = ParkedById(id);
	if (parked == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("dead letter %lld does not exist", (long long) id),
				 errhint("See the view projection_dead_letters for those that do.")));
	ProjectionCheckOwner(ProjectionFetch(parked->projection));
	return parked;
}

/* What has become of the events; no: of the one that was to be skipped. */
static char *
tell_events(const ReplayResult *result, int64 no, ReplaySkip skip)
{
	const char *more = result->detail ? TextForClient(result->detail) : "";
	const char *space = result->detail ? " " : "";

	if (skip == REPLAY_SKIPS_EVENT)
		return psprintf("Event %lld is skipped. Event %lld fails now; %lld events between them were applied.%s%s",
						(long long) no, (long long) result->no,
						(long long) result->events, space, more);
	return psprintf("Events before it that were applied: %lld.%s%s",
					(long long) result->events, space, more);
}

/* What a call has looked through, for want of an index. */
typedef struct Looks
{
	int64		numbers;
	char	   *index;			/* the statement that makes one; or NULL */
} Looks;

/* so many numbers are looked through without a word */
#define LOOKS_TOLD 10000

/* Say which index would have helped, if it is worth it. */
static void
tell_looks(const char *projection, const Looks *looks)
{
	if (looks->numbers > LOOKS_TOLD && looks->index != NULL)
		ereport(NOTICE,
				(errmsg("no index is on the key of projection \"%s\": " INT64_FORMAT " numbers of its stream were looked through",
						projection, looks->numbers),
				 errhint("To find the events of a key by an index: %s",
						 looks->index)));
}

static bool
replay(const char *projection, const char *key, bool by_number, int64 id,
	   int64 no, ReplaySkip skip, const char *command, Looks *looks)
{
	ReplayResult result = ReplayKey(projection, key, by_number, id, skip, command);

	looks->numbers += result.looked;
	if (result.index != NULL)
		looks->index = result.index;

	if (result.outcome == REPLAY_FAILED)
		ereport(WARNING,
				(by_number ?
				 errmsg("event %s fails: %s", key, TextForClient(result.message)) :
				 errmsg("an event of \"%s\" fails: %s",
						TextForClient(key), TextForClient(result.message)),
				 errdetail_internal("%s", tell_events(&result, no, skip)),
				 skip == REPLAY_SKIPS_NOTHING ?
				 errhint("See: SELECT * FROM dead_letter_show(%lld);",
						 (long long) result.id) :
				 errhint("See: SELECT * FROM dead_letter_show(%lld); To skip all that waits: SELECT dead_letter_delete(%lld, whole => true);",
						 (long long) result.id, (long long) result.id)));
	return result.outcome == REPLAY_HEALED;
}

/* dead_letter_replay(id) */
Datum
dead_letter_replay(PG_FUNCTION_ARGS)
{
	const Parked *parked = find(fcinfo);
	Looks		looks = {0};
	bool		healed = replay(parked->projection, parked->key, parked->by_number, parked->id,
								parked->failure.no, REPLAY_SKIPS_NOTHING, "dead_letter_replay()",
								&looks);

	tell_looks(parked->projection, &looks);
	PG_RETURN_BOOL(healed);
}

/* dead_letter_delete(id, whole) */
Datum
dead_letter_delete(PG_FUNCTION_ARGS)
{
	const Parked *parked = find(fcinfo);
	Looks		looks = {0};

	ArgumentNotNull(fcinfo, 1, "whole");
	PG_RETURN_BOOL(replay(parked->projection, parked->key, parked->by_number, parked->id,
						  parked->failure.no, PG_GETARG_BOOL(1) ? REPLAY_SKIPS_ALL :
						  REPLAY_SKIPS_EVENT, "dead_letter_delete()", &looks));
}

/* Replay all events without a key, or all keys; returns how many went well. */
static int64
replay_all(const char *name, bool by_number, Looks *looks)
{
	int64		healed = 0;
	ListCell   *cell;

	foreach(cell, ParkedAll(name, by_number))
	{
		const ParkedBrief *parked = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (replay(name, parked->key, by_number, parked->id, 0, REPLAY_SKIPS_NOTHING,
				   "dead_letter_replay_all()", looks))
			healed++;
	}
	return healed;
}

/* dead_letter_replay_all(projection) */
Datum
dead_letter_replay_all(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "projection");
	Looks		looks = {0};
	int64		healed;

	ProjectionCheckOwner(ProjectionFetch(name));
	healed = replay_all(name, true, &looks);
	healed += replay_all(name, false, &looks);
	tell_looks(name, &looks);
	PG_RETURN_INT64(healed);
}
