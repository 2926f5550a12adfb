/*
 * reader.c
 *		Events in order of their number, into a receiver.
 *
 * An ordinary table is read through its index on the number, a page of the
 * table at a time: the index gives places in order, neighbours among them are
 * on one page, and that page is locked once for all of them.  The columns of
 * an event are taken straight out of the tuple: the stream's shape has been
 * checked.
 *
 * A table with children is read by a merge of their indexes (merged.c), if rows
 * are asked for; what cannot be read so, or is of another access method,
 * through a plan in chunks (rows.c, if rows are asked for).
 */
#include "postgres.h"

#include "compat.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/tupmacs.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "remember.h"
#include "stream/merged.h"
#include "stream/reader.h"
#include "stream/rows.h"

/* rows per execution of the plan; a limit lets the planner use the indexes */
#define CHUNK_ROWS 10000

/* a read of fewer pages does without asking how large the table is */
#define FEW_PAGES 16

/* bytes that memory gives at once */
#define CACHE_LINE 64

/* how many tuples of a page are asked for ahead */
#define PREFETCH_DISTANCE 6

/* A text: nearly always plain, but compressed or out of line it may be. */
static inline void
read_text(const char *value, const char **bytes, int *length)
{
	if (unlikely(VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value)))
		value = (const char *) pg_detoast_datum_packed((struct varlena *) value);
	*bytes = VARDATA_ANY(value);
	*length = VARSIZE_ANY_EXHDR(value);
}

/* The value of variable length at this offset; moves the offset behind it. */
static inline const char *
next_value(const char *data, uint32 *offset)
{
	const char *value;

	*offset = att_align_pointer(*offset, TYPALIGN_INT, -1, data + *offset);
	value = data + *offset;
	*offset = att_addlength_pointer(*offset, -1, value);
	return value;
}

/* The event in a tuple that has not all columns in it, or nulls among them. */
static void
event_from_odd_tuple(Event *event, HeapTuple tuple, TupleDesc desc)
{
	static const AttrNumber wanted[] = {STREAM_NO, STREAM_EVENT_NAME,
		STREAM_AGGREGATE_TYPE, STREAM_AGGREGATE_ID, STREAM_PAYLOAD,
	STREAM_AGGREGATE_VERSION};
	Datum		values[lengthof(wanted)];

	for (int i = 0; i < lengthof(wanted); i++)
	{
		bool		isnull;

		values[i] = heap_getattr(tuple, wanted[i], desc, &isnull);
		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("column \"%s\" of an event is null",
							NameStr(TupleDescAttr(desc, wanted[i] - 1)->attname))));
	}
	event->no = DatumGetInt64(values[0]);
	read_text(DatumGetPointer(values[1]), &event->name, &event->name_length);
	read_text(DatumGetPointer(values[2]), &event->type, &event->type_length);
	read_text(DatumGetPointer(values[3]), &event->key, &event->key_length);
	event->payload = values[4];
	event->version = DatumGetInt64(values[5]);
	event->slot = NULL;
}

/* Are all columns that make an event in the tuple, and none of them null? */
static inline bool
is_plain(HeapTupleHeader tuple)
{
	const uint8 columns = (1 << STREAM_PAYLOAD) - 1;

	return HeapTupleHeaderGetNatts(tuple) >= STREAM_PAYLOAD &&
		((tuple->t_infomask & HEAP_HASNULL) == 0 ||
		 (tuple->t_bits[0] & columns) == columns);
}

/* The event in a tuple of the stream's table. */
static inline void
event_from_tuple(Event *event, HeapTuple tuple)
{
	const char *data = (char *) tuple->t_data + tuple->t_data->t_hoff;
	uint32		offset = sizeof(int64) + UUID_LEN;

	memcpy(&event->no, data, sizeof(int64));
	read_text(next_value(data, &offset), &event->name, &event->name_length);
	read_text(next_value(data, &offset), &event->type, &event->type_length);
	read_text(next_value(data, &offset), &event->key, &event->key_length);
	offset = att_align_nominal(offset, TYPALIGN_DOUBLE);
	memcpy(&event->version, data + offset, sizeof(int64));
	offset += sizeof(int64);
	event->payload = PointerGetDatum(next_value(data, &offset));
	event->slot = NULL;
}

