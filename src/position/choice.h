/*
 * choice.h
 *		Which partitions a batch tries to claim.
 */
#ifndef WALLET_PROJECTION_CHOICE_H
#define WALLET_PROJECTION_CHOICE_H

#include "position/sets.h"

#define CHOICE_WINDOW (-1)

typedef struct ChoiceRule
{
	int			of;				/* workers that share the partitions; 0: they
								 * are not shared out */
	int			rank;			/* of this worker among them, from 0 */
	bool		steal;			/* instead of our own, what others cannot keep
								 * up with */
	int64		window;			/* only such as are so near each other, in
								 * numbers; 0: however far apart;
								 * CHOICE_WINDOW: as the batch size is */
	uint32		start;			/* where the round begins, if they are far
								 * apart */
} ChoiceRule;

extern int	GroupsFarBehind(const ChoiceRule *rule, int64 last_number,
							const PositionSets *sets, bool *others);
extern PositionSets GroupsFilter(const ChoiceRule *rule, int64 last_number,
								 const PositionSets *sets);
extern PositionSets GroupsChoose(const ChoiceRule *rule, int64 last_number,
								 int64 gaps_from, const PositionSets *sets);

#endif							/* WALLET_PROJECTION_CHOICE_H */
