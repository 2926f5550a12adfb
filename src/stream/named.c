/*
 * named.c
 *		The table that a user means by the name of a stream, or of a table.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "commands/defrem.h"
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

/* The name that is the table's own: "schema.table", shortened if need be. */
char *
StreamFullName(Oid relid)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char	   *table = get_rel_name(relid);
	char	   *name = psprintf("%s.%s", schema, table);

	return strlen(name) < NAMEDATALEN ? name :
		makeObjectName(schema, table, "stream");
}

/*
 * The name of the stream that the table is which the search_path finds under
 * this name; NULL: it finds none, or the table is no stream.
 */
char *
StreamOfTableInPath(const char *table)
{
	Oid			relid = RelnameGetRelid(table);

	return OidIsValid(relid) ? StreamOfTable(relid) : NULL;
}

/* An error: no stream has this name.  The hint names the one that is meant. */
void
StreamRefuseUnknown(const char *name)
{
	char	   *meant = StreamOfTableInPath(name);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("stream \"%s\" does not exist", name),
			 meant != NULL ?
			 errhint("The stream of table \"%s\" is called %s.", name,
					 quote_literal_cstr(meant)) :
			 errhint("Create it with: SELECT stream_create(%s);",
					 quote_literal_cstr(name))));
}
