/*
 * amount.h
 *		Exact decimal amounts.
 *
 * An amount is a whole number of ten-thousandths, which is what the columns
 * numeric(19,4) of a read model hold: 15 digits before the point, 4 after.
 * Sums of amounts cannot overflow 128 bits before 10^18 of them are added.
 */
#ifndef WALLET_PROJECTION_AMOUNT_H
#define WALLET_PROJECTION_AMOUNT_H

#include "utils/jsonb.h"
#include "utils/numeric.h"

typedef int128 Amount;

#define AMOUNT_PRECISION	19
#define AMOUNT_SCALE		4
/* of a column numeric(19,4), which holds just what is an amount */
#define AMOUNT_TYPMOD \
	(((AMOUNT_PRECISION << 16) | AMOUNT_SCALE) + VARHDRSZ)

typedef enum AmountFault
{
	AMOUNT_OK = 0,
	AMOUNT_MISSING,				/* the object has no such key */
	AMOUNT_NO_OBJECT,			/* the JSON value is not an object */
	AMOUNT_NOT_NUMBER,			/* null, or of another type */
	AMOUNT_NOT_FINITE,			/* NaN, Infinity, -Infinity */
	AMOUNT_TOO_FINE,			/* more than 4 decimal places */
	AMOUNT_TOO_LARGE			/* more than 15 digits before the point */
} AmountFault;

extern AmountFault AmountFromNumeric(Numeric number, Amount *amount);
extern bool AmountWhole(Numeric number, int64 *whole);
extern AmountFault AmountFromObject(Datum json, const char *key, int length,
									Amount *amount);
extern int	AmountShownScale(Numeric number);
extern int64 AmountPower(int n);
extern bool AmountFits(Amount amount);
extern Numeric AmountToNumeric(Amount amount);
extern const char *AmountFaultReason(AmountFault fault);

#endif							/* WALLET_PROJECTION_AMOUNT_H */
