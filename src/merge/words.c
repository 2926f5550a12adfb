/*
 * words.c
 *		The words of a definition, for hints that quote it.
 *
 * Strings, quoted names and comments are skipped as the server's scanner does;
 * what is left is told apart well enough to find the operands of an operator.
 */
#include "postgres.h"

#include <ctype.h>

#include "mb/pg_wchar.h"

#include "merge/words.h"

#define OPERATOR_CHARACTERS "+-*/<>=~!@#%^&|`?:"

/* What ends an operand on either side. */
static const char *const operand_ends[] = {
	"and", "or", "not", "when", "then", "else", "on", "using", "set", "values",
	"in", "is", "like", "ilike", "between", "case", "end", "matched", "where",
	"from", "select", "as", NULL
};

/* Operators that an operand may have in it. */
static const char *const binding_operators[] = {
	"->", "->>", "#>", "#>>", "::", NULL
};

/* Behind a comment or blanks. */
static const char *
skip_blanks(const char *p)
{
	for (;;)
	{
		if (isspace((unsigned char) *p))
			p++;
		else if (p[0] == '-' && p[1] == '-')
			p += strcspn(p, "\n");
		else if (p[0] == '/' && p[1] == '*')
		{
			const char *end = strstr(p + 2, "*/");

			p = end != NULL ? end + 2 : p + strlen(p);
		}
		else
			return p;
	}
}

/* Behind the closing quote; one that is doubled does not close. */
static const char *
skip_quoted(const char *p)
{
	char		quote = *p++;

	while (*p != '\0')
	{
		if (*p++ == quote)
		{
			if (*p != quote)
				break;
			p++;
		}
	}
	return p;
}

static bool
is_name_character(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '$' ||
		IS_HIGHBIT_SET(c);
}

static const char *
skip_operator(const char *p)
{
	while (*p != '\0' && strchr(OPERATOR_CHARACTERS, *p) != NULL &&
		   !(p[0] == '-' && p[1] == '-') && !(p[0] == '/' && p[1] == '*'))
		p++;
	return p;
}

/* Behind the word that begins here. */
static const char *
read_word(const char *p, WordKind *kind)
{
	if (*p == '\'' || ((*p == 'e' || *p == 'E') && p[1] == '\''))
	{
		*kind = WORD_STRING;
		return skip_quoted(*p == '\'' ? p : p + 1);
	}
	if (*p == '"')
	{
		*kind = WORD_QUOTED_NAME;
		return skip_quoted(p);
	}
	if (is_name_character(*p))
	{
		*kind = isdigit((unsigned char) *p) ? WORD_NUMBER : WORD_NAME;
		while (is_name_character(*p) || (*kind == WORD_NUMBER && *p == '.'))
			p++;
		return p;
	}
	if (strchr(OPERATOR_CHARACTERS, *p) != NULL)
	{
		*kind = WORD_OPERATOR;
		return skip_operator(p);
	}
	*kind = WORD_MARK;
	return p + 1;
}

static void
set_depths(Words *words)
{
	int			depth = 0;

	for (int i = 0; i < words->count; i++)
	{
		if (WordIs(words, i, ")") || WordIs(words, i, "]") ||
			WordIs(words, i, "end"))
			depth--;
		words->word[i].depth = depth;
		if (WordIs(words, i, "(") || WordIs(words, i, "[") ||
			WordIs(words, i, "case"))
			depth++;
	}
}

Words *
WordsRead(const char *definition)
{
	Words	   *words = palloc0(sizeof(Words));
	const char *p = skip_blanks(definition);
	int			room = 64;

	words->definition = definition;
	words->word = palloc(room * sizeof(Word));
	while (*p != '\0')
	{
		Word	   *word;
		const char *end;

		if (words->count == room)
		{
			room *= 2;
			words->word = repalloc(words->word, room * sizeof(Word));
		}
		word = &words->word[words->count++];
		end = read_word(p, &word->kind);
		word->at = p;
		word->length = end - p;
		p = skip_blanks(end);
	}
	set_depths(words);
	return words;
}

/* Is the word at this place this one?  The case does not matter. */
bool
WordIs(const Words *words, int index, const char *what)
{
	return index >= 0 && index < words->count &&
		words->word[index].length == strlen(what) &&
		pg_strncasecmp(words->word[index].at, what, strlen(what)) == 0;
}

bool
WordIsOneOf(const Words *words, int index, const char *const *list)
{
	for (; *list != NULL; list++)
	{
		if (WordIs(words, index, *list))
			return true;
	}
	return false;
}

/* The word in which this character is (from 1); -1: none. */
int
WordAtCharacter(const Words *words, int position)
{
	const char *at = words->definition;

	if (position <= 0)
		return -1;
	while (--position > 0 && *at != '\0')
		at += pg_mblen(at);
	for (int i = 0; i < words->count; i++)
	{
		const Word *word = &words->word[i];

		if (at >= word->at && at < word->at + word->length)
			return i;
	}
	return -1;
}

/* The place of a word, in characters from 1. */
int
WordCharacter(const Words *words, int index)
{
	return pg_mbstrlen_with_len(words->definition,
								words->word[index].at - words->definition) + 1;
}

/* From the first to the last, both included, as they are written. */
char *
WordsText(const Words *words, int first, int last)
{
	const char *start;
	const char *end;

	last = Min(last, words->count - 1);
	if (first < 0 || first > last)
		return pstrdup("");
	start = words->word[first].at;
	end = words->word[last].at + words->word[last].length;
	return pnstrdup(start, end - start);
}

/* The next such word, from this one on, not in parentheses; or -1. */
int
WordsFind(const Words *words, int from, const char *what)
{
	for (int i = Max(from, 0); i < words->count; i++)
	{
		if (words->word[i].depth <= 0 && WordIs(words, i, what))
			return i;
	}
	return -1;
}

int
WordsFindBack(const Words *words, int from, const char *what)
{
	for (int i = Min(from, words->count - 1); i >= 0; i--)
	{
		if (words->word[i].depth <= 0 && WordIs(words, i, what))
			return i;
	}
	return -1;
}

static bool
ends_operand(const Words *words, int index, int depth)
{
	const Word *word = &words->word[index];

	if (word->depth < depth)
		return true;
	if (word->depth > depth)
		return false;
	if (word->kind == WORD_OPERATOR)
		return !WordIsOneOf(words, index, binding_operators);
	return WordIs(words, index, ",") || WordIs(words, index, ";") ||
		WordIsOneOf(words, index, operand_ends);
}

/* The first word of what stands before an operator. */
int
OperandStart(const Words *words, int operator_index)
{
	int			i = operator_index;

	while (i > 0 && !ends_operand(words, i - 1,
								  words->word[operator_index].depth))
		i--;
	return i;
}

/* The last word of what stands behind it. */
int
OperandEnd(const Words *words, int operator_index)
{
	int			i = operator_index;

	while (i + 1 < words->count &&
		   !ends_operand(words, i + 1, words->word[operator_index].depth))
		i++;
	return i;
}
