/*
 * merge_fanout.c
 *		A source that multiplies events becomes a query over one event.
 *
 * The stream's table is taken out of the query; its columns become parameters.
 *
 * The items of an event come in the order in which the source writes them
 * down: for each row of the first item of FROM, those of the second, and so
 * on.  With one item beside the stream no plan can change that.  With several
 * the planner may turn them round; so each gets an ordinal number, and the
 * query sorts by these.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "parser/parse_oper.h"
#include "rewrite/rewriteManip.h"

#include "merge/merge_build.h"

static Node *
stream_parameter(const Var *var)
{
	Param	   *param = makeNode(Param);

	param->paramkind = PARAM_EXTERN;
	param->paramid = var->varattno;
	param->paramtype = var->vartype;
	param->paramtypmod = var->vartypmod;
	param->paramcollid = var->varcollid;
	param->location = var->location;
	return (Node *) param;
}

static bool
collect_parameters(Node *node, void *merge)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
		((Merge *) merge)->stream_columns =
			bms_add_member(((Merge *) merge)->stream_columns,
						   ((Param *) node)->paramid);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_parameters, merge, 0);
	return expression_tree_walker(node, collect_parameters, merge);
}

static Node *
take_stream_column(CompatReplacedVar *var, replace_rte_variables_context *context)
{
	return MergeStreamRow(context->callback_arg, var, stream_parameter);
}

static int
find_rte(List *rtable, const RangeTblEntry *rte)
{
	int			place = 1;
	ListCell   *cell;

	foreach(cell, rtable)
	{
		if (lfirst(cell) == rte)
			return place;
		place++;
	}
	return 0;
}

/* Relations go; what a view was is a sub-select like any other. */
static void
forget_relation(Query *query, RangeTblEntry *rte)
{
	compat_forget_rights(query, rte);
	if (rte->rtekind == RTE_RELATION)
	{
		rte->rtekind = RTE_RESULT;
		rte->inh = false;
		rte->lateral = false;
	}
	rte->relid = InvalidOid;
	rte->relkind = '\0';
	rte->rellockmode = 0;
}

/*
 * The stream's columns become parameters, where it is and in the sub-selects
 * below.
 */
static Query *
take_stream_out(MergeBuild *build, Query *query)
{
	int			place = find_rte(query->rtable, build->stream);
	ListCell   *cell;

	if (place > 0)
		return (Query *) replace_rte_variables((Node *) query, place, 0,
											   take_stream_column, build, NULL);
	foreach(cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst(cell);

		if (rte->rtekind == RTE_SUBQUERY)
			rte->subquery = take_stream_out(build, rte->subquery);
	}
	return query;
}

static bool
forget_relations_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *cell;

		(void) query_tree_walker(query, forget_relations_walker, context, 0);
		foreach(cell, query->rtable)
			forget_relation(query, lfirst(cell));
		compat_forget_all_rights(query);
		return false;
	}
	return expression_tree_walker(node, forget_relations_walker, context);
}

typedef struct WholeRow
{
	int			varno;
	int			depth;
} WholeRow;

static bool
find_whole_row(Node *node, void *context)
{
	WholeRow   *sought = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == sought->varno &&
			((Var *) node)->varattno == 0 &&
			((Var *) node)->varlevelsup == sought->depth;
	if (IsA(node, Query))
	{
		bool		found;

		sought->depth++;
		found = query_tree_walker((Query *) node, find_whole_row, context, 0);
		sought->depth--;
		return found;
	}
	return expression_tree_walker(node, find_whole_row, context);
}

/* Its row would get one more column. */
static void
refuse_whole_row(MergeBuild *build, Query *query, int place)
{
	WholeRow	sought = {place, 0};

	if (!query_tree_walker(query, find_whole_row, &sought, 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("\"%s\" is used as a whole row, beside another item of FROM",
					rt_fetch(place, query->rtable)->eref->aliasname),
			 errhint("Name its columns, or add WITH ORDINALITY to the function.")));
}

static void
name_ordinal(RangeTblEntry *rte)
{
	rte->eref->colnames = lappend(rte->eref->colnames,
								  makeString(pstrdup("ordinality")));
}

/* The place of a function's ordinality among its columns. */
static AttrNumber
number_function(MergeBuild *build, Query *query, int place)
{
	RangeTblEntry *rte = rt_fetch(place, query->rtable);
	int			columns = 0;
	ListCell   *cell;

	foreach(cell, rte->functions)
		columns += ((RangeTblFunction *) lfirst(cell))->funccolcount;
	if (!rte->funcordinality)
	{
		refuse_whole_row(build, query, place);
		rte->funcordinality = true;
		name_ordinal(rte);
	}
	return columns + 1;
}

