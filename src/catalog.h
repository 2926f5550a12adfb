/*
 * catalog.h
 *		Access to the extension's own tables, in schema wallet_projection.
 *
 * They are read and written directly, not through SQL: whoever may call a
 * function of the extension needs no rights on its tables, and no trigger,
 * operator or search_path of a user's can come between.  Each function that
 * uses them says itself who may call it.
 *
 * Rows are read under a snapshot that is new at each call, unless the caller
 * gives one.  Who writes one, or
 * remembers its place to write it, keeps the table's lock to the end of the
 * transaction, as VACUUM FULL gives rows new places.
 */
#ifndef WALLET_PROJECTION_CATALOG_H
#define WALLET_PROJECTION_CATALOG_H

#include "access/genam.h"
#include "access/htup.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define CATALOG_SCHEMA "wallet_projection"

/* the version of the extension's SQL that this code belongs to */
#define EXTENSION_VERSION "0.2.0"

/* columns of wallet_projection.stream */
#define STREAM_CATALOG "stream"
enum
{
	STREAM_CATALOG_NAME = 1,
	STREAM_CATALOG_RELATION,
	STREAM_CATALOG_TABLE_SCHEMA,	/* and four more: see tableref.h */
	STREAM_CATALOG_POSITION = STREAM_CATALOG_TABLE_SCHEMA + 5,
	STREAM_CATALOG_GUARD,
	STREAM_CATALOG_NATTS = STREAM_CATALOG_GUARD
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

/* columns of wallet_projection.definition */
#define DEFINITION_CATALOG "definition"
enum
{
	DEFINITION_CATALOG_PROJECTION = 1,
	DEFINITION_CATALOG_KIND,
	DEFINITION_CATALOG_DEFINITION,
	DEFINITION_CATALOG_KEY,
	DEFINITION_CATALOG_FOR_EACH,
	DEFINITION_CATALOG_SETTINGS,
	DEFINITION_CATALOG_USES,
	DEFINITION_CATALOG_COLUMNS,
	DEFINITION_CATALOG_FINGERPRINT,
	DEFINITION_CATALOG_ORDERING,
	DEFINITION_CATALOG_STRICT,
	DEFINITION_CATALOG_ALLOW_STABLE,
	DEFINITION_CATALOG_START_HEAD,
	DEFINITION_CATALOG_START_GAPS,
	DEFINITION_CATALOG_NATTS = DEFINITION_CATALOG_START_GAPS
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
	STATE_CATALOG_FAILURES,
	STATE_CATALOG_NEXT_TRY,
	STATE_CATALOG_MAX_ATTEMPTS,
	STATE_CATALOG_RETRY_DELAY,
	STATE_CATALOG_RETRY_MULTIPLIER,
	STATE_CATALOG_RETRY_MAX_DELAY,
	STATE_CATALOG_RETRY_JITTER,
	STATE_CATALOG_MAX_PARKED,
	STATE_CATALOG_TABLE_SCHEMA, /* of the read model, and four more: see
								 * tableref.h */
	STATE_CATALOG_OWNER = STATE_CATALOG_TABLE_SCHEMA + 5,
	STATE_CATALOG_OWNER_NAME,
	STATE_CATALOG_STREAM_TABLES,
	STATE_CATALOG_REBUILD_ADVISED,
	STATE_CATALOG_VERIFY_RATE,
	STATE_CATALOG_DRIFT,
	STATE_CATALOG_FAILED_SINCE,
	STATE_CATALOG_NATTS = STATE_CATALOG_FAILED_SINCE
};

/* columns of wallet_projection.position */
#define POSITION_CATALOG "position"
enum
{
	POSITION_CATALOG_PROJECTION = 1,
	POSITION_CATALOG_LANE,
	POSITION_CATALOG_VERSION,
	POSITION_CATALOG_PART,
	POSITION_CATALOG_TURN,
	POSITION_CATALOG_GROUPS,
	POSITION_CATALOG_HEAD,
	POSITION_CATALOG_GAPS,
	POSITION_CATALOG_WRITTEN,
	POSITION_CATALOG_OLD_BLOCKS,
	POSITION_CATALOG_OLD_FIRST,
	POSITION_CATALOG_OLD_LAST,
	POSITION_CATALOG_OLD_SIZE,
	POSITION_CATALOG_OLD_OWNERS,
	POSITION_CATALOG_NATTS = POSITION_CATALOG_OLD_OWNERS
};

/* columns of wallet_projection.old_gaps */
#define OLD_GAPS_CATALOG "old_gaps"
enum
{
	OLD_GAPS_CATALOG_PROJECTION = 1,
	OLD_GAPS_CATALOG_BLOCK,
	OLD_GAPS_CATALOG_GAPS,
	OLD_GAPS_CATALOG_NATTS = OLD_GAPS_CATALOG_GAPS
};

/* columns of wallet_projection.started */
#define STARTED_CATALOG "started"
enum
{
	STARTED_CATALOG_PROJECTION = 1,
	STARTED_CATALOG_DATABASE,
	STARTED_CATALOG_NATTS = STARTED_CATALOG_DATABASE
};

/* columns of wallet_projection.channel */
#define CHANNEL_CATALOG "channel"
enum
{
	CHANNEL_CATALOG_NAME = 1,
	CHANNEL_CATALOG_WORKERS,
	CHANNEL_CATALOG_NATTS = CHANNEL_CATALOG_WORKERS
};

/* columns of wallet_projection.parked */
#define PARKED_CATALOG "parked"
enum
{
	PARKED_CATALOG_PROJECTION = 1,
	PARKED_CATALOG_KEY,
	PARKED_CATALOG_ID,
	PARKED_CATALOG_PARTITION,
	PARKED_CATALOG_NO,
	PARKED_CATALOG_VERSION,
	PARKED_CATALOG_EVENT_NAME,
	PARKED_CATALOG_ATTEMPTS,
	PARKED_CATALOG_WAITING,
	PARKED_CATALOG_FIRST_FAILED_AT,
	PARKED_CATALOG_LAST_FAILED_AT,
	PARKED_CATALOG_NEXT_RETRY_AT,
	PARKED_CATALOG_SQLSTATE,
	PARKED_CATALOG_MESSAGE,
	PARKED_CATALOG_DETAIL,
	PARKED_CATALOG_HINT,
	PARKED_CATALOG_CONTEXT,
	PARKED_CATALOG_RETRY_ERROR,
	PARKED_CATALOG_APPLIED,
	PARKED_CATALOG_BY_NUMBER,
	PARKED_CATALOG_HASH,
	PARKED_CATALOG_WHOLE_KEY,
	PARKED_CATALOG_NATTS = PARKED_CATALOG_WHOLE_KEY
};

/* columns of wallet_projection.unhandled */
#define UNHANDLED_CATALOG "unhandled"
enum
{
	UNHANDLED_CATALOG_PROJECTION = 1,
	UNHANDLED_CATALOG_LANE,
	UNHANDLED_CATALOG_PART,
	UNHANDLED_CATALOG_WHY,
	UNHANDLED_CATALOG_WHAT,
	UNHANDLED_CATALOG_COUNT,
	UNHANDLED_CATALOG_FIRST_NO,
	UNHANDLED_CATALOG_LAST_NO,
	UNHANDLED_CATALOG_NATTS = UNHANDLED_CATALOG_LAST_NO
};

/* columns of wallet_projection.skipped */
#define SKIPPED_CATALOG "skipped"
enum
{
	SKIPPED_CATALOG_PROJECTION = 1,
	SKIPPED_CATALOG_NO,
	SKIPPED_CATALOG_KEY,
	SKIPPED_CATALOG_EVENT_NAME,
	SKIPPED_CATALOG_SKIPPED_AT,
	SKIPPED_CATALOG_SKIPPED_BY,
	SKIPPED_CATALOG_SQLSTATE,
	SKIPPED_CATALOG_MESSAGE,
	SKIPPED_CATALOG_EVENT_ID,
	SKIPPED_CATALOG_LAST_NO,
	SKIPPED_CATALOG_EVENTS,
	SKIPPED_CATALOG_NATTS = SKIPPED_CATALOG_EVENTS
};

extern Oid	CatalogRelation(const char *table);
extern Relation CatalogOpen(const char *table, LOCKMODE mode);
extern Oid	CatalogPrimaryKey(Relation catalog);
extern SysScanDesc CatalogScan(Relation catalog, const char *key);
extern SysScanDesc CatalogScanAsOf(Relation catalog, const char *key,
								   Snapshot snapshot);
extern HeapTuple CatalogFetch(Relation catalog, const char *key);
extern bool CatalogRowStands(const char *table, HeapTuple row);
extern void CatalogDelete(const char *table, const char *key);
extern void CatalogRowUpdate(Relation catalog, ItemPointer place,
							 HeapTuple row);
extern void CatalogRowDelete(Relation catalog, ItemPointer place);
extern bool ExtensionIsThere(void);
extern Oid	ExtensionSchema(void);
extern char *QualifiedName(Relation relation);
extern int	SafePathEnter(void);
extern void SafePathLeave(int level);
extern void RunUtility(const char *statement);

#endif							/* WALLET_PROJECTION_CATALOG_H */
