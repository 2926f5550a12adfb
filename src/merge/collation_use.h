/*
 * collation_use.h
 *		Collations on which the result of an expression depends.
 */
#ifndef WALLET_PROJECTION_COLLATION_USE_H
#define WALLET_PROJECTION_COLLATION_USE_H

#include "nodes/pg_list.h"

extern List *CollationsOf(List *nodes);

#endif							/* WALLET_PROJECTION_COLLATION_USE_H */
