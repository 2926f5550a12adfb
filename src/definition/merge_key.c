/*
 * merge_key.c
 *		The key of a projection: what ON compares, and the index behind it.
 *
 * An event belongs to the row whose key equals the event's, so that ON must be
 * that comparison and nothing else: each column of a unique index, by the
 * index's own equality, with a value of the event.  The same equality must be
 * one that can be hashed, since a key's hash chooses the partition.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "definition/merge_build.h"

/* One comparison of ON. */
typedef struct Comparison
{
	OpExpr	   *operation;
	AttrNumber	column;			/* of the read model */
	Expr	   *value;			/* over the source */
	Oid			operator;		/* with the column on the left */
} Comparison;

static void
refuse(const MergeBuild *build, const void *node, const char *detail,
	   const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
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

static Form_pg_attribute
column_form(const MergeBuild *build, AttrNumber column)
{
	return TupleDescAttr(RelationGetDescr(build->read_model), column - 1);
}

/* An expression without the casts that nobody has written. */
static Node *
without_implicit_casts(Node *node)
{
	for (;;)
	{
		if (IsA(node, RelabelType) &&
			((RelabelType *) node)->relabelformat == COERCE_IMPLICIT_CAST)
			node = (Node *) ((RelabelType *) node)->arg;
		else if (IsA(node, FuncExpr) &&
				 ((FuncExpr *) node)->funcformat == COERCE_IMPLICIT_CAST)
			node = linitial(((FuncExpr *) node)->args);
		else
			return node;
	}
}

/* "o.day = (e.created_at)::date": the comparison that would work. */
static char *
casted_comparison(const MergeBuild *build, AttrNumber column, Node *value)
{
	Form_pg_attribute form = column_form(build, column);
	char	   *shown;

	value = without_implicit_casts(value);
	shown = MergeShowStatement(build, value);
	return psprintf("%s.%s = (%s)::%s", build->merge->row_name,
					quote_identifier(NameStr(form->attname)), shown,
					format_type_be(form->atttypid));
}

static void
refuse_cast(const MergeBuild *build, const OpExpr *operation,
			AttrNumber column, Node *value, const char *detail)
{
	refuse(build, operation, detail,
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
		refuse(build, operation, "Both sides use the read model.",
			   "Put conditions on the row into WHEN MATCHED AND ...");
	if (column != InvalidAttrNumber &&
		is_column(build, without_implicit_casts(side)))
		refuse_cast(build, operation, column, left_row ? right : left,
					psprintf("The comparison is not of the column's type: column \"%s\" is cast to %s.",
							 MergeColumnName(build, column),
							 format_type_be(exprType(side))));
	refuse(build, operation,
		   "The read model's side is an expression, not a column.",
		   "Keep the expression's value in a column of its own, with a unique index.");
}

static void
refuse_filter(const MergeBuild *build, Node *node)
{
	refuse(build, node, "A condition does not touch the read model.",
		   psprintf("Put it into the WHEN clauses, as in WHEN MATCHED AND %s, or into the WHERE of a sub-select: USING (SELECT ... FROM ... WHERE ...) %s.",
					MergeShowStatement(build, node), build->merge->item_name));
}

static void
refuse_no_equality(const MergeBuild *build, Node *node)
{
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == OR_EXPR)
		refuse(build, node, "An event belongs to one key, so OR is not possible.",
			   "Use two projections, or a sub-select that gives one item for each key.");
	if (!find_row(node, (void *) build))
		refuse_filter(build, node);
	refuse(build, node, "A condition is not an equality.",
		   "Put conditions on the row into WHEN MATCHED AND ...");
}

static void
check_column(const MergeBuild *build, const Comparison *comparison)
{
	if (comparison->column <= 0)
		refuse(build, comparison->operation,
			   comparison->column == 0 ? "The whole row is compared." :
			   "A system column is compared.",
			   "Compare the columns of a unique index.");
	if (column_form(build, comparison->column)->attgenerated != '\0')
		refuse(build, comparison->operation,
			   psprintf("Column \"%s\" is generated from others.",
						MergeColumnName(build, comparison->column)),
			   "Use an ordinary column that INSERT sets to the event's value.");
	if (!find_event((Node *) comparison->value, (void *) build))
		refuse(build, comparison->operation,
			   psprintf("Column \"%s\" is compared with a constant.",
						MergeColumnName(build, comparison->column)),
			   "Leave the column out of the unique index, or compare it with a value of the event.");
}

static Comparison *
read_comparison(const MergeBuild *build, Node *node)
{
	Comparison *comparison = palloc0(sizeof(Comparison));
	OpExpr	   *operation = (OpExpr *) node;
	Node	   *left;
	Node	   *right;

	if (!IsA(node, OpExpr) || list_length(operation->args) != 2)
		refuse_no_equality(build, node);
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

static List *
read_comparisons(const MergeBuild *build, Node *node, List *known)
{
	ListCell   *cell;
	Comparison *comparison;

	if (is_andclause(node))
	{
		foreach(cell, ((BoolExpr *) node)->args)
			known = read_comparisons(build, lfirst(cell), known);
		return known;
	}
	comparison = read_comparison(build, node);
	foreach(cell, known)
	{
		if (((Comparison *) lfirst(cell))->column == comparison->column)
			refuse(build, node,
				   psprintf("Column \"%s\" is compared twice.",
							MergeColumnName(build, comparison->column)),
				   "Compare each column of the unique index once.");
	}
	return lappend(known, comparison);
}

static Comparison *
comparison_of(List *comparisons, AttrNumber column)
{
	ListCell   *cell;

	foreach(cell, comparisons)
	{
		Comparison *comparison = lfirst(cell);

		if (comparison->column == column)
			return comparison;
	}
	return NULL;
}

/* Could an index decide which row an event belongs to? */
bool
MergeUsableIndex(Relation index)
{
	Form_pg_index form = index->rd_index;

	return index->rd_rel->relam == BTREE_AM_OID && form->indisunique &&
		form->indisvalid && form->indisready && form->indislive &&
		form->indimmediate &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL);
}

static bool
covers(Relation index, List *comparisons, int *missing)
{
	int			found = 0;

	*missing = 0;
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		if (comparison_of(comparisons, index->rd_index->indkey.values[i]))
			found++;
		else
			(*missing)++;
	}
	return *missing == 0 && found == list_length(comparisons);
}

