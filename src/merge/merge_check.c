/*
 * merge_check.c
 *		Is a projection's result a function of its events?
 *
 * The same event is applied again after a crash, in a retry, in a rebuild and
 * in projection_verify(), by other processes, at other times.  So each
 * expression of a definition may depend on the event, on the row and on the
 * settings that were pinned at creation, and on nothing else.  Every function
 * that an expression can call is looked at, those behind operators, casts and
 * types included.
 *
 *	- immutable functions are trusted, whoever wrote them, as PostgreSQL
 *	  trusts them in an index;
 *	- PostgreSQL's own stable functions: see stable_functions.c;
 *	- other stable functions: in values, if the user says so (allow_stable);
 *	  never where they choose the key, since the key chooses the partition;
 *	- volatile functions: never.
 *
 * Only columns that the text assigns are looked at: a default that an INSERT
 * does not mention may be volatile.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/typcache.h"

#include "compat.h"
#include "merge/check.h"
#include "merge/merge_check.h"
#include "merge/merge_clock.h"
#include "merge/stable_functions.h"

static bool check_walker(Node *node, Check *check);

static const char *
function_name(Oid function)
{
	return psprintf("function %s", format_procedure(function));
}

static void
check_domain(Check *check, Oid domain, int location)
{
	/* the context's end wants to find it */
	DomainConstraintRef *ref = palloc0(sizeof(DomainConstraintRef));
	Check		inner = *check;
	ListCell   *cell;

	if (!compat_DomainHasConstraints(domain))
		return;
	inner.where = psprintf("a CHECK of domain %s, which a projection uses",
						   format_type_be(domain));
	inner.place = check->in_domain ? check->place : location;
	inner.in_domain = true;
	InitDomainConstraintRef(domain, ref, CurrentMemoryContext, false);
	foreach(cell, ref->constraints)
	{
		DomainConstraintState *constraint = lfirst(cell);

		if (constraint->check_expr != NULL)
			check_walker((Node *) constraint->check_expr, &inner);
	}
}

static void check_type(Check *check, Oid type, bool input, const char *what,
					   int location);

static void
check_row_type(Check *check, Oid type, bool input, const char *what,
			   int location)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);

	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			check_type(check, TupleDescAttr(desc, i)->atttypid, input, what,
					   location);
	}
}

/* The functions that read or print a value of a type, and of its parts. */
static void
check_type(Check *check, Oid type, bool input, const char *what, int location)
{
	Oid			function;
	Oid			other;
	bool		is_varlena;

	check_stack_depth();
	if (get_typtype(type) == TYPTYPE_DOMAIN)
	{
		if (input)
			check_domain(check, type, location);
		type = getBaseType(type);
	}
	if (get_typtype(type) == TYPTYPE_PSEUDO)
		return;
	if (OidIsValid(other = get_element_type(type)) ||
		OidIsValid(other = get_range_subtype(type)) ||
		OidIsValid(other = get_multirange_range(type)))
		check_type(check, other, input, what, location);
	else if (get_typtype(type) == TYPTYPE_COMPOSITE)
		check_row_type(check, type, input, what, location);
	if (input)
		getTypeInputInfo(type, &function, &other);
	else
		getTypeOutputInfo(type, &function, &is_varlena);
	CheckFunction(check, function,
				  psprintf(input ? "%s to type %s" :
						   "%s of a value of type %s", what,
						   format_type_be(type)),
				  location);
}

/* Values that are printed by the output functions of their types. */
static void
check_printed(Check *check, List *args, const char *what, int location)
{
	ListCell   *cell;

	foreach(cell, args)
	{
		Node	   *arg = lfirst(cell);

		if (IsA(arg, TargetEntry))
			arg = (Node *) ((TargetEntry *) arg)->expr;
		/* ROW(...) has no type that says what is in it */
		if (IsA(arg, RowExpr))
			check_printed(check, ((RowExpr *) arg)->args, what, location);
		else
			check_type(check, exprType(arg), false, what, location);
	}
}

