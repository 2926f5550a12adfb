/*
 * retry.c
 *		When to try again.
 */
#include "postgres.h"

#include "projection/retry.h"

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
