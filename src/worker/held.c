/*
 * held.c
 *		Which open transactions a projection waits for.
 *
 * A projection that is ordered by number applies nothing above a number that an
 * open transaction may have drawn.  For views: it must not fail, and wait for
 * nobody.
 */
#include "postgres.h"

#include "compat.h"
#include "lib/stringinfo.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "position/lanes.h"
#include "savepoint.h"
#include "stream/reader.h"
#include "stream/settle.h"
#include "tablelook.h"
#include "worker/status.h"

SQL_FUNCTION(projection_waits_for);

/* What was asked, and what was found. */
typedef struct Held
{
	const Projection *projection;
	bool		seen;			/* the next number is there */
	char	   *writers;
} Held;

/* EventReceiver */
static bool
note_event(void *state, const Event *event)
{
	((Held *) state)->seen = true;
	return false;
}

/* Can the event that comes next be seen? */
static bool
is_visible(const char *name, int64 no, Held *held)
{
	Stream	   *stream = StreamOpen(name, AccessShareLock, false);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	stream->rows = true;
	(void) ReadEvents(stream, snapshot, no, no, note_event, held);
	UnregisterSnapshot(snapshot);
	StreamRelease(stream);
	return held->seen;
}

/* Those who hold a writer's lock on the stream's table, as people know them. */
static char *
describe_writers(Relation relation)
{
	Writers		writers = StreamWriters(relation);
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < writers.count; i++)
	{
		PGPROC	   *proc = compat_vxid_proc(&writers.ids[i]);

		appendStringInfoString(&names, i > 0 ? ", " : "");
		if (proc != NULL && compat_proc_lxid(proc) == writers.ids[i].localTransactionId)
			appendStringInfo(&names, "pid %d", proc->pid);
		else
			appendStringInfoString(&names, "a prepared transaction");
	}
	return writers.count == 0 ? NULL : names.data;
}

/* Gaps that are left from the beginning, when somebody wrote. */
static bool
has_gaps(const PositionSets *sets)
{
	for (int i = 0; i < sets->count; i++)
	{
		if (sets->sets[i].position.gaps.count > 0 || sets->sets[i].old.size > 0)
			return true;
	}
	return false;
}

static void
look_for_writers(Held *held, Relation relation, int64 last_number)
{
	Positions	positions = PositionsRead(held->projection);
	int64		head = positions.sets.count > 0 ?
		positions.sets.sets[0].position.head : last_number;

	if (head < last_number &&
		(has_gaps(&positions.sets) ||
		 !is_visible(held->projection->stream, head + 1, held)))
		held->writers = describe_writers(relation);
}

/* SavepointStep */
static void
find_writers(void *arg)
{
	Held	   *held = arg;
	TableLook  *look = TableLookBegin(held->projection->relation);
	StreamParts parts;

	if (look == NULL)
		return;
	if (StreamNumbering(held->projection->stream, look->relation, &parts))
		look_for_writers(held, look->relation, SequenceLastNumber(parts.sequence));
	TableLookEnd(look);
}

/* The same for who has waited; NULL: for nobody that is known. */
char *
ProjectionWaitsFor(const Projection *projection)
{
	Held		held = {.projection = projection};
	ErrorData  *error;

	if (projection->damage != NULL || projection->declared == NULL ||
		!projection->initialized ||
		projection->declared->ordering != ORDERING_NUMBER)
		return NULL;
	error = InSavepoint(find_writers, &held);
	if (error != NULL)
		SavepointRethrowInterrupt(error);
	return error == NULL ? held.writers : NULL;
}

/* wallet_projection.waits_for(projection); null: for nobody that is known */
Datum
projection_waits_for(PG_FUNCTION_ARGS)
{
	Projection *projection = ProjectionFind(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char	   *writers = projection == NULL ? NULL : ProjectionWaitsFor(projection);

	if (writers == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(writers));
}
