/*
 * statement.h
 *		A statement projection's definition: one statement over "events".
 *
 * The statement is any INSERT, UPDATE, DELETE, MERGE, or SELECT whose WITH has
 * one of these.  It reads the events from "events", a relation that exists only
 * while it runs, and that has the columns of the stream's table.  Stream and
 * key are not in the statement; they are given with it.
 *
 * StatementParse() makes a Merge of it that has no clauses: an item is the
 * columns of the event that the statement or the key uses.
 */
#ifndef WALLET_PROJECTION_STATEMENT_H
#define WALLET_PROJECTION_STATEMENT_H

#include "utils/queryenvironment.h"
#include "utils/relcache.h"

#include "merge/merge.h"

/* what the statement calls its events */
#define STATEMENT_EVENTS "events"

/* how a table that it changes is remembered: see Merge.uses */
#define TARGET_USE "target "
#define TARGET_INSERTS ": INSERT"

extern EphemeralNamedRelation StatementEvents(Oid stream, double estimate);
extern Merge *StatementParse(const char *definition, Oid stream,
							 const char *key);
extern char *StatementTargetUse(Oid relation);

#endif							/* WALLET_PROJECTION_STATEMENT_H */
