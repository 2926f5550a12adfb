/*
 * check.c
 *		May a projection call this function; and the error if not.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "merge/check.h"
#include "merge/stable_functions.h"

/* The caret at this place of the definition. */
static int
caret(const Check *check, int location)
{
	const char *definition = check->merge->text;

	if (check->in_domain)
		location = check->place;
	if (location < 0)
		location = check->clause;
	if (location < 0 || location > strlen(definition))
		return 0;
	internalerrquery(definition);
	return internalerrposition(pg_mbstrlen_with_len(definition,
													location) + 1);
}

/* Its first column that tells a time; or NULL. */
static const char *
time_column(Oid stream)
{
	const char *name;

	for (AttrNumber column = 1;
		 (name = get_attname(stream, column, true)) != NULL;
		 column++)
	{
		Oid			type = get_atttype(stream, column);

		if (type == TIMESTAMPTZOID || type == TIMESTAMPOID)
			return name;
	}
	return NULL;
}

static int
hint_for(const Check *check, bool clock)
{
	const char *column = time_column(check->merge->stream);

	if (check->in_domain)
		return errhint("Use the type that the domain is made of, or a CHECK that depends on the value alone.");
	if (!clock)
		return errhint("Use a column of the event: whoever writes the event puts the value there.");
	if (column == NULL)
		return errhint("Use a column of the event that holds the time; the stream has none yet.");
	return errhint("Use a column of the event, for example %s.",
				   quote_identifier(column));
}

/*
 * Raise the error that this cannot be used here.  clock: it tells the time, so
 * that a column of the event can take its place.
 */
void
CheckRefuse(const Check *check, const char *what, int location, bool clock)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be used in %s", what, check->where),
			 errdetail("Its result does not depend on the event alone: the same event, applied again, could give another result."),
			 hint_for(check, clock),
			 caret(check, location)));
}

/* A function that somebody else than PostgreSQL has made. */
static void
refuse_user_function(const Check *check, Oid function, const char *what,
					 int location, char volatility)
{
	const char *name = format_procedure(function);
	bool		optional = volatility == PROVOLATILE_STABLE &&
		!check->chooses_key;

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be used in %s", what, check->where),
			 volatility == PROVOLATILE_STABLE ?
			 errdetail("Function %s is STABLE: its result may depend on tables or on the session.",
					   name) :
			 errdetail("Function %s is VOLATILE: its result may differ each time the same event is applied.",
					   name),
			 optional ?
			 errhint("If the result depends on the arguments alone, run ALTER FUNCTION %s IMMUTABLE. To accept the function as it is, give the argument allow_stable => true.",
					 name) :
			 errhint("If the result depends on the arguments alone, run ALTER FUNCTION %s IMMUTABLE. Otherwise use a column of the event.",
					 name),
			 caret(check, location)));
}

/* Raise an error unless the function depends on its arguments alone. */
void
CheckFunction(const Check *check, Oid function, const char *what,
			  int location)
{
	char		volatility = func_volatile(function);

	if (volatility == PROVOLATILE_IMMUTABLE || IsStableBySettings(function))
		return;
	if (function < FirstUnpinnedObjectId)
		CheckRefuse(check, what, location, IsClockFunction(function));
	if (volatility == PROVOLATILE_STABLE && check->allow_stable &&
		!check->chooses_key)
		return;
	refuse_user_function(check, function, what, location, volatility);
}
