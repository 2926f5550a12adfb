/*
 * meter_test.c
 *		Counts per second, held against a naive oracle.
 *
 *		meter_test [steps [seed]]
 */
#include "postgres.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "worker/meter.h"

#define SECONDS 200

/* What was counted in each second; the oracle of one run. */
static int64 counted[SECONDS];

/* The rate as the header tells it, from all that was ever counted. */
static double
expected(int64 now)
{
	int64		last = -1;
	int64		began;
	int64		from;
	double		sum = 0;

	for (int64 s = 0; s <= now; s++)
	{
		if (counted[s] > 0)
			last = s;
	}
	if (last < 0 || now - last > METER_WINDOW)
		return 0;
	began = last;
	for (int64 s = last; s >= 0 && began - s < METER_WINDOW; s--)
	{
		if (counted[s] > 0)
			began = s;
	}
	from = Max(now - METER_WINDOW, began);
	if (from == now)
		return counted[now];
	for (int64 s = from; s < now; s++)
		sum += counted[s];
	return sum / (now - from);
}

/* One random run: true if all rates are as expected. */
static bool
run(void)
{
	Meter		meter;
	int			busy = random_below(100);

	/* an origin at which the meter has room behind it */
	int64		origin = 1000000 + random_below(100);

	memset(&meter, 0, sizeof(meter));
	memset(counted, 0, sizeof(counted));
	for (int64 now = 0; now < SECONDS; now++)
	{
		if (random_chance(5))
			busy = random_below(100);
		for (int i = random_below(4); i > 0 && random_chance(busy); i--)
		{
			int			count = 1 + random_below(1000);

			counted[now] += count;
			MeterAdd(&meter, origin + now, count);
		}
		if (fabs(MeterRate(&meter, origin + now) - expected(now)) > 1e-6)
		{
			note("second %d: %f, not %f", (int) now,
				 MeterRate(&meter, origin + now), expected(now));
			return false;
		}
	}
	return true;
}

int
main(int argc, char **argv)
{
	long		runs = argc > 1 ? positive_argument(argv[1], "steps") : 500;
	bool		passed = true;
	Meter		meter;

	random_start(argc > 2 ? (uint64_t) positive_argument(argv[2], "seed") : default_seed());
	start();
	memset(&meter, 0, sizeof(meter));
	ok(MeterRate(&meter, 1000000) == 0, "a meter that was never used shows nothing");
	MeterAdd(&meter, 1000000, 7);
	ok(MeterRate(&meter, 1000000) == 7, "the first second counts as it is");
	MeterAdd(&meter, 999990, 3);
	ok(MeterRate(&meter, 1000000) == 10, "a clock that was set back does no harm");
	ok(MeterRate(&meter, 1000000 + METER_WINDOW + 1) == 0, "after the window it shows nothing");
	for (long i = 0; i < runs && passed; i++)
	{
		random_step(i);
		passed = run();
	}
	ok(passed, "rates are as a naive count says");
	return finish();
}
