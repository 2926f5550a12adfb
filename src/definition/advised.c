/*
 * advised.c
 *		Whether a rebuild is advised, and what a self-check has found.
 *
 * Both stand in the projection's row of wallet_projection.projection_state.
 * While the projection's lock is held shared, that row is written under
 * KEYLOCK_ERROR only.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "catalog.h"
#include "catalog_row.h"
#include "definition/projection.h"
#include "keylock.h"

/*
 * Since when a rebuild is advised; 0: it is not.  Who rebuilds the projection
 * asks once at the beginning, with the projection's lock, and gives
 * ProjectionRebuilt() the answer.
 */
TimestampTz
ProjectionRebuildAdvised(const char *name)
{
	return ProjectionFetch(name)->rebuild_advised;
}

/*
 * The definition is another one from now on: rows may be those of the old one,
 * also where a rebuild runs that has begun before.  The caller holds the
 * projection's lock exclusively, and saves the state.
 */
void
ProjectionAdviseRebuild(Projection *projection)
{
	projection->rebuild_advised = Max(GetCurrentTimestamp(),
									  projection->rebuild_advised + 1);
}

static void
put_rebuilt(Relation catalog, Datum *values, bool *nulls, void *arg)
{
	const TimestampTz *advised = arg;

	nulls[STATE_CATALOG_DRIFT - 1] = true;
	if (!nulls[STATE_CATALOG_REBUILD_ADVISED - 1] &&
		DatumGetTimestampTz(values[STATE_CATALOG_REBUILD_ADVISED - 1]) == *advised)
		nulls[STATE_CATALOG_REBUILD_ADVISED - 1] = true;
}

/*
 * A rebuild of all keys has gone through, which has begun when a rebuild was
 * advised since then (0: it was not).  Another alteration since keeps it
 * advised; what a self-check has found is mended.  The caller holds the
 * projection's lock shared.  Nothing is written where nothing changes.
 */
void
ProjectionRebuilt(const char *name, TimestampTz advised)
{
	Projection *projection = ProjectionFetch(name);

	if (projection->drift != NULL ||
		(advised != 0 && projection->rebuild_advised == advised))
		ProjectionChangeState(name, put_rebuilt, &advised);
}

/* The first key that differs, or NULL. */
typedef struct Drift
{
	const char *key;
	bool		instead;		/* of the one that is written down */
	bool		written;
} Drift;

static void
put_drift(Relation catalog, Datum *values, bool *nulls, void *arg)
{
	Drift	   *drift = arg;

	drift->written = drift->instead || nulls[STATE_CATALOG_DRIFT - 1];
	if (drift->written)
		CatalogPutText(values, nulls, STATE_CATALOG_DRIFT, drift->key);
}

/*
 * Write down the first key that a self-check has found different (NULL: it is
 * right again); instead: of the one that is written down.  False if somebody
 * else has written down one meanwhile.  The caller holds the projection's lock
 * shared.
 */
bool
ProjectionSaveDrift(const char *name, const char *key, bool instead)
{
	Drift		drift = {.key = key,.instead = instead};

	ProjectionChangeState(name, put_drift, &drift);
	return drift.written;
}
