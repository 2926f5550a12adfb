/*
 * unique_index.c
 *		The index that makes columns unique.
 */
#include "postgres.h"

#include "access/genam.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"

#include "unique_index.h"

/*
 * A valid unique index on exactly these columns, in this order, for all rows
 * and checked at once; InvalidOid if there is none.
 */
Oid
UniqueIndexOn(Relation relation, int nkeys, const AttrNumber *keys)
{
	List	   *indexes = RelationGetIndexList(relation);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisunique && form->indisvalid && form->indimmediate &&
			form->indnkeyatts == nkeys &&
			RelationGetIndexPredicate(index) == NIL &&
			memcmp(form->indkey.values, keys, nkeys * sizeof(AttrNumber)) == 0)
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(indexes);
	return found;
}
