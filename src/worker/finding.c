/*
 * finding.c
 *		What the status says of a projection's tables.
 *
 * For views: it must not fail, whatever users have made of their tables, and
 * wait for nobody who holds them locked.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "position/members.h"
#include "position/oldgaps.h"
#include "position/trouble.h"
#include "savepoint.h"
#include "tablelook.h"
#include "worker/status.h"

SQL_FUNCTION(projection_finding);
SQL_FUNCTION(projection_owner);

static const char *
text_or_null(const Trouble *trouble)
{
	return trouble == NULL ? NULL : TroubleText(trouble);
}

/* What is wrong with the read model; NULL: nothing that can be seen now. */
static const char *
look_at_read_model(const Projection *projection, const Positions *positions,
				   bool *locked)
{
	TableLook  *look = TableLookBegin(projection->read_model);
	Trouble    *trouble;

	if (look == NULL)
	{
		*locked = true;
		return NULL;
	}
	trouble = TroubleOfTable(projection, look->relation);
	if (trouble == NULL)
		trouble = TroubleOfPositions(projection, positions, look->relation);
	TableLookEnd(look);
	return text_or_null(trouble);
}

/* What is wrong with the stream's table, which is open. */
static const char *
look_at_stream(const Projection *projection, const Positions *positions,
			   Relation relation)
{
	StreamParts parts;
	Trouble    *trouble;

	if (relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		return psprintf("the stream is unlogged DETAIL: A crash of the server would empty it. HINT: Run: ALTER TABLE %s SET LOGGED;",
						TableNameOf(RelationGetRelid(relation)));
	if (!StreamNumbering(projection->stream, relation, &parts))
		return "the stream is not numbered by a sequence of its own";
	if (PositionsHighest(positions) > SequenceLastNumber(parts.sequence))
		return psprintf("the numbers of the stream went backwards HINT: Set the sequence forward if it is behind the last event. Then run: SELECT projection_reset(%s); Events that were appended meanwhile are below the positions.%s",
						quote_literal_cstr(projection->name),
						projection->declared == NULL ? "" :
						" A projection that began with start_at => 'now' is dropped and created again instead.");
	trouble = TroubleOfNumbers(projection->stream, relation, &parts);
	if (trouble == NULL)
		trouble = TroubleOfMemberKinds(projection->stream, relation);
	if (trouble == NULL)
		trouble = TroubleOfMembers(projection, relation, &parts, positions);
	return text_or_null(trouble);
}

/* What is wrong with the rows that say what the projection is; or NULL. */
static const char *
find_damage(const Projection *projection)
{
	CatalogDamage *damage = projection->damage;
	Positions	positions;

	if (damage == NULL)
		damage = StreamDamage(projection->stream);
	if (damage == NULL)
	{
		damage = PositionsFind(projection, GetActiveSnapshot(), &positions);
		if (damage == NULL)
			damage = OldGapsDamage(projection, GetActiveSnapshot(), &positions);
	}
	return damage == NULL ? NULL : CatalogDamageText(damage);
}

/* What is wrong with a projection that is initialized. */
static const char *
find_problem(const Projection *projection, bool *locked)
{
	Oid			relid = StreamRelation(projection->stream);
	Positions	positions = PositionsRead(projection);
	const char *problem;
	TableLook  *look;

	if (!ProjectionHasReadModel(projection) && projection->declared != NULL)
		return psprintf("the read model was dropped HINT: Run: SELECT projection_drop(%s); and create it again, with a table for it.",
						quote_literal_cstr(projection->name));
	if (!ProjectionHasReadModel(projection))
		return psprintf("the read model was dropped HINT: Make it anew from the stream: SELECT projection_init(%s);",
						quote_literal_cstr(projection->name));
	problem = text_or_null(TroubleOfReadModel(projection));
	if (problem != NULL)
		return problem;
	if (get_rel_relkind(projection->read_model) != RELKIND_RELATION)
		return "the read model is not an ordinary table";
	if ((!OidIsValid(relid) || get_rel_name(relid) == NULL) &&
		projection->declared != NULL)
		return psprintf("the stream was dropped HINT: Restore its table; or run: SELECT projection_drop(%s);",
						quote_literal_cstr(projection->name));
	if (!OidIsValid(relid) || get_rel_name(relid) == NULL)
		return psprintf("the stream was dropped HINT: Restore its table, then run: SELECT stream_create(%s); which takes it over, or else begins with no events at all.",
						quote_literal_cstr(projection->stream));
	if (relid != projection->relation)
		return psprintf("the stream was replaced HINT: The positions are of another table. Start again with: SELECT projection_reset(%s);",
						quote_literal_cstr(projection->name));
	problem = text_or_null(TroubleOfStream(projection->stream, relid));
	if (problem == NULL)
		problem = look_at_read_model(projection, &positions, locked);
	if (problem != NULL)
		return problem;
	look = TableLookBegin(relid);
	if (look == NULL)
	{
		*locked = true;
		return NULL;
	}
	problem = look_at_stream(projection, &positions, look->relation);
	TableLookEnd(look);
	return problem;
}

/* A look at a projection's tables. */
typedef struct Finding
{
	const Projection *projection;
	const char *problem;
	bool		locked;
} Finding;

/* SavepointStep */
static void
find_in_step(void *arg)
{
	Finding    *finding = arg;

	finding->problem = find_problem(finding->projection, &finding->locked);
}

/* The same; where a table or an index cannot be read, that is the problem. */
static const char *
try_find_problem(const Projection *projection, bool *locked)
{
	Finding		finding = {.projection = projection};
	ErrorData  *error = InSavepoint(find_in_step, &finding);

	*locked = finding.locked;
	if (error == NULL)
		return finding.problem;
	SavepointRethrowInterrupt(error);
	return psprintf("%s: %s", unpack_sql_state(error->sqlerrcode),
					error->message);
}

/* The same, as far as it can be seen now; NULL: nothing. */
const char *
ProblemFound(const Projection *projection)
{
	bool		locked = false;

	return try_find_problem(projection, &locked);
}

static Oid
owner_of(const Projection *projection)
{
	HeapTuple	tuple = SearchSysCache1(RELOID,
										ObjectIdGetDatum(projection->read_model));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/* wallet_projection.owner(projection): of its read model; or null */
Datum
projection_owner(PG_FUNCTION_ARGS)
{
	Projection *projection = ProjectionFind(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Oid			owner = projection == NULL ? InvalidOid : owner_of(projection);

	if (!OidIsValid(owner))
		PG_RETURN_NULL();
	PG_RETURN_OID(owner);
}

/*
 * wallet_projection.finding(projection): its read model and who owns that, and
 * what is wrong; or that somebody has locked what was to be looked at
 */
Datum
projection_finding(PG_FUNCTION_ARGS)
{
	enum
	{
		INITIALIZED, READ_MODEL, OWNER, LOCKED, PROBLEM, COLUMNS
	};
	Projection *projection = ProjectionFind(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	bool		locked = false;
	const char *problem;
	char	   *name;
	Oid			owner;
	TupleDesc	shape;

	if (projection == NULL)
		PG_RETURN_NULL();
	name = TableNameOf(projection->read_model);
	owner = owner_of(projection);
	problem = find_damage(projection);
	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	nulls[OWNER] = !OidIsValid(owner);
	values[OWNER] = ObjectIdGetDatum(owner);
	values[INITIALIZED] = BoolGetDatum(projection->initialized || problem != NULL);
	if (problem == NULL && projection->initialized)
		problem = try_find_problem(projection, &locked);
	nulls[READ_MODEL] = name == NULL;
	if (name != NULL)
		values[READ_MODEL] = CStringGetTextDatum(name);
	values[LOCKED] = BoolGetDatum(locked);
	nulls[PROBLEM] = problem == NULL;
	if (problem != NULL)
		values[PROBLEM] = CStringGetTextDatum(problem);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape),
													  values, nulls)));
}
