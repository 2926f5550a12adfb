/*
 * slots.h
 *		Shared memory: the worker slots, and whatever else processes share.
 *
 * Only slots.c knows its layout.  All of it is guarded by one lock, held for
 * a few assignments at a time; nothing in here raises an error, allocates or
 * looks at a catalog while it is held.  Shared memory is a cache: what is
 * wanted is in tables, and a crash may empty it at any time.
 *
 * A slot goes round like this:
 *
 *	FREE -> STARTING	the launcher has asked for a process (SlotReserve)
 *	STARTING -> IDLE	the process is there (SlotAttach)
 *	STARTING -> FREE	it never came (SlotGiveUp)
 *	IDLE -> READING -> APPLYING -> IDLE, RETRYING	batches (SlotReport)
 *	any -> FREE			the process ends, however it ends (SlotDetach)
 *
 * A slot's generation grows each time it is reserved, so that nobody mistakes
 * a new tenant for the old one.
 */
#ifndef WALLET_PROJECTION_SLOTS_H
#define WALLET_PROJECTION_SLOTS_H

#include "datatype/timestamp.h"
#include "storage/condition_variable.h"

#include "consumer/assignment.h"
#include "notice.h"
#include "position/claims.h"

typedef enum WorkerState
{
	WORKER_FREE,
	WORKER_STARTING,
	WORKER_IDLE,
	WORKER_READING,
	WORKER_APPLYING,
	WORKER_RETRYING				/* waits to try a failed projection again */
} WorkerState;

#define WORKER_ERROR_LENGTH 256
#define WORKER_INTERESTS	16

/* What an append must be for a worker to be concerned. */
typedef struct Interest
{
	Oid			stream;			/* its table */
	uint64		type;			/* KeyHash() of the aggregate type */
	int			partitions;		/* of the projection */
} Interest;

/* What a worker knew that was terminated in a batch, as this took too long. */
typedef struct Legacy
{
	char		projection[NAMEDATALEN];	/* "": there is none */
	SlowSearch	slow;
} Legacy;

typedef struct WorkerSlot
{
	/* written by the launcher when it reserves the slot */
	uint32		generation;
	Oid			database;
	char		channel[NAMEDATALEN];

	/* written by the launcher, read by the worker */
	bool		leave;			/* it is not wanted any more */
	TimestampTz leave_since;

	/*
	 * set by whoever wakes the worker, under the lock in any mode; cleared by
	 * the worker, under the exclusive one
	 */
	bool		woken;

	/* written by who wants the running batch to end, cleared by the worker */
	TimestampTz cancelled;		/* when it was told; 0: it was not */
	bool		terminated;

	/* written by the worker */
	TimestampTz batch_since;	/* of the running batch, of this projection;
								 * 0: none runs */
	WorkerState state;			/* the launcher: STARTING, FREE */
	TimestampTz since;			/* of the state */
	struct PGPROC *process;		/* NULL until it is attached */
	int			pid;
	TimestampTz attached;
	bool		has_begun;		/* it got as far as serving; stays after the
								 * end, for the launcher to see */
	char		projection[NAMEDATALEN];	/* the one that is served, or was
											 * last */
	uint64		groups;			/* of partitions, held, of that projection */
	int			partitions;		/* that it has */
	int64		events;			/* applied */
	int64		batches;		/* committed with something applied */
	char		last_error[WORKER_ERROR_LENGTH];
	Legacy		legacy;
	int			interests;		/* -1: more than can be said */
	Interest	interest[WORKER_INTERESTS];
} WorkerSlot;

/* Where a worker stands among those of its channel. */
typedef struct WorkerShare
{
	int			rank;
	int			of;
	bool		leave;
	uint32		desired;		/* changes whenever what is wanted does */
} WorkerShare;

/* How fast a projection goes. */
typedef struct Speed
{
	double		events;			/* applied per second */
	double		numbers;		/* passed per second, summed over partitions */
	double		drawn;			/* numbers that its stream has drawn per
								 * second */
} Speed;

extern void SlotsInstall(void);
extern bool SlotsReady(void);
extern void SlotsCheckReady(const char *function);

/* the launcher's */
extern void LauncherAttach(void);
extern bool LauncherRuns(void);
extern void LauncherShortage(bool is_short);
extern bool LauncherIsShort(void);
extern void LauncherReadOnly(bool is_read_only);
extern bool LauncherIsReadOnly(void);
extern int	SlotReserve(Oid database, const char *channel,
						uint32 *generation);
extern void SlotGiveUp(int number, uint32 generation);
extern void SlotAskToLeave(int number, uint32 generation);
extern void SlotCancel(int number, uint32 generation);
extern void SlotTerminateUnsettled(int number, uint32 generation);

/* a worker's own */
extern bool SlotAttach(int number, uint32 generation, Oid *database,
					   char *channel);
extern void SlotSettledIn(void);
extern void SlotBequeath(const char *projection, const SlowSearch *slow);
extern Legacy SlotInherit(void);
extern WorkerShare SlotShare(void);
extern bool SlotWoken(void);
extern void SlotReport(WorkerState state, const char *projection,
					   const Claims *claims);
extern void SlotBatchBegins(const char *projection);
extern bool SlotCancelled(void);
extern bool SlotBatchEnds(void);
extern void SlotCount(int64 events);
extern void SlotError(const char *error);
extern void SlotInterests(const Interest *interest, int count);

/* everybody's */
extern WorkerSlot *SlotsCopy(int *count);
extern void SlotsDeliver(const Notices *notices);
extern void SlotsWake(Oid database);
extern int	SlotsCancel(const char *projection);
extern TimestampTz SlotsRunningSince(const char *projection);
extern Speed SpeedOf(const char *projection);
extern ConditionVariable *ProgressMade(void);

#endif							/* WALLET_PROJECTION_SLOTS_H */
