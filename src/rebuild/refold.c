/*
 * refold.c
 *		The rows of a read model as the events say that they ought to be.
 *
 * A refold's keys are those whose hashes are in its range.  A share of
 * wallet_projection.batch_memory is for events that are being folded, another for
 * the rows (shadow.c).  Where the rows need more, the upper half of the range is
 * given up, and is left to another refold.  So memory is bounded whatever the
 * number of keys is, and nobody has to know it beforehand.
 *
 * The range, and RefoldKey.hash, are the upper halves of the hashes: the lower
 * halves choose the partition of many keys.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "fault.h"
#include "keyhash.h"
#include "rebuild/refold_state.h"
#include "savepoint.h"
#include "settings.h"

/*
 * How much memory events, or rows, may use, in bytes: the allocator has more
 * than what is in use, and a table has twice its size while it grows.
 */
Size
RefoldShare(void)
{
	return (Size) BatchMemory * 1024 / 8 * 3;
}

/* What of the projection must stay as it is. */
static Projection *
copy_projection(const Projection *projection)
{
	Projection *copy = palloc_object(Projection);

	*copy = *projection;
	copy->name = pstrdup(projection->name);
	copy->aggregate_type = projection->aggregate_type != NULL ?
		pstrdup(projection->aggregate_type) : pstrdup("");
	if (projection->declared == NULL)
		return copy;
	copy->declared = palloc_object(Declared);
	*copy->declared = *projection->declared;
	copy->declared->definition = pstrdup(projection->declared->definition);
	copy->declared->start.gaps = NumberSetCopy(&projection->declared->start.gaps);
	return copy;
}

static void
begin_positions(Refold *refold)
{
	Applied    *start = AppliedAtStart(refold->projection);

	for (int i = 0; i < start->groups; i++)
		refold->reached[i] = start;
}

/*
 * Begin a refold of the keys whose hashes are first..last, in a child of the
 * current memory context.
 */
Refold *
RefoldBegin(OpenProjection *work, uint64 first, uint64 last)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection refolded",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Refold	   *refold = palloc0_object(Refold);

	refold->context = context;
	refold->work = work;
	refold->first = first >> 32;
	refold->last = last >> 32;
	refold->projection = copy_projection(work->projection);
	refold->row_context = AllocSetContextCreate(context,
												"wallet_projection row",
												ALLOCSET_SMALL_SIZES);
	refold->snapshot = GetActiveSnapshot();
	RefoldOpenSink(refold);
	refold->shadow = ShadowBegin(refold->sink.key);
	begin_positions(refold);
	MemoryContextSwitchTo(old);
	return refold;
}

/* The refold is of this key alone. */
void
RefoldOnly(Refold *refold, const char *key)
{
	MemoryContext old = MemoryContextSwitchTo(refold->context);
	int			length;
	char	   *image = KeyFromText(refold->sink.key, key, &length);

	refold->only_key = pstrdup(key);
	(void) ShadowMake(refold->shadow, image, length,
					  RefoldHash(refold, image, length));
	refold->compared = true;
	MemoryContextSwitchTo(old);
}

/*
 * Before anything is folded: an event after which the row does not obey the
 * table's constraints is one that cannot be applied.  Where a column that must
 * not be null has a default that changes, CHECK is left to the row's writer.
 */
void
RefoldCheckRows(Refold *refold)
{
	refold->checked = true;
	RefoldUse(refold, refold->work);
}

/* The hash of a key in the refold's tables. */
uint32
RefoldHash(Refold *refold, const char *image, int length)
{
	return AppliedHash(refold->sink.key, image, length);
}

static void
refuse_changed(const Refold *refold)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projection \"%s\" was changed meanwhile",
					refold->projection->name),
			 errdetail("Its definition, its options or its read model is another one than before."),
			 errhint("Run the command again, in a new transaction.")));
}

/* An error if what has been folded is not what would be folded now. */
static void
check_same(const Refold *refold, const OpenProjection *work)
{
	const Projection *before = refold->projection;
	const Projection *now = work->projection;

	if (before->read_model == now->read_model &&
		before->partitions == now->partitions &&
		before->relation == now->relation &&
		(before->declared == NULL) == (now->declared == NULL) &&
		(before->declared == NULL ||
		 strcmp(before->declared->definition, now->declared->definition) == 0) &&
		equalTupleDescs(refold->desc, RelationGetDescr(work->read_model)))
		return;
	refuse_changed(refold);
}

/* The projection was opened anew; an error if it or a table was altered. */
void
RefoldUse(Refold *refold, OpenProjection *work)
{
	check_same(refold, work);
	RefoldCloseSink(refold);
	refold->work = work;
	refold->snapshot = GetActiveSnapshot();
	RefoldOpenSink(refold);
	ShadowUse(refold->shadow, refold->sink.key);
	for (int i = 0; i < GROUPS_MAX; i++)
	{
		if (refold->reached[i] != NULL)
			refold->reached[i]->type = refold->sink.key;
	}
}

