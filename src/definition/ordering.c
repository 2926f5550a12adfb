/*
 * ordering.c
 *		Whether writers of a key wait for each other.
 *
 * Events of a key are applied in order of their numbers.  Where a transaction
 * may commit number 11 while number 10 of the same key is still open, nothing
 * above an open number may be applied.  It cannot happen where each event of
 * the key takes the next version of an aggregate, and a unique index holds
 * (aggregate, version): whoever writes version v + 1 has seen v, or waits for
 * who writes it.  So a key is proved to be an aggregate if the stream has a
 * unique index on columns that are all the key's, or held at one value by the
 * filter, but for the last one, an integer that is not the number itself.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "definition/ordering.h"

/* The stream's column that an expression over the item is; or 0. */
static AttrNumber
column_of(const Merge *merge, Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node == NULL || !IsA(node, Var) || ((Var *) node)->varno != MERGE_ITEM ||
		((Var *) node)->varattno < 1)
		return InvalidAttrNumber;
	return merge->item_columns[((Var *) node)->varattno - 1];
}

/* The column that a condition holds at one value; or 0. */
static AttrNumber
held_column(const Merge *merge, Node *condition)
{
	OpExpr	   *comparison = (OpExpr *) condition;
	Node	   *left;
	Node	   *right;

	if (!IsA(condition, OpExpr) || list_length(comparison->args) != 2 ||
		!op_mergejoinable(comparison->opno, exprType(linitial(comparison->args))))
		return InvalidAttrNumber;
	left = linitial(comparison->args);
	right = lsecond(comparison->args);
	if (IsA(right, Const))
		return column_of(merge, left);
	return IsA(left, Const) ? column_of(merge, right) : InvalidAttrNumber;
}

/* The columns that are the key's, or held at one value. */
static Bitmapset *
known_columns(const Merge *merge)
{
	Bitmapset  *columns = NULL;
	List	   *conditions = NIL;
	ListCell   *cell;

	if (merge->filter != NULL && is_andclause(merge->filter))
		conditions = ((BoolExpr *) merge->filter)->args;
	else if (merge->filter != NULL)
		conditions = list_make1(merge->filter);
	for (int i = 0; i < merge->key.ncolumns; i++)
		columns = bms_add_member(columns,
								 column_of(merge, (Node *) merge->key.values[i]));
	foreach(cell, conditions)
		columns = bms_add_member(columns, held_column(merge, lfirst(cell)));
	return columns;
}

/* Is this an index on (aggregate, version) of the key? */
static bool
is_of_versions(const Stream *stream, Relation index, const Bitmapset *known)
{
	Form_pg_index form = index->rd_index;
	TupleDesc	desc = RelationGetDescr(stream->relation);
	int			last = form->indnkeyatts - 1;
	AttrNumber	version = form->indkey.values[last];
	Oid			type;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid ||
		RelationGetIndexPredicate(index) != NIL || last < 1 || version < 1 ||
		version == stream->parts.position || bms_is_member(version, known))
		return false;
	type = TupleDescAttr(desc, version - 1)->atttypid;
	if (type != INT2OID && type != INT4OID && type != INT8OID)
		return false;
	for (int i = 0; i < last; i++)
	{
		if (form->indkey.values[i] < 1 ||
			!bms_is_member(form->indkey.values[i], known))
			return false;
	}
	return true;
}

/*
 * Is it proved, by an index of the stream, that writers of a key wait for each
 * other?  The stream is open.
 */
bool
OrderingProved(const Merge *merge, const Stream *stream)
{
	Bitmapset  *known;
	ListCell   *cell;
	bool		proved = false;

	if (merge->fan_out != NULL)
		return false;
	known = known_columns(merge);
	foreach(cell, RelationGetIndexList(stream->relation))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		proved = proved || is_of_versions(stream, index, known);
		index_close(index, AccessShareLock);
	}
	return proved;
}
