/*
 * position_test.c
 *		The arithmetic of positions, held against tables and a naive oracle.
 *
 *		position_test [steps [seed]]
 *
 * The oracle knows sets as bitmaps over a few numbers, and the rule of a
 * position as it is told in words: one number at a time.
 */
#include "postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))
/* the ends of the type */
#define TOP PG_INT64_MAX
#define BOTTOM PG_INT64_MIN

/* Builds a set from text such as "1-3 5", without the code under test. */
static NumberSet
parse(const char *ranges)
{
	NumberSet	set = {0};
	char	   *end;

	while (*ranges != '\0')
	{
		NumberRange range;

		range.first = strtoll(ranges, &end, 10);
		range.last = *end == '-' ? strtoll(end + 1, &end, 10) : range.first;
		ranges = *end == ' ' ? end + 1 : end;
		set.ranges = set.count == 0 ? palloc(sizeof(range)) :
			repalloc(set.ranges, (set.count + 1) * sizeof(range));
		set.ranges[set.count++] = range;
		set.capacity = set.count;
	}
	return set;
}

/* Is the set sound, and is this its text? */
static bool
is(const NumberSet *set, const char *expected)
{
	if (set_is_sound(set) && strcmp(show(set), expected) == 0)
		return true;
	note("got \"%s\", expected \"%s\"", show(set), expected);
	return false;
}

static void
test_append(void)
{
	static const struct
	{
		const char *name;
		const char *set;
		int64		first;
		int64		last;
		const char *expected;
	}			rows[] = {
		{"a number to nothing", "", 7, 7, "7"},
		{"a range to nothing", "", 7, 9, "7-9"},
		{"a number that touches", "7", 8, 8, "7-8"},
		{"a range that touches", "1-2 5-7", 8, 10, "1-2 5-10"},
		{"a number that leaves one out", "7", 9, 9, "7 9"},
		{"a range far away", "1 3-4", 100, 200, "1 3-4 100-200"},
		{"the smallest number", "", BOTTOM, BOTTOM, "-9223372036854775808"},
		{"the greatest number", "1", TOP, TOP, "1 9223372036854775807"},
		{"the greatest number, touching", "1-9223372036854775806", TOP, TOP,
		"1-9223372036854775807"},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		NumberSet	set = parse(rows[i].set);

		NumberSetAppend(&set, rows[i].first, rows[i].last);
		ok(is(&set, rows[i].expected), "append: %s", rows[i].name);
	}
}

/* Odd numbers are appended one by one, through every growth of the array. */
static void
test_append_growth(void)
{
	NumberSet	set = {0};
	bool		good = true;

	for (int n = 0; n < 1000; n++)
	{
		NumberSetAppend(&set, 2 * n + 1, 2 * n + 1);
		good = good && set.count == n + 1 && set_is_sound(&set);
	}
	for (int n = 0; n < 1000; n++)
		good = good && set.ranges[n].first == 2 * n + 1 &&
			set.ranges[n].last == 2 * n + 1;
	ok(good, "append: a thousand ranges");
}

/* Each number around sets of 0 to 20 ranges, and the ends of the type. */
static void
test_contains(void)
{
	NumberSet	set = {0};
	NumberSet	all = parse("-9223372036854775808-9223372036854775807");
	NumberSet	ends = parse("-9223372036854775808 9223372036854775807");

	for (int count = 0; count <= 20; count++)
	{
		bool		good = true;

		/* 10-12 20-22 30-32 ... */
		if (count > 0)
			NumberSetAppend(&set, count * 10, count * 10 + 2);
		for (int n = 0; n <= 220; n++)
		{
			bool		expected = n >= 10 && n / 10 <= count && n % 10 <= 2;

			good = good && NumberSetContains(&set, n) == expected;
		}
		good = good && !NumberSetContains(&set, BOTTOM) &&
			!NumberSetContains(&set, TOP);
		ok(good, "contains: %d ranges", count);
	}
	ok(NumberSetContains(&all, BOTTOM) && NumberSetContains(&all, 0) &&
	   NumberSetContains(&all, TOP), "contains: all numbers there are");
	ok(NumberSetContains(&ends, BOTTOM) && !NumberSetContains(&ends, 0) &&
	   !NumberSetContains(&ends, BOTTOM + 1) &&
	   !NumberSetContains(&ends, TOP - 1) && NumberSetContains(&ends, TOP),
	   "contains: the ends of the type alone");
}

