/*
 * batch.h
 *		One batch: claim, settle, read, fold, apply, save.
 */
#ifndef WALLET_PROJECTION_BATCH_H
#define WALLET_PROJECTION_BATCH_H

#include "datatype/timestamp.h"

#include "position/choice.h"
#include "position/claims.h"

/* Where a batch is; what a worker shows of itself. */
typedef enum BatchStep
{
	BATCH_READS,				/* has claimed its partitions, reads and folds */
	BATCH_APPLIES				/* writes rows */
} BatchStep;

/* The one event that a batch was busy with. */
typedef struct BatchEvent
{
	int64		no;				/* 0: none, or it had several */
	bool		written;		/* its rows were; or its keys were computed */
} BatchEvent;

/* How much one batch may take on. */
typedef struct BatchLimits
{
	int			partitions;		/* claimed at most, or a group of them; 0: a
								 * fair share */
	ChoiceRule	choice;			/* which of them */
	int64		events;			/* applied at most; 0: as memory allows */
	bool		sized;			/* and at most the projection's batch_size */
	int			milliseconds;	/* that reading takes at most; 0: any time */
	bool		isolate;		/* find out which keys fail, and park them */
	bool		callers_transaction;	/* it is not ended after the batch */
	bool		stop_on_failure;	/* rather than park a key */
	bool		as_worker;		/* do nothing where the projection is stopped
								 * or locked */
	BatchEvent	given_up;		/* it has taken too long, alone in its batch:
								 * park it rather than to apply it */
	const char *given_up_detail;	/* where it was cancelled; or NULL */
	const char *command;		/* what the user called, for messages */
	void		(*step) (BatchStep step, const Claims *claims); /* or NULL */
} BatchLimits;

typedef enum BatchOutcome
{
	BATCH_IDLE,					/* there was nothing to look at */
	BATCH_STOPPED,				/* somebody has stopped the projection */
	BATCH_BUSY,					/* others hold the projection or all
								 * partitions */
	BATCH_CUT,					/* a limit ended the read: there may be more;
								 * events were applied, or positions moved */
	BATCH_WHOLE					/* read as far as can be for now */
} BatchOutcome;

typedef struct BatchResult
{
	BatchOutcome outcome;
	int64		events;			/* applied */
	bool		partial;		/* not all partitions were claimed */
	bool		rest;			/* nor all of those that the rule wants:
								 * others hold them, or they stand far apart */
	TimestampTz next_retry;		/* of keys that were parked; 0: none */
	bool		steal_wanted;	/* others cannot keep up: see choice.h */
	bool		gave_up;		/* what the limits said was given up is parked */
} BatchResult;

extern BatchEvent BatchAtHand(void);
extern bool BatchMayIsolate(const ErrorData *error);
extern bool BatchFailedAtLimit(const ErrorData *error);
extern BatchResult BatchRun(const char *projection, const BatchLimits *limits);

#endif							/* WALLET_PROJECTION_BATCH_H */
