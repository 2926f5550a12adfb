/*
 * taken.c
 *		Keys whose row needs a value that another row has.
 *
 * A read model may have unique or exclusion constraints across keys.  A batch
 * writes key by key, so it may want to write a value before it has written
 * the row that gives it up, although the events come in the right order: e
 * gives up the value, f takes it.  Two rows that swap their values may even
 * have to be written in turns.  So such a key is tried again once all others
 * of the batch are written, as long as that leads further.  What fails then
 * may wait for a key of another partition, whose consumer is behind: it is
 * parked without an attempt counted.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "batch/taken.h"

/* Does the error name the table of this OID? */
static bool
is_of_table(const ErrorData *error, Oid table)
{
	const char *name = get_rel_name(table);
	const char *schema = get_namespace_name(get_rel_namespace(table));

	return error->table_name != NULL && name != NULL &&
		strcmp(error->table_name, name) == 0 &&
		error->schema_name != NULL && schema != NULL &&
		strcmp(error->schema_name, schema) == 0;
}

/*
 * Is it the error that another row of a declared read model has a value that
 * must be there once?  The key's own is another matter.
 */
bool
TakenIs(const ApplyScope *scope, const ErrorData *error)
{
	const Merge *merge = scope->sink->merge;
	const char *own;

	if (merge == NULL || error->constraint_name == NULL ||
		(error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION &&
		 error->sqlerrcode != ERRCODE_EXCLUSION_VIOLATION) ||
		!is_of_table(error, merge->read_model))
		return false;
	own = get_rel_name(merge->key.index);
	return own == NULL || strcmp(own, error->constraint_name) != 0;
}

/* A key that has come so far. */
TakenKey *
TakenKeyMake(const FoldEntry *entry, const KeyTask *task,
			 const KeyOutcome *outcome)
{
	TakenKey   *key = palloc0(sizeof(TakenKey));

	key->entry = entry;
	key->task = *task;
	key->outcome = *outcome;
	return key;
}

/* Go on with a key where it stands.  Has that led further? */
static bool
go_on(const ApplyScope *scope, TakenKey *key)
{
	KeyOutcome	before = key->outcome;

	key->task.from_no = before.failure.no;
	key->outcome = KeyApply(scope, &key->task);
	key->outcome.applied += before.applied;
	key->outcome.folded = before.folded;
	return !key->outcome.failed ||
		key->outcome.failure.no != before.failure.no;
}

/* Try these (a list of TakenKey) as long as one of them gets further. */
void
TakenTryAgain(const ApplyScope *scope, List *keys)
{
	bool		further = keys != NIL;

	while (further)
	{
		ListCell   *cell;

		further = false;
		foreach(cell, keys)
		{
			TakenKey   *key = lfirst(cell);

			CHECK_FOR_INTERRUPTS();
			if (key->outcome.failed && key->outcome.failure.taken)
				further = go_on(scope, key) || further;
		}
	}
}
