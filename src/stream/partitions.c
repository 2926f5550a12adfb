/*
 * partitions.c
 *		Partitions and children of a stream's table that come and go.
 *
 * Positions say which numbers were applied, or are dead.  A table with lower
 * numbers that becomes a partition afterwards brings events that nobody applies
 * any more; one that is taken away with events above a position takes along
 * what nobody has applied.  Neither can be seen from numbers alone: an old
 * partition has low numbers, too.  So whoever keeps positions keeps the
 * partitions that there were (StreamPartitions), by their OIDs, which are true
 * in this installation only; and asks here what has become of them.
 *
 * Cheap: one look into an index for each partition that is new or gone, none
 * for the others.  A partition that was dropped is not asked for: its numbers
 * are gone with it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "stream/partitions.h"
#include "tableref.h"

/*
 * The OIDs of all tables that hold the stream's events, in order, but for the
 * table itself; NIL if it has no partitions or children.
 */
List *
StreamPartitions(Relation relation)
{
	List	   *result = NIL;
	List	   *relids;
	ListCell   *cell;

	if (!relation->rd_rel->relhassubclass)
		return NIL;
	relids = find_all_inheritors(RelationGetRelid(relation), NoLock, NULL);
	foreach(cell, relids)
	{
		if (lfirst_oid(cell) != RelationGetRelid(relation) &&
			get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
			result = lappend_oid(result, lfirst_oid(cell));
	}
	list_free(relids);
	list_sort(result, list_oid_cmp);
	return result;
}

/*
 * The lowest or highest number in a table; false: there is none, or it cannot be
 * looked at now.
 */
static bool
number_in(Oid relid, const StreamParts *parts, const char *column, bool lowest,
		  int64 *number)
{
	Relation	table;
	bool		found = false;

	/* who looks at a view waits for nobody */
	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return false;
	table = try_relation_open(relid, NoLock);
	if (table != NULL)
	{
		found = StreamTableNumber(table, parts, column, lowest, number);
		relation_close(table, NoLock);
	}
	UnlockRelationOid(relid, AccessShareLock);
	return found;
}

static NumberTrouble *
late_partition(const char *stream, Oid relid, int64 number, int64 head)
{
	NumberTrouble *trouble = palloc(sizeof(NumberTrouble));

	trouble->message = psprintf("table \"%s\" became a partition of stream \"%s\" with events that are below the positions",
								TableNameOf(relid), stream);
	trouble->detail = psprintf("Its lowest number is %lld, and a position is at %lld. Such events are not applied.",
							   (long long) number, (long long) head);
	trouble->hint = pstrdup("Detach it, or run projection_reset, to start again from the first event.");
	return trouble;
}

static NumberTrouble *
early_detached(const char *stream, Oid relid, int64 number, int64 head)
{
	NumberTrouble *trouble = palloc(sizeof(NumberTrouble));

	trouble->message = psprintf("table \"%s\" is no partition of stream \"%s\" any more, and has events that were not applied",
								TableNameOf(relid), stream);
	trouble->detail = psprintf("Its highest number is %lld, and a position is at %lld.",
							   (long long) number, (long long) head);
	trouble->hint = pstrdup("Attach it again until they are applied, or run projection_reset, to start again without them.");
	return trouble;
}

/* A crash would empty it. */
static NumberTrouble *
unlogged_partition(const char *stream, Oid relid)
{
	NumberTrouble *trouble = palloc(sizeof(NumberTrouble));

	trouble->message = psprintf("table \"%s\" of stream \"%s\" is unlogged",
								TableNameOf(relid), stream);
	trouble->detail = pstrdup("A crash of the server would empty it.");
	trouble->hint = psprintf("Run: ALTER TABLE %s SET LOGGED;",
							 TableNameOf(relid));
	return trouble;
}

/*
 * What makes positions untrue for the partitions that there are, where `known`
 * are those that there were (StreamPartitions) when positions were between
 * lowest_head and highest_head; NULL: nothing.  Does not wait for locks.
 */
NumberTrouble *
StreamPartitionTrouble(const char *stream, Relation relation,
					   const StreamParts *parts, int64 lowest_head,
					   int64 highest_head, const List *known)
{
	List	   *now = StreamPartitions(relation);
	char	   *column = get_attname(RelationGetRelid(relation),
									 parts->position, false);
	ListCell   *cell;
	int64		number;

	foreach(cell, now)
	{
		if (get_rel_persistence(lfirst_oid(cell)) == RELPERSISTENCE_UNLOGGED)
			return unlogged_partition(stream, lfirst_oid(cell));
	}
	foreach(cell, list_difference_oid(now, known))
	{
		if (number_in(lfirst_oid(cell), parts, column, true, &number) &&
			number <= highest_head)
			return late_partition(stream, lfirst_oid(cell), number, highest_head);
	}
	foreach(cell, list_difference_oid(known, now))
	{
		if (number_in(lfirst_oid(cell), parts, column, false, &number) &&
			number > lowest_head)
			return early_detached(stream, lfirst_oid(cell), number, lowest_head);
	}
	return NULL;
}
