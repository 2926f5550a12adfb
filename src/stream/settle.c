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
 * is settled.  Nobody waits for that.  The pair (B, W) is kept in this
 * process and looked at again the next time.  It is a fact about the stream;
 * a sequence that is restarted gets a new file, and the pair is forgotten.
 *
 * W knows nothing of our own transaction.  Once that has written to the
 * stream, it may have numbers whose rows no snapshot shows yet (the statement
 * that is running), and PREPARE may make it somebody else's.  Nothing new is
 * settled then; the transactions after it will see to it.
 *
 * The caller takes its snapshot after Settle() has returned, never before.
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

#include "stream/settle.h"

/* What this process knows of a stream. */
typedef struct SettleMemory
{
	Oid			relid;			/* hash key */
	Oid			sequence_file;	/* the sequence's file when it was noted */
	int64		settled;
	int64		pending_number; /* B, where W had members */
	Writers		pending;		/* W, in CacheMemoryContext */
} SettleMemory;

static HTAB *memories = NULL;

static SettleMemory *
find_memory(Oid relid)
{
	SettleMemory *memory;
	bool		found;

	if (memories == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(SettleMemory);
		control.hcxt = CacheMemoryContext;
		memories = hash_create("wallet_projection settlements", 16, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	memory = hash_search(memories, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset(memory, 0, sizeof(SettleMemory));
		memory->relid = relid;
	}
	return memory;
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

/* Those who may write to the stream: to its table or to a child of it. */
static void
find_writers(Settlement *look, Relation relation)
{
	List	   *tables = list_make1_oid(RelationGetRelid(relation));
	ListCell   *cell;

	if (relation->rd_rel->relhassubclass)
		tables = find_all_inheritors(RelationGetRelid(relation), NoLock, NULL);
	foreach(cell, tables)
	{
		add_lockers(&look->writers, lfirst_oid(cell));
		look->own = look->own || writes_itself(lfirst_oid(cell));
	}
	list_free(tables);
}

/* Have all of these transactions ended, and given back their locks? */
static bool
all_ended(const Writers *writers)
{
	for (int i = 0; i < writers->count; i++)
	{
		if (!VirtualXactLock(writers->ids[i], false))
			return false;
	}
	return true;
}

/* Is this transaction unfinished for any snapshot taken before? */
static bool
is_unfinished(const VirtualTransactionId *vxid)
{
	PGPROC	   *proc = compat_vxid_proc(vxid);
	bool		more = false;
	TransactionId xid;

	if (proc != NULL && compat_proc_lxid(proc) == vxid->localTransactionId)
		return true;
	/* it may be a prepared one */
	xid = VirtualTransactionIdIsRecoveredPreparedXact(*vxid) ?
		vxid->localTransactionId : TwoPhaseGetXidByVirtualXID(*vxid, &more);
	return TransactionIdIsValid(xid) && !more && TransactionIdIsInProgress(xid);
}

/*
 * Are all of these transactions unfinished for any snapshot taken before?
 * Their locks do not say so: whoever commits becomes visible first, then tells
 * the extensions, and gives back his locks after that.
 */
bool
WritersUnfinished(const Writers *writers)
{
	for (int i = 0; i < writers->count; i++)
	{
		if (!is_unfinished(&writers->ids[i]))
			return false;
	}
	return true;
}

static void
forget_pending(SettleMemory *memory)
{
	if (memory->pending.ids != NULL)
		pfree(memory->pending.ids);
	memory->pending.ids = NULL;
	memory->pending.count = 0;
	memory->pending_number = 0;
}

static void
keep_pending(SettleMemory *memory, int64 number, const Writers *writers)
{
	Size		size = writers->count * sizeof(VirtualTransactionId);

	memory->pending.ids = MemoryContextAlloc(CacheMemoryContext, size);
	memcpy(memory->pending.ids, writers->ids, size);
	memory->pending.count = writers->count;
	memory->pending_number = number;
}

/*
 * Look at the stream: the caller has it open, and takes its snapshot
 * afterwards.
 */
Settlement
Settle(const Stream *stream)
{
	SettleMemory *memory = find_memory(RelationGetRelid(stream->relation));
	Relation	sequence = relation_open(stream->parts.sequence, AccessShareLock);
	Oid			sequence_file = sequence->rd_rel->relfilenode;
	Settlement	look = {0};

	relation_close(sequence, AccessShareLock);
	look.last_number = StreamLastNumber(stream->parts.sequence);
	/* a child table that was made before that must not be overlooked */
	AcceptInvalidationMessages();
	find_writers(&look, stream->relation);

	if (memory->sequence_file != sequence_file ||
		look.last_number < memory->settled)
	{
		forget_pending(memory);
		memory->settled = 0;
		memory->sequence_file = sequence_file;
	}
	if (memory->pending.count > 0 && all_ended(&memory->pending))
	{
		memory->settled = Max(memory->settled, memory->pending_number);
		forget_pending(memory);
	}
	if (look.own)
	{
		/* we can tell nothing new */
	}
	else if (look.writers.count == 0)
	{
		memory->settled = Max(memory->settled, look.last_number);
		forget_pending(memory);
	}
	else if (memory->pending.count == 0)
		keep_pending(memory, look.last_number, &look.writers);
	look.settled = memory->settled;
	return look;
}
