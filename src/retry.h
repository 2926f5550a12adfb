/*
 * retry.h
 *		When to try again.
 *
 * Pure arithmetic.  Delays are in milliseconds, moments are TimestampTz.
 */
#ifndef WALLET_PROJECTION_RETRY_H
#define WALLET_PROJECTION_RETRY_H

typedef struct RetryPolicy
{
	int			max_attempts;	/* the first one counts */
	int64		delay;			/* after the first failure */
	double		multiplier;		/* of the delay, after each further one */
	int64		max_delay;
	double		jitter;			/* the share by which a delay may vary, both
								 * ways; 0 to 1 */
} RetryPolicy;

extern int64 RetryLongest(const RetryPolicy *policy);
extern bool RetryIsDue(int64 at, int64 now, int64 longest);
extern int64 RetryDelay(const RetryPolicy *policy, int attempts,
						double chance);

#endif							/* WALLET_PROJECTION_RETRY_H */
