/*
 * verify.c
 *		projection_verify: are the read model's rows what the events say?
 *
 * Nothing is claimed, no lock is waited for but those of any query, and nothing
 * is written.  Everything is read under one snapshot.
 */
#include "postgres.h"

#include "compat.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "argument.h"
#include "rebuild/refold_state.h"

SQL_FUNCTION(projection_verify);

/* The result's columns. */
enum
{
	VERIFY_KEY,
	VERIFY_PROBLEM,
	VERIFY_COLUMN,
	VERIFY_EXPECTED,
	VERIFY_ACTUAL,
	VERIFY_COLUMNS
};

static const char *const problems[] = {
	[REFOLD_DIFFERENT] = "different",
	[REFOLD_MISSING] = "missing",
	[REFOLD_SURPLUS] = "surplus"
};

typedef struct Verify
{
	OpenProjection work;
	Snapshot	snapshot;
	ReturnSetInfo *result;
	Refold	   *refold;
	Size		most;			/* memory that was used at most */
} Verify;

static void
put_text(Datum *values, bool *nulls, int column, const char *string)
{
	nulls[column] = string == NULL;
	if (string != NULL)
		values[column] = CStringGetTextDatum(string);
}

/* RefoldReceiver: a row of the result */
static void
return_difference(void *arg, const RefoldDifference *difference)
{
	Verify	   *verify = arg;
	Datum		values[VERIFY_COLUMNS] = {0};
	bool		nulls[VERIFY_COLUMNS];

	put_text(values, nulls, VERIFY_KEY, difference->key_text);
	put_text(values, nulls, VERIFY_PROBLEM, problems[difference->problem]);
	put_text(values, nulls, VERIFY_COLUMN, difference->column);
	put_text(values, nulls, VERIFY_EXPECTED, difference->expected);
	put_text(values, nulls, VERIFY_ACTUAL, difference->actual);
	tuplestore_putvalues(verify->result->setResult, verify->result->setDesc,
						 values, nulls);
}

/* All keys, in as many passes as memory asks for. */
static void
verify_all(Verify *verify)
{
	uint64		first = 0;
	uint64		last;

	for (;;)
	{
		Refold	   *refold = RefoldBegin(&verify->work, first, PG_UINT64_MAX);

		RefoldAdvance(refold, verify->snapshot, -1);
		last = RefoldLast(refold);
		(void) RefoldCompare(refold, verify->snapshot, false,
							 return_difference, verify);
		verify->most = Max(verify->most, RefoldMemoryMost(refold));
		RefoldEnd(refold);
		if (last == PG_UINT64_MAX)
			break;
		first = last + 1;
	}
	ereport(DEBUG1,
			(errmsg_internal("projection_verify used %zu kB of memory",
							 verify->most / 1024)));
}

Datum
projection_verify(PG_FUNCTION_ARGS)
{
	Verify		verify = {0};
	char	   *name = ArgumentName(fcinfo, 0, "name");

	ArgumentNotNull(fcinfo, 2, "force");
	compat_InitMaterializedSRF(fcinfo);
	verify.result = (ReturnSetInfo *) fcinfo->resultinfo;
	OpenedOpenToRead(&verify.work, name);
	verify.snapshot = RegisterSnapshot(GetTransactionSnapshot());
	PushActiveSnapshot(verify.snapshot);
	verify_all(&verify);
	PopActiveSnapshot();
	UnregisterSnapshot(verify.snapshot);
	OpenedClose(&verify.work);
	return (Datum) 0;
}
