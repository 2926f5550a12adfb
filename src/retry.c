/*
 * retry.c
 *		When to try again.
 */
#include "postgres.h"

#include "retry.h"

/*
 * How long to wait after so many failed attempts (at least 1); chance is from
 * 0 to 1.
 */
int64
RetryDelay(const RetryPolicy *policy, int attempts, double chance)
{
	double		delay = (double) policy->delay;

	for (int i = 1; i < attempts && delay < (double) policy->max_delay; i++)
		delay *= policy->multiplier;
	delay = Min(delay, (double) policy->max_delay);
	delay *= 1 + policy->jitter * (2 * chance - 1);
	return (int64) delay;
}

/* No delay of this policy is longer. */
int64
RetryLongest(const RetryPolicy *policy)
{
	return (int64) ((double) policy->max_delay * (1 + policy->jitter)) + 1;
}

/*
 * Is it time for what was put off until then?  Also where that is further away
 * than the longest delay: then the clock was set back meanwhile.
 */
bool
RetryIsDue(int64 at, int64 now, int64 longest)
{
	return at <= now || (at - now) / 1000 > longest;
}