/* The event in a row of the plan. */
static void
event_from_slot(Event *event, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	event->no = DatumGetInt64(slot->tts_values[0]);
	read_text(DatumGetPointer(slot->tts_values[1]), &event->name,
			  &event->name_length);
	read_text(DatumGetPointer(slot->tts_values[2]), &event->type,
			  &event->type_length);
	read_text(DatumGetPointer(slot->tts_values[3]), &event->key,
			  &event->key_length);
	event->payload = slot->tts_values[4];
	event->version = DatumGetInt64(slot->tts_values[5]);
	event->slot = NULL;
}

/* Places on one page, in order of their events' numbers. */
typedef struct PageRun
{
	ErrorContextCallback context;	/* while pages are read */
	const char *stream;
	TupleTableSlot *slot;		/* for rows; or NULL */
	int64		first;			/* number that was asked for */
	int64		last;			/* number that was read; 0: none yet */
	BufferAccessStrategy strategy;	/* NULL: as usual */
	Buffer		buffer;			/* the page of the last run, pinned */
	BlockNumber block;
	int			count;
	OffsetNumber offsets[MaxHeapTuplesPerPage];
} PageRun;

/*
 * Error context: a damaged page does not say which events were on it; those
 * that were read before it do.
 */
static void
tell_place(void *arg)
{
	const PageRun *run = arg;

	if (run->last == 0)
		errcontext("reading stream \"%s\" from event %lld on",
				   run->stream, (long long) run->first);
	else
		errcontext("reading stream \"%s\" after event %lld",
				   run->stream, (long long) run->last);
}

static PageRun *
begin_run(const Stream *stream, int64 first)
{
	PageRun    *run = palloc0(sizeof(PageRun));

	run->stream = stream->name;
	run->first = first;
	if (stream->rows)
		run->slot = MakeSingleTupleTableSlot(RelationGetDescr(stream->relation),
											 &TTSOpsBufferHeapTuple);
	run->context.callback = tell_place;
	run->context.arg = run;
	run->context.previous = error_context_stack;
	error_context_stack = &run->context;
	return run;
}

/* Pin the page of a run. */
static void
go_to_block(const Stream *stream, PageRun *run)
{
	if (BufferIsValid(run->buffer))
	{
		if (BufferGetBlockNumber(run->buffer) == run->block)
			return;
		ReleaseBuffer(run->buffer);
	}
	run->buffer = ReadBufferExtended(stream->relation, MAIN_FORKNUM,
									 run->block, RBM_NORMAL, run->strategy);
}

/* The tuple at this place of a locked page; false if it is not to be seen. */
static inline bool
fetch_tuple(const Stream *stream, Snapshot snapshot, const PageRun *run,
			OffsetNumber offset, bool all_visible, HeapTuple tuple)
{
	ItemPointerData tid;

	ItemPointerSet(&tid, run->block, offset);
	if (all_visible)
	{
		Page		page = BufferGetPage(run->buffer);

		/* a VACUUM since the index was read may have taken the place away */
		if (offset <= PageGetMaxOffsetNumber(page) &&
			ItemIdIsNormal(PageGetItemId(page, offset)))
		{
			tuple->t_data = (HeapTupleHeader)
				PageGetItem(page, PageGetItemId(page, offset));
			return true;
		}
	}
	return heap_hot_search_buffer(&tid, stream->relation, run->buffer,
								  snapshot, tuple, NULL, true);
}

/* Ask for a tuple of a page before it is needed. */
static inline void
prefetch_tuple(const PageRun *run, int i)
{
	Page		page = BufferGetPage(run->buffer);

	if (i < run->count && run->offsets[i] <= PageGetMaxOffsetNumber(page))
	{
		/* no PageGetItem(): a VACUUM may have taken the tuple away */
		const char *item = page + ItemIdGetOffset(PageGetItemId(page, run->offsets[i]));

		/* the header, and where the aggregate's id is */
		__builtin_prefetch(item);
		__builtin_prefetch(item + CACHE_LINE);
	}
}

