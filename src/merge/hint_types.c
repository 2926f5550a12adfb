/*
 * hint_types.c
 *		Hints for types that do not fit: mostly text out of JSON.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "merge/hints.h"

static const char *const arrows[] = {"->", "->>", "#>", "#>>", NULL};
static const char *const text_types[] = {
	"text", "character varying", "json", "jsonb", NULL
};

static bool
is_text_type(const char *type)
{
	for (const char *const *name = text_types; *name != NULL; name++)
	{
		if (strcmp(*name, type) == 0)
			return true;
	}
	return false;
}

/* What stands between these two in a message; or NULL. */
char *
HintBetween(const char *message, const char *before, const char *after)
{
	const char *start = strstr(message, before);
	const char *end;

	if (start == NULL)
		return NULL;
	start += strlen(before);
	end = *after != '\0' ? strstr(start, after) : start + strlen(start);
	return end == NULL ? NULL : pnstrdup(start, end - start);
}

/* Is the first word the parenthesis that the last one closes? */
static bool
is_enclosed(const Words *words, int first, int last)
{
	if (first >= last || !WordIs(words, first, "(") ||
		!WordIs(words, last, ")"))
		return false;
	for (int i = first + 1; i < last; i++)
	{
		if (words->word[i].depth <= words->word[first].depth)
			return false;
	}
	return true;
}

/* The last arrow that is not in parentheses; or -1. */
static int
last_arrow(const Words *words, int first, int last)
{
	for (int i = last; i >= first; i--)
	{
		if (words->word[i].depth == words->word[first].depth &&
			WordIsOneOf(words, i, arrows))
			return i;
	}
	return -1;
}

/* The words, with another arrow in that place. */
static char *
with_arrow(const Words *words, int first, int last, int arrow,
		   const char *other)
{
	return psprintf("%s%s%s",
					arrow > first ? WordsText(words, first, arrow - 1) : "",
					other, WordsText(words, arrow + 1, last));
}

/* Without parentheses around all, without a cast of a constant at the end. */
static void
strip(const Words *words, int *first, int *last)
{
	for (int i = *last; i > *first + 1; i--)
	{
		if (WordIs(words, i, "::") &&
			words->word[i - 1].kind == WORD_STRING &&
			WordIsOneOf(words, i - 2, arrows))
			*last = i - 1;
	}
	while (is_enclosed(words, *first, *last))
	{
		(*first)++;
		(*last)--;
	}
}

/* Its shorter name. */
static const char *
short_name(const char *type)
{
	if (strcmp(type, "timestamp with time zone") == 0)
		return "timestamptz";
	if (strcmp(type, "timestamp without time zone") == 0)
		return "timestamp";
	if (strcmp(type, "character varying") == 0)
		return "varchar";
	return type;
}

/* The type for a number out of JSON; a constant 0 is as well a numeric one. */
static const char *
type_beside(const Words *words, int other, const char *type)
{
	return words->word[other].kind == WORD_NUMBER ? "numeric" : type;
}

/* The expression, as a value of this type. */
static char *
as_type(const Words *words, int first, int last, const char *type)
{
	int			arrow;
	char	   *expression;

	strip(words, &first, &last);
	arrow = last_arrow(words, first, last);
	if (arrow > first)
		expression = with_arrow(words, first, last, arrow,
								words->word[arrow].at[0] == '#' ? "#>>" : "->>");
	else
		expression = WordsText(words, first, last);
	if (strcmp(type, "text") == 0 && arrow > first)
		return expression;
	return psprintf("(%s)::%s", expression, short_name(type));
}

/* "->> gives text": of all arrows the last one only. */
static char *
hint_for_chain(const Words *words, int at)
{
	int			first = OperandStart(words, at);
	int			arrow = last_arrow(words, first, at - 1);
	StringInfoData left;

	if (arrow < 0)
		return psprintf("Text has no fields; cast it: (%s)::jsonb %s %s",
						WordsText(words, first, at - 1),
						WordsText(words, at, at),
						WordsText(words, at + 1, OperandEnd(words, at)));
	initStringInfo(&left);
	for (int i = first; i < at; i++)
		appendStringInfoString(&left, WordIs(words, i, "->>") ? "->" :
							   WordsText(words, i, i));
	return psprintf("->> gives text, which has no fields. Use -> for all but the last: %s%s",
					left.data,
					WordsText(words, at, OperandEnd(words, at)));
}

/* "operator does not exist: uuid = text", at the operator */
char *
HintForOperator(const Words *words, int at, const char *message)
{
	char	   *operator;
	char	   *types = HintBetween(message, ": ", "");
	char	   *left;
	char	   *right;
	int			first;
	int			last;

	if (at < 0 || types == NULL)
		return NULL;
	first = OperandStart(words, at);
	last = OperandEnd(words, at);
	operator = WordsText(words, at, at);
	left = HintBetween(psprintf(": %s", types), ": ",
					   psprintf(" %s ", operator));
	right = HintBetween(types, psprintf(" %s ", operator), "");
	if (left == NULL || right == NULL)
		return NULL;
	if (is_text_type(left) && WordIsOneOf(words, at, arrows))
		return hint_for_chain(words, at);
	if (strcmp(operator, "==") == 0)
		return psprintf("Write %s = %s", WordsText(words, first, at - 1),
						WordsText(words, at + 1, last));
	if (strcmp(operator, "&&") == 0)
		return pstrdup("Write AND instead of &&, and OR instead of ||.");
	if (is_text_type(right) && strcmp(left, "unknown") != 0)
		return psprintf("Cast one side: %s %s %s",
						WordsText(words, first, at - 1), operator,
						as_type(words, at + 1, last, left));
	if (is_text_type(left) && strcmp(right, "unknown") != 0)
		return psprintf("Cast one side: %s %s %s",
						as_type(words, first, at - 1,
								type_beside(words, at + 1, right)), operator,
						WordsText(words, at + 1, last));
	if (strncmp(left, "timestamp", 9) == 0 && strcmp(right, "integer") == 0)
		return psprintf("A time and a length of time: %s %s interval '%s days'",
						WordsText(words, first, at - 1), operator,
						WordsText(words, at + 1, last));
	return NULL;
}

