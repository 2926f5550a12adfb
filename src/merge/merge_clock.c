/*
 * merge_clock.c
 *		Constants that ask the clock: 'now', 'today', 'tomorrow', 'yesterday'.
 *
 * PostgreSQL turns these words into a time when it reads them.  In a
 * definition that would be when the definition is analysed, which is not when
 * the user thinks that it is.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "merge/merge_clock.h"

static const char *const clock_words[] = {
	"now", "today", "tomorrow", "yesterday"
};

static bool
is_clock_word(const char *word, int length)
{
	for (int i = 0; i < lengthof(clock_words); i++)
	{
		if (strlen(clock_words[i]) == length &&
			pg_strncasecmp(clock_words[i], word, length) == 0)
			return true;
	}
	return false;
}

/* Is one of the words in this literal, up to its end or a quote? */
static bool
has_clock_word(const char *literal)
{
	const char *p = literal;

	while (*p != '\0' && *p != '\'')
	{
		const char *start = p;

		while (isalpha((unsigned char) *p))
			p++;
		if (p == start)
			p++;
		else if (is_clock_word(start, p - start))
			return true;
	}
	return false;
}

/*
 * Is this constant, which becomes a value of that type, one of the words?
 * The value of a time is known already; so look at what is written.
 */
bool
MergeConstIsClock(const char *definition, const Const *value, Oid type)
{
	const char *literal;

	if (type != DATEOID && type != TIMEOID && type != TIMETZOID &&
		type != TIMESTAMPOID && type != TIMESTAMPTZOID)
		return false;
	if (value->constisnull)
		return false;
	if (value->consttype == TEXTOID)
		return has_clock_word(TextDatumGetCString(value->constvalue));
	if (value->location < 0 || value->location >= strlen(definition))
		return false;
	literal = definition + value->location;
	if (*literal == 'E' || *literal == 'e')
		literal++;
	return *literal == '\'' && has_clock_word(literal + 1);
}
