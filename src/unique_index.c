/*
 * unique_index.c
 *		The index that makes columns unique.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_am.h"
#include "nodes/pg_list.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "unique_index.h"

/*
 * Does the index order its columns as our scans expect: ascending, as their
 * types and collations have it, and are only the same texts equal?
 */
static bool
has_usual_order(Relation relation, Relation index, int nkeys)
{
	if (index->rd_rel->relam != BTREE_AM_OID)
		return false;
	for (int i = 0; i < nkeys; i++)
	{
		AttrNumber	column = index->rd_index->indkey.values[i];
		Form_pg_attribute attribute =
			TupleDescAttr(RelationGetDescr(relation), column - 1);
		Oid			collation = index->rd_indcollation[i];
		TypeCacheEntry *type = lookup_type_cache(attribute->atttypid,
												 TYPECACHE_BTREE_OPFAMILY);

		if (index->rd_indoption[i] != 0 ||
			index->rd_opfamily[i] != type->btree_opf ||
			collation != attribute->attcollation ||
			(OidIsValid(collation) && !get_collation_isdeterministic(collation)))
			return false;
	}
	return true;
}

/*
 * A valid unique index on exactly these columns, in this order, for all rows
 * and checked at once, with the usual order; InvalidOid if there is none.
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
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
			memcmp(form->indkey.values, keys, nkeys * sizeof(AttrNumber)) == 0 &&
			has_usual_order(relation, index, nkeys))
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(indexes);
	return found;
}
