/*
 * deferred.h
 *		Deferred constraints, where another than the owner runs a projection.
 */
#ifndef WALLET_PROJECTION_DEFERRED_H
#define WALLET_PROJECTION_DEFERRED_H

#include "nodes/pg_list.h"

extern bool ErrorIsOfDeferral(const ErrorData *error);
extern List *ConstraintsCheckAtOnce(void);
extern void ConstraintsDefer(List *constraints);

#endif							/* WALLET_PROJECTION_DEFERRED_H */
