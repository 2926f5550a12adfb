/*
 * tablesize.h
 *		How many pages a table has at least.
 */
#ifndef WALLET_PROJECTION_TABLESIZE_H
#define WALLET_PROJECTION_TABLESIZE_H

#include "storage/block.h"
#include "utils/relcache.h"

extern BlockNumber TableBlocksAtLeast(Relation relation);
extern bool TableHasBlock(Relation relation, BlockNumber block);

#endif							/* WALLET_PROJECTION_TABLESIZE_H */
