/*
 * merge_uses.h
 *		What the names of a definition mean, in words.
 *
 * The words hold in a restored database as well: they have no OIDs and no
 * places in them.
 */
#ifndef WALLET_PROJECTION_MERGE_USES_H
#define WALLET_PROJECTION_MERGE_USES_H

#include "merge/merge.h"
#include "nodes/parsenodes.h"

/* how a use begins that is a label of a key; others may be added */
#define KEY_LABEL "label of a key: "

extern List *MergeCollectUses(Query *analysed, Query *rewritten);
extern List *MergeCollectExpressionUses(List *nodes);
extern List *MergeKeyLabels(const MergeKey *key);

#endif							/* WALLET_PROJECTION_MERGE_USES_H */