/* The same sets, and the first number above each number around them. */
static void
test_next(void)
{
	NumberSet	set = {0};
	NumberSet	all = parse("-9223372036854775808-9223372036854775807");
	NumberSet	ends = parse("-9223372036854775808 9223372036854775807");

	for (int count = 0; count <= 20; count++)
	{
		bool		good = true;
		int64		expected = TOP;

		/* 10-12 20-22 30-32 ... */
		if (count > 0)
			NumberSetAppend(&set, count * 10, count * 10 + 2);
		for (int n = count * 10 + 15; n >= 0; n--)
		{
			good = good && NumberSetNext(&set, n) == expected;
			if (n >= 10 && n / 10 <= count && n % 10 <= 2)
				expected = n;
		}
		good = good && NumberSetNext(&set, TOP - 1) == TOP &&
			NumberSetNext(&set, BOTTOM) == expected;
		ok(good, "next: %d ranges", count);
	}
	ok(NumberSetNext(&all, BOTTOM) == BOTTOM + 1 &&
	   NumberSetNext(&all, 0) == 1 && NumberSetNext(&all, TOP - 1) == TOP,
	   "next: all numbers there are");
	ok(NumberSetNext(&ends, BOTTOM) == TOP && NumberSetNext(&ends, 0) == TOP &&
	   NumberSetNext(&ends, TOP - 1) == TOP && NumberSetNext(&ends, TOP) == TOP,
	   "next: the ends of the type");
}

static void
test_equals(void)
{
	static const struct
	{
		const char *a;
		const char *b;
		bool		expected;
	}			rows[] = {
		{"", "", true},
		{"", "1", false},
		{"1", "1", true},
		{"1", "2", false},
		{"1-3", "1-4", false},
		{"1-3", "2-3", false},
		{"1-3 5", "1-3", false},
		{"1-3 5", "1-3 5", true},
		{"1-3 5", "1-3 6", false},
		{"1 3 5 7", "1 3 5 7", true},
		{"1 3 5 7", "1 4 5 7", false},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		NumberSet	a = parse(rows[i].a);
		NumberSet	b = parse(rows[i].b);

		ok(NumberSetEquals(&a, &b) == rows[i].expected &&
		   NumberSetEquals(&b, &a) == rows[i].expected,
		   "equals: \"%s\" and \"%s\"", rows[i].a, rows[i].b);
	}
}

static void
test_size(void)
{
	static const struct
	{
		const char *set;
		int64		expected;
	}			rows[] = {
		{"", 0},
		{"5", 1},
		{"5-6", 2},
		{"1-3 7 10-19", 14},
		{"1-9223372036854775807", TOP},
		{"3000000000-8999999999", INT64_C(6000000000)},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		NumberSet	set = parse(rows[i].set);

		ok(NumberSetSize(&set) == rows[i].expected,
		   "size: \"%s\"", rows[i].set);
	}
}

