/*
 * try_statement.c
 *		projection_try() of a statement over events.
 *
 * The statement runs on its tables as they are, in a subtransaction that is
 * taken back.  So what comes out is what it has changed.  Numbers that it has
 * drawn from sequences are gone.
 *
 * A batch is cut as chance will have it.  So a statement that sees a whole batch
 * must not care how it is cut: it is tried event by event, in one batch, and key by
 * key in two orders.
 */
#include "postgres.h"

#include "compat.h"

#include "access/relation.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "handler/apply.h"
#include "handler/try.h"
#include "handler/try_difference.h"
#include "merge/merge_check.h"
#include "merge/statement.h"
#include "savepoint.h"
#include "stream/attach.h"

/* How the events are cut into batches. */
typedef enum TryCut
{
	CUT_EVENTS,
	CUT_NOWHERE,
	CUT_KEYS,
	CUT_KEYS_BACK
} TryCut;

static const char *const cut_names[] = {
	[CUT_EVENTS] = "event by event",[CUT_NOWHERE] = "in one batch",
	[CUT_KEYS] = "key by key",[CUT_KEYS_BACK] = "key by key, the last first"
};

typedef struct Trial
{
	Try			try;			/* first: receivers are given it */
	Sink		sink;
	Fold	   *fold;
	FoldedKey  *keys;			/* in the order in which they have appeared */
	int64		count;
	TryCut		cut;
	TryDifference *difference;	/* the result of one attempt */
} Trial;

/* MergeItemReceiver */
static void
keep_item(void *arg, const MergeItem *item)
{
	Trial	   *trial = arg;
	Event		event = {.no = TryEventNumber(trial->try.events, trial->try.number)};

	if (item->has_key)
		FoldAddItem(trial->fold, &event, item,
					KeyHashesOf(trial->sink.key, item->key).place);
}

static void
apply(Trial *trial, FoldedKey *keys, int64 count)
{
	Apply	   *step = ApplyBegin(&trial->sink, trial->try.read_model,
								  GetActiveSnapshot(), false);

	(void) ApplyKeys(step, keys, count);
	ApplyEnd(step);
}

/* Context of an error. */
static void
cut_context(void *arg)
{
	errcontext("events tried %s", cut_names[((Trial *) arg)->cut]);
}

/* SavepointStep */
static void
attempt(void *arg)
{
	Trial	   *trial = arg;
	Snapshot	before = RegisterSnapshot(GetLatestSnapshot());
	ErrorContextCallback callback = {.callback = cut_context,.arg = arg,
	.previous = error_context_stack};

	error_context_stack = &callback;
	trial->sink.for_each_batch = trial->cut != CUT_EVENTS;
	if (trial->cut == CUT_EVENTS || trial->cut == CUT_NOWHERE)
		apply(trial, trial->keys, trial->count);
	else
	{
		for (int64 i = 0; i < trial->count; i++)
			apply(trial, &trial->keys[trial->cut == CUT_KEYS ? i :
									  trial->count - 1 - i], 1);
	}
	error_context_stack = callback.previous;
	trial->difference = TryDifferenceSince(trial->try.merge, before);
	UnregisterSnapshot(before);
}

/* What the events change if they are cut so. */
static TryDifference *
try_cut(Trial *trial, TryCut cut)
{
	ErrorData  *error;

	trial->cut = cut;
	error = InSavepointUndone(attempt, trial);
	if (error != NULL)
		ReThrowError(error);
	return trial->difference;
}

/* The first of one list that the other has not as often; or "nothing". */
static const char *
first_difference(List *changes, List *others)
{
	for (int i = 0; i < list_length(changes); i++)
	{
		if (i >= list_length(others) ||
			strcmp(list_nth(changes, i), list_nth(others, i)) != 0)
			return list_nth(changes, i);
	}
	return "nothing";
}

static void
refuse_difference(TryCut cut, List *changes, List *batch)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the definition makes other rows %s than %s",
					cut_names[cut], cut_names[CUT_NOWHERE]),
			 errdetail("The first difference: %s, \"%s\"; %s, \"%s\".",
					   cut_names[cut], first_difference(changes, batch),
					   cut_names[CUT_NOWHERE], first_difference(batch, changes)),
			 errhint("Batches are cut as it happens, and keys come in any order. Let each key's events change rows of their own, by amounts that add up; or use for_each => 'event'.")));
}

