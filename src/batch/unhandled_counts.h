/*
 * unhandled_counts.h
 *		Counts of events that nothing was done with, in the catalog.
 */
#ifndef WALLET_PROJECTION_UNHANDLED_COUNTS_H
#define WALLET_PROJECTION_UNHANDLED_COUNTS_H

#include "handler/unhandled.h"

extern void UnhandledSave(const char *projection, int lane,
						  const Unhandled *unhandled);
extern void UnhandledDrop(const char *projection);

#endif							/* WALLET_PROJECTION_UNHANDLED_COUNTS_H */
