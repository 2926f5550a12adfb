/*
 * catalog.c
 *		Access to the extension's own tables.
 *
 * Every table of schema wallet_projection has a text name in column 1, which
 * leads its primary key; all look-ups go by it.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "catalog_row.h"
#include "facts.h"
#include "tablesize.h"

#define SAFE_PATH "pg_catalog, pg_temp"

/* What is remembered of a table, as long as nothing has changed. */
typedef struct KnownTable
{
	const char *name;			/* NULL: nothing is remembered yet */
	uint64		facts;			/* as of which what follows is true */
	Oid			relid;
	Oid			index;			/* the primary key's */
} KnownTable;

/* there are eleven */
#define KNOWN_TABLES 16

static KnownTable known_tables[KNOWN_TABLES];

/* Where a row was the last time. */
typedef struct PlaceKey
{
	Oid			relid;
	char		name[NAMEDATALEN];
} PlaceKey;

typedef struct Place
{
	PlaceKey	key;			/* hash key */
	ItemPointerData tid;
} Place;

static HTAB *places = NULL;

/* pg_extension's row of this extension, the last time */
static Oid	extension_oid = InvalidOid;
static ItemPointerData extension_place;

static HeapTuple extension_row(void);

/* The version of the extension in this database; NULL if it is not there. */
static char *
extension_version(HeapTuple row)
{
	Relation	catalog;
	bool		isnull;
	char	   *version;

	if (!HeapTupleIsValid(row))
		return NULL;
	catalog = table_open(ExtensionRelationId, AccessShareLock);
	version = TextDatumGetCString(heap_getattr(row,
											   Anum_pg_extension_extversion,
											   RelationGetDescr(catalog),
											   &isnull));
	table_close(catalog, AccessShareLock);
	return version;
}

/* Is this version one that comes before this code's? */
static bool
is_older(const char *version)
{
	int			theirs[3] = {0};
	int			ours[3] = {0};

	(void) sscanf(version, "%d.%d.%d", &theirs[0], &theirs[1], &theirs[2]);
	(void) sscanf(EXTENSION_VERSION, "%d.%d.%d", &ours[0], &ours[1], &ours[2]);
	for (int i = 0; i < lengthof(ours); i++)
	{
		if (theirs[i] != ours[i])
			return theirs[i] < ours[i];
	}
	return false;
}

static void
refuse_version(void)
{
	char	   *version = extension_version(extension_row());

	if (version == NULL)
		version = "none";

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the extension wallet_projection in this database is not of version %s, which is loaded",
					EXTENSION_VERSION),
			 errdetail("It is of version %s.", version),
			 is_older(version) ?
			 errhint("Run in this database: ALTER EXTENSION wallet_projection UPDATE;") :
			 errhint("Connect again; if the library is in shared_preload_libraries, restart the server.")));
}

/* The table's OID; an error if the extension is not in this database. */
Oid
CatalogRelation(const char *table)
{
	Oid			schema = get_namespace_oid(CATALOG_SCHEMA, true);
	Oid			relid = InvalidOid;
	char	   *version;

	if (OidIsValid(schema))
		relid = get_relname_relid(table, schema);
	if (OidIsValid(relid))
		return relid;
	version = extension_version(extension_row());
	if (version != NULL && strcmp(version, EXTENSION_VERSION) != 0)
		refuse_version();
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s.%s\" does not exist", CATALOG_SCHEMA, table),
			 errhint("Run CREATE EXTENSION wallet_projection in this database.")));
}

/* What is remembered of a table; or room for it. */
static KnownTable *
known_table(const char *table)
{
	for (int i = 0; i < KNOWN_TABLES; i++)
	{
		KnownTable *known = &known_tables[i];

		if (known->name == NULL || strcmp(known->name, table) == 0)
			return known;
	}
	elog(ERROR, "too many tables are in the catalog");
}

/* The table's primary key; an error if it has none. */
static Oid
find_primary_key(Relation catalog)
{
	char	   *name = psprintf("%s_pkey", RelationGetRelationName(catalog));
	Oid			index = get_relname_relid(name, RelationGetNamespace(catalog));

	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table \"%s.%s\" has no primary key",
						CATALOG_SCHEMA, RelationGetRelationName(catalog))));
	return index;
}

/*
 * The table, open.  An error unless it has the columns that this code knows:
 * after ALTER EXTENSION UPDATE a process may still have the old code in it.
 */
