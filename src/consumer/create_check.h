/*
 * create_check.h
 *		May these tables be a projection's, as they are?
 */
#ifndef WALLET_PROJECTION_CREATE_CHECK_H
#define WALLET_PROJECTION_CREATE_CHECK_H

#include "utils/relcache.h"

#include "merge/merge.h"

extern void CreateCheckTables(const Merge *merge, const char *projection);
extern void CreateCheckEmpty(const Merge *merge, Relation read_model);

#endif							/* WALLET_PROJECTION_CREATE_CHECK_H */
