/*
 * rows.c
 *		Rows of a stream's table, by a plan of the server's.
 *
 * What can be read neither by one index on the numbers (reader.c) nor by one
 * per table (merged.c) is read this way: partitions without such an index,
 * columns that are not stored; and the events of one key, for which the planner
 * chooses an index.
 *
 * The query is put together from text and from expressions, and has a column
 * for each of the table, also for those that were dropped, so that its rows
 * are of the table's row type.  Nothing is rewritten: the caller has checked the
 * rights, and that no policy applies.
 */
#include "postgres.h"

#include "compat.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "stream/reader.h"
#include "stream/rows.h"

/* rows per execution of the plan; a limit lets the planner use the indexes */
#define CHUNK_ROWS 10000

/* A key of a scan of an index that begins with the position column. */
void
StreamNumberKey(const StreamParts *parts, ScanKey key,
				StrategyNumber strategy, int64 number)
{
	static const RegProcedure functions[][3] = {
		[BTLessStrategyNumber] = {F_INT28LT, F_INT48LT, F_INT8LT},
		[BTLessEqualStrategyNumber] = {F_INT28LE, F_INT48LE, F_INT8LE},
		[BTEqualStrategyNumber] = {F_INT28EQ, F_INT48EQ, F_INT8EQ},
		[BTGreaterEqualStrategyNumber] = {F_INT28GE, F_INT48GE, F_INT8GE},
		[BTGreaterStrategyNumber] = {F_INT28GT, F_INT48GT, F_INT8GT},
	};
	int			size = parts->position_type == INT8OID ? 2 :
		parts->position_type == INT4OID ? 1 : 0;

	ScanKeyEntryInitialize(key, 0, 1, strategy, INT8OID, InvalidOid,
						   functions[strategy][size], Int64GetDatum(number));
}

/* Two events of one number: nothing says which of them is right. */
void
StreamRefuseTwice(const Stream *stream, int64 number)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("number %lld is there twice in stream \"%s\"",
					(long long) number, stream->name),
			 errdetail("Two rows of table \"%s\" or of its partitions or children have it.",
					   RelationGetRelationName(stream->relation)),
			 errhint("Give one of the rows another number: UPDATE %s SET %s = DEFAULT WHERE %s = %lld AND ...;",
					 QualifiedName(stream->relation),
					 quote_identifier(get_attname(RelationGetRelid(stream->relation),
												  stream->parts.position, false)),
					 quote_identifier(get_attname(RelationGetRelid(stream->relation),
												  stream->parts.position, false)),
					 (long long) number)));
}

/* Where the plan's rows go. */
typedef struct RowDestination
{
	DestReceiver pub;
	const Stream *stream;
	TupleTableSlot *slot;		/* of the table's row type, where the plan's
								 * rows are not; or NULL */
	MemoryContext context;		/* the caller's, in which receive() runs */
	EventReceiver receive;
	void	   *state;
	uint64		rows;			/* of this chunk */
	int64		last;			/* number, of any chunk; 0: none yet */
	bool		again;			/* a chunk begins, with the last one's last */
	bool		more;
} RowDestination;

/* A row of the plan as one of the table's, where columns were dropped. */
static TupleTableSlot *
as_table_row(RowDestination *destination, TupleTableSlot *slot)
{
	TupleTableSlot *row = destination->slot;
	int			natts = row->tts_tupleDescriptor->natts;

	slot_getallattrs(slot);
	ExecClearTuple(row);
	memcpy(row->tts_values, slot->tts_values, natts * sizeof(Datum));
	memcpy(row->tts_isnull, slot->tts_isnull, natts * sizeof(bool));
	return ExecStoreVirtualTuple(row);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowDestination *destination = (RowDestination *) self;
	const Stream *stream = destination->stream;
	Event		event = {0};
	bool		again = destination->again;
	MemoryContext old;

	destination->rows++;
	destination->again = false;
	event.slot = destination->slot == NULL ? slot :
		as_table_row(destination, slot);
	event.no = StreamPosition(stream, event.slot);
	if (event.no == destination->last && destination->last != 0)
	{
		/* of a created stream, an event that was copied is one event */
		if (!again && !stream->parts.created)
			StreamRefuseTwice(stream, event.no);
		return true;
	}
	destination->last = event.no;
	old = MemoryContextSwitchTo(destination->context);
	destination->more = destination->receive(destination->state, &event);
	MemoryContextSwitchTo(old);
	return destination->more;
}

static void
startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
ignore(DestReceiver *self)
{
}

/* All columns of the table, in order; `wanted` is the list without dropped ones. */
static List *
all_columns(TupleDesc desc, List *wanted)
{
	List	   *columns = NIL;
	ListCell   *next = list_head(wanted);

	for (int i = 0; i < desc->natts; i++)
	{
		TargetEntry *entry;

		if (TupleDescAttr(desc, i)->attisdropped)
			entry = makeTargetEntry((Expr *) makeNullConst(INT4OID, -1, InvalidOid),
									i + 1, NULL, false);
		else
		{
			entry = lfirst_node(TargetEntry, next);
			next = lnext(wanted, next);
		}
		entry->resno = i + 1;
		columns = lappend(columns, entry);
	}
	return columns;
}

static bool
has_dropped_columns(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			return true;
	}
	return false;
}

