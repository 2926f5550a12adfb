/*
 * stable_functions.c
 *		PostgreSQL's own functions that are stable by settings alone.
 *
 * PostgreSQL calls a function stable for one of two reasons.  Its result
 * depends on settings such as TimeZone and DateStyle; a projection pins these
 * when it is created, so there the function is as good as immutable.  Or the
 * function looks at a table, a system catalog, the clock, the session or the
 * transaction; then it gives another result when the same event is applied
 * once more.
 *
 * The first kind is listed here by name.  What is not listed is of the second
 * kind: a release that brings new functions is safe until somebody has looked
 * at them.  Listed as well are functions that read what cannot change under
 * the values of a column without the values changing too (the labels of an
 * enum, the columns of a row type), and text search configurations, which
 * PostgreSQL itself takes for immutable once they are named.
 *
 * Left out on purpose: input and conversion of "time with time zone", which
 * ask the clock whether it is summer; enum_first() and its like, which change
 * with ALTER TYPE ... ADD VALUE; all of the reg* types and of aclitem, which
 * read catalogs; all send functions, which depend on the client's encoding;
 * ts_debug(), ts_parse(), ts_token_type().
 */
#include "postgres.h"

#include "utils/fmgroids.h"

#include "stable_functions.h"

static const Oid by_settings[] = {
	/* text to time and back: DateStyle, IntervalStyle, TimeZone */
	F_DATE_IN, F_DATE_OUT, F_TIME_IN, F_TIMESTAMP_IN, F_TIMESTAMP_OUT,
	F_TIMESTAMPTZ_IN, F_TIMESTAMPTZ_OUT, F_INTERVAL_IN, F_INTERVAL_OUT,
	F_TO_DATE, F_TO_TIMESTAMP_TEXT_TEXT,
	F_TO_CHAR_TIMESTAMP_TEXT, F_TO_CHAR_TIMESTAMPTZ_TEXT,
	F_TO_CHAR_INTERVAL_TEXT,

	/* between the types of time: TimeZone */
	F_TIMESTAMPTZ_DATE, F_TIMESTAMPTZ_DATE_TIME, F_TIMESTAMPTZ_TIMESTAMP,
	F_DATE_TIMESTAMPTZ, F_TIME_TIMESTAMPTZ, F_TIMESTAMP_TIMESTAMPTZ,
	F_TIMETZ_TIMESTAMPTZ,
	F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8,
	F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8_TEXT,
	F_DATE_PART_TEXT_TIMESTAMPTZ, F_EXTRACT_TEXT_TIMESTAMPTZ,
	F_DATE_TRUNC_TEXT_TIMESTAMPTZ, F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT,

	/* arithmetic on days and months: TimeZone */
	F_TIMESTAMPTZ_PL_INTERVAL, F_TIMESTAMPTZ_MI_INTERVAL,
	F_INTERVAL_PL_TIMESTAMPTZ,
	F_GENERATE_SERIES_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL,
	F_OVERLAPS_TIMESTAMPTZ_INTERVAL_TIMESTAMPTZ_INTERVAL,
	F_OVERLAPS_TIMESTAMPTZ_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ,
	F_OVERLAPS_TIMESTAMPTZ_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL,
#ifdef F_DATE_ADD_TIMESTAMPTZ_INTERVAL
	F_DATE_ADD_TIMESTAMPTZ_INTERVAL,
#endif
#ifdef F_DATE_SUBTRACT_TIMESTAMPTZ_INTERVAL
	F_DATE_SUBTRACT_TIMESTAMPTZ_INTERVAL,
#endif
#ifdef F_TIMEZONE_TIMESTAMPTZ
	F_TIMEZONE_TIMESTAMPTZ, F_TIMEZONE_TIMESTAMP,
#endif

	/* comparisons of a time without and with a zone: TimeZone */
	F_DATE_LT_TIMESTAMPTZ, F_DATE_LE_TIMESTAMPTZ, F_DATE_EQ_TIMESTAMPTZ,
	F_DATE_GT_TIMESTAMPTZ, F_DATE_GE_TIMESTAMPTZ, F_DATE_NE_TIMESTAMPTZ,
	F_DATE_CMP_TIMESTAMPTZ,
	F_TIMESTAMPTZ_LT_DATE, F_TIMESTAMPTZ_LE_DATE, F_TIMESTAMPTZ_EQ_DATE,
	F_TIMESTAMPTZ_GT_DATE, F_TIMESTAMPTZ_GE_DATE, F_TIMESTAMPTZ_NE_DATE,
	F_TIMESTAMPTZ_CMP_DATE,
	F_TIMESTAMP_LT_TIMESTAMPTZ, F_TIMESTAMP_LE_TIMESTAMPTZ,
	F_TIMESTAMP_EQ_TIMESTAMPTZ, F_TIMESTAMP_GT_TIMESTAMPTZ,
	F_TIMESTAMP_GE_TIMESTAMPTZ, F_TIMESTAMP_NE_TIMESTAMPTZ,
	F_TIMESTAMP_CMP_TIMESTAMPTZ,
	F_TIMESTAMPTZ_LT_TIMESTAMP, F_TIMESTAMPTZ_LE_TIMESTAMP,
	F_TIMESTAMPTZ_EQ_TIMESTAMP, F_TIMESTAMPTZ_GT_TIMESTAMP,
	F_TIMESTAMPTZ_GE_TIMESTAMP, F_TIMESTAMPTZ_NE_TIMESTAMP,
	F_TIMESTAMPTZ_CMP_TIMESTAMP,
	F_JSONB_PATH_EXISTS_TZ, F_JSONB_PATH_MATCH_TZ, F_JSONB_PATH_QUERY_TZ,
	F_JSONB_PATH_QUERY_ARRAY_TZ, F_JSONB_PATH_QUERY_FIRST_TZ,

	/* numbers as text: lc_numeric, lc_monetary */
	F_TO_CHAR_INT4_TEXT, F_TO_CHAR_INT8_TEXT, F_TO_CHAR_NUMERIC_TEXT,
	F_TO_CHAR_FLOAT4_TEXT, F_TO_CHAR_FLOAT8_TEXT, F_TO_NUMBER,
	F_CASH_IN, F_CASH_OUT, F_NUMERIC_MONEY, F_MONEY_NUMERIC, F_MONEY_INT4,
	F_MONEY_INT8,

	/* bytes in a named encoding: the encoding of the database */
	F_CONVERT, F_CONVERT_FROM, F_CONVERT_TO, F_LENGTH_BYTEA_NAME,

	/* composed types: what their parts depend on (is looked at as well) */
	F_ARRAY_IN, F_ARRAY_OUT, F_RECORD_IN, F_RECORD_OUT, F_RANGE_IN,
	F_RANGE_OUT, F_MULTIRANGE_IN, F_MULTIRANGE_OUT, F_DOMAIN_IN,
	F_ENUM_IN, F_ENUM_OUT,

	/* any type as text: what its output depends on (is looked at as well) */
	F_TEXTANYCAT, F_ANYTEXTCAT, F_CONCAT, F_CONCAT_WS, F_FORMAT_TEXT,
	F_FORMAT_TEXT_ANY, F_QUOTE_LITERAL_ANYELEMENT,
	F_QUOTE_NULLABLE_ANYELEMENT, F_ARRAY_TO_STRING_ANYARRAY_TEXT,
	F_ARRAY_TO_STRING_ANYARRAY_TEXT_TEXT,

	/* any type as JSON, and JSON as a row */
	F_ARRAY_TO_JSON_ANYARRAY, F_ARRAY_TO_JSON_ANYARRAY_BOOL,
	F_ROW_TO_JSON_RECORD, F_ROW_TO_JSON_RECORD_BOOL, F_TO_JSON, F_TO_JSONB,
	F_JSON_BUILD_ARRAY_, F_JSON_BUILD_ARRAY_ANY, F_JSON_BUILD_OBJECT_,
	F_JSON_BUILD_OBJECT_ANY, F_JSONB_BUILD_ARRAY_, F_JSONB_BUILD_ARRAY_ANY,
	F_JSONB_BUILD_OBJECT_, F_JSONB_BUILD_OBJECT_ANY,
	F_JSON_AGG, F_JSON_OBJECT_AGG, F_JSONB_AGG, F_JSONB_OBJECT_AGG,
#ifdef F_JSON_AGG_STRICT
	F_JSON_AGG_STRICT, F_JSON_OBJECT_AGG_STRICT, F_JSON_OBJECT_AGG_UNIQUE,
	F_JSON_OBJECT_AGG_UNIQUE_STRICT, F_JSONB_AGG_STRICT,
	F_JSONB_OBJECT_AGG_STRICT, F_JSONB_OBJECT_AGG_UNIQUE,
	F_JSONB_OBJECT_AGG_UNIQUE_STRICT,
#endif
	F_JSON_POPULATE_RECORD, F_JSON_POPULATE_RECORDSET, F_JSON_TO_RECORD,
	F_JSON_TO_RECORDSET, F_JSONB_POPULATE_RECORD, F_JSONB_POPULATE_RECORDSET,
	F_JSONB_TO_RECORD, F_JSONB_TO_RECORDSET,
#ifdef F_JSONB_POPULATE_RECORD_VALID
	F_JSONB_POPULATE_RECORD_VALID,
#endif

	/* XML: xmloption, xmlbinary */
	F_XML, F_XML_IN, F_XML_IS_WELL_FORMED,

	/* text search: default_text_search_config */
	F_TO_TSVECTOR_TEXT, F_TO_TSVECTOR_JSON, F_TO_TSVECTOR_JSONB,
	F_JSON_TO_TSVECTOR_JSON_JSONB, F_JSONB_TO_TSVECTOR_JSONB_JSONB,
	F_TO_TSQUERY_TEXT, F_PLAINTO_TSQUERY_TEXT, F_PHRASETO_TSQUERY_TEXT,
	F_WEBSEARCH_TO_TSQUERY_TEXT, F_TS_MATCH_TT, F_TS_MATCH_TQ,
	F_TS_HEADLINE_TEXT_TSQUERY, F_TS_HEADLINE_TEXT_TSQUERY_TEXT,
	F_TS_HEADLINE_JSON_TSQUERY, F_TS_HEADLINE_JSON_TSQUERY_TEXT,
	F_TS_HEADLINE_JSONB_TSQUERY, F_TS_HEADLINE_JSONB_TSQUERY_TEXT,
	F_GET_CURRENT_TS_CONFIG
};

