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

/* The key that a definition compares. */
KeyType *
KeyTypeOf(const Merge *merge)
{
	const MergeKey *key = &merge->key;
	Oid			types[INDEX_MAX_KEYS];
	int32		typmods[INDEX_MAX_KEYS];
	Oid			collation;

	for (int i = 0; i < key->ncolumns; i++)
	{
		get_atttypetypmodcoll(merge->read_model, key->columns[i], &types[i],
							  &typmods[i], &collation);
		/* keys are compared before a domain or a length is enforced */
		types[i] = getBaseType(types[i]);
		typmods[i] = -1;
	}
	return KeyTypeMake(key->ncolumns, types, typmods, key->collation,
					   key->equality);
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
	Merge	   *merge = MergeParse(projection->declared->definition);

	check_tables(projection, merge, stream, read_model);
	sink->merge = merge;
	sink->key = KeyTypeOf(merge);
	sink->run = MergeRunBegin(merge, stream->relation, read_model);
	sink->strict = projection->declared->strict;
	return compiled;
}
