/*
 * model.h
 *		What the parts of the random model share: the stream and its writers
 *		(stream.c), the positions that are stored (store.c), and the mutation
 *		that is played.
 */
#ifndef MODEL_H
#define MODEL_H

#include "position/sets.h"
#include "stream/generations.h"

#define STEPS 400				/* in one run, so also of numbers, writers */
#define GROUPS 5
#define AGGREGATES 7
#define FOREIGN 6				/* an aggregate of a type nobody projects */
#define NOBODY 0				/* writers are counted from 1 */
#define BLOCKS 300				/* of old gaps, at one time */

enum Mutation
{
	NONE,
	SNAPSHOT_BEFORE_SETTLE,
	LOCKERS_BEFORE_NUMBER,
	NUMBER_BEFORE_LOCK,
	VERSION_AFTER_NUMBER,
	UNREAD_GAPS_DROPPED,
	SETTLED_BEYOND_LAST,
	CUT_CALLED_WHOLE,
	GAPS_LEFT_OUT_TOO_EARLY,
	LOCKS_SAY_WHO_HAS_ENDED,
	CARRIED_DROPPED,
	TURN_TOO_LOW,
	READ_BEFORE_CLAIM,
	WATCHED_BY_VALUE,
	WATCHED_BY_LANE,
	WATCHED_BY_PLACE,
	WATCHED_BY_WRITER,
	SECOND_LOOK_REMEMBERED,
	CUT_LOOK_REMEMBERED,
	NEW_GENERATION_OLD,
	OLDEST_ASKED_FIRST,
	JOINED_AFTER_CUT,
	ONE_WRITER_GOES_ON,
	ONE_OWNER_GOES_ON,
	SETTLED_LEFT_OUT,
	OWNERS_BEFORE_NUMBER,
	OWNERS_OF_SECOND_LOOK,
	OWNERS_AFTER_CUT,
	OWNERS_OF_YOUNGER,
	NAMED_BLOCK_DELETED,
	COUNTING_LANE_DELETED,
	RESTART_OVERLOOKED,
	OWN_OVERLOOKED,
	OWN_AMONG_OWNERS,
	PARKED_REMEMBERED,
	PARKED_KNOWN_TOO_EARLY,
	MUTATIONS
};

typedef struct Event
{
	int			aggregate;
	int			version;
	bool		committed;
} Event;

/* A row of the positions, and who may fill its old gaps, if that is known. */
typedef struct StoredSet
{
	PositionSet set;
	Writers		owners;
} StoredSet;

/* The last version of a lane; none: no sets. */
typedef struct Lane
{
	int64		version;
	int			count;
	StoredSet	sets[GROUPS];
} Lane;

/* Old gaps; never changed. */
typedef struct Block
{
	int64		id;
	NumberSet	gaps;
} Block;

typedef struct Store
{
	Lane		lanes[GROUPS];
	int			block_count;
	Block		blocks[BLOCKS];
	unsigned	parked;			/* keys, which are aggregates */
} Store;

/* What a batch writes when it commits. */
typedef struct Change
{
	uint64		claimed;
	int			lane;			/* that has a new version; -1: none */
	Lane		version;
	uint64		deleted_lanes;
	int			new_count;
	Block		new_blocks[BLOCKS];
	int			deleted_count;
	int64		deleted_blocks[BLOCKS];
	unsigned	freed;			/* keys */
	unsigned	parked;
} Change;

extern enum Mutation mutation;
extern const char *broken;		/* what went wrong */

/* stream.c: what is in the table, and who is writing */
extern Event events[STEPS + 1]; /* by number */
extern int	last_number;		/* of the sequence */
extern int	sequence_file;		/* another one if it was restarted */

extern void stream_start(bool long_writer);
extern void stream_empty(void);
extern void stream_event(void);
extern void stream_unlock_some(void);
extern void stream_end_all(void);
extern Writers stream_lockers(int except);
extern int	stream_own_begin(void);
extern void stream_own_write(int id);
extern bool stream_own_sees(int id, int number);
extern void stream_own_end(int id, bool commit);
extern Writers stream_unfinished(const Writers *writers);
extern bool writer_has_ended(const VirtualTransactionId *id);
extern bool writer_asked(const VirtualTransactionId *id);
extern int	group_of(int number);

/* store.c: the positions */
extern Store stored;			/* committed */

extern void store_start(void);
extern PositionSets store_resolve(const Store *store);
extern const StoredSet *store_row(const Store *store, const PositionSet *set);
extern const Block *store_block(const Store *store, int64 id);
extern NumberSet store_old_gaps(const Store *store, const PositionSet *set);
extern uint32 store_new_writer(void);
extern RowMark store_new_mark(uint32 writer, int lane, int part,
							  int64 version);
extern void store_rewrite(void);
extern void store_apply(Store *store, const Change *change);
extern void store_commit(const Change *change);

#define IdOfBlock(lane, n) ((int64) (lane) * 1000000 + (n))
#define LaneOfBlock(id) ((int) ((id) / 1000000))

#endif							/* MODEL_H */