static void
check_cast(Check *check, CoerceViaIO *cast)
{
	const char *what = "a cast";
	int			location = exprLocation((Node *) cast);

	if (IsA(cast->arg, Const) &&
		MergeConstIsClock(check->merge->text, (Const *) cast->arg,
						  cast->resulttype))
		CheckRefuse(check, "this constant", location, true);
	check_printed(check, list_make1(cast->arg), what, location);
	check_type(check, cast->resulttype, true, what, location);
}

static void
check_call(Check *check, Oid function, List *args, Oid result, int location)
{
	const char *what = function_name(function);

	CheckFunction(check, function, what, location);
	if (PrintsAnyType(function))
		check_printed(check, args, what, location);
	if (ReadsAnyType(function))
		check_type(check, result, true, what, location);
}

static void
check_operator(Check *check, Oid operator, Oid function, List *args,
			   int location)
{
	CheckFunction(check, function,
				  psprintf("operator %s", format_operator(operator)),
				  location);
	if (PrintsAnyType(function))
		check_call(check, function, args, InvalidOid, location);
}

static void
check_row_comparison(Check *check, RowCompareExpr *comparison)
{
	ListCell   *cell;

	foreach(cell, comparison->opnos)
		check_operator(check, lfirst_oid(cell), get_opcode(lfirst_oid(cell)),
					   NIL, exprLocation((Node *) comparison));
}

/* GREATEST and LEAST compare by the type's own order. */
static void
check_min_max(Check *check, MinMaxExpr *expr)
{
	TypeCacheEntry *entry = lookup_type_cache(expr->minmaxtype,
											  TYPECACHE_CMP_PROC);

	if (OidIsValid(entry->cmp_proc))
		CheckFunction(check, entry->cmp_proc, function_name(entry->cmp_proc),
					  expr->location);
}

/* The columns that json_to_record() and the like are asked for. */
static void
check_range_table_entry(Check *check, RangeTblEntry *entry)
{
	ListCell   *cell;
	ListCell   *type;

	if (entry->rtekind == RTE_TABLEFUNC)
	{
		foreach(type, entry->tablefunc->coltypes)
			check_type(check, lfirst_oid(type), true, "this column list",
					   entry->tablefunc->location);
	}
	if (entry->rtekind != RTE_FUNCTION)
		return;
	foreach(cell, entry->functions)
	{
		RangeTblFunction *function = lfirst_node(RangeTblFunction, cell);

		foreach(type, function->funccoltypes)
			check_type(check, lfirst_oid(type), true, "this column list",
					   exprLocation(function->funcexpr));
	}
}

static void
check_node(Check *check, Node *node)
{
	int			location = exprLocation(node);

	switch (nodeTag(node))
	{
		case T_FuncExpr:
			check_call(check, ((FuncExpr *) node)->funcid,
					   ((FuncExpr *) node)->args, exprType(node), location);
			break;
		case T_Aggref:
			check_call(check, ((Aggref *) node)->aggfnoid,
					   ((Aggref *) node)->args, InvalidOid, location);
			break;
		case T_WindowFunc:
			check_call(check, ((WindowFunc *) node)->winfnoid,
					   ((WindowFunc *) node)->args, InvalidOid, location);
			break;
		case T_OpExpr:
		case T_DistinctExpr:	/* these three are one struct */
		case T_NullIfExpr:
			set_opfuncid((OpExpr *) node);
			check_operator(check, ((OpExpr *) node)->opno,
						   ((OpExpr *) node)->opfuncid,
						   ((OpExpr *) node)->args, location);
			break;
		case T_ScalarArrayOpExpr:
			set_sa_opfuncid((ScalarArrayOpExpr *) node);
			check_operator(check, ((ScalarArrayOpExpr *) node)->opno,
						   ((ScalarArrayOpExpr *) node)->opfuncid, NIL,
						   location);
			break;
		case T_RowCompareExpr:
			check_row_comparison(check, (RowCompareExpr *) node);
			break;
		case T_MinMaxExpr:
			check_min_max(check, (MinMaxExpr *) node);
			break;
		case T_CoerceViaIO:
			check_cast(check, (CoerceViaIO *) node);
			break;
		case T_XmlExpr:
			check_printed(check, ((XmlExpr *) node)->args, "this function",
						  location);
			check_printed(check, ((XmlExpr *) node)->named_args,
						  "this function", location);
			break;
		case T_CoerceToDomain:
			check_domain(check, ((CoerceToDomain *) node)->resulttype,
						 location);
			break;
		case T_Const:
			CheckConstant(check, (Const *) node);
			break;
		case T_SQLValueFunction:
			CheckValueFunction(check, (SQLValueFunction *) node);
			break;
		case T_NextValueExpr:
			CheckRefuse(check, "the next value of a sequence", location, false);
			break;
		case T_RangeTblEntry:
			check_range_table_entry(check, (RangeTblEntry *) node);
			break;
		default:
			break;
	}
}

