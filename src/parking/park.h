/*
 * park.h
 *		Parked keys: those whose next event has failed.
 *
 * A parked key is a row of wallet_projection.parked.  It says which event
 * failed, and why.  That event and the later ones of the key are passed over:
 * positions move on, and the events wait in the stream.  The row belongs to
 * the key's partition: only who has claimed that may write it.
 */
#ifndef WALLET_PROJECTION_PARK_H
#define WALLET_PROJECTION_PARK_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"

#include "definition/projection.h"
#include "handler/key.h"
#include "position.h"
#include "utils/snapshot.h"

/* Which event of a key failed, and why. */
typedef struct KeyFailure
{
	int64		no;
	int64		version;
	char	   *event_name;
	bool		locked;			/* no failure: others have locked its row */
	bool		taken;			/* another row has a value that it needs; may
								 * be given up by an event of that row's key */
	int			sqlerrcode;
	char	   *message;
	char	   *detail;			/* these may be NULL */
	char	   *hint;
	char	   *context;
} KeyFailure;

/* What all who look for a parked key need to know of it. */
typedef struct ParkedBrief
{
	char	   *key;
	bool		by_number;		/* an event without a key; that is its number */
	int64		id;
	int64		no;				/* of the event that has failed */
	int			partition;
	bool		locked;			/* has not failed, but waits for a lock or a
								 * value */
	TimestampTz next_retry_at;	/* 0: none, it is a dead letter */
} ParkedBrief;

/* Under what a key is parked. */
typedef struct ParkedName
{
	char	   *key;			/* text */
	bool		by_number;		/* the event alone: its key cannot be
								 * computed, and the text is its number */
	uint64		hash;			/* chooses the partition */
} ParkedName;

typedef struct Parked
{
	ItemPointerData place;		/* of the row */
	char	   *projection;
	char	   *key;
	bool		by_number;		/* see ParkedName */
	uint64		hash;
	int64		id;				/* another one for each event that fails */
	int			partition;
	KeyFailure	failure;
	int			attempts;		/* at that event; 0: it has not failed, but
								 * waits for a lock or a value */
	int64		waiting;		/* events behind it that were passed over */
	TimestampTz first_failed_at;
	TimestampTz last_failed_at;
	TimestampTz next_retry_at;	/* 0: none, it is a dead letter */
	char	   *retry_error;	/* why it could not be tried again; or NULL */
	NumberSet	applied;		/* of those behind it, applied before it came */
} Parked;

extern void ParkedAsOf(const char *projection, Snapshot snapshot,
					   void (*receive) (void *arg, const Parked *parked),
					   void *arg);
extern List *ParkedAll(const char *projection, bool by_number);
extern uint64 ParkedPartitionHash(KeyType *type, const ParkedBrief *parked);
extern void ParkedCheck(const Projection *projection,
						const ParkedBrief *parked, uint64 hash);
extern char *ParkedEqual(const char *projection, KeyType *type,
						 const char *image, int length);
extern void ParkedHashes(const char *projection,
						 void (*receive) (const char *projection, uint64 hash));
extern NumberSet ParkedNumbers(const char *projection);
extern bool ParkedIsThere(const char *projection, const char *key,
						  int length);
extern bool ParkedFew(const char *projection, int few, List **keys);
extern int	ParkedCount(const char *projection);
extern List *ParkedDue(const Projection *projection, bool locked_too,
					   int max);
extern Parked *ParkedKey(const char *projection, const char *key,
						 bool by_number);
extern Parked *ParkedById(int64 id);
extern bool ParkedIsDue(const Projection *projection, TimestampTz at);
extern List *ParkedLockedKeys(const char *projection, int max);
extern bool ParkedLocked(const char *projection);
extern TimestampTz ParkedNextRetry(const char *projection);
extern TimestampTz ParkKey(const Projection *projection,
						   const ParkedName *name, const KeyFailure *failure,
						   int64 waiting, const NumberSet *applied);
extern TimestampTz ParkAgain(const Projection *projection, Parked *parked,
							 const KeyFailure *failure, int64 waiting);
extern void ParkPostpone(const Projection *projection, Parked *parked,
						 int sqlerrcode, const char *message);
extern TimestampTz ParkPassOver(const Stream *stream, Snapshot snapshot,
								const char *projection, const char *key,
								int64 events, int64 first_no,
								const Position *before);
extern void ParkFree(const Parked *parked);
extern void ParkDrop(const char *projection);

#endif							/* WALLET_PROJECTION_PARK_H */
