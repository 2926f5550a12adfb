/*
 * batch.h
 *		One batch: claim, settle, read, fold, apply, save.
 */
#ifndef WALLET_PROJECTION_BATCH_H
#define WALLET_PROJECTION_BATCH_H

/* How much one batch may take on. */
typedef struct BatchLimits
{
	int			partitions;		/* claimed at most; 0: a fair share of them */
	int64		events;			/* applied at most; 0: as memory allows */
	bool		sized;			/* and at most the projection's batch_size */
	const char *command;		/* what the user called, for messages */
} BatchLimits;

typedef enum BatchOutcome
{
	BATCH_IDLE,					/* there was nothing to look at */
	BATCH_BUSY,					/* others hold all partitions */
	BATCH_CUT,					/* a limit ended the read: there may be more */
	BATCH_WHOLE					/* read to the end of the stream */
} BatchOutcome;

typedef struct BatchResult
{
	BatchOutcome outcome;
	int64		events;			/* applied */
	bool		partial;		/* not all partitions were claimed */
} BatchResult;

extern void BatchCheckTransaction(const char *command);
extern BatchResult BatchRun(const char *projection, const BatchLimits *limits);

#endif							/* WALLET_PROJECTION_BATCH_H */
