/*
 * merge_upsert.c
 *		INSERT ... SELECT ... ON CONFLICT, as a MERGE.
 *
 * The row that INSERT would make is what "excluded" names; its key columns are
 * the event's key.  Without such a row it is inserted; where there is one, DO
 * UPDATE is a WHEN MATCHED with the condition of its WHERE.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "catalog/pg_constraint.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "merge/merge_build.h"

static void
refuse(const MergeBuild *build, const char *what, const char *hint,
	   int location)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s", what),
			 errhint("%s", hint),
			 MergePlace(build, location)));
}

static int
conflict_location(const MergeBuild *build)
{
	return castNode(InsertStmt, build->raw)->onConflictClause->location;
}

/* Are the columns and what they are compared by those of the index? */
static bool
is_arbiter(const MergeBuild *build, Relation index, List *elements)
{
	ListCell   *cell;
	Bitmapset  *named = NULL;

	foreach(cell, elements)
	{
		InferenceElem *element = lfirst_node(InferenceElem, cell);
		AttrNumber	column = ((Var *) element->expr)->varattno;
		int			place = 0;

		while (place < index->rd_index->indnkeyatts &&
			   index->rd_index->indkey.values[place] != column)
			place++;
		if (place == index->rd_index->indnkeyatts ||
			(OidIsValid(element->infercollid) &&
			 element->infercollid != index->rd_indcollation[place]) ||
			(OidIsValid(element->inferopclass) &&
			 get_opclass_family(element->inferopclass) != index->rd_opfamily[place]))
			return false;
		named = bms_add_member(named, column);
	}
	return bms_num_members(named) == index->rd_index->indnkeyatts;
}

static void
check_elements(const MergeBuild *build, const OnConflictExpr *conflict)
{
	ListCell   *cell;

	foreach(cell, conflict->arbiterElems)
	{
		InferenceElem *element = lfirst_node(InferenceElem, cell);

		if (!IsA(element->expr, Var) || ((Var *) element->expr)->varattno <= 0)
			refuse(build, "ON CONFLICT must name columns in a projection",
				   "Use a unique index on columns, without expressions.",
				   exprLocation((Node *) element->expr));
	}
	if (conflict->arbiterWhere != NULL)
		refuse(build, "ON CONFLICT ... WHERE is not possible in a projection",
			   "Use a unique index without a predicate.",
			   exprLocation(conflict->arbiterWhere));
}

/* The unique index that ON CONFLICT means; count: how many there are. */
static Oid
find_index(const MergeBuild *build, const OnConflictExpr *conflict, int *count)
{
	List	   *indexes = RelationGetIndexList(build->read_model);
	Oid			wanted = OidIsValid(conflict->constraint) ?
		get_constraint_index(conflict->constraint) : InvalidOid;
	Oid			found = InvalidOid;
	ListCell   *cell;

	*count = 0;
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (MergeUsableIndex(index) &&
			(OidIsValid(wanted) ? RelationGetRelid(index) == wanted :
			 conflict->arbiterElems == NIL ||
			 is_arbiter(build, index, conflict->arbiterElems)))
		{
			(*count)++;
			if (!OidIsValid(found))
				found = RelationGetRelid(index);
		}
		index_close(index, AccessShareLock);
	}
	return found;
}

static Oid
choose_index(const MergeBuild *build, const OnConflictExpr *conflict)
{
	int			count;
	Oid			index;

	check_elements(build, conflict);
	index = find_index(build, conflict, &count);
	if (!OidIsValid(index))
		refuse(build,
			   psprintf("ON CONFLICT must name the columns of a unique index of \"%s\"",
						RelationGetRelationName(build->read_model)),
			   "The index must be valid, immediate, and without predicate or expressions: CREATE UNIQUE INDEX ON table (columns).",
			   conflict_location(build));
	if (conflict->arbiterElems == NIL && !OidIsValid(conflict->constraint) &&
		count > 1)
		refuse(build, "ON CONFLICT must say which columns are the key",
			   "There are several unique indexes: write ON CONFLICT (columns) DO NOTHING.",
			   conflict_location(build));
	return index;
}

