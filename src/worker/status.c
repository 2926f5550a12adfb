/*
 * status.c
 *		What can be seen of workers; the functions behind the views.
 */
#include "postgres.h"

#include "compat.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/seclabel.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "catalog.h"
#include "definition/desired.h"
#include "encoding.h"
#include "savepoint.h"
#include "settings.h"
#include "stream/stream.h"
#include "tablelook.h"
#include "worker/slots.h"
#include "worker/status.h"

SQL_FUNCTION(worker_slots);
SQL_FUNCTION(projection_activity);
SQL_FUNCTION(projection_pending_since);

static const char *const state_names[] = {
	[WORKER_FREE] = "free",
	[WORKER_STARTING] = "starting",
	[WORKER_IDLE] = "idle",
	[WORKER_READING] = "reading",
	[WORKER_APPLYING] = "applying",
	[WORKER_RETRYING] = "waiting for retry"
};

/* A text that a worker has written, of this database or of another one. */
static Datum
text_of_slot(const WorkerSlot *slot, const char *string)
{
	return CStringGetTextDatum(slot->database == MyDatabaseId ? string :
							   TextOfOtherDatabase(string));
}

/* The partitions that a worker holds, as an array of integers. */
static Datum
partitions_held(const WorkerSlot *slot)
{
	Datum	   *numbers = palloc_array(Datum, PARTITIONS_MAX);
	int			count = 0;

	for (int i = 0; i < Min(slot->partitions, PARTITIONS_MAX); i++)
	{
		if (slot->groups & GroupBit(GroupOf(i, GroupsOf(slot->partitions))))
			numbers[count++] = Int32GetDatum(i);
	}
	return PointerGetDatum(construct_array(numbers, count, INT4OID,
										   sizeof(int32), true, TYPALIGN_INT));
}

static void
put_slot(ReturnSetInfo *result, const WorkerSlot *slot)
{
	enum
	{
		PID, DATABASE, CHANNEL, PROJECTION, STATE, PARTITIONS, EVENTS, BATCHES,
		LAST_ERROR, SINCE, COLUMNS
	};
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	char	   *database = get_database_name(slot->database);

	nulls[PID] = slot->process == NULL;
	values[PID] = Int32GetDatum(slot->pid);
	nulls[DATABASE] = database == NULL;
	if (database != NULL)
		values[DATABASE] = CStringGetTextDatum(database);
	values[CHANNEL] = text_of_slot(slot, slot->channel);
	nulls[PROJECTION] = slot->projection[0] == '\0';
	values[PROJECTION] = text_of_slot(slot, slot->projection);
	values[STATE] = CStringGetTextDatum(state_names[slot->state]);
	values[PARTITIONS] = partitions_held(slot);
	values[EVENTS] = Int64GetDatum(slot->events);
	values[BATCHES] = Int64GetDatum(slot->batches);
	nulls[LAST_ERROR] = slot->last_error[0] == '\0';
	values[LAST_ERROR] =
		text_of_slot(slot,
					 has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ?
					 slot->last_error : "<insufficient privilege>");
	values[SINCE] = TimestampTzGetDatum(slot->since);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* wallet_projection.worker_slots(): a row per worker, of all databases */
Datum
worker_slots(PG_FUNCTION_ARGS)
{
	int			count;
	WorkerSlot *slots;

	SlotsCheckReady("projection_workers");
	compat_InitMaterializedSRF(fcinfo);
	slots = SlotsCopy(&count);
	for (int i = 0; i < count; i++)
	{
		if (slots[i].state != WORKER_FREE)
			put_slot((ReturnSetInfo *) fcinfo->resultinfo, &slots[i]);
	}
	return (Datum) 0;
}

/* What the launcher reads of this channel, or NULL. */
static DesiredChannel *
published_wish(const char *channel)
{
	char	   *label = DesiredPublished();
	ListCell   *cell;

	if (label == NULL)
		return NULL;
	foreach(cell, DesiredParse(label))
	{
		DesiredChannel *desired = lfirst(cell);

		if (strcmp(desired->channel, channel) == 0)
			return desired;
	}
	return NULL;
}

/* The workers of this database's channel that are there. */
static int
workers_there(const char *channel)
{
	int			count;
	int			there = 0;
	WorkerSlot *slots;

	if (!SlotsReady())
		return 0;
	slots = SlotsCopy(&count);
	for (int i = 0; i < count; i++)
	{
		if (slots[i].process != NULL && slots[i].database == MyDatabaseId &&
			strcmp(slots[i].channel, channel) == 0)
			there++;
	}
	return there;
}

/* Why there are fewer workers than wanted, if there is a reason. */
static void
find_problem(WorkerNeeds *needs, const char *channel)
{
	if (RecoveryInProgress())
		needs->problem = "this server is a standby: workers start when it is promoted";
	else if (!WorkersEnabled)
	{
		needs->problem = "wallet_projection.enabled is off";
		needs->advice = "Set wallet_projection.enabled = on, and reload.";
	}
	else if (LauncherIsReadOnly())
	{
		needs->problem = "default_transaction_read_only is on for the whole server: workers rest until it is off";
		needs->advice = "Turn it off, and reload; the workers come back by themselves.";
	}
	else if (needs->wanted == 0)
	{
		needs->problem = "the channel is scaled to 0 workers";
		needs->advice = psprintf("Run: SELECT channel_scale(%s, 2);",
								 quote_literal_cstr(channel));
	}
	else if (needs->there >= needs->wanted)
		return;
	else if (LauncherIsShort())
		needs->problem = psprintf("no worker process is left: raise max_worker_processes (now %d)",
								  max_worker_processes);
	else if (!LauncherRuns())
		needs->problem = "the launcher is not running";
	else if (needs->there == 0)
		needs->problem = "workers are starting; if they do not come, see the server's log";
}

/* How a projection stands with background workers. */
WorkerNeeds
WorkersFor(const char *projection, const char *channel)
{
	WorkerNeeds needs = {0};
	DesiredChannel *desired = DesiredStarted(projection) ? published_wish(channel) : NULL;

	if (desired != NULL)
	{
		needs.started = true;
		needs.there = workers_there(channel);
		needs.wanted = desired->workers < 0 ? DefaultWorkers : desired->workers;
	}
	/* also where it is stopped, as nobody can start it */
	if (!SlotsReady())
		needs.problem = "shared_preload_libraries does not list wallet_projection";
	else if (needs.started)
		find_problem(&needs, channel);
	return needs;
}

/*
 * wallet_projection.activity(projection, channel): is it started, its workers
 * there and wanted, its speed, why workers are missing, since when its oldest
 * batch runs
 */
Datum
projection_activity(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *channel = text_to_cstring(PG_GETARG_TEXT_PP(1));
	enum
	{
		STARTED, WORKERS, WANTED, EVENTS, NUMBERS, PROBLEM, RUNNING_SINCE,
		COLUMNS
	};
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	WorkerNeeds needs = WorkersFor(name, channel);
	Speed		speed = SpeedOf(name);
	TimestampTz since = SlotsRunningSince(name);
	TupleDesc	shape;

	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[STARTED] = BoolGetDatum(needs.started);
	values[WORKERS] = Int32GetDatum(needs.there);
	values[WANTED] = Int32GetDatum(needs.wanted);
	values[EVENTS] = Float8GetDatum(speed.events);
	values[NUMBERS] = Float8GetDatum(speed.numbers);
	nulls[EVENTS] = nulls[NUMBERS] = !SlotsReady();
	nulls[PROBLEM] = needs.problem == NULL;
	if (needs.problem != NULL)
		values[PROBLEM] = CStringGetTextDatum(needs.problem);
	nulls[RUNNING_SINCE] = since == 0;
	values[RUNNING_SINCE] = TimestampTzGetDatum(since);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape),
													  values, nulls)));
}