static void
test_union(void)
{
	static const struct
	{
		const char *a;
		const char *b;
		const char *expected;
	}			rows[] = {
		{"", "", ""},
		{"", "1-3 5", "1-3 5"},
		{"1-3", "1-3", "1-3"},
		{"1-3", "4-6", "1-6"},
		{"1-3", "5-6", "1-3 5-6"},
		{"1-3", "2-6", "1-6"},
		{"1-9", "3-5", "1-9"},
		{"1-9", "3 5 7", "1-9"},
		{"1 3 5 7", "2 4 6", "1-7"},
		{"1-2 9-10", "4-5", "1-2 4-5 9-10"},
		{"1-2 9-10", "3-8", "1-10"},
		{"1-5 8-9", "3-8 11", "1-9 11"},
		{"1-5", "1-7", "1-7"},
		{"9223372036854775806", "9223372036854775807",
		"9223372036854775806-9223372036854775807"},
		{"-9223372036854775808", "-9223372036854775807",
		"-9223372036854775808--9223372036854775807"},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		NumberSet	a = parse(rows[i].a);
		NumberSet	b = parse(rows[i].b);
		NumberSet	ab = NumberSetUnion(&a, &b);
		NumberSet	ba = NumberSetUnion(&b, &a);

		ok(is(&ab, rows[i].expected) && is(&ba, rows[i].expected),
		   "union: \"%s\" and \"%s\"", rows[i].a, rows[i].b);
	}
}

static void
test_minus(void)
{
	static const struct
	{
		const char *a;
		const char *b;
		const char *expected;
	}			rows[] = {
		{"", "", ""},
		{"", "1-3", ""},
		{"1-3 5", "", "1-3 5"},
		{"1-3", "1-3", ""},
		{"1-3", "0-9", ""},
		{"1-9", "1", "2-9"},
		{"1-9", "9", "1-8"},
		{"1-9", "5", "1-4 6-9"},
		{"1-9", "2 4 6-7", "1 3 5 8-9"},
		{"1-9", "10-12", "1-9"},
		{"5-9", "1-4", "5-9"},
		{"5-9", "1-5", "6-9"},
		{"5-9", "9-12", "5-8"},
		{"1-3 5-7 9-11", "2-10", "1 11"},
		{"1-3 5-7 9-11", "3-5 7-9", "1-2 6 10-11"},
		{"1 3 5 7", "3-5", "1 7"},
		{"1 3 5 7", "2 4 6", "1 3 5 7"},
		{"5 7", "1 3 5", "7"},
		{"1-9223372036854775806", "5-9223372036854775805",
		"1-4 9223372036854775806"},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		NumberSet	a = parse(rows[i].a);
		NumberSet	b = parse(rows[i].b);
		NumberSet	result = NumberSetMinus(&a, &b);

		ok(is(&result, rows[i].expected), "minus: \"%s\" without \"%s\"",
		   rows[i].a, rows[i].b);
	}
}

static void
test_between(void)
{
	static const struct
	{
		const char *set;
		int64		first;
		int64		last;
		const char *expected;
	}			rows[] = {
		{"", 1, 9, ""},
		{"1-9", 1, 9, "1-9"},
		{"1-9", BOTTOM, TOP, "1-9"},
		{"1-9", 3, 5, "3-5"},
		{"1-9", 9, 12, "9"},
		{"5-9", 1, 5, "5"},
		{"5-9", 1, 4, ""},
		{"5-9", 10, 12, ""},
		{"1-3 5 7-9", 2, 8, "2-3 5 7-8"},
		{"1-3 5 7-9", 4, 4, ""},
		{"1-3 5 7-9", 4, 6, "5"},
		{"1-9", 6, 5, ""},
		{"-9223372036854775808-9223372036854775807", TOP, TOP,
		"9223372036854775807"},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		NumberSet	set = parse(rows[i].set);
		NumberSet	result = NumberSetBetween(&set, rows[i].first,
											  rows[i].last);

		ok(is(&result, rows[i].expected),
		   "between: \"%s\" in %" PRId64 "..%" PRId64, rows[i].set,
		   rows[i].first, rows[i].last);
	}
}

