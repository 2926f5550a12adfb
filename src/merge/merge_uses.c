/*
 * merge_uses.c
 *		What the names of a definition mean, in words.
 *
 * The list is stored when a projection is created and compared whenever the
 * definition is analysed again.  A name that now means something else (a table
 * of the same name that comes first in the path, a function that fits better)
 * makes another list.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "merge/merge_uses.h"

typedef struct Collection
{
	List	   *uses;			/* of char * */
	List	   *queries;		/* those that we are in, the innermost first */
} Collection;

static bool collect_walker(Node *node, Collection *collection);

static void
add(Collection *collection, const char *kind, const char *name)
{
	collection->uses = lappend(collection->uses,
							   psprintf("%s %s", kind, name));
}

static const char *
qualified_type(Oid type, int32 typmod)
{
	return format_type_extended(type, typmod,
								FORMAT_TYPE_TYPEMOD_GIVEN |
								FORMAT_TYPE_FORCE_QUALIFY);
}

static void
add_type(Collection *collection, Oid type)
{
	char		kind = get_typtype(type);
	const char *name = qualified_type(type, -1);

	if (kind == TYPTYPE_DOMAIN)
		add(collection, "domain",
			psprintf("%s over %s", name,
					 qualified_type(getBaseType(type), -1)));
	else
		add(collection, kind == TYPTYPE_ENUM ? "enum" : "type", name);
}

static void
add_collation(Collection *collection, Oid collation)
{
	ObjectAddress address;

	if (!OidIsValid(collation) || collation == DEFAULT_COLLATION_OID)
		return;
	ObjectAddressSet(address, CollationRelationId, collation);
	add(collection, "collation", getObjectIdentity(&address, false));
}

static const char *
qualified_relation(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
}

static void
add_relation(Collection *collection, Oid relation)
{
	add(collection,
		get_rel_relkind(relation) == RELKIND_VIEW ? "view" : "table",
		qualified_relation(relation));
}

static void
add_column(Collection *collection, Oid relation, AttrNumber column)
{
	Oid			type;
	int32		typmod;
	Oid			collation;
	const char *name = get_attname(relation, column, false);

	get_atttypetypmodcoll(relation, column, &type, &typmod, &collation);
	add(collection, "column",
		psprintf("%s.%s of type %s", qualified_relation(relation),
				 quote_identifier(name), qualified_type(type, typmod)));
	add_collation(collection, collation);
}

/* All of them, where the row is used as a whole. */
static void
add_columns(Collection *collection, Oid relation)
{
	for (AttrNumber column = 1;
		 get_attname(relation, column, true) != NULL;
		 column++)
	{
		if (OidIsValid(get_atttype(relation, column)))
			add_column(collection, relation, column);
	}
}

/* A column of a join is one of the tables that it joins. */
static void
add_joined(Collection *collection, RangeTblEntry *join, Var *var)
{
	List	   *queries = collection->queries;

	/* what it stands for is seen from the join's own query */
	collection->queries = list_copy_tail(queries, var->varlevelsup);
	if (var->varattno > 0)
		(void) collect_walker(list_nth(join->joinaliasvars, var->varattno - 1),
							  collection);
	else
		(void) collect_walker((Node *) join->joinaliasvars, collection);
	collection->queries = queries;
}

static void
add_var(Collection *collection, Var *var)
{
	Query	   *query;
	RangeTblEntry *entry;

	/* an expression without its query: its columns are somebody else's */
	if (var->varlevelsup >= list_length(collection->queries))
		return;
	query = list_nth_node(Query, collection->queries, var->varlevelsup);
	if (var->varno < 1 || var->varno > list_length(query->rtable))
		return;
	entry = list_nth_node(RangeTblEntry, query->rtable, var->varno - 1);
	if (entry->rtekind == RTE_JOIN)
		add_joined(collection, entry, var);
	if (entry->rtekind != RTE_RELATION && entry->rtekind != RTE_NAMEDTUPLESTORE)
		return;
	if (var->varattno == InvalidAttrNumber)
		add_columns(collection, entry->relid);
	else if (var->varattno > 0)
		add_column(collection, entry->relid, var->varattno);
}

/* Columns of the innermost query's target that are assigned. */
static void
add_assigned(Collection *collection, List *targets)
{
	Query	   *query = linitial_node(Query, collection->queries);
	RangeTblEntry *target;
	ListCell   *cell;

	if (query->resultRelation == 0)
		return;
	target = list_nth_node(RangeTblEntry, query->rtable,
						   query->resultRelation - 1);
	foreach(cell, targets)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk)
			add_column(collection, target->relid, entry->resno);
	}
}

