/*
 * references.h
 *		Foreign keys that refer to tables whose rows have become others.
 */
#ifndef WALLET_PROJECTION_REFERENCES_H
#define WALLET_PROJECTION_REFERENCES_H

#include "postgres_ext.h"

#include "nodes/pg_list.h"

extern void ReferencesDoubt(Oid table);
extern List *ReferencesValid(Oid a, Oid b);
extern void ReferencesValidate(Oid a, Oid b, const List *valid);

#endif							/* WALLET_PROJECTION_REFERENCES_H */
