/*
 * batch.c
 *		One batch: claim, settle, read, fold, apply, save.
 *
 * A batch runs in whatever transaction it is given; projection_run calls it
 * straight, the consume procedure wraps it in transactions of its own.  Its
 * steps, in an order that exactness rests on:
 *
 *	open	the projection's lock (shared), the stream, the read model
 *	claim	lock partitions that nobody else holds; read their positions
 *	settle	the last number drawn, then who is writing (stream/settle.c)
 *	read	under a snapshot taken now: the gaps, then all above the lowest
 *			head, in order of number
 *	fold	events of claimed partitions that are not applied yet, in memory
 *	apply	a row per key
 *	save	the new positions
 *
 * An event is seen whatever its partition or type is, so the numbers that are
 * missing are known.  Those that are settled need not be remembered.
 *
 * Gaps are looked up again only when a transaction that may fill one has
 * ended (gapwatch.c).
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "errors.h"
#include "handler/apply.h"
#include "keylock.h"
#include "projection/batch.h"
#include "projection/gapwatch.h"
#include "projection/partition.h"
#include "settings.h"
#include "stream/settle.h"

/* how often the memory of a fold is looked at, in events */
#define MEMORY_CHECK 256

typedef struct Batch
{
	const struct Batch *outer;	/* whose trigger has begun this one */
	Projection *projection;
	const BatchLimits *limits;
	Stream	   *stream;
	Relation	read_model;
	OwnerScope	owner;
	Claims		claims;
	Claim	   *claim_of[PARTITIONS_MAX];	/* by partition; NULL: not ours */
	Settlement	settlement;
	Snapshot	snapshot;
	int64		low;			/* the lowest head */
	ReadReport	report;
	NumberSet	seen;			/* numbers seen above settled */
	Fold	   *fold;
	int64		max_events;		/* 0: any number */
	Size		max_memory;
	int			since_check;	/* events since the memory was looked at */
	int			type_length;	/* of the projection's aggregate type */
} Batch;

/* the batch that is running in this process, or NULL */
static const Batch *running = NULL;

/* Raise an error if batches cannot run in a transaction like this. */
void
BatchCheckTransaction(const char *command)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("projections cannot run in a transaction of isolation level %s",
						IsolationIsSerializable() ? "SERIALIZABLE" : "REPEATABLE READ"),
				 errdetail("Its snapshot may be older than the events that are settled."),
				 errhint("Use READ COMMITTED.")));
	PreventCommandIfReadOnly(command);
}

/* open: locks, rights, relations; from here on we are the owner */
static void
batch_open(Batch *batch, const char *name)
{
	Projection *projection;

	BatchCheckTransaction(batch->limits->command);
	for (const Batch *outer = running; outer != NULL; outer = outer->outer)
	{
		if (strcmp(outer->projection->name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("projection \"%s\" is running in this session already",
							name),
					 errhint("A trigger on its read model must not run it.")));
	}
	KeyLock(KEYLOCK_PROJECTION, name, ShareLock);
	projection = batch->projection = ProjectionFetch(name);
	batch->type_length = strlen(projection->aggregate_type);
	ProjectionCheckInitialized(projection);
	batch->read_model = ProjectionOpenReadModel(projection, RowExclusiveLock);

	batch->owner = OwnerEnter(projection);
	batch->stream = StreamOpen(projection->stream, AccessShareLock, false);
	StreamCheckRights(batch->stream, GetUserId(), ACL_SELECT);
	if (RelationGetRelid(batch->stream->relation) != projection->relation)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" is not the table that projection \"%s\" was initialized with",
						batch->stream->name, name),
				 errdetail("It was dropped and made anew; the positions are of the old one."),
				 errhint("Start again with: SELECT projection_reset(%s);",
						 quote_literal_cstr(name))));
}

/* An error if the stream's numbers have begun again below the positions. */
static void
check_forwards(Batch *batch, const Claim *claims, int count,
			   int64 last_number)
{
	for (int i = 0; i < count; i++)
	{
		if (claims[i].position.head <= last_number)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the numbers of stream \"%s\" went backwards",
						batch->stream->name),
				 errdetail("The last number drawn is %lld, but projection \"%s\" has applied number %lld.",
						   (long long) last_number, batch->projection->name,
						   (long long) claims[i].position.head),
				 errhint("If the stream was truncated or restored, start the projection again with projection_reset. Otherwise set its sequence forward.")));
	}
}

