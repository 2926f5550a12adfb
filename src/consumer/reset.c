/*
 * reset.c
 *		Projections begin again.
 *
 * A projection that runs is made anew under its exclusive lock without being
 * emptied: who reads it sees the old rows until the transaction commits, and
 * then the right ones.  Where nobody works on it, or its positions mean
 * nothing, its table is emptied, and it begins with the first event.  So it is
 * also where BEFORE triggers have a say in each change of a row.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "compat.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "argument.h"
#include "batch/opened.h"
#include "catalog.h"
#include "consumer/begin.h"
#include "consumer/create_check.h"
#include "definition/desired.h"
#include "definition/projection.h"
#include "keylock.h"
#include "position/members.h"
#include "position/trouble.h"
#include "rebuild/beginning.h"
#include "rebuild/rebuild.h"
#include "tablelook.h"

SQL_FUNCTION(projection_reset);

/* The table of a declared projection's stream, which must be there. */
static Oid
declared_stream(const Projection *projection)
{
	Stream	   *stream = StreamOpen(projection->stream, AccessShareLock, false);
	Oid			relid = RelationGetRelid(stream->relation);

	TroubleRaise(TroubleOfStream(projection->stream, relid));
	StreamRelease(stream);
	return relid;
}

/*
 * A statement projection is reset by emptying its table, if it has just one,
 * whose rows it has made itself.
 */
static void
check_reset(const Projection *projection)
{
	const Declared *declared = projection->declared;
	int			targets;

	if (declared == NULL || declared->kind != DECLARED_STATEMENT)
		return;
	targets = DeclaredTargets(declared);
	if (targets == 1 && DeclaredInserts(declared))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" cannot be reset", projection->name),
			 targets > 1 ?
			 errdetail("Its statement changes %d tables.", targets) :
			 errdetail("Its statement changes rows that it has not inserted."),
			 errhint("Make the tables what they were before the first event; then SELECT projection_drop(%s); and create the projection again.",
					 quote_literal_cstr(projection->name))));
}

/*
 * The rows of a projection that has begun in the middle of the stream hold what
 * came before: no event makes them again.
 */
static void
check_reset_from_now(const Projection *projection)
{
	Relation	read_model;

	if (projection->declared == NULL || projection->declared->start.head == 0)
		return;
	read_model = ProjectionOpenReadModel(projection, NoLock);
	if (!TableIsEmpty(read_model))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("projection \"%s\" cannot be reset with its rows",
						projection->name),
				 errdetail("It begins after event " INT64_FORMAT ", and what its read model holds of earlier events would be lost.",
						   projection->declared->start.head),
				 errhint("To begin there again with an empty table: BEGIN; TRUNCATE %s; SELECT projection_reset(%s); COMMIT;",
						 ProjectionReadModelName(projection),
						 quote_literal_cstr(projection->name))));
	relation_close(read_model, NoLock);
}

/*
 * Is somebody working on it, or will be?  We have its lock, so a transaction
 * that shows itself as a consumer still has just ended.
 */
static bool
is_running(const Projection *projection)
{
	return DesiredStarted(projection->name) ||
		KeyLockStaysHeld(KEYLOCK_PRESENCE, projection->name);
}

/* What a look at the stream and the read model has found. */
typedef struct Look
{
	Stream	   *stream;			/* NULL: there is none */
	bool		same_stream;	/* it is the one that the positions are of */
	bool		has_positions;
	bool		sound;			/* nothing is wrong with either */
	bool		has_rows;
	bool		has_triggers;	/* that see each event, or may change its row */
} Look;

/* Is all right with the tables, so that positions say what rows are made of? */
static bool
is_sound(const Projection *projection, const Stream *stream,
		 Relation read_model, const Positions *positions)
{
	return TroubleOfTable(projection, read_model) == NULL &&
		TroubleOfPositions(projection, positions, read_model) == NULL &&
		TroubleOfStream(projection->stream,
						RelationGetRelid(stream->relation)) == NULL &&
		TroubleOfNumbers(projection->stream, stream->relation,
						 &stream->parts) == NULL &&
		TroubleOfMembers(projection, stream->relation, &stream->parts,
						 positions) == NULL;
}

