/*
 * fingerprint.c
 *		What chooses the partition of an event, in one number.
 *
 * Positions are kept per partition.  They are worth nothing if an event that
 * was applied by one partition would be another one's today.  So everything
 * that can move an event is written down in one text, and its hash is stored:
 * the expressions of key, filter and fan-out, what their names mean, the
 * bodies of the functions that are not PostgreSQL's, the CHECKs of domains,
 * the operators that compare keys and the functions that hash them, and the
 * version of each collation that they depend on.
 *
 * The text must come out the same after a dump and restore: it has no OIDs,
 * and no column numbers, which a restore closes up.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "merge/collation_use.h"
#include "merge/fingerprint.h"
#include "merge/merge_uses.h"
#include "merge/pinned.h"
#include "keyhash.h"

typedef struct Writer
{
	const Merge *merge;
	StringInfoData text;
	List	   *functions;		/* of Oid: written already */
	List	   *domains;
} Writer;

/* An item's value: a column of the stream; of a fan-out, its number. */
static Node *
name_values(Node *node, void *context)
{
	const Merge *merge = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, name_values,
										   context, 0);
	if (IsA(node, Var) && ((Var *) node)->varno == MERGE_ITEM)
	{
		Var		   *var = (Var *) node;
		Param	   *param;

		if (merge->fan_out == NULL)
			return (Node *) makeVar(1, merge->item_columns[var->varattno - 1],
									var->vartype, var->vartypmod,
									var->varcollid, var->varlevelsup);
		param = makeNode(Param);
		param->paramkind = PARAM_EXTERN;
		param->paramid = var->varattno;
		param->paramtype = var->vartype;
		param->paramtypmod = var->vartypmod;
		param->paramcollid = var->varcollid;
		param->location = -1;
		return (Node *) param;
	}
	return expression_tree_mutator(node, name_values, context);
}

static void
write_expression(Writer *writer, const char *what, Expr *expr)
{
	Node	   *node;
	List	   *names;

	if (expr == NULL)
		return;
	node = name_values((Node *) expr, (void *) writer->merge);
	names = deparse_context_for("event", writer->merge->stream);
	appendStringInfo(&writer->text, "%s: %s of type %s\n", what,
					 deparse_expression(node, names, true, true),
					 format_type_extended(exprType(node), exprTypmod(node),
										  FORMAT_TYPE_TYPEMOD_GIVEN |
										  FORMAT_TYPE_FORCE_QUALIFY));
}

/*
 * Where the stream's table was there is a row without columns now, which the
 * server cannot print: make it a sub-select of none.
 */
static void
show_event(Query *query)
{
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind != RTE_RESULT)
			continue;
		entry->rtekind = RTE_SUBQUERY;
		entry->subquery = makeNode(Query);
		entry->subquery->commandType = CMD_SELECT;
		entry->subquery->jointree = makeFromExpr(NIL, NULL);
		entry->eref = makeAlias("event", NIL);
	}
}

/* The query without references to columns of joins. */
static void
flatten_joins(Query *query)
{
	ListCell   *cell;

	query->targetList = (List *)
		compat_flatten_join_alias_vars(query, (Node *) query->targetList);
	query->jointree = (FromExpr *)
		compat_flatten_join_alias_vars(query, (Node *) query->jointree);
	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		entry->functions = (List *)
			compat_flatten_join_alias_vars(query, (Node *) entry->functions);
		entry->values_lists = (List *)
			compat_flatten_join_alias_vars(query, (Node *) entry->values_lists);
		entry->subquery = (Query *)
			compat_flatten_join_alias_vars(query, (Node *) entry->subquery);
	}
}

/*
 * Add the items of a join to a list, and its condition to WHERE.  What kind of
 * join it was is one more column of the query.
 */
static List *
take_join(Query *query, List *from, Node *item)
{
	JoinExpr   *join = (JoinExpr *) item;
	Const	   *kind;

	if (!IsA(item, JoinExpr))
		return lappend(from, item);
	from = take_join(query, from, join->larg);
	from = take_join(query, from, join->rarg);
	query->jointree->quals = make_and_qual(query->jointree->quals, join->quals);
	kind = makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
					 Int32GetDatum(join->jointype), false, true);
	query->targetList =
		lappend(query->targetList,
				makeTargetEntry((Expr *) kind,
								list_length(query->targetList) + 1,
								pstrdup("joined"), false));
	rt_fetch(join->rtindex, query->rtable)->rtekind = RTE_RESULT;
	return from;
}

/*
 * The server looks for each column of a join on its sides, and the stream's
 * are there no more: show joins as their items.
 */
static void
show_joins(Query *query)
{
	List	   *from = NIL;
	ListCell   *cell;

	if (query->jointree == NULL)
		return;
	flatten_joins(query);
	foreach(cell, query->jointree->fromlist)
		from = take_join(query, from, lfirst(cell));
	query->jointree->fromlist = from;
}

/* A column by the item of FROM that has it, whatever the text has named. */
static Node *
show_column(Node *node)
{
	Var		   *var = (Var *) copyObject(node);

	/* the text may have named a join, by its own names of the columns */
	var->varnosyn = var->varno;
	var->varattnosyn = var->varattno;
	return (Node *) var;
}

