/*
 * history.c
 *		What an event can no longer change: its place.
 *
 * Positions say which numbers are applied, and the aggregate says which row
 * an event was applied to.  An event that is given another number would be
 * applied a second time, and one that is given to another aggregate would
 * count for the old one for ever.  So a stream's table has a trigger that
 * refuses a change of these columns.
 *
 * It fires after the row is changed, so that no BEFORE trigger comes later,
 * and always, also where session_replication_role is replica.  It compares
 * the rows instead of having a WHEN clause or a list of columns: PostgreSQL
 * would not let anybody change the type of a column that stands in one.  An
 * INSERT never meets it.
 */
#include "postgres.h"

#include "compat.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "catalog.h"
#include "stream/stream.h"

#define HISTORY_TRIGGER "wallet_projection_history"

SQL_FUNCTION(keep_history);

/* Make the trigger on a stream's table, which the current role owns. */
void
StreamKeepHistory(const char *table)
{
	RunUtility(psprintf("CREATE OR REPLACE TRIGGER " HISTORY_TRIGGER
						" AFTER UPDATE ON %s FOR EACH ROW"
						" EXECUTE FUNCTION " CATALOG_SCHEMA ".keep_history()",
						table));
	RunUtility(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " HISTORY_TRIGGER,
						table));
	/* so that it does not stand in the way of DROP EXTENSION */
	RunUtility(psprintf("ALTER TRIGGER " HISTORY_TRIGGER
						" ON %s DEPENDS ON EXTENSION wallet_projection",
						table));
}

/* Has the row's column, found by its name, another value now? */
static bool
is_changed(TriggerData *trigger, const char *column)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			number = SPI_fnumber(desc, column);
	Form_pg_attribute attribute;
	Datum		before;
	Datum		after;
	bool		was_null;
	bool		is_null;

	if (number <= 0)
		return false;
	attribute = TupleDescAttr(desc, number - 1);
	before = heap_getattr(trigger->tg_trigtuple, number, desc, &was_null);
	after = heap_getattr(trigger->tg_newtuple, number, desc, &is_null);
	if (was_null || is_null)
		return was_null != is_null;
	return !datum_image_eq(before, after, attribute->attbyval,
						   attribute->attlen);
}

/* wallet_projection.keep_history(), the trigger's function */
Datum
keep_history(PG_FUNCTION_ARGS)
{
	static const char *const fixed[] = {"no", "aggregate_type", "aggregate_id"};
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("keep_history() is to be called as a trigger"),
				 errhint("The trigger is AFTER UPDATE, FOR EACH ROW.")));
	for (int i = 0; i < lengthof(fixed); i++)
	{
		if (is_changed(trigger, fixed[i]))
			ereport(ERROR,
					(errcode(ERRCODE_GENERATED_ALWAYS),
					 errmsg("column \"%s\" of an event in table \"%s\" cannot be changed",
							fixed[i],
							RelationGetRelationName(trigger->tg_relation)),
					 errdetail("A projection knows by it which events it has applied, and to which row."),
					 errhint("Append an event that makes up for this one, to the aggregate that it should have been of.")));
	}
	PG_RETURN_POINTER(NULL);
}