static void
set_key(MergeBuild *build, Oid indexid, List *targets)
{
	MergeKey   *key = &build->merge->key;
	Relation	index = index_open(indexid, AccessShareLock);

	MergeKeyFromIndex(build, index);
	for (int i = 0; i < key->ncolumns; i++)
	{
		TargetEntry *entry = get_tle_by_resno(targets, key->columns[i]);

		if (entry == NULL ||
			!contain_vars_of_level((Node *) entry->expr, 0))
			refuse(build,
				   psprintf("INSERT must set the key column \"%s\" to a value of the event",
							MergeColumnName(build, key->columns[i])),
				   "Name the column, and select its value from the event.",
				   entry ? exprLocation((Node *) entry->expr) : conflict_location(build));
		key->values[i] = copyObject(entry->expr);
	}
	index_close(index, AccessShareLock);
}

typedef struct Excluded
{
	MergeBuild *build;
	Index		varno;
	List	   *targets;
	Bitmapset  *listed;
} Excluded;

static Node *
excluded_column(const Excluded *excluded, const Var *var)
{
	TargetEntry *entry = get_tle_by_resno(excluded->targets, var->varattno);

	if (var->varattno <= 0 ||
		TupleDescAttr(RelationGetDescr(excluded->build->read_model),
					  var->varattno - 1)->attgenerated != '\0')
		refuse(excluded->build,
			   "only ordinary columns of excluded can be used in a projection",
			   "Use the event's values instead.", var->location);
	if (entry == NULL)
		return (Node *) makeNullConst(var->vartype, var->vartypmod,
									  var->varcollid);
	if (!bms_is_member(var->varattno, excluded->listed) &&
		contain_mutable_functions((Node *) entry->expr))
		refuse(excluded->build,
			   psprintf("excluded.%s is a default that is another each time",
						MergeColumnName(excluded->build, var->varattno)),
			   "Select the column's value from the event.", var->location);
	return copyObject((Node *) entry->expr);
}

static Node *
replace_excluded(Node *node, void *context)
{
	Excluded   *excluded = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == excluded->varno)
		return excluded_column(excluded, (Var *) node);
	return expression_tree_mutator(node, replace_excluded, context);
}

static MergeClause *
add_clause(MergeBuild *build, bool matched, MergeActionKind action,
		   int location)
{
	MergeClause *clause = palloc0(sizeof(MergeClause));

	clause->matched = matched;
	clause->action = action;
	clause->location = location;
	build->merge->clauses = lappend(build->merge->clauses, clause);
	return clause;
}

static void
add_update(MergeBuild *build, OnConflictExpr *conflict, Excluded *excluded)
{
	MergeClause *clause = add_clause(build, true, MERGE_DO_UPDATE,
									 conflict_location(build));

	MergeRefuseSubselects(build, conflict->onConflictSet);
	MergeRefuseSubselects(build, conflict->onConflictWhere);
	clause->listed = MergeColumnsListed(conflict->onConflictSet);
	clause->condition = (Expr *) replace_excluded(conflict->onConflictWhere,
												  excluded);
	clause->columns = conflict->onConflictSet;
	MergeCheckUpdate(build, clause);
	clause->columns = (List *) replace_excluded((Node *) clause->columns,
												excluded);
}

void
MergeBuildUpsert(MergeBuild *build)
{
	Query	   *query = build->query;
	OnConflictExpr *conflict = query->onConflict;
	MergeClause *insert;
	Excluded	excluded = {build, conflict->exclRelIndex, query->targetList,
	MergeColumnsListed(build->merge->analysed->targetList)};

	build->merge->upsert = true;
	set_key(build, choose_index(build, conflict), query->targetList);
	insert = add_clause(build, false, MERGE_DO_INSERT, 0);
	insert->listed = excluded.listed;
	MergeCompleteInsert(build, insert, query->targetList);
	if (conflict->action == ONCONFLICT_UPDATE)
		add_update(build, conflict, &excluded);
	if (conflict->action == ONCONFLICT_NOTHING ||
		conflict->onConflictWhere != NULL)
		(void) add_clause(build, true, MERGE_DO_NOTHING,
						  conflict_location(build));
}
