/*
 * hint_syntax.c
 *		Hints for what is no MERGE, though it is near to one.
 */
#include "postgres.h"

#include "merge/hints.h"

/* The last word of the part in which this one is: before WHEN, or the end. */
static int
part_end(const Words *words, int from)
{
	int			when = WordsFind(words, from, "when");
	int			end = when >= 0 ? when - 1 : words->count - 1;

	while (end > from && (WordIs(words, end, ";") || WordIs(words, end, ",")))
		end--;
	return end;
}

/* The WHEN in which this word is; has_then: it comes behind THEN. */
static int
when_of(const Words *words, int at, bool *has_then)
{
	int			when = WordsFindBack(words, at - 1, "when");
	int			then = WordsFindBack(words, at - 1, "then");

	*has_then = then > when;
	return when;
}

/* The list of columns that ends before this word. */
static int
insert_list(const Words *words, int at)
{
	int			list = at - 1;

	while (list > 0 && !WordIs(words, list, "("))
		list--;
	return list;
}

static int
select_list_end(const Words *words, int select)
{
	int			end = part_end(words, select);
	int			from = WordsFind(words, select, "from");

	return from >= 0 && from < end ? from - 1 : end;
}

/* In the action, behind THEN. */
static char *
hint_in_action(const Words *words, int at, int when)
{
	int			end = part_end(words, at);

	if (WordIs(words, at, "into") && WordIs(words, at - 1, "insert"))
	{
		int			list = at + 1;

		while (list < end && !WordIs(words, list, "(") &&
			   !WordIs(words, list, "values"))
			list++;
		return psprintf("The action names no table: THEN INSERT %s",
						WordsText(words, list, end));
	}
	if (WordIs(words, at, "from") && WordIs(words, at - 1, "delete"))
		return pstrdup("The action names no table: THEN DELETE");
	if (WordIs(words, at - 1, "update"))
	{
		int			set = WordsFind(words, at, "set");

		if (set >= 0 && set <= end)
			return psprintf("The action names no table: THEN UPDATE %s",
							WordsText(words, set, end));
		return psprintf("Write THEN UPDATE SET %s",
						WordsText(words, at, end));
	}
	if (WordIs(words, at, "set") && WordIs(words, at - 1, "then"))
		return psprintf("Write THEN UPDATE %s", WordsText(words, at, end));
	if (WordIs(words, at, "nothing") ||
		(WordIs(words, at - 1, "do") && !WordIs(words, at, "nothing")))
		return WordIs(words, at, "nothing") ? pstrdup("Write THEN DO NOTHING") :
			psprintf("Write THEN %s", WordsText(words, at, end));
	if (WordIs(words, at, "where"))
		return psprintf("A condition stands before THEN: %s AND %s THEN %s",
						WordsText(words, when,
								  WordsFindBack(words, at, "then") - 1),
						WordsText(words, at + 1, end),
						WordsText(words, WordsFindBack(words, at, "then") + 1,
								  at - 1));
	if (WordIs(words, at, "select") && WordIs(words, at - 1, ")"))
		return psprintf("Write INSERT %s VALUES (%s)",
						WordsText(words, insert_list(words, at), at - 1),
						WordsText(words, at + 1, select_list_end(words, at)));
	if (WordIs(words, at, "from") || WordIs(words, at, "select"))
		return psprintf("An action asks no other table: use the columns of the event \"%s\" and of the row \"%s\", as in VALUES (...) or SET column = value.",
						HintSourceAlias(words), HintTargetAlias(words));
	if (WordIs(words, at, "returning"))
		return pstrdup("A projection returns nothing: leave out RETURNING.");
	if (WordIs(words, at, "else"))
		return psprintf("A WHEN without a condition is what ELSE would be; write it last: WHEN %sMATCHED THEN %s",
						WordIs(words, when + 1, "not") ? "NOT " : "",
						WordsText(words, at + 1, end));
	if (WordIs(words, at, "insert") && WordIs(words, when + 1, "matched"))
		return psprintf("A row that is not there yet is inserted: WHEN NOT MATCHED THEN %s",
						WordsText(words, at, end));
	if ((WordIs(words, at, "update") || WordIs(words, at, "delete")) &&
		WordIs(words, when + 1, "not"))
		return psprintf("A row that is there is changed: WHEN MATCHED THEN %s",
						WordsText(words, at, end));
	if (at > 1 && words->word[at].kind == WORD_OPERATOR &&
		words->word[at].length == 2 && words->word[at].at[1] == '=')
		return psprintf("Write %s = %s.%s %c %s",
						WordsText(words, at - 1, at - 1),
						HintTargetAlias(words),
						WordsText(words, at - 1, at - 1),
						words->word[at].at[0],
						WordsText(words, at + 1, OperandEnd(words, at)));
	if (WordIs(words, at - 1, "values"))
		return psprintf("Write VALUES (%s)", WordsText(words, at, end));
	if (WordIs(words, at - 1, "insert"))
		return pstrdup("Write INSERT (column, ...) VALUES (value, ...)");
	if (WordIs(words, at, "when") && WordIs(words, at - 1, ","))
		return psprintf("No comma before WHEN: %s %s",
						WordsText(words, at - 4, at - 2),
						WordsText(words, at, at + 1));
	return NULL;
}

static bool
is_action(const Words *words, int at)
{
	static const char *const actions[] = {
		"update", "insert", "delete", "do", NULL
	};

	return WordIsOneOf(words, at, actions);
}

