/*
 * lifecycle.c
 *		Projections begin, and end.
 *
 * Each of these takes the projection's lock exclusively: it waits until
 * running batches have ended, and no batch begins before it has committed.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "argument.h"
#include "batch/unhandled_counts.h"
#include "catalog.h"
#include "consumer/begin.h"
#include "consumer/create_check.h"
#include "definition/desired.h"
#include "definition/projection.h"
#include "keylock.h"
#include "notice.h"
#include "parking/park.h"
#include "parking/parkedset.h"
#include "parking/skip.h"
#include "position/gapwatch.h"
#include "position/members.h"
#include "position/oldgaps.h"
#include "position/trouble.h"
#include "settings.h"

SQL_FUNCTION(projection_init);
SQL_FUNCTION(projection_delete);

/*
 * Lock the projection, against batches if the mode is exclusive, and look it
 * up.  Rights are looked at before as well: who has none must not make others
 * wait.
 */
Projection *
ProjectionLock(const char *name, LOCKMODE mode, const char *command)
{
	Projection *projection;

	PreventCommandIfReadOnly(command);
	ProjectionCheckOwner(ProjectionFetch(name));
	KeyLock(KEYLOCK_PROJECTION, name, mode);
	projection = ProjectionFetch(name);
	ProjectionCheckOwner(projection);
	if (mode == ExclusiveLock)
	{
		DesiredLock();
		NoticeDesired();		/* workers look again when we are done */
	}
	return projection;
}

static Projection *
lock_projection(FunctionCallInfo fcinfo, const char *command)
{
	return ProjectionLock(ArgumentName(fcinfo, 0, "name"), ExclusiveLock,
						  command);
}

/*
 * Lock the read model before it is emptied or dropped by its name: whoever
 * holds it locked may be giving that name to another table.
 */
void
ReadModelLockAlone(const Projection *projection)
{
	relation_close(ProjectionOpenReadModel(projection, AccessExclusiveLock),
				   NoLock);
	TroubleRaise(TroubleOfReadModel(projection));
}

/* Make the read model as the handler wants it; returns its OID. */
static Oid
create_read_model(const Projection *projection)
{
	const RowHandler *handler = projection->handler;
	Oid			schema = ExtensionSchema();
	StringInfoData statement;

	if (OidIsValid(get_relname_relid(handler->read_model, schema)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" exists already, and is not the read model of projection \"%s\"",
						handler->read_model, projection->name),
				 errdetail("Events would be applied to its rows a second time."),
				 errhint("Drop or rename it; the projection makes its read model anew from the stream.")));
	initStringInfo(&statement);
	appendStringInfo(&statement, "CREATE TABLE %s (",
					 quote_qualified_identifier(get_namespace_name(schema),
												handler->read_model));
	for (int i = 0; i < handler->ncolumns; i++)
		appendStringInfo(&statement, "%s%s %s", i == 0 ? "" : ", ",
						 quote_identifier(handler->columns[i].name),
						 handler->columns[i].definition);
	/* room for the next version of a row on its page */
	appendStringInfoString(&statement, ") WITH (fillfactor = 70)");
	RunUtility(statement.data);
	return get_relname_relid(handler->read_model, schema);
}

/* The projection's stream, made where there is none yet. */
Oid
ProjectionStreamTable(const Projection *projection)
{
	Stream	   *stream = StreamEnsure(projection->stream, AccessShareLock);
	Oid			relid = RelationGetRelid(stream->relation);

	TroubleRaise(TroubleOfStream(projection->stream, relid));
	StreamRelease(stream);
	return relid;
}

/*
 * No rebuild may run until the transaction ends: it would write rows that are
 * ahead of positions that begin anew.
 */
void
ProjectionLockRebuild(const Projection *projection)
{
	if (!KeyLockIfFreeSoon(KEYLOCK_REBUILD, projection->name, ExclusiveLock))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("projection \"%s\" is being rebuilt", projection->name),
				 errhint("Wait until projection_progress does not show it any more, or cancel the rebuild.")));
}

/*
 * Nothing waits any more, and what was given up with a key is not.  Events that
 * were skipped one by one stay so.
 */
void
ProjectionForgetParked(const Projection *projection)
{
	Stream	   *stream;
	OwnerScope	owner;

	ParkedSetForget(projection->name);
	ParkDrop(projection->name);
	SkipForgetAll(projection->name);
	owner = OwnerEnter(projection);
	stream = StreamOpen(projection->stream, AccessShareLock, false);
	SkipCheck(stream, projection->name);
	StreamRelease(stream);
	OwnerLeave(&owner);
}

