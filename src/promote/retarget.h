/*
 * retarget.h
 *		The names of two tables in a definition, exchanged.
 */
#ifndef WALLET_PROJECTION_RETARGET_H
#define WALLET_PROJECTION_RETARGET_H

#include "definition/projection.h"

extern char *DefinitionRetarget(const Projection *projection, Oid a, Oid b);

#endif							/* WALLET_PROJECTION_RETARGET_H */
