/*
 * statement_columns.c
 *		Which columns of "events" a statement uses.
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "merge/merge_build.h"
#include "merge/statement.h"

typedef struct Columns
{
	Oid			stream;
	List	   *queries;		/* those that we are in, the innermost first */
	Bitmapset  *used;
	bool		found;			/* somebody reads events */
} Columns;

static bool walk(Node *node, Columns *columns);

static void
add_all(Columns *columns)
{
	for (AttrNumber column = 1;
		 get_attname(columns->stream, column, true) != NULL;
		 column++)
	{
		if (OidIsValid(get_atttype(columns->stream, column)))
			columns->used = bms_add_member(columns->used, column);
	}
}

/* A column of a join is one of the tables that it joins. */
static void
add_joined(Columns *columns, RangeTblEntry *join, Var *var)
{
	List	   *queries = columns->queries;

	/* what it stands for is seen from the join's own query */
	columns->queries = list_copy_tail(queries, var->varlevelsup);
	if (var->varattno > 0)
		(void) walk(list_nth(join->joinaliasvars, var->varattno - 1), columns);
	else
		(void) walk((Node *) join->joinaliasvars, columns);
	columns->queries = queries;
}

static void
add_var(Columns *columns, Var *var)
{
	Query	   *query;
	RangeTblEntry *entry;

	if (var->varlevelsup >= list_length(columns->queries))
		return;
	query = list_nth_node(Query, columns->queries, var->varlevelsup);
	if (var->varno < 1 || var->varno > list_length(query->rtable))
		return;
	entry = list_nth_node(RangeTblEntry, query->rtable, var->varno - 1);
	if (entry->rtekind == RTE_JOIN)
		add_joined(columns, entry, var);
	else if (entry->rtekind == RTE_NAMEDTUPLESTORE && var->varattno > 0)
		columns->used = bms_add_member(columns->used, var->varattno);
	else if (entry->rtekind == RTE_NAMEDTUPLESTORE)
		add_all(columns);
}

static void
walk_query(Columns *columns, Query *query)
{
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		if (lfirst_node(RangeTblEntry, cell)->rtekind == RTE_NAMEDTUPLESTORE)
			columns->found = true;
	}
	columns->queries = lcons(query, columns->queries);
	(void) query_tree_walker(query, walk, columns, QTW_IGNORE_JOINALIASES);
	columns->queries = list_delete_first(columns->queries);
}

static bool
walk(Node *node, Columns *columns)
{
	check_stack_depth();
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		walk_query(columns, (Query *) node);
		return false;
	}
	if (IsA(node, Var))
		add_var(columns, (Var *) node);
	return expression_tree_walker(node, walk, columns);
}

/* By number; *found: does the statement read events at all? */
Bitmapset *
StatementColumns(const Merge *merge, bool *found)
{
	Columns		columns = {.stream = merge->stream};

	(void) walk((Node *) merge->analysed, &columns);
	*found = columns.found;
	return columns.used;
}
