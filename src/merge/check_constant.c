/*
 * check_constant.c
 *		Constants, and what is written like one, that are none.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "merge/check.h"
#include "merge/merge_clock.h"

/*
 * A constant that is no constant: 'today' is taken when the definition is
 * analysed; an OID is another one after a restore.
 */
void
CheckConstant(Check *check, Const *value)
{
	if (value->constisnull)
		return;
	if (MergeConstIsClock(check->merge->text, value, value->consttype))
		CheckRefuse(check, psprintf("this constant of type %s",
									format_type_be(value->consttype)),
					value->location, true);
	switch (value->consttype)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCOLLATIONOID:
			CheckRefuse(check, psprintf("a constant of type %s",
										format_type_be(value->consttype)),
						value->location, false);
			break;
		default:
			break;
	}
}

static const char *
value_function_name(SQLValueFunction *function)
{
	switch (function->op)
	{
		case SVFOP_CURRENT_DATE:
			return "CURRENT_DATE";
		case SVFOP_CURRENT_TIME:
		case SVFOP_CURRENT_TIME_N:
			return "CURRENT_TIME";
		case SVFOP_CURRENT_TIMESTAMP:
		case SVFOP_CURRENT_TIMESTAMP_N:
			return "CURRENT_TIMESTAMP";
		case SVFOP_LOCALTIME:
		case SVFOP_LOCALTIME_N:
			return "LOCALTIME";
		case SVFOP_LOCALTIMESTAMP:
		case SVFOP_LOCALTIMESTAMP_N:
			return "LOCALTIMESTAMP";
		case SVFOP_CURRENT_ROLE:
			return "CURRENT_ROLE";
		case SVFOP_CURRENT_USER:
			return "CURRENT_USER";
		case SVFOP_USER:
			return "USER";
		case SVFOP_SESSION_USER:
			return "SESSION_USER";
		case SVFOP_CURRENT_CATALOG:
			return "CURRENT_CATALOG";
		case SVFOP_CURRENT_SCHEMA:
			return "CURRENT_SCHEMA";
	}
	return "this function";
}

/* CURRENT_DATE and its like. */
void
CheckValueFunction(Check *check, SQLValueFunction *function)
{
	bool		clock = function->op != SVFOP_CURRENT_ROLE &&
		function->op != SVFOP_CURRENT_USER && function->op != SVFOP_USER &&
		function->op != SVFOP_SESSION_USER &&
		function->op != SVFOP_CURRENT_CATALOG &&
		function->op != SVFOP_CURRENT_SCHEMA;

	CheckRefuse(check, value_function_name(function), function->location, clock);
}
