/*
 * define.c
 *		A definition that a projection is given: read, checked, written down.
 *
 * It is read as the caller, under the caller's settings; then once more as the
 * projection's owner, as each batch will.
 */
#include "postgres.h"

#include "compat.h"

#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "consumer/create_check.h"
#include "consumer/create_notice.h"
#include "consumer/define.h"
#include "definition/compiled.h"
#include "merge/fingerprint.h"
#include "merge/merge_check.h"
#include "merge/merge_uses.h"
#include "merge/pinned.h"

/*
 * Read the projection's definition, as whom and with which settings we are
 * now; stream: the table of a statement's events.
 */
Merge *
DefinitionRead(const Projection *projection, Oid stream)
{
	Merge	   *merge = DeclaredParse(projection->declared, stream);

	MergeCheckExpressions(merge, projection->declared->allow_stable);
	CreateCheckTables(merge, projection->name);
	return merge;
}

/* The columns of the read model that a statement assigns; or all. */
static Bitmapset *
statement_columns(const Merge *merge)
{
	const StatementTarget *target = linitial(merge->statement->targets);
	Bitmapset  *columns = NULL;

	if (!bms_is_empty(target->listed))
		return target->listed;
	for (AttrNumber column = 1;
		 get_attname(merge->read_model, column, true) != NULL;
		 column++)
	{
		if (OidIsValid(get_atttype(merge->read_model, column)))
			columns = bms_add_member(columns, column);
	}
	return columns;
}

static Bitmapset *
key_columns(const Merge *merge)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < merge->key.ncolumns; i++)
		columns = bms_add_member(columns, merge->key.columns[i]);
	return columns;
}

/* The columns that the definition uses of its read model, by name. */
static ArrayType *
used_columns(const Merge *merge)
{
	Bitmapset  *columns = NULL;
	List	   *names = NIL;
	int			column = -1;
	ListCell   *cell;

	if (merge->statement != NULL)
		columns = statement_columns(merge);
	else
		columns = bms_add_members(columns, key_columns(merge));
	foreach(cell, merge->clauses)
		columns = bms_add_members(columns, ((MergeClause *) lfirst(cell))->listed);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		if (column > 0)
			names = lappend(names, get_attname(merge->read_model, column, false));
	}
	return TextArray(names);
}

/* Write down with the text what it means now. */
void
DefinitionNote(Declared *declared, const Merge *merge)
{
	declared->columns = used_columns(merge);
	declared->uses = TextArray(merge->uses);
	declared->fingerprint = (int64) MergeFingerprint(merge);
}

/*
 * As the owner of the read model, as each batch will: it must compile.  Tells
 * what the caller should know of it.
 */
void
DefinitionCompile(const Projection *projection, const Stream *stream,
				  Relation read_model)
{
	OwnerScope	owner = OwnerEnter(projection);
	int			settings = PinnedEnter(projection->declared->settings);
	OwnerHint	hint;
	Compiled   *compiled;

	OwnerHintBegin(&hint, projection);
	compiled = CompiledMake(projection, stream, read_model);
	MergeCheckRights(compiled->sink.merge, GetUserId());
	OwnerHintEnd(&hint);
	CreateNotices(projection, &compiled->sink, stream, read_model);
	PinnedLeave(settings);
	OwnerLeave(&owner);
}
