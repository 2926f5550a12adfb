/*
 * facts.c
 *		Whether anything has changed of what the server's caches say.
 *
 * A batch asks the same questions as the one before: which table has this
 * name, whose is it, what are its columns.  The answers come from the relation
 * cache and from the caches of pg_class, pg_attribute, pg_namespace, pg_authid
 * and, for definitions, of functions, types, operators and their families,
 * casts, collations, enums, members of roles and the constraints of domains.  These change only when the process takes in an invalidation
 * message: when a transaction begins, when a lock on a table is taken, when a
 * command of its own ends.  Each such message is counted here.  As long as the
 * count is the same, such a question would get the same answer, and need not
 * be asked.  Whoever remembers an answer notes the count first, then asks; and
 * compares after the locks are taken that the old way of asking relied on.
 *
 * This says nothing of rows of the extension's own tables: an update by SQL
 * sends no message.
 */
#include "postgres.h"

#include "utils/inval.h"
#include "utils/syscache.h"

#include "facts.h"

/* 0: nobody has asked yet, so nothing is counted */
static uint64 generation = 0;

static void
count_relation(Datum arg, Oid relid)
{
	generation++;
}

static void
count_row(Datum arg, int cache, uint32 hash)
{
	generation++;
}

/* A number that is another one as soon as anything has changed. */
uint64
FactsNow(void)
{
	if (unlikely(generation == 0))
	{
		/* one cache of each catalog: a change is told to all of them */
		static const int caches[] = {RELOID, ATTNUM, NAMESPACEOID, AUTHOID,
			PROCOID, TYPEOID, OPEROID, CASTSOURCETARGET, COLLOID, CONSTROID,
		ENUMOID, AMOPOPID, AUTHMEMROLEMEM};

		generation = 1;
		CacheRegisterRelcacheCallback(count_relation, (Datum) 0);
		for (int i = 0; i < lengthof(caches); i++)
			CacheRegisterSyscacheCallback(caches[i], count_row, (Datum) 0);
	}
	return generation;
}
