/*
 * amount.c
 *		Exact decimal amounts as 128-bit integers.
 *
 * A fold adds millions of amounts, and numeric arithmetic would be most of
 * its cost.  So a numeric is taken apart here, by its format on disk: base
 * 10000 digits, so that four decimal places are exactly one digit after the
 * point.  That format is fixed by pg_upgrade for all releases we support; it
 * is private to numeric.c, so this is the one place that knows it.
 * test/sql/amount.sql holds it against numeric's own arithmetic.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "amount.h"

#define HEADER_KIND			0xC000	/* positive, negative, short, special */
#define HEADER_NEGATIVE		0x4000
#define HEADER_SHORT		0x8000
#define HEADER_SPECIAL		0xC000
#define SHORT_NEGATIVE		0x2000
#define SHORT_DSCALE		0x1F80
#define SHORT_DSCALE_SHIFT	7
#define LONG_DSCALE			0x3FFF
#define SHORT_WEIGHT_SIGN	0x0040
#define SHORT_WEIGHT		0x003F
#define DIGIT_BASE			10000

#define AMOUNT_LIMIT	((Amount) INT64CONST(1000000000000000) * DIGIT_BASE)

static const int64 powers_of_ten[AMOUNT_PRECISION] = {
	INT64CONST(1), INT64CONST(10), INT64CONST(100), INT64CONST(1000),
	INT64CONST(10000), INT64CONST(100000), INT64CONST(1000000),
	INT64CONST(10000000), INT64CONST(100000000), INT64CONST(1000000000),
	INT64CONST(10000000000), INT64CONST(100000000000),
	INT64CONST(1000000000000), INT64CONST(10000000000000),
	INT64CONST(100000000000000), INT64CONST(1000000000000000),
	INT64CONST(10000000000000000), INT64CONST(100000000000000000),
	INT64CONST(1000000000000000000)
};

/* The digit number i of an array that need not be aligned. */
static inline int16
digit_at(const char *digits, int i)
{
	int16		digit;

	memcpy(&digit, digits + i * sizeof(int16), sizeof(int16));
	return digit;
}

/*
 * Take a numeric apart.  The argument may have a short varlena header, but
 * must not be compressed or external.
 */
AmountFault
AmountFromNumeric(Numeric number, Amount *amount)
{
	const char *data = VARDATA_ANY(number);
	int			size = VARSIZE_ANY_EXHDR(number);
	uint16		header;
	bool		negative;
	int			weight;
	int			ndigits;
	Amount		sum = 0;

	memcpy(&header, data, sizeof(header));
	if ((header & HEADER_KIND) == HEADER_SPECIAL)
		return AMOUNT_NOT_FINITE;
	if ((header & HEADER_KIND) == HEADER_SHORT)
	{
		negative = (header & SHORT_NEGATIVE) != 0;
		weight = (header & SHORT_WEIGHT) -
			((header & SHORT_WEIGHT_SIGN) ? SHORT_WEIGHT + 1 : 0);
		data += sizeof(uint16);
		size -= sizeof(uint16);
	}
	else
	{
		int16		long_weight;

		negative = (header & HEADER_KIND) == HEADER_NEGATIVE;
		memcpy(&long_weight, data + sizeof(uint16), sizeof(long_weight));
		weight = long_weight;
		data += 2 * sizeof(uint16);
		size -= 2 * sizeof(uint16);
	}
	ndigits = size / (int) sizeof(int16);

	if (ndigits > 0 && weight > 3)
		return AMOUNT_TOO_LARGE;
	/* weight + 1 digits stand before the point, one may stand after it */
	for (int i = 0; i < ndigits; i++)
	{
		if (i > weight + 1)
			return AMOUNT_TOO_FINE;
		sum = sum * DIGIT_BASE + digit_at(data, i);
	}
	/* numeric drops trailing zeros */
	for (int i = ndigits; ndigits > 0 && i <= weight + 1; i++)
		sum *= DIGIT_BASE;
	if (sum >= AMOUNT_LIMIT)
		return AMOUNT_TOO_LARGE;
	*amount = negative ? -sum : sum;
	return AMOUNT_OK;
}

/*
 * How many decimal places a finite numeric shows: 1.50 has two.  The argument
 * is as for AmountFromNumeric().
 */
