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
#include "stream/event_id.h"
#include "tableref.h"
#include "wallet/event.h"
#include "wallet/wallet.h"


#define UUID_TEXT_LENGTH 36

SQL_FUNCTION(wallet_create);
SQL_FUNCTION(wallet_create_with_new_id);
SQL_FUNCTION(wallet_debit);
SQL_FUNCTION(wallet_credit);

/* A wallet as its events tell it. */
typedef struct Wallet
{
	int64		version;		/* 0: there are no events */
	int64		last_no;		/* number of the newest event */
	bool		created;
	Amount		balance;
	bool		late;			/* a creation that is not the first version */
	Amount		late_initial;	/* its amount: counts if nothing is before it */
} Wallet;

/* A command at work on a wallet: the stream is open, the wallet locked. */
typedef struct Command
{
	const char *wallet_id;
	bool		new_id;			/* the wallet's id was made for it */
	const char *event_name;		/* of the event that it appends */
	const char *amount_key;
	Numeric		amount;
	const pg_uuid_t *id;		/* of the command and its event, or NULL */
	Stream	   *stream;
	AggregateKey key;
	Wallet		wallet;
} Command;

/* The first argument, where it is the wallet's id. */
static const char *
argument_wallet_id(FunctionCallInfo fcinfo)
{
	return ArgumentText(fcinfo, 0, "wallet_id", IDENTIFIER_LENGTH);
}

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

/* The amount of an event cannot be read, and so the wallet not be loaded. */
static void
refuse_event(TupleTableSlot *slot, const char *name, AmountFault fault)
{
	Datum	   *values = slot->tts_values;
	bool		creation = strcmp(name, "WalletWasCreated") == 0;
	const char *table = TableNameOf(slot->tts_tableOid);
	long long	no = DatumGetInt64(values[STREAM_NO - 1]);

	ereport(ERROR,
			(errcode(ERRCODE_BAD_EVENT),
			 errmsg("event %lld of stream \"%s\" cannot be read", no,
					WALLET_STREAM),
			 errdetail("The amount of %s of wallet \"%s\" %s.", name,
					   TextDatumGetCString(values[STREAM_AGGREGATE_ID - 1]),
					   AmountFaultReason(fault)),
			 errhint("Correct it, with the right amount: UPDATE %s SET payload = jsonb_set(payload, '{%s}', '10') WHERE no = %lld; If it never happened, delete it from the stream.",
					 table ? table : WALLET_STREAM,
					 creation ? "initialBalance" : "amount", no)));
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
	{
		wallet->version = DatumGetInt64(values[STREAM_AGGREGATE_VERSION - 1]);
		wallet->last_no = DatumGetInt64(values[STREAM_NO - 1]);
	}
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
		if (fault == AMOUNT_OK &&
			DatumGetInt64(values[STREAM_AGGREGATE_VERSION - 1]) > 1)
		{
			/* it may be a copy: then an older event says what there was */
			wallet->late = true;
			wallet->late_initial = amount;
			return false;
		}
		wallet->created = true;
	}
	else if (strcmp(name, "WalletWasDebited") == 0 ||
			 strcmp(name, "WalletWasCredited") == 0)
		fault = AmountFromObject(values[STREAM_PAYLOAD - 1], "amount",
								 strlen("amount"), &amount);
	else
		return false;
	if (fault != AMOUNT_OK)
		refuse_event(slot, name, fault);
	wallet->balance += strcmp(name, "WalletWasDebited") == 0 ? -amount : amount;
	return wallet->created;
}

/* There is no older event: a late creation is the creation. */
static void
end_load(Wallet *wallet)
{
	if (wallet->created || !wallet->late)
		return;
	wallet->balance += wallet->late_initial;
	wallet->created = true;
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
	end_load(&command->wallet);
	AggregateScanEnd(&scan);
	MemoryContextDelete(context);
	return writer;
}

/* The id of a command, the argument of this number; NULL if it has none. */
static const pg_uuid_t *
argument_command_id(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_UUID_P(number);
}

/*
 * The event has the command's id: an error unless it is what this command
 * has appended or would append.
 */
