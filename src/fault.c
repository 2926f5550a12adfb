/*
 * fault.c
 *		Whose fault an error is that was raised while rows were written.
 *
 * There are three answers, and what follows from them:
 *
 *	- The key's: the value, the constraint, the trigger does not want this row.
 *	  The key is parked, however many keys fail.
 *	- The definition's, or the key's: something is missing, not allowed, or
 *	  not possible in this place: of the read model as a whole (a column is
 *	  gone, a trigger's function is broken, a publication wants a replica
 *	  identity), or only on the way that a trigger takes for one key.  The
 *	  SQLSTATE does not say which, so the other keys are asked
 *	  (batch/blame.c): if they fail too, nobody is parked and the
 *	  batch fails.
 *	- Nobody's: the server's or another session's.  It may be well a moment
 *	  later, so the batch fails and is done again.
 *
 * What is not in the table is the key's: a trigger may raise any SQLSTATE of
 * its own invention, and then it means the row.  test/sql/fault.sql holds the
 * answer for each SQLSTATE that the server knows.
 */
#include "postgres.h"

#include "fault.h"

typedef enum Fault
{
	FAULT_OF_KEY,
	FAULT_OF_DEFINITION,		/* or of the key: others must be asked */
	FAULT_OF_NOBODY
} Fault;

#define CLASS(a, b) MAKE_SQLSTATE(a, b, '0', '0', '0')

/* One SQLSTATE, looked at before its class. */
static const struct
{
	int			sqlerrcode;
	Fault		fault;
}			faults_of_states[] =

{
	/* a trigger that asks for a transaction of its own, or is in none */
	{ERRCODE_ACTIVE_SQL_TRANSACTION, FAULT_OF_DEFINITION},
	{ERRCODE_NO_ACTIVE_SQL_TRANSACTION, FAULT_OF_DEFINITION},
	/* endless recursion of triggers; too many columns or arguments */
	{ERRCODE_STATEMENT_TOO_COMPLEX, FAULT_OF_DEFINITION},
	{ERRCODE_TOO_MANY_COLUMNS, FAULT_OF_DEFINITION},
	{ERRCODE_TOO_MANY_ARGUMENTS, FAULT_OF_DEFINITION},
	/* what others hold */
	{ERRCODE_OBJECT_IN_USE, FAULT_OF_NOBODY},
	{ERRCODE_LOCK_NOT_AVAILABLE, FAULT_OF_NOBODY},
	/* the other server of a foreign table is not there, or has no room */
	{ERRCODE_FDW_OUT_OF_MEMORY, FAULT_OF_NOBODY},
	{ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION, FAULT_OF_NOBODY},
	{ERRCODE_FDW_UNABLE_TO_CREATE_REPLY, FAULT_OF_NOBODY},
	{ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION, FAULT_OF_NOBODY},
};

/*
 * Classes.  The key's are 09, 20, 21, 22, 23, 38, 44, 54 and P0 (what a value
 * or a constraint refuses, what a function raises by itself), 00 to 03 and 0F
 * (no errors of the server's), and all that the server does not know.
 */
static const struct
{
	int			category;
	Fault		fault;
}			faults_of_classes[] =

