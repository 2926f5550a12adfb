/*
 * catalog.c
 *		Access to the extension's own tables.
 *
 * Every table of schema wallet_projection has a text name in column 1, which
 * leads its primary key; all look-ups go by it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "catalog_row.h"
#include "compat.h"

/* The table's OID; an error if the extension is not in this database. */
Oid
CatalogRelation(const char *table)
{
	Oid			schema = get_namespace_oid(CATALOG_SCHEMA, true);
	Oid			relid = InvalidOid;

	if (OidIsValid(schema))
		relid = get_relname_relid(table, schema);
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist",
						CATALOG_SCHEMA, table),
				 errhint("Run CREATE EXTENSION wallet_projection in this database.")));
	return relid;
}

static void
refuse_version(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the extension wallet_projection in this database is not of version %s, which is loaded",
					EXTENSION_VERSION),
			 errhint("After an update connect again; if the library is in shared_preload_libraries, restart the server. If the library is the newer one, run ALTER EXTENSION wallet_projection UPDATE.")));
}

/*
 * The table, open.  An error unless it has the columns that this code knows:
 * after ALTER EXTENSION UPDATE a process may still have the old code in it.
 */
Relation
CatalogOpen(const char *table, LOCKMODE mode)
{
	Relation	catalog = table_open(CatalogRelation(table), mode);

	if (!CatalogHasShape(catalog, table))
		refuse_version();
	return catalog;
}

/*
 * Begin a scan of the rows of this name (NULL: of all), in the primary key's
 * order.
 */
SysScanDesc
CatalogScan(Relation catalog, const char *key)
{
	ScanKeyData scankey;
	char	   *name = psprintf("%s_pkey", RelationGetRelationName(catalog));
	Oid			index = get_relname_relid(name, RelationGetNamespace(catalog));

	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table \"%s.%s\" has no primary key",
						CATALOG_SCHEMA, RelationGetRelationName(catalog))));
	if (key != NULL)
		ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(key));
	return systable_beginscan(catalog, index, true, NULL,
							  key != NULL ? 1 : 0, &scankey);
}

/* A copy of the one row of this name, or NULL. */
HeapTuple
CatalogFetch(Relation catalog, const char *key)
{
	SysScanDesc scan = CatalogScan(catalog, key);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* Delete all rows of this name. */
void
CatalogDelete(const char *table, const char *key)
{
	Relation	catalog = CatalogOpen(table, RowExclusiveLock);
	SysScanDesc scan = CatalogScan(catalog, key);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(catalog, &tuple->t_self);
	systable_endscan(scan);
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

/* The extension's row of pg_extension, a copy; NULL if it is not there. */
static HeapTuple
extension_row(void)
{
	Relation	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("wallet_projection"));
	scan = systable_beginscan(catalog, ExtensionNameIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return tuple;
}

/* The schema that the extension's functions, streams and read models are in. */
Oid
ExtensionSchema(void)
{
	HeapTuple	tuple = extension_row();

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"wallet_projection\" does not exist")));
	return ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
}

/*
 * Is the extension in this database?  If so, it stays until the transaction
 * ends: DROP EXTENSION waits for us.  An error if it is of another version
 * than this code.
 */
bool
ExtensionIsThere(void)
{
	Oid			extension = get_extension_oid("wallet_projection", true);
	Relation	catalog;
	HeapTuple	tuple;
	bool		isnull;

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	tuple = extension_row();
	if (!HeapTupleIsValid(tuple) ||
		((Form_pg_extension) GETSTRUCT(tuple))->oid != extension)
		return false;
	catalog = table_open(ExtensionRelationId, AccessShareLock);
	if (strcmp(TextDatumGetCString(heap_getattr(tuple,
												Anum_pg_extension_extversion,
												RelationGetDescr(catalog),
												&isnull)),
			   EXTENSION_VERSION) != 0)
		refuse_version();
	table_close(catalog, AccessShareLock);
	return true;
}

/* A table's name with its schema, as it stands in a query. */
char *
QualifiedName(Relation relation)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
									  RelationGetRelationName(relation));
}

/*
 * Make the search_path nobody's, until SafePathLeave() with what this
 * returns; an error that ends the transaction leaves as well.
 */
int
SafePathEnter(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	return level;
}

void
SafePathLeave(int level)
{
	AtEOXact_GUC(false, level);
}

/* Run a utility statement with the current role's rights. */
void
RunUtility(const char *statement)
{
	int			level = SafePathEnter();

	SPI_connect();
	if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "unexpected result of: %s", statement);
	SPI_finish();
	SafePathLeave(level);
}
