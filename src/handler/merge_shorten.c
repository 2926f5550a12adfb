/*
 * merge_shorten.c
 *		What makes an action cheap: less to evaluate, same results.
 *
 * Most conditions compare the event's type with a constant: that is done
 * without the executor, by bytes, where equal values have equal bytes.
 *
 * What an action needs of the item is computed once, before its columns, if
 * several of them need it, or if it is a number under a key of a jsonb value,
 * (payload->>'key')::numeric, which is taken from there without making text
 * of it.  All of these are computed by any action that is chosen: nothing is
 * taken out of a CASE or the like, which may be there to prevent an error.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "amount.h"
#include "handler/merge_state.h"

/* A part of an action's expressions that may be computed before them. */
typedef struct Part
{
	Expr	   *expr;
	int			count;			/* how often it occurs */
	bool		is_number;		/* of a jsonb value */
} Part;

typedef struct FindParts
{
	List	   *parts;
} FindParts;

/* A column of the item, whatever text type it is called; or NULL. */
static Var *
item_column(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node == NULL || !IsA(node, Var) ||
		((Var *) node)->varno != MERGE_ITEM || ((Var *) node)->varattno <= 0)
		return NULL;
	return (Var *) node;
}

/* The item's value, from 0, that an expression is; or -1. */
int
MergeItemColumn(const Expr *expr)
{
	const Var  *var = (const Var *) expr;

	/* the same bytes under another type's name */
	while (IsA(var, RelabelType))
		var = (const Var *) ((const RelabelType *) var)->arg;
	if (!IsA(var, Var) || var->varno != MERGE_ITEM || var->varattno <= 0)
		return -1;
	return var->varattno - 1;
}

/* Is it column = constant, where equal means of equal bytes? */
static bool
test_of(Node *node, RunTest *test)
{
	OpExpr	   *op = (OpExpr *) node;
	Var		   *column;
	Const	   *constant;

	if (!IsA(node, OpExpr) || list_length(op->args) != 2)
		return false;
	column = item_column(linitial(op->args));
	constant = lsecond(op->args);
	if (column == NULL)
	{
		column = item_column(lsecond(op->args));
		constant = linitial(op->args);
	}
	if (column == NULL || !IsA(constant, Const) || constant->constisnull)
		return false;
	switch (op->opfuncid)
	{
		case F_TEXTEQ:
			if (!OidIsValid(op->inputcollid) ||
				!get_collation_isdeterministic(op->inputcollid))
				return false;
			test->text = DatumGetTextPP(constant->constvalue);
			break;
		case F_INT2EQ:
		case F_INT4EQ:
		case F_INT8EQ:
		case F_ENUM_EQ:
			if (!constant->constbyval)
				return false;
			test->text = NULL;
			break;
		default:
			return false;
	}
	test->at = column->varattno - 1;
	test->value = constant->constvalue;
	return true;
}

/* Take the first such comparison out of a clause's condition. */
void
MergeTakeTest(RunClause *clause)
{
	List	   *all;
	ListCell   *lc;

	clause->test.at = -1;
	if (clause->condition == NULL)
		return;
	all = make_ands_implicit(clause->condition);
	foreach(lc, all)
	{
		if (!test_of(lfirst(lc), &clause->test))
			continue;
		all = foreach_delete_current(all, lc);
		clause->condition = all == NIL ? NULL : make_ands_explicit(all);
		return;
	}
}

/*
 * Take such a comparison out of a condition where it comes first; returns the
 * rest, or NULL.
 */
Expr *
MergeTakeFirstTest(Expr *condition, RunTest *test)
{
	List	   *all = make_ands_implicit(condition);

	test->at = -1;
	if (all == NIL || !test_of(linitial(all), test))
		return condition;
	all = list_delete_first(all);
	return all == NIL ? NULL : make_ands_explicit(all);
}

/* Are these values of an item, none of them toasted, what the clause is for? */
bool
MergeTestHolds(const RunTest *test, const Datum *values, const bool *nulls)
{
	const text *value;
	Size		size;

	if (nulls[test->at])
		return false;
	if (test->text == NULL)
		return values[test->at] == test->value;
	value = (const text *) DatumGetPointer(values[test->at]);
	size = VARSIZE_ANY_EXHDR(value);
	return size == VARSIZE_ANY_EXHDR(test->text) &&
		memcmp(VARDATA_ANY(value), VARDATA_ANY(test->text), size) == 0;
}

/* Is it (column ->> 'key')::numeric, ::bigint or ::int? */
static bool
number_of(Node *node, RunPart *part)
{
	CoerceViaIO *coerce = (CoerceViaIO *) node;
	OpExpr	   *op;
	Var		   *column;
	Const	   *key;

	if (!IsA(node, CoerceViaIO) ||
		(coerce->resulttype != NUMERICOID && coerce->resulttype != INT8OID &&
		 coerce->resulttype != INT4OID))
		return false;
	op = (OpExpr *) coerce->arg;
	if (!IsA(op, OpExpr) || op->opfuncid != F_JSONB_OBJECT_FIELD_TEXT)
		return false;
	column = item_column(linitial(op->args));
	key = lsecond(op->args);
	if (column == NULL || !IsA(key, Const) || key->constisnull)
		return false;
	part->json = column->varattno - 1;
	part->key = text_to_cstring(DatumGetTextPP(key->constvalue));
	part->key_length = strlen(part->key);
	part->type = coerce->resulttype;
	return true;
}

