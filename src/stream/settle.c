/*
 * settle.c
 *		Up to which number nothing can appear any more.
 *
 * A writer locks the stream's table before it draws a number, and keeps the
 * lock until its transaction ends.  So, in this order:
 *
 *	1. read B, the last number drawn;
 *	2. read W, the transactions that hold a writer's lock on the table.
 *
 * Whoever drew a number <= B is in W or has ended.  Once every member of W
 * has ended, each number <= B is visible to all later snapshots, or dead: B
 * is settled.  Nobody waits for that.  Pairs (B, W) are kept in this process
 * (generations.c) and looked at again the next time.  They are facts about the
 * stream; a sequence that is restarted gets a new file, and they are forgotten.
 *
 * W knows nothing of our own transaction.  Once that has written to the
 * stream, it may have numbers whose rows no snapshot shows yet (the statement
 * that is running), and PREPARE may make it somebody else's.  Nothing new is
 * settled then; the transactions after it will see to it.
 *
 * The caller takes its snapshot after Settle() has returned, never before.
 *
 * The lock may be on a partition or a child of the table alone.  All of them are
 * looked at that there are after B was read.  Whoever makes a table one of them
 * locks the parent as a writer does, until his transaction ends: so he is in W,
 * or he had ended before, and who writes to the new one since has numbers
 * above B.
 *
 * W leaves out VACUUM, whose lock conflicts like a writer's.  It includes
 * prepared transactions, and follows a transaction through PREPARE.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/twophase.h"
#include "catalog/pg_inherits.h"
#include "compat.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "remember.h"
#include "stream/generations.h"
#include "stream/settle.h"

/* What this process knows of a stream. */
typedef struct SettleMemory
{
	Oid			relid;			/* hash key */
	Oid			sequence_file;	/* the sequence's file when it was noted */
	Generations known;			/* in CacheMemoryContext */
} SettleMemory;

static HTAB *memories = NULL;

static SettleMemory *
find_memory(Oid relid)
{
	return RememberedOfTable(&memories, "wallet_projection settlements", relid,
							 sizeof(SettleMemory));
}

/*
 * Is it a VACUUM, or an index build that writes no events?  A prepared
 * transaction keeps its id when its process goes on to something else.
 */
static bool
is_maintenance(const VirtualTransactionId *vxid)
{
	PGPROC	   *proc = compat_vxid_proc(vxid);

	return proc != NULL &&
		(proc->statusFlags & (PROC_IN_VACUUM | PROC_IN_SAFE_IC)) != 0 &&
		compat_proc_lxid(proc) == vxid->localTransactionId;
}

/* Add those who hold a writer's lock on this table. */
static void
add_lockers(Writers *writers, Oid relid)
{
	LOCKTAG		tag;
	int			count;
	VirtualTransactionId *ids;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	ids = GetLockConflicts(&tag, ShareLock, &count);
	if (count > 0)
	{
		Size		size = (writers->count + count) * sizeof(*ids);

		writers->ids = writers->ids ? repalloc(writers->ids, size) :
			palloc(size);
		for (int i = 0; i < count; i++)
		{
			if (!is_maintenance(&ids[i]))
				writers->ids[writers->count++] = ids[i];
		}
	}
	pfree(ids);
}

/* Has our own transaction locked the table as a writer does? */
static bool
writes_itself(Oid relid)
{
	for (LOCKMODE mode = RowExclusiveLock; mode <= AccessExclusiveLock; mode++)
	{
		LOCKTAG		tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
		if (mode != ShareUpdateExclusiveLock && mode != ShareLock &&
			compat_LockHeldByMe(&tag, mode))
			return true;
	}
	return false;
}

/*
 * Those who may write to the stream: to its table or to a child of it.  True
 * if we are among them ourselves, who are not listed.
 */
