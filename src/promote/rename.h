/*
 * rename.h
 *		Two tables exchange their names, and what depends on the old one moves.
 */
#ifndef WALLET_PROJECTION_RENAME_H
#define WALLET_PROJECTION_RENAME_H

#include "postgres_ext.h"

extern void NamesLockDependants(Oid old);
extern void NamesSwap(Oid old, Oid new, bool with_triggers);

#endif							/* WALLET_PROJECTION_RENAME_H */
