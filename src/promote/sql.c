/*
 * sql.c
 *		Questions to the server's catalogs, in SQL.
 *
 * What depends on a table is asked with joins over a dozen catalogs, which SQL
 * says shortest.  Everything runs with a search_path in which only pg_catalog
 * is, so that a name or an operator is PostgreSQL's own, and a table's name comes
 * out of pg_get_viewdef() and its like with its schema.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "promote/sql.h"

/*
 * The texts in the first column of a query over two tables, $1 and $2; nulls
 * are left out.  They are palloc'd in the current memory context.
 */
List *
SqlTexts(const char *query, Oid first, Oid second)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {OIDOID, OIDOID};
	Datum		values[] = {ObjectIdGetDatum(first), ObjectIdGetDatum(second)};
	int			level = SafePathEnter();
	List	   *texts = NIL;

	SPI_connect();
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "unexpected result of: %s", query);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *value = SPI_getvalue(SPI_tuptable->vals[i],
										 SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(context);

		if (value != NULL)
			texts = lappend(texts, pstrdup(value));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	SafePathLeave(level);
	return texts;
}

/* Run utility statements with the current role's rights. */
void
SqlRun(List *statements)
{
	ListCell   *cell;

	foreach(cell, statements)
		RunUtility(lfirst(cell));
}
