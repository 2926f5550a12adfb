/*
 * remember.h
 *		What a process remembers from one transaction to the next.
 */
#ifndef WALLET_PROJECTION_REMEMBER_H
#define WALLET_PROJECTION_REMEMBER_H

#include "utils/hsearch.h"

extern void *RememberedOf(HTAB **table, const char *what, const char *name,
						  Size size);
extern void *RememberedOfTable(HTAB **table, const char *what, Oid relid,
							   Size size);

#endif							/* WALLET_PROJECTION_REMEMBER_H */
