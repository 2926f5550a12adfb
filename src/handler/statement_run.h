/*
 * statement_run.h
 *		A statement projection's statement, planned: items into "events".
 *
 * It runs as whoever the current role is, with the settings of now.
 */
#ifndef WALLET_PROJECTION_STATEMENT_RUN_H
#define WALLET_PROJECTION_STATEMENT_RUN_H

#include "handler/merge_run.h"

typedef struct StatementRun StatementRun;

extern StatementRun *StatementRunBegin(const Merge *merge, MergeRun *items,
									   Relation stream, bool for_each_batch);
extern void StatementRunOpen(StatementRun *run);
extern void StatementRunEvents(StatementRun *run);
extern void StatementRunAdd(StatementRun *run, const char *stored_item);
extern void StatementRunExecute(StatementRun *run);
extern void StatementRunClose(StatementRun *run);

#endif							/* WALLET_PROJECTION_STATEMENT_RUN_H */
