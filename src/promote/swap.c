/*
 * swap.c
 *		Two tables that are alike exchange their storage.
 *
 * As CLUSTER does at its end: files and what the catalog says of their contents
 * change places between two rows of pg_class, and so they do for each index and its
 * counterpart.  TOAST tables go along as they are, since rows point to them by
 * OID: only the names by which they are known follow their new owner.  Nothing is
 * copied, whatever the size.
 *
 * Other than after CLUSTER, old snapshots find what they ought to see: the rows
 * of both tables were written by ordinary transactions.
 *
 * The caller holds ACCESS EXCLUSIVE on both tables and on their TOAST tables.
 */
#include "postgres.h"

#include "compat.h"

#include "access/htup_details.h"
#include "access/toast_internals.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/tablecmds.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "promote/alike.h"
#include "promote/swap.h"

#define EXCHANGE(type, a, b) \
	do { type exchanged_ = (a); (a) = (b); (b) = exchanged_; } while (0)

/* What of pg_class says where the rows are, and what they are like. */
static void
exchange_storage(Form_pg_class a, Form_pg_class b)
{
	EXCHANGE(Oid, a->relfilenode, b->relfilenode);
	EXCHANGE(Oid, a->reltablespace, b->reltablespace);
	EXCHANGE(Oid, a->reltoastrelid, b->reltoastrelid);
	EXCHANGE(int32, a->relpages, b->relpages);
	EXCHANGE(float4, a->reltuples, b->reltuples);
	EXCHANGE(int32, a->relallvisible, b->relallvisible);
	compat_exchange_allfrozen(a, b);
	EXCHANGE(TransactionId, a->relfrozenxid, b->relfrozenxid);
	EXCHANGE(TransactionId, a->relminmxid, b->relminmxid);
}

static HeapTuple
class_row(Oid relid)
{
	HeapTuple	row = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	return row;
}

static void
exchange_rows(Oid a, Oid b)
{
	Relation	catalog = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	row_a = class_row(a);
	HeapTuple	row_b = class_row(b);

	exchange_storage((Form_pg_class) GETSTRUCT(row_a),
					 (Form_pg_class) GETSTRUCT(row_b));
	CatalogTupleUpdate(catalog, &row_a->t_self, row_a);
	CatalogTupleUpdate(catalog, &row_b->t_self, row_b);
	InvokeObjectPostAlterHook(RelationRelationId, a, 0);
	InvokeObjectPostAlterHook(RelationRelationId, b, 0);
	heap_freetuple(row_a);
	heap_freetuple(row_b);
	table_close(catalog, RowExclusiveLock);
}

/* The TOAST table, if there is one, is the other table's part from now on. */
static void
move_toast(Oid toast, Oid from, Oid to)
{
	if (!OidIsValid(toast))
		return;
	if (changeDependencyFor(RelationRelationId, toast, RelationRelationId,
							from, to) != 1)
		elog(ERROR, "TOAST table %u does not depend on table %u", toast, from);
}

static void
rename_toast(Oid toast, const char *format, Oid table)
{
	if (!OidIsValid(toast))
		return;
	RenameRelationInternal(toast, psprintf(format, table), true, false);
	RenameRelationInternal(toast_get_valid_index(toast, AccessExclusiveLock),
						   psprintf("%s_index", psprintf(format, table)), true,
						   true);
	CommandCounterIncrement();
}

static Oid
toast_of(Oid table)
{
	HeapTuple	row = class_row(table);
	Oid			toast = ((Form_pg_class) GETSTRUCT(row))->reltoastrelid;

	heap_freetuple(row);
	return toast;
}

static void
swap_tables(Oid a, Oid b)
{
	Oid			toast_a = toast_of(a);
	Oid			toast_b = toast_of(b);

	exchange_rows(a, b);
	move_toast(toast_a, a, b);
	move_toast(toast_b, b, a);
	CommandCounterIncrement();
	rename_toast(toast_a, "pg_toast_%u_moves", b);
	rename_toast(toast_b, "pg_toast_%u", a);
	rename_toast(toast_a, "pg_toast_%u", b);
}

static HeapTuple
index_row(Oid index)
{
	HeapTuple	row = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(index));

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for index %u", index);
	return row;
}

/*
 * An index that old snapshots must not use as it has come too late for their
 * versions of rows: the mark belongs to its contents.
 */
static void
exchange_marks(Oid a, Oid b)
{
	HeapTuple	row_a = index_row(a);
	HeapTuple	row_b = index_row(b);
	Form_pg_index form_a = (Form_pg_index) GETSTRUCT(row_a);
	Form_pg_index form_b = (Form_pg_index) GETSTRUCT(row_b);
	Relation	catalog;

	if (!form_a->indcheckxmin && !form_b->indcheckxmin)
		return;
	catalog = table_open(IndexRelationId, RowExclusiveLock);
	EXCHANGE(bool, form_a->indcheckxmin, form_b->indcheckxmin);
	CatalogTupleUpdate(catalog, &row_a->t_self, row_a);
	CatalogTupleUpdate(catalog, &row_b->t_self, row_b);
	table_close(catalog, RowExclusiveLock);
}

/*
 * Let two tables that are alike exchange their rows.  Everything else stays: OIDs,
 * names, owners, rights, triggers, policies, statistics that are collected per
 * column (which describe the rows that were there; ANALYZE makes them anew).
 */
void
StorageSwap(Oid a, Oid b)
{
	List	   *of_a;
	List	   *of_b;
	ListCell   *cell_a;
	ListCell   *cell_b;

	IndexPairs(a, b, &of_a, &of_b);
	swap_tables(a, b);
	forboth(cell_a, of_a, cell_b, of_b)
	{
		exchange_rows(lfirst_oid(cell_a), lfirst_oid(cell_b));
		exchange_marks(lfirst_oid(cell_a), lfirst_oid(cell_b));
	}
	CommandCounterIncrement();
}
