/*
 * retry_test.c
 *		When to try again.
 */
#include "postgres.h"

#include "support.h"
#include "retry.h"

int
main(void)
{
	RetryPolicy policy = {.max_attempts = 5,.delay = 1000,.multiplier = 2,.max_delay = 60000};
	bool		within = true;

	start();
	ok(RetryDelay(&policy, 1, 0) == 1000, "the first delay");
	ok(RetryDelay(&policy, 2, 1) == 2000, "the second");
	ok(RetryDelay(&policy, 6, 0.5) == 32000, "the sixth");
	ok(RetryDelay(&policy, 7, 0.5) == 60000, "no delay is longer than the longest");
	ok(RetryDelay(&policy, 1000000000, 0.5) == 60000, "however many attempts there were");
	policy.multiplier = 1;
	ok(RetryDelay(&policy, 1000, 0.5) == 1000, "a multiplier of 1");
	policy.delay = 0;
	ok(RetryDelay(&policy, 3, 0.5) == 0, "no delay");
	policy.delay = 100000;
	ok(RetryDelay(&policy, 1, 0.5) == 60000, "a first delay above the longest");
	policy.delay = 1000;
	policy.jitter = 0.1;
	ok(RetryDelay(&policy, 1, 0) == 900, "the least, with jitter");
	ok(RetryDelay(&policy, 1, 1) == 1100, "the most");
	policy.jitter = 1;
	for (int i = 0; i <= 100; i++)
	{
		int64		delay = RetryDelay(&policy, 1, i / 100.0);

		within = within && delay >= 0 && delay <= 2000;
	}
	ok(within, "jitter never makes it negative");

	policy.max_delay = 60000;
	ok(RetryLongest(&policy) >= 120000, "no delay is longer than this");
	ok(RetryIsDue(0, 1000000, 100), "what was never put off is due");
	ok(RetryIsDue(1000000, 1000000, 100), "due at the moment");
	ok(!RetryIsDue(1000001, 1000000, 100), "not before");
	ok(!RetryIsDue(1100000, 1000000, 100), "nor as far away as can be");
	ok(RetryIsDue(1102000, 1000000, 100), "further away: the clock was set back");
	return finish();
}
