/*
 * known.c
 *		A projection's definition, as this process knows it from its last batch.
 *
 * To find out what a projection is, and that its tables are the right ones,
 * takes several times as long as to apply an event.  So a batch remembers what
 * it has found, and the next one takes that over if it is certain that it would
 * find the same: if
 *
 *	- the rows that say it (of the projection, its state, its stream and, where
 *	  it has one, its definition) are where they were, and say the same to the last byte.  They are read
 *	  at each batch: a superuser may have changed them by SQL.
 *	- the server's caches have not been told of any change (facts.c), also not
 *	  by the locks on the tables.
 *
 * What depends on who asks, or on something else than these, is not kept here:
 * rights are looked at by each batch.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "definition/known.h"
#include "facts.h"

enum
{
	ROW_OF_PROJECTION,
	ROW_OF_STATE,
	ROW_OF_STREAM,
	ROW_OF_DEFINITION,			/* a native projection has none */
	ROWS
};

static const char *const tables[ROWS] = {
	PROJECTION_CATALOG, STATE_CATALOG, STREAM_CATALOG, DEFINITION_CATALOG
};

struct Known
{
	MemoryContext context;		/* of all of it */
	bool		kept;			/* it is remembered */
	uint64		facts;			/* as of which it is true */
	HeapTuple	rows[ROWS];
	Projection *projection;
	MemoryContext compiled_context;
	Compiled   *compiled;		/* a declared projection's definition; or NULL */
};

typedef struct KnownEntry
{
	char		name[NAMEDATALEN];	/* hash key */
	Known	   *known;
} KnownEntry;

static HTAB *all_known = NULL;

/* What is kept under this name; NULL: nothing is. */
static KnownEntry *
find_entry(const char *name, HASHACTION action)
{
	KnownEntry *entry;
	bool		found;

	if (all_known == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = NAMEDATALEN;
		control.entrysize = sizeof(KnownEntry);
		control.hcxt = CacheMemoryContext;
		all_known = hash_create("wallet_projection known", 16, &control,
								HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	entry = hash_search(all_known, name, action, &found);
	if (entry != NULL && !found)
		entry->known = NULL;
	return entry;
}

static void
forget(KnownEntry *entry)
{
	Known	   *known = entry->known;

	entry->known = NULL;
	if (known != NULL)
		MemoryContextDelete(known->context);
}

/* Are the rows what they were? */
static bool
rows_stand(const Known *known)
{
	for (int i = 0; i < ROWS; i++)
	{
		if (known->rows[i] == NULL && i == ROW_OF_DEFINITION &&
			known->projection->declared == NULL)
			continue;
		if (known->rows[i] == NULL ||
			!CatalogRowStands(tables[i], known->rows[i]))
			return false;
	}
	return true;
}

static HeapTuple
fetch_row(const char *table, const char *name)
{
	Relation	catalog = CatalogOpen(table, AccessShareLock);
	HeapTuple	row = CatalogFetch(catalog, name);

	table_close(catalog, AccessShareLock);
	return row;
}

/*
 * Look a projection up; an error if there is none, or it is damaged.  What is
 * returned lives in the current memory context until KnownKeep().  The caller
 * holds the projection's lock.
 */
static Known *
look_up(const char *name)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection known",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Known	   *known = palloc0(sizeof(Known));

	known->context = context;
	known->facts = FactsNow();
	/* the rows before what follows from them: see KnownKeep() */
	known->rows[ROW_OF_PROJECTION] = fetch_row(PROJECTION_CATALOG, name);
	known->rows[ROW_OF_STATE] = fetch_row(STATE_CATALOG, name);
	known->rows[ROW_OF_DEFINITION] = fetch_row(DEFINITION_CATALOG, name);
	known->projection = ProjectionFetch(name);
	known->rows[ROW_OF_STREAM] = fetch_row(STREAM_CATALOG,
										   known->projection->stream);
	MemoryContextSwitchTo(old);
	return known;
}

/*
 * The projection of this name, remembered or looked up; an error if there is
 * none, or it is damaged.  No batch of it runs in this process.
 */
Known *
KnownLook(const char *name)
{
	KnownEntry *entry;

	if (strlen(name) >= NAMEDATALEN)
		return look_up(name);
	entry = find_entry(name, HASH_FIND);
	if (entry != NULL && entry->known != NULL && KnownIsTrue(entry->known) &&
		rows_stand(entry->known))
		return entry->known;
	if (entry != NULL)
		forget(entry);
	return look_up(name);
}

/* A copy of the projection, whose texts stay where they are. */
Projection *
KnownProjection(const Known *known)
{
	Projection *projection = palloc(sizeof(Projection));

	*projection = *known->projection;
	return projection;
}

/*
 * Was it remembered, and has nothing changed since then?  To be asked again
 * after each lock on a table.
 */
bool
KnownIsTrue(const Known *known)
{
	return known->kept && known->facts == FactsNow();
}

/*
 * The projection's definition, compiled for these tables, which are open and
 * locked; kept as long as the rest.  Who is given it sets in_use, and takes
 * that back when all went well: after an error it is made anew.  The caller
 * is the projection's owner.
 */
Compiled *
KnownCompiled(Known *known, const Projection *projection,
			  const Stream *stream, Relation read_model)
{
	MemoryContext old;

	if (known->compiled != NULL && !known->compiled->in_use && KnownIsTrue(known))
		return known->compiled;
	if (known->compiled_context != NULL)
		MemoryContextDelete(known->compiled_context);
	known->compiled = NULL;
	known->compiled_context = AllocSetContextCreate(known->context,
													"wallet_projection definition",
													ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(known->compiled_context);
	known->compiled = CompiledMake(projection, stream, read_model);
	MemoryContextSwitchTo(old);
	return known->compiled;
}

/*
 * Everything was found to be right with what was looked up: remember it, unless
 * something has changed meanwhile.  As the rows are still the same, so they
 * were when they were read in between.
 */
void
KnownKeep(Known *known)
{
	const char *name = known->projection->name;
	KnownEntry *entry;

	if (known->kept || strlen(name) >= NAMEDATALEN ||
		known->facts != FactsNow() || !rows_stand(known))
		return;
	entry = find_entry(name, HASH_ENTER);
	forget(entry);
	MemoryContextSetParent(known->context, CacheMemoryContext);
	known->kept = true;
	entry->known = known;
}