static void
test_applied(void)
{
	static const struct
	{
		int64		head;
		const char *gaps;
		int64		number;
		bool		expected;
	}			rows[] = {
		{0, "", 0, true},
		{0, "", 1, false},
		{10, "", 10, true},
		{10, "", 11, false},
		{10, "", TOP, false},
		{10, "4-6 10", 3, true},
		{10, "4-6 10", 4, false},
		{10, "4-6 10", 6, false},
		{10, "4-6 10", 7, true},
		{10, "4-6 10", 10, false},
		{TOP, "", TOP, true},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		Position	position = {rows[i].head, parse(rows[i].gaps)};

		ok(PositionApplied(&position, rows[i].number) == rows[i].expected,
		   "applied: %" PRId64 " at (%" PRId64 ", \"%s\")", rows[i].number,
		   rows[i].head, rows[i].gaps);
	}
}

static void
test_advance(void)
{
	enum
	{
		cut, whole
	};
	static const struct
	{
		const char *name;
		int64		head;
		const char *gaps;
		int64		from;
		int64		last;
		int			read;
		int64		settled;
		const char *seen;
		int64		new_head;
		const char *new_gaps;
	}			rows[] = {
		{"an empty stream",
		0, "", 1, 0, whole, 0, "", 0, ""},
		{"the last number of a stream",
			TOP - 2, "", TOP - 1, TOP - 1, whole, TOP - 2, "9223372036854775806",
		TOP - 1, ""},
		{"nothing comes after it",
		TOP - 1, "", TOP, 0, whole, TOP - 1, "", TOP - 1, ""},
		{"nor after the last number that there is",
		TOP, "", TOP, 0, whole, TOP, "", TOP, ""},
		{"gaps are looked for from the least number on",
			TOP - 1, "5 9223372036854775806", BOTTOM, TOP - 1, whole, TOP - 2,
		"9223372036854775806", TOP - 1, ""},
		{"all there is",
		0, "", 1, 5, whole, 0, "1-5", 5, ""},
		{"a late number becomes a gap",
		9, "", 1, 11, whole, 9, "11", 11, "10"},
		{"an hour later it still is one",
		11, "10", 1, 99, whole, 9, "12-99", 99, "10"},
		{"the late number comes",
		11, "10", 1, 12, whole, 9, "10 12", 12, ""},
		{"the late number is dead",
		11, "10", 1, 12, whole, 10, "12", 12, ""},
		{"one of three comes, one is dead, one stays",
		11, "5 7 9", 1, 11, whole, 6, "7", 11, "9"},
		{"the settled number itself is dead",
		9, "3-7", 1, 0, whole, 5, "", 9, "6-7"},
		{"nothing settled, nothing forgotten",
		9, "1-9", 1, 0, whole, 0, "", 9, "1-9"},
		{"nothing seen: the head goes to what is settled",
		5, "", 1, 0, whole, 8, "", 8, ""},
		{"dead numbers at the end leave no gap",
		5, "", 1, 6, whole, 9, "6", 9, ""},
		{"a head above all else stays",
		20, "7", 1, 7, whole, 9, "7", 20, ""},
		{"gaps above the limit stay, though they are settled",
		20, "3 7 9", 1, 7, cut, 20, "7", 20, "9"},
		{"the last number of a cut read was looked at",
		20, "3 7 8", 1, 7, cut, 7, "", 20, "8"},
		{"a cut read does not move the head to what is settled",
		5, "", 1, 8, cut, 20, "6 8", 8, ""},
		{"a cut read below what is settled forgets up to its end alone",
		5, "2 4", 1, 3, cut, 20, "", 5, "4"},
		{"a cut read above what is settled",
		5, "2 4", 1, 9, cut, 3, "4 7 9", 9, "6 8"},
		{"a cut read that saw nothing",
		5, "2-4", 1, 0, cut, 20, "", 5, "2-4"},
		{"gaps that were left out stay, though they are settled",
		9, "2 6", 10, 12, whole, 12, "10 12", 12, "2 6"},
		{"of two gaps the read began between, one stays",
		9, "2 6", 4, 0, whole, 9, "", 9, "2"},
		{"a gap where the read began is looked at",
		9, "4-6", 5, 0, whole, 9, "", 9, "4"},
		{"numbers between the head and where the read began are gaps",
		3, "", 7, 9, whole, 9, "7 9", 9, "4-6"},
		{"a read that began above what is settled moves no gap",
		3, "2", 7, 0, whole, 5, "", 5, "2 4-5"},
		{"settled numbers need not be told one by one",
		3, "2", 1, 9, whole, 8, "9", 9, ""},
		{"nor where the limit cut the read",
		3, "2", 1, 7, cut, 8, "", 7, ""},
		{"numbers applied before are seen again",
		8, "5", 1, 9, whole, 0, "1-4 6-9", 9, "5"},
		{"gaps join the numbers beyond the head",
		8, "7-8", 1, 12, whole, 0, "11-12", 12, "7-10"},
		{"the greatest numbers",
			TOP - 5, "", TOP - 4, TOP - 1, whole, TOP - 4, "9223372036854775806",
		TOP - 1, "9223372036854775804-9223372036854775805"},
	};

	for (int i = 0; i < lengthof(rows); i++)
	{
		NumberSet	seen = parse(rows[i].seen);
		Position	position = {rows[i].head, parse(rows[i].gaps)};
		ReadReport	report = {rows[i].from, rows[i].last,
		rows[i].read == whole, rows[i].settled, &seen};
		Position	result = PositionAdvance(&position, &report);

		if (result.head != rows[i].new_head)
			note("got head %" PRId64 ", expected %" PRId64, result.head,
				 rows[i].new_head);
		ok(is(&result.gaps, rows[i].new_gaps) &&
		   result.head == rows[i].new_head, "advance: %s", rows[i].name);
	}
}