/* The statement that finds the first event after a number, or NULL. */
static char *
event_time_query(Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	Oid			owner = relation->rd_rel->relowner;
	char	   *no = get_attname(relid, STREAM_NO, true);
	char	   *created_at = get_attname(relid, STREAM_CREATED_AT, true);

	if (relation->rd_rel->relkind != RELKIND_RELATION ||
		no == NULL || created_at == NULL ||
		get_atttype(relid, STREAM_NO) != INT8OID ||
		get_atttype(relid, STREAM_CREATED_AT) != TIMESTAMPTZOID)
		return NULL;
	/* a policy would run its author's code in the session that looks */
	if (pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK ||
		check_enable_rls(relid, owner, true) == RLS_ENABLED)
		return NULL;
	return psprintf("SELECT %s FROM %s WHERE %s OPERATOR(pg_catalog.>) $1 ORDER BY %s LIMIT 1",
					quote_identifier(created_at),
					QualifiedName(relation),
					quote_identifier(no), quote_identifier(no));
}

/* A look for the first event after a number. */
typedef struct TimeQuery
{
	Relation	relation;
	int64		after;
	Datum		result;
	bool		found;
} TimeQuery;

/* SavepointStep */
static void
query_event_time(void *arg)
{
	TimeQuery  *look = arg;
	char	   *query = event_time_query(look->relation);
	Oid			type = INT8OID;
	Datum		argument = Int64GetDatum(look->after);
	bool		isnull = true;
	Oid			user;
	int			security;
	int			path;

	if (query == NULL)
		return;
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(look->relation->rd_rel->relowner,
						   security | SECURITY_RESTRICTED_OPERATION);
	path = SafePathEnter();
	SPI_connect();
	if (SPI_execute_with_args(query, 1, &type, &argument, NULL, true, 1) == SPI_OK_SELECT &&
		SPI_processed > 0)
		look->result = SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull);
	SPI_finish();
	SafePathLeave(path);
	SetUserIdAndSecContext(user, security);
	look->found = !isnull;
}

/*
 * The first event after a number: when it was made; false if there is none, or
 * it cannot be read, as its page or the index is damaged.
 */
static bool
find_event_time(Relation relation, int64 after, Datum *result)
{
	TimeQuery	look = {.relation = relation,.after = after};
	ErrorData  *error = InSavepoint(query_event_time, &look);

	if (error != NULL)
	{
		SavepointRethrowInterrupt(error);
		return false;
	}
	*result = look.result;
	return look.found;
}

/*
 * wallet_projection.pending_since(projection): when the first event was made
 * that some partition has not passed yet; null where there is none, or no
 * stream, or somebody has locked that.  For views: it must not fail.
 */
Datum
projection_pending_since(PG_FUNCTION_ARGS)
{
	Projection *projection = ProjectionFind(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Positions	positions;
	TableLook  *look;
	Datum		result = 0;
	bool		found;

	if (projection == NULL || projection->damage != NULL ||
		StreamDamage(projection->stream) != NULL ||
		PositionsFind(projection, GetActiveSnapshot(), &positions) != NULL)
		PG_RETURN_NULL();
	/* an attached table has no column that says when */
	look = positions.sets.count == 0 || StreamIsAttached(projection->stream) ? NULL :
		TableLookBegin(StreamRelation(projection->stream));
	if (look == NULL)
		PG_RETURN_NULL();
	found = find_event_time(look->relation, positions.sets.sets[0].position.head,
							&result);
	TableLookEnd(look);
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
