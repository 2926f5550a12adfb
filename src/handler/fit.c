/*
 * fit.c
 *		Whether a value fits into its column of the read model.
 *
 * A column's type is the limit, as the user has altered it.  Nothing is cut
 * off or rounded: a value that does not fit is the event's failure.  Domains
 * are refused where the table is opened; constraints are checked when a row
 * is written.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "amount.h"
#include "catalog.h"
#include "handler/read_model.h"

/* A type that holds the value: say how the column gets it. */
static void
advise(ReadModel *model, const char *name, const char *type)
{
	model->advice = psprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s;",
							 QualifiedName(model->relation),
							 quote_identifier(name), type);
}

/* Returns NULL, or why the text does not fit into varchar(limit). */
static const char *
fit_text(ReadModel *model, Datum value, int limit, const char *name)
{
	struct varlena *string = PG_DETOAST_DATUM_PACKED(value);
	int			bytes = VARSIZE_ANY_EXHDR(string);
	int			length;

	if (bytes <= limit)
		return NULL;
	length = pg_mbstrlen_with_len(VARDATA_ANY(string), bytes);
	if (length <= limit)
		return NULL;
	advise(model, name, "varchar COLLATE \"C\"");
	return psprintf("\"%s\" would have %d characters, and its type allows %d",
					name, length, limit);
}

/* Returns NULL, or why the number does not fit into a column of this typmod. */
static const char *
fit_numeric(ReadModel *model, Datum *value, int32 typmod, const char *name)
{
	Amount		amount;
	AmountFault fault;
	Datum		rounded;

	if (likely(typmod == AMOUNT_TYPMOD))
	{
		fault = AmountFromNumeric(DatumGetNumeric(*value), &amount);
		if (likely(fault == AMOUNT_OK))
			return NULL;
		if (fault == AMOUNT_TOO_LARGE)
		{
			advise(model, name, "numeric");
			return psprintf("\"%s\" would have more than 15 digits before the decimal point",
							name);
		}
	}
	/* raises an error of its own where the value is too large */
	rounded = DirectFunctionCall2(numeric, *value, Int32GetDatum(typmod));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, rounded, *value)))
	{
		advise(model, name, "numeric");
		return psprintf("column \"%s\" has too few decimal places", name);
	}
	*value = rounded;
	return NULL;
}

/*
 * Turn a value of the handler's into one that the table's column holds; the
 * user may have changed its type.  Returns NULL, or why it does not fit, with
 * model->advice.
 */
const char *
ReadModelFit(ReadModel *model, int column, Datum *value)
{
	const char *name = model->handler->columns[column].name;
	Form_pg_attribute attribute =
		TupleDescAttr(RelationGetDescr(model->relation),
					  model->columns[column] - 1);

	if (attribute->atttypid == INT4OID)
	{
		int64		number = DatumGetInt64(*value);

		if (number < PG_INT32_MIN || number > PG_INT32_MAX)
		{
			advise(model, name, "bigint");
			return psprintf("\"%s\" would be out of range for type integer",
							name);
		}
		*value = Int32GetDatum((int32) number);
	}
	if (attribute->atttypmod == -1)
		return NULL;
	if (attribute->atttypid == VARCHAROID)
		return fit_text(model, *value, attribute->atttypmod - VARHDRSZ, name);
	if (attribute->atttypid == NUMERICOID)
		return fit_numeric(model, value, attribute->atttypmod, name);
	return NULL;
}