static const Oid clock_functions[] = {
	F_NOW, F_TRANSACTION_TIMESTAMP, F_STATEMENT_TIMESTAMP,
	F_CLOCK_TIMESTAMP, F_TIMEOFDAY, F_AGE_TIMESTAMP, F_AGE_TIMESTAMPTZ
};

/* Those whose arguments are printed by the output functions of their types. */
static const Oid printing[] = {
	F_TEXTANYCAT, F_ANYTEXTCAT, F_CONCAT, F_CONCAT_WS, F_FORMAT_TEXT_ANY,
	F_QUOTE_LITERAL_ANYELEMENT, F_QUOTE_NULLABLE_ANYELEMENT,
	F_ARRAY_TO_STRING_ANYARRAY_TEXT, F_ARRAY_TO_STRING_ANYARRAY_TEXT_TEXT,
	F_ARRAY_TO_JSON_ANYARRAY, F_ARRAY_TO_JSON_ANYARRAY_BOOL,
	F_ROW_TO_JSON_RECORD, F_ROW_TO_JSON_RECORD_BOOL, F_TO_JSON, F_TO_JSONB,
	F_JSON_BUILD_ARRAY_ANY, F_JSON_BUILD_OBJECT_ANY,
	F_JSONB_BUILD_ARRAY_ANY, F_JSONB_BUILD_OBJECT_ANY,
	F_JSON_AGG, F_JSON_OBJECT_AGG, F_JSONB_AGG, F_JSONB_OBJECT_AGG
};

/* Those whose result is read by the input functions of its type. */
static const Oid reading[] = {
	F_JSON_POPULATE_RECORD, F_JSON_POPULATE_RECORDSET,
	F_JSONB_POPULATE_RECORD, F_JSONB_POPULATE_RECORDSET
};

static bool
is_in(Oid function, const Oid *list, int length)
{
	for (int i = 0; i < length; i++)
	{
		if (list[i] == function)
			return true;
	}
	return false;
}

/* Does the result depend on arguments and pinned settings alone? */
bool
IsStableBySettings(Oid function)
{
	return is_in(function, by_settings, lengthof(by_settings));
}

/* Does it tell the time, so that a column of the event can take its place? */
bool
IsClockFunction(Oid function)
{
	return is_in(function, clock_functions, lengthof(clock_functions));
}

bool
PrintsAnyType(Oid function)
{
	return is_in(function, printing, lengthof(printing));
}

bool
ReadsAnyType(Oid function)
{
	return is_in(function, reading, lengthof(reading));
}
