/*
 * health.c
 *		What projection_health() asks, and no other view.
 *
 * For views: it must not fail, whatever users have made of their tables, and
 * wait for nobody who holds them locked.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "funcapi.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "savepoint.h"
#include "stream/settle.h"
#include "stream/stream.h"
#include "tablelook.h"
#include "worker/slots.h"

SQL_FUNCTION(stream_numbering);
SQL_FUNCTION(stream_writers);
SQL_FUNCTION(projection_rates);

/* A look at a stream's table, and at the sequence that numbers its events. */
typedef struct StreamLooked
{
	const char *name;
	bool		found;			/* it is numbered */
	Oid			relation;
	const char *column;
	Oid			sequence;
	int64		last;			/* the last number drawn */
	int64		highest;		/* that there can be */
	Writers		writers;
} StreamLooked;

/* The highest number that the position column can hold. */
static int64
end_of_type(Oid type)
{
	return type == INT2OID ? PG_INT16_MAX :
		type == INT4OID ? PG_INT32_MAX : STREAM_NUMBER_MAX;
}

/* The last number that a sequence gives. */
static int64
end_of_sequence(Oid sequence)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	int64		end = PG_INT64_MAX;

	if (HeapTupleIsValid(tuple))
	{
		end = ((Form_pg_sequence) GETSTRUCT(tuple))->seqmax;
		ReleaseSysCache(tuple);
	}
	return end;
}

/* SavepointStep */
static void
look_in_step(void *arg)
{
	StreamLooked *looked = arg;
	TableLook  *look = StreamDamage(looked->name) != NULL ? NULL :
		TableLookBegin(StreamRelation(looked->name));
	StreamParts parts;

	if (look == NULL)
		return;
	looked->found = StreamNumbering(looked->name, look->relation, &parts);
	if (looked->found)
	{
		looked->relation = RelationGetRelid(look->relation);
		looked->column = get_attname(looked->relation, parts.position, false);
		looked->sequence = parts.sequence;
		looked->last = SequenceLastNumber(parts.sequence);
		looked->highest = Min(end_of_type(parts.position_type),
							  end_of_sequence(parts.sequence));
		looked->writers = StreamWriters(look->relation);
	}
	TableLookEnd(look);
}

static StreamLooked
look_at_stream(text *name)
{
	StreamLooked looked = {.name = text_to_cstring(name)};
	ErrorData  *error = InSavepoint(look_in_step, &looked);

	if (error != NULL)
	{
		SavepointRethrowInterrupt(error);
		looked.found = false;
	}
	return looked;
}

/*
 * wallet_projection.numbering(stream): what numbers its events; nulls: it is
 * not there, or locked
 */
Datum
stream_numbering(PG_FUNCTION_ARGS)
{
	enum
	{
		RELATION, COLUMN, SEQUENCE, LAST, HIGHEST, COLUMNS
	};
	StreamLooked looked = look_at_stream(PG_GETARG_TEXT_PP(0));
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {0};
	TupleDesc	shape;

	if (!looked.found)
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[RELATION] = ObjectIdGetDatum(looked.relation);
	values[COLUMN] = CStringGetTextDatum(looked.column);
	values[SEQUENCE] = ObjectIdGetDatum(looked.sequence);
	values[LAST] = Int64GetDatum(looked.last);
	values[HIGHEST] = Int64GetDatum(looked.highest);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape),
													  values, nulls)));
}

/*
 * wallet_projection.writers(stream): a row per open transaction, others than
 * the caller's, that may write to the stream: the process (null: it is a
 * prepared one) and the transaction's id (null: it has none yet)
 */
Datum
stream_writers(PG_FUNCTION_ARGS)
{
	enum
	{
		PID, XID, COLUMNS
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	StreamLooked looked = look_at_stream(PG_GETARG_TEXT_PP(0));

	compat_InitMaterializedSRF(fcinfo);
	for (int i = 0; looked.found && i < looked.writers.count; i++)
	{
		const VirtualTransactionId *vxid = &looked.writers.ids[i];
		PGPROC	   *proc = compat_vxid_proc(vxid);
		TransactionId xid = WriterXid(vxid);
		Datum		values[COLUMNS] = {0};
		bool		nulls[COLUMNS];

		nulls[PID] = proc == NULL ||
			compat_proc_lxid(proc) != vxid->localTransactionId;
		if (!nulls[PID])
			values[PID] = Int32GetDatum(proc->pid);
		nulls[XID] = !TransactionIdIsValid(xid);
		values[XID] = TransactionIdGetDatum(xid);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * wallet_projection.rates(projection): how many numbers its stream has drawn
 * per second, and how many the projection has passed, in the mean of its
 * partitions; both over the last 10 s.
 */
Datum
projection_rates(PG_FUNCTION_ARGS)
{
	enum
	{
		DRAWN, PASSED, COLUMNS
	};
	Speed		speed = SpeedOf(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	int			partitions = PG_GETARG_INT32(1);
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {0};
	TupleDesc	shape;

	if (get_call_result_type(fcinfo, NULL, &shape) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[DRAWN] = Float8GetDatum(speed.drawn);
	values[PASSED] = Float8GetDatum(speed.numbers / Max(partitions, 1));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape),
													  values, nulls)));
}