/* Is there anything to look at?  Reads what is committed and locks nothing. */
static bool
batch_has_work(Batch *batch)
{
	int			count;
	Claim	   *claims = PartitionsPeek(batch->projection, &count);
	int64		last_number = StreamLastNumber(batch->stream->parts.sequence);
	bool		gaps = false;

	check_forwards(batch, claims, count, last_number);
	for (int i = 0; i < count; i++)
	{
		if (claims[i].position.head < last_number)
			return true;
		gaps = gaps || claims[i].position.gaps.count > 0;
	}
	return gaps &&
		!GapsUnchanged(batch->projection->name, claims, count);
}

/* How many partitions to claim. */
static int
batch_share(Batch *batch)
{
	const char *name = batch->projection->name;
	int			consumers;

	if (batch->limits->partitions > 0)
		return batch->limits->partitions;
	consumers = KeyLockOthers(KEYLOCK_PRESENCE, name) + 1;
	return (batch->projection->partitions + consumers - 1) / consumers;
}

/* claim: lock partitions; false if others hold them all */
static bool
batch_claim(Batch *batch)
{
	KeyLock(KEYLOCK_PRESENCE, batch->projection->name, ShareLock);
	batch->claims = PartitionsClaim(batch->projection, batch_share(batch));
	if (batch->claims.count == 0)
		return false;
	batch->low = batch->claims.claims[0].position.head;
	for (int i = 0; i < batch->claims.count; i++)
	{
		Claim	   *claim = &batch->claims.claims[i];

		batch->claim_of[claim->partition] = claim;
	}
	return true;
}

/* Raise the error that an event cannot be applied. */
static void
refuse_event(const Batch *batch, const char *events, const char *key,
			 int key_length, int code, const char *reason)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("projection \"%s\" cannot apply %s of stream \"%s\" to %s \"%.*s\": %s",
					batch->projection->name, events, batch->stream->name,
					batch->projection->aggregate_type, key_length, key,
					reason),
			 errdetail("Nothing was changed; the projection stands before this event."),
			 errhint("Correct the read model or the event, then run the projection again.")));
}

/* The event that failed, or the ones of which one did. */
static char *
name_events(const FoldEntry *entry, int64 no)
{
	if (no == 0 && entry->first_no == entry->last_no)
		no = entry->first_no;
	if (no != 0)
		return psprintf("event %lld", (long long) no);
	return psprintf("one of the events %lld to %lld",
					(long long) entry->first_no, (long long) entry->last_no);
}

/* fold: the events that were taken in */
static void
batch_flush(Batch *batch)
{
	BadEvent	bad;

	if (!FoldFlush(batch->fold, &bad))
		refuse_event(batch, psprintf("event %lld", (long long) bad.event.no),
					 bad.event.key, bad.event.key_length, ERRCODE_BAD_EVENT,
					 bad.reason);
}

/* Has a limit been reached?  Then everything is folded. */
static bool
batch_full(Batch *batch)
{
	int64		taken = FoldEvents(batch->fold) + FoldWaiting(batch->fold);

	if (batch->max_events > 0 && taken >= batch->max_events)
	{
		/* some may turn out to be ignored */
		batch_flush(batch);
		return FoldEvents(batch->fold) >= batch->max_events;
	}
	if (++batch->since_check < MEMORY_CHECK)
		return false;
	batch->since_check = 0;
	if (FoldMemory(batch->fold) <= batch->max_memory)
		return false;
	batch_flush(batch);
	return true;
}

/* EventReceiver: any event of the stream, in order of number */
static bool
batch_receive(void *state, const Event *event)
{
	Batch	   *batch = state;
	const Claim *claim;
	uint64		hash;
	BadEvent	bad;

	batch->report.last = event->no;
	if (event->no > batch->settlement.settled)
		NumberSetAppend(&batch->seen, event->no, event->no);
	if (event->type_length != batch->type_length ||
		memcmp(event->type, batch->projection->aggregate_type,
			   batch->type_length) != 0)
		return true;
	hash = PartitionHash(event->key, event->key_length);
	claim = batch->claim_of[hash % batch->projection->partitions];
	if (claim == NULL ||
		(event->no <= claim->position.head &&
		 PositionApplied(&claim->position, event->no)))
		return true;
	if (!FoldAdd(batch->fold, event, hash, &bad))
		refuse_event(batch, psprintf("event %lld", (long long) bad.event.no),
					 bad.event.key, bad.event.key_length, ERRCODE_BAD_EVENT,
					 bad.reason);
	return !batch_full(batch);
}

