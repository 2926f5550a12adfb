/*
 * merge_source.c
 *		What the source of a definition may do.
 *
 * It computes values out of one event, leaves events out, and may multiply an
 * event by what is in it.  All else needs other events, or another table, and
 * its result would depend on when it is asked for.
 *
 * Two kinds of sub-select are told apart.  One that the stream is in says what
 * an event is, and so must not group, sort out or limit events.  One that the
 * stream is not in is over the values of one event, and may do anything.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_proc.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

#include "merge/merge_build.h"

static void check_from(MergeBuild *build, Query *query, Node *item,
					   bool nullable);

static void
refuse(const MergeBuild *build, const char *what, const char *hint,
	   int location)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not possible in the source of a projection", what),
			 errdetail("A projection applies one event after the other, and knows no others."),
			 errhint("%s", hint),
			 MergePlace(build, location)));
}

/* A table in FROM, at any depth.  (A view's rule names the view besides.) */
static bool
reads_table_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && rte->inFromCl)
		{
			*(RangeTblEntry **) context = rte;
			return true;
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_table_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, reads_table_walker, context);
}

bool
MergeReadsTable(Query *query)
{
	RangeTblEntry *found;

	return reads_table_walker((Node *) query, &found);
}

/* The events themselves are not grouped, sorted out or limited. */
static void
check_features(MergeBuild *build, Query *query)
{
	Node	   *targets = (Node *) query->targetList;
	const char *one = "Event by event, write 1 for count(*) and the value itself for sum(value).";

	if (query->hasAggs)
		refuse(build, "an aggregate", one, locate_agg_of_level(targets, 0));
	if (query->groupClause != NIL || query->groupingSets != NIL ||
		query->havingQual != NULL)
		refuse(build, "GROUP BY", one, exprLocation(targets));
	if (query->hasWindowFuncs)
		refuse(build, "a window function",
			   "Keep what earlier events have left in a column of the read model.",
			   locate_windowfunc(targets));
	if (query->distinctClause != NIL)
		refuse(build, "DISTINCT",
			   "Let the read model's unique index tell what is known already, with WHEN MATCHED THEN DO NOTHING.",
			   exprLocation(targets));
	if (query->setOperations != NULL)
		refuse(build, "UNION, INTERSECT or EXCEPT",
			   "To make several items of an event: FROM stream e, LATERAL (VALUES (e.debit, -e.amount), (e.credit, e.amount)) AS i(account, change). For several streams, use a read model per stream, and a view that joins them.",
			   -1);
	if (query->limitCount != NULL || query->limitOffset != NULL)
		refuse(build, "LIMIT or OFFSET", "Use WHERE.",
			   exprLocation(query->limitCount ? query->limitCount :
							query->limitOffset));
	if (query->cteList != NIL)
		refuse(build, "WITH", "Write the sub-select itself.",
			   exprLocation(linitial(query->cteList)));
	if (query->rowMarks != NIL)
		refuse(build, "FOR UPDATE or FOR SHARE", "Leave it out.", -1);
	if (query->sortClause != NIL)
		build->sorted = get_sortgroupclause_expr(linitial(query->sortClause),
												 query->targetList);
	if (query->hasTargetSRFs)
	{
		build->multiplies = true;
		build->target_list_sets = true;
	}
}

static void
refuse_second_table(const MergeBuild *build, const RangeTblEntry *rte)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a projection reads one stream, and no other table"),
			 errdetail("Two tables have no common order, so what \"%s\" gives would depend on when it is read.",
					   rte->eref->aliasname),
			 errhint("Use a read model per stream, and a view that joins them."),
			 MergePlaceOfTable(build, rte->eref->aliasname)));
}

/* Sub-selects as values are over one event. */
static bool
check_sublinks_walker(Node *node, void *context)
{
	MergeBuild *build = context;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		RangeTblEntry *found;

		build->multiplies = true;
		if (reads_table_walker(((SubLink *) node)->subselect, &found))
			refuse_second_table(build, found);
		return false;
	}
	if (IsA(node, Query))
		return false;
	return expression_tree_walker(node, check_sublinks_walker, context);
}

/* Does it give exactly one row, whatever it reads? */
bool
MergeIsOneRow(const Query *query)
{
	return query->hasAggs && query->groupClause == NIL &&
		query->groupingSets == NIL && query->havingQual == NULL &&
		!query->hasTargetSRFs && query->setOperations == NULL;
}

/* A sub-select over one event's values, whose rows come in no known order. */
static bool
has_own_order(const Query *query)
{
	return query->hasAggs || query->hasTargetSRFs || query->hasWindowFuncs ||
		query->groupClause != NIL || query->groupingSets != NIL ||
		query->distinctClause != NIL || query->setOperations != NULL ||
		query->sortClause != NIL || query->limitCount != NULL ||
		query->limitOffset != NULL || query->cteList != NIL;
}

static void
check_query(MergeBuild *build, Query *query, bool nullable)
{
	check_features(build, query);
	check_from(build, query, (Node *) query->jointree, nullable);
	(void) query_tree_walker(query, check_sublinks_walker, build,
							 QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_JOINALIASES);
}

