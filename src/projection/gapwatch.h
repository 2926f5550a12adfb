/*
 * gapwatch.h
 *		Whether gaps have to be looked up again.
 */
#ifndef WALLET_PROJECTION_GAPWATCH_H
#define WALLET_PROJECTION_GAPWATCH_H

#include "projection/partition.h"
#include "stream/settle.h"

extern bool GapsUnchanged(const char *projection, const Claim *claims,
						  int count);
extern void GapsWatch(const char *projection, const Claims *claims,
					  const Settlement *settlement, bool whole);

#endif							/* WALLET_PROJECTION_GAPWATCH_H */
