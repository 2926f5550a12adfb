/*
 * declared.c
 *		What a declared projection is, as its row of the catalog says.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog.h"
#include "catalog_row.h"
#include "definition/declared.h"
#include "merge/pinned.h"
#include "merge/statement.h"
#include "numberset.h"

static const char *const kinds[] = {
	[DECLARED_ROW] = "row",[DECLARED_STATEMENT] = "statement"
};

static const char *const orderings[] = {
	[ORDERING_NUMBER] = "number",[ORDERING_ARRIVAL] = "arrival",
	[ORDERING_VERSION] = "version"
};

bool
OrderingFromName(const char *name, Ordering *ordering)
{
	for (int i = 0; i < lengthof(orderings); i++)
	{
		if (strcmp(orderings[i], name) == 0)
		{
			*ordering = (Ordering) i;
			return true;
		}
	}
	return false;
}

/* A list of strings as text[]. */
ArrayType *
TextArray(List *strings)
{
	Datum	   *values = palloc_array(Datum, list_length(strings) + 1);
	int			count = 0;
	ListCell   *cell;

	foreach(cell, strings)
		values[count++] = CStringGetTextDatum(lfirst(cell));
	return construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT);
}

/* And back; nulls are left out. */
List *
TextArrayList(ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;
	List	   *strings = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			strings = lappend(strings, TextDatumGetCString(values[i]));
	}
	return strings;
}

static ArrayType *
get_array(const Datum *values, int column)
{
	return DatumGetArrayTypePCopy(values[column - 1]);
}

/* What is wrong with values that are each within their bounds; or NULL. */
static const char *
take_values(Declared *declared, const Datum *values, const bool *nulls)
{
	char	   *kind = CatalogGetText(values, nulls, DEFINITION_CATALOG_KIND);
	char	   *for_each = CatalogGetText(values, nulls, DEFINITION_CATALOG_FOR_EACH);
	const char *problem;

	if (strcmp(kind, kinds[DECLARED_STATEMENT]) == 0)
		declared->kind = DECLARED_STATEMENT;
	else if (strcmp(kind, kinds[DECLARED_ROW]) != 0)
		return psprintf("column \"kind\" is \"%s\"", kind);
	if (!OrderingFromName(CatalogGetText(values, nulls, DEFINITION_CATALOG_ORDERING),
						  &declared->ordering))
		return "column \"ordering\" is none that is known";
	if (for_each != NULL && strcmp(for_each, "event") != 0 &&
		strcmp(for_each, "batch") != 0)
		return psprintf("column \"for_each\" is \"%s\"", for_each);
	declared->definition = CatalogGetText(values, nulls, DEFINITION_CATALOG_DEFINITION);
	declared->key = CatalogGetText(values, nulls, DEFINITION_CATALOG_KEY);
	declared->for_each_batch = for_each != NULL && strcmp(for_each, "batch") == 0;
	declared->settings = get_array(values, DEFINITION_CATALOG_SETTINGS);
	problem = PinnedProblem(declared->settings);
	if (problem != NULL)
		return psprintf("column \"settings\" %s", problem);
	declared->uses = get_array(values, DEFINITION_CATALOG_USES);
	declared->columns = get_array(values, DEFINITION_CATALOG_COLUMNS);
	declared->fingerprint = DatumGetInt64(values[DEFINITION_CATALOG_FINGERPRINT - 1]);
	declared->strict = DatumGetBool(values[DEFINITION_CATALOG_STRICT - 1]);
	declared->allow_stable = DatumGetBool(values[DEFINITION_CATALOG_ALLOW_STABLE - 1]);
	declared->start.head = DatumGetInt64(values[DEFINITION_CATALOG_START_HEAD - 1]);
	if (!NumberSetFromDatum(values[DEFINITION_CATALOG_START_GAPS - 1],
							declared->start.head, &declared->start.gaps))
		return "column \"start_gaps\" has numbers below 1 or above the head";
	return NULL;
}

/*
 * The projection's definition; NULL: it has none, or the row is damaged
 * (*damage).
 */
Declared *
DeclaredRead(const char *projection, CatalogDamage **damage)
{
	Relation	catalog = CatalogOpen(DEFINITION_CATALOG, AccessShareLock);
	HeapTuple	tuple = CatalogFetch(catalog, projection);
	Declared   *declared = NULL;

	*damage = NULL;
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[DEFINITION_CATALOG_NATTS];
		bool		nulls[DEFINITION_CATALOG_NATTS];
		const char *problem = NULL;

		declared = palloc0(sizeof(Declared));
		*damage = CatalogDeformDamaged(catalog, tuple, values, nulls);
		if (*damage == NULL)
			problem = take_values(declared, values, nulls);
		if (problem != NULL)
			*damage = CatalogDamageOf(catalog, values, nulls, problem);
	}
	table_close(catalog, AccessShareLock);
	return *damage == NULL ? declared : NULL;
}