static void
check_subquery(MergeBuild *build, RangeTblEntry *rte, bool nullable)
{
	MergeCheckView(build, rte);
	if (MergeReadsTable(rte->subquery))
		check_query(build, rte->subquery, nullable);
	else if (MergeIsOneRow(rte->subquery))
		build->generators++;
	else if (has_own_order(rte->subquery))
	{
		build->generators++;
		build->unordered = "a sub-select that groups, sorts or limits";
	}
	else
	{
		check_from(build, rte->subquery, (Node *) rte->subquery->jointree,
				   nullable);
		build->generators++;
	}
}

static void
check_table(MergeBuild *build, Query *query, RangeTblEntry *rte, bool nullable)
{
	if (build->stream != NULL)
		refuse_second_table(build, rte);
	if (rte->tablesample != NULL)
		refuse(build, "TABLESAMPLE", "Leave it out.",
			   exprLocation(linitial(rte->tablesample->args)));
	if (nullable)
		refuse(build, "an outer join that makes the stream's columns null",
			   "Name the stream first, as in stream LEFT JOIN LATERAL function(...) ON true.",
			   -1);
	MergeCheckStream(build, query, rte);
	build->stream = rte;
}

static void
check_rte(MergeBuild *build, Query *query, RangeTblEntry *rte, bool nullable)
{
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			check_table(build, query, rte, nullable);
			return;
		case RTE_SUBQUERY:
			check_subquery(build, rte, nullable);
			return;
		case RTE_FUNCTION:
		case RTE_VALUES:
			build->generators++;
			return;
		case RTE_TABLEFUNC:
			build->generators++;
			build->unordered = "XMLTABLE or JSON_TABLE";
			return;
		case RTE_RESULT:
			return;
		default:
			refuse(build, "what is no table, view or function",
				   "Write the sub-select itself.", -1);
	}
}

/* An item of FROM; nullable: an outer join may make its columns null. */
static void
check_from(MergeBuild *build, Query *query, Node *item, bool nullable)
{
	if (IsA(item, RangeTblRef))
		check_rte(build, query, rt_fetch(((RangeTblRef *) item)->rtindex,
										 query->rtable), nullable);
	else if (IsA(item, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) item;

		check_from(build, query, join->larg, nullable ||
				   join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL);
		check_from(build, query, join->rarg, nullable ||
				   join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL);
	}
	else
	{
		ListCell   *cell;

		foreach(cell, castNode(FromExpr, item)->fromlist)
			check_from(build, query, lfirst(cell), nullable);
	}
}

static bool
is_volatile(Oid function, void *context)
{
	return func_volatile(function) == PROVOLATILE_VOLATILE;
}

typedef struct Volatile
{
	Oid			function;
	int			location;
} Volatile;

static bool
find_volatile(Node *node, void *context)
{
	Volatile   *found = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_volatile, context, 0);
	if (IsA(node, FuncExpr) && is_volatile(((FuncExpr *) node)->funcid, NULL))
	{
		found->function = ((FuncExpr *) node)->funcid;
		found->location = ((FuncExpr *) node)->location;
		return true;
	}
	if (check_functions_in_node(node, is_volatile, NULL))
	{
		found->location = exprLocation(node);
		return true;
	}
	return expression_tree_walker(node, find_volatile, context);
}

static void
refuse_volatile(MergeBuild *build, List *from)
{
	Volatile	found = {InvalidOid, -1};

	if (!range_table_walker(build->query->rtable, find_volatile, &found, 0) &&
		!find_volatile((Node *) from, &found))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 OidIsValid(found.function) ?
			 errmsg("function \"%s\" is not possible in the source of a projection",
					get_func_name(found.function)) :
			 errmsg("a volatile function is not possible in the source of a projection"),
			 errdetail("It is volatile: the same event would give another result each time."),
			 errhint("Use a column of the event."),
			 MergePlace(build, found.location)));
}

/* What several items of FROM give must have an order. */
static void
check_order(MergeBuild *build)
{
	const char *unordered = build->unordered;

	if (build->generators > 0)
		build->multiplies = true;
	if (build->sorted != NULL && !build->multiplies)
		refuse(build, "ORDER BY",
			   "Leave it out: events are applied in the order of their positions.",
			   exprLocation(build->sorted));
	if (build->generators + build->target_list_sets < 2)
		return;
	if (unordered == NULL && build->target_list_sets)
		unordered = "a set-returning function after SELECT";
	if (unordered == NULL && build->sorted != NULL)
		unordered = "an ORDER BY of your own";
	if (unordered != NULL)
		refuse(build, psprintf("%s beside another item of FROM", unordered),
			   "Use functions in FROM only: their results are applied in the order in which they come.",
			   -1);
}

/*
 * Check the source, and find the stream in it.
 */
void
MergeCheckSource(MergeBuild *build)
{
	List	   *from = build->query->jointree->fromlist;
	ListCell   *cell;

	foreach(cell, from)
		check_from(build, build->query, lfirst(cell), false);
	(void) check_sublinks_walker((Node *) from, build);
	(void) range_table_walker(build->query->rtable, check_sublinks_walker,
							  build, QTW_IGNORE_RT_SUBQUERIES |
							  QTW_IGNORE_JOINALIASES);
	if (build->stream == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the source of a projection must read a table of events"),
				 errhint("Name the table in USING or FROM.")));
	if (list_length(from) != 1 || !IsA(linitial(from), RangeTblRef))
		build->multiplies = true;
	refuse_volatile(build, from);
	check_order(build);
}
