/*
 * merge.c
 *		A definition's text becomes a Merge: see merge.h and merge_build.h.
 *
 * What PostgreSQL finds wrong with the text is PostgreSQL's own error.  Its
 * parser points into the statement that the client has sent, which is the call
 * of a function with the definition as a string; so the position is turned
 * into one within the definition, as PL/pgSQL does, and a client shows the
 * right line.
 *
 * The caller's role and search_path are in force, and a snapshot is active.
 * The parser's and the rewriter's locks on relations are kept to the end of
 * the transaction: ROW EXCLUSIVE on the read model, ACCESS SHARE on the stream
 * and on views.
 */
#include "postgres.h"

#include "compat.h"
#include "access/table.h"
#include "nodes/makefuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "parser/scansup.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "merge/merge_build.h"
#include "merge/merge_hint.h"
#include "merge/merge_uses.h"

/* An error context: positions are within the definition. */
static void
point_into_text(void *definition)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(definition);
	}
}

/* From here on errors are about this text, and point into it. */
void
MergeTextBegin(MergeText *about, char *words)
{
	about->callback.callback = point_into_text;
	about->callback.arg = words;
	about->callback.previous = error_context_stack;
	error_context_stack = &about->callback;
	/* comes before the other one, which moves the position */
	MergeHintBegin(&about->hint, words);
}

void
MergeTextEnd(MergeText *about)
{
	MergeHintEnd(&about->hint);
	error_context_stack = about->callback.previous;
}

/* Where a statement's first word is: releases differ in what comes before. */
int
MergeStartOf(const MergeBuild *build, const RawStmt *statement)
{
	int			location = statement->stmt_location;

	while (scanner_isspace(build->merge->text[location]))
		location++;
	return location;
}

static RawStmt *
parse_raw(MergeBuild *build)
{
	List	   *statements = raw_parser(build->merge->text, RAW_PARSE_DEFAULT);
	RawStmt    *statement;

	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the definition is empty"),
				 errhint("A definition is one MERGE statement, or one INSERT ... SELECT ... ON CONFLICT.")));
	if (list_length(statements) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the definition has more than one statement"),
				 errhint("A definition is one MERGE statement, or one INSERT ... SELECT ... ON CONFLICT."),
				 MergePlace(build, MergeStartOf(build, lsecond(statements)))));
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, MergeStmt) &&
		!(IsA(statement->stmt, InsertStmt) &&
		  castNode(InsertStmt, statement->stmt)->onConflictClause != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the definition is neither a MERGE nor an INSERT ... ON CONFLICT"),
				 errhint("A definition is one statement, as in MERGE INTO read_model r USING stream e ON r.id = e.id WHEN NOT MATCHED THEN INSERT (id) VALUES (e.id). Or it is any statement over the relation events; then say of which stream: stream => '...'.")));
	build->raw = copyObject(statement->stmt);
	return statement;
}

static void
refuse_clause(MergeBuild *build, const char *clause, const char *hint,
			  int location)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not possible in a projection's definition", clause),
			 errhint("%s", hint),
			 MergePlace(build, location)));
}

static void
analyse(MergeBuild *build)
{
	Merge	   *merge = build->merge;
	RawStmt    *statement = parse_raw(build);
	List	   *rewritten;

	MergeCheckReadModel(build);
	merge->analysed = parse_analyze_fixedparams(statement, merge->text, NULL, 0,
												NULL);
	if (merge->analysed->cteList != NIL)
		refuse_clause(build, "WITH",
					  "Write the sub-select itself, in USING ( ... ) or in FROM ( ... ).",
					  exprLocation(linitial(merge->analysed->cteList)));
	if (compat_conflict_selects(merge->analysed->onConflict))
		refuse_clause(build, "ON CONFLICT DO SELECT",
					  "A projection returns no rows: write DO NOTHING, and leave RETURNING out.",
					  castNode(InsertStmt, build->raw)->onConflictClause->location);
	if (merge->analysed->returningList != NIL)
		refuse_clause(build, "RETURNING", "Leave RETURNING out.",
					  exprLocation((Node *) merge->analysed->returningList));
	build->target = merge->analysed->resultRelation;
	merge->read_model = rt_fetch(build->target,
								 merge->analysed->rtable)->relid;

	rewritten = pg_rewrite_query(copyObject(merge->analysed));
	if (list_length(rewritten) != 1)
		elog(ERROR, "definition was rewritten to %d statements",
			 list_length(rewritten));
	merge->rewritten = linitial_node(Query, rewritten);
	build->query = copyObject(merge->rewritten);
}

/* What the text calls its two sides, for messages. */
static void
name_sides(MergeBuild *build)
{
	RangeTblEntry *target = rt_fetch(build->target, build->query->rtable);
	Node	   *source = IsA(build->raw, MergeStmt) ?
		castNode(MergeStmt, build->raw)->sourceRelation : NULL;
	const char *name;

	if (source != NULL && IsA(source, RangeVar))
		name = ((RangeVar *) source)->alias ?
			((RangeVar *) source)->alias->aliasname :
			((RangeVar *) source)->relname;
	else if (source != NULL && IsA(source, RangeSubselect) &&
			 ((RangeSubselect *) source)->alias)
		name = ((RangeSubselect *) source)->alias->aliasname;
	else if (build->multiplies)
		name = "item";
	else
		name = build->stream->eref->aliasname;
	build->merge->item_name = pstrdup(quote_identifier(name));
	build->merge->row_name =
		pstrdup(quote_identifier(target->eref->aliasname));
}

static void
take_apart(MergeBuild *build)
{
	Merge	   *merge = build->merge;

	analyse(build);
	build->read_model = table_open(merge->read_model, NoLock);
	MergeCheckSource(build);
	name_sides(build);
	if (build->query->commandType == CMD_MERGE)
	{
		MergeBuildKey(build, compat_merge_condition(build->query));
		MergeBuildClauses(build);
	}
	else
		MergeBuildUpsert(build);
	MergeBuildItems(build);
	MergeAdvise(build);
	merge->uses = list_concat(MergeCollectUses(merge->analysed, merge->rewritten),
							  MergeKeyLabels(&merge->key));
	table_close(build->read_model, NoLock);
}

/*
 * Parse a definition.  The result is in the current memory context.
 *
 * Errors: those of PostgreSQL's parser; 42601 for what is not one statement;
 * 0A000 for what a projection cannot have, 42809 for a table that cannot be a
 * stream or a read model.
 */
Merge *
MergeParse(const char *definition)
{
	MergeBuild	build = {0};
	MergeText	about;

	build.merge = palloc0(sizeof(Merge));
	build.merge->text = pstrdup(definition);
	MergeTextBegin(&about, build.merge->text);
	take_apart(&build);
	MergeTextEnd(&about);
	return build.merge;
}