/*
 * The oracle.  A set of numbers is a bitmap: bit i stands for base + i.
 */
#define UNIVERSE 60

typedef uint64_t Bits;

static int64 base = 1;

static bool
has(Bits bits, int64 number)
{
	return number >= base && number < base + UNIVERSE &&
		(bits >> (number - base) & 1) != 0;
}

/* The bits of first..last, as far as the universe goes. */
static Bits
bits_of_range(int64 first, int64 last)
{
	Bits		bits = 0;

	for (int i = 0; i < UNIVERSE; i++)
		if (base + i >= first && base + i <= last)
			bits |= UINT64_C(1) << i;
	return bits;
}

/* Does the sound set hold these numbers, and no others? */
static bool
holds(const NumberSet *set, Bits expected)
{
	Bits		bits = 0;

	if (!set_is_sound(set))
		return false;
	for (int i = 0; i < set->count; i++)
	{
		if (set->ranges[i].first < base ||
			set->ranges[i].last > base + UNIVERSE - 1)
			return false;
		bits |= bits_of_range(set->ranges[i].first, set->ranges[i].last);
	}
	return bits == expected;
}

static NumberSet
set_of(Bits bits)
{
	NumberSet	set = {0};

	set.ranges = palloc(UNIVERSE * sizeof(NumberRange));
	set.capacity = UNIVERSE;
	for (int i = 0; i < UNIVERSE; i++)
	{
		if (!has(bits, base + i))
			continue;
		if (!has(bits, base + i - 1))
			set.ranges[set.count++].first = base + i;
		set.ranges[set.count - 1].last = base + i;
	}
	return set;
}

/* A position, a report and what they are in bits. */
typedef struct Advance
{
	Position	position;
	Bits		gaps;
	ReadReport	report;
	NumberSet	told;			/* what report.seen points to */
	Bits		seen;			/* all that was seen */
} Advance;