static char *
column_names(const MergeBuild *build, List *columns)
{
	StringInfoData names;
	ListCell   *cell;

	initStringInfo(&names);
	foreach(cell, columns)
		appendStringInfo(&names, "%s%s", cell == list_head(columns) ? "" : ", ",
						 quote_identifier(MergeColumnName(build,
														  lfirst_int(cell))));
	return names.data;
}

/* The columns of an index that ON does not compare, or does. */
static List *
columns_of_index(Relation index, List *comparisons, bool compared)
{
	List	   *columns = NIL;

	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		AttrNumber	column = index->rd_index->indkey.values[i];

		if ((comparison_of(comparisons, column) != NULL) == compared)
			columns = lappend_int(columns, column);
	}
	return columns;
}

static void
refuse_part_of_index(const MergeBuild *build, Node *on, Relation index,
					 List *comparisons)
{
	List	   *missing = columns_of_index(index, comparisons, false);

	if (missing != NIL)
		refuse(build, on,
			   psprintf("Unique index \"%s\" has more columns: %s.",
						RelationGetRelationName(index),
						column_names(build, missing)),
			   psprintf("Compare all of its columns, or create an index: CREATE UNIQUE INDEX ON %s (%s).",
						quote_identifier(RelationGetRelationName(build->read_model)),
						column_names(build, columns_of_index(index, comparisons,
															 true))));
	refuse(build, on,
		   psprintf("Unique index \"%s\" has fewer columns: %s.",
					RelationGetRelationName(index),
					column_names(build, columns_of_index(index, comparisons,
														 true))),
		   "Compare these columns only, and put other conditions into WHEN MATCHED AND ...");
}