int
AmountShownScale(Numeric number)
{
	uint16		header;

	memcpy(&header, VARDATA_ANY(number), sizeof(header));
	if ((header & HEADER_KIND) == HEADER_SHORT)
		return (header & SHORT_DSCALE) >> SHORT_DSCALE_SHIFT;
	return header & LONG_DSCALE;
}

/* Ten to the power of n, 0 to 18. */
int64
AmountPower(int n)
{
	return powers_of_ten[n];
}

/*
 * The whole number that a numeric is, if it is one of at most 16 digits and
 * would be written without a point.
 */
bool
AmountWhole(Numeric number, int64 *whole)
{
	const char *data = VARDATA_ANY(number);
	int			size = VARSIZE_ANY_EXHDR(number);
	uint16		header;
	int			weight;
	int			ndigits;
	int64		sum = 0;

	memcpy(&header, data, sizeof(header));
	if ((header & HEADER_KIND) != HEADER_SHORT ||
		(header & (SHORT_DSCALE | SHORT_WEIGHT_SIGN)) != 0)
		return false;
	weight = header & SHORT_WEIGHT;
	ndigits = (size - (int) sizeof(uint16)) / (int) sizeof(int16);
	if (weight > 3 || ndigits > weight + 1)
		return false;
	for (int i = 0; i <= weight; i++)
		sum = sum * DIGIT_BASE +
			(i < ndigits ? digit_at(data + sizeof(uint16), i) : 0);
	*whole = (header & SHORT_NEGATIVE) ? -sum : sum;
	return true;
}

/* A decimal number in text: a sign, digits and a point, an exponent. */
typedef struct DecimalText
{
	bool		negative;
	const char *digits;			/* the first one */
	int			length;			/* of the digits, and the point among them */
	int			whole;			/* digits before the point */
	int64		exponent;
} DecimalText;

/* no text is long enough to make up for a larger exponent */
#define EXPONENT_LIMIT	INT64CONST(1000000000000)

static inline bool
is_digit(const char *string, int length, int at)
{
	return at < length && string[at] >= '0' && string[at] <= '9';
}

/* Skip a sign; says whether it is a minus. */
static inline bool
skip_sign(const char *string, int length, int *at)
{
	if (*at < length && (string[*at] == '-' || string[*at] == '+'))
		return string[(*at)++] == '-';
	return false;
}

/* Take the text apart; false if it is not a decimal number. */
static bool
parse_decimal(const char *string, int length, DecimalText *decimal)
{
	int			at = 0;
	int			first;

	decimal->negative = skip_sign(string, length, &at);
	decimal->digits = string + at;
	decimal->exponent = 0;
	first = at;
	while (is_digit(string, length, at))
		at++;
	decimal->whole = at - first;
	if (decimal->whole == 0)
		return false;
	if (at < length && string[at] == '.' && is_digit(string, length, at + 1))
	{
		for (at++; is_digit(string, length, at);)
			at++;
	}
	decimal->length = at - first;
	if (at < length && (string[at] == 'e' || string[at] == 'E'))
	{
		bool		negative;

		at++;
		negative = skip_sign(string, length, &at);
		if (!is_digit(string, length, at))
			return false;
		for (; is_digit(string, length, at); at++)
		{
			if (decimal->exponent < EXPONENT_LIMIT)
				decimal->exponent = decimal->exponent * 10 + (string[at] - '0');
		}
		if (negative)
			decimal->exponent = -decimal->exponent;
	}
	return at == length;
}

/*
 * The amount that a decimal number in text is.  Digits that count are added
 * up where they stand; zeros may stand anywhere.
 */
static AmountFault
amount_from_text(const char *string, int length, Amount *amount)
{
	DecimalText decimal;
	bool		large = false;
	int64		power;			/* of ten, of the digit that is next */
	Amount		sum = 0;

	if (!parse_decimal(string, length, &decimal))
		return AMOUNT_NOT_NUMBER;
	power = decimal.whole - 1 + decimal.exponent;
	for (int i = 0; i < decimal.length; i++)
	{
		char		digit = decimal.digits[i];

		if (digit == '.')
			continue;
		if (digit != '0')
		{
			if (power < -AMOUNT_SCALE)
				return AMOUNT_TOO_FINE;
			if (power >= AMOUNT_PRECISION - AMOUNT_SCALE)
				large = true;
			else
				sum += (Amount) (digit - '0') * powers_of_ten[power + AMOUNT_SCALE];
		}
		power--;
	}
	if (large)
		return AMOUNT_TOO_LARGE;
	*amount = decimal.negative ? -sum : sum;
	return AMOUNT_OK;
}