static bool
find_writers(Writers *writers, Relation relation)
{
	List	   *tables = list_make1_oid(RelationGetRelid(relation));
	ListCell   *cell;
	bool		own = false;

	if (relation->rd_rel->relhassubclass)
		tables = find_all_inheritors(RelationGetRelid(relation), NoLock, NULL);
	foreach(cell, tables)
	{
		add_lockers(writers, lfirst_oid(cell));
		own = own || writes_itself(lfirst_oid(cell));
	}
	list_free(tables);
	return own;
}

static bool
is_listed(const VirtualTransactionId *ids, int count, VirtualTransactionId id)
{
	for (int i = 0; i < count; i++)
	{
		if (VirtualTransactionIdEquals(ids[i], id))
			return true;
	}
	return false;
}

/*
 * Those who may write to the stream now, others than ourselves; each once,
 * though he may have locked the table and some of its children.
 */
Writers
StreamWriters(Relation relation)
{
	Writers		writers = {0};
	int			count = 0;

	(void) find_writers(&writers, relation);
	for (int i = 0; i < writers.count; i++)
	{
		if (!is_listed(writers.ids, count, writers.ids[i]))
			writers.ids[count++] = writers.ids[i];
	}
	writers.count = count;
	return writers;
}

/*
 * WriterHasEnded: is what this transaction has done visible to any snapshot
 * taken from now on, or never?  Locks do not say so: whoever commits becomes
 * visible first, then tells the extensions, and gives back his locks after that.
 */
static bool
has_ended(const VirtualTransactionId *vxid)
{
	PGPROC	   *proc = compat_vxid_proc(vxid);
	bool		more = false;
	TransactionId xid;

	if (proc != NULL && compat_proc_lxid(proc) == vxid->localTransactionId)
		return false;
	/* it may be a prepared one */
	xid = VirtualTransactionIdIsRecoveredPreparedXact(*vxid) ?
		vxid->localTransactionId : TwoPhaseGetXidByVirtualXID(*vxid, &more);
	if (more)
		return VirtualXactLock(*vxid, false);
	return !TransactionIdIsValid(xid) || !TransactionIdIsInProgress(xid);
}

/* The id of an unfinished transaction; invalid if it has none, or has ended. */
TransactionId
WriterXid(const VirtualTransactionId *vxid)
{
	PGPROC	   *proc = compat_vxid_proc(vxid);
	bool		more = false;
	TransactionId xid;

	if (VirtualTransactionIdIsRecoveredPreparedXact(*vxid))
		return vxid->localTransactionId;
	xid = proc == NULL ? InvalidTransactionId : proc->xid;
	if (proc != NULL && compat_proc_lxid(proc) == vxid->localTransactionId)
		return xid;
	xid = TwoPhaseGetXidByVirtualXID(*vxid, &more);
	return more ? InvalidTransactionId : xid;
}

/* What is known of the stream, if its sequence is still the same. */
static Generations *
known_of(const Stream *stream)
{
	SettleMemory *memory = find_memory(RelationGetRelid(stream->relation));
	Relation	sequence = relation_open(stream->parts.sequence, AccessShareLock);
	Oid			sequence_file = sequence->rd_rel->relfilenode;

	relation_close(sequence, AccessShareLock);
	if (memory->sequence_file != sequence_file)
		GenerationsForget(&memory->known);
	memory->sequence_file = sequence_file;
	return &memory->known;
}

/*
 * Look at the stream: the caller has it open, and takes its snapshot
 * afterwards.
 */
Settlement
Settle(const Stream *stream)
{
	Generations *known = known_of(stream);
	Settlement	look = {0};
	Writers		writers = {0};
	MemoryContext old;

	look.last_number = StreamLastNumber(stream->parts.sequence);
	/* a child table that was made before that must not be overlooked */
	AcceptInvalidationMessages();
	look.own = find_writers(&writers, stream->relation);
	GenerationsShrink(known, has_ended);
	/* the sequence was set back: what is known is of other numbers */
	if (look.last_number < known->settled)
		GenerationsForget(known);
	/* of our own numbers we can tell nothing */
	if (!look.own)
	{
		old = MemoryContextSwitchTo(CacheMemoryContext);
		GenerationsAdd(known, look.last_number, &writers);
		MemoryContextSwitchTo(old);
	}
	look.settled = known->settled;
	look.look = known->look;
	look.oldest = known->settled;
	if (known->count > 0)
	{
		look.oldest = known->generations[0].last;
		look.owners = WritersCopy(&known->generations[0].writers);
	}
	return look;
}

