/*
 * try.h
 *		A definition tried on events that are given as JSON.
 */
#ifndef WALLET_PROJECTION_TRY_H
#define WALLET_PROJECTION_TRY_H

#include "utils/jsonb.h"

#include "handler/merge_run.h"

typedef struct TryEvents TryEvents;

/* try_event.c */
extern TryEvents *TryEventsBegin(Relation stream);
extern TupleTableSlot *TryEventRow(TryEvents *events, Jsonb *event,
								   int64 number);
extern int64 TryEventNumber(TryEvents *events, int64 number);

/* try_sequence.c */
extern ParamListInfo TrySequences(Merge *merge);

#endif							/* WALLET_PROJECTION_TRY_H */
