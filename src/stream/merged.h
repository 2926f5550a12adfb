/*
 * merged.h
 *		Rows of several tables in order of number: a merge of their indexes.
 */
#ifndef WALLET_PROJECTION_MERGED_H
#define WALLET_PROJECTION_MERGED_H

#include "stream/reader.h"

typedef struct Merged Merged;

extern Merged *MergedOpen(const Stream *stream, Snapshot snapshot);
extern bool MergedRead(Merged *merged, Snapshot snapshot, int64 first,
					   int64 last, EventReceiver receive, void *state);

#endif							/* WALLET_PROJECTION_MERGED_H */
