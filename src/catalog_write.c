/*
 * catalog_write.c
 *		Rows of the extension's own tables are changed and deleted.
 *
 * Who writes a row holds a lock that keeps others of the extension from it.  A
 * superuser who writes these tables by hand does not: a row that was read may be
 * another one now, or gone, and the server calls that an internal error.
 */
#include "postgres.h"

#include "catalog/indexing.h"
#include "utils/rel.h"

#include "catalog.h"

/* what the server says in both cases, in no other language */
#define CONCURRENTLY "tuple concurrently "

/* In PG_CATCH(): raise the error, in other words where it is of that kind. */
static void
rethrow(Relation catalog, MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (error->sqlerrcode != ERRCODE_INTERNAL_ERROR ||
		strncmp(error->message, CONCURRENTLY, strlen(CONCURRENTLY)) != 0)
		PG_RE_THROW();
	FlushErrorState();
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("a row of table \"%s.%s\" was changed by somebody else meanwhile",
					CATALOG_SCHEMA, RelationGetRelationName(catalog)),
			 errdetail("Only the extension writes its tables."),
			 errhint("Run it again. Background workers do so by themselves.")));
}

/* Replace the row at this place. */
void
CatalogRowUpdate(Relation catalog, ItemPointer place, HeapTuple row)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		CatalogTupleUpdate(catalog, place, row);
	}
	PG_CATCH();
	{
		rethrow(catalog, context);
	}
	PG_END_TRY();
}

/* Delete the row at this place. */
void
CatalogRowDelete(Relation catalog, ItemPointer place)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		CatalogTupleDelete(catalog, place);
	}
	PG_CATCH();
	{
		rethrow(catalog, context);
	}
	PG_END_TRY();
}
