/*
 * merge_check.h
 *		Is a projection's result a function of its events?
 */
#ifndef WALLET_PROJECTION_MERGE_CHECK_H
#define WALLET_PROJECTION_MERGE_CHECK_H

#include "merge/merge.h"

extern void MergeCheckExpressions(const Merge *merge, bool allow_stable);

#endif							/* WALLET_PROJECTION_MERGE_CHECK_H */
