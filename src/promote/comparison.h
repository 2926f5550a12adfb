/*
 * comparison.h
 *		What is compared of two tables, and how.
 */
#ifndef WALLET_PROJECTION_COMPARISON_H
#define WALLET_PROJECTION_COMPARISON_H

#include "nodes/execnodes.h"
#include "nodes/pg_list.h"

#include "definition/projection.h"

typedef struct Comparison
{
	Projection *a;
	Projection *b;
	List	   *key;			/* of char *: columns of a's table */
	List	   *operators;		/* of char *: their equality */
	List	   *columns;		/* of char *: of both, that are compared */
	ReturnSetInfo *result;
} Comparison;

extern char *ComparisonQuery(const Comparison *comparison);

#endif							/* WALLET_PROJECTION_COMPARISON_H */
