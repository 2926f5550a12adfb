/*
 * numberset.h
 *		Sets of numbers as the catalog holds them: int8multirange.
 */
#ifndef WALLET_PROJECTION_NUMBERSET_H
#define WALLET_PROJECTION_NUMBERSET_H

#include "position.h"

extern Datum NumberSetToDatum(const NumberSet *set);
extern bool NumberSetFromDatum(Datum datum, int64 last, NumberSet *set);

#endif							/* WALLET_PROJECTION_NUMBERSET_H */