/* Read the gaps of all claims that lie at or below the lowest head. */
static bool
read_gaps(Batch *batch)
{
	NumberSet	gaps = {0};
	bool		more = true;

	for (int i = 0; i < batch->claims.count; i++)
		gaps = NumberSetUnion(&gaps, &batch->claims.claims[i].position.gaps);
	gaps = NumberSetBetween(&gaps, PG_INT64_MIN, batch->low);
	for (int i = 0; i < gaps.count && more; i++)
		more = ReadEvents(batch->stream, batch->snapshot,
						  gaps.ranges[i].first, gaps.ranges[i].last,
						  batch_receive, batch);
	return more;
}

/* An error if an event has a number that its sequence has not given yet. */
static void
check_numbered(Batch *batch)
{
	int64		last_number = StreamLastNumber(batch->stream->parts.sequence);

	if (batch->report.last > last_number)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("event %lld of stream \"%s\" was not numbered by the stream's sequence",
						(long long) batch->report.last, batch->stream->name),
				 errdetail("The last number drawn is %lld.",
						   (long long) last_number),
				 errhint("Events must not be inserted with OVERRIDING SYSTEM VALUE or copied with numbers of their own. Delete the event, or set the sequence forward with setval.")));
}

/* read: under a snapshot that is newer than the settlement */
static void
batch_read(Batch *batch)
{
	bool		more = true;

	batch->snapshot = RegisterSnapshot(GetLatestSnapshot());
	batch->fold = FoldBegin(batch->projection->handler);
	/* the first range is allocated here, where the batch lives */
	batch->seen.capacity = 64;
	batch->seen.ranges = palloc_array(NumberRange, batch->seen.capacity);
	batch->report.seen = &batch->seen;
	batch->report.settled = batch->settlement.settled;

	if (GapsUnchanged(batch->projection->name, batch->claims.claims,
					  batch->claims.count))
		batch->report.from = batch->low + 1;
	else
	{
		batch->report.from = PG_INT64_MIN;
		more = read_gaps(batch);
	}
	if (more)
		more = ReadEvents(batch->stream, batch->snapshot, batch->low + 1,
						  PG_INT64_MAX, batch_receive, batch);
	batch->report.whole = more;
	batch_flush(batch);
	check_numbered(batch);
}

/* Is an error the fault of the row that was being written? */
static bool
is_of_row(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* no resources */
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'):	/* lock time-out */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* cancel, shutdown */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* I/O */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):	/* internal */
			return false;
	}
	return true;
}

/* Raise the read model's own error again, saying which event it came from. */
static void
rethrow_error(Batch *batch, Apply *apply, MemoryContext context)
{
	const FoldEntry *entry = ApplyCurrent(apply);
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (!is_of_row(error->sqlerrcode))
		PG_RE_THROW();
	FlushErrorState();
	if (error->hint == NULL)
		error->hint = pstrdup("Correct the read model or the event, then run the projection again.");
	if (entry != NULL && entry->creates &&
		error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		ApplyIsKeyConstraint(apply, error->constraint_name))
		refuse_event(batch, name_events(entry, entry->first_no),
					 FoldEntryKey(entry), entry->key_length,
					 ERRCODE_BAD_EVENT, "it was created before");
	if (entry != NULL)
		error->message =
			psprintf("projection \"%s\" cannot apply %s of stream \"%s\" to %s \"%.*s\": %s",
					 batch->projection->name, name_events(entry, 0),
					 batch->stream->name, batch->projection->aggregate_type,
					 entry->key_length, FoldEntryKey(entry), error->message);
	else
		error->message =
			psprintf("projection \"%s\" cannot apply events up to %lld of stream \"%s\": %s",
					 batch->projection->name, (long long) batch->report.last,
					 batch->stream->name, error->message);
	ReThrowError(error);
}

