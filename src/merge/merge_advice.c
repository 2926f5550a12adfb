/*
 * merge_advice.c
 *		What the conditions of a definition say when they are put together.
 *
 * Which expression they test, as a rule the event's type: by it a projection
 * can say which events nobody handles, and choose a WHEN without trying each.
 * And what is allowed, but looks like a mistake.
 */
#include "postgres.h"

#include "compat.h"

#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "merge/merge_build.h"

/* A literal, maybe with a cast. */
static bool
is_constant(Node *node)
{
	return !contain_var_clause(node) && !contain_mutable_functions(node);
}

static bool
uses_row(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == MERGE_ROW;
	return expression_tree_walker(node, uses_row, context);
}

static bool
uses_item(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == MERGE_ITEM;
	return expression_tree_walker(node, uses_item, context);
}

static bool
is_equality(Oid operator, const void *operand)
{
	return op_mergejoinable(operator, exprType(operand)) ||
		op_hashjoinable(operator, exprType(operand));
}

/* The expression over the item that is compared with a constant, or NULL. */
static Expr *
compared(List *args, Oid operator)
{
	Node	   *value = linitial(args);

	if (is_constant(value))
		value = lsecond(args);
	else if (!is_constant(lsecond(args)))
		return NULL;
	if (!uses_item(value, NULL) || uses_row(value, NULL) ||
		!is_equality(operator, value))
		return NULL;
	while (IsA(value, RelabelType))
		value = (Node *) ((RelabelType *) value)->arg;
	return (Expr *) value;
}

/* All expressions that a condition compares with constants by equality. */
static bool
collect_compared(Node *node, void *context)
{
	List	  **found = context;
	Expr	   *value = NULL;

	if (node == NULL)
		return false;
	if (IsA(node, OpExpr) && list_length(((OpExpr *) node)->args) == 2)
		value = compared(((OpExpr *) node)->args, ((OpExpr *) node)->opno);
	else if (IsA(node, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) node)->useOr)
		value = compared(((ScalarArrayOpExpr *) node)->args,
						 ((ScalarArrayOpExpr *) node)->opno);
	else if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR)
		return expression_tree_walker(node, collect_compared, context);
	if (value != NULL)
		*found = list_append_unique(*found, value);
	return false;
}

static List *
compared_in(const MergeClause *clause)
{
	List	   *found = NIL;

	(void) collect_compared((Node *) clause->condition, &found);
	return found;
}

/* The expression that most conditions test; the first one of equals. */
static Expr *
find_tested(Merge *merge)
{
	Expr	   *best = NULL;
	int			best_count = 0;
	ListCell   *cell;
	ListCell   *inner;
	ListCell   *other;

	foreach(cell, merge->clauses)
	{
		foreach(inner, compared_in(lfirst(cell)))
		{
			int			count = 0;

			foreach(other, merge->clauses)
				count += list_member(compared_in(lfirst(other)), lfirst(inner));
			if (count > best_count)
			{
				best = lfirst(inner);
				best_count = count;
			}
		}
	}
	return best;
}

static void
notice(Merge *merge, char *words)
{
	merge->notices = lappend(merge->notices, words);
}

static List *
conjuncts(Expr *condition)
{
	List	   *flat = NIL;
	ListCell   *cell;

	foreach(cell, make_ands_implicit(condition))
	{
		if (is_andclause(lfirst(cell)))
			flat = list_concat(flat, conjuncts(lfirst(cell)));
		else
			flat = lappend(flat, lfirst(cell));
	}
	return flat;
}

/* Does the earlier WHEN hold whenever the later one does? */
static bool
hides(const MergeClause *earlier, const MergeClause *later)
{
	return earlier->matched == later->matched &&
		list_difference(conjuncts(earlier->condition),
						conjuncts(later->condition)) == NIL;
}

static void
notice_hidden(Merge *merge)
{
	for (int later = 1; later < list_length(merge->clauses); later++)
	{
		for (int earlier = 0; earlier < later; earlier++)
		{
			if (!hides(list_nth(merge->clauses, earlier),
					   list_nth(merge->clauses, later)))
				continue;
			notice(merge, psprintf("WHEN clause %d never applies: clause %d holds whenever it does, and comes first",
								   later + 1, earlier + 1));
			break;
		}
	}
}

static bool
contains(Node *node, void *expression)
{
	if (node == NULL)
		return false;
	if (equal(node, expression))
		return true;
	return expression_tree_walker(node, contains, expression);
}

/* Only a clause that does something can surprise. */
static void
notice_untested(Merge *merge)
{
	int			tested = 0;
	int			number = 0;
	ListCell   *cell;

	foreach(cell, merge->clauses)
		tested += list_member(compared_in(lfirst(cell)), merge->tested);
	if (merge->tested == NULL || merge->upsert || tested < 2)
		return;
	foreach(cell, merge->clauses)
	{
		const MergeClause *clause = lfirst(cell);

		number++;
		if (clause->action != MERGE_DO_NOTHING &&
			!contains((Node *) clause->condition, merge->tested))
			notice(merge, psprintf("WHEN clause %d applies to events of any type: it does not test %s, as others do",
								   number, MergeShow(merge, merge->tested)));
	}
}

void
MergeAdvise(MergeBuild *build)
{
	Merge	   *merge = build->merge;

	merge->tested = find_tested(merge);
	notice_hidden(merge);
	notice_untested(merge);
}
