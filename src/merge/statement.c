/*
 * statement.c
 *		A statement projection's definition: see statement.h.
 *
 * PostgreSQL's parser analyses the statement with "events" in its sight, as it
 * does for a trigger's transition tables.  What is checked here is what a
 * projection cannot have; the rest is the statement's own matter.
 */
#include "postgres.h"

#include "compat.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "merge/merge_build.h"
#include "merge/merge_uses.h"
#include "merge/statement.h"

#define EXAMPLE "A definition with a stream is one statement over events, as in INSERT INTO t SELECT e.id, e.amount FROM events e."

static void
refuse(const MergeBuild *build, int code, const char *message,
	   const char *hint, int location)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("%s", message),
			 errhint("%s", hint),
			 MergePlace(build, location)));
}

static WithClause *
with_of(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_InsertStmt:
			return ((InsertStmt *) statement)->withClause;
		case T_UpdateStmt:
			return ((UpdateStmt *) statement)->withClause;
		case T_DeleteStmt:
			return ((DeleteStmt *) statement)->withClause;
		case T_MergeStmt:
			return ((MergeStmt *) statement)->withClause;
		case T_SelectStmt:
			return ((SelectStmt *) statement)->withClause;
		default:
			return NULL;
	}
}

static bool
modifies(const Node *statement)
{
	return IsA(statement, InsertStmt) || IsA(statement, UpdateStmt) ||
		IsA(statement, DeleteStmt) || IsA(statement, MergeStmt);
}

/* Has its WITH a statement that modifies a table? */
static bool
with_modifies(Node *statement)
{
	WithClause *with = with_of(statement);
	ListCell   *cell;

	foreach(cell, with != NULL ? with->ctes : NIL)
	{
		if (modifies(lfirst_node(CommonTableExpr, cell)->ctequery))
			return true;
	}
	return false;
}

static bool
refuse_parameters(Node *node, void *build)
{
	if (node == NULL)
		return false;
	if (IsA(node, ParamRef))
		refuse(build, ERRCODE_UNDEFINED_PARAMETER,
			   psprintf("a projection's definition has no parameter $%d",
						((ParamRef *) node)->number),
			   "Use a column of events, or write the value itself.",
			   ((ParamRef *) node)->location);
	return raw_expression_tree_walker(node, refuse_parameters, build);
}

static RawStmt *
parse_raw(MergeBuild *build)
{
	List	   *statements = raw_parser(build->merge->text, RAW_PARSE_DEFAULT);
	RawStmt    *statement;

	if (statements == NIL)
		refuse(build, ERRCODE_SYNTAX_ERROR, "the definition is empty", EXAMPLE,
			   -1);
	if (list_length(statements) > 1)
		refuse(build, ERRCODE_SYNTAX_ERROR,
			   "the definition has more than one statement",
			   "Write one statement; others can come before it in its WITH.",
			   MergeStartOf(build, lsecond(statements)));
	statement = linitial_node(RawStmt, statements);
	if (IsA(statement->stmt, SelectStmt) && !with_modifies(statement->stmt))
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "the definition only reads",
			   "Put INSERT INTO and the name of a table before it.",
			   MergeStartOf(build, statement));
	if (!IsA(statement->stmt, SelectStmt) && !modifies(statement->stmt))
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "the definition is no INSERT, UPDATE, DELETE or MERGE", EXAMPLE,
			   MergeStartOf(build, statement));
	/* of the statements that can be here, those with no place in the walker */
	(void) refuse_parameters(statement->stmt, build);
	build->raw = copyObject(statement->stmt);
	return statement;
}

/* The relation "events", without rows. */
EphemeralNamedRelation
StatementEvents(Oid stream, double estimate)
{
	EphemeralNamedRelation events = palloc0(sizeof(EphemeralNamedRelationData));

	events->md.name = pstrdup(STATEMENT_EVENTS);
	events->md.reliddesc = stream;
	events->md.enrtype = ENR_NAMED_TUPLESTORE;
	events->md.enrtuples = estimate;
	return events;
}

