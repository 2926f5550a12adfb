/*
 * applied.h
 *		Which events a projection has applied, as a snapshot shows it.
 *
 * Positions, parked keys, skipped events and the read model's rows change in
 * the same transactions.  So under one snapshot they fit each other exactly,
 * whatever runs meanwhile, and nothing has to be claimed to know which events
 * the rows are made of.
 */
#ifndef WALLET_PROJECTION_APPLIED_H
#define WALLET_PROJECTION_APPLIED_H

#include "handler/key.h"
#include "position/lanes.h"

/* A key that is parked, or some of whose events were given up. */
typedef struct AppliedKey
{
	struct AppliedKey *next;	/* of the same bucket */
	uint32		hash;
	int32		length;
	const char *image;
	int64		failed;			/* its events from there on wait; 0: none do */
	NumberSet	applied;		/* but for these */
	NumberSet	skipped;		/* given up with others of the key */
} AppliedKey;

typedef struct Applied
{
	MemoryContext context;		/* in which all of it is */
	int			groups;			/* of partitions */
	Position	position[GROUPS_MAX];	/* with all gaps */
	int64		highest;		/* of the heads */
	NumberSet	skipped;		/* events, whatever their keys */
	KeyType    *type;
	int			nkeys;
	int			nbuckets;		/* a power of two; 0: no key has a say */
	AppliedKey **buckets;
} Applied;

extern Applied *AppliedAtStart(const Projection *projection);
extern Applied *AppliedAsOf(const Projection *projection, KeyType *type,
							Snapshot snapshot);
extern uint32 AppliedHash(KeyType *type, const char *image, int length);
extern bool AppliedKeyHas(const Applied *applied, const char *image,
						  int length, uint32 hash, int64 no);
extern int64 AppliedLowestNew(const Applied *before, const Applied *after);

/* Is the event applied to the keys of this group, as far as these go? */
static inline bool
AppliedGroupHas(const Applied *applied, int group, int64 no)
{
	const Position *position = &applied->position[group];

	return no <= position->head &&
		(position->gaps.count == 0 ||
		 !NumberSetContains(&position->gaps, no)) &&
		(applied->skipped.count == 0 ||
		 !NumberSetContains(&applied->skipped, no));
}

#endif							/* WALLET_PROJECTION_APPLIED_H */
