/*
 * tablelook.h
 *		A look at a user's table that waits for nobody.
 */
#ifndef WALLET_PROJECTION_TABLELOOK_H
#define WALLET_PROJECTION_TABLELOOK_H

#include "nodes/pg_list.h"
#include "utils/relcache.h"

typedef struct TableLook
{
	Relation	relation;
	List	   *locked;			/* OIDs */
} TableLook;

extern TableLook *TableLookBegin(Oid relid);
extern void TableLookEnd(TableLook *look);
extern bool TableIsEmpty(Relation table);

#endif							/* WALLET_PROJECTION_TABLELOOK_H */
