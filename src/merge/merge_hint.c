/*
 * merge_hint.c
 *		Hints for errors that PostgreSQL finds in a definition.
 *
 * PostgreSQL says well where an error is, but often not what to write instead.
 * While a definition is analysed, errors get a hint on their way to the user:
 * an error context callback looks at the message and at the words around the
 * error's place.  Nothing is caught, so nothing can be swallowed; and a hint is
 * only ever added or made more exact, the error stays what it is.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "merge/hints.h"
#include "merge/merge_hint.h"

static bool
has_form(const ErrorData *error, const char *form)
{
	return error->message_id != NULL &&
		strncmp(error->message_id, form, strlen(form)) == 0;
}

static char *
hint_for_syntax(const ErrorData *error, const Words *words, int at)
{
	char	   *hint;
	int			when;

	if (!has_form(error, "unreachable WHEN clause"))
		return HintForSyntax(words, at);
	hint = HintForUnreachable(words, &when);
	/* PostgreSQL gives no place */
	if (hint != NULL)
		errposition(WordCharacter(words, when));
	return hint;
}

/* What the two sides of a MERGE are called, and where its parts stand. */
static char *
hint_for_merge(const ErrorData *error, const Words *words, int at)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_SYNTAX_ERROR:
			return hint_for_syntax(error, words, at);
		case ERRCODE_GROUPING_ERROR:
			return HintForAggregate(words, at);
		case ERRCODE_AMBIGUOUS_COLUMN:
			return HintForAmbiguous(words, at);
		default:
			return NULL;
	}
}

static char *
hint_for_target(const ErrorData *error)
{
	if (has_form(error, "cannot execute MERGE on relation"))
		return pstrdup("Write MERGE INTO and the name of a table. A view can read from that table.");
	if (has_form(error, "relation \"%s\" cannot be the target of a modifying statement"))
		return pstrdup("This name means the events of the batch. For a table of this name, write its schema before it.");
	return NULL;
}

static char *
hint_for(const ErrorData *error, const Words *words, int at)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_UNDEFINED_FUNCTION:
			return has_form(error, "operator does not exist") ?
				HintForOperator(words, at, error->message) : NULL;
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_INVALID_DATETIME_FORMAT:
			return HintForLiteral(words, at, error->message);
		case ERRCODE_CANNOT_COERCE:
			return HintForCast(words, at, error->message);
		case ERRCODE_DATATYPE_MISMATCH:
			return HintForMismatch(words, at, error->message);
		case ERRCODE_UNDEFINED_COLUMN:
			return HintForColumn(words, at, error->message);
		case ERRCODE_UNDEFINED_TABLE:
			return HintForTable(words, at, error->message);
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			return hint_for_target(error);
		default:
			return WordIs(words, 0, "merge") ?
				hint_for_merge(error, words, at) : NULL;
	}
}

/* May it get another hint?  Of PostgreSQL's own, these are of little help. */
static bool
wants_hint(const ErrorData *error)
{
	if (error->elevel < ERROR || error->message == NULL)
		return false;
	/* an error in something that the definition calls */
	if (error->internalquery != NULL)
		return false;
	return error->hint == NULL ||
		error->sqlerrcode == ERRCODE_UNDEFINED_FUNCTION ||
		error->sqlerrcode == ERRCODE_DATATYPE_MISMATCH ||
		error->sqlerrcode == ERRCODE_UNDEFINED_TABLE;
}

static void
add_hint(void *arg)
{
	MergeHint  *merge = arg;
	MemoryContext context;
	MemoryContext old;
	ErrorData  *error;
	Words	   *words;
	char	   *hint = NULL;
	int			position = geterrposition();

	/* no memory for hints */
	if (ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_INSUFFICIENT_RESOURCES)
		return;
	context = AllocSetContextCreate(ErrorContext, "hint",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (wants_hint(error))
	{
		words = WordsRead(merge->definition);
		hint = hint_for(error, words, WordAtCharacter(words, position));
	}
	MemoryContextSwitchTo(old);
	if (hint != NULL)
		errhint("%s", hint);
	MemoryContextDelete(context);
}

/* From here on errors are about this definition. */
void
MergeHintBegin(MergeHint *hint, const char *definition)
{
	hint->definition = definition;
	hint->callback.callback = add_hint;
	hint->callback.arg = hint;
	hint->callback.previous = error_context_stack;
	error_context_stack = &hint->callback;
}

void
MergeHintEnd(MergeHint *hint)
{
	error_context_stack = hint->callback.previous;
}
