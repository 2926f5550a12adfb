/*
 * wallet_query.c
 *		What the read model of wallet_balance says of a wallet.
 *
 * Plain SQL, with the caller's rights on the read model.
 */
#include "postgres.h"

#include "compat.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "argument.h"
#include "catalog.h"
#include "definition/projection.h"
#include "handler/read_model.h"

#define WALLET_PROJECTION "wallet_balance"

SQL_FUNCTION(wallet_get_balance);
SQL_FUNCTION(wallet_get_statistics);

/*
 * The read model's name, once it has been made sure that to read it runs
 * nothing of its owner's: no view, no type of the owner's with casts.
 */
static char *
checked_name(const Projection *projection)
{
	char	   *name = NULL;
	Relation	relation = try_relation_open(projection->read_model,
											 AccessShareLock);

	if (relation == NULL)
		ProjectionCheckInitialized(projection);
	else
	{
		/* not what its row says: the query below is for these columns */
		ReadModelCheckColumns(HandlerFind(WALLET_PROJECTION), relation);
		/* once it is locked: it cannot be renamed any more */
		name = QualifiedName(relation);
		relation_close(relation, NoLock);
	}
	return name;
}

/* The one value that the expression has for the wallet's row, zeros if none. */
static Datum
query_wallet(FunctionCallInfo fcinfo, const char *expression)
{
	char	   *wallet_id = ArgumentText(fcinfo, 0, "wallet_id",
										 IDENTIFIER_LENGTH);
	Projection *projection = ProjectionFetch(WALLET_PROJECTION);
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	char	   *query;
	bool		isnull;
	Datum		result;

	ProjectionCheckInitialized(projection);
	query = psprintf("SELECT %s FROM (SELECT) AS nothing LEFT JOIN %s AS w"
					 " ON w.wallet_id OPERATOR(pg_catalog.=) $1",
					 expression,
					 checked_name(projection));
	values[0] = CStringGetTextDatum(wallet_id);
	SPI_connect();
	if (SPI_execute_with_args(query, 1, types, values, NULL, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "unexpected result of reading wallet \"%s\"", wallet_id);
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						   &isnull);
	result = SPI_datumTransfer(result, false, -1);
	SPI_finish();
	return result;
}

/* wallet_get_balance(wallet_id) */
Datum
wallet_get_balance(PG_FUNCTION_ARGS)
{
	return query_wallet(fcinfo,
						"COALESCE(w.current_balance, 0::pg_catalog.numeric(19,4))");
}

/* wallet_get_statistics(wallet_id) */
Datum
wallet_get_statistics(PG_FUNCTION_ARGS)
{
	return query_wallet(fcinfo,
						"pg_catalog.jsonb_build_object("
						"'balance', pg_catalog.trim_scale(COALESCE(w.current_balance, 0)),"
						"'total_debits', pg_catalog.trim_scale(COALESCE(w.total_debits, 0)),"
						"'total_credits', pg_catalog.trim_scale(COALESCE(w.total_credits, 0)),"
						"'transaction_count', COALESCE(w.transaction_count, 0))");
}