/* The event in a tuple of a run's page, as a row. */
static void
event_from_row(const Stream *stream, Event *event, PageRun *run,
			   HeapTuple tuple)
{
	memset(event, 0, sizeof(*event));
	event->slot = ExecStoreBufferHeapTuple(tuple, run->slot, run->buffer);
	event->no = StreamPosition(stream, event->slot);
}

/* Give the receiver what the snapshot sees of a run. */
static bool
read_run(const Stream *stream, Snapshot snapshot, PageRun *run,
		 EventReceiver receive, void *state)
{
	HeapTupleData tuples[MaxHeapTuplesPerPage];
	int			visible = 0;
	bool		all_visible;
	bool		more = true;

	go_to_block(stream, run);
	LockBuffer(run->buffer, BUFFER_LOCK_SHARE);

	/*
	 * On a standby a page may say so before its tuples are visible to all of
	 * the standby's snapshots.
	 */
	all_visible = PageIsAllVisible(BufferGetPage(run->buffer)) &&
		!snapshot->takenDuringRecovery;
	for (int i = 0; i < run->count; i++)
	{
		prefetch_tuple(run, i + PREFETCH_DISTANCE);
		if (fetch_tuple(stream, snapshot, run, run->offsets[i], all_visible,
						&tuples[visible]))
			visible++;
	}
	LockBuffer(run->buffer, BUFFER_LOCK_UNLOCK);

	/* the receiver's errors are its own */
	error_context_stack = run->context.previous;
	/* the pin keeps the tuples where they are */
	for (int i = 0; i < visible && more; i++)
	{
		Event		event;

		if (run->slot != NULL)
			event_from_row(stream, &event, run, &tuples[i]);
		else if (likely(is_plain(tuples[i].t_data)))
			event_from_tuple(&event, &tuples[i]);
		else
			event_from_odd_tuple(&event, &tuples[i],
								 RelationGetDescr(stream->relation));
		run->last = event.no;
		more = receive(state, &event);
	}
	error_context_stack = &run->context;
	run->count = 0;
	return more;
}

/*
 * The read is not short: as a sequential scan does, keep a large table from
 * filling the cache.
 */
static void
go_on_for_long(const Stream *stream, PageRun *run)
{
	if (RelationGetNumberOfBlocks(stream->relation) > NBuffers / 4)
		run->strategy = GetAccessStrategy(BAS_BULKREAD);
}

