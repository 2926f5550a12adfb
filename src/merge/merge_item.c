/*
 * merge_item.c
 *		All expressions of a definition are put over the item.
 *
 * Where an event is one item, or none, sub-selects and views are taken away:
 * each of their columns is replaced by the expression that it stands for, and
 * what their WHEREs say becomes the filter.  What is left are the stream's own
 * columns; those that are used are the item.
 *
 * Where the source multiplies events it stays a query, whose columns are the
 * item: merge_fanout.c.
 */
#include "postgres.h"

#include "compat.h"

#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "merge/merge_build.h"

/* Stands for the stream's columns until they have found their place. */
#define STREAM_VARNO	1

/* Applies a change to each expression of a Merge. */
static void
change_expressions(Merge *merge, Node *(*change) (Node *, void *), void *arg)
{
	ListCell   *cell;

	merge->filter = (Expr *) change((Node *) merge->filter, arg);
	for (int i = 0; i < merge->key.ncolumns; i++)
		merge->key.values[i] = (Expr *) change((Node *) merge->key.values[i],
											   arg);
	foreach(cell, merge->clauses)
	{
		MergeClause *clause = lfirst(cell);

		clause->condition = (Expr *) change((Node *) clause->condition, arg);
		clause->columns = (List *) change((Node *) clause->columns, arg);
	}
}

static Node *
flatten_joins(Node *node, void *query)
{
	if (node == NULL)
		return NULL;
	return compat_flatten_join_alias_vars((Query *) query, node);
}

typedef struct Columns
{
	MergeBuild *build;
	List	   *targets;		/* of TargetEntry: columns of the source */
} Columns;

static void
refuse_system_column(MergeBuild *build, const Var *var)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("system columns are not possible in a projection's definition"),
			 errdetail("They say where a row lies and who wrote it, which is not the same after a restore."),
			 errhint("Use the table's own columns."),
			 MergePlace(build, var->location)));
}

/* The place of a source's column among those that are used. */
static Var *
source_column(Columns *columns, const Var *var)
{
	TargetEntry *entry;
	ListCell   *cell;

	foreach(cell, columns->targets)
	{
		entry = lfirst(cell);
		if (((Var *) entry->expr)->varno == var->varno &&
			((Var *) entry->expr)->varattno == var->varattno)
			break;
	}
	if (cell == NULL)
	{
		RangeTblEntry *rte = rt_fetch(var->varno,
									  columns->build->query->rtable);

		entry = makeTargetEntry((Expr *) copyObject((Var *) var),
								list_length(columns->targets) + 1,
								var->varattno == 0 ?
								pstrdup(rte->eref->aliasname) :
								get_rte_attribute_name(rte, var->varattno),
								false);
		columns->targets = lappend(columns->targets, entry);
	}
	return makeVar(MERGE_ITEM, entry->resno, var->vartype, var->vartypmod,
				   var->varcollid, 0);
}

/* Columns of the statement become columns of the row, or of the source. */
static Node *
split_sides(Node *node, void *context)
{
	Columns    *columns = context;
	Var		   *var;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var))
		return expression_tree_mutator(node, split_sides, context);
	var = (Var *) node;
	if (var->varattno < 0)
		refuse_system_column(columns->build, var);
	if (var->varno != columns->build->target)
		return (Node *) source_column(columns, var);
	if (var->varattno > 0 &&
		compat_is_virtual(TupleDescAttr(RelationGetDescr(columns->build->read_model),
										var->varattno - 1)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("virtual generated columns are not possible in a projection's definition"),
				 errhint("Write the column's expression, or make it STORED."),
				 MergePlace(columns->build, var->location)));
	return (Node *) makeVar(MERGE_ROW, var->varattno, var->vartype,
							var->vartypmod, var->varcollid, 0);
}

/*
 * What a column of the stream becomes: column() of it, and a whole row the row
 * of all of those.
 */
Node *
MergeStreamRow(MergeBuild *build, const Var *var,
			   Node *(*column) (const Var *var))
{
	List	   *columns;
	RowExpr    *row;
	ListCell   *cell;

	if (var->varattno < 0)
		refuse_system_column(build, var);
	if (var->varattno > 0)
		return column(var);
	compat_expand_rte(build->stream, var->varno, var->location, &columns);
	foreach(cell, columns)
	{
		if (IsA(lfirst(cell), Var))
			lfirst(cell) = column(lfirst(cell));
	}
	row = makeNode(RowExpr);
	row->args = columns;
	row->row_typeid = var->vartype;
	row->row_format = COERCE_IMPLICIT_CAST;
	row->location = var->location;
	return (Node *) row;
}

static Node *
stream_column(const Var *var)
{
	return (Node *) makeVar(STREAM_VARNO, var->varattno, var->vartype,
							var->vartypmod, var->varcollid, 0);
}