/* Give up the upper half of the range, as often as rows use too much memory. */
void
RefoldNarrow(Refold *refold)
{
	while (ShadowMemory(refold->shadow) > RefoldShare() &&
		   refold->last > refold->first && !refold->compared)
	{
		refold->most = Max(refold->most, RefoldMemory(refold));
		refold->last = refold->first + (refold->last - refold->first) / 2;
		ShadowKeepUpTo(refold->shadow, refold->last);
	}
}

/* Have somebody told how far the reading is. */
void
RefoldWatch(Refold *refold, RefoldWatcher watch, void *arg)
{
	refold->watch = watch;
	refold->watch_arg = arg;
}

/* Tell how far we are, and give up the upper half of the range if asked to. */
void
RefoldReport(Refold *refold, int64 no)
{
	uint32		half = refold->first + (refold->last - refold->first) / 2;
	double		part = (double) (no - refold->read_from) /
		Max(refold->read_to - refold->read_from, 1);

	if (refold->compared ||
		!refold->watch(refold->watch_arg, part,
					   ((uint64) half << 32) | PG_UINT32_MAX))
		return;
	refold->last = half;
	ShadowKeepUpTo(refold->shadow, refold->last);
}

/* SavepointStep: all that is to be folded */
static void
advance_step(void *arg)
{
	Refold	   *refold = arg;

	RefoldBeginFold(refold);
	RefoldRead(refold);
	RefoldApply(refold);
}

/* Forget all that was folded. */
static void
begin_anew(Refold *refold)
{
	MemoryContext old = MemoryContextSwitchTo(refold->context);

	if (refold->compared)
		ShadowForgetRows(refold->shadow);
	else
	{
		ShadowEnd(refold->shadow);
		refold->shadow = ShadowBegin(refold->sink.key);
	}
	if (refold->sink.run != NULL)
	{
		MergeRunOpen(refold->sink.run, refold->work->read_model);
		MergeRowKeepSums(refold->sink.run);
	}
	refold->no_keys = NIL;
	begin_positions(refold);
	refold->group = -1;
	refold->guarded = true;
	MemoryContextSwitchTo(old);
}

/* Groups have reached what is applied now; what none of them is at is freed. */
static void
arrive(Refold *refold)
{
	Applied    *before[GROUPS_MAX];
	int			groups = refold->now->groups;

	memcpy(before, refold->reached, sizeof(before));
	for (int i = 0; i < groups; i++)
	{
		if (refold->group < 0 || refold->group == i)
			refold->reached[i] = refold->now;
	}
	for (int i = 0; i < groups; i++)
	{
		bool		wanted = before[i] == NULL;

		for (int k = 0; k < groups && !wanted; k++)
			wanted = before[i] == refold->reached[k];
		if (wanted)
			continue;
		MemoryContextDelete(before[i]->context);
		for (int k = groups - 1; k >= i; k--)
		{
			if (before[k] == before[i])
				before[k] = NULL;
		}
	}
}

/*
 * Fold on to what the snapshot shows.  An error of reading an event does not say
 * whose it is: then all is read again, each event in a subtransaction.
 */
void
RefoldAdvance(Refold *refold, Snapshot snapshot, int group)
{
	MemoryContext old = MemoryContextSwitchTo(refold->context);
	ErrorData  *error;

	refold->snapshot = snapshot;
	refold->group = group;
	if (refold->projection->declared != NULL &&
		!DeclaredIsAsOf(refold->projection->name,
						refold->projection->declared->definition, snapshot))
		refuse_changed(refold);
	refold->now = AppliedAsOf(refold->projection, refold->sink.key, snapshot);
	PushActiveSnapshot(snapshot);
	error = InSavepoint(advance_step, refold);
	if (error != NULL && (refold->guarded || !ErrorIsOfEvent(error->sqlerrcode)))
		ReThrowError(error);
	if (error != NULL)
	{
		FreeErrorData(error);
		begin_anew(refold);
		advance_step(refold);
	}
	PopActiveSnapshot();
	MemoryContextDelete(refold->fold_context);
	refold->fold_context = NULL;
	refold->fold = NULL;
	arrive(refold);
	MemoryContextSwitchTo(old);
}

/* The end of the range that the refold really has. */
uint64
RefoldLast(const Refold *refold)
{
	return ((uint64) refold->last << 32) | PG_UINT32_MAX;
}

int64
RefoldCount(const Refold *refold)
{
	return ShadowCount(refold->shadow);
}

const Bitmapset *
RefoldColumns(const Refold *refold)
{
	return refold->columns;
}

/* In bytes. */
Size
RefoldMemory(const Refold *refold)
{
	return MemoryContextMemAllocated(refold->context, true);
}

Size
RefoldMemoryMost(const Refold *refold)
{
	return Max(refold->most, RefoldMemory(refold));
}

/* Free it; nothing of it is left. */
void
RefoldEnd(Refold *refold)
{
	RefoldCloseSink(refold);
	MemoryContextDelete(refold->context);
}
