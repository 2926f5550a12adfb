/*
 * pair.c
 *		May one projection take the other one's place?
 */
#include "postgres.h"

#include "access/relation.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "encoding.h"
#include "parking/park.h"
#include "position/trouble.h"
#include "promote/alike.h"
#include "promote/obstacles.h"
#include "promote/pair.h"

/* A projection that is the caller's, and whose table is what it was. */
Projection *
PairFetchOne(const char *name)
{
	Projection *projection = ProjectionFetch(name);

	ProjectionCheckOwner(projection);
	ProjectionCheckInitialized(projection);
	TroubleRaise(TroubleOfReadModel(projection));
	return projection;
}

/* An error unless both read the same stream. */
void
PairCheckStreams(const Projection *a, const Projection *b)
{
	if (a->relation == b->relation && strcmp(a->stream, b->stream) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projections \"%s\" and \"%s\" are of different streams",
					a->name, b->name),
			 errdetail("The one reads stream \"%s\", the other one stream \"%s\".",
					   a->stream, b->stream)));
}

/* Look both up. */
void
PairFetch(Pair *pair, const char *new, const char *old)
{
	pair->new = PairFetchOne(new);
	pair->old = PairFetchOne(old);
	PairCheckStreams(pair->new, pair->old);
}

static void
check_one_table(const Projection *projection)
{
	const Declared *declared = projection->declared;

	if (declared == NULL || declared->kind != DECLARED_STATEMENT ||
		DeclaredTargets(declared) == 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" cannot be promoted, nor replaced",
					projection->name),
			 errdetail("Its statement changes %d tables.",
					   DeclaredTargets(declared)),
			 errhint("Write a projection for each table.")));
}

static void
check_parked(const Projection *new)
{
	const char *name = new->name;
	int			parked = ParkedCount(name);

	if (parked == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projection \"%s\" has parked keys", name),
			 errdetail("Events of %d keys are not applied, so that their rows are older than they ought to be.",
					   parked),
			 errhint("See them with: SELECT * FROM projection_dead_letters WHERE projection = %s; To promote it as it is: force => true.",
					 quote_literal_cstr(name))));
}

/* Its rows must be what its definition makes of the events, as far as is known. */
static void
check_rebuilt(const Projection *new)
{
	if (new->rebuild_advised == 0 && new->drift == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of projection \"%s\" may not be what its definition makes of the events",
					new->name),
			 new->drift != NULL ?
			 errdetail("A self-check has found key \"%s\" different.",
					   TextForClient(new->drift)) :
			 errdetail("Its definition was altered, and its rows have not been made anew since."),
			 errhint("Run: CALL projection_rebuild(%s); To promote it as it is: force => true.",
					 quote_literal_cstr(new->name))));
}

static char *
listed(List *obstacles)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, obstacles)
		appendStringInfo(&list, "%s%s", cell == list_head(obstacles) ? "" : "\n",
						 (char *) lfirst(cell));
	return list.data;
}

static void
check_obstacles(const Pair *pair, bool force)
{
	Oid			old = pair->old->read_model;
	Oid			new = pair->new->read_model;
	List	   *found = force ? NIL : ObstaclesToRows(old, new);

	if (found != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("other servers may have copies of the rows of \"%s\"",
						get_rel_name(old)),
				 errdetail_internal("%s", listed(found)),
				 errhint("Subscribers would not be told that all rows are others. Take the tables out of the publications, and have them copied again afterwards; or force => true.")));
	if (pair->differ == NULL)
		return;
	found = ObstaclesToNames(old, new);
	if (found != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" cannot give its name to \"%s\"",
						get_rel_name(old), get_rel_name(new)),
				 errdetail_internal("These depend on it and cannot be moved:\n%s", listed(found)),
				 errhint("Drop them and create them again afterwards. Or make the two tables alike, so that storage is swapped: %s",
						 pair->differ)));
}

/* The rows of which its positions speak must be there. */
static void
check_rows(const Projection *projection)
{
	Relation	table = ProjectionOpenReadModel(projection, AccessShareLock);
	Positions	positions = PositionsRead(projection);

	TroubleRaise(TroubleOfTable(projection, table));
	TroubleRaise(TroubleOfPositions(projection, &positions, table));
	relation_close(table, NoLock);
}

/*
 * Everything that can be asked of the two: before anything is done, and again
 * under the locks.
 */
void
PairCheck(Pair *pair, bool force)
{
	check_one_table(pair->new);
	check_one_table(pair->old);
	check_rows(pair->new);
	if (!force)
	{
		check_parked(pair->new);
		check_rebuilt(pair->new);
	}
	pair->differ = TablesDiffer(pair->old->read_model, pair->new->read_model);
	check_obstacles(pair, force);
}
