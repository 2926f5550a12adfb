/*
 * argument.c
 *		Checked arguments of SQL functions.
 */
#include "postgres.h"

#include "compat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "argument.h"

void
ArgumentNotNull(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

/* A text that is neither null nor empty nor longer than max_length characters. */
char *
ArgumentText(FunctionCallInfo fcinfo, int number, const char *name,
			 int max_length)
{
	text	   *value;
	int			length;

	ArgumentNotNull(fcinfo, number, name);
	value = PG_GETARG_TEXT_PP(number);
	length = VARSIZE_ANY_EXHDR(value);
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be empty", name)));
	if (length > max_length &&
		pg_mbstrlen_with_len(VARDATA_ANY(value), length) > max_length)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg("argument \"%s\" is too long", name),
				 errdetail("It may have up to %d characters.", max_length)));
	return text_to_cstring(value);
}

/* The name of a stream, projection or channel: an SQL identifier. */
char *
ArgumentName(FunctionCallInfo fcinfo, int number, const char *name)
{
	char	   *value = ArgumentText(fcinfo, number, name, PG_INT32_MAX);

	if (strlen(value) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("argument \"%s\" is too long", name),
				 errdetail("A name may have up to %d bytes.",
						   NAMEDATALEN - 1)));
	return value;
}

/* A version that the caller expects; -1 for null, which expects none. */
int64
ArgumentVersion(FunctionCallInfo fcinfo, int number, const char *name)
{
	int64		version;

	if (PG_ARGISNULL(number))
		return -1;
	version = PG_GETARG_INT64(number);
	if (version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", name)));
	return version;
}

/* The moment after this interval, from now on. */
TimestampTz
ArgumentDeadline(FunctionCallInfo fcinfo, int number, const char *name,
				 bool may_be_zero)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;

	ArgumentNotNull(fcinfo, number, name);
	deadline = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													   TimestampTzGetDatum(now),
													   PG_GETARG_DATUM(number)));
	if (deadline < now || (deadline == now && !may_be_zero))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must %s", name,
						may_be_zero ? "not be negative" : "be positive")));
	return deadline;
}