static void
refuse_without_index(const MergeBuild *build, Node *on, List *comparisons)
{
	List	   *columns = NIL;
	List	   *indexes = RelationGetIndexList(build->read_model);
	ListCell   *cell;

	foreach(cell, comparisons)
		columns = lappend_int(columns, ((Comparison *) lfirst(cell))->column);
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		int			missing;

		(void) covers(index, comparisons, &missing);
		if (MergeUsableIndex(index) &&
			(missing == 0 ||
			 index->rd_index->indnkeyatts - missing == list_length(columns)))
			refuse_part_of_index(build, on, index, comparisons);
		index_close(index, AccessShareLock);
	}
	refuse(build, on,
		   psprintf("There is no valid, immediate unique index on exactly (%s), without a predicate.",
					column_names(build, columns)),
		   psprintf("CREATE UNIQUE INDEX ON %s (%s);",
					quote_identifier(RelationGetRelationName(build->read_model)),
					column_names(build, columns)));
}

/*
 * Every value of the narrower type is one of the column's type, and equal to
 * the same: so the event's side can be made the column's type.
 */
static bool
widens(Oid family, Oid from, Oid to)
{
	if (family == INTEGER_BTREE_FAM_OID)
		return (to == INT8OID && (from == INT4OID || from == INT2OID)) ||
			(to == INT4OID && from == INT2OID);
	return from == FLOAT4OID && to == FLOAT8OID;
}

static bool
same_equality_under(Oid a, Oid b)
{
	return a == b ||
		(OidIsValid(a) && OidIsValid(b) &&
		 get_collation_isdeterministic(a) && get_collation_isdeterministic(b));
}

static char *
collation_name(Oid collation)
{
	char	   *name = OidIsValid(collation) ? get_collation_name(collation) : NULL;

	return name ? psprintf("\"%s\"", name) : "none";
}

static void
check_collation(const MergeBuild *build, const Comparison *comparison,
				Oid collation)
{
	if (!OidIsValid(collation) ||
		same_equality_under(comparison->operation->inputcollid, collation))
		return;
	refuse(build, comparison->operation,
		   psprintf("Column \"%s\" is compared under collation %s, but its index has %s.",
					MergeColumnName(build, comparison->column),
					collation_name(comparison->operation->inputcollid),
					collation_name(collation)),
		   psprintf("Give the event's side the index's collation: (%s) COLLATE %s.",
					MergeShowStatement(build, comparison->value),
					collation_name(collation)));
}

static void
check_hash(const MergeBuild *build, const void *node, AttrNumber column,
		   Oid equality)
{
	Oid			type = getBaseType(column_form(build, column)->atttypid);
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_HASH_OPFAMILY |
											  TYPECACHE_HASH_EXTENDED_PROC);

	if (OidIsValid(cache->hash_extended_proc) &&
		get_op_opfamily_strategy(equality, cache->hash_opf) == HTEqualStrategyNumber)
		return;
	refuse(build, node,
		   psprintf("Values of type %s, that of column \"%s\", cannot be hashed by the index's equality.",
					format_type_be(type), MergeColumnName(build, column)),
		   "Use a key whose type has a hash operator class, as text, uuid and numbers have.");
}

