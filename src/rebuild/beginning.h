/*
 * beginning.h
 *		Does a stream still begin at the beginning?
 */
#ifndef WALLET_PROJECTION_BEGINNING_H
#define WALLET_PROJECTION_BEGINNING_H

#include "batch/opened.h"

extern void BeginningCheck(const OpenProjection *work, bool force);

#endif							/* WALLET_PROJECTION_BEGINNING_H */
