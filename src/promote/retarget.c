/*
 * retarget.c
 *		The names of two tables in a definition, exchanged.
 *
 * After a promotion a projection's read model has the name that the other one's
 * had before, so that name has to stand in its definition: the text is read
 * again by each process, and by a restored database.  Only the names of the
 * two tables are replaced, wherever the parser finds them; the rest is the user's
 * text to the last byte.  A table without an alias gets its old name as one, so
 * that references to its columns stay what they are.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "compat.h"
#include "lib/stringinfo.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "merge/pinned.h"
#include "merge/statement.h"
#include "merge/words.h"
#include "promote/retarget.h"

typedef struct Places
{
	Oid			a;
	Oid			b;
	List	   *names;			/* of RangeVar: those that mean one of them */
	List	   *ctes;			/* of char *: which are no tables */
} Places;

static bool
find_ctes(Node *node, void *places)
{
	if (node == NULL)
		return false;
	if (IsA(node, CommonTableExpr))
		((Places *) places)->ctes = lappend(((Places *) places)->ctes,
											((CommonTableExpr *) node)->ctename);
	return raw_expression_tree_walker(node, find_ctes, places);
}

static bool
is_no_table(const Places *places, const RangeVar *name)
{
	ListCell   *cell;

	if (name->schemaname != NULL)
		return false;
	foreach(cell, places->ctes)
	{
		if (strcmp(lfirst(cell), name->relname) == 0)
			return true;
	}
	return false;
}

static bool
find_names(Node *node, void *arg)
{
	Places	   *places = arg;

	if (node == NULL)
		return false;
	if (IsA(node, RangeVar) && !is_no_table(places, (RangeVar *) node))
	{
		Oid			relid = RangeVarGetRelid((RangeVar *) node, NoLock, true);

		if (OidIsValid(relid) && (relid == places->a || relid == places->b))
			places->names = lappend(places->names, node);
	}
	return raw_expression_tree_walker(node, find_names, places);
}

static int
compare_places(const ListCell *a, const ListCell *b)
{
	return ((RangeVar *) lfirst(a))->location - ((RangeVar *) lfirst(b))->location;
}

/* Where a name, with its schema, ends: in bytes of the text. */
static int
end_of_name(const Words *words, const RangeVar *name)
{
	int			parts = 1 + (name->schemaname != NULL) + (name->catalogname != NULL);

	for (int i = 0; i < words->count; i++)
	{
		const Word *last;

		if (words->word[i].at != words->definition + name->location)
			continue;
		if (i + 2 * (parts - 1) >= words->count)
			break;
		last = &words->word[i + 2 * (parts - 1)];
		return last->at + last->length - words->definition;
	}
	elog(ERROR, "name of table \"%s\" not found in the definition", name->relname);
}

/* What stands for a name from now on. */
static char *
new_name(const Places *places, const RangeVar *name)
{
	Oid			old = RangeVarGetRelid(name, NoLock, false);
	Oid			new = old == places->a ? places->b : places->a;
	char	   *relname = get_rel_name(new);
	char	   *result;

	result = name->schemaname == NULL &&
		get_rel_namespace(old) == get_rel_namespace(new) ?
		pstrdup(quote_identifier(relname)) :
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(new)),
								   relname);
	if (name->alias != NULL)
		return result;
	return psprintf("%s AS %s", result, quote_identifier(name->relname));
}

static char *
replace_names(const char *definition, const Places *places)
{
	Words	   *words = WordsRead(definition);
	StringInfoData result;
	int			done = 0;
	ListCell   *cell;

	initStringInfo(&result);
	foreach(cell, places->names)
	{
		const RangeVar *name = lfirst(cell);

		appendBinaryStringInfo(&result, definition + done, name->location - done);
		appendStringInfoString(&result, new_name(places, name));
		done = end_of_name(words, name);
	}
	appendStringInfoString(&result, definition + done);
	return result.data;
}

/*
 * The projection's definition with the names of two tables exchanged.  Names mean
 * what they mean now, to the projection's owner and under its settings.
 */
char *
DefinitionRetarget(const Projection *projection, Oid a, Oid b)
{
	const char *definition = projection->declared->definition;
	Places		places = {.a = a,.b = b};
	OwnerScope	owner = OwnerEnter(projection);
	int			settings = PinnedEnter(projection->declared->settings);
	RawStmt    *statement = linitial_node(RawStmt, raw_parser(definition, RAW_PARSE_DEFAULT));
	char	   *result;

	if (projection->declared->kind == DECLARED_STATEMENT)
		places.ctes = list_make1(pstrdup(STATEMENT_EVENTS));
	(void) find_ctes(statement->stmt, &places);
	(void) find_names(statement->stmt, &places);
	list_sort(places.names, compare_places);
	result = replace_names(definition, &places);
	PinnedLeave(settings);
	OwnerLeave(&owner);
	return result;
}
