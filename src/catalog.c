/*
 * catalog.c
 *		Access to the extension's own tables.
 *
 * Every table of schema wallet_projection has a text name in column 1, which
 * leads its primary key; all look-ups go by it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
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

Relation
CatalogOpen(const char *table, LOCKMODE mode)
{
	return table_open(CatalogRelation(table), mode);
}

/*
 * Begin a scan of the rows of this name (NULL: of all), in the primary key's
 * order.
 */
SysScanDesc
CatalogScan(Relation catalog, const char *key)
{
	ScanKeyData scankey;
	char		index[NAMEDATALEN];

	snprintf(index, sizeof(index), "%s_pkey",
			 RelationGetRelationName(catalog));
	if (key != NULL)
		ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(key));
	return systable_beginscan(catalog,
							  get_relname_relid(index,
												RelationGetNamespace(catalog)),
							  true, NULL, key != NULL ? 1 : 0, &scankey);
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

/* The schema that the extension's functions, streams and read models are in. */
Oid
ExtensionSchema(void)
{
	Oid			extension = get_extension_oid("wallet_projection", false);
	Oid			schema = InvalidOid;
	Relation	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(catalog, ExtensionOidIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	if (!OidIsValid(schema))
		elog(ERROR, "cache lookup failed for extension %u", extension);
	return schema;
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
