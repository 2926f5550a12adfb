/*
 * argument.h
 *		Checked arguments of SQL functions.
 *
 * Each raises an error that names the argument: 22004 for null, 22023 for an
 * empty text, a negative number or time, 22001 for a text that is too long.
 * Results are palloc'd.
 */
#ifndef WALLET_PROJECTION_ARGUMENT_H
#define WALLET_PROJECTION_ARGUMENT_H

#include "datatype/timestamp.h"
#include "fmgr.h"

/* what the columns aggregate_type and aggregate_id hold, in characters */
#define IDENTIFIER_LENGTH	255
/* what the column event_name holds, in characters */
#define EVENT_NAME_LENGTH	100

extern char *ArgumentText(FunctionCallInfo fcinfo, int number,
						  const char *name, int max_length);
extern char *ArgumentName(FunctionCallInfo fcinfo, int number,
						  const char *name);
extern int64 ArgumentVersion(FunctionCallInfo fcinfo, int number,
							 const char *name);
extern TimestampTz ArgumentDeadline(FunctionCallInfo fcinfo, int number,
									const char *name, bool may_be_zero);
extern void ArgumentNotNull(FunctionCallInfo fcinfo, int number,
							const char *name);

#endif							/* WALLET_PROJECTION_ARGUMENT_H */