/* apply: what was folded, a row per key */
static void
batch_apply(Batch *batch)
{
	MemoryContext context = CurrentMemoryContext;
	ApplyFailure failure = {0};
	Apply	   *apply;

	if (FoldEvents(batch->fold) == 0)
		return;
	apply = ApplyBegin(batch->projection->handler, batch->read_model,
					   batch->snapshot);
	PG_TRY();
	{
		if (ApplyFold(apply, batch->fold, &failure))
			ApplyEnd(apply);
	}
	PG_CATCH();
	{
		rethrow_error(batch, apply, context);
	}
	PG_END_TRY();
	if (failure.entry != NULL)
		refuse_event(batch, name_events(failure.entry, failure.no),
					 FoldEntryKey(failure.entry),
					 failure.entry->key_length,
					 ERRCODE_BAD_EVENT, failure.reason);
}

/* save: the new positions */
static void
batch_save(Batch *batch)
{
	for (int i = 0; i < batch->claims.count; i++)
	{
		Claim	   *claim = &batch->claims.claims[i];
		Position	position = PositionAdvance(&claim->position,
											   &batch->report);

		PartitionSave(batch->projection, &batch->claims, claim, &position);
	}
	GapsWatch(batch->projection->name, &batch->claims, &batch->settlement,
			  batch->report.whole && !batch->settlement.own);
}

/* Give back all but the locks, which last as long as the transaction. */
static void
batch_close(Batch *batch)
{
	if (batch->snapshot != NULL)
		UnregisterSnapshot(batch->snapshot);
	if (batch->claims.catalog != NULL)
		PartitionsRelease(&batch->claims);
	table_close(batch->read_model, NoLock);
	StreamRelease(batch->stream);
	OwnerLeave(&batch->owner);
}

static BatchOutcome
batch_steps(Batch *batch)
{
	if (!batch_has_work(batch))
		return BATCH_IDLE;
	if (!batch_claim(batch))
		return BATCH_BUSY;
	batch->settlement = Settle(batch->stream);
	check_forwards(batch, batch->claims.claims, batch->claims.count,
				   batch->settlement.last_number);
	batch_read(batch);
	batch_apply(batch);
	batch_save(batch);
	return batch->report.whole ? BATCH_WHOLE : BATCH_CUT;
}

/*
 * The steps between open and close.  A failure is forgotten when there is
 * nothing left to do, or a batch of all partitions went well: what failed was
 * in it.
 */
static BatchOutcome
batch_work(Batch *batch)
{
	BatchOutcome outcome = BATCH_IDLE;

	batch->outer = running;
	running = batch;
	PG_TRY();
	{
		outcome = batch_steps(batch);
	}
	PG_FINALLY();
	{
		running = batch->outer;
	}
	PG_END_TRY();
	if (batch->projection->last_error != NULL &&
		(outcome == BATCH_IDLE ||
		 batch->claims.count == batch->projection->partitions))
		ProjectionSaveError(batch->projection->name, NULL);
	return outcome;
}

/* How many events a batch may apply; 0: any number. */
static int64
max_events(const Projection *projection, const BatchLimits *limits)
{
	if (!limits->sized)
		return limits->events;
	if (limits->events == 0)
		return projection->batch_size;
	return Min(limits->events, projection->batch_size);
}

/*
 * Run one batch of a projection in the current transaction.  An event that
 * cannot be applied is an error (see errors.h), and so is all else that goes
 * wrong: the transaction then takes everything back.
 */
BatchResult
BatchRun(const char *projection, const BatchLimits *limits)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection batch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Batch	   *batch = palloc0(sizeof(Batch));
	BatchResult result = {0};

	batch->limits = limits;
	batch->max_memory = (Size) BatchMemory * 1024;
	PushActiveSnapshot(GetLatestSnapshot());
	batch_open(batch, projection);
	batch->max_events = max_events(batch->projection, limits);
	result.outcome = batch_work(batch);
	result.events = batch->fold != NULL ? FoldEvents(batch->fold) : 0;
	result.partial = batch->claims.count < batch->projection->partitions;
	batch_close(batch);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return result;
}