static void
check_repeated(const Command *command, const Datum *values)
{
	char	   *wallet_id = TextDatumGetCString(values[STREAM_AGGREGATE_ID - 1]);
	char	   *type = TextDatumGetCString(values[STREAM_AGGREGATE_TYPE - 1]);
	char	   *name = TextDatumGetCString(values[STREAM_EVENT_NAME - 1]);
	Jsonb	   *payload = WalletPayload(wallet_id, command->amount_key,
										command->amount);

	if (strcmp(type, WALLET_TYPE) != 0 ||
		strcmp(name, command->event_name) != 0 ||
		(!command->new_id && strcmp(wallet_id, command->wallet_id) != 0) ||
		!DatumGetBool(DirectFunctionCall2(jsonb_eq,
										  values[STREAM_PAYLOAD - 1],
										  JsonbPGetDatum(payload))))
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("command id %s exists already",
						DatumGetCString(DirectFunctionCall1(uuid_out,
															UUIDPGetDatum(command->id)))),
				 errdetail("It belongs to an event of another wallet, command or amount."),
				 errhint("A command that is repeated must repeat its arguments; a new command needs a new id.")));
}

/*
 * Has the command been carried out before?  Then its wallet is the event's,
 * as of that event.  Returns false where it has not, and its id is locked,
 * or where *writer has to be waited for.
 */
static bool
find_repeated(Command *command, TransactionId *writer)
{
	TupleTableSlot *event;

	EventIdLock(command->stream, command->id);
	event = EventByIdNow(command->stream, command->id, writer);
	if (event == NULL && !TransactionIdIsValid(*writer))
		return false;
	EventIdUnlock(command->stream, command->id);
	if (TransactionIdIsValid(*writer))
		return false;
	check_repeated(command, event->tts_values);
	command->wallet_id =
		TextDatumGetCString(event->tts_values[STREAM_AGGREGATE_ID - 1]);
	command->wallet.version =
		DatumGetInt64(event->tts_values[STREAM_AGGREGATE_VERSION - 1]);
	ExecDropSingleTupleTableSlot(event);
	StreamRelease(command->stream);
	return true;
}

/*
 * Lock and load a wallet; the stream must be open with RowExclusiveLock.
 * Returns false where the command was carried out before: all is done then,
 * and the wallet's version is that of its event.
 */
static bool
begin_command(Command *command, Stream *stream)
{
	command->stream = stream;
	StreamCheckRights(stream, GetUserId(), ACL_INSERT);
	command->key = AggregateKeyMake(WALLET_TYPE, command->wallet_id);
	for (;;)
	{
		TransactionId writer = InvalidTransactionId;

		if (command->id != NULL && find_repeated(command, &writer))
			return false;
		if (!TransactionIdIsValid(writer))
		{
			AppendLock(stream, &command->key);
			writer = load_wallet(command);
			if (!TransactionIdIsValid(writer))
				return true;
			AppendUnlock(stream, &command->key);
			/* whom we wait for may want to use the id, too */
			if (command->id != NULL)
				EventIdUnlock(stream, command->id);
		}
		AppendWait(writer);
	}
}

/* Append the command's event, with the balance after it; the new version. */
static int64
end_command(Command *command, Amount balance)
{
	NewEvent	event;
	int64		version;

	if (command->id != NULL)
		event.event_id = *command->id;
	else
		NewEventId(&event.event_id);
	event.name = command->event_name;
	event.payload = WalletPayload(command->wallet_id, command->amount_key,
								  command->amount);
	event.metadata = WalletSnapshot(command->key.id,
									command->wallet.version + 1, balance);
	version = AppendEvents(command->stream, &command->key,
						   command->wallet.version, command->wallet.last_no,
						   &event, 1);
	AppendUnlock(command->stream, &command->key);
	if (command->id != NULL)
		EventIdUnlock(command->stream, command->id);
	StreamRelease(command->stream);
	return version;
}