/* The statement, without the conditions that are expressions. */
static char *
rows_statement(const Stream *stream, int64 first, int64 last, bool chunk)
{
	const char *column =
		quote_identifier(get_attname(RelationGetRelid(stream->relation),
									 stream->parts.position, false));
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfo(&buffer, "SELECT * FROM %s%s AS t"
					 " WHERE t.%s OPERATOR(pg_catalog.>=) '" INT64_FORMAT "'::pg_catalog.int8"
					 " AND t.%s OPERATOR(pg_catalog.<=) '" INT64_FORMAT "'::pg_catalog.int8"
					 " ORDER BY t.%s",
					 stream->alone ? "ONLY " : "",
					 QualifiedName(stream->relation), column, first, column,
					 last, column);
	if (chunk)
		appendStringInfo(&buffer, " LIMIT %d", CHUNK_ROWS);
	return buffer.data;
}

static PlannedStmt *
plan_rows(const Stream *stream, const char *statement, List *quals)
{
	List	   *raw = raw_parser(statement, RAW_PARSE_DEFAULT);
	Query	   *query = parse_analyze_fixedparams(linitial_node(RawStmt, raw),
												  statement, NULL, 0, NULL);
	FromExpr   *from = query->jointree;

	if (RelationGetRelid(stream->relation) != rt_fetch(1, query->rtable)->relid)
		elog(ERROR, "table of stream \"%s\" was renamed while it was read",
			 stream->name);
	query->targetList = all_columns(RelationGetDescr(stream->relation),
									query->targetList);
	if (quals != NIL)
		from->quals = (Node *) make_ands_explicit(lappend(copyObject(quals),
														  from->quals));
	return compat_plan_trusted(query, statement);
}

static void
run_plan(PlannedStmt *plan, const char *statement, Snapshot snapshot,
		 DestReceiver *destination)
{
	QueryDesc  *query = CreateQueryDesc(plan, statement, snapshot,
										InvalidSnapshot, destination, NULL,
										NULL, 0);

	ExecutorStart(query, 0);
	compat_ExecutorRun(query);
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

/* Plan and run the query once; what that needs of memory is given back. */
static void
run_rows(const Stream *stream, Snapshot snapshot, List *quals, int64 first,
		 int64 last, bool chunk, RowDestination *destination)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection rows",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	char	   *statement = rows_statement(stream, first, last, chunk);
	PlannedStmt *plan = plan_rows(stream, statement, quals);

	destination->rows = 0;
	run_plan(plan, statement, snapshot, (DestReceiver *) destination);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * Give the receiver the rows with the numbers first..last that the snapshot
 * sees and for which all of the quals hold, in order of number.  The quals are
 * boolean expressions over the stream's table, which is number 1 to their
 * Vars.  Returns false where the receiver ended the read.  Two rows of one
 * number are an error, if the stream is an attached one.
 *
 * Without quals the rows are read in chunks, each by a query that is planned for
 * it; with quals by one.
 */
bool
ReadRowsWhere(const Stream *stream, Snapshot snapshot, List *quals,
			  int64 first, int64 last, EventReceiver receive, void *state)
{
	TupleDesc	desc = RelationGetDescr(stream->relation);
	RowDestination destination = {.pub = {receive_row, startup, ignore, ignore, DestNone},
	.stream = stream,.context = CurrentMemoryContext,.receive = receive,
	.state = state,.more = true};
	bool		chunk = quals == NIL;

	if (has_dropped_columns(desc))
		destination.slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	PushActiveSnapshot(snapshot);
	do
	{
		run_rows(stream, snapshot, quals, first, last, chunk, &destination);
		/* the last number may be there once more */
		first = destination.last;
		destination.again = true;
	} while (chunk && destination.more && destination.rows == CHUNK_ROWS);
	PopActiveSnapshot();
	if (destination.slot != NULL)
		ExecDropSingleTupleTableSlot(destination.slot);
	return destination.more;
}

/* Takes the number out of a plan's only row. */
typedef struct NumberDestination
{
	DestReceiver pub;
	const StreamParts *parts;
	int64		number;
} NumberDestination;

static bool
receive_number(TupleTableSlot *slot, DestReceiver *self)
{
	NumberDestination *destination = (NumberDestination *) self;
	bool		isnull;
	Datum		value = slot_getattr(slot, 1, &isnull);

	if (!isnull)
		destination->number = StreamNumberOf(destination->parts, value);
	return true;
}

/*
 * The highest number that the snapshot sees; 0: none.  Nobody's rights are asked:
 * it tells no more than the sequence.
 */
int64
StreamHighestNumber(const Stream *stream, Snapshot snapshot)
{
	NumberDestination destination = {.pub = {receive_number, startup, ignore, ignore, DestNone},
	.parts = &stream->parts};
	const char *column =
		quote_identifier(get_attname(RelationGetRelid(stream->relation),
									 stream->parts.position, false));
	char	   *statement = psprintf("SELECT t.%s FROM %s AS t ORDER BY t.%s DESC LIMIT 1",
									 column, QualifiedName(stream->relation), column);
	List	   *raw = raw_parser(statement, RAW_PARSE_DEFAULT);
	Query	   *query = parse_analyze_fixedparams(linitial_node(RawStmt, raw),
												  statement, NULL, 0, NULL);

	PushActiveSnapshot(snapshot);
	run_plan(compat_plan_trusted(query, statement), statement, snapshot,
			 &destination.pub);
	PopActiveSnapshot();
	return destination.number;
}
