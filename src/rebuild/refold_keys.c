/*
 * refold_keys.c
 *		The keys of a refold, as others see them.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/builtins.h"

#include "keyhash.h"
#include "rebuild/refold_state.h"

/* What a key's entry says, as others see it; in the current memory context. */
RefoldKey *
RefoldKeyOf(Refold *refold, ShadowEntry *entry)
{
	RefoldKey  *key = palloc0_object(RefoldKey);
	uint64		hash = KeyPartitionHash(refold->sink.key, entry->key,
										entry->length);

	key->shadow = entry;
	key->entry = palloc0(offsetof(FoldEntry, state) + entry->length);
	key->entry->key_length = entry->length;
	memcpy(key->entry->state, entry->key, entry->length);
	key->hash = entry->hash;
	key->partition = (int) (hash % refold->projection->partitions);
	key->group = GroupOf(key->partition, GroupsOf(refold->projection->partitions));
	RefoldRenew(refold, key);
	return key;
}

/* Read again whether it has a row, or a fault. */
void
RefoldRenew(Refold *refold, RefoldKey *key)
{
	key->has_row = key->shadow->state == SHADOW_ROW;
	key->fault = key->shadow->state == SHADOW_FAULT ?
		key->shadow->u.fault : NULL;
}

/* The next key of a group (< 0: of any), or NULL. */
RefoldKey *
RefoldNext(Refold *refold, int group, ShadowCursor *cursor)
{
	ShadowEntry *entry;

	while ((entry = ShadowNext(refold->shadow, cursor)) != NULL)
	{
		RefoldKey  *key = RefoldKeyOf(refold, entry);

		if (group < 0 || key->group == group)
			return key;
		pfree(key->entry);
		pfree(key);
	}
	return NULL;
}

/* The key's text, for people. */
char *
RefoldKeyText(Refold *refold, const RefoldKey *key)
{
	return KeyText(refold->sink.key, FoldEntryKey(key->entry),
				   key->entry->key_length);
}

void
RefoldDrop(Refold *refold, RefoldKey *key)
{
	ShadowDrop(refold->shadow, key->shadow);
	key->shadow = NULL;
}

/* The key ought to have no row from now on, whatever its events say. */
void
RefoldClear(Refold *refold, RefoldKey *key)
{
	ShadowSetRow(refold->shadow, key->shadow, NULL);
	RefoldRenew(refold, key);
}

/* The type of its keys; NULL: of a native projection. */
KeyType *
RefoldKeyType(const Refold *refold)
{
	return refold->sink.key;
}

/* How many rows the comparison has found whose key is null. */
int64
RefoldUnkeyed(const Refold *refold)
{
	return refold->unkeyed;
}

/* Which rows these are, as an SQL condition. */
char *
RefoldUnkeyedCondition(const Refold *refold)
{
	const Merge *merge = refold->sink.merge;
	int			count = merge != NULL ? merge->key.ncolumns : 1;
	StringInfoData condition;

	initStringInfo(&condition);
	for (int i = 0; i < count; i++)
	{
		int			column = merge != NULL ? merge->key.columns[i] :
			refold->model.columns[0];

		appendStringInfo(&condition, "%s%s IS NULL", i == 0 ? "" : " OR ",
						 quote_identifier(NameStr(TupleDescAttr(refold->desc,
																column - 1)->attname)));
	}
	return condition.data;
}

/* The next event whose key cannot be computed, though it is applied; or 0. */
int64
RefoldNoKeyAfter(const Refold *refold, int64 no)
{
	int64		next = 0;
	ListCell   *cell;

	foreach(cell, refold->no_keys)
	{
		const RefoldNoKey *no_key = lfirst(cell);

		if (no_key->no > no && (next == 0 || no_key->no < next))
			next = no_key->no;
	}
	return next;
}
