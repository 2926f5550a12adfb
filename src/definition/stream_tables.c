/*
 * stream_tables.c
 *		Which partitions and children the stream's table had.
 *
 * That is in a column of the projection's state, as of when positions were
 * saved last: an array of OIDs, which are true in this installation only.  Null
 * means that nobody knows, as after a restore.  It is written only when it
 * changes, and always by the transaction that saves positions: whoever reads
 * positions first, and this after them, finds no partition missing whose events
 * these positions have passed because they were seen.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog.h"
#include "catalog_row.h"
#include "definition/projection.h"
#include "keylock.h"

/* Take them out of a row of the state, which was written in this installation. */
void
StreamTablesRead(Projection *projection, const Datum *values,
				 const bool *nulls)
{
	ArrayType  *array;
	const Oid  *relids;

	projection->tables_known = false;
	projection->stream_tables = NIL;
	if (nulls[STATE_CATALOG_STREAM_TABLES - 1])
		return;
	array = DatumGetArrayTypeP(values[STATE_CATALOG_STREAM_TABLES - 1]);
	/* what nobody of us has written says nothing */
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		return;
	projection->tables_known = true;
	relids = (const Oid *) ARR_DATA_PTR(array);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)); i++)
		projection->stream_tables = lappend_oid(projection->stream_tables,
												relids[i]);
	list_sort(projection->stream_tables, list_oid_cmp);
}

/* Read them anew, as they are committed now. */
void
StreamTablesFetch(Projection *projection)
{
	Projection *now = ProjectionFetch(projection->name);

	projection->tables_known = now->tables_known;
	projection->stream_tables = now->stream_tables;
}

/*
 * Write them down.  The caller holds the projection's lock, shared or
 * exclusive, and KEYLOCK_ERROR.
 */
void
StreamTablesSave(const char *name, const List *relids)
{
	Relation	catalog = CatalogOpen(STATE_CATALOG, RowExclusiveLock);
	HeapTuple	old = CatalogFetch(catalog, name);
	Datum	   *oids = palloc_array(Datum, Max(list_length(relids), 1));
	Datum		values[STATE_CATALOG_NATTS];
	bool		nulls[STATE_CATALOG_NATTS];
	int			count = 0;
	ListCell   *cell;

	foreach(cell, relids)
		oids[count++] = ObjectIdGetDatum(lfirst_oid(cell));
	if (HeapTupleIsValid(old))
	{
		CatalogDeform(catalog, old, values, nulls);
		values[STATE_CATALOG_STREAM_TABLES - 1] =
			PointerGetDatum(construct_array(oids, count, OIDOID, sizeof(Oid),
											true, TYPALIGN_INT));
		nulls[STATE_CATALOG_STREAM_TABLES - 1] = false;
		CatalogRowUpdate(catalog, &old->t_self,
						 heap_form_tuple(RelationGetDescr(catalog), values,
										 nulls));
	}
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}
