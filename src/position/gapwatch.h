/*
 * gapwatch.h
 *		Which gaps have to be looked up again.
 */
#ifndef WALLET_PROJECTION_GAPWATCH_H
#define WALLET_PROJECTION_GAPWATCH_H

#include "position/sets.h"
#include "stream/reader.h"

/* no gap at all */
#define GAPS_NONE PG_INT64_MAX

extern int64 GapsFrom(const char *projection, const Stream *stream,
					  const PositionSets *sets);
extern bool GapsRead(const Stream *stream, Snapshot snapshot,
					 const NumberSet *gaps, EventReceiver receive, void *state);
extern void GapsForget(const char *projection);
extern void GapsLooked(const char *projection, const PositionSets *before,
					   const PositionSets *after, uint64 look);

#endif							/* WALLET_PROJECTION_GAPWATCH_H */
