/*
 * verify.c
 *		projection_verify: are the read model's rows what the events say?
 *
 * Nothing is claimed, no lock is waited for but those of any query, and nothing
 * is written.  Everything is read under one snapshot.
 */
#include "postgres.h"

#include "compat.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "argument.h"
#include "rebuild/beginning.h"
#include "rebuild/late.h"

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
	Tuplestorestate *found;		/* by a pass, before late events are known */
	bool		force;
	bool		checked;		/* does the stream begin at the beginning */
	Size		most;			/* memory that was used at most */
} Verify;

static void
put_text(Datum *values, bool *nulls, int column, const char *string)
{
	nulls[column] = string == NULL;
	values[column] = string == NULL ? (Datum) 0 : CStringGetTextDatum(string);
}

/* RefoldReceiver: a row of the result, unless it is a late event's work */
static void
take_difference(void *arg, const RefoldDifference *difference)
{
	Verify	   *verify = arg;
	Datum		values[VERIFY_COLUMNS];
	bool		nulls[VERIFY_COLUMNS];

	put_text(values, nulls, VERIFY_KEY, difference->key_text);
	put_text(values, nulls, VERIFY_PROBLEM, problems[difference->problem]);
	put_text(values, nulls, VERIFY_COLUMN, difference->column);
	put_text(values, nulls, VERIFY_EXPECTED, difference->expected);
	put_text(values, nulls, VERIFY_ACTUAL, difference->actual);
	tuplestore_putvalues(verify->found, verify->result->setDesc, values, nulls);
}

/* What was found goes into the result, but for keys that late events explain. */
static void
return_found(Verify *verify, Refold *refold, const LateEvents *late)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(verify->result->setDesc,
													&TTSOpsMinimalTuple);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "wallet_projection difference",
													  ALLOCSET_SMALL_SIZES);

	while (tuplestore_gettupleslot(verify->found, true, false, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);
		bool		isnull;
		Datum		key = slot_getattr(slot, VERIFY_KEY + 1, &isnull);

		if (!LateExplains(late, refold,
						  isnull ? NULL : TextDatumGetCString(key)))
			tuplestore_puttupleslot(verify->result->setResult, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(row_context);
}

/* A row of the result for each late event that nobody has applied. */
static void
return_late(Verify *verify, Refold *refold, const LateEvents *late)
{
	for (int i = 0; i < late->count; i++)
	{
		const LateEvent *event = &late->events[i];
		char	   *key = KeyText(verify->work.sink.key, event->entry->key,
								  event->entry->length);
		Datum		values[VERIFY_COLUMNS];
		bool		nulls[VERIFY_COLUMNS];
		char	   *name;

		if (!LateExplains(late, refold, key))
			continue;
		name = LateName(refold, verify->snapshot, event->no);
		put_text(values, nulls, VERIFY_KEY, key);
		put_text(values, nulls, VERIFY_PROBLEM, "late event");
		put_text(values, nulls, VERIFY_COLUMN, NULL);
		put_text(values, nulls, VERIFY_EXPECTED,
				 name == NULL ? psprintf("event " INT64_FORMAT, event->no) :
				 psprintf("event " INT64_FORMAT ": %s", event->no, name));
		put_text(values, nulls, VERIFY_ACTUAL, NULL);
		tuplestore_putvalues(verify->result->setResult,
							 verify->result->setDesc, values, nulls);
	}
}

/* Fold, compare, and look at what differs. */
static void
verify_pass(Verify *verify, Refold *refold)
{
	LateEvents	late = {0};

	verify->found = tuplestore_begin_heap(false, false, work_mem);
	RefoldAdvance(refold, verify->snapshot, -1);
	(void) RefoldCompare(refold, verify->snapshot, false, take_difference,
						 verify);
	/* what is missing of the stream's beginning would look like tampering */
	if (tuplestore_tuple_count(verify->found) > 0 && !verify->checked)
	{
		BeginningCheck(&verify->work, verify->force);
		verify->checked = true;
	}
	if (RefoldCount(refold) > 0)
		late = LateFind(refold, verify->snapshot);
	return_found(verify, refold, &late);
	return_late(verify, refold, &late);
	verify->most = Max(verify->most, RefoldMemoryMost(refold));
	if (late.without != NULL)
		RefoldEnd(late.without);
	tuplestore_end(verify->found);
}

/* All keys, in as many passes as memory asks for; or one key. */
static void
verify_keys(Verify *verify, const char *key)
{
	uint64		first = 0;
	uint64		last;
	int			passes = 0;

	do
	{
		Refold	   *refold = RefoldBegin(&verify->work, first, PG_UINT64_MAX);

		if (key != NULL)
			RefoldOnly(refold, key);
		verify_pass(verify, refold);
		last = RefoldLast(refold);
		RefoldEnd(refold);
		first = last + 1;
		passes++;
	} while (last != PG_UINT64_MAX);
	ereport(DEBUG1,
			(errmsg_internal("projection_verify used %zu kB of memory in %d passes",
							 verify->most / 1024, passes)));
}

static void
refuse_statement(const OpenProjection *work)
{
	const char *name = work->projection->name;

	if (work->sink.statement == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection_verify() is not possible for projection \"%s\"",
					name),
			 errdetail("It is a statement, which may change any rows; so its rows cannot be computed without running it."),
			 errhint("Create a second projection of the same statement into a second table, and compare the two with projection_compare().")));
}

/* The steps between open and close. */
static void
verify(Verify *verify, const char *key)
{
	OpenedBegin(&verify->work);
	PG_TRY();
	{
		refuse_statement(&verify->work);
		verify_keys(verify, key);
	}
	PG_FINALLY();
	{
		OpenedEnd(&verify->work);
	}
	PG_END_TRY();
}

/* projection_verify(name, partition_key, force) */
Datum
projection_verify(PG_FUNCTION_ARGS)
{
	Verify		state = {0};
	char	   *name = ArgumentName(fcinfo, 0, "name");
	char	   *key = PG_ARGISNULL(1) ? NULL :
		ArgumentText(fcinfo, 1, "partition_key", PG_INT32_MAX);

	ArgumentNotNull(fcinfo, 2, "force");
	state.force = PG_GETARG_BOOL(2);
	compat_InitMaterializedSRF(fcinfo);
	state.result = (ReturnSetInfo *) fcinfo->resultinfo;
	OpenedOpenToRead(&state.work, name);
	/* after the locks: what holds them up may change rows */
	state.snapshot = RegisterSnapshot(GetTransactionSnapshot());
	PushActiveSnapshot(state.snapshot);
	verify(&state, key);
	PopActiveSnapshot();
	UnregisterSnapshot(state.snapshot);
	OpenedClose(&state.work);
	return (Datum) 0;
}
