/*
 * unkeyed.c
 *		Rows whose key is null are no event's, and are deleted.
 *
 * A batch never looks at such a row, so no partition has to be claimed.
 */
#include "postgres.h"

#include "compat.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "fault.h"
#include "rebuild/rebuild_state.h"
#include "savepoint.h"

typedef struct Unkeyed
{
	Rebuild    *rebuild;
	OpenProjection *work;
} Unkeyed;

/* SavepointStep */
static void
delete_rows(void *arg)
{
	Unkeyed    *unkeyed = arg;
	char	   *statement = psprintf("DELETE FROM ONLY %s WHERE %s",
									 QualifiedName(unkeyed->work->read_model),
									 RefoldUnkeyedCondition(unkeyed->rebuild->refold));

	SPI_connect();
	if (SPI_execute(statement, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete rows without a key");
	unkeyed->rebuild->count.written += SPI_processed;
	SPI_finish();
}

/* RebuildStep */
static void
delete_step(Rebuild *rebuild, OpenProjection *work)
{
	Unkeyed		unkeyed = {.rebuild = rebuild,.work = work};
	ErrorData  *error;
	int64		written = rebuild->count.written;

	RefoldUse(rebuild->refold, work);
	error = InSavepoint(delete_rows, &unkeyed);
	if (error == NULL)
		return;
	if (!ErrorIsOfKey(error->sqlerrcode))
		ReThrowError(error);
	rebuild->count.written = written;
	rebuild->count.unwritten += RefoldUnkeyed(rebuild->refold);
	RebuildTrouble(rebuild, "", error->message);
	rebuild->all_troubles = list_concat(rebuild->all_troubles, rebuild->troubles);
	rebuild->troubles = NIL;
}

/* Delete them, if the comparison has found some. */
void
RebuildDeleteUnkeyed(Rebuild *rebuild)
{
	if (RefoldUnkeyed(rebuild->refold) > 0)
		RebuildWith(rebuild, true, delete_step);
}
