/*
 * ordering.h
 *		Whether writers of a key wait for each other.
 */
#ifndef WALLET_PROJECTION_ORDERING_H
#define WALLET_PROJECTION_ORDERING_H

#include "merge/merge.h"
#include "stream/stream.h"

extern bool OrderingProved(const Merge *merge, const Stream *stream);

#endif							/* WALLET_PROJECTION_ORDERING_H */
