/*
 * opened.c
 *		A projection opened to be worked on.
 *
 * Whoever works on a projection locks it with ProjectionLockShared() and holds
 * the lock to the end of the transaction.  From OpenedOpen() to OpenedClose() we are the
 * projection's owner; an error that ends the transaction leaves as well.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "batch/opened.h"
#include "definition/desired.h"
#include "definition/known.h"
#include "keylock.h"
#include "merge/merge.h"
#include "merge/pinned.h"
#include "position/members.h"
#include "position/trouble.h"
#include "tablesize.h"

/* what is being worked on in this process, or NULL */
static const OpenProjection *running = NULL;

/* Raise an error if nothing can be applied in a transaction like this. */
void
OpenedCheckTransaction(const char *command)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("projections cannot run in a transaction of isolation level %s",
						IsolationIsSerializable() ? "SERIALIZABLE" : "REPEATABLE READ"),
				 errdetail("Its snapshot may be older than the events that are settled."),
				 errhint("Use READ COMMITTED.")));
	PreventCommandIfReadOnly(command);
}

/*
 * Lock the projection, shared, before any snapshot is taken.  A worker does
 * not wait for it, as it has others to serve, and works only on what is
 * started.
 */
SharedLock
ProjectionLockShared(const char *name, bool as_worker)
{
	if (!as_worker)
		KeyLock(KEYLOCK_PROJECTION, name, ShareLock);
	else if (KeyLockOthers(KEYLOCK_STOP, name) > 0 ||
			 !KeyLockIfFree(KEYLOCK_PROJECTION, name, ShareLock))
		return SHARED_BUSY;
	else if (!DesiredStarted(name))
		return SHARED_STOPPED;
	return SHARED_LOCKED;
}

/* An error if the stream is another table than the positions are of. */
void
OpenedCheckStream(const Projection *projection, const Stream *stream)
{
	TroubleRaise(TroubleOfStream(stream->name,
								 RelationGetRelid(stream->relation)));
	if (RelationGetRelid(stream->relation) != projection->relation)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" is not the table that projection \"%s\" was initialized with",
						stream->name, projection->name),
				 errdetail("It was dropped and made anew; the positions are of the old one."),
				 errhint("Start again with: SELECT projection_reset(%s);",
						 quote_literal_cstr(projection->name))));
}

/* The same for a declared projection: what its definition says. */
static void
open_definition(OpenProjection *work, Known *known)
{
	OwnerHint	hint;

	work->settings = PinnedEnter(work->projection->declared->settings);
	OwnerHintBegin(&hint, work->projection);
	work->compiled = KnownCompiled(known, work->projection, work->stream,
								   work->read_model);
	work->compiled->in_use = true;
	work->sink = work->compiled->sink;
	MergeCheckRights(work->sink.merge, GetUserId());
	OwnerHintEnd(&hint);
	work->stream->rows = true;
	work->stream->alone = work->sink.merge->stream_alone;
}

/* An error if a trigger of the projection's own read model wants to work on it. */
static void
refuse_running(const char *name)
{
	for (const OpenProjection *outer = running; outer != NULL; outer = outer->outer)
	{
		if (strcmp(outer->projection->name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("projection \"%s\" is running in this session already",
							name),
					 errhint("A trigger on its read model must not run it.")));
	}
}

/* Open everything, the read model with this lock. */
static Known *
open_all(OpenProjection *work, const char *name, LOCKMODE mode)
{
	Known	   *known;
	Projection *projection;

	memset(work, 0, sizeof(OpenProjection));
	refuse_running(name);
	known = KnownLook(name);
	projection = work->projection = KnownProjection(known);
	ProjectionCheckInitialized(projection);
	work->read_model = ProjectionOpenReadModel(projection, mode);
	if (!KnownIsTrue(known))
	{
		TroubleRaise(TroubleOfReadModel(projection));
		TroubleRaise(TroubleOfTable(projection, work->read_model));
	}

	work->owner = OwnerEnter(projection);
	work->stream = StreamOpen(projection->stream, AccessShareLock, false);
	if (projection->declared != NULL)
		open_definition(work, known);
	else
	{
		work->sink.handler = projection->handler;
		StreamCheckRights(work->stream, GetUserId(), ACL_SELECT);
	}
	if (KnownIsTrue(known))
		return known;
	OpenedCheckStream(projection, work->stream);
	TroubleRaise(TroubleOfMemberKinds(work->stream->name,
									  work->stream->relation));
	return known;
}

/*
 * Check rights, become the owner, open the stream and the read model.  What the
 * last batch has found to be right is not asked again as long as nothing has
 * changed (known.h); the locks on the tables may tell of changes.
 */
void
OpenedOpen(OpenProjection *work, const char *name)
{
	Known	   *known = open_all(work, name, RowExclusiveLock);
	bool		is_written;

	if (KnownIsTrue(known))
		return;
	is_written = ProjectionRenewReference(work->projection);
	if (StreamRenewReference(work->stream) && is_written)
		KnownKeep(known);
}

/*
 * The same for who only reads: nothing is written down, and nobody has to wait.
 * The projection's lock is not needed.
 */
void
OpenedOpenToRead(OpenProjection *work, const char *name)
{
	(void) open_all(work, name, AccessShareLock);
}

/* From here to OpenedEnd(), which must come also after an error, it runs. */
void
OpenedBegin(OpenProjection *work)
{
	work->outer = running;
	running = work;
}

void
OpenedEnd(OpenProjection *work)
{
	running = work->outer;
}

/*
 * Events were applied: must the read model have rows from now on, so that an
 * empty table has lost them?  Those of a declared projection may have done
 * nothing, or may delete the last row.
 */
bool
OpenedKeepsRows(const OpenProjection *work)
{
	ListCell   *cell;

	if (work->sink.merge == NULL)
		return true;
	if (MergeHas(work->sink.merge, MERGE_DO_DELETE))
		return false;
	foreach(cell, work->sink.merge->statement != NULL ?
			work->sink.merge->statement->targets : NIL)
	{
		if (((const StatementTarget *) lfirst(cell))->deletes)
			return false;
	}
	return TableHasBlock(work->read_model, 0);
}

/* Give back all but the locks, which last as long as the transaction. */
void
OpenedClose(OpenProjection *work)
{
	if (work->compiled != NULL)
	{
		work->compiled->in_use = false;
		PinnedLeave(work->settings);
	}
	table_close(work->read_model, NoLock);
	StreamRelease(work->stream);
	OwnerLeave(&work->owner);
}
