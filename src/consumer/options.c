/*
 * options.c
 *		projection_set: what can be changed of a projection while it exists.
 */
#include "postgres.h"

#include "compat.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "consumer/begin.h"
#include "definition/desired.h"
#include "definition/projection.h"
#include "position/lanes.h"

#define BATCH_SIZE_MAX 10000000
#define ATTEMPTS_MAX 1000
#define PARKED_MAX 1000000
#define VERIFY_RATE_MAX 1000000
#define DELAY_MAX (366.0 * SECS_PER_DAY)

SQL_FUNCTION(projection_set);

/* An option's value as an integer within bounds. */
static int
integer_option(const char *option, const char *value, int min, int max)
{
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (end == value || *end != '\0' || errno != 0 ||
		number < min || number > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"",
						option, value),
				 errdetail("It must be a number from %d to %d.", min, max)));
	return (int) number;
}

static void
set_partitions(Projection *projection, const char *value)
{
	int			partitions = integer_option("partitions", value, 1,
											PARTITIONS_MAX);

	if (ProjectionHasReadModel(projection) &&
		partitions != projection->partitions)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the partitions of projection \"%s\" cannot be changed now",
						projection->name),
				 errdetail("Its positions belong to %d partitions.",
						   projection->partitions),
				 projection->declared != NULL ?
				 errhint("They are an argument of projection_create: drop the projection, empty its read model, and create it again.") :
				 errhint("Set them after projection_delete and before projection_init.")));
	projection->partitions = partitions;
}

/* An option's value as a number within bounds. */
static double
number_option(const char *option, const char *value, double min, double max)
{
	char	   *end;
	double		number;

	errno = 0;
	number = strtod(value, &end);
	if (end == value || *end != '\0' || errno != 0 ||
		!(number >= min && number <= max))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"",
						option, value),
				 errdetail("It must be a number from %g to %g.", min, max)));
	return number;
}

/* An option's value as an interval, in milliseconds. */
static int64
interval_option(const char *option, const char *value)
{
	Interval   *interval;
	double		seconds;

	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in,
													 CStringGetDatum(value),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	seconds = interval->time / (double) USECS_PER_SEC +
		((double) interval->month * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY;
	if (seconds < 0 || seconds > DELAY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"",
						option, value),
				 errdetail("It must be an interval from 0 to 366 days.")));
	return (int64) (seconds * 1000);
}

/* strict, which takes effect with the next batch. */
static void
set_strict(Projection *projection, const char *value)
{
	Declared   *declared = projection->declared;
	bool		strict;

	if (declared == NULL || declared->kind != DECLARED_ROW)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"strict\" is not possible for projection \"%s\"",
						projection->name),
				 errdetail("It has no WHEN that could hold for an event.")));
	if (!parse_bool(value, &strict))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"",
						"strict", value),
				 errdetail("It must be true or false.")));
	declared->strict = strict;
	DeclaredWrite(projection->name, declared);
}

/* No option has this name; what could be meant? */
static void
refuse_option(const Projection *projection, const char *option)
{
	static const char *const arguments[] = {
		"ordering", "allow_stable", "start_at", "key", "for_each", "stream",
		"definition"
	};

	for (int i = 0; i < lengthof(arguments); i++)
	{
		if (strcmp(option, arguments[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" is an argument of projection_create, and cannot be set later",
							option),
					 errdetail("What has been applied depends on it."),
					 errhint("Drop the projection with SELECT projection_drop(%s); empty its read model, and create it again with the other value.",
							 quote_literal_cstr(projection->name))));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("projection option \"%s\" does not exist", option),
			 errhint("The options are channel, partitions, batch_size, max_attempts, retry_delay, retry_multiplier, retry_max_delay, retry_jitter, max_parked, verify_rate and strict.")));
}

static bool
set_retry_option(Projection *projection, const char *option,
				 const char *value)
{
	RetryPolicy *retry = &projection->retry;

	if (strcmp(option, "max_attempts") == 0)
		retry->max_attempts = integer_option(option, value, 1, ATTEMPTS_MAX);
	else if (strcmp(option, "retry_delay") == 0)
		retry->delay = interval_option(option, value);
	else if (strcmp(option, "retry_multiplier") == 0)
		retry->multiplier = number_option(option, value, 1, 1000);
	else if (strcmp(option, "retry_max_delay") == 0)
		retry->max_delay = interval_option(option, value);
	else if (strcmp(option, "retry_jitter") == 0)
		retry->jitter = number_option(option, value, 0, 1);
	else if (strcmp(option, "max_parked") == 0)
		projection->max_parked = integer_option(option, value, 0, PARKED_MAX);
	else if (strcmp(option, "verify_rate") == 0)
		projection->verify_rate = integer_option(option, value, 0,
												 VERIFY_RATE_MAX);
	else
		return false;
	return true;
}

/* projection_set(name, option, value) */
Datum
projection_set(PG_FUNCTION_ARGS)
{
	Projection *projection = ProjectionLock(ArgumentName(fcinfo, 0, "name"),
											ExclusiveLock, "projection_set()");
	char	   *option = ArgumentText(fcinfo, 1, "option", NAMEDATALEN);
	char	   *value = ArgumentText(fcinfo, 2, "value", PG_INT32_MAX);

	if (strcmp(option, "channel") == 0)
		projection->channel = ArgumentName(fcinfo, 2, "value");
	else if (strcmp(option, "partitions") == 0)
		set_partitions(projection, value);
	else if (strcmp(option, "batch_size") == 0)
		projection->batch_size = integer_option(option, value, 1,
												BATCH_SIZE_MAX);
	else if (strcmp(option, "strict") == 0)
		set_strict(projection, value);
	else if (!set_retry_option(projection, option, value))
		refuse_option(projection, option);
	ProjectionSaveState(projection, true);
	if (DesiredStarted(projection->name))
		DesiredPublish();
	PG_RETURN_VOID();
}
