/*
 * taken.h
 *		Keys whose row needs a value that another row has.
 */
#ifndef WALLET_PROJECTION_TAKEN_H
#define WALLET_PROJECTION_TAKEN_H

#include "batch/onekey.h"

/* A key that has met such a value. */
typedef struct TakenKey
{
	const FoldEntry *entry;
	KeyTask		task;			/* from the event that has failed on */
	KeyOutcome	outcome;		/* of all its events */
} TakenKey;

extern bool TakenIs(const ApplyScope *scope, const ErrorData *error);
extern TakenKey *TakenKeyMake(const FoldEntry *entry, const KeyTask *task,
							  const KeyOutcome *outcome);
extern void TakenTryAgain(const ApplyScope *scope, List *keys);

#endif							/* WALLET_PROJECTION_TAKEN_H */
