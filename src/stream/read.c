/*
 * read.c
 *		Events for users: stream_read, and those behind the views.
 *
 * Plain SQL, with the caller's rights on the stream.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "argument.h"
#include "catalog.h"
#include "savepoint.h"
#include "stream/stream.h"
#include "tablelook.h"

SQL_FUNCTION(stream_read);
SQL_FUNCTION(stream_event_now);

/* Run the query, its rows going to the function's result. */
static void
query_into_result(const char *query, int nargs, Oid *types, Datum *values,
				  ReturnSetInfo *result)
{
	SPIExecuteOptions options = {0};
	ParamListInfo params = makeParamList(nargs);
	SPIPlanPtr	plan;

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].ptype = types[i];
		params->params[i].pflags = PARAM_FLAG_CONST;
	}
	SPI_connect();
	plan = SPI_prepare(query, nargs, types);
	if (plan == NULL)
		elog(ERROR, "unexpected result of preparing: %s", query);
	options.params = params;
	options.read_only = true;
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, result->setResult,
									result->econtext->ecxt_per_query_memory,
									false, NULL, NULL);
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "unexpected result of: %s", query);
	SPI_finish();
}

/* stream_read(stream, aggregate_type, aggregate_id, from_version, max_count) */
Datum
stream_read(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "stream");
	char	   *type = ArgumentText(fcinfo, 1, "aggregate_type",
									IDENTIFIER_LENGTH);
	char	   *id = ArgumentText(fcinfo, 2, "aggregate_id",
								  IDENTIFIER_LENGTH);
	Oid			types[4] = {TEXTOID, TEXTOID, INT8OID, INT8OID};
	Datum		values[4];
	Stream	   *stream;
	char	   *query;

	ArgumentNotNull(fcinfo, 3, "from_version");
	if (PG_GETARG_INT64(3) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"from_version\" must be at least 1")));
	if (!PG_ARGISNULL(4) && PG_GETARG_INT64(4) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"max_count\" must not be negative")));

	stream = StreamOpen(name, AccessShareLock, false);
	StreamCheckCreated(stream, "stream_read",
					   "Read the table with SELECT.");
	query = psprintf("SELECT no, event_id, event_name, aggregate_type, aggregate_id,"
					 " aggregate_version, payload, metadata, created_at FROM %s"
					 " WHERE aggregate_type OPERATOR(pg_catalog.=) $1"
					 " AND aggregate_id OPERATOR(pg_catalog.=) $2"
					 " AND aggregate_version OPERATOR(pg_catalog.>=) $3"
					 " ORDER BY aggregate_version LIMIT $4",
					 QualifiedName(stream->relation));
	StreamRelease(stream);
	values[0] = CStringGetTextDatum(type);
	values[1] = CStringGetTextDatum(id);
	values[2] = PG_GETARG_DATUM(3);
	values[3] = Int64GetDatum(PG_ARGISNULL(4) ? PG_INT64_MAX :
							  PG_GETARG_INT64(4));
	InitMaterializedSRF(fcinfo, 0);
	query_into_result(query, 4, types, values,
					  (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* A column of one event. */
typedef struct ColumnQuery
{
	Relation	relation;
	const char *column;
	Datum	   *key;			/* number, type and id */
	MemoryContext context;		/* of the result */
	Datum		result;
	bool		found;			/* and not null */
} ColumnQuery;

/* Take the one value of the query, read whatever of it is stored elsewhere. */
static void
take_value(ColumnQuery *query)
{
	Form_pg_attribute attribute = TupleDescAttr(SPI_tuptable->tupdesc, 0);
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0],
									  SPI_tuptable->tupdesc, 1, &isnull);
	MemoryContext old = MemoryContextSwitchTo(query->context);

	/* a damaged value is an error here, not where it is shown */
	if (!isnull && attribute->attlen == -1)
		query->result = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	else if (!isnull)
		query->result = datumCopy(value, attribute->attbyval,
								  attribute->attlen);
	query->found = !isnull;
	MemoryContextSwitchTo(old);
}

/* SavepointStep */
static void
query_column(void *arg)
{
	ColumnQuery *query = arg;
	Oid			types[3] = {INT8OID, TEXTOID, TEXTOID};
	char	   *statement;

	statement = psprintf("SELECT %s FROM %s WHERE no OPERATOR(pg_catalog.=) $1"
						 " AND aggregate_type::pg_catalog.text OPERATOR(pg_catalog.=) $2"
						 " AND aggregate_id::pg_catalog.text OPERATOR(pg_catalog.=) $3",
						 query->column, QualifiedName(query->relation));
	SPI_connect();
	if (SPI_execute_with_args(statement, lengthof(types), types, query->key,
							  NULL, true, 1) == SPI_OK_SELECT && SPI_processed == 1)
		take_value(query);
	SPI_finish();
}

/*
 * What a column of one event holds, if it is there and of this type; false:
 * null, or it cannot be read, whatever the reason is.
 */
static bool
try_column(Relation relation, const char *column, Oid type, Datum *key,
		   Datum *result)
{
	ColumnQuery query = {.relation = relation,.column = column,.key = key,
	.context = CurrentMemoryContext};
	AttrNumber	number = get_attnum(RelationGetRelid(relation), column);
	ErrorData  *error;

	if (number == InvalidAttrNumber ||
		get_atttype(RelationGetRelid(relation), number) != type)
		return false;
	error = InSavepoint(query_column, &query);
	*result = query.result;
	if (error == NULL)
		return query.found;
	/* a cancelled query, or want of memory */
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED) ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
	return false;
}

/*
 * wallet_projection.event_now(stream, aggregate_type, aggregate_id, no): what
 * can be read of it, with the caller's rights.  For views: it must not fail,
 * and wait for nobody.
 */
Datum
stream_event_now(PG_FUNCTION_ARGS)
{
	static const struct
	{
		const char *name;
		Oid			type;
	}			columns[] = {{"event_id", UUIDOID}, {"payload", JSONBOID},
	{"metadata", JSONBOID}, {"created_at", TIMESTAMPTZOID}};
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		key[3] = {PG_GETARG_DATUM(3), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
	Datum		values[lengthof(columns)] = {0};
	bool		nulls[lengthof(columns)] = {0};
	TableLook  *look = TableLookBegin(StreamRelation(name));
	TupleDesc	shape;

	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 0; i < lengthof(columns); i++)
		nulls[i] = look == NULL ||
			!try_column(look->relation, columns[i].name, columns[i].type, key,
						&values[i]);
	if (look != NULL)
		TableLookEnd(look);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape),
													  values, nulls)));
}