static void
analyse(MergeBuild *build)
{
	Merge	   *merge = build->merge;
	QueryEnvironment *environment = create_queryEnv();
	RawStmt    *statement = parse_raw(build);
	List	   *rewritten;

	register_ENR(environment, StatementEvents(merge->stream, 1));
	merge->analysed = parse_analyze_fixedparams(statement, merge->text, NULL, 0,
												environment);
	if (merge->analysed->commandType == CMD_UTILITY)
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "the definition is no INSERT, UPDATE, DELETE or MERGE", EXAMPLE,
			   -1);
	if (compat_conflict_selects(merge->analysed->onConflict))
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "ON CONFLICT DO SELECT is not possible in a projection's definition",
			   "A projection returns no rows: write DO NOTHING, and leave RETURNING out. A statement in WITH may have both.",
			   -1);
	if (merge->analysed->returningList != NIL)
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "RETURNING is not possible in a projection's definition",
			   "Leave RETURNING out; a statement in WITH may have it.",
			   exprLocation((Node *) merge->analysed->returningList));
	rewritten = pg_rewrite_query(copyObject(merge->analysed));
	if (list_length(rewritten) != 1)
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "a rule makes several statements of the definition",
			   "Drop the rules of its tables, or use triggers.", -1);
	merge->rewritten = linitial_node(Query, rewritten);
}

static StatementTarget *
target_entry(Statement *statement, Oid relation)
{
	StatementTarget *target;
	ListCell   *cell;

	foreach(cell, statement->targets)
	{
		target = lfirst(cell);
		if (target->relation == relation)
			return target;
	}
	target = palloc0(sizeof(StatementTarget));
	target->relation = relation;
	statement->targets = lappend(statement->targets, target);
	return target;
}

static void
note_command(StatementTarget *target, CmdType command, List *entries)
{
	target->inserts |= command == CMD_INSERT;
	target->updates |= command == CMD_UPDATE;
	target->deletes |= command == CMD_DELETE;
	if (command == CMD_INSERT || command == CMD_UPDATE)
		target->listed = bms_add_members(target->listed,
										 MergeColumnsListed(entries));
}

/* What one statement does to its table. */
static void
note_query(StatementTarget *target, const Query *query)
{
	ListCell   *cell;

	note_command(target, query->commandType, query->targetList);
	if (query->onConflict != NULL &&
		query->onConflict->action == ONCONFLICT_UPDATE)
		note_command(target, CMD_UPDATE, query->onConflict->onConflictSet);
	foreach(cell, query->mergeActionList)
	{
		MergeAction *action = lfirst_node(MergeAction, cell);

		note_command(target, action->commandType, action->targetList);
	}
}

/* The table that a statement, or one of its WITH, modifies. */
static void
take_target(MergeBuild *build, Node *raw, Query *query)
{
	Statement  *statement = build->merge->statement;
	Merge		part = *build->merge;
	MergeBuild	of_part = *build;
	RangeTblEntry *entry;

	if (query->commandType == CMD_SELECT || query->resultRelation == 0)
		return;
	part.analysed = query;
	of_part.merge = &part;
	of_part.raw = raw;
	of_part.target = query->resultRelation;
	entry = rt_fetch(query->resultRelation, query->rtable);
	if (entry->relid == build->merge->stream)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a projection cannot modify its stream, \"%s\"",
						get_rel_name(entry->relid)),
				 errhint("Write to a table of its own; what events say is never changed."),
				 MergePlaceOfReadModel(&of_part)));
	MergeCheckReadModel(&of_part);
	note_query(target_entry(statement, entry->relid), query);
}

static Node *
raw_of_with(MergeBuild *build, const char *name)
{
	WithClause *with = with_of(build->raw);
	ListCell   *cell;

	foreach(cell, with != NULL ? with->ctes : NIL)
	{
		CommonTableExpr *table = lfirst_node(CommonTableExpr, cell);

		if (strcmp(table->ctename, name) == 0)
			return table->ctequery;
	}
	return build->raw;
}

/* All of them, in the order of the text; the first is the read model. */
static void
take_targets(MergeBuild *build)
{
	Merge	   *merge = build->merge;
	ListCell   *cell;

	foreach(cell, merge->analysed->cteList)
	{
		CommonTableExpr *table = lfirst_node(CommonTableExpr, cell);

		take_target(build, raw_of_with(build, table->ctename),
					castNode(Query, table->ctequery));
	}
	take_target(build, build->raw, merge->analysed);
	if (merge->statement->targets == NIL)
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED, "the definition only reads",
			   EXAMPLE, -1);
	merge->read_model =
		((StatementTarget *) linitial(merge->statement->targets))->relation;
}

