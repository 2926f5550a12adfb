/*
 * meter.c
 *		How fast something goes: counts per second, of the last seconds.
 */
#include "postgres.h"

#include <string.h>

#include "worker/meter.h"

/* Count something in this second. */
void
MeterAdd(Meter *meter, int64 second, int64 count)
{
	if (second < meter->last)
		second = meter->last;	/* the clock was set back */
	if (second - meter->last >= METER_WINDOW)
		meter->began = second;
	if (second - meter->last >= METER_KEPT)
		memset(meter->count, 0, sizeof(meter->count));
	else
	{
		for (int64 empty = meter->last + 1; empty <= second; empty++)
			meter->count[empty % METER_KEPT] = 0;
	}
	meter->last = second;
	meter->count[second % METER_KEPT] += count;
}

/*
 * The count per second, over the last METER_WINDOW whole seconds, or over
 * less where the activity began later.  The second that runs is left out, but
 * where it is the only one.
 */
double
MeterRate(const Meter *meter, int64 second)
{
	int64		from = Max(second - METER_WINDOW, meter->began);
	int64		sum = 0;

	if (second - meter->last > METER_WINDOW)
		return 0;
	if (from >= second)
		return (double) meter->count[meter->last % METER_KEPT];
	for (int64 s = from; s < second && s <= meter->last; s++)
		sum += meter->count[s % METER_KEPT];
	return (double) sum / (double) (second - from);
}
