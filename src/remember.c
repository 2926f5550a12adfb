/*
 * remember.c
 *		What a process remembers from one transaction to the next.
 *
 * A structure begins with its key: a name of NAMEDATALEN bytes, or a table's
 * OID.  It is all zeros where nothing is remembered yet.  Each user has a table
 * of them, a static variable that is NULL at first.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "remember.h"

static void *
find(HTAB **table, const char *what, const void *key, Size key_size, int kind,
	 Size size)
{
	void	   *entry;
	bool		found;

	if (*table == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = key_size;
		control.entrysize = size;
		control.hcxt = CacheMemoryContext;
		*table = hash_create(what, 16, &control,
							 HASH_ELEM | HASH_CONTEXT | kind);
	}
	entry = hash_search(*table, key, HASH_ENTER, &found);
	if (!found)
		memset((char *) entry + key_size, 0, size - key_size);
	return entry;
}

/* What is remembered of what has this name; what: the table's own name. */
void *
RememberedOf(HTAB **table, const char *what, const char *name, Size size)
{
	return find(table, what, name, NAMEDATALEN, HASH_STRINGS, size);
}

/* What is remembered of this table. */
void *
RememberedOfTable(HTAB **table, const char *what, Oid relid, Size size)
{
	return find(table, what, &relid, sizeof(Oid), HASH_BLOBS, size);
}
