/*
 * chunk.h
 *		Some keys of one group, whose rows are made right in one transaction.
 */
#ifndef WALLET_PROJECTION_CHUNK_H
#define WALLET_PROJECTION_CHUNK_H

#include "position/claims.h"
#include "rebuild/rebuild_state.h"

/* What has become of a key. */
typedef enum KeyState
{
	KEY_UNTOUCHED,				/* time was up */
	KEY_RIGHT,					/* it was, or is now */
	KEY_LOCKED,					/* others have locked or changed its row */
	KEY_FAILED
} KeyState;

typedef struct Chunk
{
	Rebuild    *rebuild;
	OpenProjection *work;
	Claims		claims;
	Snapshot	snapshot;
	instr_time	began;			/* when the claim was granted */
	int			count;
	RefoldKey **keys;
	KeyState   *state;

	/* the attempt at hand */
	MemoryContext memory;
	int			from;			/* which keys */
	int			to;
	int64		written;		/* rows */
	bool		inserted;
} Chunk;

extern int	ChunkElapsed(const Chunk *chunk);
extern void ChunkWrite(Chunk *chunk);

#endif							/* WALLET_PROJECTION_CHUNK_H */