/* The rule of a position, in words: one number at a time. */
static void
advance_naively(const Advance *a, int64 *head, Bits *gaps)
{
	const ReadReport *report = &a->report;

	*head = a->position.head;
	if (report->last > *head)
		*head = report->last;
	if (report->whole && report->settled > *head)
		*head = report->settled;
	*gaps = 0;
	for (int64 n = base; n < base + UNIVERSE && n <= *head; n++)
	{
		bool		unapplied = n > a->position.head || has(a->gaps, n);
		bool		looked = n >= report->from &&
			(report->whole || n <= report->last);
		bool		dead = looked && n <= report->settled;

		if (unapplied && !has(a->seen, n) && !dead)
			*gaps |= UINT64_C(1) << (n - base);
	}
}

/* Advances with both; false where they differ, or a promise is broken. */
static bool
advances_alike(const Advance *a, Position *result)
{
	int64		head;
	Bits		gaps;

	advance_naively(a, &head, &gaps);
	*result = PositionAdvance(&a->position, &a->report);
	return result->head == head && holds(&result->gaps, gaps) &&
		result->head >= a->position.head &&
		(result->gaps.count == 0 ||
		 result->gaps.ranges[result->gaps.count - 1].last <= result->head) &&
		holds(&a->position.gaps, a->gaps);
}

/*
 * Adds to report and seen what follows from them: the last number, and the
 * set that is told, which leaves out some of the settled numbers.
 */
static void
complete_report(Advance *a, Bits left_out)
{
	Bits		settled = bits_of_range(base, a->report.settled);

	a->report.last = 0;
	for (int64 n = base; n < base + UNIVERSE; n++)
		if (has(a->seen, n))
			a->report.last = n;
	a->told = set_of(a->seen & ~(left_out & settled));
	a->report.seen = &a->told;
}

/* Every position over 1..4, and every report on it. */
static void
test_advance_all(void)
{
	const int	size = 4;
	const int	subsets = 1 << size;
	long		cases = 0;
	bool		good = true;

	base = 1;
	for (int head = 0; head <= size; head++)
		for (int gaps = 0; gaps < 1 << head; gaps++)
			for (int from = 1; from <= size + 1; from++)
				for (int seen = 0; seen < subsets; seen++)
					for (int settled = 0; settled <= size; settled++)
						for (int told = 0; told < 4; told++)
						{
							Advance		a = {
								.position = {head, set_of(gaps)},
								.gaps = gaps,
							};
							Position	result;

							a.report.from = from;
							a.report.whole = told & 1;
							a.report.settled = settled;
							a.seen = seen & bits_of_range(from, size);
							complete_report(&a, told & 2 ? ~(Bits) 0 : 0);
							cases++;
							if (good && !advances_alike(&a, &result))
							{
								good = false;
								note("head %d, gaps \"%s\", from %d, last %"
									 PRId64 ", %s, settled %d, told \"%s\"",
									 head, show(&a.position.gaps), from,
									 a.report.last,
									 a.report.whole ? "whole" : "cut",
									 settled, show(&a.told));
								note("got head %" PRId64 ", gaps \"%s\"",
									 result.head, show(&result.gaps));
							}
							arena_reset();
						}
	ok(good && cases > 0, "advance: all %ld cases over the numbers 1..%d",
	   cases, size);
}

/*
 * The random walk: a few sets and a position, changed and asked at random,
 * with their bitmaps beside them.
 */
#define SETS 3
#define WALK_STEPS 500			/* then it begins anew */

enum Operation
{
	APPEND, CONTAINS, EQUALS, SIZE, UNION, MINUS, BETWEEN, APPLIED, ADVANCE,
	OPERATIONS
};

static const char *const operation_names[OPERATIONS] = {
	"append", "contains", "equals", "size", "union", "minus", "between",
	"applied", "advance"
};

typedef struct Walk
{
	NumberSet	sets[SETS];
	Bits		bits[SETS];
	Position	position;
	Bits		gaps;
} Walk;

