/*
 * merge_key.c
 *		The key of a projection: the unique index behind what ON compares.
 *
 * ON compares exactly the columns of the index, by the index's own equality.
 * The same equality must be one that can be hashed, since a key's hash chooses
 * the partition.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "merge/merge_build.h"

static MergeComparison *
comparison_of(List *comparisons, AttrNumber column)
{
	ListCell   *cell;

	foreach(cell, comparisons)
	{
		MergeComparison *comparison = lfirst(cell);

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
		MergeRefuseOn(build, on,
					  psprintf("Unique index \"%s\" has more columns: %s.",
							   RelationGetRelationName(index),
							   column_names(build, missing)),
					  psprintf("Compare all of its columns, or create an index: CREATE UNIQUE INDEX ON %s (%s).",
							   quote_identifier(RelationGetRelationName(build->read_model)),
							   column_names(build, columns_of_index(index, comparisons,
																	true))));
	MergeRefuseOn(build, on,
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
		columns = lappend_int(columns, ((MergeComparison *) lfirst(cell))->column);
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
	MergeRefuseOn(build, on,
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
check_collation(const MergeBuild *build, const MergeComparison *comparison,
				Oid collation)
{
	Expr	   *value = comparison->value;

	if (!OidIsValid(collation) ||
		same_equality_under(comparison->operation->inputcollid, collation))
		return;
	if (IsA(comparison->value, CollateExpr))
		value = ((CollateExpr *) comparison->value)->arg;
	MergeRefuseOn(build, comparison->operation,
				  psprintf("Column \"%s\" is compared under collation %s, but its index has %s.",
						   MergeColumnName(build, comparison->column),
						   collation_name(comparison->operation->inputcollid),
						   collation_name(collation)),
				  psprintf("Give the event's side the index's collation: (%s) COLLATE %s.",
						   MergeShowStatement(build, value),
						   collation_name(collation)));
}

static void
check_hash(const MergeBuild *build, const void *node, AttrNumber column,
		   Oid equality)
{
	Oid			type = getBaseType(MergeColumn(build, column)->atttypid);
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_HASH_OPFAMILY |
											  TYPECACHE_HASH_EXTENDED_PROC);

	if (OidIsValid(cache->hash_extended_proc) &&
		get_op_opfamily_strategy(equality, cache->hash_opf) == HTEqualStrategyNumber)
		return;
	MergeRefuseOn(build, node,
				  psprintf("Values of type %s, that of column \"%s\", cannot be hashed by the index's equality.",
						   format_type_be(type), MergeColumnName(build, column)),
				  "Use a key whose type has a hash operator class, as text, uuid and numbers have.");
}

/* A value as the column's type, or its domain's base type, has it. */
static Expr *
as_column(const MergeBuild *build, AttrNumber column, Expr *value)
{
	Form_pg_attribute form = MergeColumn(build, column);
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
check_operator(const MergeBuild *build, const MergeComparison *comparison,
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
	if (strcmp(get_opname(comparison->operation->opno), "=") != 0)
		MergeRefuseInequality(build, (Node *) comparison->operation);
	if (!op_in_opfamily(comparison->operator, family))
		MergeRefuseCast(build, comparison->operation, comparison->column,
						(Node *) comparison->value,
						psprintf("Operator %s is not the equality of index \"%s\" for column \"%s\".",
								 format_operator(comparison->operation->opno),
								 RelationGetRelationName(index),
								 MergeColumnName(build, comparison->column)));
	get_op_opfamily_properties(comparison->operator, family, false, &strategy,
							   &left, &right);
	if (strategy != BTEqualStrategyNumber)
		MergeRefuseInequality(build, (Node *) comparison->operation);
	if (left != type || !widens(family, right, type))
		MergeRefuseCast(build, comparison->operation, comparison->column,
						(Node *) comparison->value,
						psprintf("Column \"%s\" is of type %s, and is compared with a value of type %s.",
								 MergeColumnName(build, comparison->column),
								 format_type_be(left), format_type_be(right)));
}

/* Does an index compare as ON does? */
static bool
compares_so(Relation index, List *comparisons)
{
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		Oid			type = index->rd_opcintype[i];
		MergeComparison *comparison =
			comparison_of(comparisons, index->rd_index->indkey.values[i]);
		int			strategy;
		Oid			left;
		Oid			right;

		if (!op_in_opfamily(comparison->operator, index->rd_opfamily[i]))
			return false;
		get_op_opfamily_properties(comparison->operator, index->rd_opfamily[i],
								   false, &strategy, &left, &right);
		if (strategy != BTEqualStrategyNumber || left != type ||
			(right != type && !widens(index->rd_opfamily[i], right, type)) ||
			(OidIsValid(index->rd_indcollation[i]) &&
			 !same_equality_under(comparison->operation->inputcollid,
								  index->rd_indcollation[i])))
			return false;
	}
	return true;
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
		if (MergeColumn(build, key->columns[i])->attgenerated != '\0')
			MergeRefuseOn(build, NULL,
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
		MergeComparison *comparison = comparison_of(comparisons, column);

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

/* A unique index on these columns; if there is one, it compares as ON does. */
static Oid
find_index(MergeBuild *build, List *comparisons)
{
	List	   *indexes = RelationGetIndexList(build->read_model);
	Oid			found = InvalidOid;
	bool		fits = false;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		int			missing;

		if (!fits && MergeUsableIndex(index) &&
			covers(index, comparisons, &missing))
		{
			fits = compares_so(index, comparisons);
			if (fits || !OidIsValid(found))
				found = RelationGetRelid(index);
		}
		index_close(index, AccessShareLock);
	}
	return found;
}

/* An ON clause becomes the key. */
void
MergeBuildKey(MergeBuild *build, Node *on)
{
	List	   *comparisons;
	Oid			indexid;
	Relation	index;

	MergeRefuseSubselects(build, on);
	comparisons = MergeReadOn(build, on, NIL);
	indexid = find_index(build, comparisons);
	if (!OidIsValid(indexid))
		refuse_without_index(build, on, comparisons);
	index = index_open(indexid, AccessShareLock);
	take_index(build, index, comparisons);
	index_close(index, AccessShareLock);
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
