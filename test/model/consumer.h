/*
 * consumer.h
 *		The model's consumers: what one knows, and the batch that it is in.
 */
#ifndef MODEL_CONSUMER_H
#define MODEL_CONSUMER_H

#include "model.h"

#define LOOKS 40				/* that a consumer remembers */
#define BATCHES 3				/* in one transaction */

/* When a consumer has looked at all gaps of a row. */
typedef struct Look
{
	RowMark		mark;
	Position	position;		/* by this it must not be known, */
	int			lane;			/* nor by that */
	uint64		look;
} Look;

enum Phase
{
	WAIT, CLAIM, POSITIONS, FIRST_READ, SECOND_READ, SNAPSHOT, APPLY,
	COMMIT, RELEASE
};

typedef struct Consumer
{
	enum Phase	phase;
	/* known from batch to batch */
	Generations known;
	int			sequence_file;
	int			look_count;
	Look		looks[LOOKS];
	bool		parked_read;	/* at any time */
	unsigned	may_be_parked;	/* keys */
	int			parked_count;
	RowMark		parked_rows[GROUPS];	/* of whose groups these are all */
	/* of the transaction */
	uint64		claimed;
	uint32		writer;			/* of the rows that it writes */
	int			own;			/* it writes as this writer, or NOBODY */
	int			batch_count;
	Change		batches[BATCHES];	/* what it has written */
	int			applied_count;
	int			applied[STEPS]; /* events, by number */
	/* of the batch */
	uint64		claimed_before;
	Store		view;			/* what was stored, seen after the claim */
	PositionSets all;
	PositionSets sets;			/* claimed */
	int			number;			/* B */
	Writers		lockers;		/* W */
	Writers		early;			/* lockers before B */
	Writers		early_owners;
	/* after the first look */
	int64		settled;
	uint64		look;
	Generation	oldest;			/* .last 0: none */
	bool		snapshot[STEPS + 1];	/* visible numbers */
} Consumer;

/* A set on its way through a batch. */
typedef struct Trip
{
	PositionSet before;			/* as it was stored */
	PositionSet now;			/* with the gaps that were loaded */
	Position	full;			/* with all of them: for checks */
	bool		loaded;			/* has now the old gaps? */
	bool		looked;			/* all gaps looked at, or not filled */
} Trip;

typedef struct Batch
{
	Consumer   *consumer;
	bool		final;
	bool		left_out;		/* gaps, whether filled or not */
	int			count;
	Trip		trips[GROUPS];
	ReadReport	report;
	NumberSet	seen;
	bool		events[STEPS + 1];
	bool		parked_known;
	Change		change;
} Batch;

/* consumer.c: claim, settle, read, apply */
extern int	left_out_percent;	/* gaps, whether they are filled or not */
extern int	greed_percent;		/* all that is free is claimed */
extern int	frailty_percent;	/* a batch crashes */
extern int	writes_percent;		/* a consumer's transaction appends */
extern bool promises_only;		/* see check_read */

extern void consumer_start(void);
extern void consumer_step(Consumer *consumer);
extern void consumer_forget(Consumer *consumer);
extern void consumer_roll_back(Consumer *consumer);
extern void consumer_read_all(Consumer *consumer);
extern void consumer_finish(Consumer *consumer);
extern const Look *consumer_look(const Consumer *consumer,
								 const PositionSet *set);
extern void consumer_remember(Consumer *consumer, const PositionSet *set,
							  uint64 look);
extern bool consumer_applied(int number);

/* parked.c: which keys are certainly not parked */
extern void parked_forget(Consumer *consumer);
extern void parked_open(Batch *batch);
extern void parked_replay(Batch *batch);
extern void parked_check(const Batch *batch, int key);
extern void parked_save(Batch *batch, uint64 saved);

/* save.c */
extern void batch_save(Batch *batch);

#endif							/* MODEL_CONSUMER_H */