/* The stream's table: whose events are the statement's. */
static void
check_stream(MergeBuild *build, Relation stream)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(stream);
	entry->relkind = stream->rd_rel->relkind;
	entry->inh = true;
	entry->eref = makeAlias(STATEMENT_EVENTS, NIL);
	MergeCheckStream(build, build->merge->analysed, entry);
}

/* An item is the columns of the event that are used. */
static void
take_columns(MergeBuild *build)
{
	Merge	   *merge = build->merge;
	bool		found = false;
	int			column = -1;

	merge->stream_columns = StatementColumns(merge, &found);
	if (!found)
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "the definition does not read events",
			   psprintf("Read the events of the batch FROM %s, which has the columns of stream \"%s\".",
						STATEMENT_EVENTS, get_rel_name(merge->stream)),
			   0);
	merge->item_columns = palloc0_array(AttrNumber, MaxHeapAttributeNumber);
	while ((column = bms_next_member(merge->stream_columns, column)) >= 0)
		merge->item_columns[merge->item_width++] = column;
}

/* What is remembered of a table that a statement changes, up to its commands. */
char *
StatementTargetUse(Oid relation)
{
	return psprintf(TARGET_USE "%s:",
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
											   get_rel_name(relation)));
}

static void
take_uses(Merge *merge)
{
	ListCell   *cell;
	List	   *key = NIL;

	merge->uses = list_concat(MergeCollectUses(merge->analysed, merge->rewritten),
							  MergeKeyLabels(&merge->key));
	for (int i = 0; i < merge->key.ncolumns; i++)
		key = lappend(key, merge->key.values[i]);
	foreach(cell, MergeCollectExpressionUses(key))
		merge->uses = lappend(merge->uses, psprintf("key: %s", (char *) lfirst(cell)));
	foreach(cell, merge->statement->targets)
	{
		StatementTarget *target = lfirst(cell);

		merge->uses = lappend(merge->uses,
							  psprintf("%s%s%s%s", StatementTargetUse(target->relation),
									   target->inserts ? " INSERT" : "",
									   target->updates ? " UPDATE" : "",
									   target->deletes ? " DELETE" : ""));
	}
}

/* Does the query name a temporary table?  A walker. */
static bool
uses_temporary(Node *node, void *unused)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		return rte->rtekind == RTE_RELATION &&
			get_rel_persistence(rte->relid) == RELPERSISTENCE_TEMP;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, uses_temporary, unused,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, uses_temporary, unused);
}

static void
take_apart(MergeBuild *build, Relation stream)
{
	analyse(build);
	take_targets(build);
	if (uses_temporary((Node *) build->merge->analysed, NULL))
		refuse(build, ERRCODE_FEATURE_NOT_SUPPORTED,
			   "the definition uses a temporary table",
			   "Background workers and other sessions cannot see it: use an ordinary table.", -1);
	check_stream(build, stream);
	take_columns(build);
}

/*
 * Parse a statement over the events of a stream, whose key is an expression
 * over its columns, or several (NULL: all events have the same).  The result is
 * in the current memory context.  The stream's table stays locked to the end of
 * the transaction.
 *
 * Errors: those of PostgreSQL's parser; 0A000 for what a projection cannot
 * have, 42809 for a table that cannot be a stream or a read model.
 */
Merge *
StatementParse(const char *definition, Oid stream, const char *key)
{
	MergeBuild	build = {0};
	Relation	relation = table_open(stream, AccessShareLock);
	Merge	   *merge = palloc0(sizeof(Merge));
	MergeText	about;

	build.merge = merge;
	merge->text = pstrdup(definition);
	merge->statement = palloc0(sizeof(Statement));
	merge->statement->key_text = key ? pstrdup(key) : NULL;
	merge->stream = stream;
	merge->item_name = pstrdup(STATEMENT_EVENTS);
	MergeTextBegin(&about, merge->text);
	take_apart(&build, relation);
	MergeTextEnd(&about);
	StatementReadKey(merge, relation);
	take_uses(merge);
	merge->row_name = pstrdup(quote_identifier(get_rel_name(merge->read_model)));
	table_close(relation, NoLock);
	return merge;
}
