/*
 * trouble.c
 *		What makes it untrue that a read model equals the events.
 *
 * Somebody may have put another table in the read model's or the stream's
 * place, emptied the one, or brought numbers into the other that its sequence
 * has not given.  Then positions say nothing of the rows.  What can be seen
 * of that at the price of a few look-ups is looked for by each batch, also by
 * one that finds nothing to do, by projection_wait, and by the status: the
 * same words wherever it is told.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "position/trouble.h"
#include "tablelook.h"
#include "tablesize.h"

static Trouble *
make_trouble(int sqlerrcode, const char *message, const char *detail,
			 const char *hint)
{
	Trouble    *trouble = palloc(sizeof(Trouble));

	trouble->sqlerrcode = sqlerrcode;
	trouble->message = message;
	trouble->detail = detail;
	trouble->hint = hint;
	return trouble;
}

static char *
reset_hint(const Projection *projection)
{
	return psprintf("Build it anew from the events: SELECT projection_reset(%s);",
					quote_literal_cstr(projection->name));
}

/* Raise it, if there is any. */
void
TroubleRaise(const Trouble *trouble)
{
	if (trouble == NULL)
		return;
	ereport(ERROR,
			(errcode(trouble->sqlerrcode),
			 errmsg_internal("%s", trouble->message),
			 trouble->detail ? errdetail_internal("%s", trouble->detail) : 0,
			 trouble->hint ? errhint("%s", trouble->hint) : 0));
}

/* The same as the status shows it, in the form of last_error. */
char *
TroubleText(const Trouble *trouble)
{
	return LastErrorText(trouble->sqlerrcode, trouble->message,
						 trouble->detail, trouble->hint);
}

static Trouble *
not_the_read_model(const Projection *projection, const char *why)
{
	const char *name = TableNameOf(projection->read_model);

	return make_trouble(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						psprintf("table \"%s\" is not the read model of projection \"%s\"",
								 name, projection->name),
						why,
						psprintf("If it is, add its columns again and run: SELECT projection_reset(%s); If it is not, drop it or give it another name, and run: SELECT projection_init(%s);",
								 quote_literal_cstr(projection->name),
								 quote_literal_cstr(projection->name)));
}