/* Sparse, even and dense bitmaps. */
static Bits
random_bitmap(void)
{
	Bits		bits = random_bits();

	if (random_chance(33))
		bits &= random_bits() & random_bits();
	else if (random_chance(50))
		bits |= random_bits() | random_bits();
	return bits & bits_of_range(base, base + UNIVERSE - 1);
}

/* One of the universe, or one beside it. */
static int64
random_number(void)
{
	return base - 1 + random_below(UNIVERSE + 2);
}

static void
start_position(Walk *walk)
{
	int			below = random_below(UNIVERSE / 2);

	walk->position.head = base - 1 + below;
	walk->gaps = random_bitmap() & bits_of_range(base, walk->position.head);
	walk->position.gaps = set_of(walk->gaps);
}

static void
start_walk(Walk *walk)
{
	/* small numbers, those that are no int, and the greatest */
	static const int64 bases[] = {1, 2, INT32_MAX - 30, UINT32_MAX - 30,
	INT64_C(1) << 53, TOP - UNIVERSE};

	arena_reset();
	base = bases[random_below(lengthof(bases))];
	for (int i = 0; i < SETS; i++)
	{
		walk->bits[i] = random_bitmap();
		walk->sets[i] = set_of(walk->bits[i]);
	}
	start_position(walk);
}

/* The set grows at its upper end; a full one begins anew. */
static bool
step_append(Walk *walk, int target)
{
	NumberSet  *set = &walk->sets[target];
	int64		end = base + UNIVERSE - 1;
	int64		first;
	int64		last;

	if (set->count > 0 && set->ranges[set->count - 1].last > end - 10)
	{
		memset(set, 0, sizeof(*set));
		walk->bits[target] = 0;
	}
	first = set->count > 0 ? set->ranges[set->count - 1].last + 1 : base;
	first += random_below(3);
	last = first + random_below(4);
	NumberSetAppend(set, first, last);
	walk->bits[target] |= bits_of_range(first, last);
	return true;
}

/* Equal sets, sets that differ in one number, and any two. */
static bool
step_equals(const Walk *walk, int a)
{
	Bits		bits = walk->bits[a];
	NumberSet	other;

	if (random_chance(40))
		bits ^= UINT64_C(1) << random_below(UNIVERSE);
	else if (random_chance(20))
		bits = walk->bits[(a + 1) % SETS];
	other = set_of(bits);
	return NumberSetEquals(&walk->sets[a], &other) ==
		(bits == walk->bits[a]);
}

static bool
step_size(const Walk *walk, int a)
{
	int			size = 0;

	for (int i = 0; i < UNIVERSE; i++)
		size += has(walk->bits[a], base + i);
	return NumberSetSize(&walk->sets[a]) == size;
}

static bool
step_between(Walk *walk, int target, int a)
{
	int64		first = random_chance(10) ? BOTTOM : random_number();
	int64		last = random_chance(10) ? TOP : random_number();

	walk->bits[target] = walk->bits[a] & bits_of_range(first, last);
	walk->sets[target] = NumberSetBetween(&walk->sets[a], first, last);
	return true;
}

static bool
step_applied(const Walk *walk)
{
	int64		number = random_number();

	return PositionApplied(&walk->position, number) ==
		(number <= walk->position.head && !has(walk->gaps, number));
}

/* A report of a read that ends a little beyond the head, or before it. */
static bool
step_advance(Walk *walk)
{
	Advance		a = {.position = walk->position,.gaps = walk->gaps};
	int64		head;
	int64		end;

	if (walk->position.head > base + UNIVERSE - 8)
	{
		start_position(walk);
		a.position = walk->position;
		a.gaps = walk->gaps;
	}
	head = a.position.head;
	end = random_chance(60) ? head + random_below(5) : random_number();
	end = Min(end, base + UNIVERSE - 1);
	a.report.from = random_chance(40) ? 1 :
		random_chance(50) ? head + 1 : Max(random_number(), 1);
	a.report.whole = random_chance(50);
	a.report.settled = random_chance(50) ? base - 1 + random_below(UNIVERSE) :
		head - 4 + random_below(8);
	a.report.settled = Max(Min(a.report.settled, head + 4), base - 1);
	a.seen = random_bitmap() & bits_of_range(a.report.from, end);
	complete_report(&a, random_bits());
	if (!advances_alike(&a, &walk->position))
		return false;
	/* advances_alike has compared the gaps; the walk goes on from them */
	walk->gaps = 0;
	for (int i = 0; i < walk->position.gaps.count; i++)
		walk->gaps |= bits_of_range(walk->position.gaps.ranges[i].first,
									walk->position.gaps.ranges[i].last);
	return true;
}

