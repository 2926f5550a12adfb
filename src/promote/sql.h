/*
 * sql.h
 *		Questions to the server's catalogs, in SQL.
 */
#ifndef WALLET_PROJECTION_PROMOTE_SQL_H
#define WALLET_PROJECTION_PROMOTE_SQL_H

#include "nodes/pg_list.h"

extern List *SqlTexts(const char *query, Oid first, Oid second);
extern void SqlRun(List *statements);

#endif							/* WALLET_PROJECTION_PROMOTE_SQL_H */
