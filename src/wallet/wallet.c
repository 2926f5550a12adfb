/*
 * wallet.c
 *		The aggregate Wallet: its rules, its commands.
 *
 * A command locks the wallet, loads it, checks the rules and appends one
 * event.  It knows streams and nothing of projections.
 *
 * Snapshots: each event that a command appends carries the balance after it
 * in its metadata (event.c).  Loading goes back from the newest event to the
 * first one that carries a snapshot or creates the wallet: one event, however
 * long the history, unless others have appended to it.
 */
#include "postgres.h"

#include <uuid/uuid.h>

#include "access/transam.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "amount.h"
#include "argument.h"
#include "errors.h"
#include "stream/append.h"
#include "wallet/event.h"

#define WALLET_STREAM "wallet_stream"
#define WALLET_TYPE "Wallet"

#define UUID_TEXT_LENGTH 36

SQL_FUNCTION(wallet_create);
SQL_FUNCTION(wallet_create_with_new_id);
SQL_FUNCTION(wallet_debit);
SQL_FUNCTION(wallet_credit);

/* A wallet as its events tell it. */
typedef struct Wallet
{
	int64		version;		/* 0: there are no events */
	bool		created;
	Amount		balance;
} Wallet;

/* A command at work on a wallet: the stream is open, the wallet locked. */
typedef struct Command
{
	const char *wallet_id;
	Stream	   *stream;
	AggregateKey key;
	Wallet		wallet;
} Command;

/* An argument that is an amount. */
static Amount
argument_amount(FunctionCallInfo fcinfo, int number, const char *name)
{
	Amount		amount = 0;
	AmountFault fault;
	int			code;

	ArgumentNotNull(fcinfo, number, name);
	fault = AmountFromNumeric(PG_GETARG_NUMERIC(number), &amount);
	if (fault == AMOUNT_OK)
		return amount;
	code = fault == AMOUNT_NOT_FINITE ? ERRCODE_INVALID_PARAMETER_VALUE :
		ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
	ereport(ERROR,
			(errcode(code),
			 errmsg("argument \"%s\" %s", name, AmountFaultReason(fault))));
}

/*
 * Take one event into account, newest first.  Returns true when the balance
 * is known; until then it holds the sum of the changes seen.
 */
static bool
load_event(Wallet *wallet, TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values;
	char	   *name;
	Amount		amount;
	AmountFault fault;

	slot_getsomeattrs(slot, STREAM_METADATA);
	if (wallet->version == 0)
		wallet->version = DatumGetInt64(values[STREAM_AGGREGATE_VERSION - 1]);
	if (WalletSnapshotBalance(values[STREAM_METADATA - 1],
							  values[STREAM_AGGREGATE_ID - 1],
							  DatumGetInt64(values[STREAM_AGGREGATE_VERSION - 1]),
							  &amount))
	{
		wallet->balance += amount;
		wallet->created = true;
		return true;
	}
	name = TextDatumGetCString(values[STREAM_EVENT_NAME - 1]);
	if (strcmp(name, "WalletWasCreated") == 0)
	{
		fault = AmountFromObject(values[STREAM_PAYLOAD - 1], "initialBalance",
								 strlen("initialBalance"), &amount);
		wallet->created = true;
	}
	else if (strcmp(name, "WalletWasDebited") == 0 ||
			 strcmp(name, "WalletWasCredited") == 0)
		fault = AmountFromObject(values[STREAM_PAYLOAD - 1], "amount",
								 strlen("amount"), &amount);
	else
		return false;
	if (fault != AMOUNT_OK)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_EVENT),
				 errmsg("event %lld of stream \"%s\" cannot be read",
						(long long) DatumGetInt64(values[STREAM_NO - 1]),
						WALLET_STREAM),
				 errdetail("The amount of %s of wallet \"%s\" %s.", name,
						   TextDatumGetCString(values[STREAM_AGGREGATE_ID - 1]),
						   AmountFaultReason(fault)),
				 errhint("The wallet can be used again when the event is corrected.")));
	wallet->balance += strcmp(name, "WalletWasDebited") == 0 ? -amount : amount;
	return wallet->created;
}

/*
 * Load the wallet from its newest events.  Returns the transaction that has
 * to be waited for first, or an invalid one.
 */
static TransactionId
load_wallet(Command *command)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "wallet_projection load",
												  ALLOCSET_SMALL_SIZES);
	AggregateScan scan;
	TupleTableSlot *slot;
	TransactionId writer;
	bool		known = false;

	memset(&command->wallet, 0, sizeof(Wallet));
	AggregateScanBegin(&scan, command->stream, &command->key);
	while (!known && (slot = AggregateScanNext(&scan)) != NULL &&
		   !TransactionIdIsValid(scan.writer))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		known = load_event(&command->wallet, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	writer = scan.writer;
	AggregateScanEnd(&scan);
	MemoryContextDelete(context);
	return writer;
}

/* Lock and load a wallet; the stream must be open with RowExclusiveLock. */
static void
begin_command(Command *command, const char *wallet_id, Stream *stream)
{
	TransactionId writer;

	command->wallet_id = wallet_id;
	command->stream = stream;
	StreamCheckRights(stream, GetUserId(), ACL_INSERT);
	command->key = AggregateKeyMake(WALLET_TYPE, wallet_id);
	for (;;)
	{
		AppendLock(stream, &command->key);
		writer = load_wallet(command);
		if (!TransactionIdIsValid(writer))
			return;
		AppendWait(stream, &command->key, writer);
	}
}