/* A value as the column's type, or its domain's base type, has it. */
static Expr *
as_column(const MergeBuild *build, AttrNumber column, Expr *value)
{
	Form_pg_attribute form = column_form(build, column);
	Oid			type = getBaseType(form->atttypid);
	Oid			from = exprType((Node *) value);

	if (from == type)
		return value;
	if (IsBinaryCoercible(from, type) || IsBinaryCoercible(type, from))
		return (Expr *) makeRelabelType(value, type, -1, form->attcollation,
										COERCE_IMPLICIT_CAST);
	return (Expr *) coerce_type(NULL, (Node *) value, from, type, -1,
								COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
}

static void
check_operator(const MergeBuild *build, const Comparison *comparison,
			   Relation index, int i)
{
	Oid			family = index->rd_opfamily[i];
	Oid			type = index->rd_opcintype[i];
	Oid			left;
	Oid			right;
	int			strategy;

	if (get_opfamily_member(family, type, type,
							BTEqualStrategyNumber) == comparison->operator)
		return;
	if (!op_in_opfamily(comparison->operator, family))
		refuse_cast(build, comparison->operation, comparison->column,
					(Node *) comparison->value,
					psprintf("Operator %s is not the equality of index \"%s\" for column \"%s\".",
							 format_operator(comparison->operation->opno),
							 RelationGetRelationName(index),
							 MergeColumnName(build, comparison->column)));
	get_op_opfamily_properties(comparison->operator, family, false, &strategy,
							   &left, &right);
	if (strategy != BTEqualStrategyNumber)
		refuse_no_equality(build, (Node *) comparison->operation);
	if (left != type || !widens(family, right, type))
		refuse_cast(build, comparison->operation, comparison->column,
					(Node *) comparison->value,
					psprintf("Column \"%s\" is of type %s, and is compared with a value of type %s.",
							 MergeColumnName(build, comparison->column),
							 format_type_be(left), format_type_be(right)));
}

/* The key's columns, their equality and collation, as an index has them. */
void
MergeKeyFromIndex(MergeBuild *build, Relation index)
{
	MergeKey   *key = &build->merge->key;

	key->index = RelationGetRelid(index);
	key->ncolumns = index->rd_index->indnkeyatts;
	for (int i = 0; i < key->ncolumns; i++)
	{
		key->columns[i] = index->rd_index->indkey.values[i];
		key->equality[i] = get_opfamily_member(index->rd_opfamily[i],
											   index->rd_opcintype[i],
											   index->rd_opcintype[i],
											   BTEqualStrategyNumber);
		key->collation[i] = index->rd_indcollation[i];
		if (column_form(build, key->columns[i])->attgenerated != '\0')
			refuse(build, NULL,
				   psprintf("Column \"%s\" is generated from others.",
							MergeColumnName(build, key->columns[i])),
				   "Use an ordinary column.");
		check_hash(build, NULL, key->columns[i], key->equality[i]);
	}
}

static void
take_index(MergeBuild *build, Relation index, List *comparisons)
{
	MergeKey   *key = &build->merge->key;

	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		AttrNumber	column = index->rd_index->indkey.values[i];
		Comparison *comparison = comparison_of(comparisons, column);

		check_operator(build, comparison, index, i);
		check_collation(build, comparison, index->rd_indcollation[i]);
		check_hash(build, comparison->operation, column,
				   get_opfamily_member(index->rd_opfamily[i],
									   index->rd_opcintype[i],
									   index->rd_opcintype[i],
									   BTEqualStrategyNumber));
		key->values[i] = as_column(build, column, comparison->value);
	}
	MergeKeyFromIndex(build, index);
}

/* An ON clause becomes the key. */
void
MergeBuildKey(MergeBuild *build, Node *on)
{
	List	   *comparisons = read_comparisons(build, on, NIL);
	List	   *indexes = RelationGetIndexList(build->read_model);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		int			missing;

		if (MergeUsableIndex(index) && covers(index, comparisons, &missing))
			take_index(build, index, comparisons);
		index_close(index, AccessShareLock);
		if (OidIsValid(build->merge->key.index))
			return;
	}
	refuse_without_index(build, on, comparisons);
}

/* What a value is without the coercions that a column's type demands. */
static const Node *
without_coercions(const Node *node)
{
	for (;;)
	{
		if (IsA(node, RelabelType))
			node = (const Node *) ((const RelabelType *) node)->arg;
		else if (IsA(node, CoerceToDomain))
			node = (const Node *) ((const CoerceToDomain *) node)->arg;
		else if (IsA(node, CollateExpr))
			node = (const Node *) ((const CollateExpr *) node)->arg;
		else if (IsA(node, FuncExpr) &&
				 ((const FuncExpr *) node)->funcformat == COERCE_IMPLICIT_CAST &&
				 exprIsLengthCoercion(node, NULL))
			node = linitial(((const FuncExpr *) node)->args);
		else
			return node;
	}
}

/* Do two expressions give the same value, but for a coercion of its length? */
bool
MergeSameValue(const void *a, const void *b)
{
	return equal(without_coercions(a), without_coercions(b));
}
