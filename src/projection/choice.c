/*
 * choice.c
 *		Which partitions a batch tries to claim.
 *
 * Two rules see to it that nothing starves.
 *
 *	- Workers share partitions out among them: partition p is of the worker
 *	  whose rank is p modulo their number.  A worker that has nothing to do
 *	  helps with partitions that are far behind, of which nobody claims more
 *	  than his share at a time.
 *	- A batch reads from the lowest head of its partitions on.  One that is a
 *	  million events behind would keep those at the end of the stream waiting.
 *	  So only such as are near each other go together, and those that are
 *	  apart take turns.
 */
#include "postgres.h"

#include "projection/choice.h"

/* Is it so far behind that any worker should help? */
static bool
is_far_behind(const ChoiceRule *rule, int64 last_number, const Claim *claim)
{
	return last_number - claim->position.head > rule->window;
}

/* Does it belong to those among which the rule chooses? */
static bool
is_candidate(const ChoiceRule *rule, int64 last_number, const Claim *claim)
{
	if (rule->help)
		return is_far_behind(rule, last_number, claim);
	return rule->of == 0 || claim->partition % rule->of == rule->rank;
}

/* Has it something to look at? */
static bool
is_behind(int64 last_number, bool with_gaps, const Claim *claim)
{
	return claim->position.head < last_number ||
		(with_gaps && claim->position.gaps.count > 0);
}

/*
 * How many partitions are so far behind that all workers should share them?
 * others: some of them are another worker's.
 */
int
PartitionsFarBehind(const ChoiceRule *rule, int64 last_number,
					const Claim *claims, int count, bool *others)
{
	int			far = 0;

	*others = false;
	for (int i = 0; i < count && rule->of > 1; i++)
	{
		if (!is_far_behind(rule, last_number, &claims[i]))
			continue;
		far++;
		if (claims[i].partition % rule->of != rule->rank)
			*others = true;
	}
	return far;
}

/*
 * Leave out the partitions that the rule does not want: keeps the others at
 * the front of the array and returns how many they are.
 */
int
PartitionsFilter(const ChoiceRule *rule, int64 last_number, Claim *claims,
				 int count)
{
	int			kept = 0;

	for (int i = 0; i < count; i++)
	{
		if (is_candidate(rule, last_number, &claims[i]))
			claims[kept++] = claims[i];
	}
	return kept;
}

/*
 * Choose among those that PartitionsFilter() has kept: copies them and returns
 * how many they are; 0 if there is nothing to look at.  with_gaps: gaps have
 * to be looked at again.
 */
int
PartitionsChoose(const ChoiceRule *rule, int64 last_number, bool with_gaps,
				 const Claim *claims, int count, Claim *chosen)
{
	int			behind = 0;
	int			turn;
	int			result = 0;
	int64		head = 0;

	for (int i = 0; i < count; i++)
	{
		if (is_behind(last_number, with_gaps, &claims[i]))
			behind++;
	}
	if (behind == 0)
		return 0;

	turn = rule->turn % behind;
	for (int i = 0; i < count; i++)
	{
		if (!is_behind(last_number, with_gaps, &claims[i]))
			continue;
		head = claims[i].position.head;
		if (turn-- == 0)
			break;
	}
	for (int i = 0; i < count; i++)
	{
		int64		apart = claims[i].position.head - head;

		if (rule->window == 0 ||
			(apart <= rule->window && apart >= -rule->window))
			chosen[result++] = claims[i];
	}
	return result;
}
