/*
 * support.h
 *		What the plain C tests share: memory, random numbers, TAP.
 *
 * The seed and the step of a random test are kept here, so that a failed
 * Assert can name them too.
 */
#ifndef UNIT_SUPPORT_H
#define UNIT_SUPPORT_H

#include "position.h"

/* Frees all that was palloc'd. */
extern void arena_reset(void);

/* The same seed gives the same numbers, on every machine. */
extern void random_start(uint64_t seed);
extern void random_step(long step);
extern uint64_t random_bits(void);
extern int	random_below(int limit);
extern bool random_chance(int percent);
extern uint64_t default_seed(void);

/* Before the first test. */
extern void start(void);

/* One test: prints "ok - name" or "not ok - name". */
extern void ok(bool passed, const char *name,...)
			__attribute__((format(printf, 2, 3)));

/* Prints a remark about the test that follows. */
extern void note(const char *format,...)
			__attribute__((format(printf, 1, 2)));

/* Prints where the random test stands, as a remark. */
extern void note_step(void);

/* Prints the plan; returns the exit status. */
extern int	finish(void);

/* Reads a command line argument that must be a number above 0. */
extern long positive_argument(const char *argument, const char *what);

/* Ascending, disjoint, not adjacent? */
extern bool set_is_sound(const NumberSet *set);

/* The set as text: "1-3 5". */
extern const char *show(const NumberSet *set);

#endif							/* UNIT_SUPPORT_H */
