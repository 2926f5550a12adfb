/*
 * meter.h
 *		How fast something goes: counts per second, of the last seconds.
 *
 * Pure arithmetic.  Times are whole seconds, of any clock that goes forward.
 */
#ifndef WALLET_PROJECTION_METER_H
#define WALLET_PROJECTION_METER_H

/* how many seconds are kept, and over how many the rate is taken */
#define METER_KEPT		16
#define METER_WINDOW	10

typedef struct Meter
{
	int64		began;			/* the first second of the present activity */
	int64		last;			/* the last second with something in it */
	int64		count[METER_KEPT];	/* by second, modulo METER_KEPT */
} Meter;

extern void MeterAdd(Meter *meter, int64 second, int64 count);
extern double MeterRate(const Meter *meter, int64 second);

#endif							/* WALLET_PROJECTION_METER_H */