/*
 * See who has ended, without looking for who else writes; which look it is, and
 * the number up to which the stream is settled.
 */
uint64
StreamLook(const Stream *stream, int64 *settled)
{
	Generations *known = known_of(stream);

	GenerationsShrink(known, has_ended);
	*settled = known->settled;
	return known->look;
}

/* The first number above the settled ones that may have been filled since. */
int64
StreamFilledSince(const Stream *stream, uint64 look)
{
	return GenerationsSince(known_of(stream), look);
}

/*
 * Who may fill the oldest gaps, as other processes can tell; nobody, if it
 * cannot be said: one has no id yet, or has ended meanwhile, and what he has
 * filled may be visible since the settlement.
 */
Owners
OwnersOf(const Settlement *settlement)
{
	const Writers *writers = &settlement->owners;
	FullTransactionId next = ReadNextFullTransactionId();
	uint64	   *ids = palloc_array(uint64, Max(writers->count, 1));
	Owners		owners = {.ids = ids};

	for (int i = 0; i < writers->count; i++)
	{
		TransactionId xid = WriterXid(&writers->ids[i]);
		uint64		epoch = EpochFromFullTransactionId(next);

		if (!TransactionIdIsNormal(xid) || has_ended(&writers->ids[i]))
			return owners;
		if (xid > XidFromFullTransactionId(next))
			epoch--;
		ids[i] = U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
	}
	owners.count = writers->count;
	return owners;
}

/* Is this one of the last two billion transactions? */
static bool
is_recent(FullTransactionId id)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	uint64		number = U64FromFullTransactionId(id);

	return TransactionIdIsNormal(XidFromFullTransactionId(id)) &&
		number < next && next - number < PG_INT32_MAX;
}

/*
 * Are these transactions unfinished for any snapshot taken before?  There must
 * be some.  Ours does not count: what it does is visible to it.
 */
bool
OwnersUnfinished(const Owners *owners)
{
	for (int i = 0; i < owners->count; i++)
	{
		FullTransactionId id = FullTransactionIdFromU64(owners->ids[i]);
		TransactionId xid = XidFromFullTransactionId(id);

		if (!is_recent(id) || TransactionIdIsCurrentTransactionId(xid) ||
			!TransactionIdIsInProgress(xid))
			return false;
	}
	return owners->count > 0;
}

/* The virtual id of a transaction, as locks have it. */
static VirtualTransactionId
vxid_of(TransactionId xid)
{
	int			pid = BackendXidGetPid(xid);
	PGPROC	   *proc = pid == 0 ? NULL : BackendPidGetProc(pid);
	VirtualTransactionId vxid;

	if (proc != NULL)
	{
		GET_VXID_FROM_PGPROC(vxid, *proc);
		if (VirtualTransactionIdIsValid(vxid) && WriterXid(&vxid) == xid)
			return vxid;
	}
	/* a prepared one, or it has just ended, and will be seen so */
	SetInvalidVirtualTransactionId(vxid);
	vxid.localTransactionId = xid;
	return vxid;
}

/*
 * Another process has found that numbers up to this one that are not there
 * yet are of these transactions alone, which are unfinished.
 */
void
StreamLearnOwners(const Stream *stream, int64 last, const Owners *owners)
{
	MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);
	Writers		writers = {.count = owners->count};

	writers.ids = palloc_array(VirtualTransactionId, owners->count);
	for (int i = 0; i < owners->count; i++)
		writers.ids[i] = vxid_of(XidFromFullTransactionId(FullTransactionIdFromU64(owners->ids[i])));
	GenerationsLearn(known_of(stream), last, &writers);
	pfree(writers.ids);
	MemoryContextSwitchTo(old);
}
