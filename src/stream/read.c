/*
 * read.c
 *		Events for users: stream_read.
 *
 * Plain SQL, with the caller's rights on the stream.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "argument.h"
#include "catalog.h"
#include "stream/stream.h"

SQL_FUNCTION(stream_read);

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
