/*
 * create_notice.c
 *		What somebody who creates a projection should know of it.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "consumer/create_notice.h"
#include "savepoint.h"
#include "stream/reader.h"

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

/* Triggers that a projection does not fire. */
static void
tell_of_statement_triggers(const TriggerDesc *triggers)
{
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) ||
			!(TRIGGER_FOR_UPDATE(trigger->tgtype) ||
			  TRIGGER_FOR_DELETE(trigger->tgtype)))
			continue;
		ereport(NOTICE,
				(errmsg("trigger \"%s\" does not fire where rows are updated or deleted",
						trigger->tgname),
				 errdetail("As with logical replication, statement triggers fire for inserts only."),
				 errhint("Use a trigger FOR EACH ROW.")));
	}
}

/* Triggers that see each change of a row. */
static void
tell_of_triggers(Relation read_model)
{
	TriggerDesc *triggers = read_model->trigdesc;

	if (triggers == NULL)
		return;
	tell_of_statement_triggers(triggers);
	if (!(triggers->trig_insert_before_row || triggers->trig_update_before_row ||
		  triggers->trig_delete_before_row || triggers->trig_delete_after_row))
		return;
	ereport(NOTICE,
			(errmsg("read model \"%s\" is written event by event",
					RelationGetRelationName(read_model)),
			 errdetail("It has triggers that run before each row or after deletions, or foreign keys that refer to it. Otherwise each row would be written once per batch, which is faster.")));
}

/* as many of the newest numbers are looked at */
#define NEWEST 100

/* The newest events. */
typedef struct Newest
{
	const Sink *sink;
	const Stream *stream;
	int64		last_number;
	int			events;
	int			applicable;		/* of them */
	Relation	read_model;
	bool		applies;		/* the one at hand */
} Newest;

/* MergeItemReceiver */
static void
take_item(void *arg, const MergeItem *item)
{
	Newest	   *newest = arg;

	newest->applies = newest->applies ||
		MergeMayApply(newest->sink->run, newest->sink->merge, item);
}

/* EventReceiver */
static bool
take_event(void *state, const Event *event)
{
	Newest	   *newest = state;

	newest->applies = false;
	MergeRunItems(newest->sink->run, event->slot, take_item, newest);
	newest->events++;
	if (newest->applies)
		newest->applicable++;
	return true;
}

/* SavepointStep */
static void
read_newest(void *arg)
{
	Newest	   *newest = arg;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	MergeRunOpen(newest->sink->run, newest->read_model);
	(void) ReadEvents(newest->stream, snapshot,
					  Max(newest->last_number - NEWEST + 1, 1),
					  newest->last_number, take_event, newest);
	MergeRunClose(newest->sink->run);
	UnregisterSnapshot(snapshot);
}

/* A definition that none of the newest events concerns is often a mistake. */
static void
tell_of_events(const Projection *projection, const Sink *sink,
			   const Stream *stream, Relation read_model)
{
	Newest		newest = {.sink = sink,.stream = stream,
	.read_model = read_model};
	ErrorData  *error;

	newest.last_number = StreamLastNumber(stream->parts.sequence);
	error = InSavepoint(read_newest, &newest);
	/* an event that cannot be read is told when it is applied */
	if (error != NULL)
		SavepointRethrowInterrupt(error);
	if (error != NULL || newest.events == 0 || newest.applicable > 0)
		return;
	ereport(NOTICE,
			(errmsg("none of the newest %d events of stream \"%s\" is one that the definition does something with",
					newest.events, stream->name),
			 errdetail("No WHEN holds for them, or their key is null."),
			 errhint("Look at the names of events in the conditions. Once the projection has run: SELECT * FROM projection_unhandled WHERE projection = %s;",
					 quote_literal_cstr(projection->name))));
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
	tell_of_events(projection, sink, stream, read_model);
}