/* Read an ordinary table. */
static bool
read_heap(const Stream *stream, Snapshot snapshot, int64 first, int64 last,
		  EventReceiver receive, void *state)
{
	Relation	index = index_open(stream->parts.number_index, AccessShareLock);
	IndexScanDesc scan = compat_index_beginscan(stream->relation, index,
												snapshot, 2);
	PageRun    *run = begin_run(stream, first);
	ScanKeyData keys[2];
	ItemPointer place;
	int			runs = 0;
	bool		more = true;

	StreamNumberKey(&stream->parts, &keys[0], BTGreaterEqualStrategyNumber,
					first);
	StreamNumberKey(&stream->parts, &keys[1], BTLessEqualStrategyNumber, last);
	index_rescan(scan, keys, 2, NULL, 0);
	while (more &&
		   (place = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		BlockNumber block = ItemPointerGetBlockNumber(place);

		if (run->count == MaxHeapTuplesPerPage ||
			(run->count > 0 && block != run->block))
		{
			OffsetNumber offset = ItemPointerGetOffsetNumber(place);

			CHECK_FOR_INTERRUPTS();
			if (++runs == FEW_PAGES)
				go_on_for_long(stream, run);
			more = read_run(stream, snapshot, run, receive, state);
			run->offsets[0] = offset;
		}
		else
			run->offsets[run->count] = ItemPointerGetOffsetNumber(place);
		run->block = block;
		run->count++;
	}
	if (more && run->count > 0)
		more = read_run(stream, snapshot, run, receive, state);
	error_context_stack = run->context.previous;
	if (BufferIsValid(run->buffer))
		ReleaseBuffer(run->buffer);
	if (run->slot != NULL)
		ExecDropSingleTupleTableSlot(run->slot);
	if (run->strategy != NULL)
		FreeAccessStrategy(run->strategy);
	index_endscan(scan);
	index_close(index, AccessShareLock);
	pfree(run);
	return more;
}

/* A destination for the plan's rows. */
typedef struct EventDestination
{
	DestReceiver pub;
	EventReceiver receive;
	void	   *state;
	int64		last_number;
	bool		more;
	bool		begun;
	int64		previous;		/* number, in any chunk */
} EventDestination;

static bool
destination_receive(TupleTableSlot *slot, DestReceiver *self)
{
	EventDestination *destination = (EventDestination *) self;
	Event		event;

	event_from_slot(&event, slot);
	destination->last_number = event.no;
	/* an event that was copied into a child is one event */
	if (destination->begun && event.no == destination->previous)
		return true;
	destination->begun = true;
	destination->previous = event.no;
	destination->more = destination->receive(destination->state, &event);
	return destination->more;
}

static void
destination_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
destination_ignore(DestReceiver *self)
{
}

/* Read any kind of table, a chunk at a time. */
static bool
read_plan(const Stream *stream, Snapshot snapshot, int64 first, int64 last,
		  EventReceiver receive, void *state)
{
	EventDestination destination = {.pub = {destination_receive, destination_startup,
	destination_ignore, destination_ignore, DestNone},.receive = receive,.state = state,.more = true};
	Oid			types[2] = {INT8OID, INT8OID};
	Relation	relation = stream->relation;
	char	   *query;
	SPIPlanPtr	plan;
	uint64		rows;

	query = psprintf("SELECT no, event_name, aggregate_type, aggregate_id, payload, aggregate_version"
					 " FROM %s WHERE no OPERATOR(pg_catalog.>=) $1"
					 " AND no OPERATOR(pg_catalog.<=) $2 ORDER BY no LIMIT %d",
					 QualifiedName(relation),
					 CHUNK_ROWS);
	SPI_connect();
	plan = SPI_prepare_cursor(query, 2, types, CURSOR_OPT_CUSTOM_PLAN);
	if (plan == NULL)
		elog(ERROR, "unexpected result of preparing a read of stream \"%s\"",
			 stream->name);
	PushActiveSnapshot(snapshot);
	do
	{
		SPIExecuteOptions options = {0};
		ParamListInfo params = makeParamList(2);

		for (int i = 0; i < 2; i++)
		{
			params->params[i].value = Int64GetDatum(i == 0 ? first : last);
			params->params[i].isnull = false;
			params->params[i].pflags = PARAM_FLAG_CONST;
			params->params[i].ptype = INT8OID;
		}
		options.params = params;
		options.read_only = true;
		options.dest = (DestReceiver *) &destination;
		destination.last_number = 0;
		if (SPI_execute_plan_extended(plan, &options) < 0)
			elog(ERROR, "unexpected result of reading stream \"%s\"",
				 stream->name);
		rows = SPI_processed;
		if (destination.last_number >= last)
			break;
		first = destination.last_number + 1;
	} while (destination.more && rows == CHUNK_ROWS);
	PopActiveSnapshot();
	SPI_finish();
	return destination.more;
}

/*
 * Give the receiver the events first..last that the snapshot sees, in order of
 * their number.  Returns false where the receiver ended the read.
 */
bool
ReadEvents(const Stream *stream, Snapshot snapshot, int64 first, int64 last,
		   EventReceiver receive, void *state)
{
	Form_pg_class form = stream->relation->rd_rel;
	Merged	   *merged = NULL;

	if (form->relkind == RELKIND_RELATION &&
		form->relam == HEAP_TABLE_AM_OID &&
		(!form->relhassubclass || stream->alone) &&
		!(stream->rows && compat_has_virtual_columns(stream->relation)))
		return read_heap(stream, snapshot, first, last, receive, state);
	if (stream->rows && form->relhassubclass && !stream->alone)
		merged = MergedOpen(stream, snapshot);
	if (merged != NULL)
		return MergedRead(merged, snapshot, first, last, receive, state);
	if (stream->rows)
		return ReadRowsWhere(stream, snapshot, NIL, first, last, receive,
							 state);
	return read_plan(stream, snapshot, first, last, receive, state);
}

/* How the events of a stream's aggregate are read. */
typedef struct KeyPlan
{
	Oid			relid;			/* hash key */
	char	   *query;
	SPIPlanPtr	plan;
} KeyPlan;

static HTAB *key_plans = NULL;

static KeyPlan *
find_key_plan(Oid relid)
{
	return RememberedOfTable(&key_plans, "wallet_projection key plans", relid,
							 sizeof(KeyPlan));
}

/*
 * The plan of this query, which is kept as long as the table has its name:
 * where many keys fail, their events are read one key after the other.
 */
static SPIPlanPtr
plan_for(Oid relid, const char *query, int nargs, Oid *types)
{
	KeyPlan    *kept = find_key_plan(relid);

	if (kept->plan != NULL && strcmp(kept->query, query) == 0)
		return kept->plan;
	if (kept->plan != NULL)
		(void) SPI_freeplan(kept->plan);
	kept->plan = NULL;
	if (kept->query != NULL)
		pfree(kept->query);
	kept->query = NULL;
	kept->query = MemoryContextStrdup(CacheMemoryContext, query);
	kept->plan = SPI_prepare_cursor(query, nargs, types, CURSOR_OPT_CUSTOM_PLAN);
	if (kept->plan != NULL)
		(void) SPI_keepplan(kept->plan);
	return kept->plan;
}

/*
 * Give the receiver the events of one aggregate with the numbers first..last
 * that the snapshot sees, in order of number.  Returns false where the
 * receiver ended the read.  The planner chooses whether the aggregate's events
 * or these numbers are fewer.
 */
bool
ReadKeyEvents(const Stream *stream, Snapshot snapshot, const char *type,
			  const char *key, int64 first, int64 last,
			  EventReceiver receive, void *state)
{
	EventDestination destination = {.pub = {destination_receive, destination_startup,
	destination_ignore, destination_ignore, DestNone},.receive = receive,.state = state,.more = true};
	Oid			types[4] = {TEXTOID, TEXTOID, INT8OID, INT8OID};
	Datum		values[4];
	Relation	relation = stream->relation;
	SPIExecuteOptions options = {0};
	ParamListInfo params = makeParamList(lengthof(types));
	char	   *query;
	SPIPlanPtr	plan;

	query = psprintf("SELECT no, event_name, aggregate_type, aggregate_id, payload, aggregate_version"
					 " FROM %s WHERE aggregate_type OPERATOR(pg_catalog.=) $1"
					 " AND aggregate_id OPERATOR(pg_catalog.=) $2"
					 " AND no OPERATOR(pg_catalog.>=) $3"
					 " AND no OPERATOR(pg_catalog.<=) $4 ORDER BY no",
					 QualifiedName(relation));
	values[0] = CStringGetTextDatum(type);
	values[1] = CStringGetTextDatum(key);
	values[2] = Int64GetDatum(first);
	values[3] = Int64GetDatum(last);
	SPI_connect();
	plan = plan_for(RelationGetRelid(relation), query, lengthof(types), types);
	if (plan == NULL)
		elog(ERROR, "unexpected result of preparing a read of stream \"%s\"",
			 stream->name);
	for (int i = 0; i < lengthof(types); i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	options.params = params;
	options.read_only = true;
	options.dest = (DestReceiver *) &destination;
	PushActiveSnapshot(snapshot);
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "unexpected result of reading stream \"%s\"", stream->name);
	PopActiveSnapshot();
	SPI_finish();
	return destination.more;
}