/* wallet_create, whatever the id comes from */
static Datum
create_wallet(FunctionCallInfo fcinfo, Command *command, int number)
{
	Amount		initial_balance = argument_amount(fcinfo, number,
												  "initial_balance");

	PreventCommandIfReadOnly("wallet_create()");
	if (initial_balance < 0)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_AMOUNT_NOT_POSITIVE),
				 errmsg("Initial balance must not be negative")));
	command->event_name = "WalletWasCreated";
	command->amount_key = "initialBalance";
	command->amount = PG_GETARG_NUMERIC(number);
	command->id = argument_command_id(fcinfo, number + 1);
	if (begin_command(command, StreamEnsure(WALLET_STREAM, RowExclusiveLock)))
	{
		if (command->wallet.created)
			ereport(ERROR,
					(errcode(ERRCODE_WALLET_EXISTS),
					 errmsg("wallet \"%s\" exists already",
							command->wallet_id)));
		(void) end_command(command, initial_balance);
	}
	return CStringGetTextDatum(command->wallet_id);
}

/* wallet_create(wallet_id, initial_balance, command_id) */
Datum
wallet_create(PG_FUNCTION_ARGS)
{
	Command		command = {.wallet_id = argument_wallet_id(fcinfo)};

	return create_wallet(fcinfo, &command, 1);
}

/* wallet_create(initial_balance, command_id) */
Datum
wallet_create_with_new_id(PG_FUNCTION_ARGS)
{
	uuid_t		id;
	char		wallet_id[UUID_TEXT_LENGTH + 1];
	Command		command = {.wallet_id = wallet_id,.new_id = true};

	uuid_generate_random(id);
	uuid_unparse_lower(id, wallet_id);
	return create_wallet(fcinfo, &command, 0);
}

/*
 * Begin a debit or a credit (wallet_id, amount, expected_version, command_id):
 * the wallet must exist, at the version expected.  Returns false where the
 * command was carried out before.
 */
static bool
begin_transaction(FunctionCallInfo fcinfo, Command *command, int64 expected)
{
	Stream	   *stream = StreamFind(WALLET_STREAM, RowExclusiveLock);

	command->amount_key = "amount";
	command->amount = PG_GETARG_NUMERIC(1);
	command->id = argument_command_id(fcinfo, 3);
	if (stream != NULL && !begin_command(command, stream))
		return false;
	if (stream == NULL || !command->wallet.created)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_UNKNOWN),
				 errmsg("wallet \"%s\" does not exist", command->wallet_id),
				 errhint("Create it with wallet_create.")));
	AppendCheckVersion(WALLET_TYPE, command->wallet_id,
					   command->wallet.version, expected);
	return true;
}

/* wallet_debit(wallet_id, amount, expected_version, command_id) */
Datum
wallet_debit(PG_FUNCTION_ARGS)
{
	Command		command = {.wallet_id = argument_wallet_id(fcinfo),
	.event_name = "WalletWasDebited"};
	Amount		amount = argument_amount(fcinfo, 1, "amount");
	int64		expected = ArgumentVersion(fcinfo, 2, "expected_version");

	PreventCommandIfReadOnly("wallet_debit()");
	if (amount <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_AMOUNT_NOT_POSITIVE),
				 errmsg("Debit amount must be positive")));
	if (!begin_transaction(fcinfo, &command, expected))
		PG_RETURN_INT64(command.wallet.version);
	if (command.wallet.balance < amount)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_INSUFFICIENT_FUNDS),
				 errmsg("Insufficient funds"),
				 errdetail("Wallet \"%s\" holds %s.", command.wallet_id,
						   numeric_normalize(AmountToNumeric(command.wallet.balance)))));
	PG_RETURN_INT64(end_command(&command, command.wallet.balance - amount));
}

/* wallet_credit(wallet_id, amount, expected_version, command_id) */
Datum
wallet_credit(PG_FUNCTION_ARGS)
{
	Command		command = {.wallet_id = argument_wallet_id(fcinfo),
	.event_name = "WalletWasCredited"};
	Amount		amount = argument_amount(fcinfo, 1, "amount");
	int64		expected = ArgumentVersion(fcinfo, 2, "expected_version");

	PreventCommandIfReadOnly("wallet_credit()");
	if (amount <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_WALLET_AMOUNT_NOT_POSITIVE),
				 errmsg("Credit amount must be positive")));
	if (!begin_transaction(fcinfo, &command, expected))
		PG_RETURN_INT64(command.wallet.version);
	if (!AmountFits(command.wallet.balance + amount))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the balance of wallet \"%s\" would have more than 15 digits before the decimal point",
						command.wallet_id)));
	PG_RETURN_INT64(end_command(&command, command.wallet.balance + amount));
}