/* One operation on sets a and b, its result in set target. */
static bool
step(Walk *walk, enum Operation operation, int target, int a, int b)
{
	NumberSet	result;
	int64		number;

	switch (operation)
	{
		case APPEND:
			return step_append(walk, target);
		case CONTAINS:
			number = random_number();
			return NumberSetContains(&walk->sets[a], number) ==
				has(walk->bits[a], number);
		case EQUALS:
			return step_equals(walk, a);
		case SIZE:
			return step_size(walk, a);
		case UNION:
			result = NumberSetUnion(&walk->sets[a], &walk->sets[b]);
			walk->bits[target] = walk->bits[a] | walk->bits[b];
			walk->sets[target] = result;
			return true;
		case MINUS:
			result = NumberSetMinus(&walk->sets[a], &walk->sets[b]);
			walk->bits[target] = walk->bits[a] & ~walk->bits[b];
			walk->sets[target] = result;
			return true;
		case BETWEEN:
			return step_between(walk, target, a);
		case APPLIED:
			return step_applied(walk);
		case ADVANCE:
			return step_advance(walk);
		case OPERATIONS:
			break;
	}
	return false;
}

/* Results and arguments alike are what their bitmaps say. */
static bool
walk_is_sound(const Walk *walk)
{
	for (int i = 0; i < SETS; i++)
		if (!holds(&walk->sets[i], walk->bits[i]))
			return false;
	return holds(&walk->position.gaps, walk->gaps);
}

static void
test_random(long steps, uint64_t seed)
{
	Walk		walk;
	long		tried[OPERATIONS] = {0};
	bool		failed[OPERATIONS] = {0};

	note("%ld random steps, seed %" PRIu64, steps, seed);
	random_start(seed);
	start_walk(&walk);
	for (long i = 1; i <= steps; i++)
	{
		enum Operation operation = random_below(OPERATIONS);
		int			target = random_below(SETS);
		int			a = random_below(SETS);
		int			b = random_below(SETS);

		random_step(i);
		if (i % WALK_STEPS == 0)
			start_walk(&walk);
		if (random_chance(10))
		{
			walk.bits[a] = random_bitmap();
			walk.sets[a] = set_of(walk.bits[a]);
		}
		tried[operation]++;
		if (step(&walk, operation, target, a, b) && walk_is_sound(&walk))
			continue;
		if (!failed[operation])
		{
			note("%s is not what the oracle says", operation_names[operation]);
			note_step();
		}
		failed[operation] = true;
		start_walk(&walk);
	}
	for (int i = 0; i < OPERATIONS; i++)
		ok(!failed[i] && (tried[i] > 0 || steps < 1000),
		   "random: %s, %ld times", operation_names[i], tried[i]);
}

int
main(int argc, char **argv)
{
	long		steps = 1000000;
	uint64_t	seed = default_seed();

	if (argc > 1)
		steps = positive_argument(argv[1], "steps");
	if (argc > 2)
		seed = (uint64_t) positive_argument(argv[2], "seed");

	start();
	test_append();
	test_append_growth();
	test_contains();
	test_next();
	test_equals();
	test_size();
	test_union();
	test_minus();
	test_between();
	test_applied();
	test_advance();
	test_advance_all();
	test_random(steps, seed);
	return finish();
}
