/*
 * merge_sum.c
 *		Sums in place: SET total = o.total + number.
 *
 * Most of what an event costs would be numeric arithmetic, and copies of its
 * results.  So a numeric column that an UPDATE adds a number of the item to,
 * or subtracts one from, is kept as an integer of ten-thousandths while items
 * are applied.  It is settled, made a numeric again, before anything reads the
 * column, and at the end.
 *
 * The result is numeric's own to the last digit and decimal place.  What does
 * not fit (a null, NaN, more than four decimal places, more digits than 64
 * bits or the column have) is left to the expression.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"

#include "amount.h"
#include "handler/merge_state.h"

static const int64 powers[] = {1, 10, 100, 1000, 10000};

/* digits in which each number of 64 bits can be written */
#define INT64_DIGITS	19

static void
take_typmod(int32 typmod, RunColumn *column)
{
	typmod -= VARHDRSZ;
	column->digits = (typmod >> 16) & 0xffff;
	column->scale = ((typmod & 0x7ff) ^ 1024) - 1024;
}

/* The number of the item that is added to column at, or NULL; *sign: 1, -1. */
static const Var *
addend_of(const Expr *expr, int at, int *sign)
{
	const OpExpr *op = (const OpExpr *) expr;
	const Var  *left;
	const Var  *right;

	if (!IsA(op, OpExpr) ||
		(op->opfuncid != F_NUMERIC_ADD && op->opfuncid != F_NUMERIC_SUB))
		return NULL;
	*sign = op->opfuncid == F_NUMERIC_ADD ? 1 : -1;
	left = linitial(op->args);
	right = lsecond(op->args);
	if (IsA(left, Var) && left->varno == MERGE_ITEM && *sign == 1)
	{
		const Var  *other = left;

		left = right;
		right = other;
	}
	if (!IsA(left, Var) || left->varno != MERGE_ROW ||
		left->varattno != at + 1 || !IsA(right, Var) ||
		right->varno != MERGE_ITEM || right->varattno <= 0)
		return NULL;
	return right;
}

/* Look whether a column's new value is a sum that can be kept in place. */
static void
find_sum(RunColumn *column)
{
	const FuncExpr *coerce = (const FuncExpr *) column->expr;
	const Expr *sum = column->expr;
	const Var  *addend;
	int			sign;

	column->sign = 0;
	column->digits = column->scale = -1;
	if (IsA(coerce, FuncExpr) && coerce->funcid == F_NUMERIC_NUMERIC_INT4)
	{
		const Const *typmod = lsecond(coerce->args);

		if (!IsA(typmod, Const) || typmod->constisnull)
			return;
		take_typmod(DatumGetInt32(typmod->constvalue), column);
		if (column->scale < 0 || column->scale > AMOUNT_SCALE)
			return;
		sum = linitial(coerce->args);
	}
	addend = addend_of(sum, column->at, &sign);
	if (addend == NULL)
		return;
	column->sign = sign;
	column->addend = addend->varattno - 1;
}

/* A numeric as an integer, with the decimal places that it shows. */
static inline bool
take(Datum value, int64 *number, int *scale)
{
	Numeric		numeric = (Numeric) DatumGetPointer(value);
	Amount		amount;

	if (VARATT_IS_EXTERNAL(numeric) || VARATT_IS_COMPRESSED(numeric) ||
		AmountFromNumeric(numeric, &amount) != AMOUNT_OK ||
		amount > PG_INT64_MAX || amount < PG_INT64_MIN)
		return false;
	*number = (int64) amount;
	*scale = AmountShownScale(numeric);
	return *scale <= AMOUNT_SCALE;
}

/* Does the column's type hold the number as it is? */
static inline bool
fits(const RunColumn *column, int64 number)
{
	int			digits = column->digits - column->scale + AMOUNT_SCALE;

	if (column->scale < 0)
		return true;
	if (number % powers[AMOUNT_SCALE - column->scale] != 0)
		return false;
	return digits >= INT64_DIGITS ||
		(number < AmountPower(digits) && number > -AmountPower(digits));
}

/* Add the item's number to the column; false: the expression has to. */
bool
MergeAddSum(MergeRun *run, const RunColumn *column)
{
	const TupleTableSlot *item = run->stored_slot;
	RunSum		sum = run->sums[column->at];
	int64		number;
	int			scale;

	if (item->tts_isnull[column->addend] ||
		run->row_slot->tts_isnull[column->at] ||
		!take(item->tts_values[column->addend], &number, &scale))
		return false;
	if (!sum.live && !take(run->row_slot->tts_values[column->at],
						   &sum.number, &sum.scale))
		return false;
	if (column->sign > 0 ?
		pg_add_s64_overflow(sum.number, number, &sum.number) :
		pg_sub_s64_overflow(sum.number, number, &sum.number))
		return false;
	if (!fits(column, sum.number))
		return false;
	sum.scale = column->scale >= 0 ? column->scale : Max(sum.scale, scale);
	sum.live = true;
	run->sums[column->at] = sum;
	run->any_sum = true;
	return true;
}

/* The numeric that a sum is. */
Datum
MergeSumValue(const RunSum *sum)
{
	int64		number = sum->number / powers[AMOUNT_SCALE - sum->scale];

	return NumericGetDatum(int64_div_fast_to_numeric(number, sum->scale));
}

/* MergeFindSums(): what a clause reads */
typedef struct ReadSearch
{
	const MergeRun *run;
	bool		found;
} ReadSearch;

static bool
reads_sum(Node *node, void *context)
{
	ReadSearch *search = context;
	const Var  *var = (const Var *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, Var))
		return expression_tree_walker(node, reads_sum, context);
	if (var->varno == MERGE_ROW &&
		(var->varattno <= 0 || search->run->sums[var->varattno - 1].is_sum))
		search->found = true;
	return false;
}

/* Does a clause read columns that are kept as sums, beside adding to them? */
static bool
clause_reads(const MergeRun *run, const RunClause *clause)
{
	ReadSearch	search = {.run = run};

	for (int i = 0; i < clause->ncolumns; i++)
	{
		if (clause->columns[i].sign == 0)
			reads_sum((Node *) clause->columns[i].expr, &search);
	}
	return search.found;
}

/* Look for sums, when all parts are taken out; in the run's memory context. */
void
MergeFindSums(MergeRun *run)
{
	run->sums = palloc0_array(RunSum, run->natts);
	for (int i = 0; i < run->nclauses; i++)
	{
		RunClause  *clause = &run->clauses[i];

		for (int k = 0; k < clause->ncolumns &&
			 clause->action == MERGE_DO_UPDATE; k++)
		{
			find_sum(&clause->columns[k]);
			if (clause->columns[k].sign != 0)
				run->sums[clause->columns[k].at].is_sum = true;
		}
	}
	for (int i = 0; i < run->nclauses; i++)
	{
		RunClause  *clause = &run->clauses[i];
		ReadSearch	search = {.run = run};

		reads_sum((Node *) clause->condition, &search);
		clause->tests_sum = search.found;
		clause->reads_sum = clause_reads(run, clause);
	}
}
