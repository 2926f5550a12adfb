/*
 * merge_hint.h
 *		Hints for errors that PostgreSQL finds in a definition.
 */
#ifndef WALLET_PROJECTION_MERGE_HINT_H
#define WALLET_PROJECTION_MERGE_HINT_H

#include "utils/elog.h"

/* On the stack of whoever analyses the definition. */
typedef struct MergeHint
{
	ErrorContextCallback callback;
	const char *definition;
} MergeHint;

extern void MergeHintBegin(MergeHint *hint, const char *definition);
extern void MergeHintEnd(MergeHint *hint);

#endif							/* WALLET_PROJECTION_MERGE_HINT_H */
