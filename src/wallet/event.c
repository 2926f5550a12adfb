/*
 * event.c
 *		What a wallet's events look like: their payloads, and the snapshots in
 *		their metadata.
 *
 * A snapshot is the balance after its event, with a mark:
 *		{"_balance": [balance, mark]}
 * The mark is made of the wallet's id and the event's version, so that a copy
 * of the event in another place is not believed.  It is short, as each event
 * has one: abs(hashtextextended(id, version) % 10^12).  Where a server would
 * hash otherwise, snapshots are not believed, and balances are taken from the
 * events before.
 */
#include "postgres.h"

#include "compat.h"

#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "stream/new_event.h"
#include "wallet/event.h"

#define MARKS INT64CONST(1000000000000)

static void
push_string(JsonbInState *state, JsonbIteratorToken token,
			const char *string)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	compat_pushJsonbValue(state, token, &value);
}

static void
push_number(JsonbInState *state, JsonbIteratorToken token, Numeric number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = number;
	compat_pushJsonbValue(state, token, &value);
}

/* The payload of an event: the wallet's id, and an amount under this key. */
Jsonb *
WalletPayload(const char *wallet_id, const char *amount_key, Numeric amount)
{
	JsonbInState state = {0};

	compat_pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "walletId");
	push_string(&state, WJB_VALUE, wallet_id);
	push_string(&state, WJB_KEY, amount_key);
	push_number(&state, WJB_VALUE, amount);
	compat_pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(state.result);
}

/* The mark of the event that is the wallet's of this version. */
static int64
mark_of(Datum wallet_id, int64 version)
{
	int64		hash;

	hash = DatumGetInt64(DirectFunctionCall2Coll(hashtextextended, C_COLLATION_OID,
												 wallet_id,
												 Int64GetDatum(version)));
	hash %= MARKS;
	return hash < 0 ? -hash : hash;
}

/* The metadata of the event that is the wallet's of this version. */
Jsonb *
WalletSnapshot(Datum wallet_id, int64 version, Amount balance)
{
	JsonbInState state = {0};

	compat_pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, RESERVED_METADATA_KEY);
	compat_pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	push_number(&state, WJB_ELEM, AmountToNumeric(balance));
	push_number(&state, WJB_ELEM, int64_to_numeric(mark_of(wallet_id, version)));
	compat_pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	compat_pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(state.result);
}

/* A number of an array; NULL if it is none. */
static Numeric
get_number(JsonbContainer *array, uint32 index)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array, index);

	return value != NULL && value->type == jbvNumeric ? value->val.numeric : NULL;
}

/*
 * The balance after the event, where its metadata has a snapshot of just this
 * wallet and version.  May leave copies in the current memory context.
 */
bool
WalletSnapshotBalance(Datum metadata, Datum wallet_id, int64 version,
					  Amount *balance)
{
	JsonbContainer *object = &DatumGetJsonbP(metadata)->root;
	JsonbValue	snapshot;
	JsonbContainer *array;
	Numeric		number;
	Numeric		mark;

	if (!JsonContainerIsObject(object) ||
		getKeyJsonValueFromContainer(object, RESERVED_METADATA_KEY,
									 strlen(RESERVED_METADATA_KEY),
									 &snapshot) == NULL ||
		snapshot.type != jbvBinary)
		return false;
	array = snapshot.val.binary.data;
	if (!JsonContainerIsArray(array) || JsonContainerSize(array) != 2)
		return false;
	number = get_number(array, 0);
	mark = get_number(array, 1);
	return number != NULL && mark != NULL &&
		AmountFromNumeric(number, balance) == AMOUNT_OK &&
		DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(mark),
										 NumericGetDatum(int64_to_numeric(mark_of(wallet_id, version)))));
}