static AttrNumber
number_values(MergeBuild *build, Query *query, int place)
{
	RangeTblEntry *rte = rt_fetch(place, query->rtable);
	int64		number = 0;
	ListCell   *cell;

	refuse_whole_row(build, query, place);
	foreach(cell, rte->values_lists)
		lfirst(cell) = lappend(lfirst(cell),
							   makeConst(INT8OID, -1, InvalidOid, sizeof(int64),
										 Int64GetDatum(++number), false,
										 FLOAT8PASSBYVAL));
	rte->coltypes = lappend_oid(rte->coltypes, INT8OID);
	rte->coltypmods = lappend_int(rte->coltypmods, -1);
	rte->colcollations = lappend_oid(rte->colcollations, InvalidOid);
	name_ordinal(rte);
	return list_length(rte->coltypes);
}

static List *number_from(MergeBuild *build, Query *query, Node *item,
						 Bitmapset *nulling);

static Var *
ordinal(int place, AttrNumber column, Bitmapset *nulling)
{
	Var		   *var = makeVar(place, column, INT8OID, -1, InvalidOid, 0);

	compat_set_nulling_joins(var, bms_copy(nulling));
	return var;
}

/* A sub-select hands its ordinals out as columns. */
static List *
number_subquery(MergeBuild *build, Query *query, int place, Bitmapset *nulling)
{
	RangeTblEntry *rte = rt_fetch(place, query->rtable);
	Query	   *subquery = rte->subquery;
	List	   *ordinals = NIL;
	List	   *result = NIL;
	ListCell   *cell;

	if (!MergeIsOneRow(subquery))
		ordinals = number_from(build, subquery, (Node *) subquery->jointree,
							   NULL);
	if (ordinals != NIL)
		refuse_whole_row(build, query, place);
	foreach(cell, ordinals)
	{
		AttrNumber	column = list_length(subquery->targetList) + 1;

		subquery->targetList =
			lappend(subquery->targetList,
					makeTargetEntry(lfirst(cell), column,
									pstrdup("ordinality"), false));
		name_ordinal(rte);
		result = lappend(result, ordinal(place, column, nulling));
	}
	return result;
}

static List *
number_rte(MergeBuild *build, Query *query, int place, Bitmapset *nulling)
{
	switch (rt_fetch(place, query->rtable)->rtekind)
	{
		case RTE_FUNCTION:
			return list_make1(ordinal(place,
									  number_function(build, query, place),
									  nulling));
		case RTE_VALUES:
			return list_make1(ordinal(place,
									  number_values(build, query, place),
									  nulling));
		case RTE_SUBQUERY:
			return number_subquery(build, query, place, nulling);
		default:
			return NIL;
	}
}

/* The ordinals of FROM's items, the first that counts first. */
static List *
number_from(MergeBuild *build, Query *query, Node *item, Bitmapset *nulling)
{
	List	   *result = NIL;
	ListCell   *cell;

	if (IsA(item, RangeTblRef))
		return number_rte(build, query, ((RangeTblRef *) item)->rtindex,
						  nulling);
	if (IsA(item, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) item;
		Bitmapset  *outer = bms_add_member(bms_copy(nulling), join->rtindex);
		bool		left = join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL;
		bool		right = join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL;

		return list_concat(number_from(build, query, join->larg,
									   left ? outer : nulling),
						   number_from(build, query, join->rarg,
									   right ? outer : nulling));
	}
	foreach(cell, castNode(FromExpr, item)->fromlist)
		result = list_concat(result, number_from(build, query, lfirst(cell),
												 nulling));
	return result;
}

static void
sort_by(Query *query, List *ordinals)
{
	Index		reference = 0;
	ListCell   *cell;

	foreach(cell, ordinals)
	{
		TargetEntry *entry = makeTargetEntry(lfirst(cell),
											 list_length(query->targetList) + 1,
											 pstrdup("ordinality"), true);
		SortGroupClause *sort = makeNode(SortGroupClause);

		get_sort_group_operators(INT8OID, true, true, false, &sort->sortop,
								 &sort->eqop, NULL, &sort->hashable);
		entry->ressortgroupref = ++reference;
		sort->tleSortGroupRef = reference;
		query->targetList = lappend(query->targetList, entry);
		query->sortClause = lappend(query->sortClause, sort);
	}
}

/*
 * The query that gives an event's items, of the source.
 */
Query *
MergeFanOut(MergeBuild *build, Query *source)
{
	/* the read model is in the range table as well, and not in FROM */
	source = take_stream_out(build, source);
	(void) forget_relations_walker((Node *) source, NULL);
	if (build->generators > 1)
		sort_by(source, number_from(build, source, (Node *) source->jointree,
									NULL));
	(void) collect_parameters((Node *) source, build->merge);
	return source;
}
