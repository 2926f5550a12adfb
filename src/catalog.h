/*
 * catalog.h
 *		Access to the extension's own tables, in schema wallet_projection.
 *
 * They are read and written directly, not through SQL: whoever may call a
 * function of the extension needs no rights on its tables, and no trigger,
 * operator or search_path of a user's can come between.  Each function that
 * uses them says itself who may call it.
 *
 * Rows are read under a snapshot that is new at each call.
 */
#ifndef WALLET_PROJECTION_CATALOG_H
#define WALLET_PROJECTION_CATALOG_H

#include "access/genam.h"
#include "access/htup.h"
#include "utils/relcache.h"

#define CATALOG_SCHEMA "wallet_projection"

/* columns of wallet_projection.stream */
#define STREAM_CATALOG "stream"
enum
{
	STREAM_CATALOG_NAME = 1,
	STREAM_CATALOG_RELATION,
	STREAM_CATALOG_NATTS = STREAM_CATALOG_RELATION
};

/* columns of wallet_projection.projection */
#define PROJECTION_CATALOG "projection"
enum
{
	PROJECTION_CATALOG_NAME = 1,
	PROJECTION_CATALOG_STREAM,
	PROJECTION_CATALOG_AGGREGATE_TYPE,
	PROJECTION_CATALOG_HANDLER,
	PROJECTION_CATALOG_CHANNEL,
	PROJECTION_CATALOG_PARTITIONS,
	PROJECTION_CATALOG_BATCH_SIZE,
	PROJECTION_CATALOG_BUILTIN,
	PROJECTION_CATALOG_NATTS = PROJECTION_CATALOG_BUILTIN
};

/* columns of wallet_projection.projection_state */
#define STATE_CATALOG "projection_state"
enum
{
	STATE_CATALOG_PROJECTION = 1,
	STATE_CATALOG_CHANNEL,
	STATE_CATALOG_PARTITIONS,
	STATE_CATALOG_BATCH_SIZE,
	STATE_CATALOG_READ_MODEL,
	STATE_CATALOG_RELATION,
	STATE_CATALOG_LAST_ERROR,
	STATE_CATALOG_NATTS = STATE_CATALOG_LAST_ERROR
};

/* columns of wallet_projection.partition */
#define PARTITION_CATALOG "partition"
enum
{
	PARTITION_CATALOG_PROJECTION = 1,
	PARTITION_CATALOG_PARTITION,
	PARTITION_CATALOG_HEAD,
	PARTITION_CATALOG_GAPS,
	PARTITION_CATALOG_NATTS = PARTITION_CATALOG_GAPS
};

extern Oid	CatalogRelation(const char *table);
extern Relation CatalogOpen(const char *table, LOCKMODE mode);
extern SysScanDesc CatalogScan(Relation catalog, const char *key);
extern HeapTuple CatalogFetch(Relation catalog, const char *key);
extern Oid	ExtensionSchema(void);
extern int	SafePathEnter(void);
extern void SafePathLeave(int level);
extern void RunUtility(const char *statement);

#endif							/* WALLET_PROJECTION_CATALOG_H */
