/*
 * compiled.c
 *		A declared projection's definition, ready to run in this process.
 *
 * The text is read anew by each process, and whenever something that it may
 * use has changed: as the projection's owner, under the settings that it was
 * created with.  What it means must be what it meant then: each name is
 * resolved to the same thing, and what chooses key and partition has the same
 * fingerprint.  Otherwise nothing runs, and no key is parked.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "definition/compiled.h"
#include "merge/fingerprint.h"
#include "merge/merge_check.h"
#include "merge/merge_uses.h"
#include "merge/statement.h"

/* What a definition says, which is a statement over this stream, or a MERGE. */
Merge *
DeclaredParse(const Declared *declared, Oid stream)
{
	if (declared->kind == DECLARED_STATEMENT)
		return StatementParse(declared->definition, stream, declared->key);
	return MergeParse(declared->definition);
}

/* An error if the text means other tables than the projection's. */
static void
check_tables(const Projection *projection, const Merge *merge,
			 const Stream *stream, Relation read_model)
{
	const char *what = merge->read_model != RelationGetRelid(read_model) ?
		"read model" : "stream";

	if (merge->read_model == RelationGetRelid(read_model) &&
		merge->stream == RelationGetRelid(stream->relation))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the definition of projection \"%s\" names another table than its %s",
					projection->name, what),
			 errdetail("The %s is table \"%s\".", what,
					   TableNameOf(merge->read_model != RelationGetRelid(read_model) ?
								   RelationGetRelid(read_model) :
								   RelationGetRelid(stream->relation))),
			 errhint("Give the table the name that the definition has for it, or drop the projection and create it with the new name.")));
}

/* The first of one list of strings that the other has not; or NULL. */
static const char *
first_missing(List *strings, List *in)
{
	ListCell   *cell;

	foreach(cell, strings)
	{
		ListCell   *other;
		bool		found = false;

		foreach(other, in)
			found = found || strcmp(lfirst(cell), lfirst(other)) == 0;
		if (!found)
			return lfirst(cell);
	}
	return NULL;
}

/* The same, but for labels that a key's type has got. */
static const char *
first_new(List *uses, List *before)
{
	List	   *others = NIL;
	ListCell   *cell;

	foreach(cell, uses)
	{
		if (strncmp(lfirst(cell), KEY_LABEL, strlen(KEY_LABEL)) != 0)
			others = lappend(others, lfirst(cell));
	}
	return first_missing(others, before);
}

/* An error if the text means something else than when it was written down. */
static void
check_meaning(const Projection *projection, const Merge *merge)
{
	List	   *before = TextArrayList(projection->declared->uses);
	const char *gone = first_missing(before, merge->uses);
	const char *come = first_new(merge->uses, before);
	const char *name = quote_literal_cstr(projection->name);

	if (gone != NULL || come != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the definition of projection \"%s\" does not mean any more what it meant",
						projection->name),
				 errdetail("When it was created it used: %s. Now it would use: %s.",
						   gone ? gone : "nothing more", come ? come : "nothing more"),
				 errhint("Make it as it was; or, if the new meaning is wanted: SELECT projection_drop(%s); and create the projection anew.",
						 name)));
	if ((int64) MergeFingerprint(merge) != projection->declared->fingerprint)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the key or the filter of projection \"%s\" is computed otherwise than when it was created",
						projection->name),
				 errdetail("A function, view or collation that chooses an event's key has changed. Events would go to other keys than those before them."),
				 errhint("Make it as it was; or, if the new meaning is wanted: SELECT projection_drop(%s); and create the projection anew, into an empty read model.",
						 name)));
}

/*
 * Read and compile the definition, in the current memory context, for these
 * tables.  The caller is the projection's owner, under its settings.
 */
Compiled *
CompiledMake(const Projection *projection, const Stream *stream,
			 Relation read_model)
{
	Compiled   *compiled = palloc0(sizeof(Compiled));
	Sink	   *sink = &compiled->sink;
	Merge	   *merge = DeclaredParse(projection->declared,
									  RelationGetRelid(stream->relation));
	MergeRun   *run;

	check_tables(projection, merge, stream, read_model);
	MergeCheckExpressions(merge, projection->declared->allow_stable);
	check_meaning(projection, merge);
	sink->merge = merge;
	sink->key = KeyTypeOf(merge);
	run = MergeRunBegin(merge, stream->relation, read_model);
	MergeRunKeep(run, CurrentMemoryContext);
	sink->run = run;
	sink->strict = projection->declared->strict;
	if (merge->statement == NULL)
		return compiled;
	sink->for_each_batch = projection->declared->for_each_batch;
	sink->statement = StatementRunBegin(merge, run, stream->relation,
										sink->for_each_batch);
	return compiled;
}
