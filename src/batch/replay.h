/*
 * replay.h
 *		Parked keys are tried again.
 */
#ifndef WALLET_PROJECTION_REPLAY_H
#define WALLET_PROJECTION_REPLAY_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef enum ReplayOutcome
{
	REPLAY_NOTHING,				/* no key is due, or others work on them */
	REPLAY_HEALED,				/* all events of the key are applied */
	REPLAY_FAILED,				/* its next event has failed again */
	REPLAY_PUT_OFF				/* it could not be tried: an error that is no
								 * event's fault */
} ReplayOutcome;

typedef enum ReplayCaller
{
	REPLAY_BY_SESSION,			/* in a transaction of its own making */
	REPLAY_BY_CONSUMER,			/* in one of ours */
	REPLAY_BY_WORKER			/* also, and only of what is started */
} ReplayCaller;

/* What of a parked key's events is not to be applied. */
typedef enum ReplaySkip
{
	REPLAY_SKIPS_NOTHING,
	REPLAY_LEAVES_LATE,			/* nothing, and of keys for which an event
								 * comes too late the caller makes the row
								 * anew (ReplayResult.late) */
	REPLAY_SKIPS_EVENT,			/* the failed one, for ever */
	REPLAY_SKIPS_ALL			/* that wait now */
} ReplaySkip;

typedef struct ReplayResult
{
	ReplayOutcome outcome;
	bool		gave_up;		/* the key that took too long is dealt with */
	int64		events;			/* applied */
	TimestampTz next_retry;		/* of any parked key; 0: none */
	int64		id;				/* that the key is parked under now */
	int64		no;				/* of the event that fails now */
	int			sqlerrcode;		/* of the error, if it was put off */
	const char *message;		/* of the failure, or of the error */
	const char *detail;			/* of the failure; or NULL */
	int64		looked;			/* numbers that were looked through one by
								 * one, for want of an index */
	List	   *late;			/* texts of keys whose row lacks the event */
	char	   *index;			/* the statement that makes one; or NULL */
} ReplayResult;

extern ReplayResult ReplayDue(const char *projection, const char *command,
							  ReplayCaller caller, int64 given_up);
extern int64 ReplayTried(void);
extern ReplayResult ReplayKey(const char *projection, const char *key,
							  bool by_number, int64 id, ReplaySkip skip,
							  const char *command);

#endif							/* WALLET_PROJECTION_REPLAY_H */
