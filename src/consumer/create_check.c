/*
 * create_check.c
 *		May these tables be a projection's, as they are?
 */
#include "postgres.h"

#include "compat.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "consumer/create_check.h"
#include "definition/projection.h"
#include "merge/statement.h"
#include "tablelook.h"

/* The projection that writes to a table; or NULL. */
static const char *
writer_of(Oid table)
{
	const char *name = ProjectionOfReadModel(table);

	return name != NULL ? name : DeclaredTargetOf(StatementTargetUse(table));
}

/* An error if another projection than this one writes to this table. */
static void
check_nobody_elses(Oid read_model, const char *projection)
{
	const char *other = writer_of(read_model);

	if (other == NULL || strcmp(other, projection) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("table \"%s\" is the read model of projection \"%s\"",
					get_rel_name(read_model), other),
			 errdetail("Events of two projections have no common order, so that the rows would be no function of the events."),
			 errhint("Use a table for each projection, and a view that joins them.")));
}

/* An error if the stream's rows are what another projection writes. */
static void
check_no_read_model(Oid stream)
{
	const char *other = writer_of(stream);

	if (other == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s\" is the read model of projection \"%s\", and cannot be a stream",
					get_rel_name(stream), other),
			 errdetail("Its rows change, and are deleted when it is reset; events do not."),
			 errhint("Declare both projections over the stream of projection \"%s\".",
					 other)));
}

/* An error if rows of the table would count a second time. */
static void
check_empty(Relation table)
{
	if (TableIsEmpty(table))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("read model \"%s\" is not empty",
					RelationGetRelationName(table)),
			 errdetail("The events from the beginning of the stream on would be applied to rows that may hold them already."),
			 errhint("Empty it: TRUNCATE %s; or, if its rows hold all events so far, create the projection with start_at => 'now'.",
					 QualifiedName(table))));
}

/* An error if a table of the projection's definition is another one's. */
void
CreateCheckTables(const Merge *merge, const char *projection)
{
	ListCell   *cell;

	check_nobody_elses(merge->read_model, projection);
	check_no_read_model(merge->stream);
	foreach(cell, merge->statement != NULL ? merge->statement->targets : NIL)
		check_nobody_elses(((StatementTarget *) lfirst(cell))->relation, projection);
}

/*
 * An error if a table that the events fill from the beginning of the stream on
 * has rows already.  One in which a statement changes the rows of somebody else
 * has to have some.
 */
void
CreateCheckEmpty(const Merge *merge, Relation read_model)
{
	ListCell   *cell;

	if (merge->statement == NULL)
		check_empty(read_model);
	foreach(cell, merge->statement != NULL ? merge->statement->targets : NIL)
	{
		const StatementTarget *target = lfirst(cell);
		Relation	table;

		if (!target->inserts)
			continue;
		table = relation_open(target->relation, NoLock);
		check_empty(table);
		relation_close(table, NoLock);
	}
}
