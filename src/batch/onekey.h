/*
 * onekey.h
 *		The events of one key, applied by themselves, as many as can be.
 */
#ifndef WALLET_PROJECTION_ONEKEY_H
#define WALLET_PROJECTION_ONEKEY_H

#include "batch/writekeys.h"
#include "parking/park.h"

/* The events of one key that are to be applied. */
typedef struct KeyTask
{
	const char *key;			/* with a terminating zero */
	int64		from_no;
	int64		last_no;
	const Position *position;
	bool		passed;			/* those that the position says are applied
								 * (they were passed over); or the others */
	const NumberSet *numbers;	/* the events are among these; NULL: that is
								 * not known */
	const NumberSet *skipped;	/* leave these out */
	bool		guarded;		/* an event may raise an error when it is read */
} KeyTask;

typedef struct KeyEvents
{
	int64		count;
	int64		first_no;		/* if there are any */
	int64		last_no;
} KeyEvents;

typedef struct KeyOutcome
{
	int64		applied;
	int64		folded;			/* by the first attempt: at most up to the
								 * first event that cannot be folded */
	bool		failed;
	KeyFailure	failure;		/* if it has */
	int64		waiting;		/* events behind that one */
} KeyOutcome;

extern KeyEvents KeyEventsCount(const ApplyScope *scope, const KeyTask *task,
								int64 from_no);
extern KeyEvents KeyEventsRun(const ApplyScope *scope, const KeyTask *task,
							  int64 from_no);
extern KeyOutcome KeyApply(const ApplyScope *scope, const KeyTask *task);
extern KeyFailure FailureOfLock(const ApplyScope *scope);
extern KeyFailure FailureOfError(const ErrorData *error);
extern KeyFailure FailureOfTime(const char *detail);
extern KeyOutcome KeyLeave(const ApplyScope *scope, const KeyTask *task,
						   const KeyFailure *why);

#endif							/* WALLET_PROJECTION_ONEKEY_H */
