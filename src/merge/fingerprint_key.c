/*
 * fingerprint_key.c
 *		What makes the key of an event, in words.
 *
 * Two definitions over the same stream and read model with the same words give
 * the same keys to an event, but for the filter: an event that one of them
 * leaves out may have a key by the other.
 */
#include "postgres.h"

#include "compat.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"

#include "merge/fingerprint.h"

/* A definition without all that its key does not need. */
typedef struct Reduction
{
	const Merge *merge;
	Bitmapset  *values;			/* of the item, that the key is made of */
	AttrNumber *numbers;		/* what each of them is called then */
	Bitmapset  *columns;		/* of the stream, that these are made of */
} Reduction;

static bool
note_values(Node *node, Reduction *reduction)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varno == MERGE_ITEM)
		reduction->values = bms_add_member(reduction->values,
										   ((Var *) node)->varattno);
	return expression_tree_walker(node, note_values, reduction);
}

static bool
note_columns(Node *node, Reduction *reduction)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, note_columns, reduction, 0);
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
		reduction->columns = bms_add_member(reduction->columns,
											((Param *) node)->paramid);
	return expression_tree_walker(node, note_columns, reduction);
}

static Node *
renumber(Node *node, void *context)
{
	const Reduction *reduction = context;
	Var		   *var;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var) || ((Var *) node)->varno != MERGE_ITEM)
		return expression_tree_mutator(node, renumber, context);
	var = copyObject((Var *) node);
	var->varattno = var->varattnosyn = reduction->numbers[var->varattno];
	return (Node *) var;
}

/* The columns of an item of FROM that these use; *whole: or all of them. */
static Bitmapset *
used_columns(List *vars, int item, bool *whole)
{
	Bitmapset  *columns = NULL;
	ListCell   *cell;

	*whole = false;
	foreach(cell, vars)
	{
		const Var  *var = lfirst(cell);

		if (var->varno == item && var->varattno <= 0)
			*whole = true;
		else if (var->varno == item)
			columns = bms_add_member(columns, var->varattno);
	}
	return columns;
}

/* Leave out what sub-selects compute and nobody uses; numbers stay. */
static void
reduce_sub_selects(Query *query)
{
	List	   *vars = pull_vars_of_level((Node *) query, 0);
	ListCell   *cell;
	int			item = 0;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);
		bool		whole;
		Bitmapset  *used = used_columns(vars, ++item, &whole);
		ListCell   *lc;

		if (entry->rtekind != RTE_SUBQUERY)
			continue;
		foreach(lc, entry->subquery->targetList)
		{
			const TargetEntry *target = lfirst(lc);

			if (!whole && !target->resjunk && target->ressortgroupref == 0 &&
				entry->subquery->setOperations == NULL &&
				!bms_is_member(target->resno, used))
				entry->subquery->targetList =
					foreach_delete_current(entry->subquery->targetList, lc);
		}
		reduce_sub_selects(entry->subquery);
	}
}

/* The fan-out's columns that the key is made of, or that put items in order. */
static Query *
reduce_fan_out(Reduction *reduction)
{
	Query	   *query = copyObject(reduction->merge->fan_out);
	List	   *targets = NIL;
	ListCell   *cell;

	foreach(cell, query->targetList)
	{
		TargetEntry *target = lfirst(cell);

		if (!target->resjunk && target->ressortgroupref == 0 &&
			!bms_is_member(target->resno, reduction->values))
			continue;
		reduction->numbers[target->resno] = list_length(targets) + 1;
		target->resno = list_length(targets) + 1;
		target->resname = pstrdup("value");
		targets = lappend(targets, target);
	}
	query->targetList = targets;
	reduce_sub_selects(query);
	(void) note_columns((Node *) query, reduction);
	return query;
}

/* All that makes the key of an event, in words. */
char *
MergeKeyFingerprintText(const Merge *merge)
{
	Merge		reduced = *merge;
	Reduction	reduction = {.merge = merge};

	reduced.filter = NULL;
	if (merge->fan_out == NULL)
		return MergeFingerprintText(&reduced);
	for (int i = 0; i < merge->key.ncolumns; i++)
		(void) note_values((Node *) merge->key.values[i], &reduction);
	reduction.numbers = palloc0_array(AttrNumber,
									  list_length(merge->fan_out->targetList) + 1);
	reduced.fan_out = reduce_fan_out(&reduction);
	reduced.fan_out_columns = reduction.columns;
	for (int i = 0; i < merge->key.ncolumns; i++)
		reduced.key.values[i] = (Expr *) renumber((Node *) merge->key.values[i],
												  &reduction);
	return MergeFingerprintText(&reduced);
}