/* Does a node evaluate only some of what is below it? */
static bool
is_conditional(Node *node)
{
	switch (nodeTag(node))
	{
		case T_CaseExpr:
		case T_CoalesceExpr:
		case T_BoolExpr:
		case T_ScalarArrayOpExpr:
		case T_ArrayCoerceExpr:
			/* columns behind the first that differs */
		case T_RowCompareExpr:
			/* subscripts of a null array */
		case T_SubscriptingRef:
			return true;
		default:
			return false;
	}
}

static bool
reads_other_than_item(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return ((Var *) node)->varno != MERGE_ITEM;
		case T_Param:
		case T_CaseTestExpr:
		case T_CoerceToDomainValue:
		case T_SetToDefault:
		case T_NextValueExpr:
			return true;
		default:
			return expression_tree_walker(node, reads_other_than_item,
										  context);
	}
}

/* Is it an expression over the item that is worth to be computed once? */
static bool
is_part(Node *node)
{
	if (IsA(node, Var) || IsA(node, Const) || IsA(node, RelabelType) ||
		IsA(node, List) || IsA(node, TargetEntry))
		return false;
	return !reads_other_than_item(node, NULL) &&
		contain_var_clause(node) && !contain_volatile_functions(node);
}

static bool
find_parts(Node *node, FindParts *find)
{
	RunPart		number;
	bool		is_number;
	ListCell   *lc;

	if (node == NULL)
		return false;
	is_number = number_of(node, &number);
	if (is_number || is_part(node))
	{
		Part	   *part = NULL;

		foreach(lc, find->parts)
		{
			part = lfirst(lc);
			if (equal(part->expr, node))
				break;
			part = NULL;
		}
		if (part == NULL)
		{
			part = palloc0_object(Part);
			part->expr = (Expr *) node;
			part->is_number = is_number;
			find->parts = lappend(find->parts, part);
		}
		part->count++;
		if (is_number)
			return false;
	}
	if (is_conditional(node))
		return false;
	return expression_tree_walker(node, find_parts, find);
}

/* Put the item's new columns where the parts were. */
static Node *
replace_parts(Node *node, RunClause *clause)
{
	if (node == NULL)
		return NULL;
	for (int i = 0; i < clause->nparts; i++)
	{
		RunPart    *part = &clause->parts[i];

		if (equal(node, part->expr))
			return (Node *) makeVar(MERGE_ITEM, part->at + 1,
									exprType(node), exprTypmod(node),
									exprCollation(node), 0);
	}
	if (is_conditional(node))
		return node;
	return expression_tree_mutator(node, replace_parts, clause);
}

/*
 * Take parts out of an action's expressions.  width: columns that an item
 * has so far; returned is how many it has now.
 */
int
MergeTakeParts(RunClause *clause, int width)
{
	FindParts	find = {0};
	ListCell   *lc;

	for (int i = 0; i < clause->ncolumns; i++)
		find_parts((Node *) clause->columns[i].expr, &find);
	clause->parts = palloc0_array(RunPart, list_length(find.parts) + 1);
	foreach(lc, find.parts)
	{
		Part	   *found = lfirst(lc);
		RunPart    *part = &clause->parts[clause->nparts];

		if (!found->is_number && found->count < 2)
			continue;
		part->expr = found->expr;
		part->at = width++;
		if (!found->is_number || !number_of((Node *) part->expr, part))
			part->json = -1;
		clause->nparts++;
	}
	for (int i = 0; i < clause->ncolumns && clause->nparts > 0; i++)
		clause->columns[i].expr = (Expr *)
			replace_parts((Node *) clause->columns[i].expr, clause);
	return width;
}

/*
 * The number that a jsonb value has under the key, if it is one and of the
 * wanted type; else the expression has to say what it makes of it.
 */
bool
MergeTakeNumber(const RunPart *part, Jsonb *json, Datum *result)
{
	JsonbValue	buffer;
	JsonbValue *value;
	int64		whole;

	if (!JB_ROOT_IS_OBJECT(json))
		return false;
	value = getKeyJsonValueFromContainer(&json->root, part->key,
										 part->key_length, &buffer);
	if (value == NULL || value->type != jbvNumeric)
		return false;
	if (part->type == NUMERICOID)
	{
		*result = NumericGetDatum(value->val.numeric);
		return true;
	}
	if (!AmountWhole(value->val.numeric, &whole))
		return false;
	if (part->type == INT8OID)
		*result = Int64GetDatum(whole);
	else if (whole >= PG_INT32_MIN && whole <= PG_INT32_MAX)
		*result = Int32GetDatum((int32) whole);
	else
		return false;
	return true;
}

/* Compute the parts of a clause's action that the item has not, into its slot. */
void
MergeComputeParts(MergeRun *run, RunClause *clause)
{
	TupleTableSlot *item = run->stored_slot;

	for (int i = 0; i < clause->nparts; i++)
	{
		RunPart    *part = &clause->parts[i];

		if (part->json >= 0 && run->loaded->numbers)
			continue;
		item->tts_isnull[part->at] = false;
		if (part->json >= 0 && !item->tts_isnull[part->json] &&
			MergeTakeNumber(part, DatumGetJsonbP(item->tts_values[part->json]),
							&item->tts_values[part->at]))
			continue;
		item->tts_values[part->at] =
			ExecEvalExpr(part->value, run->row_stage.econtext,
						 &item->tts_isnull[part->at]);
	}
}
