/*
 * merge_action.c
 *		The WHENs of a MERGE.
 *
 * A row's key is the event's for as long as the row lives: INSERT sets the key
 * columns to what ON compares, and no UPDATE touches them.
 */
#include "postgres.h"

#include "compat.h"

#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "merge/merge_build.h"

static void
refuse(const MergeBuild *build, const char *what, const char *hint,
	   int location)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s", what),
			 errhint("%s", hint),
			 MergePlace(build, location)));
}

static bool
refuse_subselect(Node *node, void *build)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		refuse(build, "a sub-select is only possible in the source of a projection",
			   "Compute it from the event in the source: USING (SELECT ..., (SELECT ...) AS name FROM ...).",
			   exprLocation(node));
	return expression_tree_walker(node, refuse_subselect, build);
}

/* Sub-selects belong into the source. */
void
MergeRefuseSubselects(MergeBuild *build, void *expression)
{
	(void) refuse_subselect(expression, build);
}

/* Which of the key's columns it is, from 0; or -1. */
static int
key_place(const MergeBuild *build, AttrNumber column)
{
	const MergeKey *key = &build->merge->key;

	for (int i = 0; i < key->ncolumns; i++)
	{
		if (key->columns[i] == column)
			return i;
	}
	return -1;
}

static TargetEntry *
entry_of(List *targets, AttrNumber column)
{
	ListCell   *cell;

	foreach(cell, targets)
	{
		TargetEntry *entry = lfirst(cell);

		if (entry->resno == column)
			return entry;
	}
	return NULL;
}

/* "INSERT (order_id, status) VALUES (e.order_id, 'placed')" */
static char *
working_insert(const MergeBuild *build, const MergeClause *clause)
{
	StringInfoData columns;
	StringInfoData values;
	TupleDesc	descriptor = RelationGetDescr(build->read_model);

	initStringInfo(&columns);
	initStringInfo(&values);
	for (AttrNumber column = 1; column <= descriptor->natts; column++)
	{
		int			place = key_place(build, column);
		TargetEntry *entry = entry_of(clause->columns, column);
		const char *comma = columns.len > 0 ? ", " : "";

		if (place < 0 && !(bms_is_member(column, clause->listed) && entry))
			continue;
		appendStringInfo(&columns, "%s%s", comma,
						 quote_identifier(MergeColumnName(build, column)));
		appendStringInfo(&values, "%s%s", comma,
						 MergeShowStatement(build, place >= 0 ?
											build->merge->key.values[place] :
											entry->expr));
	}
	return psprintf("INSERT (%s) VALUES (%s)", columns.data, values.data);
}

static void
check_inserted_key(const MergeBuild *build, const MergeClause *clause)
{
	const MergeKey *key = &build->merge->key;

	for (int i = 0; i < key->ncolumns; i++)
	{
		TargetEntry *entry = entry_of(clause->columns, key->columns[i]);
		int			place;

		if (entry != NULL && MergeSameValue(entry->expr, key->values[i]))
			continue;
		place = entry ? exprLocation((Node *) entry->expr) : -1;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("INSERT must set the key column \"%s\" to what ON compares",
						MergeColumnName(build, key->columns[i])),
				 errdetail("Otherwise the event makes a row of another key."),
				 errhint("%s", working_insert(build, clause)),
				 MergePlace(build, place >= 0 ? place : clause->location)));
	}
}

/* A column that is not named is null; and a domain may not want that. */
static List *
add_null_domains(const MergeBuild *build, List *targets)
{
	TupleDesc	descriptor = RelationGetDescr(build->read_model);

	for (AttrNumber column = 1; column <= descriptor->natts; column++)
	{
		Form_pg_attribute form = TupleDescAttr(descriptor, column - 1);
		int32		typmod = form->atttypmod;
		Oid			base;
		Node	   *value;

		if (form->attisdropped || form->attgenerated != '\0' ||
			get_typtype(form->atttypid) != TYPTYPE_DOMAIN ||
			entry_of(targets, column) != NULL)
			continue;
		base = getBaseTypeAndTypmod(form->atttypid, &typmod);
		value = (Node *) makeConst(base, typmod, form->attcollation,
								   get_typlen(base), (Datum) 0, true,
								   get_typbyval(base));
		value = coerce_to_domain(value, base, typmod, form->atttypid,
								 COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1,
								 false);
		targets = lappend(targets,
						  makeTargetEntry((Expr *) value, column,
										  pstrdup(NameStr(form->attname)),
										  false));
	}
	return targets;
}

