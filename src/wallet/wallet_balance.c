/*
 * wallet_balance.c
 *		The handler of the projection wallet_balance.
 *
 * WalletWasCreated {initialBalance} makes the row; WalletWasDebited {amount}
 * and WalletWasCredited {amount} move the balance, count into the totals, and
 * are counted.  Other events of the aggregate are ignored.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "amount.h"
#include "handler/handler.h"
#include "wallet/wallet.h"

enum
{
	COLUMN_WALLET_ID,
	COLUMN_CURRENT_BALANCE,
	COLUMN_TOTAL_DEBITS,
	COLUMN_TOTAL_CREDITS,
	COLUMN_TRANSACTION_COUNT,
	NUMBER_OF_COLUMNS
};

static const HandlerColumn columns[NUMBER_OF_COLUMNS] =
{
	{"wallet_id", VARCHAROID, 255 + VARHDRSZ,
	"varchar(255) COLLATE \"C\" PRIMARY KEY"},
	{"current_balance", NUMERICOID, AMOUNT_TYPMOD,
	"numeric(19,4) NOT NULL DEFAULT 0"},
	{"total_debits", NUMERICOID, AMOUNT_TYPMOD,
	"numeric(19,4) NOT NULL DEFAULT 0"},
	{"total_credits", NUMERICOID, AMOUNT_TYPMOD,
	"numeric(19,4) NOT NULL DEFAULT 0"},
	{"transaction_count", INT8OID, -1,
	"integer NOT NULL DEFAULT 0"},
};

/* What a batch does to one wallet. */
typedef struct WalletChange
{
	Amount		initial;
	Amount		debits;
	Amount		credits;
	int64		transactions;
} WalletChange;

/* The amount in the event's payload, or why there is none. */
static inline const char *
event_amount(const Event *event, const char *name, int length, Amount *amount)
{
	AmountFault fault = AmountFromObject(event->payload, name, length, amount);

	if (likely(fault == AMOUNT_OK))
		return NULL;
	return psprintf("\"%s\" %s", name, AmountFaultReason(fault));
}

static inline bool
event_is(const Event *event, const char *name, int length)
{
	return event->name_length == length &&
		memcmp(event->name, name, length) == 0;
}

#define EVENT_IS(event, name) event_is(event, name, sizeof(name) - 1)
#define EVENT_AMOUNT(event, name, amount) \
	event_amount(event, name, sizeof(name) - 1, amount)

static EventEffect
wallet_balance_fold(void *state, bool created, const Event *event,
					const char **reason)
{
	WalletChange *change = state;
	Amount		amount;

	if (EVENT_IS(event, "WalletWasDebited"))
	{
		*reason = EVENT_AMOUNT(event, "amount", &amount);
		if (*reason != NULL)
			return EVENT_BAD;
		change->debits += amount;
		change->transactions++;
		return EVENT_CHANGES;
	}
	if (EVENT_IS(event, "WalletWasCredited"))
	{
		*reason = EVENT_AMOUNT(event, "amount", &amount);
		if (*reason != NULL)
			return EVENT_BAD;
		change->credits += amount;
		change->transactions++;
		return EVENT_CHANGES;
	}
	if (EVENT_IS(event, "WalletWasCreated"))
	{
		if (created)
		{
			*reason = "it was created before";
			return EVENT_BAD;
		}
		*reason = EVENT_AMOUNT(event, "initialBalance", &amount);
		if (*reason != NULL)
			return EVENT_BAD;
		change->initial += amount;
		return EVENT_CREATES;
	}
	return EVENT_IGNORED;
}

/*
 * Add to an amount column.  How much it may hold is its type's business; a
 * user may have widened it, and what is in it then need not be an amount.
 */
static const char *
add_amount(Datum *value, bool *isnull, Amount change, const char *name)
{
	Amount		sum = 0;

	if (!*isnull)
	{
		Numeric		old = (Numeric) PG_DETOAST_DATUM_PACKED(*value);
		AmountFault fault = AmountFromNumeric(old, &sum);

		if (fault == AMOUNT_NOT_FINITE)
			return psprintf("\"%s\" of its row %s", name,
							AmountFaultReason(fault));
		if (unlikely(fault != AMOUNT_OK))
		{
			*value = DirectFunctionCall2(numeric_add, NumericGetDatum(old),
										 NumericGetDatum(AmountToNumeric(change)));
			return NULL;
		}
	}
	*value = NumericGetDatum(AmountToNumeric(sum + change));
	*isnull = false;
	return NULL;
}

static const char *
wallet_balance_merge(const void *state, Datum *values, bool *nulls)
{
	const WalletChange *change = state;
	const Amount amounts[NUMBER_OF_COLUMNS] = {
		[COLUMN_CURRENT_BALANCE] =
		change->initial + change->credits - change->debits,
		[COLUMN_TOTAL_DEBITS] = change->debits,
		[COLUMN_TOTAL_CREDITS] = change->credits,
	};
	int64		count = change->transactions;

	for (int i = COLUMN_CURRENT_BALANCE; i <= COLUMN_TOTAL_CREDITS; i++)
	{
		const char *reason = add_amount(&values[i], &nulls[i], amounts[i],
										columns[i].name);

		if (reason != NULL)
			return reason;
	}
	if (!nulls[COLUMN_TRANSACTION_COUNT] &&
		pg_add_s64_overflow(count,
							DatumGetInt64(values[COLUMN_TRANSACTION_COUNT]),
							&count))
		return psprintf("\"%s\" would be out of range for type bigint",
						columns[COLUMN_TRANSACTION_COUNT].name);
	values[COLUMN_TRANSACTION_COUNT] = Int64GetDatum(count);
	nulls[COLUMN_TRANSACTION_COUNT] = false;
	return NULL;
}

static const RowHandler handler = {
	.name = "wallet_balance",
	.read_model = "wallet_balances",
	.ncolumns = NUMBER_OF_COLUMNS,
	.columns = columns,
	.state_size = sizeof(WalletChange),
	.fold = wallet_balance_fold,
	.merge = wallet_balance_merge,
};

/* Make the wallet's handler known. */
void
WalletRegister(void)
{
	HandlerRegister(&handler);
}
