/*
 * positions.c
 *		Positions as views show them.
 *
 * For views: what is damaged is left out, as the status tells of it.  All that
 * a statement shows is under its snapshot.
 */
#include "postgres.h"

#include "compat.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "numberset.h"
#include "position/lanes.h"
#include "position/oldgaps.h"

SQL_FUNCTION(projection_positions);
SQL_FUNCTION(projection_gaps);

/* The positions of this projection; false if there are none to be read. */
static bool
find_positions(const char *name, Projection **projection, Positions *positions)
{
	*projection = ProjectionFind(name);
	return *projection != NULL && (*projection)->damage == NULL &&
		PositionsFind(*projection, GetActiveSnapshot(), positions) == NULL;
}

/* wallet_projection.positions(projection): head and gaps of each partition */
Datum
projection_positions(PG_FUNCTION_ARGS)
{
	enum
	{
		PARTITION, HEAD, MISSING, COLUMNS
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Projection *projection;
	Positions	positions;

	compat_InitMaterializedSRF(fcinfo);
	if (!find_positions(text_to_cstring(PG_GETARG_TEXT_PP(0)), &projection,
						&positions))
		return (Datum) 0;
	for (int i = 0; i < projection->partitions; i++)
	{
		const PositionSet *set = PositionOfPartition(&positions, i);
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS] = {0};

		if (set == NULL)
			continue;
		values[PARTITION] = Int32GetDatum(i);
		values[HEAD] = Int64GetDatum(set->position.head);
		values[MISSING] = Int64GetDatum(PositionSetSize(set));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* wallet_projection.gaps(projection, partition): the gaps of a partition */
Datum
projection_gaps(PG_FUNCTION_ARGS)
{
	Projection *projection;
	Positions	positions;
	int			partition = PG_GETARG_INT32(1);
	const PositionSet *set = NULL;
	NumberSet	gaps;

	if (find_positions(text_to_cstring(PG_GETARG_TEXT_PP(0)), &projection,
					   &positions) &&
		partition >= 0 && partition < projection->partitions)
		set = PositionOfPartition(&positions, partition);
	if (set == NULL || !OldGapsFind(projection, GetActiveSnapshot(), set, &gaps))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(NumberSetToDatum(&gaps));
}
