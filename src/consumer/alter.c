/*
 * alter.c
 *		A declared projection gets another definition: projection_alter.
 *
 * Positions, parked keys and skipped events say something of keys, partitions
 * and the stream's numbers.  So what chooses these stays: the read model, the
 * stream, the key, and the items that an event makes of the stream's row.  The
 * filter, conditions and values are free.  Rows that are there are not touched:
 * batches go on from them by the new definition, and a rebuild makes the rows
 * what it would have made of all events.
 *
 * The projection's lock is held exclusively, so that no batch runs; each
 * process finds at its next batch that the rows of the catalog are others, and
 * compiles the new text (definition/known.c).
 */
#include "postgres.h"

#include "compat.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "argument.h"
#include "batch/opened.h"
#include "consumer/begin.h"
#include "consumer/define.h"
#include "definition/compiled.h"
#include "definition/ordering.h"
#include "merge/fingerprint.h"
#include "merge/pinned.h"
#include "merge/statement.h"
#include "position/trouble.h"
#include "savepoint.h"

SQL_FUNCTION(projection_alter);
SQL_FUNCTION(projection_definition);

/* The definition of before, as it is read now. */
typedef struct Before
{
	const Projection *projection;
	char	   *key;			/* what makes the key, in words */
	bool		unchanged;		/* it means what it meant when it was written
								 * down */
} Before;

/* An error: what is asked for needs a second projection beside this one. */
static void
refuse(const Projection *projection, const char *what, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the %s of projection \"%s\" cannot be altered",
					what, projection->name),
			 errdetail_internal("%s", detail),
			 errhint("Create a second projection, into a second table, with projection_create; when it has caught up, projection_promote puts it in the place of the first one.")));
}

static void
check_declared(const Projection *projection)
{
	if (projection->declared != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" has no definition that could be altered",
					projection->name),
			 errdetail("It comes with the extension, and its handler is part of the library."),
			 errhint("Create a projection of your own, with projection_create.")));
}

/* SavepointStep */
static void
read_before(void *arg)
{
	Before	   *before = arg;
	const Declared *declared = before->projection->declared;
	OwnerScope	owner = OwnerEnter(before->projection);
	int			settings = PinnedEnter(declared->settings);
	Merge	   *merge = DeclaredParse(declared, before->projection->relation);

	before->key = MergeKeyFingerprintText(merge);
	before->unchanged = (int64) MergeFingerprint(merge) == declared->fingerprint;
	PinnedLeave(settings);
	OwnerLeave(&owner);
}

/* Where the old definition cannot be read any more, that is no reason. */
static Before
definition_before(const Projection *projection)
{
	Before		before = {.projection = projection};
	ErrorData  *error = InSavepoint(read_before, &before);

	if (error == NULL)
		return before;
	SavepointRethrowInterrupt(error);
	FreeErrorData(error);
	before.key = NULL;
	before.unchanged = false;
	return before;
}

static bool
same_settings(const Declared *a, const Declared *b)
{
	return VARSIZE(a->settings) == VARSIZE(b->settings) &&
		memcmp(a->settings, b->settings, VARSIZE(a->settings)) == 0;
}

/* Can the key depend on settings? */
static bool
key_is_mutable(const Merge *merge)
{
	for (int i = 0; i < merge->key.ncolumns; i++)
	{
		if (contain_mutable_functions((Node *) merge->key.values[i]))
			return true;
	}
	return merge->fan_out != NULL &&
		contain_mutable_functions((Node *) merge->fan_out);
}

/* An error if events could be of other keys than before. */
static void
check_key(const Projection *projection, const Merge *merge,
		  const Declared *altered)
{
	const Declared *declared = projection->declared;
	Before		before = definition_before(projection);

	if (key_is_mutable(merge) && !same_settings(declared, altered))
		refuse(projection, "settings",
			   "The key of an event can depend on settings, and those of this session are others than those with which the projection was created.");
	if ((int64) MergeFingerprint(merge) == declared->fingerprint)
		return;
	if (before.key == NULL)
		refuse(projection, "definition",
			   "The old definition cannot be read any more, so that nobody can tell whether both have the same keys.");
	if (!before.unchanged)
		refuse(projection, "definition",
			   "A function, view or collation that chooses an event's key or that filters events has changed since the definition was written down.");
	if (strcmp(before.key, MergeKeyFingerprintText(merge)) != 0)
		refuse(projection, "key",
			   "Positions and parked keys belong to the keys that ON, or argument \"key\", and the source make of an event.");
}