/* A parenthesis is open at this word, which cannot be in one. */
static char *
hint_for_open(const Words *words, int at)
{
	int			open = at - 1;

	while (open > 0 && words->word[open].depth >= words->word[at].depth)
		open--;
	if (!WordIs(words, open, "("))
		return NULL;
	return psprintf("A parenthesis is not closed: %s)",
					WordsText(words, open, at - 1));
}

/* Between WHEN and THEN. */
static char *
hint_in_condition(const Words *words, int at, int when)
{
	int			and_and = WordsFindBack(words, at, "&&");

	if (words->word[at].depth > 0 &&
		(WordIs(words, at, "then") || is_action(words, at)))
		return hint_for_open(words, at);
	if (and_and > when)
		return psprintf("Write AND instead of &&: %s AND %s",
						WordsText(words, when, and_and - 1),
						WordsText(words, and_and + 1, part_end(words, at)));
	if (WordIs(words, at, "by"))
		return pstrdup("A projection sees one event at a time: write WHEN NOT MATCHED, for a row that is not there yet, or WHEN MATCHED.");
	if (WordIs(words, at, "where"))
		return psprintf("Write %s AND %s",
						WordsText(words, when, at - 1),
						WordsText(words, at + 1, part_end(words, at)));
	if (is_action(words, at))
		return psprintf("Write THEN before the action: %s THEN %s",
						WordsText(words, when, at - 1),
						WordsText(words, at, part_end(words, at)));
	if (WordIs(words, at - 1, "when"))
		return psprintf("Write WHEN MATCHED or WHEN NOT MATCHED before the condition: WHEN MATCHED AND %s",
						WordsText(words, at, part_end(words, at)));
	if (WordIs(words, at - 1, "matched"))
		return psprintf("Write %s AND %s",
						WordsText(words, when, at - 1),
						WordsText(words, at, part_end(words, at)));
	if (WordIs(words, at, "then") && WordIs(words, at - 1, "and"))
		return psprintf("A condition is missing behind AND: %s THEN",
						WordsText(words, when, at - 2));
	return NULL;
}

/* Before the first WHEN. */
static char *
hint_in_head(const Words *words, int at)
{
	int			using = WordsFind(words, 0, "using");
	int			on = WordsFind(words, 0, "on");

	if (!WordIs(words, 0, "merge"))
		return NULL;
	if (at == 1)
		return psprintf("Write MERGE INTO %s",
						WordsText(words, at, using > 0 ? using - 1 : at));
	if (WordIs(words, at, "when") && on < 0)
		return pstrdup("ON is missing, the condition that finds the row of an event: ON row.id = event.id WHEN ...");
	if (WordIs(words, at, "on") && using < 0)
		return psprintf("USING is missing, the table of the events: %s USING stream e %s",
						WordsText(words, 0, at - 1),
						WordsText(words, at, part_end(words, at)));
	if (WordIs(words, at, "when") && WordIs(words, at - 1, "and"))
		return psprintf("Write %s WHEN", WordsText(words, on, at - 2));
	if (WordIs(words, at, "where") && using >= 0 && on > at)
		return psprintf("Write USING (SELECT * FROM %s %s) e",
						WordsText(words, using + 1, at - 1),
						WordsText(words, at, on - 1));
	if (WordIs(words, at, "select") && on > at)
		return psprintf("Write USING (%s) e", WordsText(words, at, on - 1));
	return NULL;
}

/* The text has come to its end too early. */
static char *
hint_at_end(const Words *words)
{
	if (!WordIs(words, 0, "merge") || WordsFind(words, 0, "when") >= 0)
		return NULL;
	if (WordsFind(words, 0, "on") < 0)
		return NULL;
	return psprintf("Say what is to be done: %s WHEN NOT MATCHED THEN INSERT (column, ...) VALUES (value, ...) WHEN MATCHED THEN UPDATE SET column = value",
					WordsText(words, WordsFind(words, 0, "on"),
							  part_end(words, 0)));
}

/* A syntax error at this word; -1: at the end. */
char *
HintForSyntax(const Words *words, int at)
{
	int			when;
	bool		has_then;

	if (at < 0 || WordIs(words, at, ";"))
		return hint_at_end(words);
	when = when_of(words, at, &has_then);
	if (when < 0)
		return hint_in_head(words, at);
	return has_then ? hint_in_action(words, at, when) :
		hint_in_condition(words, at, when);
}

/* Has this WHEN no condition? */
static bool
is_unconditional(const Words *words, int when, bool *matched)
{
	*matched = WordIs(words, when + 1, "matched");
	return WordIs(words, *matched ? when + 2 : when + 3, "then");
}

/*
 * The first WHEN that comes behind one of its kind without a condition; *when
 * is its place.
 */
char *
HintForUnreachable(const Words *words, int *when)
{
	int			unconditional[2] = {0, 0};	/* not matched, matched: number */
	int			number = 0;

	for (*when = WordsFind(words, 0, "when"); *when >= 0;
		 *when = WordsFind(words, *when + 1, "when"))
	{
		bool		matched;
		bool		always = is_unconditional(words, *when, &matched);

		number++;
		if (unconditional[matched] > 0)
			return psprintf("WHEN number %d is never reached: WHEN number %d comes before it and takes every event. Put the one without a condition last: %s ... %s THEN ...",
							number, unconditional[matched],
							WordsText(words, *when, part_end(words, *when + 1)),
							matched ? "WHEN MATCHED" : "WHEN NOT MATCHED");
		if (always)
			unconditional[matched] = number;
	}
	return NULL;
}
