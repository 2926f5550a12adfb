/*
 * stable_functions.h
 *		Functions that are stable by settings alone.
 */
#ifndef WALLET_PROJECTION_STABLE_FUNCTIONS_H
#define WALLET_PROJECTION_STABLE_FUNCTIONS_H

extern bool IsStableBySettings(Oid function);
extern bool IsClockFunction(Oid function);
extern bool PrintsAnyType(Oid function);
extern bool ReadsAnyType(Oid function);

#endif							/* WALLET_PROJECTION_STABLE_FUNCTIONS_H */
