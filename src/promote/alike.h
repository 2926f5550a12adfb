/*
 * alike.h
 *		May two tables exchange their storage?
 */
#ifndef WALLET_PROJECTION_ALIKE_H
#define WALLET_PROJECTION_ALIKE_H

#include "nodes/pg_list.h"

extern char *TablesDiffer(Oid a, Oid b);
extern void IndexPairs(Oid a, Oid b, List **of_a, List **of_b);

#endif							/* WALLET_PROJECTION_ALIKE_H */