/* Is this one of the tables that the projection's statement changes? */
static bool
has_target(const Declared *declared, Oid relation)
{
	const char *target = StatementTargetUse(relation);
	ListCell   *cell;

	foreach(cell, TextArrayList(declared->uses))
	{
		if (strncmp(lfirst(cell), target, strlen(target)) == 0)
			return true;
	}
	return false;
}

static void
check_targets(const Projection *projection, const Merge *merge)
{
	ListCell   *cell;

	if (merge->statement == NULL)
		return;
	if (list_length(merge->statement->targets) != DeclaredTargets(projection->declared))
		refuse(projection, "tables", "The statement changes other tables than the one of before.");
	foreach(cell, merge->statement->targets)
	{
		if (!has_target(projection->declared,
						((StatementTarget *) lfirst(cell))->relation))
			refuse(projection, "tables", "The statement changes other tables than the one of before.");
	}
}

/* An error unless the tables are those of before. */
static void
check_tables(const Projection *projection, const Merge *merge)
{
	if (merge->read_model != projection->read_model)
		refuse(projection, "read model",
			   psprintf("The definition is of table \"%s\".",
						get_rel_name(merge->read_model)));
	if (merge->stream != projection->relation)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the stream of projection \"%s\" cannot be altered",
						projection->name),
				 errdetail("The definition reads table \"%s\".",
						   get_rel_name(merge->stream)),
				 errhint("Create a projection of the other stream, into a table of its own, with projection_create.")));
	check_targets(projection, merge);
}

/*
 * An error if events were applied in an order that is not proved any more.  One
 * that a user has asked for stays the user's word.
 */
static void
check_ordering(const Projection *projection, const Merge *merge,
			   const Stream *stream)
{
	if (projection->declared->ordering == ORDERING_VERSION &&
		!OrderingProved(merge, stream))
		refuse(projection, "ordering",
			   "No unique index of the stream proves, for the events that the new definition takes, that writers of a key wait for each other.");
}

/* From the commit on, this is the definition. */
static void
alter(Projection *projection, Declared *altered)
{
	const Declared *before = projection->declared;
	Projection	after = *projection;
	Merge	   *merge;
	Relation	read_model;
	Stream	   *stream;

	after.declared = altered;
	merge = DefinitionRead(&after, before->kind == DECLARED_STATEMENT ?
						   projection->relation : InvalidOid);
	check_tables(projection, merge);
	read_model = relation_open(merge->read_model, RowExclusiveLock);
	MergeCheckRights(merge, GetUserId());
	check_key(projection, merge, altered);
	stream = StreamOpen(projection->stream, AccessShareLock, false);
	OpenedCheckStream(projection, stream);
	stream->rows = true;
	stream->alone = merge->stream_alone;
	check_ordering(projection, merge, stream);
	DefinitionNote(altered, merge);
	DefinitionCompile(&after, stream, read_model);
	DeclaredWrite(projection->name, altered);
	StreamRelease(stream);
	relation_close(read_model, NoLock);
}

/* projection_alter(name, definition) */
Datum
projection_alter(PG_FUNCTION_ARGS)
{
	char	   *name = ArgumentName(fcinfo, 0, "name");
	char	   *definition = ArgumentText(fcinfo, 1, "definition", PG_INT32_MAX);
	Projection *projection = ProjectionLock(name, ExclusiveLock,
											"projection_alter()");
	Declared   *altered = palloc(sizeof(Declared));

	check_declared(projection);
	ProjectionCheckInitialized(projection);
	TroubleRaise(TroubleOfReadModel(projection));
	*altered = *projection->declared;
	altered->definition = definition;
	altered->settings = PinnedSettings();
	alter(projection, altered);
	ProjectionAdviseRebuild(projection);
	/* what has failed by the old definition is tried at once */
	projection->last_error = NULL;
	ProjectionSaveState(projection, false);
	PG_RETURN_VOID();
}

/* projection_definition(name) */
Datum
projection_definition(PG_FUNCTION_ARGS)
{
	Projection *projection = ProjectionFetch(ArgumentName(fcinfo, 0, "name"));

	ProjectionCheckOwner(projection);
	if (projection->declared == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(projection->declared->definition));
}
