/*
 * at_time.h
 *		Which events of an aggregate there were at a time.
 */
#ifndef WALLET_PROJECTION_AT_TIME_H
#define WALLET_PROJECTION_AT_TIME_H

#include "datatype/timestamp.h"

#include "stream/stream.h"

extern int64 StreamLastBefore(const Stream *stream, const char *type,
							  const char *id, TimestampTz time);

#endif							/* WALLET_PROJECTION_AT_TIME_H */
