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
 * for the others.  Of one that is new the lowest number is asked for, of one
 * that is gone the highest.  A partition that was dropped is not asked for: its
 * numbers are gone with it, like those of rows that were deleted.
 *
 * One that is being detached concurrently is none any more for new snapshots,
 * but writers who have begun before may still insert into it.  It is asked for
 * until it is detached.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "facts.h"
#include "remember.h"
#include "stream/attached.h"
#include "stream/partitions.h"
#include "tableref.h"

/* What this process knows of a stream's table. */
typedef struct PartitionMemory
{
	Oid			relid;			/* hash key */
	uint64		facts;			/* as of which it is true; 0: nothing is known */
	List	   *tables;			/* in CacheMemoryContext */
} PartitionMemory;

static HTAB *memories = NULL;

/* Is it what holds events, or stands in the place of that? */
static bool
holds_events(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	return relkind == RELKIND_RELATION || relkind == RELKIND_FOREIGN_TABLE;
}

static List *
find_partitions(Oid relid)
{
	List	   *result = NIL;
	List	   *relids;
	ListCell   *cell;

	/* one that is being detached concurrently is left out by new snapshots */
	PushActiveSnapshot(GetLatestSnapshot());
	relids = find_all_inheritors(relid, NoLock, NULL);
	PopActiveSnapshot();
	foreach(cell, relids)
	{
		if (lfirst_oid(cell) != relid && holds_events(lfirst_oid(cell)))
			result = lappend_oid(result, lfirst_oid(cell));
	}
	list_free(relids);
	list_sort(result, list_oid_cmp);
	return result;
}

/*
 * The OIDs of all tables that hold the stream's events, in order, but for the
 * table itself; NIL if it has no partitions or children.  They are looked up
 * only where something has changed.
 */
List *
StreamPartitions(Relation relation)
{
	PartitionMemory *memory;
	uint64		facts;

	AcceptInvalidationMessages();
	if (!relation->rd_rel->relhassubclass)
		return NIL;
	facts = FactsNow();
	memory = RememberedOfTable(&memories, "wallet_projection partitions",
							   RelationGetRelid(relation),
							   sizeof(PartitionMemory));
	if (memory->facts != facts)
	{
		List	   *found = find_partitions(RelationGetRelid(relation));
		MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);

		memory->facts = 0;
		list_free(memory->tables);
		memory->tables = NIL;
		memory->tables = list_copy(found);
		memory->facts = facts;
		MemoryContextSwitchTo(old);
	}
	return list_copy(memory->tables);
}

/* Are these, which are both in order, different tables? */
bool
StreamPartitionsChanged(const List *known, const List *now)
{
	return !equal(known, now);
}

/*
 * What is to be known from now on: those that there are, and those that are on
 * their way out.
 */
List *
StreamPartitionsToKnow(Relation relation, const List *known, const List *now)
{
	List	   *result = list_copy(now);
	ListCell   *cell;

	foreach(cell, list_difference_oid(known, now))
	{
		if (TopmostParent(lfirst_oid(cell)) == RelationGetRelid(relation))
			result = lappend_oid(result, lfirst_oid(cell));
	}
	list_sort(result, list_oid_cmp);
	return result;
}

/*
 * The lowest or highest number in a table; false: there is none, or it cannot be
 * looked at now.
 */
static bool
number_in(Oid relid, const StreamParts *parts, const char *column, bool lowest,
		  bool waits, int64 *number)
{
	Relation	table;
	bool		found = false;

	/* who looks at a view waits for nobody */
	if (waits)
		LockRelationOid(relid, AccessShareLock);
	else if (!ConditionalLockRelationOid(relid, AccessShareLock))
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
make_trouble(char *message, char *detail, char *hint)
{
	NumberTrouble *trouble = palloc(sizeof(NumberTrouble));

	trouble->message = message;
	trouble->detail = detail;
	trouble->hint = hint;
	return trouble;
}

static NumberTrouble *
late_partition(const char *stream, const PartitionsPast *past, Oid relid,
			   int64 number)
{
	const char *name = quote_literal_cstr(past->projection);

	return make_trouble(psprintf("table \"%s\" has become a partition or child of stream \"%s\" with events that projection \"%s\" passes over",
								 TableNameOf(relid), stream, past->projection),
						psprintf("Its lowest number is %lld, and a position was above that before. Such events are not applied.",
								 (long long) number),
						psprintf("Detach it. Or, if its events were applied when they were in another table of the stream: SELECT projection_init(%s); Or build the read model anew: SELECT projection_reset(%s);",
								 name, name));
}

static NumberTrouble *
early_detached(const char *stream, const PartitionsPast *past, Oid relid,
			   int64 number)
{
	const char *name = quote_literal_cstr(past->projection);

	return make_trouble(psprintf("table \"%s\" is no partition or child of stream \"%s\" any more, and has events that projection \"%s\" has not applied",
								 TableNameOf(relid), stream, past->projection),
						psprintf("Its highest number is %lld, and a position is below that.",
								 (long long) number),
						psprintf("Attach it again until they are applied. Or, if they are in another table of the stream now: SELECT projection_init(%s); Or build the read model anew, without them: SELECT projection_reset(%s);",
								 name, name));
}

/* A crash would empty it, or it is somewhere else. */
static NumberTrouble *
wrong_kind(const char *stream, Oid relid)
{
	if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE)
		return make_trouble(psprintf("table \"%s\" of stream \"%s\" is a foreign table",
									 TableNameOf(relid), stream),
							pstrdup("Its events are numbered and committed in another server."),
							pstrdup("Detach it."));
	return make_trouble(psprintf("table \"%s\" of stream \"%s\" is unlogged",
								 TableNameOf(relid), stream),
						pstrdup("A crash of the server would empty it."),
						psprintf("Run: ALTER TABLE %s SET LOGGED;",
								 TableNameOf(relid)));
}

/* Is a partition or child of a kind that cannot be trusted?  NULL: none is. */
NumberTrouble *
StreamPartitionKinds(const char *stream, Relation relation)
{
	List	   *now = StreamPartitions(relation);
	ListCell   *cell;

	foreach(cell, now)
	{
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE ||
			get_rel_persistence(lfirst_oid(cell)) == RELPERSISTENCE_UNLOGGED)
			return wrong_kind(stream, lfirst_oid(cell));
	}
	return NULL;
}

/*
 * What makes positions untrue for the partitions that there are; NULL: nothing.
 * Waits for locks only where that is wanted.
 */
NumberTrouble *
StreamPartitionTrouble(const char *stream, Relation relation,
					   const StreamParts *parts, const PartitionsPast *past)
{
	List	   *now = StreamPartitions(relation);
	char	   *column = get_attname(RelationGetRelid(relation),
									 parts->position, false);
	ListCell   *cell;
	int64		number;

	foreach(cell, list_difference_oid(now, past->known))
	{
		if (number_in(lfirst_oid(cell), parts, column, true, past->waits, &number) &&
			past->passed(past->positions, number))
			return late_partition(stream, past, lfirst_oid(cell), number);
	}
	foreach(cell, list_difference_oid(past->known, now))
	{
		if (number_in(lfirst_oid(cell), parts, column, false, past->waits, &number) &&
			past->awaited(past->positions, number))
			return early_detached(stream, past, lfirst_oid(cell), number);
	}
	return NULL;
}
