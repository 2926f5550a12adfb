/*
 * merge_show.c
 *		Expressions in words, for messages and descriptions.
 *
 * PostgreSQL shows an expression within a query or over one table; ours are
 * over an item and a row.  So each column is shown as a parameter with a number
 * that no text has, and then the parameter's text as the column's name.
 */
#include "postgres.h"

#include "compat.h"

#include "lib/stringinfo.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "merge/merge_build.h"

#define FIRST_PARAMETER 2000000001

typedef struct Naming
{
	const Merge *merge;
	const MergeBuild *build;	/* Vars are the statement's; or NULL */
	List	   *names;			/* of char * */
} Naming;

static char *
column_of(const char *relation, const char *column)
{
	return psprintf("%s.%s", relation,
					column ? quote_identifier(column) : "*");
}

/* The name of an item's value. */
static char *
item_column(const Merge *merge, AttrNumber number)
{
	const char *name = NULL;

	if (merge->fan_out != NULL && number > 0)
		name = get_tle_by_resno(merge->fan_out->targetList, number)->resname;
	else if (number > 0)
		name = get_attname(merge->stream, merge->item_columns[number - 1],
						   false);
	return column_of(merge->item_name, name);
}

static char *
name_of(const Naming *naming, const Var *var)
{
	const Merge *merge = naming->merge;
	RangeTblEntry *rte;

	if (var->varno == MERGE_ITEM)
		return item_column(merge, var->varattno);
	if (var->varno == MERGE_ROW)
		return column_of(merge->row_name, var->varattno == 0 ? NULL :
						 get_attname(merge->read_model, var->varattno, false));
	rte = rt_fetch(var->varno, naming->build->query->rtable);
	return column_of(merge->upsert && var->varno != naming->build->target ?
					 merge->item_name : quote_identifier(rte->eref->aliasname),
					 var->varattno == 0 ? NULL :
					 get_rte_attribute_name(rte, var->varattno));
}

static Node *
hide_names(Node *node, void *context)
{
	Naming	   *naming = context;
	Param	   *param;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var))
		return expression_tree_mutator(node, hide_names, context);
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = FIRST_PARAMETER + list_length(naming->names);
	param->paramtype = exprType(node);
	param->paramtypmod = exprTypmod(node);
	param->paramcollid = exprCollation(node);
	param->location = -1;
	naming->names = lappend(naming->names, name_of(naming, (Var *) node));
	return (Node *) param;
}

static char *
put_names(const char *shown, List *names)
{
	StringInfoData result;
	const char *place;

	initStringInfo(&result);
	while ((place = strstr(shown, "$2000")) != NULL)
	{
		unsigned long number = strtoul(place + 1, NULL, 10) - FIRST_PARAMETER;

		appendBinaryStringInfo(&result, shown, place - shown);
		shown = place + strlen("$2000000001");
		if (number < (unsigned long) list_length(names))
			appendStringInfoString(&result, list_nth(names, number));
		else
			appendBinaryStringInfo(&result, place, shown - place);
	}
	appendStringInfoString(&result, shown);
	return result.data;
}

static char *
show(Naming *naming, const void *expression)
{
	Node	   *hidden = hide_names(copyObject((Node *) expression), naming);

	return put_names(deparse_expression(hidden, NIL, false, false),
					 naming->names);
}

/* An expression of a Merge, as SQL. */
char *
MergeShow(const Merge *merge, const void *expression)
{
	Naming		naming = {merge, NULL, NIL};

	return show(&naming, expression);
}

/* The same before it has been put over the item. */
char *
MergeShowStatement(const MergeBuild *build, const void *expression)
{
	Naming		naming = {build->merge, build, NIL};

	return show(&naming, expression);
}

/* The name of a read model's column, unquoted. */
char *
MergeColumnName(const MergeBuild *build, AttrNumber column)
{
	return get_attname(RelationGetRelid(build->read_model), column, false);
}
