/*
 * board.h
 *		Who rebuilds what: shared among the sessions of a server.
 *
 * A rebuild goes through all keys by ranges of their hashes.  The board has the
 * ranges of each rebuild that runs: those that a session has taken, and those
 * that are free.  A range that is done is gone from the board; what is left of
 * a session that ends, however it ends, is free again.  So sessions that
 * rebuild the same projection share it, and each of them ends when all of it
 * is done.
 *
 * The board lies in shared memory where the library is preloaded, or else in
 * the process: then a lock keeps a second session away.
 */
#ifndef WALLET_PROJECTION_BOARD_H
#define WALLET_PROJECTION_BOARD_H

#include "datatype/timestamp.h"
#include "storage/lwlock.h"

typedef enum RebuildPhase
{
	REBUILD_FOLDS,				/* reads the stream */
	REBUILD_COMPARES,			/* the rows with the table's */
	REBUILD_WRITES,				/* what differs */
	REBUILD_REPLAYS				/* parked keys */
} RebuildPhase;

typedef enum BoardJoined
{
	BOARD_JOINED,				/* it has begun, or goes on with us */
	BOARD_BUSY,					/* one runs that has begun before the
								 * definition was altered, or is about to end */
	BOARD_FULL					/* too many run on this server */
} BoardJoined;

typedef enum BoardTaken
{
	BOARD_TAKEN,
	BOARD_WAIT,					/* others have what is left */
	BOARD_DONE					/* nothing is left */
} BoardTaken;

/* What is shown of a rebuild. */
typedef struct BoardProgress
{
	char		projection[NAMEDATALEN];
	RebuildPhase phase;			/* the first that a session is in */
	int64		done;			/* event numbers */
	int64		total;
	TimestampTz started_at;
} BoardProgress;

extern Size BoardSize(void);
extern void BoardInstall(void *memory, LWLock *lock, bool found);
extern bool BoardIsShared(void);
extern BoardJoined BoardJoin(const char *projection, TimestampTz advised);
extern BoardTaken BoardTake(uint64 *first, uint64 *last);
extern bool BoardIsWanted(void);
extern bool BoardKeep(uint64 last);
extern uint64 BoardEnd(void);
extern void BoardReport(RebuildPhase phase, double part);
extern void BoardTotal(int64 total);
extern void BoardNotAllWritten(void);
extern bool BoardIsLast(void);
extern void BoardDone(void);
extern bool BoardLeave(void);
extern BoardProgress *BoardCopy(int *count);

#endif							/* WALLET_PROJECTION_BOARD_H */