static void
look_at_tables(Look *look, const Projection *projection)
{
	Relation	read_model = ProjectionOpenReadModel(projection, AccessShareLock);
	TriggerDesc *triggers = read_model->trigdesc;
	Positions	positions;

	look->has_rows = !TableIsEmpty(read_model);
	look->has_triggers = projection->declared != NULL && triggers != NULL &&
		(triggers->trig_insert_before_row || triggers->trig_update_before_row ||
		 triggers->trig_delete_before_row);
	if (PositionsFind(projection, GetActiveSnapshot(), &positions) == NULL)
	{
		/* numbers that went backwards are other events' */
		look->has_positions = PositionsHighest(&positions) <=
			SequenceLastNumber(look->stream->parts.sequence);
		look->sound = look->has_positions && look->same_stream &&
			is_sound(projection, look->stream, read_model, &positions);
	}
	relation_close(read_model, NoLock);
}

/* As the projection's owner. */
static Look
look_at(const Projection *projection)
{
	Look		look = {.stream = StreamOpen(projection->stream, AccessShareLock, true)};

	if (look.stream == NULL || TroubleOfReadModel(projection) != NULL)
		return look;
	look.same_stream = RelationGetRelid(look.stream->relation) == projection->relation;
	look_at_tables(&look, projection);
	return look;
}

/* Look, refuse where the stream's beginning is gone; can rows be kept? */
static bool
check_tables(const Projection *projection, bool force)
{
	OwnerScope	owner;
	Look		look;

	PushActiveSnapshot(GetLatestSnapshot());
	owner = OwnerEnter(projection);
	look = look_at(projection);
	if (look.same_stream && look.has_positions)
	{
		OpenProjection work = {.projection = unconstify(Projection *, projection),
		.stream = look.stream};

		BeginningCheck(&work, force);
	}
	if (look.stream != NULL)
		StreamRelease(look.stream);
	OwnerLeave(&owner);
	PopActiveSnapshot();
	return look.sound && look.has_rows && !look.has_triggers;
}

/* Can each row be made by itself, of events from the stream's beginning on? */
static bool
has_rows_of_events(const Projection *projection)
{
	const Declared *declared = projection->declared;

	return declared == NULL ||
		(declared->kind != DECLARED_STATEMENT && declared->start.head == 0);
}

/* Rows are made what all events say, and the positions stay. */
static void
reset_running(Projection *projection)
{
	const char *name = projection->name;

	ProjectionLockRebuild(projection);
	ProjectionForgetParked(projection);
	CommandCounterIncrement();
	RebuildAnew(name);
	projection = ProjectionFetch(name);
	projection->last_error = projection->drift = NULL;
	projection->rebuild_advised = 0;
	ProjectionSaveState(projection, false);
}

/* The table is emptied, and the positions begin anew. */
static void
reset_emptied(Projection *projection)
{
	OwnerScope	owner;

	ReadModelLockAlone(projection);
	check_reset_from_now(projection);
	owner = OwnerEnter(projection);
	RunUtility(psprintf("TRUNCATE TABLE ONLY %s",
						ProjectionReadModelName(projection)));
	OwnerLeave(&owner);
	projection->relation = projection->declared != NULL ?
		declared_stream(projection) : ProjectionStreamTable(projection);
	ProjectionSetReadModel(projection, projection->read_model);
	ProjectionBegin(projection);
}

/* projection_reset(name, force) */
Datum
projection_reset(PG_FUNCTION_ARGS)
{
	Projection *projection = ProjectionLock(ArgumentName(fcinfo, 0, "name"),
											ExclusiveLock,
											"projection_reset()");
	bool		keeps_rows;

	/* a release before had no force */
	if (PG_NARGS() > 1)
		ArgumentNotNull(fcinfo, 1, "force");
	ProjectionCheckInitialized(projection);
	check_reset(projection);
	keeps_rows = check_tables(projection, PG_NARGS() > 1 && PG_GETARG_BOOL(1));
	if (keeps_rows && is_running(projection) && has_rows_of_events(projection))
		reset_running(projection);
	else
		reset_emptied(projection);
	PG_RETURN_VOID();
}