Relation
CatalogOpen(const char *table, LOCKMODE mode)
{
	KnownTable *known = known_table(table);
	uint64		facts = FactsNow();
	Relation	catalog;

	if (known->name != NULL && known->facts == facts)
	{
		catalog = try_table_open(known->relid, mode);
		/* the lock may have brought news */
		if (catalog != NULL && known->facts == FactsNow())
			return catalog;
		if (catalog != NULL)
			table_close(catalog, mode);
		facts = FactsNow();
	}
	catalog = table_open(CatalogRelation(table), mode);
	if (!CatalogHasShape(catalog, table))
		refuse_version();
	known->relid = RelationGetRelid(catalog);
	known->index = find_primary_key(catalog);
	known->facts = facts;
	known->name = table;
	return catalog;
}

/* The table's primary key; an error if it has none. */
Oid
CatalogPrimaryKey(Relation catalog)
{
	const KnownTable *known = known_table(RelationGetRelationName(catalog));

	return known->name != NULL && known->facts == FactsNow() &&
		known->relid == RelationGetRelid(catalog) ?
		known->index : find_primary_key(catalog);
}

/*
 * Begin a scan of the rows of this name (NULL: of all), in the primary key's
 * order.
 */
SysScanDesc
CatalogScan(Relation catalog, const char *key)
{
	return CatalogScanAsOf(catalog, key, NULL);
}

/* The same as a snapshot shows them; NULL: a new one. */
SysScanDesc
CatalogScanAsOf(Relation catalog, const char *key, Snapshot snapshot)
{
	ScanKeyData scankey;

	if (key != NULL)
		ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(key));
	return systable_beginscan(catalog, CatalogPrimaryKey(catalog), true,
							  snapshot, key != NULL ? 1 : 0, &scankey);
}

/*
 * A copy of a row, with all its values in it.  The snapshot that the row was
 * seen with is still registered: without it VACUUM could take away what is
 * stored elsewhere, and between two transactions of a procedure there may be
 * no other.
 */
static HeapTuple
copy_row(Relation catalog, HeapTuple tuple)
{
	return HeapTupleHasExternal(tuple) ?
		toast_flatten_tuple(tuple, RelationGetDescr(catalog)) :
		heap_copytuple(tuple);
}

/*
 * A copy of the row that is at this place, if a new snapshot sees it; or NULL.
 * The place may be one that is no more.
 */
static HeapTuple
fetch_at(Relation catalog, ItemPointer place)
{
	HeapTupleData tuple;
	HeapTuple	copy = NULL;
	Snapshot	snapshot;
	Buffer		buffer;

	if (catalog->rd_rel->relam != HEAP_TABLE_AM_OID ||
		!TableHasBlock(catalog, ItemPointerGetBlockNumber(place)))
		return NULL;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(catalog)));
	tuple.t_self = *place;
	if (heap_fetch(catalog, snapshot, &tuple, &buffer, false))
	{
		copy = copy_row(catalog, &tuple);
		ReleaseBuffer(buffer);
	}
	UnregisterSnapshot(snapshot);
	return copy;
}

/* Has the row this name in its first column? */
static bool
is_named(Relation catalog, HeapTuple tuple, const char *name)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, 1, RelationGetDescr(catalog), &isnull);
	struct varlena *value;
	Size		length = strlen(name);

	if (isnull)
		return false;
	value = PG_DETOAST_DATUM_PACKED(datum);
	return VARSIZE_ANY_EXHDR(value) == length &&
		memcmp(VARDATA_ANY(value), name, length) == 0;
}

