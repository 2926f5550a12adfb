/*
 * catalog_row.h
 *		What a row of the extension's tables may hold.
 *
 * Somebody may have written or restored a row that this code would not have
 * written.  So a row is taken apart by CatalogDeform() alone, which checks each
 * column that is used: afterwards nulls are where they may be, numbers within
 * their bounds, names as long as names are.  A damaged row is an error of class
 * ERRCODE_DATA_CORRUPTED, or, where one row must not stop the others, a
 * CatalogDamage.
 */
#ifndef WALLET_PROJECTION_CATALOG_ROW_H
#define WALLET_PROJECTION_CATALOG_ROW_H

#include "access/htup.h"
#include "utils/relcache.h"

/* What is wrong with a row. */
typedef struct CatalogDamage
{
	const char *table;
	const char *detail;			/* a sentence */
} CatalogDamage;

extern bool CatalogHasShape(Relation catalog, const char *table);
extern bool CatalogColumnIsSound(Relation catalog, int column,
								 const Datum *values, const bool *nulls);
extern CatalogDamage *CatalogFindDamage(Relation catalog, const Datum *values,
										const bool *nulls);
extern CatalogDamage *CatalogDamageOf(Relation catalog, const Datum *values,
									  const bool *nulls, const char *problem);
extern CatalogDamage *CatalogDeformDamaged(Relation catalog, HeapTuple tuple,
										   Datum *values, bool *nulls);
extern void CatalogDeform(Relation catalog, HeapTuple tuple, Datum *values,
						  bool *nulls);
extern void CatalogRaise(const CatalogDamage *damage);
extern char *CatalogDamageText(const CatalogDamage *damage);
extern char *CatalogGetText(const Datum *values, const bool *nulls,
							int column);
extern void CatalogPutText(Datum *values, bool *nulls, int column,
						   const char *string);
extern char *LastErrorText(int sqlerrcode, const char *message,
						   const char *detail, const char *hint);

#endif							/* WALLET_PROJECTION_CATALOG_ROW_H */
