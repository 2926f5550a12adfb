/*
 * behind.c
 *		Why a projection has not applied all events, and what to do about it.
 *
 * For whoever waits for it: the first reason that is found, the gravest first.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "compat.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "encoding.h"
#include "parking/park.h"
#include "worker/slots.h"
#include "worker/status.h"

/* Why it is behind, and what to do about it. */
typedef struct Why
{
	const char *reason;			/* NULL: workers are still at it */
	const char *advice;			/* or NULL */
} Why;

/* What was found may tell itself what to do. */
static Why
why_found(const char *found)
{
	static const char mark[] = " HINT: ";
	const char *hint = strstr(found, mark);
	Why			why = {found, "Mend the cause; the projection is tried again by itself."};

	if (hint != NULL)
	{
		why.reason = pnstrdup(found, hint - found);
		why.advice = hint + strlen(mark);
	}
	return why;
}

/* The last batch has failed; why is for the projection's owner to know. */
static Why
why_failed(const Projection *projection)
{
	if (!ProjectionOwnedByCaller(projection))
		return why_found("its last batch failed, as projection_status tells its owner");
	return why_found(psprintf("its last batch failed: %s",
							  projection->last_error));
}

/* A batch has been running since then. */
static Why
why_long(const Projection *projection, TimestampTz since)
{
	Why			why;

	why.reason = psprintf("a batch has been running since %s",
						  timestamptz_to_str(since));
	why.advice = psprintf("To end it: SELECT projection_stop(%s, cancel => true);",
						  quote_literal_cstr(projection->name));
	return why;
}

/* Keys wait for locks; which ones is for the projection's owner to know. */
static Why
why_locked(const Projection *projection, List *keys)
{
	int			more = list_length(keys) - 1;
	bool		unique = projection->declared != NULL;
	Why			why = {unique ? "a key waits for a lock, or for a value of another row" :
	"a key waits for a lock on its row", "See projection_dead_letters."};
	const char *first;

	if (!ProjectionOwnedByCaller(projection))
		return why;
	first = TextForClient(((ParkedBrief *) linitial(keys))->key);
	if (unique)
		why.reason = psprintf("\"%s\" and %d more wait for locks, or for values of other rows",
							  first, more);
	else if (more == 0)
		why.reason = psprintf("\"%s\" waits for a lock on its row", first);
	else
		why.reason = psprintf("\"%s\" and %d more wait for locks on their rows",
							  first, more);
	return why;
}

/* What keeps workers from applying events. */
static Why
why_workers(const Projection *projection)
{
	WorkerNeeds needs = WorkersFor(projection->name, projection->channel);
	const char *name = quote_literal_cstr(projection->name);
	TimestampTz since = SlotsRunningSince(projection->name);
	Why			why = {needs.problem, needs.advice};
	List	   *locked;

	if (!SlotsReady())
	{
		why.reason = "no background workers are loaded";
		why.advice = psprintf("Apply events with: CALL projection_consume(%s, finish_when_no_messages => true); or SELECT projection_run(%s);",
							  quote_literal_cstr(projection->channel), name);
		return why;
	}
	if (!needs.started && !RecoveryInProgress())
	{
		why.reason = "it is stopped";
		why.advice = psprintf("Start it with: SELECT projection_start(%s);", name);
		return why;
	}
	if (since != 0 &&
		TimestampDifferenceExceeds(since, GetCurrentTimestamp(), BATCH_IS_LONG))
		return why_long(projection, since);
	locked = ParkedLockedKeys(projection->name, PG_INT32_MAX);
	if (locked != NIL && (why.reason == NULL || needs.there > 0))
		return why_locked(projection, locked);
	if (why.reason != NULL && why.advice == NULL)
		why.advice = "See projection_status.";
	return why;
}

/* An open transaction may still write events with smaller numbers. */
static Why
why_held(const char *writers)
{
	Why			why;

	why.reason = psprintf("it waits for the end of a transaction that writes to its stream (%s)",
						  writers);
	why.advice = "See pg_stat_activity and pg_prepared_xacts. A projection whose actions commute need not wait: create it with ordering => 'arrival'.";
	return why;
}

static Why
why_not(const Projection *projection)
{
	const char *problem = ProblemFound(projection);
	const char *writers;

	if (problem != NULL)
		return why_found(problem);
	if (projection->last_error != NULL)
		return why_failed(projection);
	writers = ProjectionWaitsFor(projection);
	if (writers != NULL)
		return why_held(writers);
	return why_workers(projection);
}

/* A projection has not applied all events in time: say why. */
void
TellWhyBehind(const char *projection)
{
	Why			why = why_not(ProjectionFetch(projection));

	ereport(NOTICE,
			(errmsg("projection \"%s\" has not applied all events in time: %s",
					projection,
					why.reason ? why.reason : "it is still at work"),
			 why.advice ? errhint("%s", why.advice) : 0));
}
