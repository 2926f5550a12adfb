/*
 * event_now.c
 *		One event as it is in the stream now, for dead_letter_show().
 *
 * Plain SQL, with the caller's rights on the stream, a query per column: what
 * cannot be read, for want of a right or as its storage is damaged, hides
 * nothing else.  No function of a user runs: JSON is made of values by the output
 * functions of their types, not by casts.
 */
#include "postgres.h"

#include "compat.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog.h"
#include "savepoint.h"
#include "stream/stream.h"
#include "tablelook.h"

SQL_FUNCTION(stream_event_now);

/* A column of one event. */
typedef struct ColumnQuery
{
	Relation	relation;
	const char *column;
	const char *condition;		/* for these values: */
	int			nvalues;
	Datum	   *values;			/* number, type and id */
	bool		as_json;		/* the result is text, else as it is */
	MemoryContext context;		/* of the result */
	Datum		result;
	bool		found;			/* and not null; JSON also of a null */
} ColumnQuery;

/* What a value is in JSON; no user's cast is asked. */
static void
append_json(StringInfo json, Oid type, Datum value)
{
	Oid			output;
	bool		is_varlena;
	char	   *printed;

	getTypeOutputInfo(type, &output, &is_varlena);
	printed = OidOutputFunctionCall(output, value);
	switch (getBaseType(type))
	{
		case BOOLOID:
			appendStringInfoString(json, *printed == 't' ? "true" : "false");
			break;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			/* NaN and infinity are no numbers in JSON */
			if (strspn(printed, "-+.0123456789e") == strlen(printed))
				appendStringInfoString(json, printed);
			else
				escape_json(json, printed);
			break;
		case JSONOID:
		case JSONBOID:
			appendStringInfoString(json, printed);
			break;
		default:
			escape_json(json, printed);
			break;
	}
}

/* A value as JSON that jsonb can hold; else an error. */
static Datum
as_json(Oid type, Datum value, bool isnull)
{
	StringInfoData json;

	initStringInfo(&json);
	if (isnull)
		appendStringInfoString(&json, "null");
	else
		append_json(&json, type, value);
	(void) DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	return CStringGetDatum(json.data);
}

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
	if (query->as_json)
		query->result = as_json(attribute->atttypid, value, isnull);
	else if (!isnull && attribute->attlen == -1)
		query->result = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	else if (!isnull)
		query->result = datumCopy(value, attribute->attbyval,
								  attribute->attlen);
	query->found = query->as_json || !isnull;
	MemoryContextSwitchTo(old);
}

/* SavepointStep */
static void
query_column(void *arg)
{
	ColumnQuery *query = arg;
	Oid			types[3] = {INT8OID, TEXTOID, TEXTOID};
	char	   *statement;

	statement = psprintf("SELECT %s FROM %s WHERE %s",
						 quote_identifier(query->column),
						 QualifiedName(query->relation), query->condition);
	SPI_connect();
	if (SPI_execute_with_args(statement, query->nvalues, types, query->values,
							  NULL, true, 1) == SPI_OK_SELECT && SPI_processed == 1)
		take_value(query);
	SPI_finish();
}

/*
 * What a column of one event holds; false: null, or it cannot be read,
 * whatever the reason is.
 */
static bool
try_query(ColumnQuery *query)
{
	ErrorData  *error;

	query->context = CurrentMemoryContext;
	query->found = false;
	error = InSavepoint(query_column, query);
	if (error == NULL)
		return query->found;
	/* a cancelled query, or want of memory */
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED) ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
	return false;
}

/* The same, if the column is there and of this type. */
static bool
try_column(ColumnQuery *query, const char *column, Oid type, Datum *result)
{
	Oid			relid = RelationGetRelid(query->relation);
	AttrNumber	number = get_attnum(relid, column);

	if (number == InvalidAttrNumber || get_atttype(relid, number) != type)
		return false;
	query->column = column;
	if (!try_query(query))
		return false;
	*result = query->result;
	return true;
}

/*
 * All columns of one event that can be read, as one object; false: there is
 * no such event, or nothing of it can be read.
 */
static bool
try_row(ColumnQuery *query, Datum *result)
{
	TupleDesc	desc = RelationGetDescr(query->relation);
	StringInfoData object;
	bool		found = false;

	query->as_json = true;
	initStringInfo(&object);
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		query->column = NameStr(TupleDescAttr(desc, i)->attname);
		if (!try_query(query))
			continue;
		appendStringInfoString(&object, found ? ", " : "{");
		escape_json(&object, query->column);
		appendStringInfo(&object, ": %s", DatumGetCString(query->result));
		found = true;
	}
	if (!found)
		return false;
	appendStringInfoChar(&object, '}');
	*result = DirectFunctionCall1(jsonb_in, CStringGetDatum(object.data));
	return true;
}

/*
 * How to find the event; false: its numbers cannot be found.  The key of a
 * declared projection (of no aggregate type) is no aggregate.
 */
static bool
set_condition(ColumnQuery *query, const char *stream, bool attached,
			  bool by_aggregate)
{
	StreamParts parts = {.position = STREAM_NO};
	char	   *position;

	if (attached && !StreamNumbering(stream, query->relation, &parts))
		return false;
	position = get_attname(RelationGetRelid(query->relation), parts.position,
						   true);
	if (position == NULL)
		return false;
	query->condition = psprintf("%s OPERATOR(pg_catalog.=) $1%s",
								quote_identifier(position),
								by_aggregate ?
								" AND aggregate_type::pg_catalog.text OPERATOR(pg_catalog.=) $2"
								" AND aggregate_id::pg_catalog.text OPERATOR(pg_catalog.=) $3" : "");
	query->nvalues = by_aggregate ? 3 : 1;
	return true;
}

/* The results, as the columns of event_now(). */
enum
{
	NOW_EVENT_ID,
	NOW_PAYLOAD,
	NOW_METADATA,
	NOW_CREATED_AT,
	NOW_COLUMNS
};

/* What can be read of an event; of an attached stream, its row is the payload. */
static void
read_event(ColumnQuery *query, bool attached, Datum *values, bool *nulls)
{
	static const struct
	{
		const char *name;
		Oid			type;
	}			columns[NOW_COLUMNS] = {{"event_id", UUIDOID}, {"payload", JSONBOID},
	{"metadata", JSONBOID}, {"created_at", TIMESTAMPTZOID}};

	for (int i = 0; i < NOW_COLUMNS; i++)
		nulls[i] = (attached && i == NOW_PAYLOAD) ||
			!try_column(query, columns[i].name, columns[i].type, &values[i]);
	if (attached)
		nulls[NOW_PAYLOAD] = !try_row(query, &values[NOW_PAYLOAD]);
}

/*
 * wallet_projection.event_now(stream, aggregate_type, aggregate_id, no): what
 * can be read of it, with the caller's rights.  For views: it must not fail,
 * and wait for nobody.
 */
Datum
stream_event_now(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		key[3] = {PG_GETARG_DATUM(3), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
	Datum		values[NOW_COLUMNS] = {0};
	bool		nulls[NOW_COLUMNS] = {true, true, true, true};
	bool		attached = StreamIsAttached(name);
	TableLook  *look = TableLookBegin(StreamRelation(name));
	ColumnQuery query = {.values = key};
	TupleDesc	shape;

	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (look != NULL)
	{
		query.relation = look->relation;
		if (set_condition(&query, name, attached,
						  VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) > 0))
			read_event(&query, attached, values, nulls);
		TableLookEnd(look);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape),
													  values, nulls)));
}
