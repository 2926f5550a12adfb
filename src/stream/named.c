/*
 * named.c
 *		The table that a user means by the name of a stream, or of a table.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "stream/attach.h"

/*
 * A stream of this name comes first; then a table, as the search_path finds
 * it.  Errors: 42704 there is neither.
 */
Oid
StreamTableNamed(const char *name)
{
	TableRef	ref;
	Oid			relid = InvalidOid;
	List	   *names;

	if (StreamReference(name, &ref))
		relid = TableRefFind(&ref);
	if (OidIsValid(relid) && get_rel_name(relid) != NULL)
		return relid;
	if (SplitIdentifierString(pstrdup(name), '.', &names) && names != NIL &&
		list_length(names) <= 3)
	{
		ListCell   *cell;
		List	   *strings = NIL;

		foreach(cell, names)
			strings = lappend(strings, makeString(pstrdup(lfirst(cell))));
		relid = RangeVarGetRelid(makeRangeVarFromNameList(strings),
								 AccessShareLock, true);
	}
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no stream or table \"%s\"", name)));
	return relid;
}