/* Is this the definition that a snapshot shows? */
bool
DeclaredIsAsOf(const char *projection, const char *definition,
			   Snapshot snapshot)
{
	Relation	catalog = CatalogOpen(DEFINITION_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScanAsOf(catalog, projection, snapshot);
	HeapTuple	tuple = systable_getnext(scan);
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		Datum		values[DEFINITION_CATALOG_NATTS];
		bool		nulls[DEFINITION_CATALOG_NATTS];

		CatalogDeform(catalog, tuple, values, nulls);
		result = strcmp(CatalogGetText(values, nulls,
									   DEFINITION_CATALOG_DEFINITION),
						definition) == 0;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

/* Write it down anew; the caller holds the projection's lock exclusively. */
void
DeclaredWrite(const char *projection, const Declared *declared)
{
	Relation	catalog = CatalogOpen(DEFINITION_CATALOG, RowExclusiveLock);
	HeapTuple	old = CatalogFetch(catalog, projection);
	Datum		values[DEFINITION_CATALOG_NATTS];
	bool		nulls[DEFINITION_CATALOG_NATTS] = {0};
	HeapTuple	tuple;

	CatalogPutText(values, nulls, DEFINITION_CATALOG_PROJECTION, projection);
	CatalogPutText(values, nulls, DEFINITION_CATALOG_KIND, kinds[declared->kind]);
	CatalogPutText(values, nulls, DEFINITION_CATALOG_DEFINITION, declared->definition);
	CatalogPutText(values, nulls, DEFINITION_CATALOG_KEY, declared->key);
	CatalogPutText(values, nulls, DEFINITION_CATALOG_FOR_EACH,
				   declared->kind == DECLARED_ROW ? NULL :
				   declared->for_each_batch ? "batch" : "event");
	values[DEFINITION_CATALOG_SETTINGS - 1] = PointerGetDatum(declared->settings);
	values[DEFINITION_CATALOG_USES - 1] = PointerGetDatum(declared->uses);
	values[DEFINITION_CATALOG_COLUMNS - 1] = PointerGetDatum(declared->columns);
	values[DEFINITION_CATALOG_FINGERPRINT - 1] = Int64GetDatum(declared->fingerprint);
	CatalogPutText(values, nulls, DEFINITION_CATALOG_ORDERING,
				   orderings[declared->ordering]);
	values[DEFINITION_CATALOG_STRICT - 1] = BoolGetDatum(declared->strict);
	values[DEFINITION_CATALOG_ALLOW_STABLE - 1] = BoolGetDatum(declared->allow_stable);
	values[DEFINITION_CATALOG_START_HEAD - 1] = Int64GetDatum(declared->start.head);
	values[DEFINITION_CATALOG_START_GAPS - 1] = NumberSetToDatum(&declared->start.gaps);
	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogRowUpdate(catalog, &old->t_self, tuple);
	else
		CatalogTupleInsert(catalog, tuple);
	table_close(catalog, NoLock);
	CommandCounterIncrement();
}

/* How many tables a statement changes. */
int
DeclaredTargets(const Declared *declared)
{
	int			count = 0;
	ListCell   *cell;

	foreach(cell, TextArrayList(declared->uses))
	{
		if (strncmp(lfirst(cell), TARGET_USE, strlen(TARGET_USE)) == 0)
			count++;
	}
	return count;
}

/* Does it insert rows into each of them? */
bool
DeclaredInserts(const Declared *declared)
{
	ListCell   *cell;

	foreach(cell, TextArrayList(declared->uses))
	{
		if (strncmp(lfirst(cell), TARGET_USE, strlen(TARGET_USE)) == 0 &&
			strstr(lfirst(cell), TARGET_INSERTS) == NULL)
			return false;
	}
	return true;
}

static bool
has_target(List *uses, const char *target)
{
	ListCell   *cell;

	foreach(cell, uses)
	{
		if (strncmp(lfirst(cell), target, strlen(target)) == 0)
			return true;
	}
	return false;
}

/*
 * The projection whose statement changes this table, which is named as
 * StatementTargetUse() names it; or NULL.
 */
char *
DeclaredTargetOf(const char *target)
{
	Relation	catalog = CatalogOpen(DEFINITION_CATALOG, AccessShareLock);
	SysScanDesc scan = CatalogScan(catalog, NULL);
	char	   *name = NULL;
	HeapTuple	tuple;

	while (name == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[DEFINITION_CATALOG_NATTS];
		bool		nulls[DEFINITION_CATALOG_NATTS];

		if (CatalogDeformDamaged(catalog, tuple, values, nulls) == NULL &&
			has_target(TextArrayList(get_array(values, DEFINITION_CATALOG_USES)),
					   target))
			name = CatalogGetText(values, nulls, DEFINITION_CATALOG_PROJECTION);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return name;
}

void
DeclaredDrop(const char *projection)
{
	CatalogDelete(DEFINITION_CATALOG, projection);
}