static Node *
take_stream_column(CompatReplacedVar *var, replace_rte_variables_context *context)
{
	return MergeStreamRow(context->callback_arg, var, stream_column);
}

/*
 * The target list of a source that is one item an event, over the stream's
 * columns; what its WHEREs say goes into the filter.
 */
static List *
flatten(MergeBuild *build, Query *query)
{
	RangeTblRef *from = linitial_node(RangeTblRef, query->jointree->fromlist);
	RangeTblEntry *rte = rt_fetch(from->rtindex, query->rtable);
	List	   *both = list_make2(query->targetList, query->jointree->quals);

	if (rte->rtekind == RTE_SUBQUERY)
		both = (List *) compat_substitute((Node *) both, from->rtindex, rte,
										  flatten(build, rte->subquery));
	else
		both = (List *) replace_rte_variables((Node *) both, from->rtindex, 0,
											  take_stream_column, build, NULL);
	if (lsecond(both) != NULL)
	{
		Merge	   *merge = build->merge;

		merge->filter = (Expr *) make_and_qual((Node *) merge->filter,
											   lsecond(both));
	}
	return linitial(both);
}

static Node *
put_targets(Node *node, void *targets)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == MERGE_ITEM)
		return copyObject((Node *) get_tle_by_resno(targets,
													((Var *) node)->varattno)->expr);
	return expression_tree_mutator(node, put_targets, targets);
}

typedef struct Numbering
{
	Merge	   *merge;
	AttrNumber *places;			/* of the stream's columns, in an item */
} Numbering;

static Node *
number_columns(Node *node, void *context)
{
	Numbering  *numbering = context;
	Var		   *var = (Var *) node;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var) || var->varno != STREAM_VARNO)
		return expression_tree_mutator(node, number_columns, context);
	return (Node *) makeVar(MERGE_ITEM, numbering->places[var->varattno],
							var->vartype, var->vartypmod, var->varcollid, 0);
}

static Node *
collect_columns(Node *node, void *context)
{
	Numbering  *numbering = context;
	Var		   *var = (Var *) node;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && var->varno == STREAM_VARNO)
		numbering->merge->stream_columns =
			bms_add_member(numbering->merge->stream_columns, var->varattno);
	return expression_tree_mutator(node, collect_columns, context);
}

/* The stream's columns that are used are the item, in the table's order. */
static void
number_items(Merge *merge)
{
	Numbering	numbering = {merge,
	palloc0(sizeof(AttrNumber) * (MaxHeapAttributeNumber + 1))};
	int			column = -1;

	change_expressions(merge, collect_columns, &numbering);
	merge->item_columns = palloc0(sizeof(AttrNumber) *
								  (bms_num_members(merge->stream_columns) + 1));
	while ((column = bms_next_member(merge->stream_columns, column)) >= 0)
	{
		merge->item_columns[merge->item_width++] = column;
		numbering.places[column] = merge->item_width;
	}
	change_expressions(merge, number_columns, &numbering);
}

/* The source as a query of its own, whose columns are those that are used. */
static Query *
make_source(MergeBuild *build, List *targets)
{
	Query	   *source = makeNode(Query);

	source->commandType = CMD_SELECT;
	source->querySource = QSRC_ORIGINAL;
	source->canSetTag = true;
	source->rtable = build->query->rtable;
	source->jointree = makeFromExpr(build->query->jointree->fromlist, NULL);
	source->targetList = targets;
	source->hasSubLinks = build->query->hasSubLinks;
	return source;
}

static void
refuse_virtual_columns(const MergeBuild *build, Relation stream)
{
	int			column = -1;

	while ((column = bms_next_member(build->merge->stream_columns,
									 column)) >= 0)
	{
		Form_pg_attribute attribute =
			TupleDescAttr(RelationGetDescr(stream), column - 1);

		if (compat_is_virtual(attribute))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" of the stream is a virtual generated column",
							NameStr(attribute->attname)),
					 errhint("Write the column's expression, or make it STORED.")));
	}
}

void
MergeBuildItems(MergeBuild *build)
{
	Merge	   *merge = build->merge;
	Columns		columns = {build, NIL};
	Query	   *source;
	Relation	stream;

	change_expressions(merge, flatten_joins, build->query);
	change_expressions(merge, split_sides, &columns);
	source = make_source(build, columns.targets);
	if (build->multiplies)
	{
		merge->fan_out = MergeFanOut(build, source);
		merge->fan_out_columns = merge->stream_columns;
		merge->item_width = list_length(columns.targets);
	}
	else
	{
		change_expressions(merge, put_targets, flatten(build, source));
		number_items(merge);
	}
	stream = RelationIdGetRelation(merge->stream);
	refuse_virtual_columns(build, stream);
	RelationClose(stream);
}
