/*
 * position.h
 *		How far a partition has read, exactly.
 *
 * A position is (head, gaps): an event is applied if and only if its number
 * is not above head and not in gaps.  Everything here is arithmetic on
 * numbers: no catalog, no clock, no lock.  Results are palloc'd in the
 * current memory context; arguments are never changed.
 */
#ifndef WALLET_PROJECTION_POSITION_H
#define WALLET_PROJECTION_POSITION_H

/* The numbers first..last, both included. */
typedef struct NumberRange
{
	int64		first;
	int64		last;
} NumberRange;

/* Ranges in ascending order; between two of them at least one is missing. */
typedef struct NumberSet
{
	int			count;
	int			capacity;
	NumberRange *ranges;
} NumberSet;

typedef struct Position
{
	int64		head;
	NumberSet	gaps;			/* all of them <= head */
} Position;

/*
 * What one ordered read of the stream has found out.  It looked at every
 * number of [from, last], and, where the batch limit did not cut it short
 * (whole), at every number from `from` on.
 */
typedef struct ReadReport
{
	int64		from;			/* first number looked at */
	int64		last;			/* last number seen, 0 if none */
	bool		whole;			/* the read came to the end of the stream */
	int64		settled;		/* numbers <= settled are visible, or dead */
	const NumberSet *seen;		/* numbers seen; those <= settled may be left
								 * out */
} ReadReport;

extern void NumberSetAppend(NumberSet *set, int64 first, int64 last);
extern bool NumberSetContains(const NumberSet *set, int64 number);
extern int64 NumberSetNext(const NumberSet *set, int64 number);
extern bool NumberSetEquals(const NumberSet *a, const NumberSet *b);
extern int64 NumberSetSize(const NumberSet *set);
extern NumberSet NumberSetCopy(const NumberSet *set);
extern NumberSet NumberSetUnion(const NumberSet *a, const NumberSet *b);
extern NumberSet NumberSetMinus(const NumberSet *a, const NumberSet *b);
extern NumberSet NumberSetBetween(const NumberSet *set, int64 first,
								  int64 last);
extern bool PositionApplied(const Position *position, int64 number);
extern Position PositionAdvance(const Position *position,
								const ReadReport *report);

#endif							/* WALLET_PROJECTION_POSITION_H */
