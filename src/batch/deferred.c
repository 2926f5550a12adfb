/*
 * deferred.c
 *		Deferred constraints, where another than the owner runs a projection.
 *
 * Then rows are written in a security-restricted operation, in which the
 * server refuses to defer anything: at commit it would run with the rights of
 * somebody else.  In a transaction of our own all constraints are checked at
 * once (isolate.c).  A caller's transaction may have deferred events of his
 * own, which are checked when he wants it.  So there only constraints are set
 * that have none: those that are initially deferred, by name, and they are
 * deferred again afterwards.
 *
 * Names are not unique, and SET CONSTRAINTS takes no other: a name is left out
 * if it also belongs to a constraint that must be left alone.
 */
#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_constraint.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "batch/deferred.h"

/* Has the server refused to defer something? */
bool
ErrorIsOfDeferral(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE &&
		error->funcname != NULL &&
		strcmp(error->funcname, "afterTriggerMarkEvents") == 0;
}

/* Has the transaction events on this constraint's tables to be checked yet? */
static bool
has_pending_events(Form_pg_constraint constraint)
{
	return AfterTriggerPendingOnRel(constraint->conrelid) ||
		(OidIsValid(constraint->confrelid) &&
		 AfterTriggerPendingOnRel(constraint->confrelid));
}

/* Add a constraint and those that it is inherited from to a list. */
static List *
append_with_parents(List *constraints, Form_pg_constraint constraint)
{
	Oid			next = constraint->oid;

	while (OidIsValid(next) && !list_member_oid(constraints, next))
	{
		HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(next));

		constraints = lappend_oid(constraints, next);
		next = InvalidOid;
		if (!HeapTupleIsValid(tuple))
			break;
		next = ((Form_pg_constraint) GETSTRUCT(tuple))->conparentid;
		ReleaseSysCache(tuple);
	}
	return constraints;
}

/* The initially deferred constraints; the pending ones among them apart. */
static List *
find_deferred(Relation catalog, List **pending)
{
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0,
										  NULL);
	List	   *deferred = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(tuple);

		if (!constraint->condeferred)
			continue;
		if (has_pending_events(constraint))
			*pending = append_with_parents(*pending, constraint);
		else
			deferred = lappend(deferred,
							   GETSTRUCT(heap_copytuple(tuple)));
	}
	systable_endscan(scan);
	return deferred;
}

/* May all constraints of this one's name and schema be set with it? */
static bool
may_be_set(Relation catalog, Form_pg_constraint constraint,
		   const List *pending)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = true;

	ScanKeyInit(&keys[0], Anum_pg_constraint_conname, BTEqualStrategyNumber,
				F_NAMEEQ, NameGetDatum(&constraint->conname));
	ScanKeyInit(&keys[1], Anum_pg_constraint_connamespace,
				BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(constraint->connamespace));
	scan = systable_beginscan(catalog, ConstraintNameNspIndexId, true, NULL,
							  2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint other = (Form_pg_constraint) GETSTRUCT(tuple);

		if (!other->condeferred || list_member_oid(pending, other->oid))
			result = false;
	}
	systable_endscan(scan);
	return result;
}

/*
 * SET CONSTRAINTS.  Names are looked up by the rights of the current role, who
 * need not be allowed to use each schema; so the lookup is the superuser's.
 * Nobody's code runs as the superuser: none of them has events.
 */
static void
set_constraints(List *constraints, bool deferred)
{
	ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);
	Oid			user;
	int			security;

	if (constraints == NIL)
		return;
	statement->constraints = constraints;
	statement->deferred = deferred;
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
						   security | SECURITY_LOCAL_USERID_CHANGE);
	AfterTriggerSetState(statement);
	SetUserIdAndSecContext(user, security);
}

/*
 * Have constraints that are initially deferred, and of which the transaction
 * has no events, checked at once from now on, until ConstraintsDefer() or the
 * subtransaction's abort.  Returns their names.
 */
List *
ConstraintsCheckAtOnce(void)
{
	Relation	catalog = table_open(ConstraintRelationId, AccessShareLock);
	List	   *pending = NIL;
	List	   *deferred = find_deferred(catalog, &pending);
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, deferred)
	{
		Form_pg_constraint constraint = lfirst(cell);
		char	   *schema = get_namespace_name(constraint->connamespace);

		if (schema != NULL && may_be_set(catalog, constraint, pending))
			names = lappend(names,
							makeRangeVar(schema, NameStr(constraint->conname),
										 -1));
	}
	table_close(catalog, AccessShareLock);
	set_constraints(names, false);
	return names;
}

/* Have these constraints deferred again. */
void
ConstraintsDefer(List *constraints)
{
	set_constraints(constraints, true);
}
