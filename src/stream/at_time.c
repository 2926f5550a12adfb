/*
 * at_time.c
 *		Which events of an aggregate there were at a time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "stream/at_time.h"

/*
 * The number before the first event of the aggregate that is younger than the
 * time; the highest number there can be where none is.  Of a created stream;
 * the caller may read it.
 */
int64
StreamLastBefore(const Stream *stream, const char *type, const char *id,
				 TimestampTz time)
{
	Oid			types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {
		CStringGetTextDatum(type), CStringGetTextDatum(id),
		TimestampTzGetDatum(time)
	};
	bool		isnull;
	int64		no;

	SPI_connect();
	if (SPI_execute_with_args(psprintf("SELECT pg_catalog.min(no) FROM %s WHERE aggregate_type OPERATOR(pg_catalog.=) $1"
									   " AND aggregate_id OPERATOR(pg_catalog.=) $2"
									   " AND created_at OPERATOR(pg_catalog.>) $3",
									   QualifiedName(stream->relation)),
							  3, types, values, NULL, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "unexpected result of reading stream \"%s\"", stream->name);
	no = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return isnull ? PG_INT64_MAX : no - 1;
}
