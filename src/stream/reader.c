/*
 * reader.c
 *		Events in order of their number, into a receiver.
 *
 * An ordinary table is read straight through its index on the number: no
 * plan, no executor.  A table with children is read through a plan in
 * chunks, which any kind of relation allows.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "stream/reader.h"

/* rows per execution of the plan; a limit lets the planner use the indexes */
#define CHUNK_ROWS 10000

/* Where the columns of an event are in a tuple slot. */
typedef struct EventLayout
{
	AttrNumber	no;
	AttrNumber	name;
	AttrNumber	type;
	AttrNumber	key;
	AttrNumber	payload;
} EventLayout;

static const EventLayout table_layout = {STREAM_NO, STREAM_EVENT_NAME,
STREAM_AGGREGATE_TYPE, STREAM_AGGREGATE_ID, STREAM_PAYLOAD};
static const EventLayout query_layout = {1, 2, 3, 4, 5};

/* The event in a slot. */
static inline void
event_from_slot(Event *event, TupleTableSlot *slot, const EventLayout *layout)
{
	struct varlena *name;
	struct varlena *type;
	struct varlena *key;

	slot_getsomeattrs(slot, layout->payload);
	event->no = DatumGetInt64(slot->tts_values[layout->no - 1]);
	/* identifiers are short: never compressed, never out of line */
	name = (struct varlena *) DatumGetPointer(slot->tts_values[layout->name - 1]);
	type = (struct varlena *) DatumGetPointer(slot->tts_values[layout->type - 1]);
	key = (struct varlena *) DatumGetPointer(slot->tts_values[layout->key - 1]);
	if (unlikely(VARATT_IS_EXTENDED(name) && !VARATT_IS_SHORT(name)))
		name = pg_detoast_datum_packed(name);
	if (unlikely(VARATT_IS_EXTENDED(type) && !VARATT_IS_SHORT(type)))
		type = pg_detoast_datum_packed(type);
	if (unlikely(VARATT_IS_EXTENDED(key) && !VARATT_IS_SHORT(key)))
		key = pg_detoast_datum_packed(key);
	event->name = VARDATA_ANY(name);
	event->name_length = VARSIZE_ANY_EXHDR(name);
	event->type = VARDATA_ANY(type);
	event->type_length = VARSIZE_ANY_EXHDR(type);
	event->key = VARDATA_ANY(key);
	event->key_length = VARSIZE_ANY_EXHDR(key);
	event->payload = slot->tts_values[layout->payload - 1];
}

/* Read an ordinary table through its index on the number. */
static bool
read_table(const Stream *stream, Snapshot snapshot, int64 first, int64 last,
		   EventReceiver receive, void *state)
{
	Relation	index = index_open(stream->number_index, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(stream->relation, NULL);
	IndexScanDesc scan = compat_index_beginscan(stream->relation, index,
												snapshot, 2);
	ScanKeyData keys[2];
	Event		event;
	bool		more = true;

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(first));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE,
				Int64GetDatum(last));
	index_rescan(scan, keys, 2, NULL, 0);
	while (more && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		event_from_slot(&event, slot, &table_layout);
		more = receive(state, &event);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
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
} EventDestination;

static bool
destination_receive(TupleTableSlot *slot, DestReceiver *self)
{
	EventDestination *destination = (EventDestination *) self;
	Event		event;

	event_from_slot(&event, slot, &query_layout);
	destination->last_number = event.no;
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

/* Read a table and its children, a chunk at a time. */
static bool
read_tree(const Stream *stream, Snapshot snapshot, int64 first, int64 last,
		  EventReceiver receive, void *state)
{
	EventDestination destination = {{destination_receive, destination_startup,
	destination_ignore, destination_ignore, DestNone}, receive, state, 0, true};
	Oid			types[2] = {INT8OID, INT8OID};
	Relation	relation = stream->relation;
	char	   *query;
	SPIPlanPtr	plan;
	uint64		rows;

	query = psprintf("SELECT no, event_name, aggregate_type, aggregate_id, payload"
					 " FROM %s WHERE no OPERATOR(pg_catalog.>=) $1"
					 " AND no OPERATOR(pg_catalog.<=) $2 ORDER BY no LIMIT %d",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
												RelationGetRelationName(relation)),
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
	if (stream->relation->rd_rel->relhassubclass)
		return read_tree(stream, snapshot, first, last, receive, state);
	return read_table(stream, snapshot, first, last, receive, state);
}
