/*
 * sink.c
 *		What the kinds of definitions have in common.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/lsyscache.h"

#include "handler/sink.h"

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
		if (merge->statement != NULL)
			types[i] = exprType((Node *) key->values[i]);
		else
			get_atttypetypmodcoll(merge->read_model, key->columns[i], &types[i],
								  &typmods[i], &collation);
		/* keys are compared before a domain or a length is enforced */
		types[i] = getBaseType(types[i]);
		typmods[i] = -1;
	}
	return KeyTypeMake(key->ncolumns, types, typmods, key->collation,
					   key->equality);
}
