/*
 * switch.c
 *		Two projections exchange their tables, or their tables' names.
 *
 * Where the tables are alike, their storage changes places, and each projection
 * follows its rows into the other table.  Otherwise the tables change their names,
 * and each projection stays with its table.  In both cases a definition that named
 * the one table has to name the other one from now on.
 *
 * The caller holds the locks that promote.c speaks of.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "compat.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "definition/compiled.h"
#include "merge/fingerprint.h"
#include "merge/merge.h"
#include "merge/pinned.h"
#include "promote/references.h"
#include "promote/rename.h"
#include "promote/retarget.h"
#include "promote/swap.h"
#include "promote/switch.h"

typedef enum Meaning
{
	MEANING_CHECK,				/* it must mean what it meant */
	MEANING_RENEW				/* what it means now is what it means */
} Meaning;

/*
 * Compile a definition as each batch does: as the owner, under its settings.  Its
 * names may have changed what they mean only by the exchange itself: so it is
 * asked before, and taken as it is after.
 */
static void
compile(Projection *projection, Meaning meaning)
{
	Declared   *declared = projection->declared;
	Relation	read_model;
	Stream	   *stream;
	OwnerScope	owner;
	OwnerHint	hint;
	int			settings;

	if (declared == NULL)
		return;
	read_model = relation_open(projection->read_model, NoLock);
	owner = OwnerEnter(projection);
	stream = StreamOpen(projection->stream, AccessShareLock, false);
	settings = PinnedEnter(declared->settings);
	OwnerHintBegin(&hint, projection);
	if (meaning == MEANING_RENEW)
	{
		Merge	   *merge = DeclaredParse(declared,
										  RelationGetRelid(stream->relation));

		declared->uses = TextArray(merge->uses);
		declared->fingerprint = (int64) MergeFingerprint(merge);
	}
	MergeCheckRights(CompiledMake(projection, stream, read_model)->sink.merge,
					 GetUserId());
	OwnerHintEnd(&hint);
	PinnedLeave(settings);
	StreamRelease(stream);
	OwnerLeave(&owner);
	relation_close(read_model, NoLock);
}

/* The projection's rows are in this table, whose name is new to it. */
static void
settle(Projection *projection, Oid table, char *definition)
{
	projection->read_model = InvalidOid;	/* its first name is forgotten */
	ProjectionSetReadModel(projection, table);
	ProjectionSaveState(projection, false);
	if (projection->declared == NULL)
		return;
	projection->declared->definition = definition;
	compile(projection, MEANING_RENEW);
	DeclaredWrite(projection->name, projection->declared);
}

static char *
retargeted(const Projection *projection, Oid a, Oid b)
{
	return projection->declared == NULL ? NULL :
		DefinitionRetarget(projection, a, b);
}

/*
 * An open cursor of this transaction, or a trigger's event that waits for its
 * end, has to do with the rows as they lie now.
 */
static void
check_not_used(Oid table)
{
	Relation	relation = relation_open(table, NoLock);

	CheckTableNotInUse(relation, "promote");
	if (RelationIsPermanent(relation) && !RelationNeedsWAL(relation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" was created or emptied in this transaction",
						RelationGetRelationName(relation)),
				 errhint("Commit first.")));
	relation_close(relation, NoLock);
}

/* The caller has looked at the pair under the locks. */
void
PairSwitch(Pair *pair, bool with_triggers)
{
	Oid			table_old = pair->old->read_model;
	Oid			table_new = pair->new->read_model;
	char	   *text_old = retargeted(pair->old, table_old, table_new);
	char	   *text_new = retargeted(pair->new, table_old, table_new);
	bool		storage = pair->differ == NULL;

	compile(pair->old, MEANING_CHECK);
	compile(pair->new, MEANING_CHECK);
	check_not_used(table_old);
	check_not_used(table_new);
	if (storage)
	{
		List	   *valid = ReferencesValid(table_old, table_new);

		StorageSwap(table_old, table_new);
		ReferencesDoubt(table_old);
		ReferencesDoubt(table_new);
		ReferencesValidate(table_old, table_new, valid);
	}
	else
		NamesSwap(table_old, table_new, with_triggers);
	settle(pair->old, storage ? table_new : table_old, text_old);
	settle(pair->new, storage ? table_old : table_new, text_new);
}
