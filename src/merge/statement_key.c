/*
 * statement_key.c
 *		The key of a statement projection: expressions over an event.
 *
 * The text is a list of expressions, as after SELECT.  PostgreSQL's parser has
 * a mode for just that, so that positions of errors are in the user's text.
 * Keys are compared by the equality of their types; there is no index that
 * would say otherwise.
 */
#include "postgres.h"

#include "compat.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "merge/merge_build.h"

/* what stands for the key where there is none */
#define ONE_KEY "all"

#define EXAMPLE "A key is an expression over a row of the stream, or several, as in order_id or (payload->>'id')::uuid, kind."

static void
refuse(const MergeBuild *build, int location, const char *detail,
	   const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("this cannot be the key of a projection"),
			 errdetail("%s", detail),
			 errhint("%s", hint),
			 MergePlace(build, location)));
}

static bool
is_plain(const SelectStmt *select)
{
	return select->op == SETOP_NONE && select->distinctClause == NIL &&
		select->intoClause == NULL && select->fromClause == NIL &&
		select->whereClause == NULL && select->groupClause == NIL &&
		select->havingClause == NULL && select->windowClause == NIL &&
		select->sortClause == NIL && select->limitCount == NULL &&
		select->limitOffset == NULL && select->lockingClause == NIL &&
		select->withClause == NULL && select->targetList != NIL;
}

static Query *
analyse(MergeBuild *build, Relation stream)
{
	List	   *parsed = raw_parser(build->merge->text, RAW_PARSE_PLPGSQL_EXPR);
	RawStmt    *statement = linitial_node(RawStmt, parsed);
	SelectStmt *select = castNode(SelectStmt, statement->stmt);
	Query	   *query;

	if (!is_plain(select))
		refuse(build, 0, "It is more than a list of expressions.", EXAMPLE);
	select->fromClause =
		list_make1(makeRangeVar(get_namespace_name(RelationGetNamespace(stream)),
								pstrdup(RelationGetRelationName(stream)), -1));
	query = parse_analyze_fixedparams(statement, build->merge->text, NULL, 0,
									  NULL);
	if (query->hasSubLinks || query->hasAggs || query->hasWindowFuncs ||
		query->hasTargetSRFs)
		refuse(build, 0,
			   "It has a sub-select, an aggregate or a function that returns a set.",
			   "A key depends on one event alone.");
	return query;
}

/* Where a column of the stream is in an item, which gets it if need be. */
static AttrNumber
item_column(Merge *merge, AttrNumber column)
{
	for (int i = 0; i < merge->item_width; i++)
	{
		if (merge->item_columns[i] == column)
			return i + 1;
	}
	merge->item_columns[merge->item_width++] = column;
	return merge->item_width;
}

typedef struct OverItem
{
	MergeBuild *build;
	Merge	   *merge;
} OverItem;

/* The stream's columns become an item's. */
static Node *
over_item(Node *node, void *context)
{
	OverItem   *over = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		if (var->varattno <= 0)
			refuse(over->build, var->location,
				   "It uses the row as a whole, or a system column.",
				   "Name the columns.");
		over->merge->stream_columns = bms_add_member(over->merge->stream_columns,
													 var->varattno);
		var->varno = MERGE_ITEM;
		var->varattno = item_column(over->merge, var->varattno);
		return (Node *) var;
	}
	return expression_tree_mutator(node, over_item, context);
}

/* The value as its type's base type. */
static Expr *
as_base_type(Expr *value)
{
	Oid			type = exprType((Node *) value);
	Oid			base = getBaseType(type);

	if (base == type)
		return value;
	return (Expr *) makeRelabelType(value, base, -1,
									exprCollation((Node *) value),
									COERCE_IMPLICIT_CAST);
}

static void
add_column(MergeBuild *build, Merge *merge, Expr *value, int location)
{
	MergeKey   *key = &merge->key;
	Oid			type = exprType((Node *) value);
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_EQ_OPR |
											  TYPECACHE_HASH_EXTENDED_PROC);
	Oid			collation = exprCollation((Node *) value);

	if (type == RECORDOID)
		refuse(build, location, "It is a row.",
			   "Write the columns without parentheses around them.");
	if (!OidIsValid(cache->eq_opr) || !OidIsValid(cache->hash_extended_proc))
		refuse(build, location,
			   psprintf("Values of type %s cannot be hashed.",
						format_type_be(type)),
			   "Use a key whose type has a hash operator class, as text, uuid and numbers have.");
	if (type_is_collatable(type) && !OidIsValid(collation))
		refuse(build, location, "It has no collation.",
			   "Add COLLATE \"C\" to it.");
	if (key->ncolumns == INDEX_MAX_KEYS)
		refuse(build, location,
			   psprintf("It has more than %d columns.", INDEX_MAX_KEYS), EXAMPLE);
	key->values[key->ncolumns] = value;
	key->equality[key->ncolumns] = cache->eq_opr;
	key->collation[key->ncolumns] = collation;
	key->ncolumns++;
}

static void
read_columns(MergeBuild *build, Merge *merge, Relation stream)
{
	Query	   *query = analyse(build, stream);
	OverItem	over = {build, merge};
	ListCell   *cell;

	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Expr	   *value = (Expr *) over_item((Node *) entry->expr, &over);

		add_column(build, merge, as_base_type(value),
				   exprLocation((Node *) entry->expr));
	}
}

/* All events have one key. */
static void
make_one_key(Merge *merge)
{
	Const	   *value = makeConst(TEXTOID, -1, C_COLLATION_OID, -1,
								  CStringGetTextDatum(ONE_KEY), false, false);

	add_column(NULL, merge, (Expr *) value, -1);
}

/* Fill in the key as its text says. */
void
StatementReadKey(Merge *merge, Relation stream)
{
	Merge		of_key = {0};
	MergeBuild	build = {.merge = &of_key};
	MergeText	about;

	if (merge->statement->key_text == NULL)
	{
		make_one_key(merge);
		return;
	}
	of_key.text = merge->statement->key_text;
	MergeTextBegin(&about, of_key.text);
	read_columns(&build, merge, stream);
	MergeTextEnd(&about);
}