/* Append the command's event, with the balance after it; the new version. */
static int64
end_command(Command *command, const char *event_name, const char *amount_key,
			Numeric amount, Amount balance)
{
	NewEvent	event;
	int64		version;

	NewEventId(&event.event_id);
	event.name = event_name;
	event.payload = WalletPayload(command->wallet_id, amount_key, amount);
	event.metadata = WalletSnapshot(command->wallet_id,
									command->wallet.version + 1, balance);
	version = AppendEvents(command->stream, &command->key,
						   command->wallet.version, &event, 1);
	AppendUnlock(command->stream, &command->key);
	StreamRelease(command->stream);
	return version;
}

/* wallet_create, whatever the id comes from */
static Datum
create_wallet(FunctionCallInfo fcinfo, const char *wallet_id, int number)
{
	Amount		initial_balance = argument_amount(fcinfo, number,
												  "initial_balance");
	Command		command;

	PreventCommandIfReadOnly("wallet_create()");
	if (initial_balance < 0)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_AMOUNT_NOT_POSITIVE),
				 errmsg("Initial balance must not be negative")));
	begin_command(&command, wallet_id,
				  StreamEnsure(WALLET_STREAM, RowExclusiveLock));
	if (command.wallet.created)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_EXISTS),
				 errmsg("wallet \"%s\" exists already", wallet_id)));
	(void) end_command(&command, "WalletWasCreated", "initialBalance",
					   PG_GETARG_NUMERIC(number), initial_balance);
	return CStringGetTextDatum(wallet_id);
}

/* wallet_create(wallet_id, initial_balance) */
Datum
wallet_create(PG_FUNCTION_ARGS)
{
	char	   *wallet_id = ArgumentText(fcinfo, 0, "wallet_id",
										 IDENTIFIER_LENGTH);

	return create_wallet(fcinfo, wallet_id, 1);
}

/* wallet_create(initial_balance) */
Datum
wallet_create_with_new_id(PG_FUNCTION_ARGS)
{
	uuid_t		id;
	char		wallet_id[UUID_TEXT_LENGTH + 1];

	uuid_generate_random(id);
	uuid_unparse_lower(id, wallet_id);
	return create_wallet(fcinfo, wallet_id, 0);
}

/* Begin a debit or a credit: the wallet must exist, at the version expected. */
static void
begin_transaction(Command *command, const char *wallet_id, int64 expected)
{
	Stream	   *stream = StreamFind(WALLET_STREAM, RowExclusiveLock);

	if (stream != NULL)
		begin_command(command, wallet_id, stream);
	if (stream == NULL || !command->wallet.created)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_UNKNOWN),
				 errmsg("wallet \"%s\" does not exist", wallet_id),
				 errhint("Create it with wallet_create.")));
	AppendCheckVersion(WALLET_TYPE, wallet_id, command->wallet.version,
					   expected);
}

/* wallet_debit(wallet_id, amount, expected_version) */
Datum
wallet_debit(PG_FUNCTION_ARGS)
{
	char	   *wallet_id = ArgumentText(fcinfo, 0, "wallet_id",
										 IDENTIFIER_LENGTH);
	Amount		amount = argument_amount(fcinfo, 1, "amount");
	int64		expected = ArgumentVersion(fcinfo, 2, "expected_version");
	Command		command;

	PreventCommandIfReadOnly("wallet_debit()");
	if (amount <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_AMOUNT_NOT_POSITIVE),
				 errmsg("Debit amount must be positive")));
	begin_transaction(&command, wallet_id, expected);
	if (command.wallet.balance < amount)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_INSUFFICIENT_FUNDS),
				 errmsg("Insufficient funds"),
				 errdetail("Wallet \"%s\" holds %s.", wallet_id,
						   numeric_normalize(AmountToNumeric(command.wallet.balance)))));
	PG_RETURN_INT64(end_command(&command, "WalletWasDebited", "amount",
								PG_GETARG_NUMERIC(1),
								command.wallet.balance - amount));
}

/* wallet_credit(wallet_id, amount, expected_version) */
Datum
wallet_credit(PG_FUNCTION_ARGS)
{
	char	   *wallet_id = ArgumentText(fcinfo, 0, "wallet_id",
										 IDENTIFIER_LENGTH);
	Amount		amount = argument_amount(fcinfo, 1, "amount");
	int64		expected = ArgumentVersion(fcinfo, 2, "expected_version");
	Command		command;

	PreventCommandIfReadOnly("wallet_credit()");
	if (amount <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_AMOUNT_NOT_POSITIVE),
				 errmsg("Credit amount must be positive")));
	begin_transaction(&command, wallet_id, expected);
	if (!AmountFits(command.wallet.balance + amount))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the balance of wallet \"%s\" would have more than 15 digits before the decimal point",
						wallet_id)));
	PG_RETURN_INT64(end_command(&command, "WalletWasCredited", "amount",
								PG_GETARG_NUMERIC(1),
								command.wallet.balance + amount));
}