/* A fan-out's parameters get numbers without gaps. */
static Node *
number_columns(Node *node, void *context)
{
	const Merge *merge = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Query	   *query = query_tree_mutator((Query *) node, number_columns,
											   context, 0);

		show_joins(query);
		show_event(query);
		return (Node *) query;
	}
	if (IsA(node, Var))
		return show_column(node);
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
	{
		Param	   *param = (Param *) copyObject(node);

		param->paramid = bms_member_index(merge->fan_out_columns,
										  param->paramid) + 1;
		return (Node *) param;
	}
	return expression_tree_mutator(node, number_columns, context);
}

static void
write_fan_out(Writer *writer)
{
	const Merge *merge = writer->merge;
	int			column = -1;
	Query	   *query;

	if (merge->fan_out == NULL)
		return;
	query = (Query *) number_columns((Node *) merge->fan_out, (void *) merge);
	appendStringInfo(&writer->text, "items: %s\n",
					 pg_get_querydef(query, false));
	while ((column = bms_next_member(merge->fan_out_columns, column)) >= 0)
	{
		if (column > 0)
			appendStringInfo(&writer->text, "of column %s\n",
							 quote_identifier(get_attname(merge->stream,
														  column, false)));
	}
}

/* The body of a function that is not PostgreSQL's own. */
static void
write_function(Writer *writer, Oid function)
{
	char		kind = get_func_prokind(function);

	if (function < FirstUnpinnedObjectId ||
		(kind != PROKIND_FUNCTION && kind != PROKIND_WINDOW) ||
		list_member_oid(writer->functions, function))
		return;
	writer->functions = lappend_oid(writer->functions, function);
	appendStringInfoString(&writer->text,
						   TextDatumGetCString(OidFunctionCall1(F_PG_GET_FUNCTIONDEF,
																ObjectIdGetDatum(function))));
}

static void
write_key_column(Writer *writer, int i)
{
	const MergeKey *key = &writer->merge->key;
	RegProcedure left;
	RegProcedure right;

	write_expression(writer, "key", key->values[i]);
	appendStringInfo(&writer->text, "column %s compared by %s",
					 writer->merge->statement != NULL ? "-" :
					 quote_identifier(get_attname(writer->merge->read_model,
												  key->columns[i], false)),
					 format_operator_qualified(key->equality[i]));
	if (!get_op_hash_functions(key->equality[i], &left, &right))
		right = InvalidOid;
	/* PostgreSQL's own may have another name in another release */
	else if (right >= FirstNormalObjectId)
		appendStringInfo(&writer->text, " hashed by %s",
						 format_procedure_qualified(right));
	appendStringInfoChar(&writer->text, '\n');
	write_function(writer, get_opcode(key->equality[i]));
	if (OidIsValid(right))
		write_function(writer, right);
}

static bool
write_function_of(Oid function, void *writer)
{
	write_function(writer, function);
	return false;
}

static void
write_domain(Writer *writer, Oid domain)
{
	/* the context's end wants to find it */
	DomainConstraintRef *ref = palloc0(sizeof(DomainConstraintRef));
	ListCell   *cell;

	if (list_member_oid(writer->domains, domain))
		return;
	writer->domains = lappend_oid(writer->domains, domain);
	InitDomainConstraintRef(domain, ref, CurrentMemoryContext, false);
	foreach(cell, ref->constraints)
	{
		DomainConstraintState *constraint = lfirst(cell);

		appendStringInfo(&writer->text, "domain %s: %s\n",
						 format_type_be_qualified(domain),
						 constraint->check_expr == NULL ? "not null" :
						 deparse_expression((Node *) constraint->check_expr,
											NIL, false, true));
	}
}

/* What an expression does not show: definitions of what it names. */
static bool
write_definitions(Node *node, Writer *writer)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, write_definitions, writer, 0);
	(void) check_functions_in_node(node, write_function_of, writer);
	if (IsA(node, CoerceToDomain))
		write_domain(writer, ((CoerceToDomain *) node)->resulttype);
	return expression_tree_walker(node, write_definitions, writer);
}

static void
write_uses(Writer *writer, List *nodes)
{
	ListCell   *cell;

	foreach(cell, MergeCollectExpressionUses(nodes))
		appendStringInfo(&writer->text, "%s\n", (char *) lfirst(cell));
	foreach(cell, CollationsOf(nodes))
		appendStringInfo(&writer->text, "%s\n", (char *) lfirst(cell));
	(void) write_definitions((Node *) nodes, writer);
}

static void
write_all(Writer *writer)
{
	const Merge *merge = writer->merge;
	List	   *nodes = NIL;

	for (int i = 0; i < merge->key.ncolumns; i++)
	{
		write_key_column(writer, i);
		nodes = lappend(nodes, merge->key.values[i]);
	}
	write_expression(writer, "filter", merge->filter);
	write_fan_out(writer);
	if (merge->filter != NULL)
		nodes = lappend(nodes, merge->filter);
	if (merge->fan_out != NULL)
		nodes = lappend(nodes, merge->fan_out);
	write_uses(writer, nodes);
}

/* All that chooses the partition, in words. */
char *
MergeFingerprintText(const Merge *merge)
{
	Writer		writer = {0};
	int			level = PinnedEnterNeutral();

	writer.merge = merge;
	initStringInfo(&writer.text);
	write_all(&writer);
	PinnedLeave(level);
	return writer.text.data;
}

uint64
MergeFingerprint(const Merge *merge)
{
	char	   *words = MergeFingerprintText(merge);

	return KeyHash(words, strlen(words));
}
