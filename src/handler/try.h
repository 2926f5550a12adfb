/*
 * try.h
 *		A definition tried on events that are given as JSON.
 */
#ifndef WALLET_PROJECTION_TRY_H
#define WALLET_PROJECTION_TRY_H

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"

#include "handler/merge_run.h"

typedef struct TryEvents TryEvents;

/* A key, and its row while another key's is worked on. */
typedef struct TryKey
{
	Datum		values[INDEX_MAX_KEYS];
	bool		exists;
	TupleTableSlot *row;
	struct TryKey *next;		/* of the same hash */
} TryKey;

/* A column of the key. */
typedef struct TryKeyColumn
{
	int16		length;
	bool		byval;
	Oid			collation;
	FmgrInfo	hash;			/* fn_oid 0: there is none */
	FmgrInfo	equal;
	FmgrInfo	to_json;
} TryKeyColumn;

typedef struct Try
{
	Merge	   *merge;
	Relation	stream;
	Relation	read_model;
	MergeRun   *run;
	MergeItemReceiver receive;
	TryEvents  *events;
	bool		trace;
	ReturnSetInfo *result;
	MemoryContext item_context; /* reset for each item */
	TryKeyColumn columns[INDEX_MAX_KEYS];
	FmgrInfo	row_to_json;
	HTAB	   *buckets;
	List	   *keys;			/* of TryKey, as they have appeared */
	TryKey	   *current;		/* whose row the run has */
	MergeRow   *row;
	int64		number;			/* of the event, counted */
} Try;

/* The arguments of projection_try(). */
enum
{
	TRY_DEFINITION,
	TRY_EVENTS,
	TRY_TRACE,
	TRY_STREAM,
	TRY_KEY,
	TRY_FOR_EACH,
	TRY_ALLOW_STABLE,
	TRY_ARGUMENTS
};

/* try.c */
extern void TryApplyEvents(Try *try, Jsonb *events);

/* try_statement.c */
extern void TryStatement(Try *try, FunctionCallInfo fcinfo);

/* try_event.c */
extern TryEvents *TryEventsBegin(Relation stream);
extern TupleTableSlot *TryEventRow(TryEvents *events, Jsonb *event,
								   int64 number);
extern int64 TryEventNumber(TryEvents *events, int64 number);

/* try_trace.c */
extern void TryPrepareJson(FmgrInfo *function, Oid type);
extern void TryReturnJson(Try *try, Datum json);
extern Datum TryWithoutVirtual(Datum json, TupleDesc desc);
extern Datum TryRowAsJson(Try *try, TupleTableSlot *row);
extern void TryTraceItem(Try *try, const MergeItem *item, bool matched,
						 const MergeEffect *effect);

/* try_sequence.c */
extern ParamListInfo TrySequences(Merge *merge);

#endif							/* WALLET_PROJECTION_TRY_H */