static Oid
owner_of_table(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * A restored read model is found by its name: has it the shape, and an owner
 * who could have made it?
 */
static Trouble *
trouble_of_restored(const Projection *projection)
{
	Oid			relid = projection->read_model;
	Oid			owner = owner_of_table(relid);
	Oid			schema = ExtensionSchema();

	if (ProjectionColumnsIn(projection, relid) < ProjectionColumnCount(projection))
		return not_the_read_model(projection,
								  "It was found by its name after a restore, and does not have the read model's columns.");
	if (!OidIsValid(owner) || compat_role_may_create_in(schema, owner))
		return NULL;
	return make_trouble(ERRCODE_INSUFFICIENT_PRIVILEGE,
						psprintf("role \"%s\" cannot take over the read model of projection \"%s\"",
								 GetUserNameFromId(owner, true), projection->name),
						"The role owns a table that was found by its name after a restore. It may not create tables in the extension's schema, as the owner of a projection must.",
						psprintf("Run, at least until the next batch: GRANT CREATE ON SCHEMA %s TO %s;",
								 quote_identifier(get_namespace_name(schema)),
								 quote_identifier(GetUserNameFromId(owner, true))));
}

/* Has somebody put another table in the place of this one? */
static Trouble *
trouble_of_name(const TableRef *ref, Oid relid, const char *what)
{
	if (!OidIsValid(TableRefUsurper(ref, relid)))
		return NULL;
	return make_trouble(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						psprintf("the name \"%s\" leads to another table than %s",
								 quote_qualified_identifier(ref->schema, ref->name),
								 what),
						psprintf("The right table has the name \"%s\" now.",
								 TableNameOf(relid)),
						"Rename the tables back, or give the other one another name.");
}

/* Is the table another role's than the projection? */
static Trouble *
trouble_of_owner(const Projection *projection)
{
	const char *name = TableNameOf(projection->read_model);
	char	   *before = GetUserNameFromId(projection->owner, true);

	if (ProjectionOwnerIsProven(projection))
		return NULL;
	if (before == NULL || !projection->ref.here)
		before = projection->owner_name;
	return make_trouble(ERRCODE_INSUFFICIENT_PRIVILEGE,
						psprintf("table \"%s\" is not owned by the owner of projection \"%s\"",
								 name, projection->name),
						psprintf("The table's owner is role \"%s\"; the projection was initialized by %s.",
								 GetUserNameFromId(owner_of_table(projection->read_model), true),
								 before == NULL ? "nobody" :
								 psprintf("role \"%s\"", before)),
						psprintf("If the table's owner is to own the projection, run with the rights of both roles: SELECT projection_init(%s);",
								 quote_literal_cstr(projection->name)));
}

/*
 * Is the table, which is there, the read model?  One that is known by its OID
 * alone must look like it.  Asked before each batch, and before it is emptied
 * or dropped.
 */
Trouble *
TroubleOfReadModel(const Projection *projection)
{
	const TableRef *ref = &projection->ref;
	Oid			relid = projection->read_model;
	Trouble    *trouble = ref->here ? NULL : trouble_of_restored(projection);

	if (trouble == NULL)
		trouble = trouble_of_name(ref, relid,
								  psprintf("the read model of projection \"%s\"",
										   projection->name));
	if (trouble == NULL && TableRefIsStale(ref, relid) &&
		ProjectionColumnsIn(projection, relid) < ProjectionColumnCount(projection))
		trouble = not_the_read_model(projection,
									 "It has another name, and does not have the read model's columns.");
	if (trouble == NULL)
		trouble = trouble_of_owner(projection);
	return trouble;
}

/* Does the read model lack a column? */
static Trouble *
trouble_of_columns(const Projection *projection, Relation read_model)
{
	const RowHandler *handler = projection->handler;

	for (int i = 0; handler != NULL && i < handler->ncolumns; i++)
	{
		const HandlerColumn *column = &handler->columns[i];

		if (get_attnum(RelationGetRelid(read_model), column->name) != InvalidAttrNumber)
			continue;
		return make_trouble(ERRCODE_UNDEFINED_COLUMN,
							psprintf("read model \"%s\" has no column \"%s\"",
									 RelationGetRelationName(read_model),
									 column->name),
							NULL,
							psprintf("Rename it back. Or add it again, \"%s %s\", and run: SELECT projection_reset(%s);",
									 column->name, column->definition,
									 quote_literal_cstr(projection->name)));
	}
	return NULL;
}

/* Would a crash empty the read model?  Does it lack a column? */
Trouble *
TroubleOfTable(const Projection *projection, Relation read_model)
{
	if (read_model->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT)
		return trouble_of_columns(projection, read_model);
	return make_trouble(ERRCODE_FEATURE_NOT_SUPPORTED,
						psprintf("read model \"%s\" is unlogged",
								 RelationGetRelationName(read_model)),
						"A crash of the server would empty it, and the positions would not know.",
						psprintf("Run: ALTER TABLE %s SET LOGGED;",
								 QualifiedName(read_model)));
}

/*
 * Are these all positions, and are the rows there that they speak of?  A table
 * without a page has none.
 */
Trouble *
TroubleOfPositions(const Projection *projection, const Positions *positions,
				   Relation read_model)
{
	if (SetsGroups(&positions->sets) != AllGroups(positions->groups))
		return make_trouble(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							psprintf("positions of projection \"%s\" are missing",
									 projection->name),
							psprintf("%d of its %d partitions have one.",
									 PositionsCount(projection, positions),
									 projection->partitions),
							reset_hint(projection));
	if (!positions->written || read_model->rd_rel->relkind != RELKIND_RELATION ||
		TableHasBlock(read_model, 0))
		return NULL;
	return make_trouble(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						psprintf("read model \"%s\" is empty, although projection \"%s\" has written rows to it",
								 RelationGetRelationName(read_model),
								 projection->name),
						"It was truncated, was restored without its rows, or lost them in a crash while it was unlogged.",
						reset_hint(projection));
}

/*
 * The first events are going to be applied, as all positions are at the
 * beginning; so there can be no rows: are there any?  They may hold the events
 * already, where they were copied without their positions.  Another batch may
 * have written them just now.
 */
Trouble *
TroubleOfForeignRows(const Projection *projection, Relation read_model)
{
	Positions	now;

	if (TableIsEmpty(read_model))
		return NULL;
	now = PositionsRead(projection);
	if (PositionsHighest(&now) > 0)
		return NULL;
	return make_trouble(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						psprintf("read model \"%s\" has rows, although projection \"%s\" has applied no event yet",
								 RelationGetRelationName(read_model),
								 projection->name),
						"They may hold the events of the stream already, as rows do that were restored without the projection's positions: these would count twice.",
						reset_hint(projection));
}

/* Has somebody put another table in the stream's place? */
Trouble *
TroubleOfStream(const char *name, Oid relid)
{
	TableRef	ref;

	if (!StreamReference(name, &ref))
		return NULL;
	return trouble_of_name(&ref, relid, psprintf("stream \"%s\"", name));
}

/* The sequence has not given this number. */
Trouble *
TroubleOfNumber(const char *stream, Oid sequence, int64 number)
{
	NumberTrouble trouble = StreamDescribeNumber(stream, sequence, number);

	return make_trouble(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						trouble.message, trouble.detail, trouble.hint);
}

/* Is there an event whose number the sequence has not given yet? */
Trouble *
TroubleOfNumbers(const char *stream, Relation relation,
				 const StreamParts *parts)
{
	int64		number = StreamNumberAbove(relation, parts);

	return number == 0 ? NULL : TroubleOfNumber(stream, parts->sequence, number);
}
