/*
 * generations.h
 *		Who may still fill which gaps of a stream, and which were filled.
 *
 * A generation says: numbers up to `last` (above the generation before) that
 * are not visible yet can only become so by one of its writers.  Oldest
 * first.
 *
 * A look counts up.  A step says when a number up to `last` (above the step
 * before) may have been filled last: later steps have later looks.
 *
 * Nothing here asks whether a writer has ended: the caller does.
 */
#ifndef WALLET_PROJECTION_GENERATIONS_H
#define WALLET_PROJECTION_GENERATIONS_H

#include "storage/lock.h"

/* test/model has fewer, so that there are often too many */
#ifndef GENERATIONS_MAX
#define GENERATIONS_MAX 8
#endif
#define STEPS_MAX 64

/* Transactions that may write to a stream. */
typedef struct Writers
{
	int			count;
	VirtualTransactionId *ids;
} Writers;

/* Transactions by their ids, which are theirs for ever; none: not known. */
typedef struct Owners
{
	int			count;
	const uint64 *ids;
} Owners;

typedef struct Generation
{
	int64		last;
	Writers		writers;		/* who have not ended yet */
} Generation;

typedef struct Step
{
	int64		last;
	uint64		look;			/* may have been filled before this look */
} Step;

/* In a memory context of the caller's; zeroed when made. */
typedef struct Generations
{
	uint64		look;			/* counts them */
	int64		settled;		/* numbers up to here are visible, or dead */
	int			count;
	Generation	generations[GENERATIONS_MAX + 1];
	int			step_count;
	Step		steps[STEPS_MAX + 2];
} Generations;

typedef bool (*WriterHasEnded) (const VirtualTransactionId *writer);

extern Writers WritersCopy(const Writers *writers);
extern void GenerationsForget(Generations *known);
extern void GenerationsShrink(Generations *known, WriterHasEnded has_ended);
extern void GenerationsAdd(Generations *known, int64 last,
						   const Writers *writers);
extern void GenerationsLearn(Generations *known, int64 last,
							 const Writers *writers);
extern int64 GenerationsSince(const Generations *known, uint64 look);

#endif							/* WALLET_PROJECTION_GENERATIONS_H */
