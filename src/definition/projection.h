/*
 * projection.h
 *		What a projection is, and who may work on it.
 */
#ifndef WALLET_PROJECTION_PROJECTION_H
#define WALLET_PROJECTION_PROJECTION_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"

#include "catalog_row.h"
#include "definition/declared.h"
#include "handler/handler.h"
#include "retry.h"
#include "tableref.h"

/*
 * A projection as its rows say.  One that is damaged has its name and its
 * channel, if these can be read, and nothing else.
 */
typedef struct Projection
{
	CatalogDamage *damage;		/* what is wrong with its rows; NULL: nothing */
	char	   *name;
	char	   *stream;
	char	   *aggregate_type;
	const RowHandler *handler;	/* a native projection's; or NULL */
	Declared   *declared;		/* a declared one's; or NULL */
	char	   *channel;
	int			partitions;
	int			batch_size;
	bool		initialized;
	Oid			read_model;		/* InvalidOid, or gone: it was dropped */
	TableRef	ref;			/* to it, as it is written down */
	Oid			relation;		/* the stream's table that the positions are
								 * of */
	RetryPolicy retry;			/* of parked keys */
	int			max_parked;		/* keys; 0: the first failure stops it */
	int			verify_rate;	/* keys per second, by idle workers; 0: none */
	char	   *last_error;		/* of a whole batch; NULL: none */
	TimestampTz next_try;		/* whose batch it was will try again then */
	TimestampTz rebuild_advised;	/* the definition was altered then, and
									 * rows may be those of the old one; 0: no */
	char	   *drift;			/* the first key that a self-check has found
								 * different; NULL: none */
	Oid			owner;			/* whose it is: who has initialized it */
	char	   *owner_name;		/* the same, for a restored one; or NULL */
	bool		tables_known;	/* the next is, which it is not at first after
								 * a restore */
	List	   *stream_tables;	/* OIDs of the partitions or children that the
								 * stream's table had when positions were
								 * saved */
} Projection;

/* Changes the columns of a projection's row of STATE_CATALOG. */
typedef void (*StateChange) (Relation catalog, Datum *values, bool *nulls, void *arg);

/* events per transaction of a consumer, unless it is set otherwise */
#define DEFAULT_BATCH_SIZE 10000

/* Who we were before OwnerEnter(). */
typedef struct OwnerScope
{
	Oid			user;
	int			security;
	int			path;
} OwnerScope;

/* Whose rights count, for errors. */
typedef struct OwnerHint
{
	ErrorContextCallback callback;
	const Projection *projection;
	const char *role;
} OwnerHint;

/* catalog.c */
extern Projection *ProjectionFind(const char *name);
extern Projection *ProjectionFetch(const char *name);
extern List *ProjectionsOfChannel(const char *channel);
extern const char *ProjectionOfReadModel(Oid relid);
extern void ProjectionSaveState(const Projection *projection,
								bool with_options);
extern void ProjectionChangeState(const char *name, StateChange change,
								  void *arg);
extern void ProjectionSaveError(const char *name, const char *error,
								int failures, TimestampTz next_try);
extern void ProjectionDropState(const char *name);
extern void ProjectionDeclare(const Projection *projection);
extern void ProjectionForget(const char *name);
extern void ProjectionSetReadModel(Projection *projection, Oid relid);
extern bool ProjectionRenewReference(Projection *projection);

/* advised.c */
extern TimestampTz ProjectionRebuildAdvised(const char *name);
extern void ProjectionAdviseRebuild(Projection *projection);
extern void ProjectionRebuilt(const char *name, TimestampTz advised);
extern bool ProjectionSaveDrift(const char *name, const char *key,
								bool instead);

/* stream_tables.c */
extern void StreamTablesRead(Projection *projection, const Datum *values,
							 const bool *nulls);
extern void StreamTablesFetch(Projection *projection);
extern void StreamTablesSave(const char *name, const List *relids);

/* lifecycle.c */
extern Projection *ProjectionLock(const char *name, LOCKMODE mode,
								  const char *command);

/* owner.c */
extern List *ProjectionColumnNames(const Projection *projection);
extern int	ProjectionColumnCount(const Projection *projection);
extern int	ProjectionColumnsIn(const Projection *projection, Oid relid);
extern void ProjectionSetOwner(Projection *projection);
extern bool ProjectionOwnerIsStale(const Projection *projection);
extern bool ProjectionOwnerIsProven(const Projection *projection);
extern void ProjectionAdopt(const Projection *projection);
extern bool ProjectionHasReadModel(const Projection *projection);
extern void ProjectionCheckInitialized(const Projection *projection);
extern char *ProjectionReadModelName(const Projection *projection);
extern Relation ProjectionOpenReadModel(const Projection *projection,
										LOCKMODE mode);
extern void ProjectionCheckOwner(const Projection *projection);
extern List *ProjectionsOwned(const char *channel);
extern bool ProjectionOwnedByCaller(const Projection *projection);
extern OwnerScope OwnerEnter(const Projection *projection);
extern void OwnerLeave(const OwnerScope *scope);
extern void OwnerHintBegin(OwnerHint *hint, const Projection *projection);
extern void OwnerHintEnd(OwnerHint *hint);

#endif							/* WALLET_PROJECTION_PROJECTION_H */
