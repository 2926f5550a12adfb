/*
 * pinned.h
 *		The settings under which a projection computes its results.
 */
#ifndef WALLET_PROJECTION_PINNED_H
#define WALLET_PROJECTION_PINNED_H

#include "utils/array.h"

extern ArrayType *PinnedSettings(void);
extern const char *PinnedProblem(ArrayType *settings);
extern int	PinnedEnter(ArrayType *settings);

/* a setting and its value */
typedef const char *const PinnedValue[2];

extern int	PinnedEnterThese(PinnedValue *settings, int count);
extern int	PinnedEnterNeutral(void);
extern void PinnedLeave(int level);

#endif							/* WALLET_PROJECTION_PINNED_H */
