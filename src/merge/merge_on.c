/*
 * merge_on.c
 *		What ON compares: columns of the read model with values of the event.
 *
 * An event belongs to the row whose key equals the event's, so ON is a
 * conjunction of such comparisons and nothing else.  Whether they are those of
 * a unique index is merge_key.c's question.
 */
#include "postgres.h"

#include "compat.h"

#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "merge/merge_build.h"

void
MergeRefuseOn(const MergeBuild *build, const void *node, const char *detail,
			  const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 build->merge->upsert ?
			 errmsg("ON CONFLICT names no unique index of \"%s\" that can be a projection's key",
					RelationGetRelationName(build->read_model)) :
			 errmsg("ON must compare the columns of a unique index of \"%s\" with values of the event, and nothing else",
					RelationGetRelationName(build->read_model)),
			 errdetail("%s", detail),
			 errhint("%s", hint),
			 MergePlaceOf(build, node)));
}

static Node *
strip_relabels(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

static bool
find_row(Node *node, void *build)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == ((MergeBuild *) build)->target;
	return expression_tree_walker(node, find_row, build);
}

static bool
find_event(Node *node, void *build)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno != ((MergeBuild *) build)->target;
	return expression_tree_walker(node, find_event, build);
}

static bool
is_column(const MergeBuild *build, Node *side)
{
	Node	   *stripped = strip_relabels(side);

	return IsA(stripped, Var) && ((Var *) stripped)->varno == build->target;
}

/* A column of the read model beneath casts or in an expression. */
static AttrNumber
column_within(const MergeBuild *build, Node *side)
{
	List	   *vars = pull_var_clause(side, PVC_RECURSE_AGGREGATES |
									   PVC_RECURSE_WINDOWFUNCS |
									   PVC_RECURSE_PLACEHOLDERS);
	ListCell   *cell;

	foreach(cell, vars)
	{
		Var		   *var = lfirst(cell);

		if (var->varno == build->target && var->varattno > 0)
			return var->varattno;
	}
	return InvalidAttrNumber;
}

Form_pg_attribute
MergeColumn(const MergeBuild *build, AttrNumber column)
{
	return TupleDescAttr(RelationGetDescr(build->read_model), column - 1);
}

/* An expression without casts: those that nobody has written, or all. */
static Node *
without_casts(Node *node, bool explicit_too)
{
	for (;;)
	{
		CoercionForm form;
		Node	   *inner;

		if (IsA(node, RelabelType))
		{
			form = ((RelabelType *) node)->relabelformat;
			inner = (Node *) ((RelabelType *) node)->arg;
		}
		else if (IsA(node, CoerceViaIO))
		{
			form = ((CoerceViaIO *) node)->coerceformat;
			inner = (Node *) ((CoerceViaIO *) node)->arg;
		}
		else if (IsA(node, FuncExpr) && ((FuncExpr *) node)->args != NIL)
		{
			form = ((FuncExpr *) node)->funcformat;
			inner = linitial(((FuncExpr *) node)->args);
		}
		else
			return node;
		if (form != COERCE_IMPLICIT_CAST &&
			!(explicit_too && form == COERCE_EXPLICIT_CAST))
			return node;
		node = inner;
	}
}

/* "o.day = e.created_at::date": the comparison that would work. */
static char *
casted_comparison(const MergeBuild *build, AttrNumber column, Node *value)
{
	Form_pg_attribute form = MergeColumn(build, column);
	char	   *shown;

	value = without_casts(value, false);
	shown = MergeShowStatement(build, value);
	return psprintf(IsA(value, Var) ? "%s.%s = %s::%s" : "%s.%s = (%s)::%s",
					build->merge->row_name,
					quote_identifier(NameStr(form->attname)), shown,
					format_type_with_typemod(form->atttypid, -1));
}

/* An equality, but not of the column's type. */
void
MergeRefuseCast(const MergeBuild *build, const OpExpr *operation,
				AttrNumber column, Node *value, const char *detail)
{
	MergeRefuseOn(build, operation, detail,
				  psprintf("Cast the event's side to the column's type: %s.",
						   casted_comparison(build, column, value)));
}