{
	{CLASS('0', '8'), FAULT_OF_NOBODY}, /* connection lost, to another server */
	{CLASS('0', 'A'), FAULT_OF_DEFINITION}, /* not supported */
	{CLASS('0', 'B'), FAULT_OF_DEFINITION}, /* transaction begun where none
											 * may be */
	{CLASS('0', 'L'), FAULT_OF_DEFINITION}, /* no such grantor */
	{CLASS('0', 'P'), FAULT_OF_DEFINITION}, /* no such role */
	{CLASS('0', 'Z'), FAULT_OF_DEFINITION}, /* diagnostics asked for where
											 * there are none */
	{CLASS('2', '4'), FAULT_OF_DEFINITION}, /* cursor that is not open */
	{CLASS('2', '5'), FAULT_OF_NOBODY}, /* read-only, transaction aborted */
	{CLASS('2', '6'), FAULT_OF_DEFINITION}, /* no such prepared statement */
	{CLASS('2', '7'), FAULT_OF_DEFINITION}, /* trigger that changes the row
											 * that it is called for */
	{CLASS('2', '8'), FAULT_OF_DEFINITION}, /* role that may not connect */
	{CLASS('2', 'B'), FAULT_OF_DEFINITION}, /* objects that depend on another */
	{CLASS('2', 'D'), FAULT_OF_DEFINITION}, /* COMMIT in a trigger */
	{CLASS('2', 'F'), FAULT_OF_DEFINITION}, /* function without RETURN */
	{CLASS('3', '4'), FAULT_OF_DEFINITION}, /* no such cursor */
	{CLASS('3', '9'), FAULT_OF_DEFINITION}, /* function that breaks the rules
											 * of triggers */
	{CLASS('3', 'B'), FAULT_OF_DEFINITION}, /* no such savepoint */
	{CLASS('3', 'D'), FAULT_OF_DEFINITION}, /* no such database */
	{CLASS('3', 'F'), FAULT_OF_DEFINITION}, /* no such schema */
	{CLASS('4', '0'), FAULT_OF_NOBODY}, /* deadlock, serialization */
	{CLASS('4', '2'), FAULT_OF_DEFINITION}, /* names, rights, syntax */
	{CLASS('5', '3'), FAULT_OF_NOBODY}, /* no memory, no room */
	{CLASS('5', '5'), FAULT_OF_DEFINITION}, /* not in the state for it:
											 * replica identity, sequence,
											 * record */
	{CLASS('5', '7'), FAULT_OF_NOBODY}, /* cancelled, shut down, timed out */
	{CLASS('5', '8'), FAULT_OF_NOBODY}, /* I/O */
	{CLASS('7', '2'), FAULT_OF_NOBODY}, /* snapshot too old */
	{CLASS('F', '0'), FAULT_OF_NOBODY}, /* configuration file */
	{CLASS('H', 'V'), FAULT_OF_DEFINITION}, /* foreign table that does not fit */
	{CLASS('X', 'X'), FAULT_OF_NOBODY}, /* internal, damaged */
};

static Fault
fault_of(int sqlerrcode)
{
	for (int i = 0; i < lengthof(faults_of_states); i++)
	{
		if (faults_of_states[i].sqlerrcode == sqlerrcode)
			return faults_of_states[i].fault;
	}
	for (int i = 0; i < lengthof(faults_of_classes); i++)
	{
		if (faults_of_classes[i].category == ERRCODE_TO_CATEGORY(sqlerrcode))
			return faults_of_classes[i].fault;
	}
	return FAULT_OF_KEY;
}

/* May an error be the fault of the row that was being written? */
bool
ErrorIsOfKey(int sqlerrcode)
{
	return fault_of(sqlerrcode) != FAULT_OF_NOBODY;
}

/* May it as well be that of the definition? */
bool
ErrorIsOfDefinition(int sqlerrcode)
{
	return fault_of(sqlerrcode) == FAULT_OF_DEFINITION;
}

/*
 * Is an error that was raised while an event was read that event's?  What its
 * values are, or how they are stored.
 */
bool
ErrorIsOfEvent(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case CLASS('2', '2'):	/* data */
		case CLASS('5', '4'):	/* too large */
		case CLASS('X', 'X'):	/* damaged */
			return true;
	}
	return sqlerrcode == ERRCODE_OUT_OF_MEMORY ||
		fault_of(sqlerrcode) == FAULT_OF_KEY;
}

/*
 * A cancelled call or a shutdown is not the projection's failure.  A trigger
 * may raise the same SQLSTATE: that is one.
 */
bool
ErrorIsOfShutdown(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == CLASS('5', '7') &&
		error->funcname != NULL &&
		strcmp(error->funcname, "ProcessInterrupts") == 0;
}
