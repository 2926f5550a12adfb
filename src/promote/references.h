/*
 * references.h
 *		Foreign keys that refer to tables whose rows have become others.
 */
#ifndef WALLET_PROJECTION_REFERENCES_H
#define WALLET_PROJECTION_REFERENCES_H

#include "postgres_ext.h"

extern void ReferencesDoubt(Oid table);
extern void ReferencesValidate(Oid a, Oid b);

#endif							/* WALLET_PROJECTION_REFERENCES_H */