static bool
add_function(Oid function, void *collection)
{
	add(collection, "function", format_procedure_qualified(function));
	return false;
}

static void
add_operators(Collection *collection, Node *node)
{
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			add(collection, "operator",
				format_operator_qualified(((OpExpr *) node)->opno));
			break;
		case T_ScalarArrayOpExpr:
			add(collection, "operator",
				format_operator_qualified(((ScalarArrayOpExpr *) node)->opno));
			break;
		case T_RowCompareExpr:
			foreach(cell, ((RowCompareExpr *) node)->opnos)
				add(collection, "operator",
					format_operator_qualified(lfirst_oid(cell)));
			break;
		default:
			break;
	}
}

/* The types that a text names, or that values are turned into. */
static void
add_types(Collection *collection, Node *node)
{
	switch (nodeTag(node))
	{
		case T_Const:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CoerceToDomain:
		case T_RowExpr:
		case T_MinMaxExpr:
			add_type(collection, exprType(node));
			break;
		default:
			break;
	}
}

static void
collect_query(Collection *collection, Query *query)
{
	ListCell   *cell;

	collection->queries = lcons(query, collection->queries);
	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		/* since 16 a view that was expanded is still named */
		if (OidIsValid(entry->relid))
			add_relation(collection, entry->relid);
	}
	if (query->commandType == CMD_INSERT || query->commandType == CMD_UPDATE)
		add_assigned(collection, query->targetList);
	if (query->onConflict != NULL)
		add_assigned(collection, query->onConflict->onConflictSet);
	/* columns of a join that nobody names are not used */
	(void) query_tree_walker(query, collect_walker, collection,
							 QTW_IGNORE_JOINALIASES);
	collection->queries = list_delete_first(collection->queries);
}

static bool
collect_walker(Node *node, Collection *collection)
{
	check_stack_depth();
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		collect_query(collection, (Query *) node);
		return false;
	}
	if (IsA(node, Var))
		add_var(collection, (Var *) node);
	else if (IsA(node, MergeAction))
		add_assigned(collection, ((MergeAction *) node)->targetList);
	else
	{
		add_operators(collection, node);
		add_types(collection, node);
		(void) check_functions_in_node(node, add_function, collection);
		add_collation(collection, exprInputCollation(node));
		if (IsA(node, CollateExpr))
			add_collation(collection, ((CollateExpr *) node)->collOid);
	}
	return expression_tree_walker(node, collect_walker, collection);
}

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* Sorted, each once. */
static List *
sorted(List *uses)
{
	List	   *unique = NIL;
	ListCell   *cell;

	list_sort(uses, compare_texts);
	foreach(cell, uses)
	{
		if (unique == NIL || strcmp(llast(unique), lfirst(cell)) != 0)
			unique = lappend(unique, lfirst(cell));
	}
	return unique;
}

/*
 * What the names of a statement mean.  The query as it was analysed has the
 * views, the rewritten one has what the views are made of.  The rewriter has
 * put in defaults as well, which are no names of the text: so nothing else is
 * looked at there.
 */
List *
MergeCollectUses(Query *analysed, Query *rewritten)
{
	List	   *nodes = list_make1(analysed);
	ListCell   *cell;

	foreach(cell, rewritten->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_SUBQUERY)
			nodes = lappend(nodes, entry->subquery);
	}
	return MergeCollectExpressionUses(nodes);
}

/* The same for expressions, and queries. */
List *
MergeCollectExpressionUses(List *nodes)
{
	Collection	collection = {NIL, NIL};

	(void) collect_walker((Node *) nodes, &collection);
	return sorted(collection.uses);
}

/* The labels that an enum has. */
static List *
labels_of(Oid type)
{
	Relation	catalog = table_open(EnumRelationId, AccessShareLock);
	List	   *labels = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type));
	scan = systable_beginscan(catalog, EnumTypIdLabelIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		labels = lappend(labels,
						 psprintf(KEY_LABEL "%s of %s",
								  NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel),
								  qualified_type(type, -1)));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return labels;
}

/*
 * The labels of enums that are keys, by whose texts partitions are chosen and
 * keys are parked: a label that is added is none of theirs, but each that there
 * was must stay.
 */
List *
MergeKeyLabels(const MergeKey *key)
{
	List	   *labels = NIL;

	for (int i = 0; i < key->ncolumns; i++)
	{
		Oid			type = getBaseType(exprType((Node *) key->values[i]));
		Oid			element = get_base_element_type(type);

		if (OidIsValid(element))
			type = getBaseType(element);
		if (get_typtype(type) == TYPTYPE_ENUM)
			labels = list_concat(labels, labels_of(type));
	}
	return labels;
}