/* A constant that is compared with JSON was read as JSON. */
static char *
hint_for_json(const Words *words, int at)
{
	int			comparison = at - 1;
	int			first;
	int			arrow;

	/* in the list of IN */
	if (words->word[at].depth > 0 && !WordIs(words, comparison, "="))
	{
		while (comparison > 0 && !WordIs(words, comparison, "in") &&
			   !WordIs(words, comparison, "when"))
			comparison--;
	}
	first = OperandStart(words, comparison);
	arrow = last_arrow(words, first, comparison - 1);
	if (arrow <= first || words->word[arrow].at[0] == '#')
		return NULL;
	return psprintf("-> gives JSON, ->> gives text: %s %s",
					with_arrow(words, first, comparison - 1, arrow, "->>"),
					WordsText(words, comparison,
							  OperandEnd(words, comparison)));
}

/* "invalid input syntax for type numeric: "price"", at the constant */
char *
HintForLiteral(const Words *words, int at, const char *message)
{
	char	   *type;

	if (at < 2 || words->word[at].kind != WORD_STRING)
		return NULL;
	if (!WordIsOneOf(words, at - 1, arrows) || !WordIs(words, at + 1, "::"))
		return strstr(message, "json") != NULL ? hint_for_json(words, at) :
			NULL;
	type = HintBetween(message, "type ", ":");
	if (type == NULL)
		type = WordsText(words, at + 2, at + 2);
	return psprintf("The cast applies to %s alone. Put parentheses before it: %s",
					WordsText(words, at, at),
					as_type(words, OperandStart(words, at - 1), at, type));
}

/* "cannot cast type jsonb to uuid" */
char *
HintForCast(const Words *words, int at, const char *message)
{
	char	   *type = HintBetween(message, " to ", "");
	int			cast = at;
	int			first;

	if (at < 0 || type == NULL || strstr(message, "json") == NULL)
		return NULL;
	while (cast < words->count && !WordIs(words, cast, "::"))
		cast++;
	if (cast == words->count)
		return NULL;
	first = OperandStart(words, cast);
	if (!is_enclosed(words, first, cast - 1))
		return NULL;
	return psprintf("-> gives JSON, ->> gives text, which can be cast: %s",
					as_type(words, first, cast - 1, type));
}

/* The last word of the expression that begins here. */
static int
expression_end(const Words *words, int first)
{
	static const char *const ends[] = {
		"when", "then", "else", "and", "or", ",", ";", NULL
	};
	int			depth = words->word[first].depth;
	int			i = first;

	while (i + 1 < words->count && words->word[i + 1].depth >= depth &&
		   !(words->word[i + 1].depth == depth &&
			 WordIsOneOf(words, i + 1, ends)))
		i++;
	return i;
}

/* "COALESCE types text and integer cannot be matched", at the second one */
static char *
hint_for_arguments(const Words *words, int at, const char *message)
{
	char	   *first_type = HintBetween(message, "types ", " and ");
	char	   *type = HintBetween(message, " and ", " cannot");
	int			depth = words->word[at].depth;
	int			open = at;

	if (first_type == NULL || type == NULL)
		return NULL;
	if (strcmp(type, "text") == 0)
		return psprintf("Cast one of them: %s",
						as_type(words, at, expression_end(words, at),
								first_type));
	while (open > 0 && words->word[open].depth >= depth)
		open--;
	if (!is_text_type(first_type) || !WordIs(words, open, "(") ||
		!WordIs(words, at - 1, ","))
		return NULL;
	return psprintf("Cast one of them: %s%s%s",
					WordsText(words, open - 1, open),
					as_type(words, open + 1,
							expression_end(words, open + 1),
							type_beside(words, at, type)),
					WordsText(words, expression_end(words, open + 1) + 1,
							  expression_end(words, at) + 1));
}

/* "column "total" is of type numeric but expression is of type text" */
char *
HintForMismatch(const Words *words, int at, const char *message)
{
	char	   *wanted = HintBetween(message, "is of type ", " but ");
	char	   *given = HintBetween(message, "expression is of type ", "");

	if (at < 0)
		return NULL;
	if (strstr(message, " cannot be matched") != NULL)
		return hint_for_arguments(words, at, message);
	if (wanted == NULL)
	{
		wanted = HintBetween(message, "must be type ", ",");
		given = HintBetween(message, "not type ", "");
	}
	if (wanted == NULL || given == NULL || !is_text_type(given))
		return NULL;
	return psprintf("Cast the expression: %s",
					as_type(words, at, expression_end(words, at), wanted));
}
