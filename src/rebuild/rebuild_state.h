/*
 * rebuild_state.h
 *		What the parts of a rebuild share.
 */
#ifndef WALLET_PROJECTION_REBUILD_STATE_H
#define WALLET_PROJECTION_REBUILD_STATE_H

#include "portability/instr_time.h"

#include "position/sets.h"
#include "rebuild/rebuild.h"
#include "rebuild/refold.h"

/* Keys that wait to be written, by group; at most so many at a time. */
#define WINDOW_KEYS 10000

typedef struct Window
{
	MemoryContext context;		/* of the keys */
	int			count;			/* that are left */
	RefoldKey **keys;			/* in order of groups */
	int			from[GROUPS_MAX];	/* of a group: the next one */
	int			to[GROUPS_MAX]; /* and behind the last */
	int			alone[GROUPS_MAX];	/* how many of the next are written one by
									 * one, as some of them cannot be */
} Window;

/* What is parked is tried again: see ParkedAll(). */
typedef enum ReplayStage
{
	REPLAY_NOT_BEGUN,
	REPLAY_EVENTS,				/* without a key */
	REPLAY_KEYS
} ReplayStage;

struct Rebuild
{
	MemoryContext context;		/* lives as long as the call */
	char	   *name;			/* of the projection */
	char	   *key;			/* only this one; or NULL */
	bool		force;
	bool		callers_transaction;	/* nothing is committed in between */
	bool		begun;			/* it may begin: check_start() */
	bool		checked;		/* the stream's beginning was looked at */

	/* the range at hand */
	uint64		first;
	uint64		last;
	Refold	   *refold;
	int64		differing;		/* keys, at the comparison */

	/* chunk.c, rounds.c: what is being written */
	ShadowCursor cursor;
	Window		window;
	int			group;			/* that was written last */
	bool		contended;		/* it has events that wait */
	int			chunk_keys;		/* as many as take CHUNK_TIME */
	int			milliseconds;	/* that the last chunk took */
	int64		left_before;	/* keys at the beginning of this round */
	int64		locked;			/* keys of this round that others have locked */
	TimestampTz give_up;		/* when locks are waited for no longer; 0: not
								 * known yet */
	int64		unwritten;		/* keys of this round whose row could not be */
	List	   *troubles;		/* why: some texts */

	char	   *parked_key;		/* the key, as it may be parked; or NULL */
	ReplayStage stage;			/* of trying again what is parked */
	List	   *parked;			/* of ParkedBrief: of this stage */
	int			replayed;		/* so many of these have been tried */
	RebuildCount count;			/* of all ranges */
	List	   *all_troubles;
};

/* What is done with the projection open. */
typedef void (*RebuildStep) (Rebuild *rebuild, OpenProjection *work);

extern void RebuildWith(Rebuild *rebuild, bool lock, RebuildStep step);
extern void RebuildRounds(Rebuild *rebuild);
extern void RebuildChunkStep(Rebuild *rebuild, OpenProjection *work);
extern void RebuildTrouble(Rebuild *rebuild, const char *key,
						   const char *message);

#endif							/* WALLET_PROJECTION_REBUILD_STATE_H */