/* An INSERT's columns, which the rewriter has added the defaults to. */
void
MergeCompleteInsert(MergeBuild *build, MergeClause *clause, List *targets)
{
	clause->columns = add_null_domains(build, targets);
	check_inserted_key(build, clause);
}

void
MergeCheckUpdate(MergeBuild *build, MergeClause *clause)
{
	ListCell   *cell;

	foreach(cell, clause->columns)
	{
		TargetEntry *entry = lfirst(cell);

		if (key_place(build, entry->resno) < 0)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the key column \"%s\" cannot be updated",
						MergeColumnName(build, entry->resno)),
				 errdetail("An event changes the row of its own key only."),
				 errhint("Leave the column out of SET; or delete the row and insert another, from two items of the event (USING (SELECT ... FROM stream, LATERAL (VALUES ...) ...)); or use a key that does not change."),
				 MergePlace(build, exprLocation((Node *) entry->expr) >= 0 ?
							exprLocation((Node *) entry->expr) :
							clause->location)));
	}
}

/* The columns that a target list assigns. */
Bitmapset *
MergeColumnsListed(List *targets)
{
	Bitmapset  *listed = NULL;
	ListCell   *cell;

	foreach(cell, targets)
	{
		TargetEntry *entry = lfirst(cell);

		if (!entry->resjunk)
			listed = bms_add_member(listed, entry->resno);
	}
	return listed;
}

static List *
without_junk(List *targets)
{
	List	   *kept = NIL;
	ListCell   *cell;

	foreach(cell, targets)
	{
		if (!((TargetEntry *) lfirst(cell))->resjunk)
			kept = lappend(kept, lfirst(cell));
	}
	return kept;
}

static MergeActionKind
kind_of(CmdType command)
{
	switch (command)
	{
		case CMD_INSERT:
			return MERGE_DO_INSERT;
		case CMD_UPDATE:
			return MERGE_DO_UPDATE;
		case CMD_DELETE:
			return MERGE_DO_DELETE;
		default:
			return MERGE_DO_NOTHING;
	}
}

static MergeClause *
build_clause(MergeBuild *build, MergeAction *analysed, MergeAction *rewritten,
			 int location)
{
	MergeClause *clause = palloc0(sizeof(MergeClause));

	if (compat_when_without_source(rewritten))
		refuse(build, "WHEN NOT MATCHED BY SOURCE is not possible in a projection",
			   "A row without an event is not known of: use WHEN MATCHED AND ... THEN DELETE for the event that ends it.",
			   location);
	clause->matched = compat_when_matched(rewritten);
	clause->action = kind_of(rewritten->commandType);
	clause->condition = (Expr *) rewritten->qual;
	clause->listed = MergeColumnsListed(analysed->targetList);
	clause->location = location;
	MergeRefuseSubselects(build, rewritten->qual);
	MergeRefuseSubselects(build, rewritten->targetList);
	if (clause->action == MERGE_DO_INSERT)
		MergeCompleteInsert(build, clause, without_junk(rewritten->targetList));
	else
		clause->columns = without_junk(rewritten->targetList);
	if (clause->action == MERGE_DO_UPDATE)
		MergeCheckUpdate(build, clause);
	return clause;
}

void
MergeBuildClauses(MergeBuild *build)
{
	Merge	   *merge = build->merge;
	ListCell   *analysed;
	ListCell   *rewritten;
	int			count;
	int		   *places = MergeFindWhens(merge->text, &count);
	int			i = 0;

	forboth(analysed, merge->analysed->mergeActionList,
			rewritten, build->query->mergeActionList)
	{
		merge->clauses = lappend(merge->clauses,
								 build_clause(build, lfirst(analysed),
											  lfirst(rewritten),
											  count == list_length(merge->analysed->mergeActionList) ?
											  places[i] : -1));
		i++;
	}
}

/* Is there a clause with this action?  A statement has no clauses. */
bool
MergeHas(const Merge *merge, MergeActionKind action)
{
	ListCell   *cell;

	foreach(cell, merge->clauses)
	{
		if (((MergeClause *) lfirst(cell))->action == action)
			return true;
	}
	return false;
}