static void
check_same(Trial *trial, const TryDifference *batch, TryCut cut)
{
	List	   *changes = try_cut(trial, cut)->changes;
	ListCell   *cell;
	int			i = 0;

	if (list_length(changes) != list_length(batch->changes))
		refuse_difference(cut, changes, batch->changes);
	foreach(cell, changes)
	{
		if (strcmp(lfirst(cell), list_nth(batch->changes, i++)) != 0)
			refuse_difference(cut, changes, batch->changes);
	}
}

static int
by_number(const void *a, const void *b)
{
	int64		left = ((const FoldedKey *) a)->entry->first_no;
	int64		right = ((const FoldedKey *) b)->entry->first_no;

	return left < right ? -1 : left > right;
}

/* Run it in all the ways in which it must give the same. */
static void
try_all(Trial *trial, bool for_each_batch)
{
	TryDifference *difference;
	ListCell   *cell;

	trial->keys = FoldKeys(trial->fold, &trial->count);
	qsort(trial->keys, trial->count, sizeof(FoldedKey), by_number);
	difference = try_cut(trial, for_each_batch ? CUT_NOWHERE : CUT_EVENTS);
	for (TryCut cut = CUT_EVENTS; for_each_batch && cut <= CUT_KEYS_BACK; cut++)
	{
		if (cut != CUT_NOWHERE)
			check_same(trial, difference, cut);
	}
	foreach(cell, difference->rows)
		TryReturnJson(&trial->try, PointerGetDatum(lfirst(cell)));
}

static void
begin(Trial *trial, bool for_each_batch)
{
	Try		   *try = &trial->try;
	Merge	   *merge = try->merge;

	try->run = MergeRunBegin(merge, try->stream, try->read_model);
	try->events = TryEventsBegin(try->stream);
	try->receive = keep_item;
	trial->sink.merge = merge;
	trial->sink.run = try->run;
	trial->sink.key = KeyTypeOf(merge);
	trial->sink.statement = StatementRunBegin(merge, try->run, try->stream,
											  for_each_batch);
	trial->fold = FoldBegin(&trial->sink, NULL, NULL);
}

/* As the read model's owner: its triggers get no more rights than that. */
static void
run_as_owner(Trial *trial, Jsonb *events, bool for_each_batch)
{
	Oid			user;
	int			security;

	trial->try.stream = relation_open(trial->try.merge->stream, AccessShareLock);
	trial->try.read_model = relation_open(trial->try.merge->read_model,
										  RowExclusiveLock);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(trial->try.read_model->rd_rel->relowner,
						   security | SECURITY_RESTRICTED_OPERATION);
	begin(trial, for_each_batch);
	TryApplyEvents(&trial->try, events);
	try_all(trial, for_each_batch);
	SetUserIdAndSecContext(user, security);
	MergeRunEnd(trial->try.run);
	relation_close(trial->try.read_model, NoLock);
	relation_close(trial->try.stream, NoLock);
}

static bool
for_each_argument(FunctionCallInfo fcinfo)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(TRY_FOR_EACH));

	if (strcmp(value, "batch") == 0)
		return true;
	if (strcmp(value, "event") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"for_each\": \"%s\"", value),
				 errhint("It is 'event' or 'batch'.")));
	return false;
}

/* Try a statement; the arguments are projection_try()'s. */
void
TryStatement(Try *try, FunctionCallInfo fcinfo)
{
	Trial		trial = {.try = *try};
	Merge	   *merge;

	if (try->trace)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a statement cannot be traced"),
				 errhint("It has no WHEN that could be told. Leave trace out.")));
	PreventCommandIfReadOnly("projection_try()");
	merge = StatementParse(text_to_cstring(PG_GETARG_TEXT_PP(TRY_DEFINITION)),
						   StreamTableNamed(text_to_cstring(PG_GETARG_TEXT_PP(TRY_STREAM))),
						   PG_ARGISNULL(TRY_KEY) ? NULL :
						   text_to_cstring(PG_GETARG_TEXT_PP(TRY_KEY)));
	MergeCheckRights(merge, GetUserId());
	MergeCheckExpressions(merge, PG_GETARG_BOOL(TRY_ALLOW_STABLE));
	trial.try.merge = merge;
	run_as_owner(&trial, PG_GETARG_JSONB_P(TRY_EVENTS),
				 for_each_argument(fcinfo));
}