/*
 * All positions where the projection begins.  Rows that a part of a dump has
 * left behind make no difference.
 */
void
ProjectionBegin(Projection *projection)
{
	static const Position beginning = {0};
	Stream	   *stream;
	OwnerScope	owner;

	ProjectionLockRebuild(projection);
	PositionsDrop(projection);
	OldGapsDrop(projection);
	PositionsCreate(projection, projection->declared != NULL ?
					&projection->declared->start : &beginning);
	GapsForget(projection->name);
	UnhandledDrop(projection->name);
	ProjectionForgetParked(projection);
	owner = OwnerEnter(projection);
	stream = StreamOpen(projection->stream, AccessShareLock, false);
	OwnerLeave(&owner);
	projection->last_error = projection->drift = NULL;
	projection->rebuild_advised = 0;
	ProjectionSaveState(projection, false);
	MembersAccept(projection, stream->relation);
	StreamRelease(stream);
}

/* Forget everything that the projection has got by running. */
void
ProjectionEnd(const Projection *projection)
{
	PositionsDrop(projection);
	OldGapsDrop(projection);
	ParkDrop(projection->name);
	SkipDrop(projection->name);
	UnhandledDrop(projection->name);
	ProjectionDropState(projection->name);
}

/*
 * The stream's partitions are the right ones, whatever was found of them:
 * whoever initializes a projection that is initialized says so.
 */
static void
accept_members(Projection *projection)
{
	OwnerScope	owner = OwnerEnter(projection);
	Stream	   *stream = StreamOpen(projection->stream, AccessShareLock, true);

	OwnerLeave(&owner);
	if (stream == NULL)
		return;
	if (RelationGetRelid(stream->relation) == projection->relation)
		MembersAccept(projection, stream->relation);
	StreamRelease(stream);
}

/* An initialized projection has nothing to be done, if all of it is there. */
static void
check_complete(Projection *projection)
{
	Positions	positions = PositionsRead(projection);
	Relation	read_model;
	bool		adopted = !ProjectionOwnerIsProven(projection);

	if (adopted)
	{
		ProjectionAdopt(projection);
		ProjectionSetOwner(projection);
	}
	TroubleRaise(TroubleOfReadModel(projection));
	read_model = ProjectionOpenReadModel(projection, AccessShareLock);
	TroubleRaise(TroubleOfPositions(projection, &positions, read_model));
	relation_close(read_model, AccessShareLock);
	if (adopted)
		ProjectionSaveState(projection, false);
	ProjectionRenewReference(projection);
	accept_members(projection);
}

/* A declared projection's read model is the user's own table. */
static void
refuse_declared(const Projection *projection, const char *what)
{
	if (projection->declared == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("projection \"%s\" has a definition, and cannot be %s",
					projection->name, what),
			 errdetail("Its read model is a table that the projection has not made."),
			 errhint("To drop the projection: SELECT projection_drop(%s); To create it again: projection_create.",
					 quote_literal_cstr(projection->name))));
}

/* projection_init(name) */
Datum
projection_init(PG_FUNCTION_ARGS)
{
	Projection *projection = lock_projection(fcinfo, "projection_init()");

	if (ProjectionHasReadModel(projection))
	{
		check_complete(projection);
		PG_RETURN_VOID();
	}
	refuse_declared(projection, "initialized");
	projection->relation = ProjectionStreamTable(projection);
	ProjectionSetReadModel(projection, create_read_model(projection));
	ProjectionBegin(projection);
	if (Preloaded && Autostart)
		DesiredStart(projection);
	PG_RETURN_VOID();
}

/* projection_delete(name) */
Datum
projection_delete(PG_FUNCTION_ARGS)
{
	Projection *projection = lock_projection(fcinfo, "projection_delete()");

	refuse_declared(projection, "deleted with its read model");
	if (ProjectionHasReadModel(projection))
	{
		ReadModelLockAlone(projection);
		RunUtility(psprintf("DROP TABLE %s",
							ProjectionReadModelName(projection)));
	}
	if (DesiredStarted(projection->name))
		DesiredStop(projection);
	ProjectionEnd(projection);
	PG_RETURN_VOID();
}
