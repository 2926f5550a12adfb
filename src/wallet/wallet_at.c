/*
 * wallet_at.c
 *		What a wallet's balance was: wallet_balance_at.
 *
 * It is made of the wallet's events, with the caller's rights on the stream.
 * No projection is needed.
 */
#include "postgres.h"

#include "compat.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "errors.h"
#include "handler/native_row.h"
#include "stream/at_time.h"
#include "wallet/wallet.h"

#define BALANCE 1				/* the handler's column */

SQL_FUNCTION(wallet_balance_at);
SQL_FUNCTION(wallet_balance_at_time);

/* EventReceiver */
static bool
take_event(void *state, const Event *event)
{
	const char *reason = NativeRowAdd(state, event);

	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_EVENT),
				 errmsg("event " INT64_FORMAT " of the wallet cannot be applied: %s",
						event->no, reason)));
	CHECK_FOR_INTERRUPTS();
	return true;
}

/* The balance after the wallet's events up to this one; null: no wallet. */
static Datum
balance_at(FunctionCallInfo fcinfo, bool by_time)
{
	char	   *wallet_id = ArgumentText(fcinfo, 0, "wallet_id",
										 IDENTIFIER_LENGTH);
	Stream	   *stream = StreamOpen(WALLET_STREAM, AccessShareLock, true);
	NativeRow  *row = NativeRowBegin(HandlerFind("wallet_balance"));
	Datum		values[HANDLER_MAX_COLUMNS];
	bool		nulls[HANDLER_MAX_COLUMNS];
	const char *reason;
	int64		last;

	ArgumentNotNull(fcinfo, 1, "at");
	if (stream == NULL)
		PG_RETURN_NULL();
	StreamCheckRights(stream, GetUserId(), ACL_SELECT);
	StreamCheckCreated(stream, "wallet_balance_at",
					   "Wallets are in a stream of that name that the extension has made.");
	last = !by_time ? PG_GETARG_INT64(1) :
		StreamLastBefore(stream, WALLET_TYPE, wallet_id,
						 PG_GETARG_TIMESTAMPTZ(1));
	(void) ReadKeyEvents(stream, GetActiveSnapshot(), WALLET_TYPE, wallet_id,
						 1, last, take_event, row);
	StreamRelease(stream);
	if (!row->exists)
		PG_RETURN_NULL();
	reason = NativeRowValues(row, values, nulls);
	if (reason != NULL)
		ereport(ERROR, (errcode(ERRCODE_BAD_EVENT), errmsg("%s", reason)));
	PG_RETURN_DATUM(values[BALANCE]);
}

/* wallet_balance_at(wallet_id text, at bigint) */
Datum
wallet_balance_at(PG_FUNCTION_ARGS)
{
	return balance_at(fcinfo, false);
}

/* wallet_balance_at(wallet_id text, at timestamptz) */
Datum
wallet_balance_at_time(PG_FUNCTION_ARGS)
{
	return balance_at(fcinfo, true);
}
