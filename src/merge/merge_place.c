/*
 * merge_place.c
 *		Where something is in a definition's text, for the caret of an error.
 */
#include "postgres.h"

#include "compat.h"
#include "common/keywords.h"
#include "mb/pg_wchar.h"
#include "parser/scanner.h"

#include "merge/merge_build.h"

/* For ereport(): the error is at this byte of the text, if that is known. */
int
MergePlace(const MergeBuild *build, int location)
{
	if (location < 0)
		return 0;
	return errposition(pg_mbstrlen_with_len(build->merge->text, location) + 1);
}

/* For ereport(): the error is at this expression, or list of them. */
int
MergePlaceOf(const MergeBuild *build, const void *node)
{
	return MergePlace(build, exprLocation(node));
}

typedef struct TableSought
{
	const RangeVar *other;		/* not this one, which may have the same name */
	const char *alias;
	int			location;
} TableSought;

static bool
find_table_name(Node *node, void *context)
{
	TableSought *sought = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		RangeVar   *table = (RangeVar *) node;

		if (table != sought->other &&
			strcmp(table->alias ? table->alias->aliasname : table->relname,
				   sought->alias) == 0)
		{
			sought->location = table->location;
			return true;
		}
		return false;
	}
	return raw_expression_tree_walker(node, find_table_name, context);
}

/* The read model as the text names it. */
const RangeVar *
MergeReadModelName(const MergeBuild *build)
{
	switch (nodeTag(build->raw))
	{
		case T_MergeStmt:
			return castNode(MergeStmt, build->raw)->relation;
		case T_UpdateStmt:
			return castNode(UpdateStmt, build->raw)->relation;
		case T_DeleteStmt:
			return castNode(DeleteStmt, build->raw)->relation;
		case T_InsertStmt:
			return castNode(InsertStmt, build->raw)->relation;
		default:
			return NULL;
	}
}

/* For ereport(): the error is at the read model's name. */
int
MergePlaceOfReadModel(const MergeBuild *build)
{
	return MergePlace(build, MergeReadModelName(build)->location);
}

/*
 * For ereport(): the error is at the table that the source calls so.  What has
 * been analysed does not know where its tables were written.
 */
int
MergePlaceOfTable(const MergeBuild *build, const char *alias)
{
	TableSought sought = {MergeReadModelName(build), alias, -1};

	(void) find_table_name(build->raw, &sought);
	return MergePlace(build, sought.location);
}

/* Tokens of keywords, apart from those of anything else. */
#define KEYWORD_TOKEN(keyword) (10000 + (keyword))

static int
keyword_token(const char *word)
{
	return KEYWORD_TOKEN(ScanKeywordLookup(word, &ScanKeywords));
}

/*
 * Where in a MERGE the WHENs are, which the parser does not keep: the words
 * outside of parentheses and of CASE.  The text is known to parse.
 */
int *
MergeFindWhens(const char *definition, int *count)
{
	int		   *places = palloc(sizeof(int) * (strlen(definition) + 1));
	uint16	   *tokens = palloc(sizeof(uint16) * ScanKeywords.num_keywords);
	int			when = keyword_token("when");
	int			case_word = keyword_token("case");
	int			end = keyword_token("end");
	int			as = keyword_token("as");
	int			depth = 0;
	int			token;
	int			before = 0;
	core_yy_extra_type extra;
	core_yyscan_t scanner;
	core_YYSTYPE value;
	YYLTYPE		location;

	for (int i = 0; i < ScanKeywords.num_keywords; i++)
		tokens[i] = KEYWORD_TOKEN(i);
	*count = 0;
	scanner = scanner_init(definition, &extra, &ScanKeywords, tokens);
	while ((token = core_yylex(&value, &location, scanner)) != 0)
	{
		if ((before == '.' || before == as) && token != '(')
			 /* a name, whatever the word */ ;
		else if (token == '(' || token == case_word)
			depth++;
		else if (token == ')' || token == end)
			depth--;
		else if (token == when && depth == 0)
			places[(*count)++] = location;
		before = token;
	}
	scanner_finish(scanner);
	return places;
}