static void
check_json(Check *check, Node *node)
{
	int			location = exprLocation(node);

	check_printed(check, compat_json_printed(node), "this constructor",
				  location);
	if (OidIsValid(compat_json_read(node)))
		check_type(check, compat_json_read(node), true, "this function",
				   location);
}

static bool
check_walker(Node *node, Check *check)
{
	check_stack_depth();
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_walker, check,
								 QTW_EXAMINE_RTES_BEFORE);
	check_node(check, node);
	check_json(check, node);
	if (IsA(node, RangeTblEntry))
		return false;			/* query_tree_walker goes inside */
	return expression_tree_walker(node, check_walker, check);
}

static void
check_clause(Check *check, MergeClause *clause)
{
	ListCell   *cell;

	check->clause = clause->location;
	check_walker((Node *) clause->condition, check);
	foreach(cell, clause->columns)
	{
		TargetEntry *column = lfirst_node(TargetEntry, cell);

		if (bms_is_member(column->resno, clause->listed))
			check_walker((Node *) column->expr, check);
	}
}

/* A statement, and the views that it reads; not the defaults of columns. */
static void
check_statement(Check *check)
{
	ListCell   *cell;

	check_walker((Node *) check->merge->analysed, check);
	check_walker((Node *) check->merge->rewritten->jointree, check);
	foreach(cell, check->merge->rewritten->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_SUBQUERY)
			check_walker((Node *) entry->subquery, check);
	}
}

/* The key of a statement projection, whose text is another one. */
static void
check_statement_key(const Merge *merge)
{
	Merge		of_key = *merge;
	Check		check = {&of_key, true, false, "the key of a projection", false, -1, -1};

	if (merge->statement->key_text == NULL)
		return;
	of_key.text = merge->statement->key_text;
	for (int i = 0; i < merge->key.ncolumns; i++)
		check_walker((Node *) merge->key.values[i], &check);
}

/*
 * Raise an error at the first expression that depends on more than the event,
 * the row and the pinned settings.  A statement may read other tables as well.
 */
void
MergeCheckExpressions(const Merge *merge, bool allow_stable)
{
	Check		check = {merge, true, allow_stable, "the key of a projection", false, -1, -1};
	ListCell   *cell;

	if (merge->statement != NULL)
	{
		check_statement_key(merge);
		check.chooses_key = false;
		check.where = "a projection";
		check_statement(&check);
		return;
	}
	for (int i = 0; i < merge->key.ncolumns; i++)
		check_walker((Node *) merge->key.values[i], &check);
	check.where = "the filter of a projection";
	check_walker((Node *) merge->filter, &check);
	check.where = "the source of a projection";
	check_walker((Node *) merge->fan_out, &check);
	check.chooses_key = false;
	check.where = "a projection";
	foreach(cell, merge->clauses)
		check_clause(&check, (MergeClause *) lfirst(cell));
}