/* Which side is which; what is wrong with one that is not as it must be. */
static void
refuse_sides(const MergeBuild *build, OpExpr *operation)
{
	Node	   *left = linitial(operation->args);
	Node	   *right = lsecond(operation->args);
	bool		left_row = find_row(left, (void *) build);
	bool		right_row = find_row(right, (void *) build);
	Node	   *side = left_row ? left : right;
	AttrNumber	column = column_within(build, side);

	if (left_row && right_row)
		MergeRefuseOn(build, operation, "Both sides use the read model.",
					  "Put conditions on the row into WHEN MATCHED AND ...");
	if (column != InvalidAttrNumber &&
		is_column(build, without_casts(side, true)))
		MergeRefuseCast(build, operation, column, left_row ? right : left,
						psprintf("The comparison is not of the column's type: column \"%s\" is cast to %s.",
								 MergeColumnName(build, column),
								 format_type_be(exprType(side))));
	MergeRefuseOn(build, operation,
				  "The read model's side is an expression, not a column.",
				  "Keep the expression's value in a column of its own, with a unique index.");
}

static void
refuse_filter(const MergeBuild *build, Node *node)
{
	MergeRefuseOn(build, node, "A condition does not touch the read model.",
				  psprintf("Put it into the WHEN clauses, as in WHEN MATCHED AND %s, or into the WHERE of a sub-select: USING (SELECT ... FROM ... WHERE ...) %s.",
						   MergeShowStatement(build, node), build->merge->item_name));
}

void
MergeRefuseInequality(const MergeBuild *build, Node *node)
{
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == OR_EXPR)
		MergeRefuseOn(build, node, "An event belongs to one key, so OR is not possible.",
					  "Use two projections, or a sub-select that gives one item for each key.");
	if (!find_row(node, (void *) build))
		refuse_filter(build, node);
	MergeRefuseOn(build, node, "A condition is not an equality.",
				  "Put conditions on the row into WHEN MATCHED AND ...");
}

static void
check_column(const MergeBuild *build, const MergeComparison *comparison)
{
	if (comparison->column <= 0)
		MergeRefuseOn(build, comparison->operation,
					  comparison->column == 0 ? "The whole row is compared." :
					  "A system column is compared.",
					  "Compare the columns of a unique index.");
	if (MergeColumn(build, comparison->column)->attgenerated != '\0')
		MergeRefuseOn(build, comparison->operation,
					  psprintf("Column \"%s\" is generated from others.",
							   MergeColumnName(build, comparison->column)),
					  "Use an ordinary column that INSERT sets to the event's value.");
	if (!find_event((Node *) comparison->value, (void *) build))
		MergeRefuseOn(build, comparison->operation,
					  psprintf("Column \"%s\" is compared with a constant.",
							   MergeColumnName(build, comparison->column)),
					  "Compare it with a value of the event; for one row over all events, select the constant in the source: USING (SELECT ..., 1 AS id FROM ...).");
}

static MergeComparison *
read_comparison(const MergeBuild *build, Node *node)
{
	MergeComparison *comparison = palloc0(sizeof(MergeComparison));
	OpExpr	   *operation = (OpExpr *) node;
	Node	   *left;
	Node	   *right;

	if (!IsA(node, OpExpr) || list_length(operation->args) != 2)
		MergeRefuseInequality(build, node);
	left = linitial(operation->args);
	right = lsecond(operation->args);
	if (!find_row(node, (void *) build))
		refuse_filter(build, node);
	comparison->operation = operation;
	comparison->operator = operation->opno;
	if (is_column(build, left) && !find_row(right, (void *) build))
	{
		comparison->column = ((Var *) strip_relabels(left))->varattno;
		comparison->value = (Expr *) right;
	}
	else if (is_column(build, right) && !find_row(left, (void *) build))
	{
		comparison->column = ((Var *) strip_relabels(right))->varattno;
		comparison->value = (Expr *) left;
		comparison->operator = get_commutator(operation->opno);
	}
	else
		refuse_sides(build, operation);
	check_column(build, comparison);
	return comparison;
}

/* The comparisons of a conjunction, beside those that are known already. */
List *
MergeReadOn(const MergeBuild *build, Node *node, List *known)
{
	ListCell   *cell;
	MergeComparison *comparison;

	if (is_andclause(node))
	{
		foreach(cell, ((BoolExpr *) node)->args)
			known = MergeReadOn(build, lfirst(cell), known);
		return known;
	}
	comparison = read_comparison(build, node);
	foreach(cell, known)
	{
		if (((MergeComparison *) lfirst(cell))->column == comparison->column)
			MergeRefuseOn(build, node,
						  psprintf("Column \"%s\" is compared twice.",
								   MergeColumnName(build, comparison->column)),
						  "Compare each column of the unique index once.");
	}
	return lappend(known, comparison);
}
