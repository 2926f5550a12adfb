/*
 * attached_sequence.c
 *		Where the numbers of an attached table come from.
 *
 * The insert itself has to draw the number, after it has locked the table,
 * from a sequence that gives them in order, one at a time, and to nobody else.
 * A number that was drawn before the lock, or by a writer of another table, may
 * appear below a position that has been saved.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "stream/attached.h"

/* The column's default, parsed; NULL if it has none. */
static Node *
default_of(Relation relation, AttrNumber column)
{
	TupleConstr *constr = RelationGetDescr(relation)->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		if (constr->defval[i].adnum == column)
			return stringToNode(constr->defval[i].adbin);
	}
	return NULL;
}

/* The sequence whose next number the default is; InvalidOid if it is not. */
Oid
DefaultSequence(Relation relation, AttrNumber column)
{
	Node	   *node = default_of(relation, column);

	/* from bigint to the column's type */
	while (node != NULL && IsA(node, FuncExpr) &&
		   ((FuncExpr *) node)->funcformat == COERCE_IMPLICIT_CAST &&
		   list_length(((FuncExpr *) node)->args) == 1)
		node = linitial(((FuncExpr *) node)->args);
	if (node == NULL || !IsA(node, FuncExpr) ||
		((FuncExpr *) node)->funcid != F_NEXTVAL)
		return InvalidOid;
	node = linitial(((FuncExpr *) node)->args);
	if (!IsA(node, Const) || ((Const *) node)->constisnull)
		return InvalidOid;
	return DatumGetObjectId(((Const *) node)->constvalue);
}

/* Does the sequence belong to this column? */
bool
SequenceIsOf(Oid sequence, Oid relid, AttrNumber column)
{
	Oid			table;
	int32		number;

	return (sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &number) ||
			sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &number)) &&
		table == relid && number == column;
}

/* Is it the column of this name, of the table, a partition or a child? */
static bool
is_same_column(Relation relation, AttrNumber column, List *relids,
			   const ObjectAddress *other)
{
	char	   *name = get_attname(RelationGetRelid(relation), column, false);
	char	   *other_name = get_attname(other->objectId, other->objectSubId,
										 true);

	return list_member_oid(relids, other->objectId) && other_name != NULL &&
		strcmp(name, other_name) == 0;
}

/* Another column whose default draws from the sequence; or NULL. */
static const char *
other_user(Relation relation, AttrNumber column, Oid sequence)
{
	List	   *relids = find_all_inheritors(RelationGetRelid(relation),
											 AccessShareLock, NULL);
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	const char *user = NULL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(sequence));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2,
							  keys);
	while (user == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress other;

		if (form->classid != AttrDefaultRelationId)
			continue;
		other = GetAttrDefaultColumnAddress(form->objid);
		if (OidIsValid(other.objectId) &&
			!is_same_column(relation, column, relids, &other))
			user = psprintf("column \"%s\" of table \"%s\"",
							get_attname(other.objectId, other.objectSubId, false),
							TableNameOf(other.objectId));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	list_free(relids);
	return user;
}

/*
 * What its options have to be; NULL if they are.  ALTER SEQUENCE with INCREMENT
 * has other sessions forget the numbers in their caches, with CACHE alone it
 * has not.
 */
static Refusal *
refuse_options(Oid sequence)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence form;
	Refusal    *refusal = NULL;
	const char *name = TableNameOf(sequence);

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	if (form->seqcache != 1 || form->seqincrement != 1 || form->seqcycle)
		refusal = MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							  psprintf("Its sequence \"%s\" has CACHE %lld, INCREMENT %lld and %s. Numbers must be drawn one at a time and in order.",
									   name, (long long) form->seqcache,
									   (long long) form->seqincrement,
									   form->seqcycle ? "CYCLE" : "NO CYCLE"),
							  psprintf("Run: ALTER SEQUENCE %s CACHE 1 INCREMENT 1 NO CYCLE;",
									   name));
	else if (form->seqmin < 1)
		refusal = MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							  psprintf("Its sequence \"%s\" has MINVALUE %lld. Events with numbers below 1 are never applied.",
									   name, (long long) form->seqmin),
							  psprintf("Run: ALTER SEQUENCE %s MINVALUE 1; with RESTART, if its last number is below.", name));
	ReleaseSysCache(tuple);
	return refusal;
}

/* Why this column's sequence does not give a stream's numbers; NULL: it does. */
Refusal *
AttachedSequence(Relation relation, AttrNumber position, Oid sequence)
{
	Oid			relid = RelationGetRelid(relation);
	const char *column = get_attname(relid, position, false);

	if (!SequenceIsOf(sequence, relid, position))
		return MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						   psprintf("Sequence \"%s\", the default of column \"%s\", does not belong to it.",
									TableNameOf(sequence), column),
						   psprintf("If nobody else draws numbers from it: ALTER SEQUENCE %s OWNED BY %s.%s;",
									TableNameOf(sequence), QualifiedName(relation),
									quote_identifier(column)));
	return refuse_options(sequence);
}

/*
 * Does another table draw from the sequence?  Numbers that never come here are
 * dead, which does no harm; but who attaches a table is told, as such
 * numbers might be meant to come here.  Asked only then: a partition that is
 * detached later keeps its default.
 */
Refusal *
AttachedShared(Relation relation, AttrNumber position, Oid sequence)
{
	const char *user = other_user(relation, position, sequence);

	return user == NULL ? NULL :
		MakeRefusal(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					psprintf("Sequence \"%s\" is shared with %s.",
							 TableNameOf(sequence), user),
					"Give each of them a sequence of its own; or drop the default of the other column, if it is that of a partition which was detached.");
}
