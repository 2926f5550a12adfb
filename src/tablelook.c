/*
 * tablelook.c
 *		A look at a user's table that waits for nobody.
 *
 * Whoever looks at a view wants to know what is wrong; that somebody holds a
 * table locked must not keep him from it.  So a table, its children, their
 * indexes and its sequences are locked only if that can be had at once.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tablelook.h"

static bool
try_lock(TableLook *look, Oid relid)
{
	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return false;
	look->locked = lappend_oid(look->locked, relid);
	return true;
}

static bool
try_lock_all(TableLook *look, List *relids)
{
	ListCell   *cell;

	foreach(cell, relids)
	{
		if (!try_lock(look, lfirst_oid(cell)))
			return false;
	}
	return true;
}

/* Lock a table and its indexes; where it is gone, nothing is to be locked. */
static bool
try_lock_table(TableLook *look, Oid relid)
{
	Relation	relation;
	bool		result;

	if (!try_lock(look, relid))
		return false;
	relation = try_relation_open(relid, NoLock);
	if (relation == NULL)
		return true;
	result = !RELKIND_HAS_TABLE_AM(relation->rd_rel->relkind) ||
		try_lock_all(look, RelationGetIndexList(relation));
	relation_close(relation, NoLock);
	return result;
}

static void
unlock(TableLook *look)
{
	ListCell   *cell;

	foreach(cell, look->locked)
		UnlockRelationOid(lfirst_oid(cell), AccessShareLock);
}

static bool
is_table(char relkind)
{
	return relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE;
}

/*
 * Open an ordinary or partitioned table and lock all that belongs to it, as a reader does;
 * NULL where there is none, or somebody else holds something of it.
 */
TableLook *
TableLookBegin(Oid relid)
{
	TableLook  *look;
	ListCell   *cell;
	bool		locked;

	if (!OidIsValid(relid) || !is_table(get_rel_relkind(relid)))
		return NULL;
	look = palloc0(sizeof(TableLook));
	locked = try_lock_table(look, relid);
	if (locked && has_subclass(relid))
	{
		foreach(cell, find_all_inheritors(relid, NoLock, NULL))
			locked = locked && (lfirst_oid(cell) == relid ||
								try_lock_table(look, lfirst_oid(cell)));
	}
	locked = locked && try_lock_all(look, getOwnedSequences(relid));
	look->relation = locked ? try_relation_open(relid, NoLock) : NULL;
	if (look->relation != NULL &&
		is_table(look->relation->rd_rel->relkind))
		return look;
	if (look->relation != NULL)
		relation_close(look->relation, NoLock);
	unlock(look);
	return NULL;
}

/* Give everything back. */
void
TableLookEnd(TableLook *look)
{
	relation_close(look->relation, NoLock);
	unlock(look);
}

/* Does the table have no row that is committed, or ours? */
bool
TableIsEmpty(Relation relation)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = compat_table_beginscan(relation, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return !found;
}