/* Where the row of this name was; NULL: that is not known, or not to be. */
static Place *
find_place(Relation catalog, const char *name, HASHACTION action)
{
	PlaceKey	key;

	if (strlen(name) >= NAMEDATALEN)
		return NULL;
	if (places == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(PlaceKey);
		control.entrysize = sizeof(Place);
		control.hcxt = CacheMemoryContext;
		places = hash_create("wallet_projection places", 32, &control,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	memset(&key, 0, sizeof(key));
	key.relid = RelationGetRelid(catalog);
	strlcpy(key.name, name, NAMEDATALEN);
	return hash_search(places, &key, action, NULL);
}

/*
 * A copy of the one row of this name, or NULL.  It is looked for where it was
 * the last time: a row that the snapshot sees, with this name, is the one, as
 * the name is unique.
 */
HeapTuple
CatalogFetch(Relation catalog, const char *key)
{
	Place	   *place = find_place(catalog, key, HASH_FIND);
	SysScanDesc scan;
	HeapTuple	tuple;

	if (place != NULL)
	{
		tuple = fetch_at(catalog, &place->tid);
		if (HeapTupleIsValid(tuple) && is_named(catalog, tuple, key))
			return tuple;
	}
	scan = CatalogScan(catalog, key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = copy_row(catalog, tuple);
	systable_endscan(scan);
	if (!HeapTupleIsValid(tuple))
		return NULL;
	/* names that there are not leave nothing behind */
	place = find_place(catalog, key, HASH_ENTER);
	if (place != NULL)
		place->tid = tuple->t_self;
	return tuple;
}

/*
 * Is this copy of a row, or one that is the same to the last byte, still where
 * it was copied from?
 */
bool
CatalogRowStands(const char *table, HeapTuple row)
{
	Relation	catalog = CatalogOpen(table, AccessShareLock);
	HeapTuple	now = fetch_at(catalog, &row->t_self);

	table_close(catalog, AccessShareLock);
	return HeapTupleIsValid(now) && now->t_len == row->t_len &&
		now->t_data->t_hoff == row->t_data->t_hoff &&
		HeapTupleHeaderGetNatts(now->t_data) == HeapTupleHeaderGetNatts(row->t_data) &&
		HeapTupleHasNulls(now) == HeapTupleHasNulls(row) &&
		memcmp((char *) now->t_data + SizeofHeapTupleHeader,
			   (char *) row->t_data + SizeofHeapTupleHeader,
			   now->t_len - SizeofHeapTupleHeader) == 0;
}

/* Delete all rows of this name. */
void
CatalogDelete(const char *table, const char *key)
{
	Relation	catalog = CatalogOpen(table, RowExclusiveLock);
	SysScanDesc scan = CatalogScan(catalog, key);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogRowDelete(catalog, &tuple->t_self);
	systable_endscan(scan);
	table_close(catalog, NoLock);
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

/* Lock the extension; its row, or NULL if it is gone. */
static HeapTuple
lock_extension(void)
{
	Oid			extension = get_extension_oid("wallet_projection", true);
	HeapTuple	tuple;

	if (!OidIsValid(extension))
		return NULL;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	tuple = extension_row();
	if (!HeapTupleIsValid(tuple) ||
		((Form_pg_extension) GETSTRUCT(tuple))->oid != extension)
		return NULL;
	extension_oid = extension;
	extension_place = tuple->t_self;
	return tuple;
}

/*
 * The same for the extension that was there the last time, if its row is still
 * where it was: the lock first, then the row, as above.
 */
static HeapTuple
lock_known_extension(void)
{
	Relation	catalog;
	HeapTuple	tuple;
	Form_pg_extension form;

	if (!OidIsValid(extension_oid))
		return NULL;
	LockDatabaseObject(ExtensionRelationId, extension_oid, 0, AccessShareLock);
	catalog = table_open(ExtensionRelationId, AccessShareLock);
	tuple = fetch_at(catalog, &extension_place);
	table_close(catalog, AccessShareLock);
	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_extension) GETSTRUCT(tuple);
	return form->oid == extension_oid &&
		strcmp(NameStr(form->extname), "wallet_projection") == 0 ? tuple : NULL;
}

/*
 * Is the extension in this database?  If so, it stays until the transaction
 * ends: DROP EXTENSION waits for us.  An error if it is of another version
 * than this code.
 */
bool
ExtensionIsThere(void)
{
	HeapTuple	tuple = lock_known_extension();
	char	   *version;

	if (!HeapTupleIsValid(tuple))
		tuple = lock_extension();
	version = extension_version(tuple);
	if (version == NULL)
		return false;
	if (strcmp(version, EXTENSION_VERSION) != 0)
		refuse_version();
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
 * returns; an error that ends the transaction leaves as well.  Where it is so
 * already, as in a worker, setting it again would only have the server look
 * through all its settings twice; a SET in between is undone either way.
 */
int
SafePathEnter(void)
{
	int			level = NewGUCNestLevel();

	if (strcmp(namespace_search_path, SAFE_PATH) != 0)
		(void) set_config_option("search_path", SAFE_PATH,
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
