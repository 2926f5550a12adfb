/*
 * tablesize.c
 *		How many pages a table has at least.
 *
 * To ask the file is a system call, which costs more than to read a row.  The
 * storage manager remembers its last answer.  Others may have made the table
 * longer since then, but not shorter: whoever cuts it off locks it exclusively
 * and tells all processes beforehand, which forget the answer when they lock
 * the table for themselves.  So for an ordinary table that is locked, in
 * whatever mode, the answer is a lower bound.
 */
#include "postgres.h"

#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "utils/rel.h"

#include "tablesize.h"

BlockNumber
TableBlocksAtLeast(Relation relation)
{
	BlockNumber known = RelationGetSmgr(relation)->smgr_cached_nblocks[MAIN_FORKNUM];

	return known != InvalidBlockNumber ? known :
		RelationGetNumberOfBlocks(relation);
}

/* Has the table a page of this number? */
bool
TableHasBlock(Relation relation, BlockNumber block)
{
	return block < TableBlocksAtLeast(relation) ||
		block < RelationGetNumberOfBlocks(relation);
}
