/*
 * create_notice.c
 *		What somebody who creates a projection should know of it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "commands/trigger.h"
#include "utils/rel.h"

#include "consumer/create_notice.h"

/* What is allowed in the text, but looks like a mistake. */
static void
tell_of_text(const Merge *merge)
{
	ListCell   *cell;

	foreach(cell, merge->notices)
		ereport(NOTICE, (errmsg_internal("%s", (char *) lfirst(cell))));
}

/* Unique indexes that hold rows of different keys apart. */
static void
tell_of_unique(const Merge *merge, Relation read_model)
{
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(read_model))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if ((index->rd_index->indisunique || index->rd_index->indisexclusion) &&
			lfirst_oid(cell) != merge->key.index)
			ereport(NOTICE,
					(errmsg("index \"%s\" holds rows of different keys apart",
							RelationGetRelationName(index)),
					 errdetail("It is checked when rows are written, after the last event of a batch; a key that finds its value taken waits, and is tried again.")));
		index_close(index, AccessShareLock);
	}
}

/* Triggers that see each change of a row. */
static void
tell_of_triggers(Relation read_model)
{
	TriggerDesc *triggers = read_model->trigdesc;

	if (triggers == NULL ||
		!(triggers->trig_insert_before_row || triggers->trig_update_before_row ||
		  triggers->trig_delete_before_row || triggers->trig_delete_after_row))
		return;
	ereport(NOTICE,
			(errmsg("read model \"%s\" is written event by event",
					RelationGetRelationName(read_model)),
			 errdetail("It has triggers that run before each row or after deletions, or foreign keys that refer to it. Otherwise each row would be written once per batch, which is faster.")));
}

void
CreateNotices(const Projection *projection, const Sink *sink,
			  const Stream *stream, Relation read_model)
{
	tell_of_text(sink->merge);
	if (sink->statement != NULL)
		return;
	tell_of_unique(sink->merge, read_model);
	tell_of_triggers(read_model);
}
