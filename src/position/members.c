/*
 * members.c
 *		Whether positions are true for the partitions that the stream has now.
 *
 * A projection remembers which partitions and children the stream's table had
 * when positions were saved (definition/stream_tables.c).  Where others are
 * there now, stream/partitions.c is asked what that means: a number in a gap
 * of a position is not passed, so a partition that is made and filled by one
 * transaction is no trouble however many others have gone on meanwhile.
 *
 * Positions are read first, the partitions that were known after them: each
 * transaction that saves positions writes down the partitions that it may have
 * read, so those that are known are at least those that these positions speak of.
 *
 * Only attached streams are asked about, and of those with children, which are
 * not partitions, only for statements: a MERGE reads such a table ONLY.  Into
 * the children of a created stream old events are moved, which is what they are
 * for.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "utils/rel.h"

#include "keylock.h"
#include "position/members.h"
#include "stream/partitions.h"

static bool
may_be_old_gap(const PositionSet *set, int64 number)
{
	return set->old.size > 0 && number >= set->old.first &&
		number <= set->old.last;
}

/* NumberTest: has a position passed this number, so that nobody applies it? */
static bool
is_passed(const void *positions, int64 number)
{
	const PositionSets *sets = &((const Positions *) positions)->sets;

	for (int i = 0; i < sets->count; i++)
	{
		if (PositionApplied(&sets->sets[i].position, number) &&
			!may_be_old_gap(&sets->sets[i], number))
			return true;
	}
	return false;
}

/* NumberTest: is there a position that has not passed this number? */
static bool
is_awaited(const void *positions, int64 number)
{
	const PositionSets *sets = &((const Positions *) positions)->sets;

	for (int i = 0; i < sets->count; i++)
	{
		if (!PositionApplied(&sets->sets[i].position, number))
			return true;
	}
	return false;
}

static Trouble *
as_trouble(const NumberTrouble *found)
{
	Trouble    *trouble;

	if (found == NULL)
		return NULL;
	trouble = palloc(sizeof(Trouble));
	trouble->sqlerrcode = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	trouble->message = found->message;
	trouble->detail = found->detail;
	trouble->hint = found->hint;
	return trouble;
}

/* Is a partition or a child unlogged, or a foreign table? */
Trouble *
TroubleOfMemberKinds(const char *stream, Relation relation)
{
	return as_trouble(StreamPartitionKinds(stream, relation));
}

static bool
has_changed(const Projection *projection, Relation relation)
{
	return projection->tables_known &&
		(relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ||
		 (projection->declared != NULL &&
		  projection->declared->kind == DECLARED_STATEMENT)) &&
		StreamPartitionsChanged(projection->stream_tables,
								StreamPartitions(relation));
}

static Trouble *
find_trouble(const Projection *projection, Relation relation,
			 const StreamParts *parts, const Positions *positions, bool waits)
{
	Projection	now = *projection;
	PartitionsPast past = {.projection = projection->name,
	.passed = is_passed,.awaited = is_awaited,.positions = positions,.waits = waits};

	if (parts->created || !has_changed(projection, relation))
		return NULL;
	StreamTablesFetch(&now);
	if (!has_changed(&now, relation))
		return NULL;
	past.known = now.stream_tables;
	return as_trouble(StreamPartitionTrouble(projection->stream, relation,
											 parts, &past));
}

/*
 * Has a partition come with events that these positions have passed, or one
 * gone with events that they have not?  The positions were read before.  A
 * partition that somebody has locked is not looked into.
 */
Trouble *
TroubleOfMembers(const Projection *projection, Relation relation,
				 const StreamParts *parts, const Positions *positions)
{
	return find_trouble(projection, relation, parts, positions, false);
}

/*
 * Positions are going to be saved: write down which partitions they are of, if
 * these are others than before.  An error if positions were not true of them.
 */
void
MembersKeep(Projection *projection, const Stream *stream)
{
	List	   *now = StreamPartitions(stream->relation);
	Positions	positions;

	if (projection->tables_known &&
		!StreamPartitionsChanged(projection->stream_tables, now))
		return;
	KeyLock(KEYLOCK_ERROR, projection->name, ExclusiveLock);
	positions = PositionsRead(projection);
	StreamTablesFetch(projection);
	/* what is not looked into now would be forgotten for good */
	TroubleRaise(find_trouble(projection, stream->relation, &stream->parts,
							  &positions, true));
	now = StreamPartitionsToKnow(stream->relation, projection->stream_tables,
								 now);
	if (projection->tables_known &&
		!StreamPartitionsChanged(projection->stream_tables, now))
		return;
	StreamTablesSave(projection->name, now);
	projection->stream_tables = now;
	projection->tables_known = true;
}

/* The partitions that there are are the right ones, somebody says. */
void
MembersAccept(Projection *projection, Relation relation)
{
	List	   *now = StreamPartitions(relation);

	KeyLock(KEYLOCK_ERROR, projection->name, ExclusiveLock);
	StreamTablesSave(projection->name, now);
	projection->stream_tables = now;
	projection->tables_known = true;
}
