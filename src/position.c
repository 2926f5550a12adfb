/*
 * position.c
 *		The arithmetic of positions.
 *
 * Owns the rule by which a gap is kept or forgotten.  A number that was
 * missing may belong to a transaction that has not committed yet, so it
 * stays a gap until it is certainly dead: it is settled (every transaction
 * that could have drawn it had ended before the snapshot was taken) and this
 * read has looked for it and did not see it.
 *
 * Must not touch catalogs, clocks or locks: test/unit compiles this file by
 * itself and holds it against a naive oracle.
 */
#include "postgres.h"

#include "position.h"

/*
 * Append first..last.  Numbers are appended in ascending order only; a range
 * that touches the last one is merged with it.
 */
void
NumberSetAppend(NumberSet *set, int64 first, int64 last)
{
	Assert(first <= last);
	Assert(set->count == 0 || first > set->ranges[set->count - 1].last);

	if (set->count > 0 && first - 1 == set->ranges[set->count - 1].last)
	{
		set->ranges[set->count - 1].last = last;
		return;
	}
	if (set->capacity == 0)
	{
		set->capacity = 8;
		set->ranges = palloc(set->capacity * sizeof(NumberRange));
	}
	else if (set->count == set->capacity)
	{
		set->capacity *= 2;
		set->ranges = repalloc(set->ranges,
							   set->capacity * sizeof(NumberRange));
	}
	set->ranges[set->count].first = first;
	set->ranges[set->count].last = last;
	set->count++;
}

/* Is number in the set?  Binary search. */
bool
NumberSetContains(const NumberSet *set, int64 number)
{
	int			low = 0;
	int			high = set->count - 1;

	while (low <= high)
	{
		int			middle = low + (high - low) / 2;
		const NumberRange *range = &set->ranges[middle];

		if (number < range->first)
			high = middle - 1;
		else if (number > range->last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

/* The first number of the set above this one; PG_INT64_MAX if there is none. */
int64
NumberSetNext(const NumberSet *set, int64 number)
{
	int			low = 0;
	int			high = set->count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (set->ranges[middle].last > number)
			high = middle;
		else
			low = middle + 1;
	}
	if (low == set->count)
		return PG_INT64_MAX;
	return Max(set->ranges[low].first, number + 1);
}

bool
NumberSetEquals(const NumberSet *a, const NumberSet *b)
{
	if (a->count != b->count)
		return false;
	for (int i = 0; i < a->count; i++)
	{
		if (a->ranges[i].first != b->ranges[i].first ||
			a->ranges[i].last != b->ranges[i].last)
			return false;
	}
	return true;
}

/* How many numbers are in the set? */
int64
NumberSetSize(const NumberSet *set)
{
	int64		size = 0;

	for (int i = 0; i < set->count; i++)
		size += set->ranges[i].last - set->ranges[i].first + 1;
	return size;
}

NumberSet
NumberSetCopy(const NumberSet *set)
{
	NumberSet	nothing = {0};

	return NumberSetUnion(set, &nothing);
}

NumberSet
NumberSetUnion(const NumberSet *a, const NumberSet *b)
{
	NumberSet	result = {0};
	int			i = 0;
	int			j = 0;

	while (i < a->count || j < b->count)
	{
		NumberRange next;
		NumberRange *end;

		if (j == b->count ||
			(i < a->count && a->ranges[i].first <= b->ranges[j].first))
			next = a->ranges[i++];
		else
			next = b->ranges[j++];

		end = result.count > 0 ? &result.ranges[result.count - 1] : NULL;
		if (end == NULL || next.first > end->last)
			NumberSetAppend(&result, next.first, next.last);
		else if (next.last > end->last)
			end->last = next.last;
	}
	return result;
}

/* The numbers of a that are not in b. */
NumberSet
NumberSetMinus(const NumberSet *a, const NumberSet *b)
{
	NumberSet	result = {0};
	int			j = 0;

	for (int i = 0; i < a->count; i++)
	{
		int64		first = a->ranges[i].first;
		int64		last = a->ranges[i].last;
		bool		covered = false;

		while (j < b->count && b->ranges[j].last < first)
			j++;
		/* a range of b may reach into the next range of a: keep j there */
		for (int k = j; k < b->count && b->ranges[k].first <= last; k++)
		{
			if (b->ranges[k].first > first)
				NumberSetAppend(&result, first, b->ranges[k].first - 1);
			covered = b->ranges[k].last >= last;
			if (covered)
				break;
			first = b->ranges[k].last + 1;
			j = k;
		}
		if (!covered)
			NumberSetAppend(&result, first, last);
	}
	return result;
}

/* The numbers of the set that lie in first..last. */
NumberSet
NumberSetBetween(const NumberSet *set, int64 first, int64 last)
{
	NumberSet	result = {0};

	for (int i = 0; i < set->count; i++)
	{
		int64		low = Max(set->ranges[i].first, first);
		int64		high = Min(set->ranges[i].last, last);

		if (low <= high)
			NumberSetAppend(&result, low, high);
	}
	return result;
}

/* Has the event with this number been applied? */
bool
PositionApplied(const Position *position, int64 number)
{
	return number <= position->head &&
		!NumberSetContains(&position->gaps, number);
}

static void
free_set(NumberSet *set)
{
	if (set->capacity > 0)
		pfree(set->ranges);
}

/*
 * The position after all unapplied events that the report speaks of were
 * applied.  The head never goes backwards.
 */
Position
PositionAdvance(const Position *position, const ReadReport *report)
{
	Position	result = {0};
	NumberSet	open = {0};
	int64		forget;

	/*
	 * Up to here a number that was not seen will never be.  Where the limit
	 * cut the read short, nobody has looked beyond the last number seen.
	 */
	forget = report->whole ? report->settled :
		Min(report->settled, report->last);

	result.head = Max(position->head, report->last);
	if (report->whole)
		result.head = Max(result.head, report->settled);

	/* all that was unapplied and not above the new head */
	for (int i = 0; i < position->gaps.count; i++)
		NumberSetAppend(&open, position->gaps.ranges[i].first,
						position->gaps.ranges[i].last);
	if (result.head > position->head)
		NumberSetAppend(&open, position->head + 1, result.head);

	result.gaps = NumberSetMinus(&open, report->seen);
	free_set(&open);
	if (report->from <= forget)
	{
		NumberSet	dead = {0};

		NumberSet	left = result.gaps;

		/* what this read did not look at stays as it was */
		NumberSetAppend(&dead, report->from, forget);
		result.gaps = NumberSetMinus(&left, &dead);
		free_set(&left);
		free_set(&dead);
	}
	return result;
}
