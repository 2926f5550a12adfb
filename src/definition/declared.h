/*
 * declared.h
 *		What a declared projection is, as its row of the catalog says.
 */
#ifndef WALLET_PROJECTION_DECLARED_H
#define WALLET_PROJECTION_DECLARED_H

#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/snapshot.h"

#include "catalog_row.h"
#include "position.h"

typedef enum DeclaredKind
{
	DECLARED_ROW,				/* one MERGE, or INSERT ... ON CONFLICT */
	DECLARED_STATEMENT			/* any statement over the relation "events" */
} DeclaredKind;

/* When an event may be applied while smaller numbers are not settled. */
typedef enum Ordering
{
	ORDERING_NUMBER,			/* never: nothing above the oldest unsettled
								 * number */
	ORDERING_ARRIVAL,			/* at once: the actions commute */
	ORDERING_VERSION			/* at once: writers of a key wait for each
								 * other, as a unique index proves */
} Ordering;

typedef struct Declared
{
	DeclaredKind kind;
	char	   *definition;
	char	   *key;			/* of a statement: an expression over events */
	bool		for_each_batch; /* a statement may see any number of events */
	ArrayType  *settings;		/* text[]: what it is read and run with */
	ArrayType  *uses;			/* text[]: what its names were resolved to */
	ArrayType  *columns;		/* text[]: of the read model, that it uses */
	int64		fingerprint;	/* of what chooses key and partition */
	Ordering	ordering;
	bool		strict;
	bool		allow_stable;
	Position	start;			/* where it begins */
} Declared;

extern bool OrderingFromName(const char *name, Ordering *ordering);
extern ArrayType *TextArray(List *strings);
extern List *TextArrayList(ArrayType *array);
extern Declared *DeclaredRead(const char *projection,
							  CatalogDamage **damage);
extern bool DeclaredIsAsOf(const char *projection, const char *definition,
						   Snapshot snapshot);
extern void DeclaredWrite(const char *projection, const Declared *declared);
extern int	DeclaredTargets(const Declared *declared);
extern bool DeclaredInserts(const Declared *declared);
extern char *DeclaredTargetOf(const char *target);
extern void DeclaredDrop(const char *projection);

#endif							/* WALLET_PROJECTION_DECLARED_H */
