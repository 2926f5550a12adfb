/*
 * pinned.c
 *		The settings under which a projection computes its results.
 *
 * They are taken when a projection is created, stored in the form in which a
 * function's SET clauses are stored, and hold whenever the definition is
 * analysed or run, whoever runs it.  Pinned is whatever the meaning of a text
 * or the result of a function in stable_functions.c can depend on.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "merge/pinned.h"

#define SEARCH_PATH "search_path"

static const char *const pinned_names[] = {
	SEARCH_PATH,
	/* how times are read and printed */
	"DateStyle", "IntervalStyle", "TimeZone", "timezone_abbreviations",
	/* how other types are */
	"array_nulls", "bytea_output", "extra_float_digits", "lc_monetary",
	"lc_numeric", "lc_time", "xmlbinary", "xmloption",
	"quote_all_identifiers", "default_text_search_config",
	/* what a text means */
	"backslash_quote", "standard_conforming_strings", "transform_null_equals"
};

/*
 * The schemas that the current path comes down to, $user replaced, those that
 * do not exist left out; a temporary schema comes last, where it hides nothing.
 */
static char *
effective_path(void)
{
	List	   *schemas = fetch_search_path(false);
	StringInfoData path;
	ListCell   *cell;

	initStringInfo(&path);
	foreach(cell, schemas)
	{
		char	   *name = get_namespace_name(lfirst_oid(cell));

		if (name != NULL && !isAnyTempNamespace(lfirst_oid(cell)))
			appendStringInfo(&path, "%s, ", quote_identifier(name));
	}
	appendStringInfoString(&path, "pg_temp");
	list_free(schemas);
	return path.data;
}

/* The settings of now: a text[] of name=value. */
ArrayType *
PinnedSettings(void)
{
	Datum		settings[lengthof(pinned_names)];

	for (int i = 0; i < lengthof(pinned_names); i++)
	{
		const char *name = pinned_names[i];
		char	   *value = strcmp(name, SEARCH_PATH) == 0 ?
			effective_path() : GetConfigOptionByName(name, NULL, false);

		settings[i] = CStringGetTextDatum(psprintf("%s=%s", name, value));
	}
	return construct_array(settings, lengthof(settings), TEXTOID, -1, false,
						   TYPALIGN_INT);
}

static bool
is_pinned(const char *name)
{
	for (int i = 0; i < lengthof(pinned_names); i++)
	{
		if (strcmp(pinned_names[i], name) == 0)
			return true;
	}
	return false;
}

static void
hold(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* What is wrong with a setting that was stored: the end of a sentence; or NULL. */
static const char *
problem_of(const char *setting)
{
	const char *equals = strchr(setting, '=');

	if (equals != NULL && is_pinned(pnstrdup(setting, equals - setting)))
		return NULL;
	return psprintf("has \"%.*s\", which is no setting of a projection",
					pg_mbcliplen(setting, strlen(setting), NAMEDATALEN), setting);
}

static int
take_apart(ArrayType *settings, Datum **elements)
{
	bool	   *nulls;
	int			count;

	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, elements,
					  &nulls, &count);
	return count;
}

/* The same for all of them, which somebody may have changed. */
const char *
PinnedProblem(ArrayType *settings)
{
	const char *problem = NULL;
	Datum	   *elements;
	int			count;

	if (ARR_NDIM(settings) != 1)
		return "is no list";
	if (array_contains_nulls(settings))
		return "has a null";
	count = take_apart(settings, &elements);
	for (int i = 0; problem == NULL && i < count; i++)
		problem = problem_of(TextDatumGetCString(elements[i]));
	return problem;
}

/*
 * Let these settings, with which nothing is wrong, hold until PinnedLeave() or
 * the end of the transaction or subtransaction.  Returns what PinnedLeave()
 * wants.
 */
int
PinnedEnter(ArrayType *settings)
{
	int			level = NewGUCNestLevel();
	Datum	   *elements;
	int			count = take_apart(settings, &elements);

	for (int i = 0; i < count; i++)
	{
		char	   *setting = TextDatumGetCString(elements[i]);
		char	   *equals = strchr(setting, '=');

		*equals = '\0';
		hold(setting, equals + 1);
	}
	return level;
}

/* The same for these settings. */
int
PinnedEnterThese(PinnedValue *settings, int count)
{
	int			level = NewGUCNestLevel();

	for (int i = 0; i < count; i++)
		hold(settings[i][0], settings[i][1]);
	return level;
}

/*
 * Let settings hold under which the server prints an expression the same way
 * everywhere: every name that is not PostgreSQL's own with its schema.
 */
int
PinnedEnterNeutral(void)
{
	static PinnedValue neutral[] = {
		{SEARCH_PATH, "pg_catalog, pg_temp"},
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"bytea_output", "hex"},
		{"extra_float_digits", "1"},
		{"lc_monetary", "C"},
		{"quote_all_identifiers", "off"},
		{"xmlbinary", "base64"}
	};

	return PinnedEnterThese(neutral, lengthof(neutral));
}

/* The settings of before. */
void
PinnedLeave(int level)
{
	AtEOXact_GUC(true, level);
}