/*
 * The container of a jsonb value as stored, aligned and whole.  Good until
 * the next call.
 */
static JsonbContainer *
stored_container(Datum json)
{
	/*
	 * A short one is on the page unaligned; it has at most 126 bytes.  A
	 * toast pointer looks like a short one.
	 */
	static int32 aligned[(VARATT_SHORT_MAX + sizeof(int32)) / sizeof(int32)];
	struct varlena *stored = (struct varlena *) DatumGetPointer(json);

	if (VARATT_IS_SHORT(stored) && !VARATT_IS_EXTERNAL(stored))
	{
		memcpy(aligned, VARDATA_SHORT(stored),
			   VARSIZE_SHORT(stored) - VARHDRSZ_SHORT);
		return (JsonbContainer *) aligned;
	}
	return &DatumGetJsonbP(json)->root;
}

/*
 * The amount under a key of a jsonb object as stored in a table: a JSON
 * number, or a string that is a decimal number.  May leave a detoasted
 * copy of a long value in the current memory context.
 */
AmountFault
AmountFromObject(Datum json, const char *key, int length, Amount *amount)
{
	JsonbContainer *container = stored_container(json);
	JsonbValue	buffer;
	JsonbValue *value;

	if (!JsonContainerIsObject(container))
		return AMOUNT_NO_OBJECT;
	value = getKeyJsonValueFromContainer(container, key, length, &buffer);
	if (value == NULL)
		return AMOUNT_MISSING;
	if (value->type == jbvNumeric)
		return AmountFromNumeric(value->val.numeric, amount);
	if (value->type == jbvString)
		return amount_from_text(value->val.string.val, value->val.string.len,
								amount);
	return AMOUNT_NOT_NUMBER;
}

/* Does a sum still fit into numeric(19,4)? */
bool
AmountFits(Amount amount)
{
	return amount < AMOUNT_LIMIT && amount > -AMOUNT_LIMIT;
}

static Numeric
add(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_add,
											   NumericGetDatum(a),
											   NumericGetDatum(b)));
}

/* A whole number of up to 36 digits. */
static Numeric
whole_to_numeric(int128 number)
{
	int64		unit = powers_of_ten[AMOUNT_PRECISION - 1];
	Numeric		high = int64_to_numeric((int64) (number / unit));

	high = DatumGetNumeric(DirectFunctionCall2(numeric_mul,
											   NumericGetDatum(high),
											   NumericGetDatum(int64_to_numeric(unit))));
	return add(high, int64_to_numeric((int64) (number % unit)));
}

/* The amount with 4 decimal places, in the current memory context. */
Numeric
AmountToNumeric(Amount amount)
{
	Numeric		whole;
	Numeric		fraction;

	if (amount <= PG_INT64_MAX && amount >= PG_INT64_MIN)
		return int64_div_fast_to_numeric((int64) amount, AMOUNT_SCALE);

	whole = whole_to_numeric(amount / DIGIT_BASE);
	fraction = int64_div_fast_to_numeric((int64) (amount % DIGIT_BASE),
										 AMOUNT_SCALE);
	return add(whole, fraction);
}

/* What is wrong, as the end of a sentence that begins with the amount's name. */
const char *
AmountFaultReason(AmountFault fault)
{
	switch (fault)
	{
		case AMOUNT_OK:
			break;
		case AMOUNT_MISSING:
			return "is missing";
		case AMOUNT_NO_OBJECT:
			return "is missing: the payload is not a JSON object";
		case AMOUNT_NOT_NUMBER:
			return "is not a decimal number";
		case AMOUNT_NOT_FINITE:
			return "is not finite";
		case AMOUNT_TOO_FINE:
			return "has more than 4 decimal places";
		case AMOUNT_TOO_LARGE:
			return "has more than 15 digits before the decimal point";
	}
	return "is all right";
}
