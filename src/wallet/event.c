/*
 * event.c
 *		What a wallet's events look like: their payloads, and the snapshots in
 *		their metadata.
 *
 * A snapshot is the balance after its event:
 *		{"_balance": {"walletId": text, "version": number, "balance": number}}
 * It names the event that it belongs to, so that a copy of the event in
 * another place, to another wallet or version, is not believed.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "stream/new_event.h"
#include "wallet/event.h"

static void
push_string(JsonbParseState **state, JsonbIteratorToken token,
			const char *string)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	(void) pushJsonbValue(state, token, &value);
}

static void
push_number(JsonbParseState **state, const char *key, Numeric number)
{
	JsonbValue	value;

	push_string(state, WJB_KEY, key);
	value.type = jbvNumeric;
	value.val.numeric = number;
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_wallet_id(JsonbParseState **state, const char *wallet_id)
{
	push_string(state, WJB_KEY, "walletId");
	push_string(state, WJB_VALUE, wallet_id);
}

/* The payload of an event: the wallet's id, and an amount under this key. */
Jsonb *
WalletPayload(const char *wallet_id, const char *amount_key, Numeric amount)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_wallet_id(&state, wallet_id);
	push_number(&state, amount_key, amount);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The metadata of the event that is the wallet's of this version. */
Jsonb *
WalletSnapshot(const char *wallet_id, int64 version, Amount balance)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, RESERVED_METADATA_KEY);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_wallet_id(&state, wallet_id);
	push_number(&state, "version", int64_to_numeric(version));
	push_number(&state, "balance", AmountToNumeric(balance));
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The value under a key of an object, if it is of this type; else NULL. */
static JsonbValue *
get_value(JsonbContainer *object, const char *key, enum jbvType type,
		  JsonbValue *buffer)
{
	JsonbValue *value;

	if (!JsonContainerIsObject(object))
		return NULL;
	value = getKeyJsonValueFromContainer(object, key, strlen(key), buffer);
	return value != NULL && value->type == type ? value : NULL;
}

/*
 * The balance after the event, where its metadata has a snapshot of just this
 * wallet and version.  May leave copies in the current memory context.
 */
bool
WalletSnapshotBalance(Datum metadata, Datum wallet_id, int64 version,
					  Amount *balance)
{
	struct varlena *id = PG_DETOAST_DATUM_PACKED(wallet_id);
	JsonbValue	snapshot;
	JsonbValue	value;
	JsonbContainer *object;

	if (get_value(&DatumGetJsonbP(metadata)->root, RESERVED_METADATA_KEY,
				  jbvBinary, &snapshot) == NULL)
		return false;
	object = snapshot.val.binary.data;
	if (get_value(object, "walletId", jbvString, &value) == NULL ||
		value.val.string.len != VARSIZE_ANY_EXHDR(id) ||
		memcmp(value.val.string.val, VARDATA_ANY(id), value.val.string.len) != 0)
		return false;
	if (get_value(object, "version", jbvNumeric, &value) == NULL ||
		!DatumGetBool(DirectFunctionCall2(numeric_eq,
										  NumericGetDatum(value.val.numeric),
										  NumericGetDatum(int64_to_numeric(version)))))
		return false;
	return get_value(object, "balance", jbvNumeric, &value) != NULL &&
		AmountFromNumeric(value.val.numeric, balance) == AMOUNT_OK;
}
