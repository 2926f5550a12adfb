/*
 * merge_uses.h
 *		What the names of a definition mean, in words.
 *
 * The words hold in a restored database as well: they have no OIDs and no
 * places in them.
 */
#ifndef WALLET_PROJECTION_MERGE_USES_H
#define WALLET_PROJECTION_MERGE_USES_H

#include "nodes/parsenodes.h"

extern List *MergeCollectUses(Query *analysed, Query *rewritten);
extern List *MergeCollectExpressionUses(List *nodes);

#endif							/* WALLET_PROJECTION_MERGE_USES_H */
